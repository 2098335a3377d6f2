// The matrix must not say "equal" of what is not: each verdict with its refusing twin.

import { describe, expect, test } from 'vitest';
import { type Check, readReports } from './checks.ts';
import { compareReports } from './outcome.ts';

const report = (check: Check, isOk: boolean | null, detail: string) => ({ check, isOk, detail });

function kindOf(check: Check, direct: [boolean | null, string], weir: [boolean | null, string]): string | undefined {
  return compareReports([report(check, ...direct)], [report(check, ...weir)]).get(check)?.kind;
}

describe('a plain check', () => {
  test('is equal when both paths are right and say the same', () => {
    expect(kindOf('copy', [true, 'in 3'], [true, 'in 3'])).toBe('equal');
  });

  test('differs when both are right but say different things', () => {
    expect(kindOf('copy', [true, 'in 3'], [true, 'in 4'])).toBe('different');
  });

  test('differs when pgweir alone is wrong, or knows no API that the bare path knew', () => {
    expect(kindOf('copy', [true, 'in 3'], [false, 'in 3'])).toBe('different');
    expect(kindOf('copy', [true, 'in 3'], [null, 'in 3'])).toBe('different');
  });

  test('is broken, not equal, when the bare server fails the same way', () => {
    expect(kindOf('copy', [false, 'lost'], [false, 'lost'])).toBe('broken');
  });

  test('is broken when a program ended before it', () => {
    expect(compareReports([], []).get('copy')?.kind).toBe('broken');
    expect(compareReports([report('copy', true, 'in 3')], []).get('copy')?.kind).toBe('different');
  });

  test('has no API only where both runs say so', () => {
    expect(kindOf('copy', [null, 'no COPY'], [null, 'no COPY'])).toBe('no API');
    expect(kindOf('copy', [null, 'no COPY'], [true, 'in 3'])).toBe('broken');
  });
});

describe('a refusal', () => {
  const bare = '42501 closed {"rule":"guarded","decision_id":"bare"} usable';

  test('is equal when only the decision differs', () => {
    expect(kindOf('refused', [true, bare], [true, bare.replace('bare', 'mw1-7')])).toBe('equal');
  });

  test('differs when it was the bare server that refused behind pgweir', () => {
    expect(kindOf('refused', [true, bare], [true, bare])).toBe('different');
  });

  test('differs when pgweir words it otherwise or leaves the decision out', () => {
    expect(kindOf('refused', [true, bare], [true, bare.replace('closed', 'shut').replace('bare', 'mw1-7')])).toBe(
      'different',
    );
    expect(kindOf('refused', [true, bare], [true, '42501 closed usable'])).toBe('different');
  });
});

describe('a limit', () => {
  test('is seen when the second look is refused by pgweir alone', () => {
    expect(kindOf('limited', [true, 'first: ok, second: ok'], [true, 'first: ok, second: 53400'])).toBe('equal');
  });

  test('differs when pgweir let the second look pass', () => {
    expect(kindOf('limited', [true, 'first: ok, second: ok'], [true, 'first: ok, second: ok'])).toBe('different');
  });
});

describe('what a program prints', () => {
  test('is read line by line', () => {
    expect(readReports('{"check":"copy","ok":null,"detail":"no"}\n')).toEqual([report('copy', null, 'no')]);
  });

  test('is refused when it is no report', () => {
    for (const line of ['Segmentation fault', '{"check":"flying","ok":true,"detail":""}', '{"check":"copy"}', '[]']) {
      expect(() => readReports(line)).toThrow(RangeError);
    }
  });
});
