// Why a message was judged as it was: every rule in order, dimension by dimension. For the CLI; slow and plain on
// purpose. It uses the same conditions as the judge, but no memo and no stages.

import type { Subject } from '../session/subject.ts';
import type { StatementFacts, TextFacts } from '../sql/facts.ts';
import type { CompiledRuleset } from './compiled-ruleset.ts';
import { makeContext } from './compiled-ruleset.ts';
import type { LiveRule } from './live-rule.ts';
import type { CompiledMatch } from './match.ts';
import type { MatchContext } from './matchers/dimension.ts';
import type { Refusal, Verdict } from './verdict.ts';

export interface DimensionExplanation {
  /** `user`, `tables`, …; below a `not`: `not.tables`. */
  readonly key: string;
  readonly isHeld: boolean;
  readonly wanted: string;
  readonly seen: string;
}

export interface RuleExplanation {
  readonly rule: string;
  readonly priority: number;
  readonly mode: string;
  readonly action: string;
  /** `not_reached`: a rule above ended the search. */
  readonly status: 'matched' | 'not_matched' | 'off' | 'not_reached';
  /** Every dimension of the rule, whether or not an earlier one already failed. */
  readonly dimensions: readonly DimensionExplanation[];
}

export interface StatementExplanation {
  readonly normalized: string;
  readonly fingerprint: string;
  readonly queryClass: string;
  readonly kinds: readonly string[];
  readonly tables: readonly string[];
  readonly functions: readonly string[];
  readonly columns: readonly string[];
  readonly tags: Readonly<Record<string, string>>;
  readonly isMissingWhere: boolean;
  readonly unparsed: string | null;
  readonly rules: readonly RuleExplanation[];
}

export interface Explanation {
  readonly version: string;
  readonly subject: Subject;
  readonly isInTransaction: boolean;
  readonly statements: readonly StatementExplanation[];
  readonly refusal: Refusal | null;
  readonly route: string | null;
  readonly killAfterMs: number | null;
  readonly limits: readonly string[];
  readonly observed: readonly string[];
  readonly verdict: Verdict;
}

export function explain(
  ruleset: CompiledRuleset,
  subject: Subject,
  statements: TextFacts,
  isInTransaction: boolean,
): Explanation {
  const verdict = ruleset.viewFor(subject).judge(statements, isInTransaction);
  return {
    version: ruleset.version,
    subject,
    isInTransaction,
    statements: statements.map((facts) => explainStatement(ruleset, subject, facts, isInTransaction)),
    refusal: verdict.refusal,
    route: verdict.route?.target ?? null,
    killAfterMs: verdict.kill?.timeoutMs ?? null,
    limits: verdict.limits.map((hit) => hit.rule.name),
    observed: verdict.hits.filter((hit) => hit.isObserved).map((hit) => hit.rule.name),
    verdict,
  };
}

/** The explanation as lines of text for a terminal. */
export function formatExplanation(explanation: Explanation): string {
  const lines: string[] = [];
  for (const statement of explanation.statements) {
    lines.push(
      statement.normalized,
      `  fingerprint ${statement.fingerprint || '(none)'}, class ${statement.queryClass}, kinds ${statement.kinds.join(' ') || '(none)'}`,
    );
    if (statement.unparsed !== null) lines.push(`  unparsed: ${statement.unparsed}`);
    for (const rule of statement.rules) {
      lines.push(`  ${rule.status.padEnd(11)} ${rule.rule} (priority ${rule.priority}, ${rule.mode} ${rule.action})`);
      if (rule.status === 'off' || rule.status === 'not_reached') continue;
      for (const dimension of rule.dimensions) {
        lines.push(
          `      ${dimension.isHeld ? 'holds' : 'fails'}  ${dimension.key}: wanted ${dimension.wanted}; saw ${dimension.seen || '(nothing)'}`,
        );
      }
    }
  }
  lines.push(`=> ${describeOutcome(explanation)}`);
  return `${lines.join('\n')}\n`;
}

function describeOutcome(explanation: Explanation): string {
  const { refusal } = explanation;
  const parts = [refusal === null ? 'allowed' : `refused by ${refusal.rule}: ${refusal.sqlstate} ${refusal.message}`];
  if (explanation.route !== null) parts.push(`routed to ${explanation.route}`);
  if (explanation.killAfterMs !== null) parts.push(`killed after ${explanation.killAfterMs} ms`);
  if (explanation.limits.length > 0) parts.push(`limited by ${explanation.limits.join(', ')}`);
  if (explanation.observed.length > 0) parts.push(`observed by ${explanation.observed.join(', ')}`);
  return parts.join('; ');
}

function explainStatement(
  ruleset: CompiledRuleset,
  subject: Subject,
  facts: StatementFacts,
  isInTransaction: boolean,
): StatementExplanation {
  const { shape, tags } = facts;
  const context: MatchContext = {
    ...makeContext(),
    subject,
    shape,
    tags,
    isInTransaction,
    rawHits: ruleset.rawSet.match(facts.text),
    normalizedHits: ruleset.normalizedSet.match(shape.normalized),
  };
  let isEnded = false;
  const rules = ruleset.rules.map((rule) => {
    const explained = explainRule(rule, context, isEnded);
    if (explained.status === 'matched' && rule.isFinal) isEnded = true;
    return explained;
  });
  return {
    normalized: shape.normalized,
    fingerprint: shape.fingerprint,
    queryClass: shape.queryClass,
    kinds: shape.kinds,
    tables: shape.tables,
    functions: shape.functions,
    columns: shape.columns,
    tags,
    isMissingWhere: shape.isMissingWhere,
    unparsed: shape.unparsed,
    rules,
  };
}

function explainRule(rule: LiveRule, context: MatchContext, isEnded: boolean): RuleExplanation {
  const dimensions: DimensionExplanation[] = [];
  const isMatched = explainMatch(rule.match, context, '', dimensions);
  const status = rule.mode === 'off' ? 'off' : isEnded ? 'not_reached' : isMatched ? 'matched' : 'not_matched';
  return { rule: rule.name, priority: rule.priority, mode: rule.mode, action: rule.action, status, dimensions };
}

function explainMatch(
  match: CompiledMatch,
  context: MatchContext,
  prefix: string,
  into: DimensionExplanation[],
): boolean {
  let isMatched = true;
  for (const condition of match.conditions) {
    const isHeld = condition.holds(context);
    if (!isHeld) isMatched = false;
    into.push({ key: prefix + condition.key, isHeld, wanted: condition.wanted, seen: condition.seen(context) });
  }
  if (match.not === null) return isMatched;
  return !explainMatch(match.not, context, `${prefix}not.`, into) && isMatched;
}
