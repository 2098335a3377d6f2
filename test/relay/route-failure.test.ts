// Routing when it cannot be had: a replica that is down, silent or lost, and a login that pgweir cannot repeat there. The
// primary serves, no client hangs, and it is counted.

import { once } from 'node:events';
import { createServer, type Server } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { withClosedPort } from '../support/closed-port.ts';
import { waitFor } from '../support/deadline.ts';
import * as frontend from '../support/frontend-messages.ts';
import { startPostgres } from '../support/postgres.ts';
import { sharedPostgres } from '../support/shared-postgres.ts';
import { startTestWeir, type TestWeir } from '../support/weir.ts';
import { sendCancel, WireClient } from '../support/wire-client.ts';
import { codesOf, ROUTING_RULES, talkThrough, WHERE } from './routed-client.ts';

const postgres = sharedPostgres();
let weir: TestWeir;
let client: WireClient;

beforeAll(async () => {
  weir = await startTestWeir({ postgres, rules: ROUTING_RULES });
});
afterAll(() => weir.stop());
afterEach(() => client.end());

const login = async (address: TestWeir = weir): Promise<WireClient> => {
  client = await WireClient.login(address);
  return client;
};
const { simple, extended, prepare, use } = talkThrough(() => client);

describe('a replica that does not serve', () => {
  const unreachable = (port: number) => ({
    targets: { replicas: [{ name: 'replica1', host: '127.0.0.1', port }] },
    limits: { connectTimeoutMs: 1_000, loginTimeoutMs: 400 },
  });

  test('and refuses connections: the primary serves, and that is counted', () =>
    withClosedPort(async (port) => {
      const lonely = await startTestWeir({ postgres, rules: ROUTING_RULES, settings: unreachable(port) });
      await login(lonely);
      expect(await simple(WHERE)).toEqual(['f']);
      expect(lonely.control.counters.unroutable).toBe(1);
      expect(await extended(WHERE)).toEqual(['f']);
      expect(lonely.control.counters.unroutable).toBe(2);
      expect(lonely.control.targets().find(({ name }) => name === 'replica1')).toMatchObject({ isHealthy: false });
      await client.end();
      await lonely.stop();
    }));

  test('and accepts connections but says nothing: the primary serves after the deadline', async () => {
    let attempts = 0;
    const silent: Server = createServer((socket) => {
      attempts++;
      socket.on('error', () => undefined).resume();
    });
    silent.listen(0, '127.0.0.1');
    await once(silent, 'listening');
    const address = silent.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    const lonely = await startTestWeir({ postgres, rules: ROUTING_RULES, settings: unreachable(port) });
    await login(lonely);
    expect(await simple(WHERE)).toEqual(['f']);
    expect(lonely.control.counters.unroutable).toBe(1);
    // Nobody waits for it again right away, in this session or another.
    for (let attempt = 0; attempt < 5; attempt++) expect(await extended(WHERE)).toEqual(['f']);
    await client.end();
    await login(lonely);
    expect(await simple(WHERE)).toEqual(['f']);
    expect(attempts).toBe(1);
    expect(lonely.control.counters.unroutable).toBe(7);
    // It is tried again later.
    await waitFor(
      async () => (await simple(WHERE)) && attempts === 2,
      10_000,
      () => 'the replica is never tried again',
      100,
    );
    await client.end();
    await lonely.stop();
    silent.close();
  });

  test.each(['session', 'transaction'] as const)(
    'and says nothing: few wait for it, and not often (mode %s)',
    async (mode) => {
      const silent: Server = createServer((socket) => {
        socket.on('error', () => undefined).resume();
      });
      silent.listen(0, '127.0.0.1');
      await once(silent, 'listening');
      const address = silent.address();
      const settings = unreachable(typeof address === 'object' && address !== null ? address.port : 0);
      const lonely = await startTestWeir({ postgres, rules: ROUTING_RULES, settings: { ...settings, pool: { mode } } });
      const clients = [await login(lonely), await WireClient.login(lonely), await WireClient.login(lonely)];
      const askAll = (): Promise<number[]> =>
        Promise.all(
          clients.map(async (one) => {
            const startMs = performance.now();
            expect(await one.rows(WHERE)).toEqual([['f']]);
            return performance.now() - startMs;
          }),
        );
      await askAll();
      // In vain they have waited for 400 ms: that is not to happen again for some time,
      await sleep(2_100);
      expect((await askAll()).filter((spentMs) => spentMs > 300)).toHaveLength(0);
      await sleep(600);
      // and then to one only.
      expect((await askAll()).filter((spentMs) => spentMs > 300)).toHaveLength(1);
      for (const one of clients) await one.end();
      await lonely.stop();
      silent.close();
    },
  );

  test('and says nothing: what waits for it can be cancelled', async () => {
    const silent: Server = createServer((socket) => {
      socket.on('error', () => undefined).resume();
    });
    silent.listen(0, '127.0.0.1');
    await once(silent, 'listening');
    const address = silent.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    const { targets } = unreachable(port);
    const lonely = await startTestWeir({ postgres, rules: ROUTING_RULES, settings: { targets } });
    await login(lonely);
    for (const said of [
      [frontend.query('SELECT pg_sleep(9)')],
      [frontend.extendedQuery('SELECT pg_sleep(9)'), frontend.sync()],
    ]) {
      const startMs = performance.now();
      client.send(...said);
      await sleep(200);
      await sendCancel(lonely, client.processId, client.secretKey);
      expect(codesOf(await client.readUntilReady())).toEqual(['57014']);
      expect(performance.now() - startMs).toBeLessThan(3_000);
    }
    await client.end();
    await lonely.stop();
    silent.close();
  });

  test('any more, while idle: the session goes on without an error', async () => {
    await login();
    expect(await simple(WHERE)).toEqual(['t']);
    const [pid] = await simple('SELECT pg_backend_pid()');
    const standby = await WireClient.login({ host: postgres.host, port: postgres.standbyPort });
    await standby.query(`SELECT pg_terminate_backend(${pid})`);
    await standby.end();
    await sleep(50);
    expect(['t', 'f']).toContain((await simple(WHERE))[0]);
    expect(await simple(`${WHERE} /* stay */`)).toEqual(['f']);
    await prepare('after', WHERE);
    expect(await use('after')).toEqual(['t']);
  });

  test('any more, in the middle of a statement: the client is told, and nothing hangs', async () => {
    await login();
    client.send(frontend.query('SELECT pg_sleep(10), pg_is_in_recovery()'));
    const standby = await WireClient.login({ host: postgres.host, port: postgres.standbyPort });
    const pid = await waitFor(
      async () =>
        (await standby.rows("SELECT pid FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(10), pg_is%'"))[0]?.[0],
      5_000,
      () => 'the statement does not reach the standby',
    );
    await standby.query(`SELECT pg_terminate_backend(${pid})`);
    await standby.end();
    expect(codesOf(await client.readUntilEnd())).toEqual(['57P01']);
  });
});

