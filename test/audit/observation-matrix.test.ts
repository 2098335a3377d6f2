// The matrix against a naive map that forgets nothing: exact below the bound, exact totals and kept promises above it.

import fc from 'fast-check';
import { expect, test } from 'vitest';
import { foldClientPrefix } from '../../src/audit/client-prefix.ts';
import { ObservationMatrix } from '../../src/audit/observation-matrix.ts';
import { Recorder } from '../../src/audit/recorder.ts';
import { TALLY_FIELDS } from '../../src/audit/tally.ts';
import { HandClock, makeHit, makeRule, makeRuleset, makeShape, makeSubject, makeVerdict } from './verdict-maker.ts';

const RULE_COUNT = 3;
const FINGERPRINT_COUNT = 40;

/** One recorded message: which rule, which shape, which application, which client, inside a transaction or not. */
const step = fc.record({
  rule: fc.nat(RULE_COUNT - 1),
  fingerprint: fc.oneof({ weight: 2, arbitrary: fc.nat(2) }, { weight: 1, arbitrary: fc.nat(FINGERPRINT_COUNT - 1) }),
  application: fc.nat(2),
  isInTransaction: fc.boolean(),
  isRefused: fc.boolean(),
  /** The same verdict object again, as the judge's memory gives it, or a new one with the same content. */
  isRemembered: fc.boolean(),
});
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

function replay(steps: readonly Step[], maxCells: number) {
  const recorder = new Recorder({ clock: new HandClock(), maxCells, maxDecisions: 10 });
  const rules = Array.from({ length: RULE_COUNT }, (_, index) => makeRule(`rule${index}`, 'deny', 'enforce'));
  const ruleset = makeRuleset('v1', 1, rules);
  const shapes = Array.from({ length: FINGERPRINT_COUNT }, (_, index) =>
    makeShape(index.toString(16).padStart(16, '0')),
  );
  const subjects = Array.from({ length: 3 }, (_, index) => makeSubject({ applicationName: `app${index}` }));
  const remembered = new Map<string, ReturnType<typeof makeVerdict>>();
  const naive = new Map<string, { matched: number; inTransaction: number; refused: number }>();
  for (const { rule, fingerprint, application, isInTransaction, isRefused, isRemembered } of steps) {
    const hit = makeHit(rules[rule] ?? fail(), shapes[fingerprint] ?? fail(), 'deny');
    const refusal = { rule: `rule${rule}`, sqlstate: '42501', message: 'no', hint: null, retryAfterMs: null };
    const name = [rule, fingerprint, application, isInTransaction].join(' ');
    const make = () =>
      makeVerdict(ruleset, subjects[application] ?? fail(), [hit], { isInTransaction, refusal, refusedBy: hit.rule });
    const verdict = (isRemembered ? remembered.get(name) : undefined) ?? make();
    remembered.set(name, verdict);
    recorder.recordVerdict(verdict);
    if (isRefused && verdict.refusal !== null) recorder.recordRefusal(verdict, 1, verdict.refusal);
    const key = `rule${rule} ${fingerprint.toString(16).padStart(16, '0')} app${application}`;
    const counts = naive.get(key) ?? { matched: 0, inTransaction: 0, refused: 0 };
    naive.set(key, counts);
    counts.matched += 1;
    counts.inTransaction += isInTransaction ? 1 : 0;
    counts.refused += isRefused ? 1 : 0;
  }
  return { recorder, naive, rules };
}

test('below the bound every cell equals a naive full count', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 300 }), (steps) => {
      const { recorder, naive } = replay(steps, RULE_COUNT * FINGERPRINT_COUNT * 3);
      const seen = new Map<string, unknown>();
      for (const line of recorder.matrix.lines()) {
        for (const cell of line.cells.values()) {
          const { matched, inTransaction, refused } = cell.tally;
          seen.set(`${line.rule.name} ${cell.key.fingerprint} ${cell.key.applicationName}`, {
            matched,
            inTransaction,
            refused,
          });
          expect(cell.possiblyMissed).toBe(0);
        }
      }
      expect(seen).toEqual(naive);
    }),
    { numRuns: 100, verbose: 1 },
  );
});

