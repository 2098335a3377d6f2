// Random protocol programs by the ten thousand, several at a time, through proxies of every kind: no byte may differ from the
// bare server's. PGWEIR_FUZZ_PROGRAMS says how many (5,000), PGWEIR_TEST_SEED repeats a run.

import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Settings } from '../../src/config/settings.ts';
import { cutEverywhere, fuzz } from '../relay/fuzz-lanes.ts';
import { type PiecemealTarget, startPiecemealTarget } from '../relay/piecemeal-target.ts';
import { HUNDRED_AND_ONE, KILL_ALL } from '../relay/random-runs.ts';
import { sharedPostgres } from '../support/shared-postgres.ts';
import { startTestWeir, type TestWeir, type WeirTargets } from '../support/weir.ts';

const PROGRAMS = Number(process.env.PGWEIR_FUZZ_PROGRAMS ?? 5_000);
const postgres = sharedPostgres();
let pieces: PiecemealTarget;
let weirs: readonly TestWeir[];
let pools: readonly TestWeir[];

beforeAll(async () => {
  pieces = await startPiecemealTarget({ host: postgres.host, port: postgres.primaryPort }, 3);
  weirs = [
    await startTestWeir({ postgres, rules: HUNDRED_AND_ONE }),
    await startTestWeir({ postgres, rules: HUNDRED_AND_ONE, settings: { auth: { mode: 'passthrough' } } }),
    await startTestWeir({ postgres, rules: KILL_ALL }),
    await startTestWeir({ postgres: pieces, rules: KILL_ALL }),
  ];
  pools = [
    await startPools(postgres, { size: 1, affinity: 'avoid' }),
    await startPools(postgres, { size: 2, affinity: 'avoid', maxPreparedStatements: 1 }),
    await startPools(postgres, { size: 4 }),
    await startPools(pieces, { size: 1 }),
  ];
});

function startPools(target: WeirTargets, pool: Partial<Settings['pool']>): Promise<TestWeir> {
  const settings = { pool: { mode: 'transaction', ...pool } } as const;
  return startTestWeir({ postgres: target, rules: HUNDRED_AND_ONE, settings });
}

afterAll(async () => {
  for (const weir of [...weirs, ...pools]) await weir.stop();
  await pieces.stop();
});

test.each([
  ['in session mode', () => weirs, Math.min(PROGRAMS, 6), false],
  ['in pools, with other clients at work', () => pools, Math.min(PROGRAMS, 2), true],
] as const)(
  `${PROGRAMS} random programs are answered as by the bare server %s`,
  async (_where, through, lanes, hasCompany) => {
    const seed = Number(process.env.PGWEIR_TEST_SEED ?? Date.now() % 2 ** 31);
    console.log(`protocol fuzz: seed ${seed}`);
    const result = await fuzz(postgres, through(), { seed, programs: PROGRAMS, lanes, hasCompany });
    const rate = Math.round(result.programs / result.seconds);
    console.log(
      `${result.programs} programs (${result.leftOut} left out, the bare server crashed ${result.crashes} times), ${result.messages} messages, ${rate} programs/s, no difference`,
    );
    expect(result.leftOut).toBeLessThan(1 + PROGRAMS / 20);
    expect(result.programs).toBe(PROGRAMS);
    for (const weir of through()) expect(weir.control.counters.errors.get('XX000')).toBeUndefined();
  },
  7_200_000,
);

test('short programs are answered alike, cut in two at every byte', async () => {
  const seed = Number(process.env.PGWEIR_TEST_SEED ?? Date.now() % 2 ** 31);
  console.log(`programs cut at every byte: seed ${seed}`);
  const tried = await cutEverywhere(postgres, weirs, { seed, programs: 16 });
  console.log(`${tried} cuts, no difference`);
  expect(tried).toBeGreaterThan(1_000);
}, 600_000);
