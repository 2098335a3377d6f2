// Logins to servers that fail are not tried again at once. Who need not wait for that does not.

import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, expect, test } from 'vitest';
import { ROUTING_RULES, WHERE } from '../relay/routed-client.ts';
import { waitFor } from '../support/deadline.ts';
import { ROLES } from '../support/postgres.ts';
import { sharedPostgres } from '../support/shared-postgres.ts';
import { startTestWeir, type TestWeir } from '../support/weir.ts';
import { WireClient } from '../support/wire-client.ts';

const postgres = sharedPostgres();
let weir: TestWeir;
const clients: WireClient[] = [];
afterEach(async () => {
  for (const client of clients.splice(0)) client.destroy();
  await weir.stop();
});

async function login(): Promise<WireClient> {
  const client = await WireClient.login(weir);
  clients.push(client);
  return client;
}

async function timeOf(act: () => Promise<unknown>): Promise<number> {
  const startMs = performance.now();
  await act();
  return performance.now() - startMs;
}

/** A way to the server that can be cut and mended. */
async function startSwitch() {
  const sockets = new Set<Socket>();
  let isCut = false;
  const server = createServer((near) => {
    near.on('error', () => undefined);
    if (isCut) {
      near.destroy();
      return;
    }
    const far = connect(postgres.primaryPort, postgres.host).on('error', () => undefined);
    near.pipe(far).pipe(near);
    near.on('close', () => far.destroy());
    far.on('close', () => near.destroy());
    sockets.add(near);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  const cut = (): void => {
    isCut = true;
    for (const socket of sockets) socket.destroy();
  };
  return {
    host: '127.0.0.1',
    port: typeof address === 'object' && address !== null ? address.port : 0,
    cut,
    mend() {
      isCut = false;
    },
    close() {
      cut();
      server.close();
    },
  };
}

test('options that the server refuses keep only those back who ask for them', async () => {
  weir = await startTestWeir({ postgres, settings: { pool: { mode: 'transaction', size: 5 } } });
  const client = await login();
  const pid = (await client.rows('SELECT pg_backend_pid()'))[0]?.[0];
  await postgres.query(`SELECT pg_terminate_backend(${pid})`);
  await waitFor(
    () => weir.control.pools()[0]?.connections.idle === 0,
    5_000,
    () => 'the connection is still there',
  );
  const untilMs = performance.now() + 1_700;
  while (performance.now() < untilMs) {
    const refused = WireClient.login(weir, { parameters: { options: '-c no_such_setting=1' } });
    await expect(refused).rejects.toThrow('no_such_setting');
    await sleep(20);
  }
  expect(await timeOf(() => client.rows('SELECT 1'))).toBeLessThan(1_000);
});

test('a password that has been set right is tried at once, though the wrong one has failed for long', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'pgweir-password-'));
  const passwordFile = join(folder, 'password');
  try {
    const { user, password } = ROLES.scram;
    await writeFile(passwordFile, password);
    weir = await startTestWeir({
      postgres,
      settings: {
        pool: { mode: 'transaction', size: 5 },
        auth: { mode: 'trust', credentials: [{ user, password, passwordFile }] },
      },
    });
    clients.push(await WireClient.login(weir, { user }));
    await writeFile(passwordFile, 'wrong');
    const isOut = async (): Promise<boolean> => {
      // Nobody comes in on the word of a connection that is there.
      await postgres.query(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '${user}'`);
      const client = await WireClient.login(weir, { user }).catch(() => null);
      client?.destroy();
      return client === null;
    };
    await waitFor(isOut, 8_000, () => 'the wrong password is not used');
    const untilMs = performance.now() + 3_300;
    while (performance.now() < untilMs) {
      await expect(WireClient.login(weir, { user })).rejects.toThrow('password authentication failed');
      await sleep(20);
    }
    await writeFile(passwordFile, password);
    const isIn = async (): Promise<boolean> => {
      clients.push(await WireClient.login(weir, { user }));
      return true;
    };
    await waitFor(isIn, 1_500, () => 'it is still refused');
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});

test('who waits for a login that the server refuses costs nobody else a connection', async () => {
  weir = await startTestWeir({ postgres, settings: { pool: { mode: 'transaction', size: 5 } } });
  const refused = { parameters: { options: '-c role=dropped_meanwhile' } };
  await postgres.query('CREATE ROLE dropped_meanwhile');
  try {
    for (const client of [await login(), await login()]) await client.rows('SELECT 1');
    const waiting = await WireClient.login(weir, refused);
    clients.push(waiting);
    const pid = (await waiting.rows('SELECT pg_backend_pid()'))[0]?.[0];
    await postgres.query(`SELECT pg_terminate_backend(${pid})`);
    await waitFor(
      () => weir.control.pools()[0]?.connections.idle === 2,
      5_000,
      () => 'the connection is still there',
    );
  } finally {
    await postgres.query('DROP ROLE dropped_meanwhile');
  }
  const until = performance.now() + 1_700;
  while (performance.now() < until) {
    await expect(WireClient.login(weir, refused)).rejects.toThrow('dropped_meanwhile');
    await sleep(20);
  }
  const answer = clients[2]?.rows('SELECT 1').catch(() => undefined);
  await sleep(400);
  expect(weir.control.pools()[0]).toMatchObject({ waiting: 1, connections: { idle: 2 } });
  clients[2]?.destroy();
  await answer;
});

test('many clients that fail together in a short outage do not wait for long after it', async () => {
  const front = await startSwitch();
  try {
    weir = await startTestWeir({
      postgres: front,
      settings: { pool: { mode: 'transaction', size: 20 } },
    });
    await Promise.all(Array.from({ length: 20 }, login));
    await Promise.all(clients.map((client) => client.rows('SELECT 1')));
    front.cut();
    await waitFor(
      () => weir.control.pools()[0]?.connections.idle === 0,
      5_000,
      () => 'the connections are still there',
    );
    const answers = Promise.all(clients.map((client) => timeOf(() => client.rows('SELECT 1'))));
    await sleep(300);
    front.mend();
    expect(Math.max(...(await answers))).toBeLessThan(3_000);
  } finally {
    front.close();
  }
});

test('a replica that does not let anybody in makes nobody wait for the next attempt: the primary serves', async () => {
  // It takes its time, so that several clients fail there in a row.
  const closing = createServer((socket) => {
    socket.on('error', () => undefined).resume();
    setTimeout(() => socket.destroy(), 150);
  });
  closing.listen(0, '127.0.0.1');
  await once(closing, 'listening');
  const address = closing.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  weir = await startTestWeir({
    postgres,
    rules: ROUTING_RULES,
    settings: {
      pool: { mode: 'transaction', size: 5 },
      targets: { replicas: [{ name: 'replica1', host: '127.0.0.1', port }] },
    },
  });
  const untilMs = performance.now() + 5_500;
  const readAll = async (client: WireClient): Promise<number> => {
    let slowestMs = 0;
    while (performance.now() < untilMs) {
      const ms = await timeOf(async () => expect(await client.rows(WHERE)).toEqual([['f']]));
      slowestMs = Math.max(slowestMs, ms);
      await sleep(10);
    }
    return slowestMs;
  };
  await Promise.all([login(), login(), login(), login()]);
  expect(Math.max(...(await Promise.all(clients.map(readAll))))).toBeLessThan(1_000);
  closing.close();
});
