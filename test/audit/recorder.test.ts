// What each record call bumps, and what it leaves alone.

import { expect, test } from 'vitest';
import { Recorder } from '../../src/audit/recorder.ts';
import { HandClock, makeHit, makeRule, makeRuleset, makeShape, makeSubject, makeVerdict } from './verdict-maker.ts';

const shape = makeShape('aaaaaaaaaaaaaaaa');

function makeRecorder(maxDecisions = 10): { recorder: Recorder; clock: HandClock } {
  const clock = new HandClock();
  return { recorder: new Recorder({ clock, maxCells: 100, maxDecisions }), clock };
}

test('a verdict without hits counts only as judged and unmatched', () => {
  const { recorder } = makeRecorder();
  recorder.recordVerdict(makeVerdict(makeRuleset('v1', 1), makeSubject(), []));
  expect([recorder.judged, recorder.unmatched, recorder.matrix.cellCount, recorder.decisions.count]).toEqual([
    1, 1, 0, 0,
  ]);
});

test('an observed deny counts what it would have refused, an enforced one does not until it refuses', () => {
  const { recorder } = makeRecorder();
  const observed = makeRule('watch', 'deny', 'observe');
  const enforced = makeRule('guard', 'deny');
  const ruleset = makeRuleset('v1', 1, [observed, enforced]);
  const refusal = { rule: 'guard', sqlstate: '42501', message: 'no', hint: null, retryAfterMs: null };
  const verdict = makeVerdict(
    ruleset,
    makeSubject(),
    [makeHit(observed, shape, 'deny'), makeHit(enforced, shape, 'deny')],
    {
      refusal,
      refusedBy: enforced,
    },
  );
  recorder.recordVerdict(verdict);
  expect(observed.counters).toMatchObject({ matched: 1, wouldRefuse: 1, refused: 0 });
  expect(enforced.counters).toMatchObject({ matched: 1, wouldRefuse: 0, refused: 0 });
  const id = recorder.recordRefusal(verdict, 7, refusal);
  expect(enforced.counters.refused).toBe(1);
  expect(observed.counters.refused).toBe(0);
  expect(recorder.decisions.find(id)).toMatchObject({
    id,
    rule: 'guard',
    outcome: 'refused',
    sessionId: 7,
    rulesVersion: 'v1',
  });
  expect(recorder.matrix.line('guard')?.totals).toMatchObject({ matched: 1, refused: 1 });
  expect(recorder.versions()).toMatchObject([{ version: 'v1', judged: 1, refused: 1, unmatched: 0 }]);
});

test('a limit that runs out is a limited decision of its rule, a wait is only a count', () => {
  const { recorder } = makeRecorder();
  const rule = makeRule('slow', 'rate_limit', 'enforce', { rate_per_sec: 1 });
  const hit = makeHit(rule, shape, 'limit');
  const verdict = makeVerdict(makeRuleset('v1', 1, [rule]), makeSubject(), [hit], { limits: [hit] });
  recorder.recordVerdict(verdict);
  recorder.recordLimit(verdict, hit, 'waited');
  expect(recorder.decisions.count).toBe(0);
  recorder.recordRefusal(verdict, 7, {
    rule: 'slow',
    sqlstate: '53400',
    message: 'slow down',
    hint: null,
    retryAfterMs: 20,
  });
  expect(rule.counters).toMatchObject({ matched: 1, waited: 1, refused: 1, wouldRefuse: 0 });
  expect(recorder.decisions.list(10)).toMatchObject([{ rule: 'slow', outcome: 'limited' }]);
});

test('an observed limit counts what it would have refused and decides nothing', () => {
  const { recorder } = makeRecorder();
  const rule = makeRule('slow', 'rate_limit', 'observe', { rate_per_sec: 1 });
  const hit = makeHit(rule, shape, 'limit');
  const verdict = makeVerdict(makeRuleset('v1', 1, [rule]), makeSubject(), [hit], { observedLimits: [hit] });
  recorder.recordVerdict(verdict);
  recorder.recordLimit(verdict, hit, 'would_refuse');
  expect(rule.counters).toMatchObject({ matched: 1, wouldRefuse: 1, refused: 0 });
  expect(recorder.matrix.line('slow')?.totals.wouldRefuse).toBe(1);
  expect(recorder.decisions.count).toBe(0);
});

