// What a document is allowed to say but its author hardly meant. Hints, one line each; nothing here refuses a document.

import type { CompiledRuleset } from './compiled-ruleset.ts';
import type { LiveRule } from './live-rule.ts';
import { writeCanonically } from './live-rule.ts';
import { parsePrefix } from './matchers/address.ts';
import type { MatchDocument, RuleDocumentEntry } from './rule.ts';

/** Which action uses which parameter. */
const PARAMETERS: Readonly<Record<string, readonly RuleDocumentEntry['action'][]>> = {
  message: ['deny', 'rate_limit', 'max_concurrent'],
  hint: ['deny', 'rate_limit', 'max_concurrent'],
  sqlstate: ['deny'],
  target: ['route', 'route_primary', 'route_replica'],
  rate_per_sec: ['rate_limit'],
  burst: ['rate_limit'],
  per: ['rate_limit', 'max_concurrent'],
  wait_ms: ['rate_limit', 'max_concurrent'],
  limit: ['max_concurrent'],
  timeout_ms: ['kill_after_ms'],
};

/** A pattern of plain words between blanks, boundaries and anchors says what a tree or a fingerprint says better. */
const WHOLE_STATEMENT = /^(\(\?[ims]+\))?\^(\\s[*+])?(select|insert|update|delete|merge)\b[^|]*\$$/i;

/** Lines such as `rule "x": …`, in order of evaluation. */
export function findLint(ruleset: CompiledRuleset): string[] {
  const lint: string[] = [];
  let ended: LiveRule | null = null;
  /** Names of rules above, by what they do and to what, and of those that end the search, by their match. */
  const byMeaning = new Map<string, string>();
  const byFinalMatch = new Map<string, string>();
  for (const rule of ruleset.rules) {
    const say = (words: string): void => {
      lint.push(`rule "${rule.name}": ${words}`);
    };
    if (rule.mode === 'off') continue;
    if (ended !== null)
      say(`is never reached: "${ended.name}" above ${ended.action === 'allow' ? 'allows' : 'denies'} everything`);
    lintRule(rule, say);
    const meaning = writeMeaning(rule);
    const matchText = writeCanonically(matchOf(rule));
    const twin = byMeaning.get(meaning);
    const above = byFinalMatch.get(matchText);
    if (twin !== undefined) say(`does the same for the same statements as "${twin}"`);
    else if (above !== undefined) say(`is never reached: "${above}" ends the search for the same statements`);
    if (twin === undefined) byMeaning.set(meaning, rule.name);
    if (rule.isFinal && above === undefined) byFinalMatch.set(matchText, rule.name);
    if (ended === null && rule.isFinal && isUnconditional(matchOf(rule))) ended = rule;
  }
  if (ruleset.rawSet.isGrowing() || ruleset.normalizedSet.isGrowing()) {
    lint.push(
      'the regular expressions together make a large automaton: every new text will cost much more; avoid .* and {n,m} in the middle of patterns',
    );
  }
  return lint;
}

function lintRule(rule: LiveRule, say: (words: string) => void): void {
  const match = matchOf(rule);
  const keys = Object.keys(match);
  if (keys.length === 0) say(`has no match and so applies to every statement (${rule.action})`);
  for (const [parameter, actions] of Object.entries(PARAMETERS)) {
    if (Object.hasOwn(rule.document, parameter) && !actions.includes(rule.document.action)) {
      say(`${parameter} has no meaning for action ${rule.document.action}`);
    }
  }
  if (rule.action === 'allow' && keys.length > 0 && keys.every((key) => key === 'application_name' || key === 'tags')) {
    say(`is an exemption guarded only by ${keys.join(' and ')}, which any client can set`);
  }
  if (match.not !== undefined && isUnconditional(match.not)) say('never matches: its "not" holds for every statement');
  for (const pattern of [match.query_regex ?? []].flat()) {
    if (WHOLE_STATEMENT.test(pattern)) {
      say(
        'describes a whole statement by query_regex: a fingerprint, or statement with tables, is not fooled by comments and layout',
      );
    }
  }
  for (const text of [match.client_ip ?? []].flat()) {
    const prefix = parsePrefix(text);
    if (typeof prefix !== 'string' && prefix.hasHostBits)
      say(`client_ip ${text} has bits set behind its prefix; they are ignored`);
  }
  if (
    rule.document.wait_ms === undefined &&
    rule.document.burst !== undefined &&
    rule.document.burst > 10 * (rule.document.rate_per_sec ?? 1)
  ) {
    say(`burst ${rule.document.burst} is more than ten seconds of its rate`);
  }
}

function matchOf(rule: LiveRule): MatchDocument {
  return rule.document.match ?? {};
}

function isUnconditional(match: MatchDocument): boolean {
  return Object.keys(match).length === 0;
}

function writeMeaning(rule: LiveRule): string {
  const { name: _, description: __, priority: ___, ...meaning } = rule.document;
  return writeCanonically(meaning);
}
