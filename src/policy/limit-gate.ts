// The gate that a judged message passes through its limits: token buckets first, then slots, then the virtual limits of
// rules in observe mode. All enforced limits must pass; where one refuses, what the others gave is given back.
//
// A passage: taking tokens -> (waiting for tokens) -> taking slots, older limiters first so that two passages cannot wait
// for each other, not even under two rulesets -> (waiting for a slot) -> through. It ends exactly once: through, refused, or abandoned.

import type { Subject } from '../session/subject.ts';
import { type AskedMessage, tagsOf, withoutNames } from './asked-message.ts';
import { LIMIT_SQLSTATE } from './assemble.ts';
import type { ConcurrencyLimiter, Limiter, RateLimiter, SlotOwner, SlotWaiter } from './limiter.ts';
import { makeLimitKey } from './limiter.ts';
import { LiveRule } from './live-rule.ts';
import type { Refusal, RuleHit, Verdict } from './verdict.ts';

/** What a message holds while it runs. */
export interface Hold {
  /** The message has ended, however it ended, or has to wait for something else. A second call does nothing. */
  release(): void;
  /** What was released before it ran is asked for once more: slots, no tokens. What it has waited already counts. */
  askAgain(nowMs: number): Admission;
}

export interface Admitted {
  readonly type: 'admitted';
  /** Null where there is nothing to release. */
  readonly hold: Hold | null;
  /** For what does not run after all. Null where it took none. */
  readonly giveTokensBack: (() => void) | null;
}

export interface LimitRefused {
  readonly type: 'refused';
  readonly refusal: Refusal;
  readonly hit: RuleHit;
}

/**
 * `until` settles at the latest after the longest `wait_ms` of each limit in turn. After `abandon` it either never does,
 * or (when both came in one turn) tells of an admission that is already released.
 */
export interface Waiting {
  readonly type: 'waiting';
  readonly until: Promise<Admitted | LimitRefused>;
  /** The client is gone or has cancelled: leaves every line and gives everything back. Not to be called once `until` was heard. */
  abandon(): void;
}

export type Admission = Admitted | LimitRefused | Waiting;

export interface Scheduler {
  /** Milliseconds on the clock that `admit` is given. */
  nowMs(): number;
  /** Runs once after so many ms; the answer calls it off. */
  after(delayMs: number, run: () => void): () => void;
}

export const systemScheduler: Scheduler = {
  nowMs: () => performance.now(),
  after: (delayMs, run) => {
    const timer = setTimeout(run, delayMs);
    return () => clearTimeout(timer);
  },
};

/** Fits the recorder's `recordLimit`. */
export type LimitReport = (verdict: Verdict, hit: RuleHit, outcome: 'waited' | 'would_refuse') => void;

const ADMITTED: Admitted = Object.freeze({ type: 'admitted', hold: null, giveTokensBack: null });

export class LimitGate {
  readonly scheduler: Scheduler;
  readonly report: LimitReport;
  /** Passages that wait and that hold something: 0 when nothing runs, which tests check. */
  waiting = 0;
  held = 0;
  refused = 0;

  constructor(scheduler: Scheduler, report: LimitReport) {
    this.scheduler = scheduler;
    this.report = report;
  }

  /**
   * Asks the limits of a verdict that does not refuse, on that message. Throws Error for a refused one: nothing may run on it.
   *
   * @param owner whose statements wait for each other anyway; without one it is a statement by itself
   * @param isResumed it has been admitted before and goes on now, so it needs its slots again, but no more tokens
   */
  admit(verdict: Verdict, message: AskedMessage, nowMs: number, owner: SlotOwner = {}, isResumed = false): Admission {
    if (verdict.limits.length === 0 && verdict.observedLimits.length === 0) {
      if (verdict.refusal !== null) throw new Error('a refused verdict cannot be admitted');
      return ADMITTED;
    }
    return new Passage(this, verdict, message, owner, isResumed).begin(nowMs);
  }
}

