// What is known of the definitions in each database, and since when: which statements can leave nothing behind in a session.
// Knowledge ends with its time, and at once when a definition is changed through pgweir.

import { type CatalogKnowledge, makeDoubtful, NO_KNOWLEDGE } from '../sql/catalog-knowledge.ts';
import type { StatementFacts } from '../sql/facts.ts';
import { definedSettings, definedTraces } from '../sql/traces.ts';

/** Definitions are read again after that time, when there is need of them. */
const FRESH_MS = 10_000;
/** Those that are changed past pgweir are known after that time at the latest. */
const OLD_MS = 20_000;

/** Prepared transactions with definitions in them that are remembered; of more the oldest are forgotten. */
const MAX_PREPARED = 1_000;

export class Catalog {
  /** As it is now: doubtful where it may be out of date. */
  knowledge: CatalogKnowledge = NO_KNOWLEDGE;
  /** As it was last read. */
  last: CatalogKnowledge = NO_KNOWLEDGE;
  /** Until its reading by some connection is through. Never rejects. */
  reading: Promise<void> | null = null;
  /** Each login runs a trigger, or may do so. */
  hasLoginTrigger = false;
  #isFresh = false;
  #isDue = true;
  /** Whether statements may run on a replica, logins be shared, or statements be passed on unfollowed, depends on it. */
  #isNeeded = false;
  #loadedAtMs = 0;
  #epoch = 0;
  #changing = 0;
  /** Bits of TRACE that no question to the server finds, and that definitions made since the last reading may leave. */
  #added = 0;
  readonly #addedSettings = new Set<string>();
  /** Transactions with definitions that nobody else sees yet, by the names they were prepared under. */
  readonly #prepared = new Set<string>();

  /** It was never read. */
  get isUnknown(): boolean {
    return this.last === NO_KNOWLEDGE;
  }

  /** It is time to read it, nobody does, and no change is under way that would make the reading out of date. */
  get isWanted(): boolean {
    return this.#isDue && this.reading === null && this.#changing === 0;
  }

  /** It is to be read at the next opportunity, though nobody waits. */
  get isOverdue(): boolean {
    return this.#isNeeded && this.isWanted;
  }

  /** Without knowledge nothing is routed, no login shared, no statement plain: it is to be read again soon, even where nobody waits. */
  need(): void {
    this.#isNeeded = true;
  }

  get epoch(): number {
    return this.#epoch;
  }

  /** Statements that change definitions go to the server; `endChange` follows with the end of their transaction. */
  beginChange(): void {
    this.#changing++;
  }

  /** One of them. */
  noteChange(statement: StatementFacts): void {
    this.#added |= definedTraces(statement);
    for (const name of definedSettings(statement)) this.#addedSettings.add(name);
    this.#epoch++;
    this.#doubt();
  }

  /** A transaction with definitions in it is about to be prepared: who commits it changes them. */
  notePrepared(name: string): void {
    this.#prepared.delete(name);
    this.#prepared.add(name);
    if (this.#prepared.size <= MAX_PREPARED) return;
    for (const oldest of this.#prepared) {
      this.#prepared.delete(oldest);
      return;
    }
  }

  hasPrepared(name: string): boolean {
    return this.#prepared.has(name);
  }

  /** Dotted names of settings that hidden code may set. */
  get customSettings(): Iterable<string> {
    return this.#addedSettings.size === 0
      ? this.last.customSettings
      : [...this.last.customSettings, ...this.#addedSettings];
  }

  endChange(): void {
    this.#changing--;
    this.#epoch++;
    this.#doubt();
  }

  /** What was read while the epoch was `epoch`. */
  learn(knowledge: CatalogKnowledge, epoch: number, nowMs: number): void {
    this.last = knowledge;
    if (epoch !== this.#epoch || this.#changing > 0) {
      this.hasLoginTrigger ||= knowledge.hasLoginTrigger;
      this.#doubt();
      return;
    }
    this.hasLoginTrigger = knowledge.hasLoginTrigger;
    this.knowledge = knowledge;
    this.#isFresh = true;
    this.#isDue = false;
    this.#isNeeded = false;
    this.#added = 0;
    this.#addedSettings.clear();
    this.#loadedAtMs = nowMs;
  }

  /** The server refuses to tell: it is asked again after a while. */
  fail(nowMs: number): void {
    this.#doubt();
    this.#isDue = false;
    this.#loadedAtMs = nowMs;
  }

  expire(nowMs: number): void {
    const ageMs = nowMs - this.#loadedAtMs;
    if (this.#isFresh && ageMs > OLD_MS) {
      this.#doubt();
      // In doubt every statement has to be followed: who goes on working pays for one reading rather than for that.
      this.need();
    } else if (ageMs > FRESH_MS) this.#isDue = true;
  }

  #doubt(): void {
    this.#isFresh = false;
    this.#isDue = true;
    this.knowledge = this.isUnknown ? NO_KNOWLEDGE : makeDoubtful(this.last, this.#added);
  }
}

export class Catalogs {
  readonly #byDatabase = new Map<string, Catalog>();

  of(target: string, database: string): Catalog {
    const key = `${target}\0${database}`;
    let catalog = this.#byDatabase.get(key);
    if (catalog === undefined) {
      catalog = new Catalog();
      this.#byDatabase.set(key, catalog);
    }
    return catalog;
  }

  forget(target: string, database: string): void {
    this.#byDatabase.delete(`${target}\0${database}`);
  }

  expire(nowMs: number): void {
    for (const catalog of this.#byDatabase.values()) catalog.expire(nowMs);
  }
}
