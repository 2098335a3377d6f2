// One run of the real pgbench: throughput from its report, latencies from its per-transaction log.

import { existsSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { runProgram } from '../support/native-binaries.ts';

export const MODES = ['simple', 'extended', 'prepared'] as const;
export type Mode = (typeof MODES)[number];

export interface PgbenchRun {
  readonly tps: number;
  readonly transactions: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

export interface PgbenchAddress {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly database: string;
  /** Encrypted; the certificate is not looked at. */
  readonly isTls: boolean;
}

/** Share of transactions whose latency is logged: enough for a p99, too few to slow pgbench down. */
const SAMPLING_RATE = 0.2;

/** A program on PATH, or in the folders where Debian keeps what is not on PATH. Null where it is not installed. */
export async function findProgram(name: string): Promise<string | null> {
  const versions = await readdir('/usr/lib/postgresql').catch(() => []);
  const folders = [
    ...(process.env.PATH ?? '').split(delimiter),
    '/usr/sbin',
    '/usr/local/sbin',
    ...versions.sort((a, b) => Number(b) - Number(a)).map((version) => `/usr/lib/postgresql/${version}/bin`),
  ];
  const found = folders.find((folder) => folder !== '' && existsSync(join(folder, name)));
  return found === undefined ? null : join(found, name);
}

/** Debian's server programs, newest first, or null: a server of pgbench's own distribution where there is one. */
export async function findServerBinaries(): Promise<string | null> {
  const versions = await readdir('/usr/lib/postgresql').catch(() => []);
  for (const version of versions.sort((a, b) => Number(b) - Number(a))) {
    const folder = `/usr/lib/postgresql/${version}/bin`;
    if (existsSync(join(folder, 'postgres')) && existsSync(join(folder, 'initdb'))) return folder;
  }
  return null;
}

/** Fills the four pgbench tables; 100,000 accounts per unit of scale. */
export async function fillTables(pgbench: string, address: PgbenchAddress, scale: number): Promise<void> {
  const result = await runProgram(pgbench, ['-i', '-q', '-s', String(scale), ...addressArguments(address)], {
    deadlineMs: 120_000,
    env: sslEnvironment(address),
  });
  if (result.code !== 0) throw new Error(`pgbench -i: exit ${result.code}\n${result.stderr}`);
}

/** `pgbench -S` for `seconds`. Rejects when a transaction failed or pgbench ended with an error. */
export async function runPgbench(
  pgbench: string,
  address: PgbenchAddress,
  options: { mode: Mode; clients: number; threads: number; seconds: number },
): Promise<PgbenchRun> {
  const folder = await mkdtemp(join(tmpdir(), 'weir-bench-'));
  try {
    const result = await runProgram(
      pgbench,
      [
        ...['-n', '-S', '-M', options.mode, '-c', String(options.clients), '-j', String(options.threads)],
        ...[
          '-T',
          String(options.seconds),
          '-l',
          `--sampling-rate=${SAMPLING_RATE}`,
          `--log-prefix=${join(folder, 'log')}`,
        ],
        ...addressArguments(address),
      ],
      { deadlineMs: options.seconds * 1_000 + 60_000, env: sslEnvironment(address) },
    );
    const tps = Number(/^tps = ([\d.]+)/m.exec(result.stdout)?.[1]);
    const transactions = Number(/^number of transactions actually processed: (\d+)/m.exec(result.stdout)?.[1]);
    const failed = Number(/^number of failed transactions: (\d+)/m.exec(result.stdout)?.[1] ?? 0);
    if (result.code !== 0 || failed > 0 || !(tps > 0) || !(transactions > 0)) {
      throw new Error(`pgbench on port ${address.port}: exit ${result.code}\n${result.stdout}${result.stderr}`);
    }
    const latenciesUs = await readLatencies(folder);
    return {
      tps,
      transactions,
      p50Ms: percentile(latenciesUs, 0.5) / 1_000,
      p99Ms: percentile(latenciesUs, 0.99) / 1_000,
    };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function sslEnvironment(address: PgbenchAddress): NodeJS.ProcessEnv {
  return { PGSSLMODE: address.isTls ? 'require' : 'disable' };
}

function addressArguments(address: PgbenchAddress): string[] {
  return ['-h', address.host, '-p', String(address.port), '-U', address.user, address.database];
}

/** The third column of the log is the transaction's time in µs. Sorted. */
async function readLatencies(folder: string): Promise<Float64Array> {
  const latenciesUs: number[] = [];
  for (const file of await readdir(folder)) {
    for (const line of (await readFile(join(folder, file), 'utf8')).split('\n')) {
      const latencyUs = Number(line.split(' ', 3)[2]);
      if (latencyUs > 0) latenciesUs.push(latencyUs);
    }
  }
  return Float64Array.from(latenciesUs).sort();
}

function percentile(sorted: Float64Array, share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}
