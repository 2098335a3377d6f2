// Getting in: both modes, every way a server may ask for a password, TCP and Unix sockets on both sides, and everything
// that may go wrong before the first ReadyForQuery. Where the server has something to say, the client hears it as it was.

import { afterAll, beforeAll, expect, test } from 'vitest';
import { sharedPostgres } from '../support/shared-postgres.ts';
import { startTestWeir, type TestWeir } from '../support/weir.ts';
import { WireClient } from '../support/wire-client.ts';

const postgres = sharedPostgres();
let weir: TestWeir;

beforeAll(async () => {
  weir = await startTestWeir({ postgres });
});

afterAll(() => weir.stop());

test('a client gets in', async () => {
  const client = await WireClient.login(weir);
  expect(await client.rows('SELECT current_user')).toEqual([['weir']]);
  await client.end();
});
