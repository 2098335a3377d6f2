// What every match dimension is made of: a condition that holds or not, and the stage at which that can be known. The
// judge works through the stages once per subject, once per statement shape, and only what is left once per text.

import type { Subject } from '../../session/subject.ts';
import type { StatementShape } from '../../sql/facts.ts';

/** In order: what is known of a session, of a statement's shape, of its moment, and only from its own text. */
export const STAGE = { subject: 0, shape: 1, transaction: 2, text: 3 } as const;
export type Stage = (typeof STAGE)[keyof typeof STAGE];

/** All that conditions look at. One mutable object serves a whole ruleset: judging is synchronous and allocates little. */
export interface MatchContext {
  subject: Subject;
  shape: StatementShape;
  tags: Readonly<Record<string, string>>;
  isInTransaction: boolean;
  /** Ids of the patterns that the raw text, and the normalised text, were found to match. */
  rawHits: readonly number[];
  normalizedHits: readonly number[];
}

export interface Condition {
  readonly key: string;
  readonly stage: Stage;
  /** Patterns that must have been run over the raw, or the normalised text before `holds` is asked. */
  readonly rawPatterns: readonly number[];
  readonly normalizedPatterns: readonly number[];
  /** What the rule asks for, in the words of the document. */
  readonly wanted: string;
  holds(context: MatchContext): boolean;
  /** What the statement or session shows in this dimension, free of literals. */
  seen(context: MatchContext): string;
}

/** What a dimension may ask of the compiler. `fail` records a problem at this dimension, or at `index` of its list. */
export interface MatchTools {
  addRawPattern(pattern: string, index: number | null): number;
  addNormalizedPattern(pattern: string, index: number | null): number;
  fail(message: string, index?: number | string | null): void;
}

export interface Dimension<Value> {
  readonly stage: Stage;
  compile(value: Value, tools: MatchTools): Condition;
}

export const NO_PATTERNS: readonly number[] = Object.freeze([]);

interface ConditionParts {
  readonly key: string;
  readonly stage: Stage;
  readonly wanted: string;
  readonly rawPatterns?: readonly number[];
  readonly normalizedPatterns?: readonly number[];
  readonly holds: (context: MatchContext) => boolean;
  readonly seen: (context: MatchContext) => string;
}

/** Gives every condition the same fields in the same order. */
export function makeCondition(parts: ConditionParts): Condition {
  return {
    key: parts.key,
    stage: parts.stage,
    rawPatterns: parts.rawPatterns ?? NO_PATTERNS,
    normalizedPatterns: parts.normalizedPatterns ?? NO_PATTERNS,
    wanted: parts.wanted,
    holds: parts.holds,
    seen: parts.seen,
  };
}

/** Calls `each` for one value or for the elements of a list; `index` is null where the document gave no list. */
export function eachValue<Result>(
  value: string | readonly string[],
  each: (text: string, index: number | null) => Result,
): Result[] {
  return typeof value === 'string' ? [each(value, null)] : value.map((text, index) => each(text, index));
}

export function listWords(value: string | readonly string[]): string {
  return typeof value === 'string' ? value : value.join(', ');
}