test('a kill that landed and one that lost the race are counted apart', () => {
  const { recorder } = makeRecorder();
  const rule = makeRule('runaway', 'kill_after_ms', 'enforce', { timeout_ms: 300 });
  const verdict = makeVerdict(makeRuleset('v1', 1, [rule]), makeSubject(), [makeHit(rule, shape, 'kill')], {
    kill: { rule, timeoutMs: 300 },
  });
  recorder.recordVerdict(verdict);
  recorder.recordKill(verdict, 7, false);
  recorder.recordKill(verdict, 7, true);
  recorder.recordKill(verdict, 7, true);
  expect(rule.counters).toMatchObject({ matched: 1, killed: 1, killRaced: 2 });
  expect(recorder.decisions.list(10).map((decision) => decision.outcome)).toEqual([
    'kill_raced',
    'kill_raced',
    'killed',
  ]);
});

test('an observed kill counts statements that ran longer than its timeout, and no shorter ones', () => {
  const { recorder } = makeRecorder();
  const rule = makeRule('runaway', 'kill_after_ms', 'observe', { timeout_ms: 300 });
  const verdict = makeVerdict(makeRuleset('v1', 1, [rule]), makeSubject(), [makeHit(rule, shape, 'kill')]);
  for (const serverMs of [299, 300, 301]) {
    recorder.recordVerdict(verdict);
    recorder.recordEnd(verdict, serverMs);
  }
  expect(rule.counters).toMatchObject({ matched: 3, wouldKill: 1, killed: 0 });
});

test('a route counts as routed only where the verdict takes it', () => {
  const { recorder } = makeRecorder();
  const rule = makeRule('replica', 'route', 'enforce', { target: 'replica' });
  const ruleset = makeRuleset('v1', 1, [rule]);
  const hits = [makeHit(rule, shape, 'route')];
  recorder.recordVerdict(makeVerdict(ruleset, makeSubject(), hits, { route: { rule, target: 'replica' } }));
  recorder.recordVerdict(makeVerdict(ruleset, makeSubject(), hits));
  expect(rule.counters).toMatchObject({ matched: 2, routed: 1, wouldRoute: 0 });
});

test('a route in observe mode counts where the verdict would take it: not for a part of a message, nor for a refused one', () => {
  const { recorder } = makeRecorder();
  const rule = makeRule('replica', 'route', 'observe', { target: 'replica' });
  const denial = makeRule('denial', 'deny');
  const ruleset = makeRuleset('v1', 1, [rule, denial]);
  const other = makeShape('other');
  const hits = [makeHit(rule, shape, 'route')];
  recorder.recordVerdict(makeVerdict(ruleset, makeSubject(), hits));
  recorder.recordVerdict(makeVerdict(ruleset, makeSubject(), [...hits, ...hits]));
  expect(rule.counters).toMatchObject({ matched: 3, wouldRoute: 3 });
  recorder.recordVerdict(makeVerdict(ruleset, makeSubject(), hits, { shapes: [shape, other] }));
  const refusal = { rule: 'denial', sqlstate: '42501', message: 'no', hint: null, retryAfterMs: null };
  const refused = [...hits, makeHit(denial, shape, 'deny')];
  recorder.recordVerdict(makeVerdict(ruleset, makeSubject(), refused, { refusal, refusedBy: denial }));
  expect(rule.counters).toMatchObject({ matched: 5, wouldRoute: 3, routed: 0 });
});

test('a refusal in which no rule spoke is counted by its name, and one before judgement needs no verdict', () => {
  const { recorder } = makeRecorder();
  const refusal = { rule: 'default_action', sqlstate: '42501', message: 'no', hint: null, retryAfterMs: null };
  const verdict = makeVerdict(makeRuleset('v1', 1), makeSubject(), [], { refusal, shapes: [shape] });
  recorder.recordVerdict(verdict);
  recorder.recordRefusal(verdict, 7, refusal);
  const id = recorder.recordUnjudgedRefusal(makeSubject(), 'v1', 8, { ...refusal, rule: 'max_statement_bytes' });
  expect([...recorder.rulelessRefusals()]).toEqual([
    ['default_action', 1],
    ['max_statement_bytes', 1],
  ]);
  expect(recorder.decisions.list(1)).toMatchObject([{ id, rule: 'max_statement_bytes', fingerprint: '' }]);
  expect(recorder.decisions.list(10, { rule: 'default_action' })).toMatchObject([{ fingerprint: shape.fingerprint }]);
});

