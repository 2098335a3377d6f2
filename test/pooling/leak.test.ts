// Nothing that one client leaves in its session is ever seen by another: random doings of six clients over one and two
// connections, against a bare server. Once with hidden code that a question can clear up, once with code that no question can.
// PGWEIR_POOL_STEPS says how many steps (2,000), PGWEIR_TEST_SEED repeats a run.

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { withoutUnseeded } from './canaries.ts';
import { chooseSeed, type Dice } from './dice.ts';
import { QUIET_FIXTURE, WILD_FIXTURE } from './leak-fixture.ts';
import { makeLeakModel } from './leak-model.ts';
import { type Model, runModel } from './run-model.ts';
import { findSettable, type Settable } from './settable.ts';
import { type RoadKind, Stage } from './stage.ts';

const STEPS = Number(process.env.PGWEIR_POOL_STEPS ?? 2_000);

describe.each([
  { code: 'quiet', fixture: QUIET_FIXTURE },
  { code: 'wild', fixture: WILD_FIXTURE },
])('in a database with $code code', ({ code, fixture }) => {
  let stage: Stage;
  let settable: readonly Settable[];

  beforeAll(async () => {
    stage = await Stage.open({ fixture });
    settable = await findSettable(stage.oracle);
  });

  afterAll(() => stage.stop());

  async function run(kind: RoadKind, steps: number): Promise<void> {
    const seed = chooseSeed(`leaks, ${code} code, ${JSON.stringify(kind)}`);
    const makeModel = (dice: Dice, size: number | null): Model =>
      makeLeakModel(dice, size, { settable, isWild: code === 'wild', isPlain: kind === 'leaky' });
    const report = await runModel({ stage, kind, makeModel, steps, seed, repair: withoutUnseeded });
    console.log(`${report.steps} steps in ${report.seconds.toFixed(1)} s; ${report.ledger}`);
    expect(report.steps).toBeGreaterThanOrEqual(steps);
  }

  test('two servers without anything between agree on all that is read', () => run('bare', STEPS / 2), 600_000);

  test('a pool that carries nothing over is found out', async () => {
    await expect(run('leaky', STEPS)).rejects.toThrow(/of the road under test/);
  }, 600_000);

  test('session mode shows no client what another did', () => run({ mode: 'session' }, STEPS / 2), 600_000);

  for (const size of [1, 2]) {
    for (const affinity of ['prefer', 'avoid'] as const) {
      test(
        `no client sees what another did, over ${size} connections (affinity ${affinity})`,
        () => run({ mode: 'transaction', size, affinity }, STEPS),
        600_000,
      );
    }
  }
});
