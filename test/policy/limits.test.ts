// Limits by a clock that the test moves: exact numbers, waiting, giving back, and observe mode that predicts enforcement.

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { AskedMessage } from '../../src/policy/asked-message.ts';
import { compileRuleset } from '../../src/policy/compile.ts';
import type { Admission, Hold } from '../../src/policy/limit-gate.ts';
import { LimitGate } from '../../src/policy/limit-gate.ts';
import { makeLimitKey, RateLimiter } from '../../src/policy/limiter.ts';
import { LiveRule } from '../../src/policy/live-rule.ts';
import type { RuleDocumentEntry } from '../../src/policy/rule.ts';
import type { Ruleset } from '../../src/policy/ruleset.ts';
import type { Verdict } from '../../src/policy/verdict.ts';
import type { Subject } from '../../src/session/subject.ts';
import type { TextFacts } from '../../src/sql/facts.ts';
import { makeFacts, makeShape, makeSubject, makeText } from './fact-maker.ts';
import { ManualScheduler } from './manual-scheduler.ts';

const messageOf = (statements: TextFacts, ownCount = statements.length): AskedMessage => ({ statements, ownCount });
/** For limits that tell no tags apart. */
const SOME = messageOf(makeText());

type LimitRule = Omit<RuleDocumentEntry, 'name'> & { name?: string };

class Bench {
  readonly scheduler = new ManualScheduler();
  readonly reports: string[] = [];
  readonly gate = new LimitGate(this.scheduler, (_, hit, outcome) => this.reports.push(`${hit.rule.name} ${outcome}`));
  ruleset: Ruleset;

  constructor(...rules: LimitRule[]) {
    this.ruleset = compileRuleset(makeDocument(rules), { epoch: 1 });
  }

  swap(...rules: LimitRule[]): void {
    this.ruleset = compileRuleset(makeDocument(rules), { epoch: this.ruleset.epoch + 1, previous: this.ruleset });
  }

  judge(subject: Partial<Subject> = {}): Verdict {
    return this.ruleset.viewFor(makeSubject(subject)).judge(makeText(), false);
  }

  ask(subject: Partial<Subject> = {}, tags: Record<string, string> = {}): Admission {
    return this.gate.admit(this.judge(subject), messageOf(makeText({}, '', tags)), this.scheduler.nowMs());
  }

  askTogether(user: string, fingerprints: readonly string[]): Admission {
    const statements = fingerprints.flatMap((fingerprint) => makeText({ fingerprint }));
    const verdict = this.ruleset.viewFor(makeSubject({ user })).judge(statements, statements.length > 1);
    return this.gate.admit(verdict, messageOf(statements), this.scheduler.nowMs());
  }

  count(outcome: string): number {
    return this.reports.filter((report) => report.endsWith(outcome)).length;
  }
}

function makeDocument(rules: LimitRule[]) {
  return { traffic_control: { rules: rules.map((rule, index) => ({ name: `limit_${index}`, ...rule })) } };
}

function holdOf(admission: Admission): Hold {
  if (admission.type !== 'admitted' || admission.hold === null)
    throw new Error(`expected a hold, got ${admission.type}`);
  return admission.hold;
}

