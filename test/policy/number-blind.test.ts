// A pattern that is called blind to numbers must find the same in a text whatever the numbers in it are.

import fc from 'fast-check';
import { RE2JS } from 're2js';
import { describe, expect, test } from 'vitest';
import { isNumberBlind } from '../../src/policy/matchers/number-blind.ts';

describe('patterns', () => {
  test.each([
    '(?i)\\bfrom\\s+dual\\b',
    '(?i)\\bnvl2?\\s*\\(',
    '(?i)\\bselect\\b.{0,20}\\blegacy_billing_0\\b',
    '\\d{4}-\\d\\d',
    '[0-9]+',
    '[^0-9a-f]',
    '[!-~]x',
    '[[:digit:]a-z]',
    '[]x]',
    '(?s)^\\s*delete\\s+from\\s+\\w+\\s*;?\\s*$',
    't1|t22*',
  ])('%s are blind to numbers', (pattern) => {
    expect(isNumberBlind(pattern)).toBe(true);
  });

  test.each([
    '1',
    '= 4711',
    '\\b7',
    '\\w7',
    '(?:a|b)7',
    'a?7',
    'a{2}7',
    'a{2',
    '[5]',
    '[a5]',
    '[[:alpha:]a5]',
    '[]a5]',
    '[^]a5]',
    '[1-9]',
    '[+-0-9]',
    '\\x31',
    '\\Q1\\E',
    '\\PL1',
    '\\pN1',
    'a\\b7',
    '.7',
    '^7',
    'x|7',
    '(?i:7)',
  ])('%s may see a number', (pattern) => {
    expect(isNumberBlind(pattern)).toBe(false);
  });

  const atoms = [
    'a',
    'b_',
    'x1',
    '_20',
    '7',
    '\\d',
    '\\w',
    '\\W',
    '\\s',
    '\\b',
    '.',
    '[0-9]',
    '[^0-9]',
    '[a-z_]',
    '[3-7]',
    ' ',
  ];
  const pieces = fc.tuple(fc.constantFrom(...atoms), fc.constantFrom('', '', '', '?', '*', '+', '{2}', '{1,3}'));
  const sequences = fc
    .array(pieces, { minLength: 1, maxLength: 5 })
    .map((list) => list.map(([atom, count]) => (count === '' ? atom : `(?:${atom})${count}`)).join(''));
  const patterns = fc.oneof(
    sequences,
    fc.tuple(sequences, sequences).map(([one, other]) => `(?i)${one}|(?:${other})`),
  );
  const words = fc.constantFrom(' ', ' ', ',', '=', 'a', 'b_', 'x1', '_20', 'A', '7', '42', '31337', '-', '.');
  const texts = fc.array(words, { minLength: 1, maxLength: 8 }).map((list) => list.join(''));

  test('called blind find the same in texts that differ in numbers', () => {
    let compared = 0;
    let differed = 0;
    fc.assert(
      fc.property(patterns, texts, fc.infiniteStream(fc.nat(9)), (pattern, text, digits) => {
        const other = text.replace(/(?<!\w)\d+(?!\w)/g, (number) =>
          number.replace(/\d/g, () => String(digits.next().value)),
        );
        if (other === text) return;
        const compiled = RE2JS.compile(pattern);
        const isSame = compiled.test(text) === compiled.test(other);
        if (!isNumberBlind(pattern)) {
          if (!isSame) differed++;
          return;
        }
        compared++;
        expect(isSame, JSON.stringify([pattern, text, other])).toBe(true);
      }),
      { numRuns: 30_000 },
    );
    expect(compared).toBeGreaterThan(2_000);
    // The texts can tell: patterns that see numbers are found out.
    expect(differed).toBeGreaterThan(50);
  });
});
