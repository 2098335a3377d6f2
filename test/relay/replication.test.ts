// Replication connections: commands go through as they are, the stream flows both ways, rules can refuse them, and they
// stay with the primary.

import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { copyData, copyDone, parse, query, sync } from '../support/frontend-messages.ts';
import { sharedPostgres } from '../support/shared-postgres.ts';
import { type BackendMessage, readFields, readRow } from '../support/transcript.ts';
import { ALLOW_ALL, spawnWeir, startTestWeir, type TestWeir } from '../support/weir.ts';
import { type WireAddress, WireClient } from '../support/wire-client.ts';

type Mode = 'database' | 'true';
const MODES: readonly Mode[] = ['database', 'true'];
const postgres = sharedPostgres();
const direct: WireAddress = { host: postgres.host, port: postgres.primaryPort };
const RULES = `traffic_control:
  rules:
    - { name: no_streams, match: { user: app, statement: [start_replication, base_backup] }, action: deny, message: no streams for you }
    - { name: no_secrets, match: { query_regex: 'secret' }, action: deny }
    - { name: late, match: { application_name: late }, action: kill_after_ms, timeout_ms: 300 }
    - { name: racing, match: { application_name: racing }, action: kill_after_ms, timeout_ms: 10 }
    - { name: away, priority: -1, match: { query_class: read }, action: route_replica }
`;
let weir: TestWeir;
const clients: WireClient[] = [];

beforeAll(async () => {
  weir = await startTestWeir({ postgres, rules: RULES });
  const setup = await WireClient.login(direct);
  await setup.query('ALTER ROLE app REPLICATION');
  await setup.end();
});

// The server has ten walsenders for everybody: each test ends its own.
afterEach(async () => {
  await Promise.all(clients.splice(0).map((client) => client.end()));
});

afterAll(async () => {
  await weir.stop();
  const cleanup = await WireClient.login(direct);
  await cleanup.query('ALTER ROLE app NOREPLICATION');
  await cleanup.end();
});

async function login(address: WireAddress, mode: Mode | null, user = 'weir', application = ''): Promise<WireClient> {
  const parameters = {
    ...(mode === null ? {} : { replication: mode }),
    ...(application === '' ? {} : { application_name: application }),
  };
  const client = await WireClient.login(address, { user, parameters });
  clients.push(client);
  return client;
}

function errorOf(messages: readonly BackendMessage[]): Record<string, string> | null {
  const error = messages.find((message) => message.type === 'E');
  return error === undefined ? null : readFields(error.body);
}

/** The position from which a stream can start, and its timeline. */
async function findStart(client: WireClient): Promise<{ position: string; timeline: string }> {
  const [row] = await client.rows('IDENTIFY_SYSTEM');
  return { position: row?.[2] ?? '', timeline: row?.[1] ?? '' };
}

/** Standby status update: all written, flushed and applied up to `position`; asks for an answer. */
function statusUpdate(position: bigint): Buffer {
  const body = Buffer.alloc(34);
  body.write('r');
  for (const offset of [1, 9, 17]) body.writeBigUInt64BE(position, offset);
  body[33] = 1;
  return copyData(body);
}

async function startStream(client: WireClient): Promise<void> {
  const { position } = await findStart(client);
  client.send(query(`START_REPLICATION PHYSICAL ${position}`));
  expect((await client.readUntil('W')).map((message) => message.type)).toEqual(['W']);
}

/** Reads until the stream has carried a message of that kind: w for log data, k for a keepalive. */
async function readStream(client: WireClient, kind: string): Promise<Buffer> {
  for (;;) {
    const message = await client.readMessage();
    expect(message.type).toBe('d');
    if (message.body.toString('latin1', 0, 1) === kind) return message.body;
  }
}

