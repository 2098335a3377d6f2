// The rule language once more, as plainly as it can be said: a full scan of all rules for each statement, one RE2 pattern
// at a time, nothing remembered. The judge must agree with it.

import { RE2JS } from 're2js';
import type { MatchDocument, RuleDocument, RuleDocumentEntry } from '../../src/policy/rule.ts';
import type { Subject } from '../../src/session/subject.ts';
import type { StatementFacts } from '../../src/sql/facts.ts';

export interface SlowVerdict {
  /** Null where nothing refuses. */
  readonly refusedBy: string | null;
  readonly route: string | null;
  readonly killMs: number | null;
  readonly limits: readonly string[];
  readonly observedLimits: readonly string[];
  /** `name effect observed` of every rule that matched, statement by statement. */
  readonly hits: readonly string[];
}

export function judgeSlowly(
  document: RuleDocument,
  subject: Subject,
  statements: readonly StatementFacts[],
  isInTransaction: boolean,
): SlowVerdict {
  const parts = statements.map((facts) => judgeOne(document, subject, facts, isInTransaction));
  const refused = parts.find((part) => part.refusedBy !== null);
  const hits = parts.flatMap((part) => part.hits);
  if (refused !== undefined) {
    return { refusedBy: refused.refusedBy, route: null, killMs: null, limits: [], observedLimits: [], hits };
  }
  const kills = parts.flatMap((part) => (part.killMs === null ? [] : [part.killMs]));
  const routes = new Set(parts.map((part) => part.route));
  return {
    refusedBy: null,
    route: routes.size === 1 ? ([...routes][0] ?? null) : null,
    killMs: kills.length === 0 ? null : Math.min(...kills),
    limits: parts.flatMap((part) => part.limits),
    observedLimits: parts.flatMap((part) => part.observedLimits),
    hits,
  };
}

function judgeOne(
  document: RuleDocument,
  subject: Subject,
  facts: StatementFacts,
  isInTransaction: boolean,
): SlowVerdict {
  const { default_action: defaultAction, on_unparsed: onUnparsed, rules = [] } = document.traffic_control;
  const ordered = rules.map((rule, index) => ({ rule, index }));
  ordered.sort((a, b) => (b.rule.priority ?? 0) - (a.rule.priority ?? 0) || a.index - b.index);
  let route: string | null = null;
  let killMs: number | null = null;
  const limits: string[] = [];
  const observedLimits: string[] = [];
  const hits: string[] = [];
  let end: 'allow' | string | null = null;
  for (const { rule } of ordered) {
    const mode = rule.mode ?? (rule.observe_only === true ? 'observe' : 'enforce');
    if (mode === 'off' || !matches(rule.match ?? {}, subject, facts, isInTransaction)) continue;
    const isObserved = mode === 'observe';
    let effect = nameEffect(rule);
    if ((effect === 'route' && route !== null) || (effect === 'kill' && killMs !== null)) effect = 'shadowed';
    hits.push(`${rule.name} ${effect} ${isObserved}`);
    if (effect === 'limit') (isObserved ? observedLimits : limits).push(rule.name);
    if (isObserved) continue;
    if (effect === 'route') route = rule.target ?? rule.action.replace('route_', '');
    if (effect === 'kill') killMs = rule.timeout_ms ?? null;
    if (effect === 'allow') end = 'allow';
    if (effect === 'deny') end = rule.name;
    if (end !== null) break;
  }
  if (end === null && facts.shape.unparsed !== null && onUnparsed === 'deny') end = 'on_unparsed';
  if (end === null && defaultAction === 'deny') end = 'default_action';
  return { refusedBy: end === 'allow' ? null : end, route, killMs, limits, observedLimits, hits };
}

function nameEffect(rule: RuleDocumentEntry): string {
  if (rule.action.startsWith('route')) return 'route';
  if (rule.action === 'rate_limit' || rule.action === 'max_concurrent') return 'limit';
  return rule.action === 'kill_after_ms' ? 'kill' : rule.action;
}

function matches(match: MatchDocument, subject: Subject, facts: StatementFacts, isInTransaction: boolean): boolean {
  const { shape } = facts;
  const any = (patterns: string | string[], test: (pattern: string) => boolean): boolean =>
    [patterns].flat().some(test);
  const checks: boolean[] = [];
  if (match.user !== undefined) checks.push(any(match.user, (pattern) => isLike(pattern, subject.user)));
  if (match.database !== undefined) checks.push(any(match.database, (pattern) => isLike(pattern, subject.database)));
  if (match.application_name !== undefined) {
    checks.push(any(match.application_name, (pattern) => isLike(pattern, subject.applicationName)));
  }
  if (match.client_ip !== undefined) checks.push(any(match.client_ip, (prefix) => isInside(prefix, subject.clientIp)));
  if (match.query_regex !== undefined)
    checks.push(any(match.query_regex, (pattern) => compilePattern(pattern).matcher(facts.text).find()));
  if (match.fingerprint_regex !== undefined) {
    checks.push(any(match.fingerprint_regex, (pattern) => compilePattern(pattern).matcher(shape.normalized).find()));
  }
  if (match.fingerprint !== undefined) checks.push(any(match.fingerprint, (digits) => digits === shape.fingerprint));
  if (match.query_class !== undefined) checks.push(any(match.query_class, (name) => name === shape.queryClass));
  if (match.statement !== undefined)
    checks.push(any(match.statement, (pattern) => shape.kinds.some((kind) => isLike(pattern, kind))));
  for (const key of ['tables', 'functions', 'columns'] as const) {
    const patterns = match[key];
    if (patterns !== undefined)
      checks.push(any(patterns, (pattern) => shape[key].some((name) => isNamed(pattern, name))));
  }
  if (match.missing_where !== undefined) checks.push(match.missing_where === shape.isMissingWhere);
  if (match.tags !== undefined) {
    checks.push(
      Object.entries(match.tags).every(([name, patterns]) => {
        const value = facts.tags[name];
        return value !== undefined && any(patterns, (pattern) => isLike(pattern, value));
      }),
    );
  }
  if (match.in_transaction !== undefined) checks.push(match.in_transaction === isInTransaction);
  if (match.not !== undefined) checks.push(!matches(match.not, subject, facts, isInTransaction));
  return checks.every(Boolean);
}

const compiledPatterns = new Map<string, RE2JS>();

function compilePattern(pattern: string): RE2JS {
  const compiled = compiledPatterns.get(pattern) ?? RE2JS.compile(pattern);
  compiledPatterns.set(pattern, compiled);
  return compiled;
}

/** Recursion instead of placement: the other way to read a glob. */
function isLike(pattern: string, text: string): boolean {
  if (pattern === '') return text === '';
  if (pattern.startsWith('*')) return isLike(pattern.slice(1), text) || (text !== '' && isLike(pattern, text.slice(1)));
  return text !== '' && pattern[0] === text[0] && isLike(pattern.slice(1), text.slice(1));
}

function isNamed(pattern: string, name: string): boolean {
  return isLike(pattern.toLowerCase(), pattern.includes('.') ? name : (name.split('.').at(-1) ?? ''));
}

/** IPv4 only, as binary digits; and `unix`. */
function isInside(prefix: string, address: string): boolean {
  if (prefix === 'unix' || address === 'unix') return prefix === address;
  const [network = '', bits = '32'] = prefix.split('/');
  const digits = (text: string): string =>
    text
      .split('.')
      .map((byte) => Number(byte).toString(2).padStart(8, '0'))
      .join('');
  return digits(network).slice(0, Number(bits)) === digits(address).slice(0, Number(bits));
}
