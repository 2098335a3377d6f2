// Which statements of whom a rule matched: counts crossed over rule × fingerprint × application × user × client prefix ×
// database, in bounded memory.
//
// Bound and guarantee. All rules share `maxCells` cells. When they are full, the rule that holds most of them gives up an
// eighth: its coldest cells fold into its `other` tally (Misra-Gries with batched purges, as in Anderson et al., "A
// High-Performance Algorithm for Identifying Frequent Items in Data Streams", 2017). With `erosion`, a number per rule
// that rises at each purge by the counter of the warmest cell purged:
//   1. a rule's totals are exact, and equal the sum of its cells plus `other`, always;
//   2. a cell's count is never too high, and too low by at most its `possiblyMissed` (the erosion when it was admitted,
//      0 while the rule was never purged);
//   3. whatever has no cell was seen at most `erosion` times, and erosion <= 8/7 · matches / K, with K the fewest cells
//      that the rule held at a purge. So what makes up more than that share of its traffic has a cell, however late it came;
//   4. a rule never loses a cell while another rule holds more, so a noisy rule cannot push out a quiet one.

import { createHash } from 'node:crypto';
import { targetOf, writeCanonically } from '../policy/live-rule.ts';
import type { CompiledRule } from '../policy/rule.ts';
import type { Ruleset } from '../policy/ruleset.ts';
import type { Verdict } from '../policy/verdict.ts';
import type { StatementShape } from '../sql/facts.ts';
import { foldClientPrefix } from './client-prefix.ts';
import { cutSample } from './sample.ts';
import type { Tally } from './tally.ts';
import { addTally, createTally } from './tally.ts';

export interface ObservationKey {
  readonly fingerprint: string;
  readonly applicationName: string;
  readonly user: string;
  readonly clientPrefix: string;
  readonly database: string;
}

export class ObservationCell {
  readonly line: RuleLine;
  readonly tally: Tally = createTally();
  readonly key: ObservationKey;
  /** Literal-free text of the shape that made the cell, cut to MAX_SAMPLE_LENGTH. */
  readonly sample: string;
  readonly possiblyMissed: number;
  readonly firstSeenMs: number;
  lastSeenMs: number;
  /** Its numbers have gone into `other`; whoever still holds it must resolve again. */
  isEvicted = false;

  constructor(line: RuleLine, key: ObservationKey, sample: string, nowMs: number) {
    this.line = line;
    this.key = key;
    this.sample = sample;
    this.possiblyMissed = line.erosion;
    this.firstSeenMs = nowMs;
    this.lastSeenMs = nowMs;
  }
}

/** One rule's part of the matrix. A rule that changes its meaning under the same name starts a new line. */
export class RuleLine {
  /** The rule as it last stood: its mode may change without a new line. */
  rule: CompiledRule;
  readonly meaning: string;
  /** The newest ruleset that this line belongs to. */
  epoch: number;
  readonly sinceMs: number;
  readonly totals: Tally = createTally();
  readonly other: Tally = createTally();
  readonly cells = new Map<string, ObservationCell>();
  erosion = 0;
  purgedCells = 0;

  constructor(rule: CompiledRule, meaning: string, epoch: number, sinceMs: number) {
    this.rule = rule;
    this.meaning = meaning;
    this.epoch = epoch;
    this.sinceMs = sinceMs;
  }
}

/** Lines of rules that have left the ruleset are kept as evidence, up to this many lines in all. */
const MAX_LINES = 2000;
const PURGED_SHARE = 1 / 8;

export class ObservationMatrix {
  readonly maxCells: number;
  readonly #lines = new Map<string, RuleLine>();
  #cellCount = 0;
  /** Matches of a rule's old meaning that ended after its new meaning had begun. */
  staleMatches = 0;
  /** What `other` had counted in lines that have been dropped since. */
  #droppedOther = 0;

  /** Throws RangeError for a bound below 1. */
  constructor(maxCells: number) {
    if (!Number.isInteger(maxCells) || maxCells < 1) throw new RangeError('maxCells must be a whole number above 0');
    this.maxCells = maxCells;
  }

  get cellCount(): number {
    return this.#cellCount;
  }

