// Pipelines longer than what pgweir is willing to remember, and clients that stall: nothing hangs, nothing grows without
// bound, and what the client gets is what the bare server gives.

import { createHash } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { waitFor } from '../support/deadline.ts';
import * as frontend from '../support/frontend-messages.ts';
import { ROLES } from '../support/postgres.ts';
import { sharedPostgres } from '../support/shared-postgres.ts';
import { readFields } from '../support/transcript.ts';
import { startTestWeir, type TestWeir } from '../support/weir.ts';
import { type WireAddress, WireClient } from '../support/wire-client.ts';

const postgres = sharedPostgres();
const bare: WireAddress = { host: postgres.host, port: postgres.primaryPort };
const LENGTH = 50_000;
let weir: TestWeir;

beforeAll(async () => {
  weir = await startTestWeir({ postgres });
});

afterAll(() => weir.stop());

/** Counts of messages by type, and a hash of all bytes: a hundred thousand messages are too many to compare one by one. */
async function runPipeline(
  address: WireAddress,
  messages: Buffer,
): Promise<{ counts: Record<string, number>; hash: string }> {
  const client = await WireClient.login(address, {}, 20_000);
  const before = client.received().length;
  client.send(messages);
  const counts: Record<string, number> = {};
  while (counts.Z === undefined) {
    const { type } = await client.readMessage();
    counts[type] = (counts[type] ?? 0) + 1;
  }
  const hash = createHash('sha1').update(client.received().subarray(before)).digest('hex');
  await client.end();
  return { counts, hash };
}

describe(`a pipeline of ${LENGTH} statements before its one Sync`, () => {
  const prepare = frontend.parse('SELECT $1::int', 's');
  const run = (value: string): Buffer =>
    Buffer.concat([frontend.bind({ statement: 's', values: [value] }), frontend.execute()]);
  const repeat = (part: Buffer): Buffer => Buffer.concat(Array.from({ length: LENGTH }, () => part));

  test.each<[string, Buffer, Record<string, number>]>([
    [
      'is answered in full',
      Buffer.concat([prepare, repeat(run('7')), frontend.sync()]),
      { 1: 1, 2: LENGTH, D: LENGTH, C: LENGTH, Z: 1 },
    ],
    [
      'whose first statement fails is skipped to its end',
      Buffer.concat([prepare, run('x'), repeat(run('7')), frontend.sync()]),
      { 1: 1, E: 1, Z: 1 },
    ],
    [
      'with a Flush behind each is answered in full',
      Buffer.concat([prepare, repeat(Buffer.concat([run('7'), frontend.flush()])), frontend.sync()]),
      { 1: 1, 2: LENGTH, D: LENGTH, C: LENGTH, Z: 1 },
    ],
    [
      'of Parse alone is answered in full',
      Buffer.concat([repeat(frontend.parse('SELECT 1')), frontend.sync()]),
      { 1: LENGTH, Z: 1 },
    ],
    [
      'of messages that are answered by one word is answered in full',
      Buffer.concat([
        repeat(frontend.closeStatement('nobody')),
        repeat(frontend.closePortal('nobody')),
        frontend.sync(),
      ]),
      { 3: 2 * LENGTH, Z: 1 },
    ],
  ])(
    '%s',
    async (_what, messages, counts) => {
      const expected = await runPipeline(bare, messages);
      expect(expected.counts).toEqual(counts);
      expect(await runPipeline(weir, messages)).toEqual(expected);
    },
    40_000,
  );

  test('of queries, sent before any answer is read, is answered in full', async () => {
    const client = await WireClient.login(weir, {}, 20_000);
    client.send(Buffer.concat(Array.from({ length: 5_000 }, (_, index) => frontend.query(`SELECT ${index}`))));
    const messages = await client.readUntilReady(5_000);
    expect(messages.filter(({ type }) => type === 'D')).toHaveLength(5_000);
    await client.end();
  });
});

