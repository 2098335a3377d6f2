// What is not the protocol, or not within its bounds: each gets a clear error where the client can see one, the process
// goes on, and so do the other clients, one of which is at work all the time.

import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { waitFor } from '../support/deadline.ts';
import * as frontend from '../support/frontend-messages.ts';
import { sharedPostgres } from '../support/shared-postgres.ts';
import { readFields, transcribe } from '../support/transcript.ts';
import { startTestWeir, type TestWeir } from '../support/weir.ts';
import { WireClient } from '../support/wire-client.ts';

const MAX_STATEMENT_BYTES = 100_000;
const postgres = sharedPostgres();
let weir: TestWeir;
let bystander: WireClient;

beforeAll(async () => {
  weir = await startTestWeir({
    postgres,
    rules: 'traffic_control: { rules: [{ name: no_secrets, match: { tables: [secret] }, action: deny }] }',
    settings: { limits: { maxStatementBytes: MAX_STATEMENT_BYTES } },
  });
  bystander = await WireClient.login(weir);
});

afterEach(async () => {
  expect(await bystander.rows('SELECT 1')).toEqual([['1']]);
  await waitFor(
    () => weir.control.counters.currentClients === 1,
    5_000,
    () => `${weir.control.counters.currentClients} clients are left`,
  );
});

afterAll(async () => {
  await bystander.end();
  await weir.stop();
});

interface Outcome {
  readonly severity: string | undefined;
  readonly sqlstate: string | undefined;
  readonly message: string | undefined;
}

/** Sends bytes and reads to the end of the connection; the last error is what the client was told. */
async function sendAndReadEnd(client: WireClient, bytes: Buffer): Promise<Outcome> {
  try {
    client.send(bytes);
    const messages = await client.readUntilEnd();
    const error = messages.findLast((message) => message.type === 'E');
    const fields = error === undefined ? {} : readFields(error.body);
    return { severity: fields.S, sqlstate: fields.C, message: fields.M };
  } finally {
    client.destroy();
  }
}

const VIOLATION = { severity: 'FATAL', sqlstate: '08P01' };
/** PostgreSQL logs it, and closes. */
const WITHOUT_A_WORD = { severity: undefined, sqlstate: undefined };
const HOSTILE_LENGTHS = [0, 3, -1, -2_147_483_648, 2_147_483_647];

describe('before the startup packet', () => {
  test.each([
    ['an HTTP request', Buffer.from('GET / HTTP/1.1\r\nHost: db\r\n\r\n')],
    ['a TLS ClientHello', Buffer.from('160301020001000201fc0303', 'hex')],
    ['zeroes', Buffer.alloc(64)],
    ['a packet of 20,000 bytes', frontend.startupMessage({ user: 'x'.repeat(20_000) })],
    ['a negative length', Buffer.concat([frontend.int32(-5), Buffer.alloc(20)])],
  ])('%s ends the connection without a word', async (_name, bytes) => {
    const client = await WireClient.connect(weir);
    expect(await sendAndReadEnd(client, bytes)).toMatchObject(WITHOUT_A_WORD);
  });

  test('a parameter without its end is refused', async () => {
    const client = await WireClient.connect(weir);
    const bytes = frontend.packet(frontend.int32(frontend.PROTOCOL_3_0), Buffer.from('user'));
    expect(await sendAndReadEnd(client, bytes)).toMatchObject(VIOLATION);
  });

  test('a client that leaves in the middle of its packet leaves nothing behind', async () => {
    const client = await WireClient.connect(weir);
    client.send(frontend.startupMessage({ user: 'weir' }).subarray(0, 9));
    client.destroy();
    expect(weir.control.counters.currentClients).toBe(1);
  });
});