  /** Matches that lost their own cell since the start, over all rules; never falls. */
  otherMatches(): number {
    let sum = this.#droppedOther;
    for (const line of this.#lines.values()) sum += line.other.matched;
    return sum;
  }

  lines(): IterableIterator<RuleLine> {
    return this.#lines.values();
  }

  line(ruleName: string): RuleLine | null {
    return this.#lines.get(ruleName) ?? null;
  }

  /**
   * The cell of one rule and one shape under the verdict's subject, admitted if need be. Null for a verdict of an old
   * ruleset whose rule has since been given another meaning: its count would sully the new line.
   */
  resolve(verdict: Verdict, rule: CompiledRule, shape: StatementShape, nowMs: number): ObservationCell | null {
    const line = this.#resolveLine(rule, verdict.ruleset.epoch, nowMs);
    if (line === null) return null;
    const subject = verdict.subject;
    const fingerprint = identifyShape(shape);
    const clientPrefix = foldClientPrefix(subject.clientIp);
    const name = [fingerprint, subject.applicationName, subject.user, clientPrefix, subject.database].join('\0');
    const known = line.cells.get(name);
    if (known !== undefined) return known;
    if (this.#cellCount >= this.maxCells) this.#purge();
    const { applicationName, user, database } = subject;
    const key = { fingerprint, applicationName, user, clientPrefix, database };
    const cell = new ObservationCell(line, key, cutSample(shape.normalized), nowMs);
    line.cells.set(name, cell);
    this.#cellCount += 1;
    return cell;
  }

  /** The rules were swapped: lines of rules that mean the same go on, as those rules stand now. */
  follow({ rules, epoch }: Ruleset): void {
    for (const rule of rules) {
      const line = this.#lines.get(rule.name);
      if (line === undefined || line.meaning !== describeMeaning(rule)) continue;
      line.rule = rule;
      line.epoch = epoch;
    }
  }

  #resolveLine(rule: CompiledRule, epoch: number, nowMs: number): RuleLine | null {
    const line = this.#lines.get(rule.name);
    if (line?.rule === rule) {
      if (epoch > line.epoch) line.epoch = epoch;
      return line;
    }
    const meaning = describeMeaning(rule);
    if (line !== undefined) {
      if (line.meaning === meaning) {
        if (epoch >= line.epoch) {
          line.rule = rule;
          line.epoch = epoch;
        }
        return line;
      }
      if (epoch <= line.epoch) {
        this.staleMatches += 1;
        return null;
      }
      this.#drop(line);
    } else if (this.#lines.size >= MAX_LINES) {
      this.#dropOldestLine();
    }
    const created = new RuleLine(rule, meaning, epoch, nowMs);
    this.#lines.set(rule.name, created);
    return created;
  }

  #dropOldestLine(): void {
    let oldest: RuleLine | null = null;
    for (const line of this.#lines.values()) if (oldest === null || line.epoch < oldest.epoch) oldest = line;
    if (oldest !== null) this.#drop(oldest);
  }

  #drop(line: RuleLine): void {
    for (const cell of line.cells.values()) cell.isEvicted = true;
    this.#cellCount -= line.cells.size;
    this.#droppedOther += line.other.matched;
    line.cells.clear();
    this.#lines.delete(line.rule.name);
  }

  #purge(): void {
    let fullest: RuleLine | null = null;
    for (const line of this.#lines.values())
      if (fullest === null || line.cells.size > fullest.cells.size) fullest = line;
    if (fullest !== null) this.#cellCount -= purgeColdest(fullest);
  }
}

/**
 * Folds the coldest eighth of a line (at least one cell) into `other`. Among cells of equal counters the ones admitted
 * first go. Answers how many went.
 */
function purgeColdest(line: RuleLine): number {
  const counters = new Float64Array(line.cells.size);
  let index = 0;
  for (const cell of line.cells.values()) counters[index++] = counterOf(cell);
  counters.sort();
  const purgedCount = Math.max(1, Math.floor(counters.length * PURGED_SHARE));
  const threshold = counters[purgedCount - 1] ?? 0;
  let colderCount = 0;
  while ((counters[colderCount] ?? threshold) < threshold) colderCount += 1;
  let tiesLeft = purgedCount - colderCount;
  for (const [name, cell] of line.cells) {
    const counter = counterOf(cell);
    if (counter > threshold || (counter === threshold && tiesLeft-- <= 0)) continue;
    line.cells.delete(name);
    cell.isEvicted = true;
    addTally(line.other, cell.tally);
  }
  line.erosion += threshold;
  line.purgedCells += purgedCount;
  return purgedCount;
}

/** The Misra-Gries counter: what was counted since admission, less what all purges since then have worn away. */
function counterOf(cell: ObservationCell): number {
  return Math.max(0, cell.tally.matched - (cell.line.erosion - cell.possiblyMissed));
}

/** The fingerprint; for text that the parser cannot read (and so has none) a hash of its literal-free form. */
function identifyShape(shape: StatementShape): string {
  if (shape.fingerprint !== '') return shape.fingerprint;
  return `text:${createHash('sha256').update(shape.normalized).digest('hex').slice(0, 11)}`;
}

/** What a rule matches and does, without how it is called, ordered, worded or switched; equal however that is written. */
function describeMeaning(rule: CompiledRule): string {
  const { name, description, priority, mode, observe_only, message, hint, sqlstate, ...meaning } = rule.document;
  const target = targetOf(rule.document) ?? undefined;
  return writeCanonically({ ...meaning, action: rule.action, target, match: meaning.match ?? {} });
}