describe('rate_limit', () => {
  const rule: LimitRule = { action: 'rate_limit', rate_per_sec: 200 };

  test('lets 200 a second through for ten seconds, plus its burst, however much faster the client is', () => {
    const bench = new Bench(rule);
    let admitted = 0;
    for (let tick = 0; tick < 10_000; tick += 1) {
      bench.scheduler.advanceTo(tick);
      if (bench.ask().type === 'admitted') admitted += 1;
    }
    // 200 from the full bucket and one each 5 ms of 9,999 ms.
    expect(admitted).toBe(200 + 1_999);
  });

  test('does not refuse a client that keeps to the rate', () => {
    const bench = new Bench({ ...rule, burst: 1 });
    for (let tick = 0; tick < 1_000; tick += 1) {
      bench.scheduler.advanceTo(tick * 5);
      expect(bench.ask().type).toBe('admitted');
    }
  });

  test('refuses with 53400 and the time after which a retry succeeds', () => {
    const bench = new Bench({ ...rule, rate_per_sec: 2, burst: 1, message: 'slow down' });
    expect(bench.ask().type).toBe('admitted');
    const refused = bench.ask();
    expect(refused).toMatchObject({
      refusal: { rule: 'limit_0', sqlstate: '53400', message: 'slow down', retryAfterMs: 500 },
    });
    bench.scheduler.advanceTo(499);
    expect(bench.ask().type).toBe('refused');
    bench.scheduler.advanceTo(500);
    expect(bench.ask().type).toBe('admitted');
  });

  test('takes fractions of a statement per second', () => {
    const bench = new Bench({ ...rule, rate_per_sec: 0.1 });
    expect(bench.ask().type).toBe('admitted');
    expect(bench.ask()).toMatchObject({ type: 'refused', refusal: { retryAfterMs: 10_000 } });
  });

  test('has a bucket for each key of per, and one for all without it', () => {
    const separate = new Bench({ ...rule, burst: 1, per: ['user', 'tag:route'] });
    expect(separate.ask({ user: 'a' }, { route: '/x' }).type).toBe('admitted');
    expect(separate.ask({ user: 'b' }, { route: '/x' }).type).toBe('admitted');
    expect(separate.ask({ user: 'a' }, { route: '/y' }).type).toBe('admitted');
    expect(separate.ask({ user: 'a' }, { route: '/x' }).type).toBe('refused');
    const common = new Bench({ ...rule, burst: 1 });
    expect(common.ask({ user: 'a' }).type).toBe('admitted');
    expect(common.ask({ user: 'b' }).type).toBe('refused');
  });

  test('tells long tags apart by all of them, and keeps short keys of them', () => {
    const long = 'x'.repeat(100_000);
    const keys = [`${long}a`, `${long}b`, 'a'].map((tenant) =>
      makeLimitKey(['user', 'tag:tenant'], makeSubject(), makeShape(), { tenant }),
    );
    expect(new Set(keys).size).toBe(3);
    for (const key of keys) expect(key.length).toBeLessThan(300);
  });

  test('lets a statement wait for its token up to wait_ms, and no longer', async () => {
    const bench = new Bench({ ...rule, rate_per_sec: 10, burst: 1, wait_ms: 250 });
    expect(bench.ask().type).toBe('admitted');
    const waiting = [bench.ask(), bench.ask()];
    expect(waiting.map((admission) => admission.type)).toEqual(['waiting', 'waiting']);
    expect(bench.ask()).toMatchObject({ type: 'refused', refusal: { retryAfterMs: 50 } });
    const ends: number[] = [];
    for (const admission of waiting) {
      if (admission.type === 'waiting') void admission.until.then(() => ends.push(bench.scheduler.nowMs()));
    }
    for (const atMs of [99, 100, 199, 200]) {
      bench.scheduler.advanceTo(atMs);
      await Promise.resolve();
      await Promise.resolve();
    }
    expect(ends).toEqual([100, 200]);
    expect(bench.count('waited')).toBe(2);
    expect(bench.gate.waiting).toBe(0);
  });

  test('gives the token of a waiter that left to the next', () => {
    const bench = new Bench({ ...rule, rate_per_sec: 10, burst: 1, wait_ms: 100 });
    bench.ask();
    const waiting = bench.ask();
    expect(bench.ask().type).toBe('refused');
    if (waiting.type === 'waiting') waiting.abandon();
    expect(bench.scheduler.pending).toBe(0);
    expect(bench.ask().type).toBe('waiting');
    expect(bench.gate).toMatchObject({ waiting: 1 });
  });

  test('counts what runs under a name once, and as often as it runs', () => {
    const bench = new Bench({ ...rule, rate_per_sec: 0.001, burst: 5 });
    const execute = makeFacts(makeShape({ kinds: ['execute'] }));
    const select = makeFacts(makeShape());
    const ask = (own: TextFacts, behind: TextFacts): string => {
      const statements = [...own, ...behind];
      const verdict = bench.ruleset.viewFor(makeSubject()).judge(statements, false);
      return bench.gate.admit(verdict, messageOf(statements, own.length), 0).type;
    };
    expect(ask([execute], [select])).toBe('admitted');
    expect(ask([select, execute], [select])).toBe('admitted');
    expect(ask([execute, execute, execute], [select, select, select])).toBe('refused');
    expect(ask([execute, execute], [select, select])).toBe('admitted');
    expect(ask([execute], [select])).toBe('refused');
  });

  test('has the bucket of the tag that stands with the statement, or else anywhere in the message', () => {
    const bench = new Bench({
      ...rule,
      rate_per_sec: 0.001,
      burst: 1,
      per: 'tag:tenant',
      match: { tables: 'payroll' },
    });
    const other = (tags = {}) => makeFacts(makeShape(), '', tags);
    const limited = (tags = {}) => makeFacts(makeShape({ tables: ['payroll'] }), '', tags);
    const ask = (own: TextFacts, behind: TextFacts = []): string => {
      const statements = [...own, ...behind];
      const verdict = bench.ruleset.viewFor(makeSubject()).judge(statements, false);
      return bench.gate.admit(verdict, messageOf(statements, own.length), 0).type;
    };
    const [a, b, c] = [{ tenant: 'a' }, { tenant: 'b' }, { tenant: 'c' }];
    expect([ask([other(), limited(a)]), ask([limited(a)])]).toEqual(['admitted', 'refused']);
    expect([ask([other(a), limited(b)]), ask([limited(b)])]).toEqual(['admitted', 'refused']);
    expect([ask([other(c), limited()]), ask([limited(c)])]).toEqual(['admitted', 'refused']);
    expect([ask([other()], [limited({ tenant: 'd' })]), ask([limited({ tenant: 'd' })])]).toEqual([
      'admitted',
      'refused',
    ]);
  });

  test('forgets the oldest keys beyond its bound, and counts them', () => {
    const limiter = new RateLimiter({ per: ['user'], ratePerSecond: 0.001, burst: 2, waitMs: 0 });
    for (let key = 0; key < 25_000; key += 1) limiter.take(`k${key}`, 0);
    expect(limiter.keys).toBeLessThanOrEqual(10_000);
    expect(limiter.evictions).toBe(25_000 - limiter.keys);
  });

  test('does not forget a key that is in use, however many others come', () => {
    const limiter = new RateLimiter({ per: ['application_name'], ratePerSecond: 0.001, burst: 2, waitMs: 0 });
    let passed = 0;
    for (let key = 0; key < 25_000; key += 1) {
      if (limiter.take('busy', key) === 0) passed += 1;
      limiter.take(`k${key}`, key);
    }
    expect(passed).toBe(2);
    expect(limiter.evictions).toBeGreaterThan(10_000);
  });

  test('forgets full buckets first, which costs nobody anything', () => {
    const limiter = new RateLimiter({ per: ['user'], ratePerSecond: 1_000, burst: 2, waitMs: 0 });
    for (let key = 0; key < 25_000; key += 1) limiter.take(`k${key}`, key);
    expect(limiter.evictions).toBe(0);
  });
});

