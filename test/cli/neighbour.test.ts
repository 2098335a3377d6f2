// `wait` and `shutdown` against a pgweir that is there, one that is not ready, and none at all.

import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { withClosedPort } from '../support/closed-port.ts';
import { sharedPostgres } from '../support/shared-postgres.ts';
import { type SpawnedWeir, spawnWeir } from '../support/weir.ts';
import { HandIo, run } from './hand-io.ts';

/** On the list of bad ports of the Fetch standard. */
const SHUNNED_PORT = 10_080;
const TOKEN = 'a-token-for-neighbours';
const postgres = sharedPostgres();
let weir: SpawnedWeir | null = null;
afterEach(async () => {
  await weir?.stop();
  weir = null;
});

test('wait ends with 0 when pgweir is ready, and shutdown makes it end with 0', async () => {
  weir = await spawnWeir({ postgres, configuration: { health: { host: '0.0.0.0' } } });
  expect(await run(['wait', weir.configurationPath])).toEqual({ code: 0, out: '', err: '' });
  expect(await run(['shutdown', weir.configurationPath])).toEqual({ code: 0, out: '', err: '' });
  expect(await weir.exit()).toBe(0);
});

test('shutdown shows the token that the settings name, and without it pgweir goes on', async () => {
  weir = await spawnWeir({ postgres, configuration: { admin: { token: TOKEN } } });
  const io = new HandIo();
  io.environment = { PGWEIR_ADMIN_TOKEN: 'not-the-token-it-wants' };
  expect(await run(['shutdown', weir.configurationPath], io)).toMatchObject({
    code: 1,
    err: expect.stringContaining('401'),
  });
  expect((await fetch(`${weir.healthUrl}/readiness`)).status).toBe(200);
  expect((await fetch(`${weir.healthUrl}/quitquitquit`, { method: 'POST' })).status).toBe(405);
  expect(await run(['shutdown', weir.configurationPath])).toMatchObject({ code: 0 });
  expect(await weir.exit()).toBe(0);
});

test('a port that browsers do not call is one like any other', async () => {
  const server = createServer((_request, response) => response.end('ready'));
  await new Promise<void>((resolve) => server.listen(SHUNNED_PORT, '127.0.0.1', resolve));
  try {
    expect(await run(['wait', '--timeout', '5', '--set', `health.port=${SHUNNED_PORT}`])).toMatchObject({ code: 0 });
    expect(await run(['shutdown', '--set', `admin.port=${SHUNNED_PORT}`])).toMatchObject({ code: 0 });
  } finally {
    server.close();
  }
});

test('a neighbour that says nothing is waited for no longer than the deadline', async () => {
  const silent = createServer(() => undefined);
  await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
  const { port } = silent.address() as AddressInfo;
  expect(await run(['wait', '--timeout', '0.5', '--set', `health.port=${port}`])).toMatchObject({
    code: 1,
    err: expect.stringContaining('timeout'),
  });
  silent.closeAllConnections();
  silent.close();
});

test('where nobody listens, wait is 1 at its deadline and shutdown is 1 at once', async () => {
  await withClosedPort(async (port) => {
    const refused = `connect ECONNREFUSED 127.0.0.1:${port}`;
    expect(await run(['wait', '--timeout', '0.3', '--set', `health.port=${port}`])).toMatchObject({
      code: 1,
      err: expect.stringMatching(new RegExp(`not ready after 0.3 s: .*: ${refused}`)),
    });
    expect(await run(['shutdown', '--set', `admin.port=${port}`])).toMatchObject({
      code: 1,
      err: expect.stringContaining(refused),
    });
  });
  expect(await run(['wait', '--timeout', 'soon'])).toMatchObject({ code: 1 });
});
