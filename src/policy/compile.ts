// From a checked rule document to a ruleset: rules in order, patterns compiled, state of unchanged rules carried over.
// All or nothing: every problem of the document is found before the first is told.

import { RE2JSException } from 're2js';
import type { DocumentProblem } from '../base/yaml-document.ts';
import { describePath } from '../base/yaml-document.ts';
import { CompiledRuleset } from './compiled-ruleset.ts';
import type { ProblemAt } from './document.ts';
import { parseRuleDocument, RuleDocumentError } from './document.ts';
import type { KeyPart, Limiter } from './limiter.ts';
import { ConcurrencyLimiter, RateLimiter } from './limiter.ts';
import { actionOf, hashDefinition, hashText, LiveRule } from './live-rule.ts';
import type { CompiledMatch, ToolsAt } from './match.ts';
import { compileMatch } from './match.ts';
import { PatternTable } from './matchers/pattern-set.ts';
import type { RuleCounters, RuleDocument, RuleDocumentEntry } from './rule.ts';
import type { Ruleset } from './ruleset.ts';

export interface CompileOptions {
  readonly epoch: number;
  /** The ruleset that this one follows: rules of the same name and definition keep their counters and limits. */
  readonly previous?: Ruleset | null;
  /** From parseRuleDocument, so that problems have line and column; without it they stand at 1:1 of `source`. */
  readonly problemAt?: ProblemAt;
  readonly source?: string;
  /** Bound of what the judge remembers; for tests. */
  readonly maxMemoEntries?: number;
}

/** Names that refusals use where no rule spoke. */
const RESERVED_NAMES = new Set(['default_action', 'on_unparsed', 'max_statement_bytes']);
type RulePath = readonly (string | number)[];

/** Parses and compiles in one step. Throws RuleDocumentError. */
export function loadRuleset(text: string, source: string, options: CompileOptions): CompiledRuleset {
  const parsed = parseRuleDocument(text, source);
  return compileRuleset(parsed.document, { ...options, source, problemAt: parsed.problemAt });
}

/** Compiles a document that the schema has passed. Throws RuleDocumentError with every problem found. */
export function compileRuleset(document: RuleDocument, options: CompileOptions): CompiledRuleset {
  const problems: DocumentProblem[] = [];
  const problemAt = options.problemAt ?? placeless(options.source ?? 'rules');
  const rawPatterns = new PatternTable();
  const normalizedPatterns = new PatternTable();
  const entries = document.traffic_control.rules ?? [];
  const places = new Map<string, number>();
  const compiled = entries.map((entry, index) => {
    const fail = (path: RulePath, message: string, at?: 'value' | 'key'): void => {
      problems.push(problemAt(['traffic_control', 'rules', index, ...path], message, at));
    };
    const earlier = places.get(entry.name);
    if (earlier !== undefined) fail(['name'], `the name "${entry.name}" is already taken by rules[${earlier}]`);
    else places.set(entry.name, index);
    checkEntry(entry, fail);
    const toolsAt = makeToolsAt(entry, rawPatterns, normalizedPatterns, fail);
    return { entry, index, match: compileMatch(entry.match ?? {}, toolsAt) };
  });
  if (problems.length > 0) {
    problems.sort((left, right) => left.line - right.line || left.column - right.column);
    throw new RuleDocumentError(problems);
  }
  compiled.sort((left, right) => (right.entry.priority ?? 0) - (left.entry.priority ?? 0) || left.index - right.index);
  const rules = makeRules(compiled, options.previous ?? null);
  try {
    return new CompiledRuleset({
      version: hashVersion(document, rules),
      epoch: options.epoch,
      document,
      rules,
      rawPatterns,
      normalizedPatterns,
      ...(options.maxMemoEntries === undefined ? {} : { maxMemoEntries: options.maxMemoEntries }),
    });
  } catch (error) {
    if (!(error instanceof RE2JSException)) throw error;
    throw new RuleDocumentError([problemAt(['traffic_control', 'rules'], error.message)]);
  }
}

