// The ruleset itself: rules in order, their patterns as sets, the views of the subjects that were seen, and the budget of
// what the views remember.

import type { Subject } from '../session/subject.ts';
import type { StatementShape } from '../sql/facts.ts';
import { RulesetView } from './judge.ts';
import type { LiveRule } from './live-rule.ts';
import type { CompiledMatch } from './match.ts';
import type { MatchContext } from './matchers/dimension.ts';
import { NO_PATTERNS, STAGE } from './matchers/dimension.ts';
import type { PatternSet, PatternTable } from './matchers/pattern-set.ts';
import type { RuleDocument } from './rule.ts';
import type { Ruleset } from './ruleset.ts';

const MAX_VIEWS = 1_024;
/** Sets made for the patterns that one kind of subject can still match; each may use memory of its own. */
const MAX_RAW_SETS = 8;
/** Shapes and texts remembered over all views: about 30 MB at the most. */
const MAX_MEMO_ENTRIES = 65_536;

/** Plain numbers, read when scraped. `epoch` moves when everything remembered is dropped for the bound's sake. */
export interface MemoBudget {
  entries: number;
  maxEntries: number;
  epoch: number;
  misses: number;
  flushes: number;
  views: number;
  viewsEvicted: number;
}

export interface RulesetParts {
  readonly version: string;
  readonly epoch: number;
  readonly document: RuleDocument;
  readonly rules: readonly LiveRule[];
  readonly rawPatterns: PatternTable;
  readonly normalizedPatterns: PatternTable;
  readonly maxMemoEntries?: number;
}

export class CompiledRuleset implements Ruleset {
  readonly version: string;
  readonly epoch: number;
  readonly document: RuleDocument;
  readonly rules: readonly LiveRule[];
  readonly hasRoutes: boolean;
  readonly asksForTransaction: boolean;
  readonly isNumberBlind: boolean;
  readonly defaultAction: 'allow' | 'deny';
  readonly onUnparsed: 'allow' | 'observe' | 'deny';
  readonly rawSet: PatternSet;
  readonly normalizedSet: PatternSet;
  readonly memo: MemoBudget;
  /** Scratch of the judge, which runs from start to end without a break. */
  readonly context: MatchContext;
  readonly #rawPatterns: PatternTable;
  readonly #rawSets = new Map<string, PatternSet>();
  readonly #views = new Map<string, RulesetView>();

  /** Throws RE2JSException where the patterns do not fit into one set. */
  constructor(parts: RulesetParts) {
    this.version = parts.version;
    this.epoch = parts.epoch;
    this.document = parts.document;
    this.rules = Object.freeze(parts.rules);
    this.hasRoutes = parts.rules.some((rule) => rule.action === 'route' && rule.mode !== 'off');
    this.asksForTransaction = parts.rules.some((rule) => rule.mode !== 'off' && asksForTransaction(rule.match));
    this.isNumberBlind = parts.rawPatterns.isNumberBlind;
    this.defaultAction = parts.document.traffic_control.default_action ?? 'allow';
    this.onUnparsed = parts.document.traffic_control.on_unparsed ?? 'allow';
    this.#rawPatterns = parts.rawPatterns;
    this.rawSet = parts.rawPatterns.compileSet();
    this.normalizedSet = parts.normalizedPatterns.compileSet();
    this.memo = {
      entries: 0,
      maxEntries: parts.maxMemoEntries ?? MAX_MEMO_ENTRIES,
      epoch: 0,
      misses: 0,
      flushes: 0,
      views: 0,
      viewsEvicted: 0,
    };
    this.context = makeContext();
    Object.freeze(this);
  }

  viewFor(subject: Subject): RulesetView {
    const key = `${subject.user}\0${subject.database}\0${subject.applicationName}\0${subject.clientIp}`;
    const known = this.#views.get(key);
    if (known !== undefined) {
      // Reinserting keeps the map in order of use, so that the first is the longest unused.
      this.#views.delete(key);
      this.#views.set(key, known);
      return known;
    }
    const view = new RulesetView(this, subject);
    this.#views.set(key, view);
    if (this.#views.size > MAX_VIEWS) {
      for (const oldest of this.#views.keys()) {
        this.#views.delete(oldest);
        break;
      }
      this.memo.viewsEvicted += 1;
    }
    this.memo.views = this.#views.size;
    return view;
  }

  /** A set that answers for these patterns at least. */
  rawSetFor(ids: readonly number[]): PatternSet {
    if (ids.length === this.#rawPatterns.size) return this.rawSet;
    const key = ids.join(',');
    const known = this.#rawSets.get(key);
    if (known !== undefined) return known;
    if (this.#rawSets.size >= MAX_RAW_SETS) return this.rawSet;
    const set = this.#rawPatterns.compileSet(ids);
    this.#rawSets.set(key, set);
    return set;
  }
}

function asksForTransaction({ conditions, not }: CompiledMatch): boolean {
  return conditions.some(({ stage }) => stage === STAGE.transaction) || (not !== null && asksForTransaction(not));
}

const NO_SUBJECT: Subject = { user: '', database: '', applicationName: '', clientIp: '' };

const NO_SHAPE: StatementShape = {
  normalized: '',
  fingerprint: '',
  queryClass: 'unknown',
  kinds: [],
  tables: [],
  functions: [],
  columns: [],
  isMissingWhere: false,
  unparsed: null,
};

/** A context of its own, for those who look at a rule outside the judge. */
export function makeContext(): MatchContext {
  return {
    subject: NO_SUBJECT,
    shape: NO_SHAPE,
    tags: {},
    isInTransaction: false,
    rawHits: NO_PATTERNS,
    normalizedHits: NO_PATTERNS,
  };
}
