// Two servers of one client's own: what the one says while the statements run on the other. A replica's end is not the client's
// business, what the primary says by itself is, and neither gets into the middle of a message.

import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { waitFor } from '../support/deadline.ts';
import * as frontend from '../support/frontend-messages.ts';
import { startPostgres, type TestPostgres } from '../support/postgres.ts';
import { startTestWeir, type TestWeir } from '../support/weir.ts';
import { WireClient } from '../support/wire-client.ts';
import { startHaltingTarget } from './halting-target.ts';
import { codesOf, ROUTING_RULES, WHERE } from './routed-client.ts';

const LONG = 20_000_000;
const ROW = Buffer.alloc(LONG, 'x');

let postgres: TestPostgres;
let weir: TestWeir;
let client: WireClient;

beforeAll(async () => {
  postgres = await startPostgres({ standbys: 1 });
  weir = await startTestWeir({ postgres, rules: ROUTING_RULES });
});
afterAll(async () => {
  await weir?.stop();
  await postgres?.stop();
});
beforeEach(async () => {
  client = await WireClient.login(weir, { user: 'app' });
  await waitUntilReplicaServes();
});
afterEach(() => client.end());

const standby = () => {
  const [first] = postgres.standbys;
  if (first === undefined) throw new Error('there is no standby');
  return first;
};

/** The server process of the client's on the replica is gone. */
async function endReplicaSession(signal: 'terminate' | 'kill'): Promise<void> {
  const ofClient = "FROM pg_stat_activity WHERE usename = 'app'";
  if (signal === 'terminate') await standby().query(`SELECT pg_terminate_backend(pid) ${ofClient}`);
  else {
    // Of another session: the postmaster then sends all others away.
    const other = await WireClient.login({ host: standby().host, port: standby().port });
    process.kill(other.processId, 'SIGKILL');
    other.destroy();
  }
  await waitFor(
    async () =>
      standby()
        .query(`SELECT 1 ${ofClient}`)
        .then(
          ({ rows }) => rows.length === 0,
          () => false,
        ),
    20_000,
    () => 'the session on the replica does not end',
    100,
  );
}

function waitUntilReplicaServes(): Promise<unknown> {
  return waitFor(
    async () => (await client.rows(WHERE))[0]?.[0] === 't',
    10_000,
    () => 'the replica is never tried again',
    100,
  );
}

/** Sends a Query of one long row, and reads no further than the words before it. */
async function beginLongRow(comment: string): Promise<void> {
  client.send(frontend.query(`SELECT repeat('x', ${LONG}) ${comment}`));
  expect((await client.readUntil('T')).map(({ type }) => type).join('')).toBe('T');
  client.socket.pause();
}

/** Types of what comes until ReadyForQuery, while something is done about half a second into it. */
async function typesWhile(said: Buffer, doing: () => Promise<unknown>): Promise<string> {
  client.send(said);
  await sleep(300);
  await doing();
  return (await client.readUntilReady()).map(({ type }) => type).join('');
}

test.each(['terminate', 'kill'] as const)(
  'a replica that ends while the primary is at work is nothing that the client hears of (%s)',
  async (signal) => {
    const said = frontend.query('SELECT pg_sleep(3) /* stay */');
    expect(await typesWhile(said, () => endReplicaSession(signal))).toBe('TDCZ');
    await waitUntilReplicaServes();
  },
);

test('nor does that get into the middle of a row', async () => {
  await beginLongRow('/* stay */');
  await endReplicaSession('terminate');
  client.socket.resume();
  const messages = await client.readUntilReady();
  expect(messages.map(({ type }) => type).join('')).toBe('DCZ');
  expect(messages[0]?.body.subarray(6).equals(ROW)).toBe(true);
});

test.each([WHERE, 'SELECT 1 /* stay */'])(
  'who breaks the protocol behind %s hears the last words of its server',
  async (said) => {
    client.send(frontend.query(said), Buffer.from([1]));
    const messages = await client.readUntilEnd();
    expect(messages.map(({ type }) => type).join('')).toBe('TDCZE');
    expect(codesOf(messages)).toEqual(['08P01']);
  },
);

