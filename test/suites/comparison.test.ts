// The comparison of two roads: what is a difference, and that none gets lost.

import { describe, expect, test } from 'vitest';
import { compareOutcomes, formatComparisons, THE_LEDGER, THE_RUN } from './comparison.ts';
import type { Ledger } from './ledger.ts';
import type { TestOutcome } from './suite.ts';

const ok = (name: string): TestOutcome => ({ name, isOk: true, output: '', place: '' });
const bad = (name: string, output: string): TestOutcome => ({ name, isOk: false, output, place: '/out' });

describe('two runs of a suite', () => {
  test('differ in a test that fails only one way, whichever it is', () => {
    const compared = compareOutcomes(
      's',
      'trust',
      [ok('a'), bad('b', 'x'), ok('c')],
      [bad('a', 'x'), ok('b'), ok('c')],
    );
    expect(compared).toMatchObject({ tests: 3, directOk: 2, throughOk: 2 });
    expect(compared.differences).toEqual([
      { test: 'a', what: 'fails through pgweir only', place: '/out' },
      { test: 'b', what: 'fails directly only', place: '/out' },
    ]);
  });

  test('differ in a test that ran only once', () => {
    expect(compareOutcomes('s', 'trust', [ok('a')], []).differences).toMatchObject([{ what: 'ran only directly' }]);
    expect(compareOutcomes('s', 'trust', [], [ok('a')]).differences).toMatchObject([
      { what: 'ran only through pgweir' },
    ]);
  });

  test('agree where a test fails both ways in the same words, and differ where the words are others', () => {
    expect(compareOutcomes('s', 'trust', [bad('a', 'x')], [bad('a', 'x')]).differences).toEqual([]);
    expect(compareOutcomes('s', 'trust', [bad('a', 'x')], [bad('a', 'y')]).differences).toMatchObject([
      { what: 'fails both ways, differently' },
    ]);
  });

  test('are a row of the table, and each difference a line below it', () => {
    const text = formatComparisons([compareOutcomes('core', 'trust', [ok('a'), ok('b')], [ok('a'), bad('b', 'x')])]);
    expect(text).toContain('| core | trust | 2 | 2 | 1 | 1 |');
    expect(text).toContain('core, trust: b fails through pgweir only; see /out');
  });
});

test('a run that broke off is one difference, and no test of it counts as passed', () => {
  const compared = compareOutcomes('s', 'trust', [ok('a'), ok('b')], [ok('a'), bad(THE_RUN, 'no connection')]);
  expect(compared).toMatchObject({ tests: 2, directOk: 0, throughOk: 0 });
  expect(compared.differences).toMatchObject([{ test: THE_RUN, what: 'came to nothing: no connection' }]);
});

describe('a run over shared connections', () => {
  const ledger: Ledger = {
    acquires: 4,
    releases: 4,
    held: 0,
    shared: 3,
    pinned: 1,
    handovers: 0,
    settlements: 0,
    opened: 1,
    closed: 0,
    waitTimeouts: 0,
    pins: new Map(),
  };

  test('has its share in the table, the others have none', () => {
    const text = formatComparisons([
      compareOutcomes('core', 'transaction-8', [ok('a')], [ok('a')], ledger),
      compareOutcomes('core', 'trust', [ok('a')], [ok('a')]),
    ]);
    expect(text).toContain('| core | transaction-8 | 1 | 1 | 1 | 0 | 75.0 % |');
    expect(text).toContain('| core | trust | 1 | 1 | 1 | 0 | – |');
    expect(text).toContain('- core, transaction-8: 75.0 % of 4 statements on shared connections; pins: none;');
  });

  test('differs where the ledger does not add up, though every test passed', () => {
    const compared = compareOutcomes('core', 'transaction-8', [ok('a')], [ok('a')], { ...ledger, releases: 3 });
    expect(compared.differences).toMatchObject([{ test: THE_LEDGER }]);
  });
});