test('above the bound totals stay exact, cells are never too high, and what they miss is bounded as promised', () => {
  fc.assert(
    fc.property(
      fc.array(step, { minLength: 50, maxLength: 600 }),
      fc.integer({ min: 1, max: 24 }),
      (steps, maxCells) => {
        const { recorder, naive, rules } = replay(steps, maxCells);
        expect(recorder.matrix.cellCount).toBeLessThanOrEqual(maxCells);
        let cellCount = 0;
        for (const line of recorder.matrix.lines()) {
          cellCount += line.cells.size;
          const trueCounts = [...naive].filter(([key]) => key.startsWith(`${line.rule.name} `));
          const sum = (field: 'matched' | 'inTransaction' | 'refused'): number =>
            trueCounts.reduce((total, [, counts]) => total + counts[field], 0);
          expect(line.totals.matched).toBe(sum('matched'));
          expect(line.totals.inTransaction).toBe(sum('inTransaction'));
          expect(line.totals.refused).toBe(sum('refused'));
          for (const field of TALLY_FIELDS) {
            const inCells = [...line.cells.values()].reduce((total, cell) => total + cell.tally[field], 0);
            expect(inCells + line.other[field]).toBe(line.totals[field]);
          }
          const held = new Map(
            [...line.cells.values()].map((cell) => [
              `${line.rule.name} ${cell.key.fingerprint} ${cell.key.applicationName}`,
              cell,
            ]),
          );
          for (const [key, { matched }] of trueCounts) {
            const cell = held.get(key);
            if (cell === undefined) {
              expect(matched).toBeLessThanOrEqual(line.erosion);
            } else {
              expect(cell.tally.matched).toBeLessThanOrEqual(matched);
              expect(cell.tally.matched + cell.possiblyMissed).toBeGreaterThanOrEqual(matched);
            }
          }
        }
        expect(recorder.matrix.cellCount).toBe(cellCount);
        for (const rule of rules) {
          const line = recorder.matrix.line(rule.name);
          expect(rule.counters.matched).toBe(line?.totals.matched ?? 0);
          expect(rule.counters.refused).toBe(line?.totals.refused ?? 0);
        }
      },
    ),
    { numRuns: 200, verbose: 1 },
  );
});

test('a statement that comes late and often gets a cell although one-off statements filled them all before', () => {
  const matrix = new ObservationMatrix(64);
  const rule = makeRule('noisy', 'observe');
  const ruleset = makeRuleset('v1', 1, [rule]);
  const record = (fingerprint: string): void => {
    const shape = makeShape(fingerprint);
    const cell = matrix.resolve(makeVerdict(ruleset, makeSubject(), [makeHit(rule, shape)]), rule, shape, 1);
    if (cell === null) throw new Error('no cell');
    cell.tally.matched += 1;
    cell.line.totals.matched += 1;
  };
  for (let index = 0; index < 5000; index += 1) record(`once${index}`);
  for (let index = 0; index < 5000; index += 1) {
    record('often');
    record(`later${index}`);
  }
  const line = matrix.line('noisy');
  const often = [...(line?.cells.values() ?? [])].find((cell) => cell.key.fingerprint === 'often');
  expect(often).toBeDefined();
  expect((often?.tally.matched ?? 0) + (often?.possiblyMissed ?? 0)).toBeGreaterThanOrEqual(5000);
  expect(often?.tally.matched).toBeLessThanOrEqual(5000);
  expect(line?.erosion).toBeLessThanOrEqual((8 / 7) * (15_000 / 56));
});

test('a rule with few cells keeps them while a noisy rule overflows, and the noisy one pays', () => {
  const recorder = new Recorder({ clock: new HandClock(), maxCells: 32, maxDecisions: 10 });
  const quiet = makeRule('quiet', 'observe');
  const noisy = makeRule('noisy', 'observe');
  const ruleset = makeRuleset('v1', 1, [quiet, noisy]);
  const record = (rule: typeof quiet, fingerprint: string): void =>
    recorder.recordVerdict(makeVerdict(ruleset, makeSubject(), [makeHit(rule, makeShape(fingerprint))]));
  for (let index = 0; index < 5; index += 1) record(quiet, `rare${index}`);
  for (let index = 0; index < 2000; index += 1) record(noisy, `flood${index}`);
  expect(recorder.matrix.line('quiet')?.cells.size).toBe(5);
  expect(recorder.matrix.line('quiet')?.other.matched).toBe(0);
  expect(recorder.matrix.line('noisy')?.purgedCells).toBeGreaterThan(1900);
  expect(recorder.matrix.otherMatches()).toBe(recorder.matrix.line('noisy')?.other.matched);
});

