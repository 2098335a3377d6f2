// The order of the runs: for each mode and number of clients a warm-up, then rounds in which every path has its turn.

import { cpus } from 'node:os';
import type { TestPostgres } from '../support/postgres.ts';
import type { Contender, Pooling } from './contenders.ts';
import { type Mode, type PgbenchRun, runPgbench } from './pgbench.ts';
import type { Sample } from './report.ts';
import { type Round, readProcessorTime, runRounds, type Selection, stolenShare } from './undisturbed-rounds.ts';

const WARM_UP_SECONDS = 2;

export interface Bench {
  readonly isTls: boolean;
  readonly pgbench: string;
  readonly postgres: TestPostgres;
  readonly say: (line: string) => void;
}

export interface Plan {
  readonly modes: readonly Mode[];
  readonly clients: readonly number[];
  /** Rounds that count; disturbed ones are run again. */
  readonly rounds: number;
  readonly seconds: number;
  readonly pooling: Pooling;
}

type Load = Omit<Parameters<typeof runPgbench>[2], 'threads'>;

/** Rounds of every load of the plan, in its order. Fails where a path cannot run. */
export async function measure(
  bench: Bench,
  contenders: readonly Contender[],
  { modes, clients: clientCounts, rounds, seconds, pooling }: Plan,
): Promise<Selection<Sample>[]> {
  const selections: Selection<Sample>[] = [];
  for (const mode of modes) {
    // Unrecorded: caches fill, and the JavaScript of the proxy is compiled.
    for (const contender of contenders) await runOnce(bench, contender, { mode, clients: 8, seconds: WARM_UP_SECONDS });
    for (const clients of clientCounts) {
      // A pool that is to be shared is opened before it is measured.
      if (pooling !== null)
        for (const contender of contenders)
          await runOnce(bench, contender, { mode, clients, seconds: WARM_UP_SECONDS });
      selections.push(
        await runRounds(rounds, (round) => runRound(bench, contenders, { mode, clients, seconds }, round)),
      );
    }
  }
  return selections;
}

async function runRound(
  bench: Bench,
  contenders: readonly Contender[],
  load: Load,
  round: number,
): Promise<Round<Sample>> {
  const before = readProcessorTime();
  const samples: Sample[] = [];
  // Each round begins with another path, so that none always runs first.
  for (let turn = 0; turn < contenders.length; turn++) {
    const contender = contenders[(turn + round) % contenders.length];
    if (contender === undefined) continue;
    const { mode, clients } = load;
    const sample = await runOnce(bench, contender, load);
    samples.push({ ...sample, path: contender.path, mode, clients, round });
    bench.say(
      `${mode} ${clients} clients, round ${round + 1}: ${contender.path} ${Math.round(sample.tps)} tps` +
        (sample.cpuUs === null ? '' : `, ${sample.cpuUs.toFixed(1)} µs CPU`),
    );
  }
  const share = stolenShare(before, readProcessorTime());
  if (share > 0) bench.say(`  other machines had ${(share * 100).toFixed(1)} % of the processors in this round`);
  return { samples, stolenShare: share };
}

async function runOnce(
  { pgbench, postgres, isTls }: Bench,
  contender: Contender,
  load: Load,
): Promise<PgbenchRun & { cpuUs: number | null }> {
  const address = {
    host: contender.host,
    port: contender.port,
    user: postgres.user,
    database: postgres.database,
    isTls,
  };
  try {
    const cpuBeforeUs = contender.cpuMicroseconds();
    const run = await runPgbench(pgbench, address, { ...load, threads: Math.min(load.clients, cpus().length, 2) });
    const cpuAfterUs = contender.cpuMicroseconds();
    const cpuUs = cpuBeforeUs === null || cpuAfterUs === null ? null : (cpuAfterUs - cpuBeforeUs) / run.transactions;
    return { ...run, cpuUs };
  } catch (error) {
    throw new Error(`${contender.path} failed; its log ends\n${contender.logTail()}`, { cause: error });
  }
}
