// Prepared statements follow their clients: random programs of three clients over one and two connections, with room for one
// statement and for many on each, against a bare server. PGWEIR_POOL_STEPS says how many steps (3,000).

import { afterAll, beforeAll, expect, test } from 'vitest';
import { chooseSeed } from './dice.ts';
import { makePreparedModel, PREPARED_FIXTURE } from './prepared-model.ts';
import { runModel } from './run-model.ts';
import { type RoadKind, Stage } from './stage.ts';

const STEPS = Number(process.env.PGWEIR_POOL_STEPS ?? 3_000);
let stage: Stage;

beforeAll(async () => {
  stage = await Stage.open({ fixture: PREPARED_FIXTURE });
});

afterAll(() => stage.stop());

async function run(kind: RoadKind, steps: number): Promise<void> {
  const seed = chooseSeed(`prepared statements, ${JSON.stringify(kind)}`);
  const report = await runModel({ stage, kind, makeModel: makePreparedModel, steps, seed });
  console.log(`${report.steps} steps in ${report.seconds.toFixed(1)} s; ${report.ledger}`);
  expect(report.steps).toBeGreaterThanOrEqual(steps);
}

test('two servers without anything between answer alike', () => run('bare', STEPS / 3), 600_000);

test('a pool that shares names is found out', async () => {
  await expect(run('leaky', STEPS)).rejects.toThrow(/of the road under test/);
}, 600_000);

test('session mode answers as the server does', () => run({ mode: 'session' }, STEPS / 3), 600_000);

for (const [size, maxPreparedStatements] of [
  [1, 1],
  [1, 200],
  [2, 1],
  [2, 200],
] as const) {
  test(
    `statements follow their clients over ${size} connections that keep ${maxPreparedStatements}`,
    () => run({ mode: 'transaction', size, maxPreparedStatements, affinity: 'avoid' }, STEPS / 2),
    600_000,
  );
}
