// A target whose host is a name of several addresses: what fails is told for each of them, and a cancel goes where the session is.

import dns from 'node:dns';
import { once } from 'node:events';
import { createServer, type Server } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from 'vitest';
import { withClosedPort } from '../support/closed-port.ts';
import * as frontend from '../support/frontend-messages.ts';
import { startPostgres, type TestPostgres } from '../support/postgres.ts';
import { type BackendMessage, readFields } from '../support/transcript.ts';
import { startTestWeir, type TestWeir } from '../support/weir.ts';
import { sendCancel, WireClient } from '../support/wire-client.ts';

const NAME = 'several.test';
const HERE = '127.0.0.1';
const ELSEWHERE = '127.0.0.2';

let postgres: TestPostgres;
/** On the same port of another address: it takes every connection, and says nothing. */
let neighbour: Server;
let callsElsewhere = 0;
let weir: TestWeir | null = null;
let addresses: readonly string[] = [];

beforeAll(async () => {
  postgres = await startPostgres();
  neighbour = createServer((socket) => {
    callsElsewhere++;
    socket.on('error', () => undefined).destroy();
  });
  neighbour.listen(postgres.port, ELSEWHERE);
  await once(neighbour, 'listening');
});
afterAll(async () => {
  neighbour?.close();
  await postgres?.stop();
});
beforeEach(() => {
  callsElsewhere = 0;
  vi.spyOn(dns, 'lookup').mockImplementation((name: string, ...more: unknown[]): void => {
    const answer = more.at(-1);
    const found = name === NAME ? addresses : [name];
    if (typeof answer === 'function')
      answer(
        null,
        found.map((address) => ({ address, family: 4 })),
      );
  });
});
afterEach(async () => {
  vi.restoreAllMocks();
  await weir?.stop();
  weir = null;
});

const codesOf = (messages: readonly BackendMessage[]): (string | undefined)[] =>
  messages.filter(({ type }) => type === 'E').map(({ body }) => readFields(body).C);

test.each(['session', 'transaction'] as const)(
  'in mode %s a cancel goes to the address of the session, whatever the name stands for by now',
  async (mode) => {
    weir = await startTestWeir({
      postgres,
      rules: `
traffic_control:
  rules:
    - { name: short, match: { query_regex: late }, action: kill_after_ms, timeout_ms: 300 }`,
      settings: { targets: { primary: { name: 'primary', host: NAME, port: postgres.port } }, pool: { mode, size: 2 } },
    });
    addresses = [HERE];
    const client = await WireClient.login(weir);
    expect(await client.rows('SELECT 1')).toEqual([['1']]);
    addresses = [ELSEWHERE];
    expect(codesOf(await client.query('SELECT pg_sleep(5) /* late */'))).toEqual(['57014']);
    client.send(frontend.query('SELECT pg_sleep(5)'));
    await sleep(200);
    await sendCancel(weir, client.processId, client.secretKey);
    expect(codesOf(await client.readUntilReady())).toEqual(['57014']);
    expect(callsElsewhere).toBe(0);
    await client.end();
  },
);

test('where none of them answers the client is told why, for each', () =>
  withClosedPort(async (port) => {
    weir = await startTestWeir({
      postgres,
      settings: { targets: { primary: { name: 'primary', host: NAME, port } } },
    });
    addresses = [HERE, ELSEWHERE];
    await expect(WireClient.login(weir)).rejects.toThrow(
      `primary at ${NAME}:${port}: connect ECONNREFUSED ${HERE}:${port}, connect ECONNREFUSED ${ELSEWHERE}:${port}`,
    );
  }));
