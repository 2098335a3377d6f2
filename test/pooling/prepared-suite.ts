// The prepared-statement model at any length: random programs of three clients over one and two connections, with room for
// one statement and for many on each, against a bare server.

import { afterAll, beforeAll, expect, test } from 'vitest';
import { chooseSeed } from './dice.ts';
import { makePreparedModel, PREPARED_FIXTURE } from './prepared-model.ts';
import { runModel } from './run-model.ts';
import { type RoadKind, Stage } from './stage.ts';

const POOLS = [
  { size: 1, maxPreparedStatements: 1 },
  { size: 1, maxPreparedStatements: 200 },
  { size: 2, maxPreparedStatements: 1 },
  { size: 2, maxPreparedStatements: 200 },
];
const TEST_MS = 7_200_000;

/** `steps` over all pools together; the roads that show the test itself to be right take a tenth each. */
export function definePreparedTests(steps: number): void {
  let stage: Stage;

  beforeAll(async () => {
    stage = await Stage.open({ fixture: PREPARED_FIXTURE });
  });

  afterAll(() => stage.stop());

  async function run(kind: RoadKind, count: number): Promise<void> {
    const seed = chooseSeed(`prepared statements, ${JSON.stringify(kind)}`);
    const report = await runModel({ stage, kind, makeModel: makePreparedModel, steps: count, seed });
    console.log(
      `${report.steps} steps in ${report.seconds.toFixed(1)} s, ${report.crashes} crashes of a server; ${report.ledger}`,
    );
    expect(report.steps).toBeGreaterThanOrEqual(count);
  }

  test('two servers without anything between answer alike', () => run('bare', Math.ceil(steps / 10)), TEST_MS);

  test(
    'a pool that shares names is found out',
    async () => {
      await expect(run('leaky', 5_000)).rejects.toThrow(/of the road under test/);
    },
    TEST_MS,
  );

  test('session mode answers as the server does', () => run({ mode: 'session' }, Math.ceil(steps / 10)), TEST_MS);

  for (const pool of POOLS) {
    test(
      `statements follow their clients over ${pool.size} connections that keep ${pool.maxPreparedStatements}`,
      () => run({ mode: 'transaction', affinity: 'avoid', ...pool }, Math.ceil(steps / POOLS.length)),
      TEST_MS,
    );
  }
}
