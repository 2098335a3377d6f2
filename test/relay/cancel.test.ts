// A cancel reaches the statement of the session that it names, and nothing else: not a neighbour, not the next statement,
// not through another pgweir.

import { once } from 'node:events';
import { createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { waitFor } from '../support/deadline.ts';
import * as frontend from '../support/frontend-messages.ts';
import { sharedPostgres } from '../support/shared-postgres.ts';
import { type BackendMessage, readFields, transcribe } from '../support/transcript.ts';
import { startTestWeir, type TestWeir } from '../support/weir.ts';
import { sendCancel, type WireAddress, WireClient } from '../support/wire-client.ts';

const LONG = 'SELECT pg_sleep(20)';
const CANCELLED = ['RowDescription pg_sleep:2278', 'ErrorResponse (masked)', 'ReadyForQuery I'];
const postgres = sharedPostgres();
const bare: WireAddress = { host: postgres.host, port: postgres.primaryPort };

let weir: TestWeir;
let other: TestWeir;

beforeAll(async () => {
  weir = await startTestWeir({ postgres });
  other = await startTestWeir({ postgres, settings: { auth: { mode: 'passthrough' } } });
});

afterAll(async () => {
  await weir.stop();
  await other.stop();
});

function transcribeCancelled(messages: readonly BackendMessage[]): string[] {
  return transcribe(messages, { maskErrors: ['57014'] });
}

/** Waits until the server runs a statement of that client. */
async function waitUntilRunning(client: WireClient, event = 'PgSleep'): Promise<void> {
  await waitFor(
    async () =>
      (
        await postgres.query(
          "SELECT 1 FROM pg_stat_activity WHERE pid = $1 AND state = 'active' AND coalesce(wait_event, '') LIKE $2",
          [client.processId, event],
        )
      ).rows.length > 0,
    5_000,
    () => `the server runs nothing of ${client.processId}`,
  );
}

const isRunning = async (client: WireClient): Promise<boolean> =>
  (await postgres.query("SELECT 1 FROM pg_stat_activity WHERE pid = $1 AND state = 'active'", [client.processId])).rows
    .length > 0;

function findSession(here: TestWeir, client: WireClient): number {
  const session = here.control.sessions().find(({ serverPid }) => serverPid === client.processId);
  if (session === undefined) throw new Error(`no session has the process ${client.processId}`);
  return session.id;
}

describe('a CancelRequest', () => {
  test('ends the statement of its session, among several sessions of two pgweir', async () => {
    const addresses = [weir, other, weir, other, weir, other];
    const clients = await Promise.all(addresses.map((address) => WireClient.login(address)));
    const running = clients.map((client) => client.query(LONG));
    for (const client of clients) await waitUntilRunning(client);
    for (const [index, client] of clients.entries()) {
      const here = addresses[index] ?? weir;
      // Another pgweir does not know the key, but the server behind it does.
      const through = index < 3 ? here : here === weir ? other : weir;
      await sendCancel(through, client.processId, client.secretKey);
      expect(transcribeCancelled((await running[index]) ?? [])).toEqual(CANCELLED);
      for (const neighbour of clients.slice(index + 1)) expect(await isRunning(neighbour)).toBe(true);
    }
    for (const client of clients) expect(await client.rows('SELECT 1')).toEqual([['1']]);
    await Promise.all(clients.map((client) => client.end()));
  });

  test('with a key that nobody has is answered with nothing, and ends nothing', async () => {
    const client = await WireClient.login(weir);
    const running = client.query(LONG);
    await waitUntilRunning(client);
    const wrongSecret = Buffer.from(client.secretKey.map((byte) => byte ^ 0xff));
    const keys: [number, Buffer][] = [
      [client.processId, wrongSecret],
      [client.processId + 1, client.secretKey],
      [client.processId, Buffer.concat([client.secretKey, Buffer.alloc(28)])],
    ];
    const counted = weir.control.counters.cancelsFromClients;
    for (const [processId, key] of keys) {
      const stranger = await WireClient.connect(weir);
      stranger.send(frontend.cancelRequest(processId, key));
      expect(await stranger.readUntilEnd()).toEqual([]);
      expect(stranger.received()).toHaveLength(0);
    }
    expect(weir.control.counters.cancelsFromClients - counted).toBe(keys.length);
    expect(await isRunning(client)).toBe(true);
    await sendCancel(weir, client.processId, client.secretKey);
    expect(transcribeCancelled(await running)).toEqual(CANCELLED);
    await client.end();
  });

  test('after the session has ended is answered with nothing', async () => {
    const client = await WireClient.login(weir);
    await client.end();
    const stranger = await WireClient.connect(weir);
    stranger.send(frontend.cancelRequest(client.processId, client.secretKey));
    expect(await stranger.readUntilEnd()).toEqual([]);
  });

  test('while idle does nothing to the next statement', async () => {
    const client = await WireClient.login(weir);
    for (let round = 0; round < 20; round++) {
      await sendCancel(weir, client.processId, client.secretKey);
      expect(await client.rows('SELECT pg_sleep(0.002)')).toEqual([['']]);
    }
    await client.end();
  });

  test('while idle in a transaction leaves the transaction as it is', async () => {
    const client = await WireClient.login(weir);
    await client.query('BEGIN; SELECT 1');
    await sendCancel(weir, client.processId, client.secretKey);
    expect(await client.rows('SELECT 2')).toEqual([['2']]);
    expect(client.status).toBe('T');
    await client.end();
  });

  test('of an extended statement fails it as a query, and what is behind it up to the Sync', async () => {
    const answers: string[][] = [];
    for (const address of [weir, other, bare]) {
      const client = await WireClient.login(address);
      client.send(frontend.extendedQuery(LONG), frontend.extendedQuery('SELECT 1'), frontend.sync());
      const answer = client.readUntilReady();
      await waitUntilRunning(client);
      await sendCancel(address, client.processId, client.secretKey);
      answers.push(transcribeCancelled(await answer));
      await client.end();
    }
    expect(answers[0]).toContain('ErrorResponse (masked)');
    expect(answers).toEqual([answers[2], answers[2], answers[2]]);
  });

  test('that is cut into single bytes is the same request', async () => {
    const client = await WireClient.login(weir);
    const running = client.query(LONG);
    await waitUntilRunning(client);
    const messenger = await WireClient.connect(weir);
    await messenger.sendInPieces(frontend.cancelRequest(client.processId, client.secretKey), 1);
    expect(await messenger.readUntilEnd()).toEqual([]);
    expect(transcribeCancelled(await running)).toEqual(CANCELLED);
    await client.end();
  });
});

describe('during COPY', () => {
  test('FROM STDIN a cancel fails it as on the bare server', async () => {
    const answers: string[][] = [];
    for (const address of [weir, other, bare]) {
      const client = await WireClient.login(address);
      await client.query('CREATE TEMP TABLE copied (a int)');
      client.send(frontend.query('COPY copied FROM STDIN'));
      const lines = transcribe([await client.readMessage()]);
      client.send(frontend.copyData(Buffer.from('1\n')));
      await waitUntilRunning(client, 'ClientRead');
      await sendCancel(address, client.processId, client.secretKey);
      // The server looks for a cancel when the next data comes.
      client.send(frontend.copyData(Buffer.from('2\n')), frontend.copyDone());
      lines.push(...transcribeCancelled(await client.readUntilReady()));
      lines.push(...transcribe(await client.query('SELECT count(*) FROM copied')));
      answers.push(lines);
      await client.end();
    }
    expect(answers[2]).toContain('ErrorResponse (masked)');
    expect(answers).toEqual([answers[2], answers[2], answers[2]]);
  });

  test.each(['client', 'admin'])('TO STDOUT a cancel by the %s ends the stream', async (origin) => {
    const client = await WireClient.login(weir);
    client.send(frontend.query("COPY (SELECT repeat('x', 8000 + 0 * generate_series(1, 1000000000))) TO STDOUT"));
    expect((await client.readMessage()).type).toBe('H');
    if (origin === 'client') await sendCancel(weir, client.processId, client.secretKey);
    else expect(await weir.control.cancelSession(findSession(weir, client))).toBe(true);
    const messages = await client.readUntil('Z');
    const last = messages.slice(-2).map(({ type, body }) => (type === 'E' ? readFields(body).C : type));
    expect(last).toEqual(['57014', 'Z']);
    expect(await client.rows('SELECT 1')).toEqual([['1']]);
    await client.end();
  });
});

describe('a storm of cancels', () => {
  test('for one session is two for its server: one on its way, and one for all that came meanwhile', async () => {
    const client = await WireClient.login(weir);
    const running = client.query(LONG);
    await waitUntilRunning(client);
    await Promise.all(Array.from({ length: 50 }, () => sendCancel(weir, client.processId, client.secretKey)));
    expect(transcribeCancelled(await running)).toEqual(CANCELLED);
    // All of them have been delivered: what runs now was meant by none.
    expect(await client.rows('SELECT pg_sleep(0.05)')).toEqual([['']]);
    await client.end();
  });

  test('with keys that nobody has keeps nobody from cancelling', async () => {
    const client = await WireClient.login(weir);
    const running = client.query(LONG);
    await waitUntilRunning(client);
    const storm = Array.from({ length: 200 }, () => sendCancel(weir, client.processId, Buffer.alloc(4, 7)));
    await sendCancel(weir, client.processId, client.secretKey);
    expect(transcribeCancelled(await running)).toEqual(CANCELLED);
    await Promise.all(storm);
    await client.end();
  });
});

test('where the server gives no key, and where it is gone, a cancel is answered with silence', async () => {
  const keyless = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.once('data', (first) => {
      if (first.readInt32BE(4) === frontend.CANCEL_REQUEST_CODE) {
        socket.end();
        return;
      }
      socket.write(Buffer.concat([frontend.message('R', frontend.int32(0)), frontend.message('Z', Buffer.from('I'))]));
      socket.on('data', () => undefined);
    });
  }).listen(0, '127.0.0.1');
  await once(keyless, 'listening');
  const address = keyless.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  for (const mode of ['trust', 'passthrough'] as const) {
    const here = await startTestWeir({ postgres: { host: '127.0.0.1', port }, settings: { auth: { mode } } });
    const client = await WireClient.login(here);
    expect(client.processId).toBe(0);
    client.send(frontend.query('SELECT 1'));
    const [session] = await waitFor(
      () => {
        const active = here.control.sessions().filter(({ state }) => state === 'active');
        return active.length > 0 ? active : null;
      },
      2_000,
      () => 'the statement does not run',
    );
    expect(await here.control.cancelSession(session?.id ?? 0)).toBe(false);
    await sendCancel(here, 1, Buffer.alloc(4));
    client.destroy();
    await here.stop();
  }
  await new Promise((resolve) => keyless.close(resolve));
});