describe('while logged in', () => {
  test.each([...'QPBDECFHSdcfX'].flatMap((type) => HOSTILE_LENGTHS.map((length): [string, number] => [type, length])))(
    'a message %s of length %i ends the connection without a word',
    async (type, length) => {
      const client = await WireClient.login(weir);
      expect(await sendAndReadEnd(client, frontend.messageWithLength(type, length, Buffer.alloc(8)))).toMatchObject(
        WITHOUT_A_WORD,
      );
    },
  );

  test.each(['p', 'R', 'Z', '\0', '\u00ff', '1'])(
    'a message of type %j ends the connection with 08P01',
    async (type) => {
      const client = await WireClient.login(weir);
      const outcome = await sendAndReadEnd(client, frontend.message(type, Buffer.from('x')));
      expect(outcome).toMatchObject({
        ...VIOLATION,
        message: expect.stringContaining('invalid frontend message type'),
      });
    },
  );

  test('a byte that is no type ends it at once, without more behind it', async () => {
    const client = await WireClient.login(weir);
    client.send(Buffer.from('?'));
    expect((await client.readUntilEnd()).map(({ body }) => readFields(body).C)).toEqual(['08P01']);
  });

  test('a length beyond its type is refused before its bytes come', async () => {
    const client = await WireClient.login(weir);
    expect(await sendAndReadEnd(client, frontend.messageWithLength('S', 10_001))).toMatchObject(WITHOUT_A_WORD);
  });

  test('in the middle of a transaction the server rolls it back', async () => {
    const client = await WireClient.login(weir, { parameters: { application_name: 'breaks off' } });
    await client.query('BEGIN; SELECT 1');
    expect(await sendAndReadEnd(client, frontend.messageWithLength('Q', -1))).toMatchObject(WITHOUT_A_WORD);
    await waitFor(
      async () =>
        (await postgres.query("SELECT 1 FROM pg_stat_activity WHERE application_name = 'breaks off'")).rows.length ===
        0,
      5_000,
      () => 'the server still has the session',
    );
  });
});

test('while no shared server connection is at work it ends alike', async () => {
  const pooling = await startTestWeir({ postgres, settings: { pool: { mode: 'transaction' } } });
  const bare = { host: postgres.host, port: postgres.primaryPort };
  for (const bytes of [
    Buffer.from('?'),
    frontend.messageWithLength('Q', -1),
    frontend.messageWithLength('S', 10_001),
  ]) {
    const said = await sendAndReadEnd(await WireClient.login(pooling), bytes);
    expect(said).toEqual(await sendAndReadEnd(await WireClient.login(bare), bytes));
  }
  expect(pooling.control.counters.errors.get('08P01')).toBe(1);
  await pooling.stop();
});

describe('in mode transaction, while logged in', () => {
  let pooled: TestWeir;
  beforeAll(async () => {
    pooled = await startTestWeir({ postgres, settings: { pool: { mode: 'transaction', size: 1 } } });
  });
  afterAll(() => pooled.stop());

  const unknown = frontend.message('Z', Buffer.from('x'));
  const badLength = frontend.messageWithLength('Q', 0, Buffer.alloc(8));
  const before: [string, Buffer][] = [
    ['nothing', Buffer.alloc(0)],
    ['an open transaction', frontend.query('BEGIN')],
    ['a Query', frontend.query('SELECT pg_sleep(0.05)')],
    [
      'two units of work',
      Buffer.concat([frontend.extendedQuery('SELECT 1'), frontend.sync(), frontend.query('SELECT 2')]),
    ],
    ['what stays in the session', frontend.query('CREATE TEMP TABLE stays_in_session ()')],
  ];
  test.each(
    before.flatMap(([what, bytes]) => [
      { kind: 'of an unknown type', what, bytes: Buffer.concat([bytes, unknown]), isSaid: 1 },
      { kind: 'of a bad length', what, bytes: Buffer.concat([bytes, badLength]), isSaid: 0 },
    ]),
  )(
    'a message $kind behind $what is answered as by a server of its own, and others go on',
    async ({ bytes, isSaid }) => {
      const { errors } = pooled.control.counters;
      const counted = errors.get('08P01') ?? 0;
      const [expected, heard] = await Promise.all(
        [{ host: postgres.host, port: postgres.primaryPort }, pooled].map(async (address) => {
          const client = await WireClient.login(address);
          client.send(bytes);
          return transcribe(await client.readUntilEnd(), { leaveOut: ['ParameterStatus'] });
        }),
      );
      expect(heard).toEqual(expected);
      expect((errors.get('08P01') ?? 0) - counted).toBe(isSaid);
      const next = await WireClient.login(pooled);
      expect(await next.rows('SELECT 1')).toEqual([['1']]);
      await next.end();
    },
  );
});

