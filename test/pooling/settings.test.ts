// Settings follow their clients: random SET, RESET, savepoints and logins of three clients over one and two connections that
// change hands after every statement, against a bare server. The long version takes 100,000 steps.

import { afterAll, beforeAll, expect, test } from 'vitest';
import { chooseSeed, type Dice } from './dice.ts';
import { type Model, runModel } from './run-model.ts';
import { makeSettingsModel, SETTINGS_FIXTURE } from './settings-model.ts';
import { type RoadKind, Stage } from './stage.ts';

const STEPS = Number(process.env.PGWEIR_POOL_STEPS ?? 3_000);
let stage: Stage;

beforeAll(async () => {
  stage = await Stage.open({ fixture: SETTINGS_FIXTURE });
});

afterAll(() => stage.stop());

async function run(kind: RoadKind, steps: number): Promise<void> {
  const seed = chooseSeed(`settings, ${JSON.stringify(kind)}`);
  const makeModel = (dice: Dice, size: number | null): Model => makeSettingsModel(dice, size, kind !== 'leaky');
  const report = await runModel({ stage, kind, makeModel, steps, seed });
  console.log(`${report.steps} steps in ${report.seconds.toFixed(1)} s; ${report.ledger}`);
  expect(report.steps).toBeGreaterThanOrEqual(steps);
}

test('two servers without anything between agree on all settings', () => run('bare', STEPS / 3), 600_000);

test('a pool that carries nothing over is found out', async () => {
  await expect(run('leaky', STEPS)).rejects.toThrow(/of the road under test/);
}, 600_000);

test('session mode leaves settings alone', () => run({ mode: 'session' }, STEPS / 3), 600_000);

for (const size of [1, 2]) {
  test(
    `settings follow their clients over ${size} connections that change hands`,
    () => run({ mode: 'transaction', size, affinity: 'avoid' }, STEPS),
    600_000,
  );
}
