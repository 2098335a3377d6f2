// The message that asks for limits to let it through: whose tags count, and what of it takes tokens.

import type { StatementShape, TextFacts } from '../sql/facts.ts';
import type { Tags } from './limiter.ts';
import type { RuleHit } from './verdict.ts';

export interface AskedMessage {
  /** Its own, and after them those that they name: what stands behind EXECUTE, FETCH, PREPARE and COMMIT. */
  readonly statements: TextFacts;
  readonly ownCount: number;
}

/** They are statements only by what they name. */
const NAMING: ReadonlySet<string> = new Set(['prepare', 'execute', 'fetch', 'move', 'commit']);

/**
 * The tags of the statement of that shape. What it does not have itself it has from the others: tools write one comment for all
 * of a text, in front or at its end, or beside the name in an EXECUTE.
 */
export function tagsOf({ statements }: AskedMessage, shape: StatementShape): Tags {
  const [only] = statements;
  if (only !== undefined && statements.length === 1) return only.tags;
  const merged = Object.create(null) as Record<string, string>;
  for (const { tags } of statements.toReversed()) Object.assign(merged, tags);
  return Object.assign(merged, statements.find((statement) => statement.shape === shape)?.tags);
}

/** A rule that matches an EXECUTE and what stands behind that counts the two as the one statement that runs. */
export function withoutNames(hits: readonly RuleHit[], { statements, ownCount }: AskedMessage): readonly RuleHit[] {
  if (statements.length === ownCount) return hits;
  const behind = new Set(statements.slice(ownCount).map(({ shape }) => shape));
  const named = new Map<object, number>();
  for (const { rule, shape } of hits) if (behind.has(shape)) named.set(rule, (named.get(rule) ?? 0) + 1);
  return hits.filter(({ rule, shape }) => {
    const left = named.get(rule) ?? 0;
    if (left === 0 || behind.has(shape) || !shape.kinds.some((kind) => NAMING.has(kind))) return true;
    named.set(rule, left - 1);
    return false;
  });
}