describe('messages whose inside is wrong are answered as the bare server answers them', () => {
  test.each([
    ['a Query without its NUL', frontend.message('Q', Buffer.from('SELECT 1'))],
    ['a Query with a NUL inside', frontend.message('Q', Buffer.from('SELECT 1\0; SELECT 2\0'))],
    ['an empty Query body', frontend.message('Q')],
    ['a Parse without text', Buffer.concat([frontend.message('P', Buffer.from('name')), frontend.sync()])],
    ['a Bind cut short', Buffer.concat([frontend.message('B', Buffer.from('\0')), frontend.sync()])],
    ['a Bind with too few values', Buffer.concat([frontend.parse('SELECT $1::int'), frontend.bind(), frontend.sync()])],
    ['a Describe of no kind', Buffer.concat([frontend.message('D', Buffer.from('X\0')), frontend.sync()])],
    ['a Close of no kind', Buffer.concat([frontend.message('C', Buffer.from('X\0')), frontend.sync()])],
    ['an Execute without a count', Buffer.concat([frontend.message('E', Buffer.from('\0')), frontend.sync()])],
    ['a FunctionCall cut short', frontend.message('F', Buffer.from([0, 0]))],
  ])('%s', async (_name, bytes) => {
    const answers: string[][] = [];
    for (const address of [weir, { host: postgres.host, port: postgres.primaryPort }]) {
      const client = await WireClient.login(address);
      client.send(bytes);
      const messages = await client.readUntilReady();
      answers.push(
        messages.map(({ type, body }) => (type === 'E' ? `E ${readFields(body).C} ${readFields(body).M}` : type)),
      );
      expect(await client.rows('SELECT 7')).toEqual([['7']]);
      await client.end();
    }
    expect(answers[0]).toEqual(answers[1]);
  });
});

describe.each(['session', 'transaction'] as const)('a Flush with a body, in %s mode', (mode) => {
  const flush = frontend.message('H', Buffer.from('x'));
  const { query, sync, copyData, copyDone } = frontend;
  let target: TestWeir;

  beforeAll(async () => {
    await postgres.query('DROP TABLE IF EXISTS flushed; CREATE TABLE flushed (id int)');
    const pool = mode === 'session' ? {} : { mode, size: 1 };
    const rules = 'traffic_control: { rules: [{ name: no_delete, match: { statement: [delete] }, action: deny }] }';
    target = await startTestWeir({ postgres, rules, settings: { pool } });
  });
  afterAll(() => target.stop());

  test.each([
    ['fails, and what follows up to Sync is skipped', 1, [flush, query('SELECT 1'), sync()]],
    ['fails behind a statement', 1, [frontend.extendedQuery('SELECT 1'), flush, frontend.parse('SELECT 2'), sync()]],
    ['in front of COPY data is passed over', 1, [query('COPY flushed FROM STDIN'), flush, copyDone()]],
    [
      'among COPY data, too',
      1,
      [
        frontend.extendedQuery('COPY flushed FROM STDIN'),
        flush,
        copyData(Buffer.from('1\n')),
        flush,
        copyDone(),
        sync(),
      ],
    ],
    ['behind a COPY that does not begin fails', 2, [query('COPY nowhere FROM STDIN'), flush, sync()]],
  ])('%s', async (_name, readies, parts) => {
    const answers: string[][] = [];
    for (const address of [target, { host: postgres.host, port: postgres.primaryPort }]) {
      const client = await WireClient.login(address);
      client.send(Buffer.concat(parts));
      answers.push((await client.readUntilReady(readies)).map(({ type }) => type));
      if (address === target) {
        // Both sides agree on what answers what.
        const [error] = await client.query('DELETE FROM flushed');
        expect(readFields(error?.body ?? Buffer.alloc(0))).toMatchObject({ C: '42501' });
      }
      await client.end();
    }
    expect(answers[0]).toEqual(answers[1]);
    const next = await WireClient.login(target);
    expect(await next.rows('SELECT 8')).toEqual([['8']]);
    await next.end();
  });
});

describe('a statement over max_statement_bytes', () => {
  const long = (bytes: number): string => `SELECT ${' '.repeat(bytes)} 1`;

  test('is refused with 54000 as a Query, and the connection goes on', async () => {
    const client = await WireClient.login(weir);
    const [error] = await client.query(long(MAX_STATEMENT_BYTES + 1));
    expect(readFields(error?.body ?? Buffer.alloc(0))).toMatchObject({ S: 'ERROR', C: '54000' });
    expect(await client.rows('SELECT 2')).toEqual([['2']]);
    await client.end();
  });

  test('is refused as a Parse, and the rest of the pipeline is skipped', async () => {
    const client = await WireClient.login(weir);
    client.send(frontend.extendedQuery(long(MAX_STATEMENT_BYTES * 3)), frontend.sync());
    const messages = await client.readUntilReady();
    expect(messages.map((message) => message.type)).toEqual(['E', 'Z']);
    await client.end();
  });

  test('fails the transaction it is in', async () => {
    const client = await WireClient.login(weir);
    await client.query('BEGIN');
    await client.query(long(MAX_STATEMENT_BYTES + 1));
    expect(client.status).toBe('E');
    await client.end();
  });

  test('is within the bound one byte below it', async () => {
    const client = await WireClient.login(weir);
    expect(await client.rows(long(MAX_STATEMENT_BYTES - 200))).toEqual([['1']]);
    await client.end();
  });
});