describe('max_concurrent', () => {
  const rule: LimitRule = { action: 'max_concurrent', limit: 2 };

  test('lets no more than its limit run at once, and the next one when one has ended', () => {
    const bench = new Bench(rule);
    const first = bench.ask();
    expect(bench.ask().type).toBe('admitted');
    expect(bench.ask()).toMatchObject({ type: 'refused', refusal: { sqlstate: '53400' } });
    holdOf(first).release();
    expect(bench.ask().type).toBe('admitted');
  });

  test('tells who is refused to come again after as long as slots have been held, or after a second while that is not known', () => {
    const bench = new Bench({ ...rule, limit: 1 });
    const first = holdOf(bench.ask());
    expect(bench.ask()).toMatchObject({ refusal: { retryAfterMs: 1000, hint: 'Try again in 1000 ms.' } });
    bench.scheduler.advanceTo(400);
    first.release();
    const second = holdOf(bench.ask());
    expect(bench.ask()).toMatchObject({ refusal: { retryAfterMs: 400 } });
    bench.scheduler.advanceTo(400 + 1200);
    second.release();
    bench.ask();
    expect(bench.ask()).toMatchObject({ refusal: { retryAfterMs: 500 } });
  });

  test('frees a slot once, however often it is released', () => {
    const bench = new Bench(rule);
    const first = holdOf(bench.ask());
    bench.ask();
    first.release();
    first.release();
    expect(bench.ask().type).toBe('admitted');
    expect(bench.ask().type).toBe('refused');
    expect(bench.gate.held).toBe(2);
  });

  test('serves waiters in order, refuses them at their deadline, and skips those that left', async () => {
    const bench = new Bench({ ...rule, limit: 1, wait_ms: 100 });
    const running = holdOf(bench.ask());
    const [early, leaver, late] = [bench.ask(), bench.ask(), bench.ask()];
    if (early?.type !== 'waiting' || leaver?.type !== 'waiting' || late?.type !== 'waiting')
      throw new Error('expected all to wait');
    leaver.abandon();
    bench.scheduler.advanceTo(50);
    running.release();
    const admitted = await early.until;
    expect(admitted.type).toBe('admitted');
    bench.scheduler.advanceTo(100);
    expect(await late.until).toMatchObject({ type: 'refused', refusal: { rule: 'limit_0', sqlstate: '53400' } });
    expect(bench.scheduler.pending).toBe(0);
    holdOf(admitted).release();
    expect(bench.ask().type).toBe('admitted');
    expect(bench.gate).toMatchObject({ waiting: 0, held: 1 });
  });

  test('frees a slot that was granted in the same turn in which its waiter left', () => {
    const bench = new Bench({ ...rule, limit: 1, wait_ms: 100 });
    const running = holdOf(bench.ask());
    const waiting = bench.ask();
    if (waiting.type !== 'waiting') throw new Error('expected to wait');
    running.release();
    expect(bench.gate.held).toBe(1);
    waiting.abandon();
    expect(bench.gate.held).toBe(0);
    expect(bench.ask().type).toBe('admitted');
  });

  test('needs one slot for a message whose statements all match, not one for each', () => {
    const bench = new Bench({ ...rule, limit: 1 });
    const facts = makeFacts(makeShape());
    const verdict = bench.ruleset.viewFor(makeSubject()).judge([facts, facts], false);
    expect(verdict.limits).toHaveLength(2);
    expect(bench.gate.admit(verdict, SOME, 0).type).toBe('admitted');
    expect(bench.gate.admit(verdict, SOME, 0).type).toBe('refused');
  });

  test('needs one slot for all that one session has sent, and whoever waits gets it before what is sent later', async () => {
    const bench = new Bench({ ...rule, limit: 1, wait_ms: 100 });
    const [one, other] = [{}, {}];
    const verdict = bench.judge();
    const ask = (owner: object): Admission => bench.gate.admit(verdict, SOME, bench.scheduler.nowMs(), owner);
    const [first, second] = [holdOf(ask(one)), holdOf(ask(one))];
    const waiting = ask(other);
    const third = ask(one);
    if (waiting.type !== 'waiting' || third.type !== 'waiting') throw new Error('expected both to wait');
    first.release();
    expect(bench.gate).toMatchObject({ waiting: 2, held: 1 });
    second.release();
    const passed = await waiting.until;
    expect(passed.type).toBe('admitted');
    expect(bench.gate).toMatchObject({ waiting: 1, held: 1 });
    if (passed.type === 'admitted') passed.hold?.release();
    expect((await third.until).type).toBe('admitted');
    expect(bench.gate).toMatchObject({ waiting: 0, held: 1, refused: 0 });
  });

  test('asked for again by one statement, waits no longer than wait_ms in all, and counts once', async () => {
    const watched: LimitRule = { name: 'watched', action: 'max_concurrent', limit: 1, mode: 'observe' };
    const bench = new Bench({ ...rule, name: 'enforced', limit: 1, wait_ms: 100 }, watched);
    let runs = holdOf(bench.ask());
    const waiting = bench.ask();
    if (waiting.type !== 'waiting') throw new Error('expected it to wait');
    bench.scheduler.advanceTo(60);
    runs.release();
    const passed = holdOf(await waiting.until);
    passed.release();
    runs = holdOf(bench.ask());
    let again = passed.askAgain(60);
    if (again.type !== 'waiting') throw new Error('expected it to wait again');
    bench.scheduler.advanceTo(90);
    runs.release();
    const back = holdOf(await again.until);
    expect(back).toBe(passed);
    back.release();
    runs = holdOf(bench.ask());
    again = back.askAgain(90);
    bench.scheduler.advanceTo(100);
    expect(again.type === 'waiting' && (await again.until).type).toBe('refused');
    expect(bench.reports).toEqual(['enforced waited']);
    runs.release();
    expect(bench.gate).toMatchObject({ refused: 1 });
  });

  test('keeps no key without a running statement', () => {
    const bench = new Bench({ ...rule, per: 'user' });
    for (let index = 0; index < 100; index += 1) holdOf(bench.ask({ user: `u${index}` })).release();
    const [limited] = bench.ruleset.rules;
    expect(limited instanceof LiveRule ? limited.limiter?.keys : null).toBe(0);
  });
});