describe.each(MODES)('a connection with replication=%s', (mode) => {
  test('is told by IDENTIFY_SYSTEM and SHOW what a bare server tells', async () => {
    const [through, bare] = [await login(weir, mode), await login(direct, mode)];
    const system = await through.rows('IDENTIFY_SYSTEM');
    const expected = await bare.rows('IDENTIFY_SYSTEM');
    expect([system[0]?.[0], system[0]?.[1], system[0]?.[3]]).toEqual([
      expected[0]?.[0],
      expected[0]?.[1],
      expected[0]?.[3],
    ]);
    expect(await through.rows('SHOW wal_segment_size')).toEqual(await bare.rows('SHOW wal_segment_size'));
  });

  test('streams the log both ways at once, ends with CopyDone, and takes commands again', async () => {
    const client = await login(weir, mode);
    await startStream(client);
    const writer = await login(direct, null);
    await writer.query("SELECT pg_logical_emit_message(true, 'replication test', repeat('x', 100000))");
    const data = await readStream(client, 'w');
    for (let turn = 0; turn < 3; turn++) {
      client.send(statusUpdate(data.readBigUInt64BE(1)));
      await readStream(client, 'k');
      await writer.query("SELECT pg_logical_emit_message(true, 'replication test', repeat('x', 100000))");
      await readStream(client, 'w');
    }
    const bare = await login(direct, mode);
    await startStream(bare);
    for (const one of [client, bare]) one.send(copyDone());
    const ending = async (one: WireClient): Promise<BackendMessage[]> =>
      (await one.readUntilReady()).filter((message) => message.type !== 'd');
    expect(await ending(client)).toEqual(await ending(bare));
    expect(await client.rows('IDENTIFY_SYSTEM')).toHaveLength(1);
  });

  test('that a rule keeps from streaming gets its words, and goes on', async () => {
    const client = await login(weir, mode, 'app');
    const { position } = await findStart(client);
    for (const command of [`START_REPLICATION PHYSICAL ${position}`, "BASE_BACKUP (LABEL 'x')"]) {
      const messages = await client.query(command);
      expect(messages.map((message) => message.type)).toEqual(['E', 'Z']);
      expect(errorOf(messages)).toMatchObject({ S: 'ERROR', C: '42501', M: 'no streams for you' });
    }
    expect(await client.rows('IDENTIFY_SYSTEM')).toHaveLength(1);
    expect(await client.rows('SHOW wal_level')).toHaveLength(1);
  });

  test('gets the server’s own error for a command that is wrong, and for the extended protocol', async () => {
    const [through, bare] = [await login(weir, mode), await login(direct, mode)];
    for (const command of ['START_REPLICATION nonsense', 'identify_system', 'TIMELINE_HISTORY 77']) {
      const [got, expected] = [await through.query(command), await bare.query(command)];
      expect(got).toEqual(expected);
      expect(errorOf(got)).not.toBeNull();
    }
    for (const client of [through, bare]) client.send(parse('SELECT 1'), sync());
    expect(await through.readUntilReady()).toEqual(await bare.readUntilReady());
  });

  test('gets a rule’s words for a Parse too', async () => {
    const client = await login(weir, mode);
    client.send(parse("SELECT 'secret'"), sync());
    expect(errorOf(await client.readUntilReady())).toMatchObject({ C: '42501' });
    expect(errorOf(await client.query("SELECT 'secret'"))).toMatchObject({ C: '42501' });
  });

  test('is ended by a kill rule in the middle of its stream, as a statement of the server’s', async () => {
    const client = await login(weir, mode, 'weir', 'late');
    await startStream(client);
    client.send(statusUpdate(1n));
    await readStream(client, 'k');
    const messages = await client.readUntilReady();
    expect(errorOf(messages)).toMatchObject({ C: '57014' });
    expect(await client.rows('IDENTIFY_SYSTEM')).toHaveLength(1);
  });
});

test('a cancel that comes too late for a walsender’s statement does not hold it up', async () => {
  const client = await login(weir, 'database', 'weir', 'racing');
  const outcomes = new Set<string>();
  for (let turn = 0; turn < 40; turn++) {
    outcomes.add(
      errorOf(await client.query(`SELECT pg_sleep(${(0.009 + (turn % 8) / 2000).toFixed(4)})`))?.C ?? 'done',
    );
  }
  for (const outcome of outcomes) expect(['57014', 'done']).toContain(outcome);
  expect(await client.rows('SELECT 1')).toEqual([['1']]);
});

test('SQL on a logical connection is judged like any other, and never goes to a replica', async () => {
  const logical = await login(weir, 'database');
  const ordinary = await login(weir, null);
  expect(await logical.rows('SELECT pg_is_in_recovery()')).toEqual([['f']]);
  expect(await ordinary.rows('SELECT pg_is_in_recovery()')).toEqual([['t']]);
  expect(errorOf(await logical.query("SELECT 'secret'"))).toMatchObject({ C: '42501' });
});

test('a replication command on an ordinary connection is SQL that nobody can read', async () => {
  const client = await login(weir, null, 'app');
  expect(errorOf(await client.query('START_REPLICATION PHYSICAL 0/0'))).toMatchObject({ C: '42601' });
});

describe('a document that denies by default', () => {
  const document = (rules: string): string =>
    `traffic_control:\n  default_action: deny\n  on_unparsed: deny\n  rules: [${rules}]\n`;

  test('refuses replication commands', async () => {
    const strict = await startTestWeir({ postgres, rules: document('') });
    const client = await login(strict, 'true');
    const fields = errorOf(await client.query('IDENTIFY_SYSTEM'));
    expect(fields?.C).toBe('42501');
    expect(JSON.parse(fields?.D ?? '{}')).toMatchObject({ rule: 'default_action' });
    await client.end();
    await strict.stop();
  });

  test('lets through what a rule allows by class, and by the name that a connection without a database has', async () => {
    const allow = '{ name: a, match: { query_class: replication, database: replication }, action: allow }';
    const strict = await startTestWeir({ postgres, rules: document(allow) });
    const physical = await login(strict, 'true');
    expect(await physical.rows('IDENTIFY_SYSTEM')).toHaveLength(1);
    const logical = await login(strict, 'database');
    expect(errorOf(await logical.query('IDENTIFY_SYSTEM'))).toMatchObject({ C: '42501' });
    await physical.end();
    await logical.end();
    await strict.stop();
  });
});

test('SIGTERM cuts a stream off at once, though it is never quiet', async () => {
  const spawned = await spawnWeir({ postgres, rules: ALLOW_ALL, configuration: { limits: { drain_ms: 20_000 } } });
  try {
    const client = await login(spawned, 'true');
    await startStream(client);
    const startedAt = performance.now();
    spawned.signal('SIGTERM');
    const last = (await client.readUntilEnd()).at(-1);
    expect(last?.type === 'E' && readFields(last.body).C).toBe('57P01');
    expect(await spawned.exit()).toBe(0);
    expect(performance.now() - startedAt).toBeLessThan(5_000);
  } finally {
    await spawned.stop();
  }
});

test('rows of a replication command are shown as they came', async () => {
  const client = await login(weir, 'true');
  const messages = await client.query('IDENTIFY_SYSTEM');
  expect(messages.map((message) => message.type)).toEqual(['T', 'D', 'C', 'Z']);
  expect(readRow(messages[1]?.body ?? Buffer.alloc(0))[3]).toBeNull();
});
