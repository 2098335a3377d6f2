// The benchmark's figures: medians over the rounds, and the table that people read.

import type { Path } from './contenders.ts';
import type { Mode, PgbenchRun } from './pgbench.ts';

/** One run of one path. Runs of one round follow each other directly: only they are compared with each other. */
export interface Sample extends PgbenchRun {
  readonly path: Path;
  readonly mode: Mode;
  readonly clients: number;
  readonly round: number;
  /** CPU time of the proxy process per transaction; null for the direct path. */
  readonly cpuUs: number | null;
}

export interface Row {
  readonly mode: Mode;
  readonly clients: number;
  readonly path: Path;
  readonly tps: number;
  /** Medians over the rounds of tps ÷ the other path's tps in the same round; null where that path did not run. */
  readonly toPgBouncer: number | null;
  readonly toDirect: number | null;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly cpuUs: number | null;
}

export function summarize(samples: readonly Sample[]): Row[] {
  const groups = new Map<string, Sample[]>();
  for (const sample of samples) {
    const key = `${sample.mode} ${sample.clients} ${sample.path}`;
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [sample]);
    else group.push(sample);
  }
  return [...groups.values()].flatMap((group) => {
    const [first] = group;
    if (first === undefined) return [];
    const cpuUs = group.map((sample) => sample.cpuUs).filter((value) => value !== null);
    return [
      {
        mode: first.mode,
        clients: first.clients,
        path: first.path,
        tps: median(group.map((sample) => sample.tps)),
        toPgBouncer: ratioTo('pgbouncer', group, samples),
        toDirect: ratioTo('direct', group, samples),
        p50Ms: median(group.map((sample) => sample.p50Ms)),
        p99Ms: median(group.map((sample) => sample.p99Ms)),
        cpuUs: cpuUs.length === 0 ? null : median(cpuUs),
      },
    ];
  });
}

/** A table in Markdown that also reads well in a terminal. */
export function formatTable(rows: readonly Row[]): string {
  const header = ['mode', 'clients', 'path', 'tps', '÷ PgBouncer', '÷ direct', 'p50 ms', 'p99 ms', 'proxy CPU µs/tx'];
  const cells = rows.map((row) => [
    row.mode,
    String(row.clients),
    row.path,
    Math.round(row.tps).toLocaleString('en-US'),
    formatRatio(row.toPgBouncer),
    formatRatio(row.toDirect),
    row.p50Ms.toFixed(3),
    row.p99Ms.toFixed(3),
    row.cpuUs === null ? '–' : row.cpuUs.toFixed(1),
  ]);
  const widths = header.map((title, column) =>
    Math.max(title.length, ...cells.map((line) => line[column]?.length ?? 0)),
  );
  const isText = (column: number): boolean => column === 0 || column === 2;
  const formatLine = (line: readonly string[]): string =>
    `| ${line.map((cell, column) => (isText(column) ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0))).join(' | ')} |`;
  const rule = `|${widths.map((width, column) => (isText(column) ? `:${'-'.repeat(width + 1)}` : `${'-'.repeat(width + 1)}:`)).join('|')}|`;
  return [formatLine(header), rule, ...cells.map(formatLine)].join('\n');
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}

function ratioTo(path: Path, group: readonly Sample[], samples: readonly Sample[]): number | null {
  const ratios = group.flatMap((sample) => {
    const other = samples.find(
      (candidate) =>
        candidate.path === path &&
        candidate.mode === sample.mode &&
        candidate.clients === sample.clients &&
        candidate.round === sample.round,
    );
    return other === undefined ? [] : [sample.tps / other.tps];
  });
  return ratios.length === 0 ? null : median(ratios);
}

function formatRatio(ratio: number | null): string {
  return ratio === null ? '–' : ratio.toFixed(2);
}