test('a notification of the primary comes while a replica is at work, and not into the middle of its row', async () => {
  await client.rows('LISTEN aside');
  const notify = (): Promise<unknown> => postgres.query("NOTIFY aside, 'heard'");
  expect(await typesWhile(frontend.query('SELECT pg_sleep(1)'), notify)).toBe('ATDCZ');
  await beginLongRow('');
  await notify();
  await sleep(300);
  client.socket.resume();
  const messages = [];
  for (let left = 4; left > 0; left--) messages.push(await client.readMessage());
  expect(messages.map(({ type }) => type).join('')).toMatch(/^D(ACZ|CAZ|CZA)$/);
  expect(messages[0]?.body.subarray(6).equals(ROW)).toBe(true);
});

test('a server that notifies without end beside a row that hangs waits, and nothing is lost', {
  timeout: 60_000,
}, async () => {
  const count = 4000;
  const hanging = await startHaltingTarget(standby(), 'hanging');
  hanging.haltAt(100, 6000);
  const target = { ...postgres, standbys: [{ ...standby(), host: hanging.host, port: hanging.port }] };
  const own = await startTestWeir({ postgres: target, rules: ROUTING_RULES });
  const listener = await WireClient.login(own, { user: 'app' });
  await listener.rows('LISTEN aside');
  listener.send(frontend.query("SELECT repeat('hanging', 100)"));
  expect((await listener.readUntil('T')).map(({ type }) => type).join('')).toBe('T');
  await postgres.query(`SELECT pg_notify('aside', i || repeat('.', 7900)) FROM generate_series(1, ${count}) AS i`);
  const waiting = "SELECT 1 FROM pg_stat_activity WHERE usename = 'app' AND wait_event = 'ClientWrite'";
  let seenInARow = 0;
  await waitFor(
    async () => {
      seenInARow = (await postgres.query(waiting)).rows.length === 1 ? seenInARow + 1 : 0;
      return seenInARow === 20;
    },
    5000,
    () => 'all that the primary says is read',
    50,
  );
  let next = 1;
  const others = [];
  for (let left = count + 3; left > 0; left--) {
    const { type, body } = await listener.readMessage();
    if (type !== 'A') others.push(type);
    else expect(body.toString('latin1', 4, 20)).toContain(`aside\0${next++}.`);
  }
  expect(others.join('')).toBe('DCZ');
  await listener.end();
  await own.stop();
  await hanging.stop();
});

const FIRST = { stay: 'SELECT 1 /* stay */', go: WHERE, ask: "DO 'BEGIN END' /* stay */" };
const BEFORE_HALT = [
  ['on its way to a replica', WHERE, 'stay'],
  ['on its way back to the primary', 'SELECT 2 /* stay */', 'go'],
  ['on its way to a replica behind a question to the primary', WHERE, 'ask'],
] as const;

test.each(BEFORE_HALT.flatMap(([who, said, how]) => [3, 5, 20].map((bytes) => ({ who, said, how, bytes }))))(
  'a notification of which $bytes bytes have come does no harm to a client $who',
  async ({ said, how, bytes }) => {
    const target = await startHaltingTarget(postgres, 'halted');
    target.haltAt(bytes, 800);
    const halted = await startTestWeir({
      postgres: { ...postgres, host: target.host, port: target.port },
      rules: ROUTING_RULES,
    });
    const own = await WireClient.login(halted, { user: 'app' });
    await own.rows('LISTEN aside');
    await own.rows(FIRST[how]);
    await postgres.query("NOTIFY aside, 'halted'");
    await sleep(300);
    own.send(frontend.query(said));
    const types = [];
    for (let left = 5; left > 0; left--) types.push((await own.readMessage()).type);
    expect(types.join('')).toMatch(/^(A?TDCZ|TDCZA)$/);
    await own.end();
    await halted.stop();
    await target.stop();
  },
);
