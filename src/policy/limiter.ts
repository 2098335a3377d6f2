// The state of one limit: token buckets, or slots with a queue, one for each key that `per` tells apart. Time comes in as
// an argument. A limiter lives on through swaps of the ruleset that leave its rule unchanged.

import { createHash } from 'node:crypto';
import type { Subject } from '../session/subject.ts';
import type { StatementShape } from '../sql/facts.ts';

/** Keys kept at once by one limiter; beyond, the longest unused are forgotten (they start afresh) and counted. */
const MAX_KEYS = 10_000;
/** Statements that may wait for one limiter; beyond, they are refused at once. */
const MAX_WAITERS = 10_000;
/** Of a tag in a key: clients choose tags and keys are kept, so a longer one is replaced by its hash. */
const MAX_TAG_CHARACTERS = 200;
/** After how long a refused statement is told to retry while no slot has come free yet, so that nothing is known of hold times. */
const UNKNOWN_HOLD_MS = 1000;
/** Absorbs what binary fractions lose, so that 200 per second is 200 and not 199. */
const EPSILON = 1e-9;

let lastRank = 0;

export type Limiter = RateLimiter | ConcurrencyLimiter;

/** What `per` tells apart. */
export type KeyPart = 'user' | 'application_name' | 'client_ip' | 'database' | 'fingerprint' | `tag:${string}`;

export type Tags = Readonly<Record<string, string>>;

/** The key of one statement under a limit; the empty text where the limit has one bucket for all. */
export function makeLimitKey(parts: readonly KeyPart[], subject: Subject, shape: StatementShape, tags: Tags): string {
  let key = '';
  for (const part of parts) key += `${readPart(part, subject, shape, tags)}\0`;
  return key;
}

function readPart(part: KeyPart, subject: Subject, shape: StatementShape, tags: Tags): string {
  switch (part) {
    case 'user':
      return subject.user;
    case 'application_name':
      return subject.applicationName;
    case 'client_ip':
      return subject.clientIp;
    case 'database':
      return subject.database;
    case 'fingerprint':
      return shape.fingerprint;
    default: {
      const name = part.slice('tag:'.length);
      const text = Object.hasOwn(tags, name) ? (tags[name] ?? '') : '';
      return text.length <= MAX_TAG_CHARACTERS ? text : createHash('sha256').update(text).digest('base64');
    }
  }
}

interface Bucket {
  /** Below zero where statements that wait have reserved theirs. */
  tokens: number;
  updatedMs: number;
}

export interface RateOptions {
  readonly per: readonly KeyPart[];
  readonly ratePerSecond: number;
  readonly burst: number;
  readonly waitMs: number;
}

/** Token buckets with reservations: a statement that may wait takes its token now and runs when the token exists. */
export class RateLimiter {
  readonly kind = 'rate';
  readonly per: readonly KeyPart[];
  readonly waitMs: number;
  /** Keys forgotten before their bucket was full again. */
  evictions = 0;
  readonly #ratePerMs: number;
  readonly #burst: number;
  readonly #buckets = new Map<string, Bucket>();

  constructor(options: RateOptions) {
    this.per = options.per;
    this.waitMs = options.waitMs;
    this.#ratePerMs = options.ratePerSecond / 1000;
    this.#burst = options.burst;
  }

  get keys(): number {
    return this.#buckets.size;
  }

  /**
   * Takes a token. Zero: run now. Positive: the token is reserved, run after so many ms. Negative: refused and nothing
   * taken; a retry may succeed after so many ms.
   */
  take(key: string, nowMs: number): number {
    const bucket = this.#refill(key, nowMs);
    const missing = 1 - bucket.tokens;
    if (missing <= EPSILON) {
      bucket.tokens -= 1;
      return 0;
    }
    const dueMs = missing / this.#ratePerMs;
    if (dueMs > this.waitMs + EPSILON) return -(dueMs - this.waitMs);
    bucket.tokens -= 1;
    return dueMs;
  }