/** A function by itself: what matchers keep of the one above must not lead to the rules before these, and so to all before. */
function makeRules(
  compiled: readonly { readonly entry: RuleDocumentEntry; readonly match: CompiledMatch }[],
  before: Ruleset | null,
): LiveRule[] {
  const previous = new Map<string, LiveRule>();
  for (const rule of before?.rules ?? []) if (rule instanceof LiveRule) previous.set(rule.name, rule);
  return compiled.map(({ entry, match }) => makeRule(entry, match, previous.get(entry.name)));
}

function makeRule(entry: RuleDocumentEntry, match: CompiledMatch, previous: LiveRule | undefined): LiveRule {
  const definition = hashDefinition(entry);
  const kept = previous?.definition === definition ? previous : null;
  return new LiveRule({
    document: Object.freeze(entry),
    match,
    definition,
    counters: kept?.counters ?? makeCounters(),
    limiter: kept?.limiter ?? makeLimiter(entry),
  });
}

function makeLimiter(entry: RuleDocumentEntry): Limiter | null {
  const per = [entry.per ?? []].flat() as KeyPart[];
  const waitMs = entry.wait_ms ?? 0;
  if (entry.action === 'rate_limit') {
    const ratePerSecond = entry.rate_per_sec ?? 1;
    return new RateLimiter({ per, ratePerSecond, burst: entry.burst ?? Math.max(1, ratePerSecond), waitMs });
  }
  return entry.action === 'max_concurrent' ? new ConcurrencyLimiter({ per, limit: entry.limit ?? 1, waitMs }) : null;
}

/** What the schema cannot say of one rule. */
function checkEntry(
  entry: RuleDocumentEntry,
  fail: (path: RulePath, message: string, at?: 'value' | 'key') => void,
): void {
  if (RESERVED_NAMES.has(entry.name))
    fail(['name'], `"${entry.name}" is the name of a setting; refusals would not tell them apart`);
  if (
    entry.observe_only !== undefined &&
    entry.mode !== undefined &&
    (entry.mode === 'observe') !== entry.observe_only
  ) {
    fail(['observe_only'], `observe_only: ${entry.observe_only} contradicts mode: ${entry.mode}`, 'key');
  }
  if (entry.sqlstate !== undefined && /^0[012]/.test(entry.sqlstate)) {
    fail(['sqlstate'], `"${entry.sqlstate}" is no error: classes 00, 01 and 02 are success, warning and no data`);
  }
  if (
    entry.target !== undefined &&
    actionOf(entry) === 'route' &&
    entry.action !== 'route' &&
    entry.action !== `route_${entry.target}`
  ) {
    fail(['target'], `target: ${entry.target} contradicts action: ${entry.action}`);
  }
}

function makeToolsAt(
  entry: RuleDocumentEntry,
  rawPatterns: PatternTable,
  normalizedPatterns: PatternTable,
  fail: (path: RulePath, message: string) => void,
): ToolsAt {
  return (path, key) => {
    const failHere = (message: string, index?: number | string | null): void => {
      fail(index === undefined || index === null ? [...path, key] : [...path, key, index], message);
    };
    const addTo = (table: PatternTable) => (pattern: string, index: number | null) => {
      const added = table.add(pattern);
      if (typeof added === 'number') return added;
      failHere(`rule "${entry.name}": ${added}`, index);
      return 0;
    };
    return { addRawPattern: addTo(rawPatterns), addNormalizedPattern: addTo(normalizedPatterns), fail: failHere };
  };
}

function hashVersion(document: RuleDocument, rules: readonly LiveRule[]): string {
  const { default_action: defaultAction = 'allow', on_unparsed: onUnparsed = 'allow' } = document.traffic_control;
  const meaning = rules.map((rule) => [rule.definition, rule.description]);
  return hashText(JSON.stringify([defaultAction, onUnparsed, meaning]), 12);
}

function placeless(source: string): ProblemAt {
  return (path, message) => ({ message, path: describePath(path), line: 1, column: 1, source });
}

function makeCounters(): RuleCounters {
  return {
    matched: 0,
    refused: 0,
    routed: 0,
    killed: 0,
    killRaced: 0,
    waited: 0,
    wouldRefuse: 0,
    wouldRoute: 0,
    wouldKill: 0,
  };
}