test('a message with an unreadable part is counted once as unparsed, a readable one is not', () => {
  const { recorder } = makeRecorder();
  const unreadable = makeShape('', 'connect by');
  const ruleset = makeRuleset('v1', 1);
  recorder.recordVerdict(makeVerdict(ruleset, makeSubject(), [], { shapes: [shape, unreadable, unreadable] }));
  recorder.recordVerdict(makeVerdict(ruleset, makeSubject(), [], { shapes: [shape] }));
  expect([recorder.judged, recorder.unparsed]).toEqual([2, 1]);
});

test('the journal keeps the newest decisions up to its bound and forgets the older ones', () => {
  const { recorder, clock } = makeRecorder(3);
  const refusal = { rule: 'default_action', sqlstate: '42501', message: 'no', hint: null, retryAfterMs: null };
  const verdict = makeVerdict(makeRuleset('v1', 1), makeSubject(), [], { refusal, shapes: [shape] });
  const ids = Array.from({ length: 5 }, (_, index) => recorder.recordRefusal(verdict, index, refusal));
  expect(ids).toEqual([1, 2, 3, 4, 5].map((count) => `${clock.nowMs.toString(36)}-${count}`));
  expect(recorder.decisions.list(10).map((decision) => decision.id)).toEqual([ids[4], ids[3], ids[2]]);
  expect(recorder.decisions.list(10, { sessionId: 3 }).map((decision) => decision.id)).toEqual([ids[3]]);
  expect(recorder.decisions.find(ids[1] ?? '')).toBeNull();
  expect(recorder.decisions.find(ids[2] ?? '')?.sessionId).toBe(2);
  expect(recorder.decisions.find('zzz-3')).toBeNull();
  expect(recorder.decisions.count).toBe(5);
});

test('messages are counted under the version that judged them, and only a bounded number of versions is kept', () => {
  const { recorder } = makeRecorder();
  for (let epoch = 1; epoch <= 100; epoch += 1) {
    const verdict = makeVerdict(makeRuleset(`v${epoch}`, epoch), makeSubject(), []);
    for (let count = 0; count < epoch; count += 1) recorder.recordVerdict(verdict);
  }
  const versions = recorder.versions();
  expect(versions.length).toBe(64);
  expect(versions.at(-1)).toMatchObject({ version: 'v100', judged: 100 });
  expect(versions.find((version) => version.version === 'v1')).toBeUndefined();
  expect(recorder.judged).toBe(5050);
});

test('decisions keep the beginning of a long text, and nothing else of its shape', () => {
  const { recorder } = makeRecorder();
  const refusal = { rule: 'default_action', sqlstate: '42501', message: 'no', hint: null, retryAfterMs: null };
  const long = makeShape('cccccccccccccccc', `select ${'c, '.repeat(100_000)}`);
  const verdict = makeVerdict(makeRuleset('v1', 1), makeSubject(), [], { refusal, shapes: [long] });
  recorder.recordRefusal(verdict, 7, refusal);
  const [decision] = recorder.decisions.list(1);
  expect(decision).toMatchObject({ fingerprint: long.fingerprint, queryClass: 'read' });
  expect(decision?.normalized).toBe(`${long.normalized.slice(0, 999)}…`);
});

test('recording a known verdict costs little: 200,000 calls end within a generous deadline', () => {
  const { recorder } = makeRecorder();
  const rule = makeRule('watch', 'observe');
  const verdict = makeVerdict(makeRuleset('v1', 1, [rule]), makeSubject(), [makeHit(rule, shape)]);
  const startMs = performance.now();
  for (let count = 0; count < 200_000; count += 1) recorder.recordVerdict(verdict);
  expect(performance.now() - startMs).toBeLessThan(1000);
  expect(rule.counters.matched).toBe(200_000);
});
