// limits.login_timeout_ms is one span, from accept to ReadyForQuery, however a client divides it up.

import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { expect, test } from 'vitest';
import * as frontend from '../support/frontend-messages.ts';
import { sharedPostgres } from '../support/shared-postgres.ts';
import { readFields } from '../support/transcript.ts';
import { startTestWeir, type WeirTargets } from '../support/weir.ts';
import { WireClient } from '../support/wire-client.ts';

const LOGIN_TIMEOUT_MS = 2_000;
const SLOW_MS = 1_400;
const postgres = sharedPostgres();

/** A client that takes its time before the startup packet; what it hears first, and when. */
async function logInSlowly(target: WeirTargets): Promise<{ type: string; code: string | undefined; atMs: number }> {
  const limits = { loginTimeoutMs: LOGIN_TIMEOUT_MS };
  const weir = await startTestWeir({ postgres: target, settings: { auth: { mode: 'trust' }, limits } });
  const client = await WireClient.connect(weir);
  const startedAtMs = performance.now();
  try {
    await delay(SLOW_MS);
    client.send(frontend.startupMessage({ user: 'postgres', database: 'postgres' }));
    const { type, body } = await client.readMessage();
    return { type, code: type === 'E' ? readFields(body).C : undefined, atMs: performance.now() - startedAtMs };
  } finally {
    client.destroy();
    await weir.stop();
  }
}

test('a client that is slow with its startup packet has only what is left for the rest', async () => {
  const sockets: Socket[] = [];
  const silent = createServer((socket) => void sockets.push(socket)).listen(0, '127.0.0.1');
  await once(silent, 'listening');
  const { port } = silent.address() as AddressInfo;
  const heard = await logInSlowly({ host: '127.0.0.1', port });
  for (const socket of sockets) socket.destroy();
  silent.close();
  expect(heard).toMatchObject({ type: 'E', code: '08006' });
  expect(heard.atMs).toBeLessThan(LOGIN_TIMEOUT_MS + SLOW_MS - 400);
});

test('what is left is enough for a server that answers', async () => {
  expect(await logInSlowly({ host: postgres.host, port: postgres.primaryPort })).toMatchObject({ type: 'R' });
});
