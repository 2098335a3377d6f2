// The leak test at any length: random doings of six clients over one and two connections against a bare server, once in a
// database whose hidden code a question can clear up, once where it leaves what no question can find.

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { withoutUnseeded } from './canaries.ts';
import { chooseSeed, type Dice } from './dice.ts';
import { QUIET_FIXTURE, WILD_FIXTURE } from './leak-fixture.ts';
import { makeLeakModel } from './leak-model.ts';
import { type Model, runModel } from './run-model.ts';
import { findSettable, type Settable } from './settable.ts';
import { type RoadKind, Stage } from './stage.ts';

const CODES = [
  { code: 'quiet', fixture: QUIET_FIXTURE },
  { code: 'wild', fixture: WILD_FIXTURE },
];
const SIZES = [1, 2];
const AFFINITIES = ['prefer', 'avoid'] as const;
const TEST_MS = 7_200_000;

/** `steps` over all pools together; the roads that show the test itself to be right take a tenth each. */
export function defineLeakTests(steps: number): void {
  const share = Math.ceil(steps / (CODES.length * SIZES.length * AFFINITIES.length));
  const control = Math.ceil(steps / 10);

  describe.each(CODES)('in a database with $code code', ({ code, fixture }) => {
    let stage: Stage;
    let settable: readonly Settable[];

    beforeAll(async () => {
      stage = await Stage.open({ fixture });
      settable = await findSettable(stage.oracle);
    });

    afterAll(() => stage.stop());

    async function run(kind: RoadKind, count: number): Promise<void> {
      const seed = chooseSeed(`leaks, ${code} code, ${JSON.stringify(kind)}`);
      const makeModel = (dice: Dice, size: number | null): Model =>
        makeLeakModel(dice, size, { settable, isWild: code === 'wild', isPlain: kind === 'leaky' });
      const report = await runModel({ stage, kind, makeModel, steps: count, seed, repair: withoutUnseeded });
      console.log(
        `${report.steps} steps in ${report.seconds.toFixed(1)} s, ${report.crashes} crashes of a server; ${report.ledger}`,
      );
      expect(report.steps).toBeGreaterThanOrEqual(count);
    }

    test('two servers without anything between agree on all that is read', () => run('bare', control), TEST_MS);

    test(
      'a pool that carries nothing over is found out',
      async () => {
        await expect(run('leaky', 5_000)).rejects.toThrow(/of the road under test/);
      },
      TEST_MS,
    );

    test('session mode shows no client what another did', () => run({ mode: 'session' }, control), TEST_MS);

    for (const size of SIZES) {
      for (const affinity of AFFINITIES) {
        test(
          `no client sees what another did, over ${size} connections (affinity ${affinity})`,
          () => run({ mode: 'transaction', size, affinity }, share),
          TEST_MS,
        );
      }
    }
  });
}
