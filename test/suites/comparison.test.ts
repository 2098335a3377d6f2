// The comparison of two roads: what is a difference, and that none gets lost.

import { describe, expect, test } from 'vitest';
import { compareOutcomes, formatComparisons, THE_RUN } from './comparison.ts';
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
