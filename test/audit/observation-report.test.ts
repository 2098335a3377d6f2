// The matrix as rows, CSV and table: complete, filtered, and harmless to whatever opens it.

import { expect, test } from 'vitest';
import {
  formatObservationsCsv,
  formatObservationsText,
  quoteCsv,
  reportObservations,
} from '../../src/audit/observation-report.ts';
import { Recorder } from '../../src/audit/recorder.ts';
import { HandClock, makeHit, makeRule, makeRuleset, makeShape, makeSubject, makeVerdict } from './verdict-maker.ts';

function recordWorkload(maxCells: number): Recorder {
  const recorder = new Recorder({ clock: new HandClock(), maxCells, maxDecisions: 10 });
  const rule = makeRule('from_dual', 'deny', 'observe');
  const ruleset = makeRuleset('v1', 1, [rule]);
  ['web', 'batch', '=cmd|calc', 'red\u001b[31m'].forEach((applicationName, index) => {
    for (let count = 0; count <= index * 2; count += 1) {
      const subject = makeSubject({ applicationName });
      const hit = makeHit(rule, makeShape(`${index}`.repeat(16), 'select ? from dual'), 'deny');
      recorder.recordVerdict(makeVerdict(ruleset, subject, [hit], { isInTransaction: count % 2 === 1 }));
    }
  });
  return recorder;
}

test('rows come with the most matches first and carry counts, share, times and a sample', () => {
  const report = reportObservations(recordWorkload(100).matrix, {}, 100);
  expect(report.rows.map((row) => row.matched)).toEqual([7, 5, 3, 1]);
  expect(report.rows[2]).toMatchObject({
    rule: 'from_dual',
    mode: 'observe',
    application_name: 'batch',
    client_prefix: '10.1.2.0/24',
    would_refuse: 3,
    in_transaction: 1,
    in_transaction_share: 0.3333,
    sample: 'select ? from dual',
    first_seen: '2023-11-14T22:13:20.000Z',
    possibly_missed: 0,
  });
  expect(report.rules).toMatchObject([{ rule: 'from_dual', totals: { matched: 16 }, other: { matched: 0 } }]);
});

test('top cuts the rows but not the totals, a filter keeps only what it names', () => {
  const { matrix } = recordWorkload(100);
  const top = reportObservations(matrix, {}, 2);
  expect([top.rows.length, top.rows_found, top.rules[0]?.totals.matched]).toEqual([2, 4, 16]);
  expect(reportObservations(matrix, { applicationName: 'web' }, 100).rows.map((row) => row.matched)).toEqual([1]);
  expect(reportObservations(matrix, { rule: 'no such rule' }, 100)).toMatchObject({ rows: [], rules: [] });
  expect(reportObservations(matrix, { sinceMs: Number.MAX_SAFE_INTEGER }, 100).rows).toEqual([]);
});

test('CSV holds every row, an other row where cells were lost, and no cell that a spreadsheet would run', () => {
  const whole = formatObservationsCsv(reportObservations(recordWorkload(100).matrix, {}, 100))
    .trimEnd()
    .split('\r\n');
  expect(whole.length).toBe(5);
  expect(whole.some((line) => /,[=+\-@]/.test(line))).toBe(false);
  expect(whole.join('\n')).toContain(`"'=cmd|calc"`);
  expect(whole.join('\n')).not.toContain('(other)');
  const bounded = formatObservationsCsv(reportObservations(recordWorkload(2).matrix, {}, 100))
    .trimEnd()
    .split('\r\n');
  expect(bounded.length).toBe(4);
  const counts = bounded.slice(1).map((line) => Number(line.split(',')[8]));
  expect(counts.reduce((sum, count) => sum + count, 0)).toBe(16);
  expect(bounded.at(-1)).toContain('(other)');
});

test.each([
  ['plain', 'plain'],
  ['a,b', '"a,b"'],
  ['say "x"', '"say ""x"""'],
  ['=1+1', `"'=1+1"`],
  ['+1', `"'+1"`],
  ['-1', `"'-1"`],
  ['@sum', `"'@sum"`],
  ['  =1', `"'  =1"`],
  ['\tx', `"'\tx"`],
  ['line\nbreak', '"line\nbreak"'],
])('the text %j is written to CSV as %j', (text, written) => {
  expect(quoteCsv(text)).toBe(written);
});

test('the table shows control characters instead of sending them to the terminal', () => {
  const text = formatObservationsText(reportObservations(recordWorkload(100).matrix, {}, 100));
  expect(text).toContain('red\\u{1b}[31m');
  expect(text).not.toContain('\u001b');
  expect(text.split('\n')[0]).toMatch(/^RULE\s+MODE\s+MATCHED/);
  expect(formatObservationsText(reportObservations(recordWorkload(100).matrix, {}, 1))).toContain('(3 more rows)');
});