test('the count of matches without a cell does not fall when a rule that had some starts anew', () => {
  const recorder = new Recorder({ clock: new HandClock(), maxCells: 4, maxDecisions: 10 });
  const record = (epoch: number, table: string, fingerprint: string): void => {
    const rule = makeRule('guard', 'observe', 'enforce', { match: { tables: table } });
    const ruleset = makeRuleset(`v${epoch}`, epoch, [rule]);
    recorder.recordVerdict(makeVerdict(ruleset, makeSubject(), [makeHit(rule, makeShape(fingerprint))]));
  };
  for (let index = 0; index < 10; index += 1) record(1, 'orders', `flood${index}`);
  const before = recorder.matrix.otherMatches();
  expect(before).toBe(6);
  record(2, 'customers', 'flood0');
  expect(recorder.matrix.otherMatches()).toBe(before);
});

test('switching a rule from observe to enforce keeps its cells, changing what it matches starts anew', () => {
  const recorder = new Recorder({ clock: new HandClock(), maxCells: 32, maxDecisions: 10 });
  const shape = makeShape('aaaaaaaaaaaaaaaa');
  const record = (epoch: number, mode: 'observe' | 'enforce', table: string): void => {
    const rule = makeRule('guard', 'deny', mode, { match: { tables: table } });
    recorder.recordVerdict(
      makeVerdict(makeRuleset(`v${epoch}`, epoch, [rule]), makeSubject(), [makeHit(rule, shape, 'deny')]),
    );
  };
  record(1, 'observe', 'orders');
  record(2, 'enforce', 'orders');
  expect(recorder.matrix.line('guard')?.totals).toMatchObject({ matched: 2, wouldRefuse: 1 });
  expect(recorder.matrix.line('guard')?.rule.mode).toBe('enforce');
  record(3, 'enforce', 'customers');
  expect(recorder.matrix.line('guard')?.totals.matched).toBe(1);
  record(2, 'enforce', 'orders');
  expect(recorder.matrix.line('guard')?.totals.matched).toBe(1);
  expect(recorder.matrix.staleMatches).toBe(1);
  expect(recorder.matrix.cellCount).toBe(1);
});

test('text that no parser reads has a cell by its literal-free form, two forms have two', () => {
  const recorder = new Recorder({ clock: new HandClock(), maxCells: 32, maxDecisions: 10 });
  const rule = makeRule('oracle', 'observe');
  const ruleset = makeRuleset('v1', 1, [rule]);
  for (const text of ['select ? connect by prior', 'select ? connect by prior', 'select (+)']) {
    recorder.recordVerdict(makeVerdict(ruleset, makeSubject(), [makeHit(rule, makeShape('', text))]));
  }
  const cells = [...(recorder.matrix.line('oracle')?.cells.values() ?? [])];
  expect(cells.map((cell) => [cell.sample, cell.tally.matched])).toEqual([
    ['select ? connect by prior', 2],
    ['select (+)', 1],
  ]);
  expect(cells[0]?.key.fingerprint).toMatch(/^text:[0-9a-f]{11}$/);
});

test('a bound that is no whole number above 0 is refused', () => {
  expect(() => new ObservationMatrix(0)).toThrow(RangeError);
  expect(() => new ObservationMatrix(1.5)).toThrow(RangeError);
});

test.each([
  ['10.1.2.3', '10.1.2.0/24'],
  ['::ffff:10.1.2.3', '10.1.2.0/24'],
  ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
  ['2001:0DB8::1', '2001:db8::/64'],
  ['::1', '::/64'],
  ['fe80::1%eth0', 'fe80::/64'],
  ['2001:db8:0:5::1.2.3.4', '2001:db8:0:5::/64'],
  ['unix', 'unix'],
  ['not:an:address', 'not:an:address'],
  ['1:2:3:4:5:6:7:8:9', '1:2:3:4:5:6:7:8:9'],
  ['10.1', '10.1'],
])('the client %s is counted under %s', (clientIp, prefix) => {
  expect(foldClientPrefix(clientIp)).toBe(prefix);
});

function fail(): never {
  throw new Error('out of range');
}
