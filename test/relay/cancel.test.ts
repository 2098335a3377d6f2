// A cancel reaches the statement of the session that it names, and nothing else: not a neighbour, not the next statement,
// not through another pgweir.

import { afterAll, beforeAll, expect, test } from 'vitest';
import { sharedPostgres } from '../support/shared-postgres.ts';
import { startTestWeir, type TestWeir } from '../support/weir.ts';
import { sendCancel, WireClient } from '../support/wire-client.ts';

const postgres = sharedPostgres();
let weir: TestWeir;

beforeAll(async () => {
  weir = await startTestWeir({ postgres });
});

afterAll(() => weir.stop());

test('a cancel while idle does nothing', async () => {
  const client = await WireClient.login(weir);
  await sendCancel(weir, client.processId, client.secretKey);
  expect(await client.rows('SELECT 1')).toEqual([['1']]);
  await client.end();
});