interface Taken {
  readonly limiter: RateLimiter;
  readonly key: string;
}

interface WantedSlot {
  readonly hit: RuleHit;
  readonly limiter: ConcurrencyLimiter;
  readonly key: string;
}

/** A slot that is held, or in observe mode pretended to be held or awaited. */
interface HeldSlot {
  end(nowMs: number): void;
}

class Passage implements Hold {
  readonly #gate: LimitGate;
  readonly #verdict: Verdict;
  readonly #message: AskedMessage;
  readonly #owner: SlotOwner;
  #isResumed: boolean;
  readonly #tokens: Taken[] = [];
  readonly #wanted: WantedSlot[] = [];
  readonly #held: HeldSlot[] = [];
  readonly #delayed = new Set<RuleHit>();
  /** How long it has stood in the line of each, and what has been reported: once for each, however often it asks. */
  readonly #waitedMs = new Map<RuleHit, number>();
  readonly #reported = new Set<RuleHit>();
  #settle: ((admission: Admitted | LimitRefused) => void) | null = null;
  #stopWaiting: (() => void) | null = null;

  constructor(gate: LimitGate, verdict: Verdict, message: AskedMessage, owner: SlotOwner, isResumed: boolean) {
    this.#gate = gate;
    this.#verdict = verdict;
    this.#message = message;
    this.#owner = owner;
    this.#isResumed = isResumed;
  }

  begin(nowMs: number): Admission {
    let longestMs = 0;
    for (const hit of withoutNames(this.#verdict.limits, this.#message)) {
      const limiter = limiterOf(hit);
      if (limiter === null) continue;
      const key = this.#keyFor(limiter, hit);
      if (limiter.kind === 'concurrency') {
        want(this.#wanted, { hit, limiter, key });
        continue;
      }
      if (this.#isResumed) continue;
      const dueMs = limiter.take(key, nowMs);
      if (dueMs < 0) return this.#refuse(hit, Math.ceil(-dueMs), nowMs);
      this.#tokens.push({ limiter, key });
      if (dueMs > 0) this.#delayed.add(hit);
      longestMs = Math.max(longestMs, dueMs);
    }
    this.#wanted.sort(compareSlots);
    if (longestMs > 0) {
      return this.#wait((done) =>
        this.#gate.scheduler.after(longestMs, () => {
          const admission = this.#takeSlots(this.#gate.scheduler.nowMs());
          if (admission !== null) done(admission);
        }),
      );
    }
    return this.#takeSlots(nowMs) ?? this.#wait(null);
  }

  /** Null where a slot has to be waited for; the passage then goes on by itself. */
  #takeSlots(nowMs: number): Admitted | LimitRefused | null {
    for (let wanted = this.#wanted.shift(); wanted !== undefined; wanted = this.#wanted.shift()) {
      const { limiter, key, hit } = wanted;
      if (limiter.tryTake(key, this.#owner)) {
        this.#hold(limiter, key, nowMs);
      } else if (this.#standInLine(wanted, nowMs)) {
        this.#delayed.add(hit);
        return null;
      } else {
        return this.#refuse(hit, limiter.retryAfterMs(), nowMs);
      }
    }
    return this.#pass(nowMs);
  }

