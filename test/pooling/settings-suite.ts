// The settings model at any length: random SET, RESET, savepoints and logins of three clients over one and two connections
// that change hands after every statement, against a bare server.

import { afterAll, beforeAll, expect, test } from 'vitest';
import { chooseSeed, type Dice } from './dice.ts';
import { type Model, runModel } from './run-model.ts';
import { makeSettingsModel, SETTINGS_FIXTURE } from './settings-model.ts';
import { type RoadKind, Stage } from './stage.ts';

const SIZES = [1, 2];
const TEST_MS = 7_200_000;

/** `steps` over all pools together; the roads that show the test itself to be right take a tenth each. */
export function defineSettingsTests(steps: number): void {
  let stage: Stage;

  beforeAll(async () => {
    stage = await Stage.open({ fixture: SETTINGS_FIXTURE });
  });

  afterAll(() => stage.stop());

  async function run(kind: RoadKind, count: number): Promise<void> {
    const seed = chooseSeed(`settings, ${JSON.stringify(kind)}`);
    const makeModel = (dice: Dice, size: number | null): Model => makeSettingsModel(dice, size, kind !== 'leaky');
    const report = await runModel({ stage, kind, makeModel, steps: count, seed });
    console.log(
      `${report.steps} steps in ${report.seconds.toFixed(1)} s, ${report.crashes} crashes of a server; ${report.ledger}`,
    );
    expect(report.steps).toBeGreaterThanOrEqual(count);
  }

  test('two servers without anything between agree on all settings', () => run('bare', Math.ceil(steps / 10)), TEST_MS);

  test(
    'a pool that carries nothing over is found out',
    async () => {
      await expect(run('leaky', 5_000)).rejects.toThrow(/of the road under test/);
    },
    TEST_MS,
  );

  test('session mode leaves settings alone', () => run({ mode: 'session' }, Math.ceil(steps / 10)), TEST_MS);

  for (const size of SIZES) {
    test(
      `settings follow their clients over ${size} connections that change hands`,
      () => run({ mode: 'transaction', size, affinity: 'avoid' }, Math.ceil(steps / SIZES.length)),
      TEST_MS,
    );
  }
}
