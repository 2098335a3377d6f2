// The answer of the judge: what must happen to one message, and what every matching rule had to say about it. Pure data,
// frozen and remembered; the relay acts on it, audit records it.

import type { Subject } from '../session/subject.ts';
import type { StatementShape } from '../sql/facts.ts';
import type { CompiledRule } from './rule.ts';
import type { Ruleset } from './ruleset.ts';

/** The words of a refusal, in the terms of an ErrorResponse. */
export interface Refusal {
  /**
   * The rule's name; where no rule spoke, what did: `default_action`, `on_unparsed`, `max_statement_bytes`, `pool.query_wait_ms`, or
   * `cancel` for a wait that was cancelled.
   */
  readonly rule: string;
  readonly sqlstate: string;
  readonly message: string;
  readonly hint: string | null;
  /** For limits: when a retry may succeed. */
  readonly retryAfterMs: number | null;
}

/**
 * What a matching rule did, or in observe mode would have done were it alone enforced. `shadowed`: it matched, but its
 * slot (route, kill) was already filled by an enforced rule above it.
 */
export type RuleEffect = 'allow' | 'deny' | 'observe' | 'route' | 'limit' | 'kill' | 'shadowed';

/** One rule that matched one statement of the message. */
export interface RuleHit {
  readonly rule: CompiledRule;
  readonly isObserved: boolean;
  readonly effect: RuleEffect;
  readonly shape: StatementShape;
}

/**
 * The verdict on a message of one or several statements: the strictest of its parts holds for all of it. One that refuses
 * has no route, no kill and no limits, whatever its hits say: nothing of the message runs.
 */
export interface Verdict {
  /** The ruleset that judged: its `version` goes into every decision, its `epoch` says whether to judge again. */
  readonly ruleset: Ruleset;
  readonly subject: Subject;
  readonly isInTransaction: boolean;
  /** The shapes judged, in order; for EXECUTE also the shape of what it runs. */
  readonly shapes: readonly StatementShape[];
  /** Not null: the message must not run. */
  readonly refusal: Refusal | null;
  readonly refusedBy: CompiledRule | null;
  /** Null where no rule routes, or where the statements of one message disagree. */
  readonly route: { readonly rule: CompiledRule; readonly target: 'primary' | 'replica' } | null;
  /** The shortest of its statements. */
  readonly kill: { readonly rule: CompiledRule; readonly timeoutMs: number } | null;
  /** Enforced limits, each once per statement that it matched: all must admit the message. */
  readonly limits: readonly RuleHit[];
  /** Limits in observe mode: their virtual buckets are asked, the answer is only counted. */
  readonly observedLimits: readonly RuleHit[];
  /** Every rule that matched, in order of evaluation, limits included. */
  readonly hits: readonly RuleHit[];
}

/** Whether two verdicts do the same to a message: words of a refusal count, rules that only count do not. */
export function isSameTreatment(one: Verdict, other: Verdict): boolean {
  const acts = ({ refusal, route, kill, limits }: Verdict): string =>
    JSON.stringify([refusal, route?.target, kill?.timeoutMs, limits.map(({ rule }) => rule.definition)]);
  return acts(one) === acts(other);
}