  /** Undoes one `take` that did not refuse. */
  giveBack(key: string): void {
    const bucket = this.#buckets.get(key);
    if (bucket !== undefined) bucket.tokens = Math.min(this.#burst, bucket.tokens + 1);
  }

  #refill(key: string, nowMs: number): Bucket {
    const known = this.#buckets.get(key);
    if (known === undefined) {
      if (this.#buckets.size >= MAX_KEYS) this.#makeRoom(nowMs);
      const bucket: Bucket = { tokens: this.#burst, updatedMs: nowMs };
      this.#buckets.set(key, bucket);
      return bucket;
    }
    if (nowMs > known.updatedMs) {
      known.tokens = Math.min(this.#burst, known.tokens + (nowMs - known.updatedMs) * this.#ratePerMs);
      known.updatedMs = nowMs;
    }
    return known;
  }

  /** Forgets full buckets, which loses nothing; then the eighth longest unused, so that a flood of keys pays this rarely. */
  #makeRoom(nowMs: number): void {
    const floor = MAX_KEYS - MAX_KEYS / 8;
    for (const [key, bucket] of this.#buckets) {
      const tokens = bucket.tokens + (nowMs - bucket.updatedMs) * this.#ratePerMs;
      if (tokens >= this.#burst) this.#buckets.delete(key);
    }
    if (this.#buckets.size <= floor) return;
    const byUse = [...this.#buckets].sort(([, left], [, right]) => left.updatedMs - right.updatedMs);
    for (const [key] of byUse) {
      if (this.#buckets.size <= floor) return;
      this.#buckets.delete(key);
      this.evictions += 1;
    }
  }
}

/**
 * Whose statements run one after another, so that they need one slot of a key together however many of them have been sent:
 * a session. Compared by identity.
 */
export type SlotOwner = object;

/** One that waits for a slot. `accept` answers whether it still wants the slot that it is offered. */
export interface SlotWaiter {
  readonly owner: SlotOwner;
  accept(nowMs: number): boolean;
}

interface Slots {
  /** One slot each, with the number of statements that share it. */
  readonly holders: Map<SlotOwner, number>;
  readonly waiters: Set<SlotWaiter>;
  isServing: boolean;
}

export interface ConcurrencyOptions {
  readonly per: readonly KeyPart[];
  readonly limit: number;
  readonly waitMs: number;
}

/** At most `limit` statements of one key at once; those that may wait get freed slots first come, first served. */
export class ConcurrencyLimiter {
  readonly kind = 'concurrency';
  readonly per: readonly KeyPart[];
  readonly waitMs: number;
  /** Always zero: keys here live only as long as a statement holds or awaits a slot. */
  readonly evictions = 0;
  waiting = 0;
  /** Rises with each limiter that is made, and is kept through swaps, unlike the place of its rule. */
  readonly rank = ++lastRank;
  readonly #limit: number;
  readonly #slots = new Map<string, Slots>();
  /** Average of how long slots were held lately: the best guess at when one comes free. Null before any came free. */
  #holdMs: number | null = null;

  constructor(options: ConcurrencyOptions) {
    this.per = options.per;
    this.waitMs = options.waitMs;
    this.#limit = options.limit;
  }

  get keys(): number {
    return this.#slots.size;
  }

  /** Slots of the key that are held. */
  running(key: string): number {
    return this.#slots.get(key)?.holders.size ?? 0;
  }

  /** Takes a slot if one is free, or the owner's own, and nobody waits. */
  tryTake(key: string, owner: SlotOwner): boolean {
    const slots = this.#slots.get(key);
    if (slots === undefined) {
      this.#slots.set(key, { holders: new Map([[owner, 1]]), waiters: new Set(), isServing: false });
      return true;
    }
    return slots.waiters.size === 0 && this.#hold(slots, owner);
  }

  /** Stands in line for a slot; false where the line is full. */
  enqueue(key: string, waiter: SlotWaiter): boolean {
    const slots = this.#slots.get(key);
    if (slots === undefined || this.waiting >= MAX_WAITERS) return false;
    slots.waiters.add(waiter);
    this.waiting += 1;
    return true;
  }

  /** Leaves the line; false where the waiter no longer stood in it. */
  leave(key: string, waiter: SlotWaiter): boolean {
    const slots = this.#slots.get(key);
    if (slots === undefined || !slots.waiters.delete(waiter)) return false;
    this.waiting -= 1;
    return true;
  }

  /** Ends one statement's hold of `heldMs`: a slot that comes free goes to the first waiter that still wants it. */
  release(key: string, owner: SlotOwner, heldMs: number, nowMs: number): void {
    const slots = this.#slots.get(key);
    if (slots === undefined || !letGo(slots, owner)) return;
    this.#holdMs = this.#holdMs === null ? heldMs : this.#holdMs + (heldMs - this.#holdMs) / 8;
    // A waiter that is refused by its next limit gives its slot back at once: whoever is serving goes on with that.
    if (slots.isServing) return;
    slots.isServing = true;
    for (const waiter of slots.waiters) {
      if (!this.#hold(slots, waiter.owner)) break;
      slots.waiters.delete(waiter);
      this.waiting -= 1;
      if (!waiter.accept(nowMs)) letGo(slots, waiter.owner);
    }
    slots.isServing = false;
    if (slots.holders.size === 0) this.#slots.delete(key);
  }

  /** After how many ms a refused statement may try again. */
  retryAfterMs(): number {
    return Math.max(1, Math.ceil(this.#holdMs ?? UNKNOWN_HOLD_MS));
  }

  #hold(slots: Slots, owner: SlotOwner): boolean {
    const shared = slots.holders.get(owner) ?? 0;
    if (shared === 0 && slots.holders.size >= this.#limit) return false;
    slots.holders.set(owner, shared + 1);
    return true;
  }
}

/** False where the owner holds nothing. */
function letGo({ holders }: Slots, owner: SlotOwner): boolean {
  const shared = holders.get(owner);
  if (shared === undefined) return false;
  if (shared > 1) holders.set(owner, shared - 1);
  else holders.delete(owner);
  return true;
}