describe('a client that stops reading', () => {
  /** One that asks for more than all buffers on the way hold, and reads none of it. */
  async function stall(): Promise<WireClient> {
    const client = await WireClient.login(weir);
    client.socket.pause();
    client.send(frontend.query("SELECT repeat('x', 1000) FROM generate_series(1, 100000)"));
    await waitFor(
      () => weir.control.sessions().some(({ id, state }) => id > 0 && state === 'active'),
      5_000,
      () => 'the query does not run',
    );
    return client;
  }

  async function countServerSessions(): Promise<number> {
    const { rows } = await postgres.query(
      "SELECT count(*)::int AS n FROM pg_stat_activity WHERE application_name = '' AND query LIKE '%generate_series(1, 100000)%' AND pid <> pg_backend_pid()",
    );
    return Number(rows[0]?.n);
  }

  test('holds up nobody else, and is answered in full when it reads on', async () => {
    const client = await stall();
    const other = await WireClient.login(weir);
    for (let count = 0; count < 50; count++) expect(await other.rows('SELECT 1')).toEqual([['1']]);
    await other.end();
    client.socket.resume();
    const messages = await client.readUntilReady();
    expect(messages.filter(({ type }) => type === 'D')).toHaveLength(100_000);
    await client.end();
  });

  test('is ended by an administrator, and its server connection with it', async () => {
    const client = await stall();
    const [session] = weir.control.sessions();
    expect(weir.control.terminateSession(session?.id ?? 0)).toBe(true);
    expect(weir.control.sessions()).toEqual([]);
    await waitFor(
      async () => (await countServerSessions()) === 0,
      2_000,
      () => 'its statement still runs on the server',
    );
    client.destroy();
  });

  test('and is ended may go on talking: nobody listens, and nobody is harmed', async () => {
    const client = await stall();
    const [session] = weir.control.sessions();
    expect(weir.control.terminateSession(session?.id ?? 0)).toBe(true);
    for (let count = 0; count < 20; count++) {
      client.send(frontend.copyDone(), frontend.query('SELECT 1'), frontend.extendedQuery('SELECT 1'), frontend.sync());
      await new Promise<void>((resolve) => setImmediate(resolve));
    }
    const other = await WireClient.login(weir);
    expect(await other.rows('SELECT 1')).toEqual([['1']]);
    expect(weir.control.sessions()).toHaveLength(1);
    await other.end();
    client.destroy();
  });

  test('does not keep pgweir from stopping, and its socket is closed', async () => {
    const other = await startTestWeir({ postgres });
    const client = await WireClient.login(other);
    client.socket.pause();
    client.send(frontend.query("SELECT repeat('x', 1000) FROM generate_series(1, 100000)"));
    await waitFor(
      () => other.control.counters.bytesFromServers > 1_000_000,
      5_000,
      () => 'nothing flows',
    );
    await other.stop();
    await waitFor(
      async () => (await countServerSessions()) === 0,
      2_000,
      () => 'its statement still runs on the server',
    );
    client.destroy();
  });
});

describe('a message whose own beginning closes the gate behind it', () => {
  test.each([1, 6, 8])('a password in pieces of %i bytes is passed through whole', async (pieceBytes) => {
    const { user, password } = ROLES.plain;
    const passing = await startTestWeir({ postgres, settings: { auth: { mode: 'passthrough' } } });
    const client = await WireClient.connect(passing);
    client.send(frontend.startupMessage({ user, database: postgres.database }));
    expect((await client.readMessage()).type).toBe('R');
    await client.sendInPieces(frontend.password(password), pieceBytes);
    expect((await client.readUntil('Z')).map(({ type }) => type)).not.toContain('E');
    expect(await client.rows('SELECT session_user')).toEqual([[user]]);
    await client.end();
    await passing.stop();
  });
});

describe('a Sync sent ahead among the data of a COPY', () => {
  const copyWith = (data: string): Buffer =>
    Buffer.concat([
      frontend.extendedQuery('COPY ahead_of_copy FROM STDIN'),
      frontend.copyData(Buffer.from(data)),
      frontend.sync(),
    ]);

  beforeAll(async () => {
    await postgres.query('DROP TABLE IF EXISTS ahead_of_copy; CREATE TABLE ahead_of_copy (a int)');
  });

  test('is ignored where the COPY goes well', async () => {
    const client = await WireClient.login(weir);
    client.send(copyWith('1\n'), frontend.copyDone(), frontend.sync());
    expect((await client.readUntilReady()).map(({ type }) => type).join('')).toBe('12nGCZ');
    expect(await client.rows('SELECT a FROM ahead_of_copy')).toEqual([['1']]);
    await client.end();
  });

  test('ends the connection where the COPY fails, since nobody can tell what the server will answer', async () => {
    const client = await WireClient.login(weir);
    client.send(copyWith('bad\n'), frontend.query('SELECT 1'));
    const messages = await client.readUntilEnd();
    const codes = messages.filter(({ type }) => type === 'E').map(({ body }) => readFields(body).C);
    expect(codes).toEqual(['22P02', '08P01']);
    const other = await WireClient.login(weir);
    expect(await other.rows('SELECT 1')).toEqual([['1']]);
    await other.end();
  });
});

describe('max_statement_bytes', () => {
  test.each([1_024, 5_000, 16_384, 20_000])(
    'of %i bytes is the bound itself, not one near it',
    async (maxStatementBytes) => {
      const small = await startTestWeir({ postgres, settings: { limits: { maxStatementBytes } } });
      const client = await WireClient.login(small);
      const text = (bytes: number): string => `SELECT '${'x'.repeat(bytes - "SELECT ''".length - 6)}'`;
      expect(frontend.query(text(maxStatementBytes))).toHaveLength(maxStatementBytes);
      expect(await client.rows(text(maxStatementBytes))).toHaveLength(1);
      await expect(client.rows(text(maxStatementBytes + 1))).rejects.toMatchObject({ code: '54000' });
      client.send(frontend.parse(text(maxStatementBytes + 1)), frontend.sync());
      expect((await client.readUntilReady()).map(({ type }) => type)).toEqual(['E', 'Z']);
      expect(await client.rows('SELECT 1')).toEqual([['1']]);
      await client.end();
      await small.stop();
    },
  );
});