describe('several limits', () => {
  test('give back what they gave when one of them refuses', () => {
    const bench = new Bench(
      { action: 'rate_limit', rate_per_sec: 1, burst: 2 },
      { action: 'max_concurrent', limit: 1, name: 'slots' },
    );
    const running = holdOf(bench.ask());
    for (let attempt = 0; attempt < 5; attempt += 1) expect(bench.ask()).toMatchObject({ refusal: { rule: 'slots' } });
    running.release();
    // Had the five attempts kept their tokens, the bucket would be empty now.
    expect(bench.ask().type).toBe('admitted');
  });

  test('cannot wait for each other: slots are taken in the order of the rules', async () => {
    const bench = new Bench(
      { name: 'a', match: { tables: 'a' }, action: 'max_concurrent', limit: 1, wait_ms: 50 },
      { name: 'b', match: { tables: 'b' }, action: 'max_concurrent', limit: 1, wait_ms: 50 },
    );
    const [a, b] = [makeFacts(makeShape({ tables: ['a'] })), makeFacts(makeShape({ tables: ['b'] }))];
    const view = bench.ruleset.viewFor(makeSubject());
    const first = holdOf(bench.gate.admit(view.judge([a, b], false), SOME, 0));
    const second = bench.gate.admit(view.judge([b, a], false), SOME, 0);
    if (second.type !== 'waiting') throw new Error('expected to wait');
    first.release();
    expect((await second.until).type).toBe('admitted');
    expect(bench.gate.refused).toBe(0);
  });

  test('any number of waiters that the next limit refuses are refused one after the other, and no slot is lost', async () => {
    const bench = new Bench(
      { name: 'patient', action: 'max_concurrent', limit: 1, wait_ms: 1_000 },
      { name: 'full', match: { tables: 'full' }, action: 'max_concurrent', limit: 1 },
    );
    const view = bench.ruleset.viewFor(makeSubject());
    const judge = (...tables: string[]): Verdict => view.judge([makeFacts(makeShape({ tables }))], false);
    const full = bench.gate.admit({ ...judge('full'), limits: judge('full').limits.slice(1) }, SOME, 0);
    const patient = holdOf(bench.gate.admit(judge('other'), SOME, 0));
    const waiting = Array.from({ length: 5_000 }, () => bench.gate.admit(judge('full'), SOME, 0));
    patient.release();
    const ends = await Promise.all(waiting.map((one) => (one.type === 'waiting' ? one.until : one)));
    expect(new Set(ends.map((end) => (end.type === 'refused' ? end.refusal.rule : end.type)))).toEqual(
      new Set(['full']),
    );
    holdOf(full).release();
    expect(bench.gate).toMatchObject({ waiting: 0, held: 0 });
    expect(bench.gate.admit(judge('full'), SOME, 0).type).toBe('admitted');
  });

  test('a verdict that refuses is never admitted', () => {
    const bench = new Bench({ action: 'deny' });
    expect(() => bench.ask()).toThrow('refused verdict');
  });
});

