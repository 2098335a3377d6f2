// What is known of the definitions in each database, and since when: which statements can leave nothing behind in a session.
// Knowledge ends with its time, and at once when a definition is changed through pgweir.

import { type CatalogKnowledge, NO_KNOWLEDGE } from '../sql/catalog-knowledge.ts';

/** Definitions that are changed past pgweir are known after that time at the latest. */
const FRESH_MS = 10_000;

export class Catalog {
  /** NO_KNOWLEDGE where it may be out of date. */
  knowledge: CatalogKnowledge = NO_KNOWLEDGE;
  /** The last there was, for what changes rarely and must be overestimated rather than missed. */
  last: CatalogKnowledge = NO_KNOWLEDGE;
  isLoading = false;
  /** Each login runs a trigger, or may do so. */
  hasLoginTrigger = false;
  #loadedAtMs = 0;
  #epoch = 0;
  #changing = 0;

  get isFresh(): boolean {
    return this.knowledge !== NO_KNOWLEDGE;
  }

  /** It was never asked for. */
  get isUnknown(): boolean {
    return this.last === NO_KNOWLEDGE;
  }

  /** It could be loaded now, and would hold. */
  get isWanted(): boolean {
    return !this.isFresh && !this.isLoading && this.#changing === 0;
  }

  get epoch(): number {
    return this.#epoch;
  }

  /** A statement that changes definitions goes to the server; `endChange` follows with the end of its transaction. */
  beginChange(): void {
    this.#changing++;
    this.#forget();
  }

  endChange(): void {
    this.#changing--;
    this.#forget();
  }

  /** What was asked for while the epoch was `epoch`. */
  learn(knowledge: CatalogKnowledge, epoch: number, nowMs: number): void {
    this.last = knowledge;
    this.hasLoginTrigger = knowledge.hasLoginTrigger;
    if (epoch !== this.#epoch || this.#changing > 0) return;
    this.knowledge = knowledge;
    this.#loadedAtMs = nowMs;
  }

  expire(nowMs: number): void {
    if (this.isFresh && nowMs - this.#loadedAtMs > FRESH_MS) this.knowledge = NO_KNOWLEDGE;
  }

  #forget(): void {
    this.#epoch++;
    this.knowledge = NO_KNOWLEDGE;
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
