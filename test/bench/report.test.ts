import { expect, test } from 'vitest';
import { formatTable, median, type Sample, summarize } from './report.ts';

function sample(path: Sample['path'], round: number, tps: number, cpuUs: number | null): Sample {
  return { path, mode: 'simple', clients: 8, round, tps, transactions: tps, p50Ms: 1, p99Ms: 2, cpuUs };
}

test('a ratio compares runs of the same round, so a slow minute does not spoil it', () => {
  const samples = [
    sample('pgbouncer', 0, 1_000, 10),
    sample('pgweir', 0, 900, 12),
    sample('pgbouncer', 1, 100, 10),
    sample('pgweir', 1, 90, 12),
    sample('pgbouncer', 2, 1_000, 10),
    sample('pgweir', 2, 900, 12),
  ];
  const row = summarize(samples).find((candidate) => candidate.path === 'pgweir');
  expect(row?.toPgBouncer).toBeCloseTo(0.9);
  expect(row?.tps).toBe(900);
});

test('a path that did not run gives no ratio, and the table shows a dash for it', () => {
  const rows = summarize([sample('direct', 0, 2_000, null), sample('pgweir', 0, 1_000, 15)]);
  expect(rows.map((row) => [row.path, row.toPgBouncer, row.toDirect])).toEqual([
    ['direct', null, 1],
    ['pgweir', null, 0.5],
  ]);
  expect(formatTable(rows).split('\n').at(-1)).toMatch(/\| pgweir +\| +1,000 \| +– \| +0\.50 \| .* 15\.0 \|$/);
});

test('the median of an even count lies between the two in the middle', () => {
  expect([median([4, 1, 3, 2]), median([3, 1, 2]), median([])]).toEqual([2.5, 2, Number.NaN]);
});