/** Arrival times and durations of one client population, and the shapes of the statements in each message. */
const arrivals = fc.array(
  fc.record({
    gapMs: fc.nat(40),
    runMs: fc.nat(120),
    user: fc.constantFrom('a', 'b'),
    prints: fc.oneof(
      { weight: 3, arbitrary: fc.constant<string[]>(['x']) },
      fc.array(fc.constantFrom('x', 'y', 'z'), { minLength: 1, maxLength: 4 }),
    ),
  }),
  { minLength: 20, maxLength: 200 },
);

function countRefusals(
  rule: LimitRule,
  sequence: { gapMs: number; runMs: number; user: string; prints: string[] }[],
): { enforced: number; observed: number } {
  const bench = new Bench(rule);
  let enforced = 0;
  for (const { gapMs, runMs, user, prints } of sequence) {
    bench.scheduler.advanceTo(bench.scheduler.nowMs() + gapMs);
    const admission = bench.askTogether(user, prints);
    if (admission.type === 'refused') enforced += 1;
    else if (admission.type === 'admitted' && admission.hold !== null) {
      const { hold } = admission;
      bench.scheduler.after(runMs, () => hold.release());
    }
  }
  bench.scheduler.advanceTo(1_000_000);
  return { enforced, observed: bench.count('would_refuse') };
}

