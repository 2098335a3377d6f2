// A table for the terminal.

import { expect, test } from 'vitest';
import { escapeControls, formatTextTable, type TextColumn } from '../../src/base/text-table.ts';

const COLUMNS: readonly TextColumn<readonly [string, number]>[] = [
  { title: 'NAME', isNumber: false, read: ([name]) => name },
  { title: 'N', isNumber: true, read: ([, count]) => String(count) },
  { title: 'AGAIN', isNumber: false, read: ([name]) => name },
];

test('words stand to the left, numbers to the right, and no line ends in blanks', () => {
  const rows = [
    ['a', 1],
    ['longer', 1_000],
  ] as const;
  expect(formatTextTable(COLUMNS, rows)).toBe('NAME       N  AGAIN\na          1  a\nlonger  1000  longer');
  expect(formatTextTable(COLUMNS, [])).toBe('NAME  N  AGAIN');
});

test('what could steer a terminal is shown by number, other letters stay', () => {
  expect(escapeControls('\u001b[2Jx\n\u202eé')).toBe('\\u{1b}[2Jx\\u{a}\\u{202e}é');
  expect(formatTextTable(COLUMNS, [['\t', 1]])).toContain('\\u{9}');
});
