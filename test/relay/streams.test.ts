// Messages and results larger than a proxy should ever hold, and clients that vanish in the middle of things: memory does
// not follow what flows by, bytes arrive as they were sent, and the server keeps nothing of who is gone.

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { waitFor } from '../support/deadline.ts';
import * as frontend from '../support/frontend-messages.ts';
import { sharedPostgres } from '../support/shared-postgres.ts';
import { type SpawnedWeir, spawnWeir, startTestWeir } from '../support/weir.ts';
import { WireClient } from '../support/wire-client.ts';
import { bindLong, copyBothWays, floodBothWays, MEGABYTE, readOneRow, readSlowly } from './stream-loads.ts';

const MAX_GROWTH_BYTES = 64 * MEGABYTE;
const postgres = sharedPostgres();

describe('memory does not follow what flows by', () => {
  let weir: SpawnedWeir;

  beforeAll(async () => {
    weir = await spawnWeir({ postgres });
  });

  afterAll(() => weir.stop());

  test('of a result that its client reads slowly', async () => {
    const { bytes, grownBytes, elapsedMs } = await readSlowly(weir, 100 * MEGABYTE, 50 * MEGABYTE);
    expect(bytes).toBeGreaterThan(100 * MEGABYTE);
    expect(elapsedMs).toBeGreaterThan(1_000);
    expect(grownBytes).toBeLessThan(MAX_GROWTH_BYTES);
  });

  test('of one row', async () => {
    const { bytes, grownBytes } = await readOneRow(weir, 100 * MEGABYTE);
    expect(bytes).toBeGreaterThan(100 * MEGABYTE);
    expect(grownBytes).toBeLessThan(MAX_GROWTH_BYTES);
  });

  test('of one parameter', async () => {
    const { length, grownBytes } = await bindLong(weir, 100 * MEGABYTE);
    expect(length).toBe(100 * MEGABYTE);
    expect(grownBytes).toBeLessThan(MAX_GROWTH_BYTES);
  });

  test('of COPY in and out, which are equal byte by byte', async () => {
    const { sent, received, grownBytes } = await copyBothWays(weir, 'copied_quick', 20 * MEGABYTE);
    expect(received).toBe(sent);
    expect(grownBytes).toBeLessThan(MAX_GROWTH_BYTES);
  });

  test('of both directions flooded at once, which come to an end', async () => {
    const { bytes, grownBytes } = await floodBothWays(weir, 400);
    expect(bytes).toBeGreaterThan(40 * MEGABYTE);
    expect(grownBytes).toBeLessThan(MAX_GROWTH_BYTES);
  });
});

describe('a client that vanishes leaves no server connection', () => {
  const VANISHING = 'vanishes';
  const activity = `SELECT state FROM pg_stat_activity WHERE application_name = '${VANISHING}'`;

  const bigInsert = frontend.query(`INSERT INTO vanished SELECT generate_series(1, 10)`);
  test.each<[string, (client: WireClient) => Promise<void>]>([
    ['idle', async () => undefined],
    [
      'in a transaction',
      async (client) => {
        await client.query('BEGIN; INSERT INTO vanished VALUES (1)');
      },
    ],
    [
      'in a failed transaction',
      async (client) => {
        await client.query('BEGIN');
        await client.query('SELECT no_such_column');
      },
    ],
    [
      'in COPY FROM STDIN',
      async (client) => {
        client.send(frontend.query('COPY vanished FROM STDIN'));
        await client.readUntil('G');
        client.send(frontend.copyData(Buffer.from('1\n2\n')));
      },
    ],
    [
      'in the middle of a result',
      async (client) => {
        client.send(frontend.query("SELECT repeat('x', 10000) FROM generate_series(1, 100000)"));
        await client.readMessage();
      },
    ],
    ['in the middle of a message', async (client) => client.send(bigInsert.subarray(0, 20))],
    [
      'in a pipeline without its Sync',
      async (client) => client.send(frontend.extendedQuery('INSERT INTO vanished VALUES (2)')),
    ],
  ])('%s', async (_name, act) => {
    const weir = await startTestWeir({ postgres });
    try {
      await postgres.query('DROP TABLE IF EXISTS vanished');
      await postgres.query('CREATE TABLE vanished (a int)');
      const client = await WireClient.login(weir, { parameters: { application_name: VANISHING } });
      await act(client);
      expect((await postgres.query(activity)).rows).toHaveLength(1);
      client.destroy();
      await waitFor(
        async () => (await postgres.query(activity)).rows.length === 0,
        2_000,
        () => 'the server still has it',
      );
      expect((await postgres.query('SELECT a FROM vanished')).rows).toEqual([]);
      await waitFor(
        () => weir.control.counters.currentServerConnections === 0,
        2_000,
        () => 'a lease is still held',
      );
    } finally {
      await weir.stop();
    }
  });

  test('but what it had sent whole before a farewell is done', async () => {
    const weir = await startTestWeir({ postgres });
    try {
      await postgres.query('DROP TABLE IF EXISTS vanished');
      await postgres.query('CREATE TABLE vanished (a int)');
      const client = await WireClient.login(weir, { parameters: { application_name: VANISHING } });
      client.socket.end(
        Buffer.concat([frontend.query('SELECT pg_sleep(0.2); INSERT INTO vanished VALUES (3)'), frontend.terminate()]),
      );
      await waitFor(
        async () => (await postgres.query('SELECT a FROM vanished')).rows.length === 1,
        5_000,
        () => 'it was lost',
      );
      client.destroy();
    } finally {
      await weir.stop();
    }
  });
});
