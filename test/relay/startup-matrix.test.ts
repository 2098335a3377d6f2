// How a connection opens: every version, request and parameter is answered as by the bare server, however its bytes are cut.

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { waitFor } from '../support/deadline.ts';
import { sharedPostgres } from '../support/shared-postgres.ts';
import { startTestWeir, type TestWeir } from '../support/weir.ts';
import type { WireAddress } from '../support/wire-client.ts';
import { CUT_OPENINGS, OPENINGS, type Opening, open } from './startup-matrix.ts';

const postgres = sharedPostgres();
const bare: WireAddress = { host: postgres.host, port: postgres.primaryPort };
const AT_ONCE = 6;

describe.each(['passthrough', 'trust'] as const)('with auth %s', (mode) => {
  let weir: TestWeir;

  beforeAll(async () => {
    weir = await startTestWeir({ postgres, settings: { auth: { mode } } });
  });

  afterAll(async () => {
    await waitFor(
      () => weir.control.counters.currentClients === 0,
      5_000,
      () => `${weir.control.counters.currentClients} clients are left`,
    );
    await weir.stop();
  });

  /** Runs all, some at a time; those that are answered differently, with both answers. */
  async function findDifferences(
    openings: readonly Opening[],
    cutsOf: (opening: Opening) => readonly (number | undefined)[],
  ): Promise<unknown[]> {
    const waiting = [...openings];
    const differences: unknown[] = [];
    const work = async (): Promise<void> => {
      for (let opening = waiting.shift(); opening !== undefined; opening = waiting.shift()) {
        const expected = await open(bare, opening);
        for (const cutAt of cutsOf(opening)) {
          const said = await open(weir, opening, cutAt);
          if (JSON.stringify(said) !== JSON.stringify(expected))
            differences.push({ opening: opening.name, cutAt, expected, said });
        }
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, work));
    return differences;
  }

  test(`${OPENINGS.length} openings are answered as by the bare server`, async () => {
    expect(await findDifferences(OPENINGS, () => [undefined])).toEqual([]);
  }, 60_000);

  test('openings are answered alike wherever their bytes are cut', async () => {
    const everyOffset = ({ packets }: Opening): number[] =>
      Array.from({ length: packets.at(-1)?.length ?? 0 }, (_, at) => at);
    expect(await findDifferences(CUT_OPENINGS, everyOffset)).toEqual([]);
  }, 60_000);
});
