// A `match` block after compilation, and its evaluation by stages: what is known so far decides it, or leaves a smaller
// match to decide later. The judge keeps those remainders, so nothing is ever looked at twice.

import type { Condition, MatchContext, MatchTools, Stage } from './matchers/dimension.ts';
import { compileDimension, DIMENSION_KEYS } from './matchers/registry.ts';
import type { MatchDocument } from './rule.ts';

/** All conditions must hold and `not` must not. Conditions stand in the order of their stages. */
export interface CompiledMatch {
  readonly conditions: readonly Condition[];
  readonly not: CompiledMatch | null;
  /** Raw text patterns of it all, `not` included. */
  readonly rawPatterns: readonly number[];
  readonly normalizedPatterns: readonly number[];
}

/** Tools for the block at `path` of the document, relative to the rule. */
export type ToolsAt = (path: readonly string[], key: string) => MatchTools;

/** Problems are told to the tools; the result is of use only where there were none. */
export function compileMatch(
  match: MatchDocument,
  toolsAt: ToolsAt,
  path: readonly string[] = ['match'],
): CompiledMatch {
  const conditions: Condition[] = [];
  for (const key of DIMENSION_KEYS) {
    const condition = compileDimension(key, match, toolsAt(path, key));
    if (condition !== null) conditions.push(condition);
  }
  conditions.sort((left, right) => left.stage - right.stage);
  return makeMatch(conditions, match.not === undefined ? null : compileMatch(match.not, toolsAt, [...path, 'not']));
}

/**
 * Decides the match with what is known up to a stage: true, false, or what is left to decide. At the last stage there is
 * nothing left: the answer is true or false.
 */
export function reduceMatch(match: CompiledMatch, context: MatchContext, stage: Stage): boolean | CompiledMatch {
  let firstLeft = match.conditions.length;
  for (let index = 0; index < match.conditions.length; index += 1) {
    const condition = match.conditions[index] as Condition;
    if (condition.stage > stage) {
      firstLeft = index;
      break;
    }
    if (!condition.holds(context)) return false;
  }
  let not = match.not;
  if (not !== null) {
    const reduced = reduceMatch(not, context, stage);
    if (reduced === true) return false;
    not = reduced === false ? null : reduced;
  }
  if (firstLeft === match.conditions.length && not === null) return true;
  if (firstLeft === 0 && not === match.not) return match;
  return makeMatch(match.conditions.slice(firstLeft), not);
}

function makeMatch(conditions: readonly Condition[], not: CompiledMatch | null): CompiledMatch {
  return {
    conditions,
    not,
    rawPatterns: [...conditions.flatMap((condition) => condition.rawPatterns), ...(not?.rawPatterns ?? [])],
    normalizedPatterns: [
      ...conditions.flatMap((condition) => condition.normalizedPatterns),
      ...(not?.normalizedPatterns ?? []),
    ],
  };
}