describe('a limit in observe mode', () => {
  test.each<[string, LimitRule]>([
    ['rate_limit', { action: 'rate_limit', rate_per_sec: 20, burst: 3, per: 'user' }],
    ['rate_limit with wait_ms', { action: 'rate_limit', rate_per_sec: 20, burst: 3, wait_ms: 120 }],
    ['max_concurrent', { action: 'max_concurrent', limit: 2, per: 'user' }],
    ['max_concurrent per fingerprint', { action: 'max_concurrent', limit: 2, per: ['user', 'fingerprint'] }],
    ['rate_limit per fingerprint', { action: 'rate_limit', rate_per_sec: 20, burst: 2, per: 'fingerprint' }],
  ])('counts for %s exactly what enforcement refuses of the same arrivals', (_, rule) => {
    let refused = 0;
    fc.assert(
      fc.property(arrivals, (sequence) => {
        const enforced = countRefusals(rule, sequence);
        const observed = countRefusals({ ...rule, mode: 'observe' }, sequence);
        expect(observed).toEqual({ enforced: 0, observed: enforced.enforced });
        expect(enforced.observed).toBe(0);
        refused += enforced.enforced;
      }),
      { numRuns: 100 },
    );
    expect(refused).toBeGreaterThan(100);
  });

  test('is not drained by what an enforced limit refuses', () => {
    const bench = new Bench(
      { name: 'enforced', action: 'rate_limit', rate_per_sec: 0.001, burst: 1 },
      { name: 'watched', action: 'rate_limit', rate_per_sec: 0.001, burst: 1, mode: 'observe' },
    );
    for (let attempt = 0; attempt < 5; attempt += 1) bench.ask();
    expect(bench.reports).toEqual([]);
    expect(bench.gate.refused).toBe(4);
  });

  test('beside an enforced one does not count who takes over the place of what has just ended', async () => {
    const limit: LimitRule = { action: 'max_concurrent', limit: 1, wait_ms: 50 };
    const bench = new Bench(limit, { ...limit, wait_ms: 0, mode: 'observe' });
    const first = holdOf(bench.ask());
    const next = bench.ask();
    first.release();
    expect(next.type === 'waiting' && (await next.until).type).toBe('admitted');
    expect(bench.reports).toEqual(['limit_0 waited']);
  });

  test('counts a virtual wait as refused only when no virtual slot came free in time', () => {
    const bench = new Bench({ action: 'max_concurrent', limit: 1, wait_ms: 50, mode: 'observe' });
    const [long, inTime] = [holdOf(bench.ask()), holdOf(bench.ask())];
    bench.scheduler.advanceTo(40);
    long.release();
    const tooLate = holdOf(bench.ask());
    bench.scheduler.advanceTo(200);
    inTime.release();
    tooLate.release();
    expect(bench.reports).toEqual(['limit_0 would_refuse']);
    expect(bench.gate.held).toBe(0);
  });
});