  /** False where it may not wait any longer, or the line is full. */
  #standInLine(wanted: WantedSlot, sinceMs: number): boolean {
    const { limiter, key, hit } = wanted;
    const waitedMs = this.#waitedMs.get(hit) ?? 0;
    if (waitedMs >= limiter.waitMs) return false;
    const waiter: SlotWaiter = {
      owner: this.#owner,
      accept: (nowMs) => {
        this.#stopWaiting = null;
        cancelDeadline();
        this.#waitedMs.set(hit, waitedMs + nowMs - sinceMs);
        this.#hold(limiter, key, nowMs);
        this.#goOn(nowMs);
        return true;
      },
    };
    if (!limiter.enqueue(key, waiter)) return false;
    const cancelDeadline = this.#gate.scheduler.after(limiter.waitMs - waitedMs, () => {
      limiter.leave(key, waiter);
      this.#stopWaiting = null;
      this.#finish(this.#refuse(hit, limiter.retryAfterMs(), this.#gate.scheduler.nowMs()));
    });
    this.#stopWaiting = () => {
      cancelDeadline();
      limiter.leave(key, waiter);
    };
    return true;
  }

  #goOn(nowMs: number): void {
    const admission = this.#takeSlots(nowMs);
    if (admission !== null) this.#finish(admission);
  }

  #finish(admission: Admitted | LimitRefused): void {
    const settle = this.#settle;
    this.#settle = null;
    if (settle === null) return;
    this.#gate.waiting -= 1;
    settle(admission);
  }

  #wait(start: ((done: (admission: Admitted | LimitRefused) => void) => () => void) | null): Waiting {
    this.#gate.waiting += 1;
    const until = new Promise<Admitted | LimitRefused>((resolve) => {
      this.#settle = resolve;
    });
    if (start !== null) this.#stopWaiting = start((admission) => this.#finish(admission));
    return { type: 'waiting', until, abandon: () => this.#abandon() };
  }

  #abandon(): void {
    if (this.#settle === null) {
      // Granted in this very turn, and the waiter left before it could hear of it: nobody else will release.
      this.release();
      return;
    }
    this.#settle = null;
    this.#gate.waiting -= 1;
    this.#stopWaiting?.();
    this.#stopWaiting = null;
    this.#giveBack(this.#gate.scheduler.nowMs());
  }

  #hold(limiter: ConcurrencyLimiter, key: string, sinceMs: number): void {
    this.#held.push({ end: (nowMs) => limiter.release(key, this.#owner, nowMs - sinceMs, nowMs) });
  }

  #giveBack(nowMs: number): void {
    this.#giveTokensBack();
    this.#endHeld(nowMs);
  }

  /** `only`: those of one limiter. */
  #giveTokensBack(only: RateLimiter | null = null): void {
    for (const taken of this.#tokens.splice(0)) {
      if (only === null || taken.limiter === only) taken.limiter.giveBack(taken.key);
      else this.#tokens.push(taken);
    }
  }

  /** The virtual ones first: who takes over an enforced slot asks at once for those of rules that are observed. */
  #endHeld(nowMs: number): void {
    for (const slot of this.#held.splice(0).reverse()) slot.end(nowMs);
  }

  #refuse(hit: RuleHit, retryAfterMs: number, nowMs: number): LimitRefused {
    this.#gate.refused += 1;
    this.#giveBack(nowMs);
    return Object.freeze({ type: 'refused', hit, refusal: wordLimit(hit, Math.max(1, retryAfterMs)) });
  }

  #pass(nowMs: number): Admitted {
    for (const hit of this.#delayed) this.#report(hit, 'waited');
    if (this.#verdict.observedLimits.length > 0) this.#pretend(nowMs);
    const isHolding = this.#held.length > 0;
    const hasTokens = this.#tokens.length > 0;
    if (!isHolding && !hasTokens) return ADMITTED;
    if (isHolding) this.#gate.held += 1;
    return {
      type: 'admitted',
      hold: isHolding ? this : null,
      giveTokensBack: hasTokens ? () => this.#giveTokensBack() : null,
    };
  }

  #report(hit: RuleHit, outcome: 'waited' | 'would_refuse'): void {
    if (this.#reported.has(hit)) return;
    this.#reported.add(hit);
    this.#gate.report(this.#verdict, hit, outcome);
  }

  askAgain(nowMs: number): Admission {
    this.#isResumed = true;
    return this.begin(nowMs);
  }

  release(): void {
    if (this.#held.length === 0) return;
    this.#gate.held -= 1;
    this.#endHeld(this.#gate.scheduler.nowMs());
  }

  /** Limits in observe mode, each as though it alone were enforced: only what it would let through drains it. */
  #pretend(nowMs: number): void {
    const observed = withoutNames(this.#verdict.observedLimits, this.#message);
    for (const hits of Map.groupBy(observed, limiterOf).values()) {
      const wanted: WantedSlot[] = [];
      for (const hit of hits) {
        const limiter = limiterOf(hit);
        if (limiter === null) continue;
        const key = this.#keyFor(limiter, hit);
        if (limiter.kind === 'concurrency') want(wanted, { hit, limiter, key });
        else if (this.#isResumed) continue;
        else if (limiter.take(key, nowMs) >= 0) this.#tokens.push({ limiter, key });
        else {
          this.#report(hit, 'would_refuse');
          this.#giveTokensBack(limiter);
          break;
        }
      }
      this.#pretendSlots(wanted, nowMs);
    }
  }

  #pretendSlots(wanted: WantedSlot[], nowMs: number): void {
    const before = this.#held.length;
    const refused = wanted.sort(compareSlots).find((slot) => !this.#pretendSlot(slot, nowMs));
    if (refused === undefined) return;
    this.#report(refused.hit, 'would_refuse');
    for (const held of this.#held.splice(before).reverse()) held.end(nowMs);
  }

  /**
   * A statement over a virtual limit runs all the same. Where it might have waited it stands in a virtual line: it would
   * have been refused if no virtual slot came free within `wait_ms`, or before it ended. False: refused at once.
   */
  #pretendSlot({ hit, limiter, key }: WantedSlot, nowMs: number): boolean {
    if (limiter.tryTake(key, this.#owner)) {
      this.#hold(limiter, key, nowMs);
      return true;
    }
    const wouldRefuse = (): void => this.#report(hit, 'would_refuse');
    const deadlineMs = nowMs + limiter.waitMs;
    let grantedMs: number | null = null;
    const waiter: SlotWaiter = {
      owner: this.#owner,
      accept: (atMs) => {
        if (atMs > deadlineMs) {
          wouldRefuse();
          return false;
        }
        grantedMs = atMs;
        return true;
      },
    };
    if (limiter.waitMs === 0 || !limiter.enqueue(key, waiter)) return false;
    this.#held.push({
      end: (endMs) => {
        if (grantedMs !== null) limiter.release(key, this.#owner, endMs - grantedMs, endMs);
        else if (limiter.leave(key, waiter) && endMs > deadlineMs) wouldRefuse();
      },
    });
    return true;
  }

  #keyFor(limiter: Limiter, hit: RuleHit): string {
    if (limiter.per.length === 0) return '';
    const subject: Subject = this.#verdict.subject;
    return makeLimitKey(limiter.per, subject, hit.shape, tagsOf(this.#message, hit.shape));
  }
}

/** Statements of one message run one after another, so they need one slot of a key together. */
function want(wanted: WantedSlot[], slot: WantedSlot): void {
  if (!wanted.some((other) => other.limiter === slot.limiter && other.key === slot.key)) wanted.push(slot);
}

function compareSlots(left: WantedSlot, right: WantedSlot): number {
  return left.limiter.rank - right.limiter.rank || (left.key < right.key ? -1 : 1);
}

function limiterOf(hit: RuleHit): Limiter | null {
  return hit.rule instanceof LiveRule ? hit.rule.limiter : null;
}

function wordLimit(hit: RuleHit, retryAfterMs: number): Refusal {
  const { name, document } = hit.rule;
  const what =
    document.action === 'rate_limit' ? `${document.rate_per_sec} per second` : `${document.limit} at the same time`;
  return Object.freeze({
    rule: name,
    sqlstate: LIMIT_SQLSTATE,
    message: document.message ?? `rule "${name}" limits these statements to ${what}`,
    hint: document.hint ?? `Try again in ${retryAfterMs} ms.`,
    retryAfterMs,
  });
}