describe('with protocol 3.2', () => {
  test.each([
    ['passthrough', 32],
    ['trust', 32],
  ])('and auth %s the key of %i bytes cancels, one that differs in a bit does not', async (mode, keyBytes) => {
    const address = mode === 'trust' ? weir : other;
    const client = await WireClient.login(address, { version: frontend.PROTOCOL_3_2 });
    expect(client.secretKey).toHaveLength(keyBytes);
    const running = client.query(LONG);
    await waitUntilRunning(client);
    const nearly = Buffer.from(client.secretKey);
    nearly.writeUInt8((nearly.at(-1) ?? 0) ^ 1, keyBytes - 1);
    await sendCancel(address, client.processId, nearly);
    expect(await isRunning(client)).toBe(true);
    await sendCancel(address, client.processId, client.secretKey);
    expect(transcribeCancelled(await running)).toEqual(CANCELLED);
    await client.end();
  });
});

describe('an administrator', () => {
  test('ends what a session runs, and the session goes on', async () => {
    const [client, neighbour] = [await WireClient.login(other), await WireClient.login(other)];
    const [running, going] = [client.query(LONG), neighbour.query(LONG)];
    await waitUntilRunning(client);
    await waitUntilRunning(neighbour);
    expect(await other.control.cancelSession(findSession(other, client))).toBe(true);
    expect(transcribeCancelled(await running)).toEqual(CANCELLED);
    expect(await isRunning(neighbour)).toBe(true);
    expect(await client.rows('SELECT 1')).toEqual([['1']]);
    await sendCancel(other, neighbour.processId, neighbour.secretKey);
    expect(transcribeCancelled(await going)).toEqual(CANCELLED);
    await Promise.all([client.end(), neighbour.end()]);
  });

  test('hears that nothing ran where nothing did, or where there is no such session', async () => {
    const client = await WireClient.login(other);
    const sent = (): number[] => [other.control.counters.cancelsFromAdmin, other.control.counters.cancelsFromClients];
    const before = sent();
    expect(await other.control.cancelSession(findSession(other, client))).toBe(false);
    expect(await other.control.cancelSession(1_000_000)).toBe(false);
    await sendCancel(other, client.processId, client.secretKey);
    expect(sent()).toEqual(before);
    expect(await client.rows('SELECT pg_sleep(0.01)')).toEqual([['']]);
    await client.end();
  });
});