describe('without pgweir’s own credentials', () => {
  test('nothing is routed: in passthrough the primary serves, and that is counted', async () => {
    const passing = await startTestWeir({
      postgres,
      rules: ROUTING_RULES,
      settings: { auth: { mode: 'passthrough' } },
    });
    await login(passing);
    expect(await simple(WHERE)).toEqual(['f']);
    expect(await extended(WHERE)).toEqual(['f']);
    expect(passing.control.counters.unroutable).toBeGreaterThan(0);
    await client.end();
    await passing.stop();
  });
});

describe('a replica that is configured otherwise than the primary', () => {
  test.each(['session', 'transaction'] as const)('answers as the primary would, in mode %s', async (mode) => {
    const own = await startPostgres({ standbys: 1 });
    const [standby] = own.standbys;
    if (standby === undefined) throw new Error('there is no standby');
    await standby.query("ALTER SYSTEM SET TimeZone = 'Asia/Tokyo'");
    await standby.query("ALTER SYSTEM SET DateStyle = 'German'");
    await standby.query('ALTER SYSTEM SET standard_conforming_strings = off');
    await standby.query('SELECT pg_reload_conf()');
    const other = await startTestWeir({ postgres: own, rules: ROUTING_RULES, settings: { pool: { mode } } });
    await waitFor(
      async () => (await standby.query('SHOW DateStyle')).rows[0]?.DateStyle === 'German, DMY',
      5_000,
      () => 'the standby does not read its configuration',
    );
    await login(other);
    const read =
      "SELECT pg_is_in_recovery() || ' ' || '2024-02-01'::date || ' ' || length('\\\\') || current_setting('TimeZone')";
    expect(await simple(read)).toEqual(['true 2024-02-01 2Etc/UTC']);
    await simple("SET DateStyle = 'SQL'");
    expect(await simple(read)).toEqual(['true 02/01/2024 2Etc/UTC']);
    await simple('RESET DateStyle');
    expect(await simple(read)).toEqual(['true 2024-02-01 2Etc/UTC']);
    await client.end();
    await other.stop();
    await own.stop();
  });
});
