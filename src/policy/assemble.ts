// From the rules that matched one statement to its verdict, and from the verdicts of several statements to that of their
// message. Pure; what comes out is frozen.

import type { Subject } from '../session/subject.ts';
import type { StatementShape, UnparsedReason } from '../sql/facts.ts';
import type { LiveRule } from './live-rule.ts';
import type { Ruleset } from './ruleset.ts';
import type { Refusal, RuleEffect, RuleHit, Verdict } from './verdict.ts';

/** What of a ruleset a verdict depends on besides its rules. */
export interface VerdictFrame {
  readonly ruleset: Ruleset;
  readonly subject: Subject;
  readonly isInTransaction: boolean;
  readonly defaultAction: 'allow' | 'deny';
  readonly onUnparsed: 'allow' | 'observe' | 'deny';
}

const NO_HITS: readonly RuleHit[] = Object.freeze([]);
const REFUSAL_SQLSTATE = '42501';
export const LIMIT_SQLSTATE = '53400';

/**
 * The verdict on one statement. `matched` holds the rules that matched it, in order, and none behind the first enforced
 * allow or deny.
 */
export function assembleVerdict(frame: VerdictFrame, shape: StatementShape, matched: readonly LiveRule[]): Verdict {
  let route: Verdict['route'] = null;
  let kill: Verdict['kill'] = null;
  let isAllowed = false;
  let refusedBy: LiveRule | null = null;
  const hits: RuleHit[] = [];
  for (const rule of matched) {
    let effect: RuleEffect = effectOf(rule);
    if ((effect === 'route' && route !== null) || (effect === 'kill' && kill !== null)) effect = 'shadowed';
    hits.push(Object.freeze({ rule, isObserved: rule.isObserved, effect, shape }));
    if (rule.isObserved) continue;
    if (effect === 'route' && rule.target !== null) route = Object.freeze({ rule, target: rule.target });
    else if (effect === 'kill') kill = Object.freeze({ rule, timeoutMs: rule.document.timeout_ms ?? 0 });
    else if (effect === 'allow') isAllowed = true;
    else if (effect === 'deny') refusedBy = rule;
  }
  const refusal = refusedBy !== null ? wordDenial(refusedBy) : isAllowed ? null : refuseByDefault(frame, shape);
  return makeVerdict(frame, [shape], refusal, refusedBy, route, kill, hits);
}

/** The verdict on a message: refused when one of its statements is, routed where all agree, killed at the shortest. */
export function combineVerdicts(frame: VerdictFrame, parts: readonly Verdict[]): Verdict {
  const refused = parts.find((part) => part.refusal !== null);
  const [first] = parts;
  const target = first?.route?.target;
  const isOneRoute = target !== undefined && parts.every((part) => part.route?.target === target);
  let kill: Verdict['kill'] = null;
  for (const part of parts) {
    if (part.kill !== null && (kill === null || part.kill.timeoutMs < kill.timeoutMs)) kill = part.kill;
  }
  return makeVerdict(
    frame,
    parts.flatMap((part) => part.shapes),
    refused?.refusal ?? null,
    refused?.refusedBy ?? null,
    isOneRoute ? (first?.route ?? null) : null,
    kill,
    parts.flatMap((part) => part.hits),
  );
}

function makeVerdict(
  frame: VerdictFrame,
  shapes: readonly StatementShape[],
  refusal: Refusal | null,
  refusedBy: Verdict['refusedBy'],
  route: Verdict['route'],
  kill: Verdict['kill'],
  hits: readonly RuleHit[],
): Verdict {
  const limits = refusal === null ? hits.filter((hit) => hit.effect === 'limit') : NO_HITS;
  return Object.freeze({
    ruleset: frame.ruleset,
    subject: frame.subject,
    isInTransaction: frame.isInTransaction,
    shapes: Object.freeze(shapes),
    refusal,
    refusedBy,
    route: refusal === null ? route : null,
    kill: refusal === null ? kill : null,
    limits: Object.freeze(limits.filter((hit) => !hit.isObserved)),
    observedLimits: Object.freeze(limits.filter((hit) => hit.isObserved)),
    hits: Object.freeze(hits),
  });
}

function effectOf(rule: LiveRule): RuleEffect {
  const { action } = rule;
  switch (action) {
    case 'allow':
    case 'deny':
    case 'observe':
    case 'route':
      return action;
    case 'rate_limit':
    case 'max_concurrent':
      return 'limit';
    case 'kill_after_ms':
      return 'kill';
    default:
      return refuseUnknown(action);
  }
}

function refuseUnknown(action: never): never {
  throw new Error(`unknown action ${String(action)}`);
}

function wordDenial(rule: LiveRule): Refusal {
  return Object.freeze({
    rule: rule.name,
    sqlstate: rule.document.sqlstate ?? REFUSAL_SQLSTATE,
    message: rule.document.message ?? `statement refused by rule "${rule.name}"`,
    hint: rule.document.hint ?? 'Change the statement, or ask the owners of the rules for an exemption.',
    retryAfterMs: null,
  });
}

function refuseByDefault(frame: VerdictFrame, shape: StatementShape): Refusal | null {
  if (shape.unparsed !== null && frame.onUnparsed === 'deny') {
    return Object.freeze({
      rule: 'on_unparsed',
      sqlstate: REFUSAL_SQLSTATE,
      message: `statement refused by on_unparsed: ${UNPARSED_WORDS[shape.unparsed]}`,
      hint: 'The rules refuse statements that pgweir cannot read (on_unparsed: deny).',
      retryAfterMs: null,
    });
  }
  if (frame.defaultAction === 'allow') return null;
  return Object.freeze({
    rule: 'default_action',
    sqlstate: REFUSAL_SQLSTATE,
    message: 'statement refused by default_action: no rule allows it',
    hint: 'The rules refuse what no rule allows (default_action: deny).',
    retryAfterMs: null,
  });
}

const UNPARSED_WORDS: Readonly<Record<UnparsedReason, string>> = {
  syntax: 'its syntax cannot be read',
  too_long: 'it is too long to be read',
  too_deep: 'it is nested too deeply to be read',
  nul_byte: 'it holds a NUL byte',
  encoding: 'it is not valid in its encoding',
  function_call: 'a function call by number has no text',
  not_prepared: 'it runs a name that this session has not prepared',
  unsettled: 'it may be read by settings that have just been changed in the same unit of work',
};