test.each(['passthrough', 'trust'] as const)(
  'a cancel or an end by an administrator while a login by %s hangs',
  async (mode) => {
    const silent = createServer((socket) => socket.on('error', () => undefined)).listen(0, '127.0.0.1');
    await once(silent, 'listening');
    const address = silent.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    const stuck = await startTestWeir({ postgres: { host: '127.0.0.1', port }, settings: { auth: { mode } } });
    const client = await WireClient.connect(stuck);
    try {
      client.send(frontend.startupMessage({ user: 'weir', database: 'weir' }));
      const session = await waitFor(
        () => (stuck.control.targets()[0]?.connections === 1 ? stuck.control.sessions()[0] : null),
        5_000,
        () => 'no login is under way',
      );
      expect(await stuck.control.cancelSession(session.id)).toBe(false);
      expect(stuck.control.terminateSession(session.id)).toBe(true);
      const [error] = await client.readUntilEnd();
      expect(readFields(error?.body ?? Buffer.alloc(0))).toMatchObject({ S: 'FATAL', C: '57P01' });
    } finally {
      client.destroy();
      silent.close();
      await stuck.stop();
    }
  },
);

test('in 300 races between a cancel and the end of a statement, 57014 comes only to whom it was meant for', async () => {
  const SESSIONS = 10;
  const addressOf = (index: number): WireAddress => (index % 2 === 0 ? weir : other);
  const clients = await Promise.all(Array.from({ length: SESSIONS }, (_, index) => WireClient.login(addressOf(index))));
  let cancelled = 0;
  let finished = 0;
  const race = fc.record({
    runMs: fc.integer({ min: 0, max: 12 }),
    /** Null: nobody cancels this one. */
    cancelAtMs: fc.option(fc.integer({ min: 0, max: 14 }), { freq: 4 }),
  });
  const run = async (client: WireClient, index: number, runMs: number, cancelAtMs: number | null): Promise<void> => {
    const answer = client.query(`SELECT pg_sleep(${runMs / 1_000})`);
    if (cancelAtMs !== null) {
      await sleep(cancelAtMs);
      await sendCancel(addressOf(index), client.processId, client.secretKey);
    }
    const error = (await answer).find(({ type }) => type === 'E');
    if (error === undefined) finished++;
    else {
      cancelled++;
      expect(readFields(error.body)).toMatchObject({ S: 'ERROR', C: '57014' });
      expect(cancelAtMs).not.toBeNull();
    }
    // The cancel has been delivered: it must not wait for whoever comes next.
    expect(await client.rows(`SELECT ${index}`)).toEqual([[String(index)]]);
  };
  await fc.assert(
    fc.asyncProperty(fc.array(race, { minLength: SESSIONS, maxLength: SESSIONS }), async (races) => {
      const runs = races.map(({ runMs, cancelAtMs }, index) => {
        const client = clients[index];
        if (client === undefined) throw new Error(`no session ${index}`);
        return run(client, index, runMs, cancelAtMs);
      });
      const outcomes = await Promise.allSettled(runs);
      for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason;
    }),
    { numRuns: 300 / SESSIONS, endOnFailure: true },
  );
  expect(cancelled + finished).toBe(300);
  expect(cancelled).toBeGreaterThan(10);
  expect(finished).toBeGreaterThan(10);
  await Promise.all(clients.map((client) => client.end()));
});