describe('a swap', () => {
  const rule: LimitRule = { action: 'rate_limit', rate_per_sec: 0.001, burst: 2, name: 'kept' };

  test('keeps the bucket and the counters of a rule that stayed the same', () => {
    const bench = new Bench(rule);
    bench.ask();
    bench.ask();
    const before = bench.ruleset.rules[0]?.counters;
    bench.swap({ ...rule, description: 'now with words' }, { action: 'observe' });
    expect(bench.ask().type).toBe('refused');
    expect(bench.ruleset.rules.find((kept) => kept.name === 'kept')?.counters).toBe(before);
  });

  test('starts afresh for a rule of the same name that means something else', () => {
    const bench = new Bench(rule);
    bench.ask();
    bench.ask();
    const before = bench.ruleset.rules[0]?.counters;
    bench.swap({ ...rule, burst: 3 });
    expect(bench.ask().type).toBe('admitted');
    expect(bench.ruleset.rules[0]?.counters).not.toBe(before);
  });

  test('that changes the order of two limits leaves nobody waiting for each other', async () => {
    const [a, b]: LimitRule[] = [
      { name: 'a', match: { tables: ['a', 'both'] }, action: 'max_concurrent', limit: 1, wait_ms: 50 },
      { name: 'b', match: { tables: ['b', 'both'] }, action: 'max_concurrent', limit: 1, wait_ms: 50 },
    ];
    if (a === undefined || b === undefined) throw new Error('two rules are missing');
    const bench = new Bench(a, b);
    const ask = (table: string): Admission => {
      const text = [makeFacts(makeShape({ tables: [table] }))];
      return bench.gate.admit(bench.ruleset.viewFor(makeSubject()).judge(text, false), SOME, bench.scheduler.nowMs());
    };
    const [inA, inB] = [holdOf(ask('a')), holdOf(ask('b'))];
    const early = ask('both');
    bench.swap(b, a);
    const late = ask('both');
    if (early.type !== 'waiting' || late.type !== 'waiting') throw new Error('expected both to wait');
    inA.release();
    inB.release();
    const first = await early.until;
    if (first.type === 'admitted') first.hold?.release();
    expect([first.type, (await late.until).type]).toEqual(['admitted', 'admitted']);
  });

  test('frees slots that were taken under the old rules', () => {
    const slots: LimitRule = { action: 'max_concurrent', limit: 1, name: 'slots' };
    const bench = new Bench(slots);
    const hold = holdOf(bench.ask());
    bench.swap(slots, { action: 'observe' });
    expect(bench.ask().type).toBe('refused');
    hold.release();
    expect(bench.ask().type).toBe('admitted');
  });
});
