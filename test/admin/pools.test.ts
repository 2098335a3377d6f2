// The pools over HTTP: their ledger as JSON and as a table, and the orders to pause, resume and reconnect them.

import type { FastifyInstance } from 'fastify';
import { afterEach, expect, test } from 'vitest';
import { buildAdminServer } from '../../src/admin/server.ts';
import { makePool, StandIn } from './stand-in.ts';

let server: FastifyInstance | null = null;
afterEach(async () => {
  await server?.close();
  server = null;
});

function serve(mode: StandIn['poolMode'] = 'transaction') {
  const control = new StandIn();
  control.poolMode = mode;
  if (mode === 'transaction') {
    control.poolSummaries = [
      makePool({ user: 'bob', lastError: 'no such role', isPaused: true, statements: { shared: 0, pinned: 0 } }),
      makePool({ target: 'replica1' }),
      makePool({ database: 'depot' }),
      makePool(),
    ];
  }
  server = buildAdminServer(control, { admin: { host: '127.0.0.1', port: 0, token: null } });
  const ask = (method: 'GET' | 'POST', url: string, headers: Record<string, string> = {}) =>
    server?.inject({ method, url, headers }) ?? Promise.reject(new Error('no server'));
  return { control, ask };
}

test('GET /pools shows each pool with its connections, waits, pins and ledger, in order', async () => {
  const { ask } = serve();
  const answer = await ask('GET', '/pools');
  expect(answer.statusCode).toBe(200);
  const report = answer.json();
  expect(report.mode).toBe('transaction');
  expect(report.pools.map((pool: Record<string, string>) => [pool.target, pool.database, pool.user])).toEqual([
    ['primary', 'depot', 'ana'],
    ['primary', 'shop', 'ana'],
    ['primary', 'shop', 'bob'],
    ['replica1', 'shop', 'ana'],
  ]);
  expect(report.pools[1]).toEqual({
    target: 'primary',
    database: 'shop',
    user: 'ana',
    is_paused: false,
    limit: 20,
    longest_wait_seconds: 1.5,
    last_error: null,
    connections: { idle: 3, active: 2, reclaimable: 4, pinned: 1, opening: 1 },
    waiting: 5,
    acquires: 107,
    releases: 100,
    held: 7,
    handovers: 40,
    settlements: 30,
    opened: 12,
    closed: 2,
    wait_timeouts: 6,
    statements: { shared: 900, pinned: 100, shared_share: 0.9 },
    pins: [
      { reason: 'temporary', current: 1, total: 8, held_seconds: 2.5 },
      { reason: 'listen', current: 0, total: 2, held_seconds: 0.5 },
    ],
  });
  expect(report.pools[2]).toMatchObject({
    is_paused: true,
    last_error: 'no such role',
    statements: { shared_share: null },
  });
});

test('the totals are those of the pools that are shown, and their ledger balances', async () => {
  const { ask } = serve();
  const { totals } = (await ask('GET', '/pools')).json();
  expect(totals).toMatchObject({ acquires: 428, releases: 400, held: 28, waiting: 20, handovers: 160 });
  expect(totals.acquires).toBe(totals.releases + totals.held);
  expect(totals.connections).toEqual({ idle: 12, active: 8, reclaimable: 16, pinned: 4, opening: 4 });
  expect(totals.statements).toEqual({ shared: 2700, pinned: 300, shared_share: 0.9 });
  expect(totals.pins).toEqual([
    { reason: 'listen', current: 0, total: 8, held_seconds: 2 },
    { reason: 'temporary', current: 4, total: 32, held_seconds: 10 },
  ]);
  const one = (await ask('GET', '/pools?database=shop&user=ana&target=primary')).json();
  expect([one.pools.length, one.totals.acquires]).toEqual([1, 107]);
  expect((await ask('GET', '/pools?user=nobody')).json()).toMatchObject({ pools: [], totals: { acquires: 0 } });
});

test.each(['colour=red', 'format=xml', 'database='])('GET /pools refuses ?%s', async (query) => {
  const { ask } = serve();
  expect((await ask('GET', `/pools?${query}`)).statusCode).toBe(400);
});

test('as text the pools are a table, and what pins is another; a name cannot steer the terminal', async () => {
  const { ask, control } = serve();
  control.poolSummaries.push(makePool({ user: '\u001b[31meve' }));
  const answer = await ask('GET', '/pools?format=text');
  expect(answer.headers['content-type']).toBe('text/plain; charset=utf-8');
  const [pools = '', pins = ''] = answer.body.split('\n\n');
  expect(pools.split('\n').map((line) => line.split(/ {2,}/).slice(0, 5))).toEqual([
    ['TARGET', 'DATABASE', 'USER', 'PAUSED', 'LIMIT'],
    ['primary', 'depot', 'ana', 'no', '20'],
    ['primary', 'shop', '\\u{1b}[31meve', 'no', '20'],
    ['primary', 'shop', 'ana', 'no', '20'],
    ['primary', 'shop', 'bob', 'yes', '20'],
    ['replica1', 'shop', 'ana', 'no', '20'],
  ]);
  expect(pools).toContain('90.0%');
  expect(
    pins
      .trim()
      .split('\n')
      .map((line) => line.split(/ {2,}/)),
  ).toEqual([
    ['PINNED BY', 'NOW', 'TOTAL', 'HELD'],
    ['listen', '0', '10', '2.5 s'],
    ['temporary', '5', '40', '12.5 s'],
  ]);
  expect((await ask('GET', '/pools', { accept: 'text/plain' })).body).toBe(answer.body);
  expect((await ask('GET', '/pools?format=json', { accept: 'text/plain' })).json().mode).toBe('transaction');
});

test('a pause answers when the pools are at rest, and shows those it is about', async () => {
  const { ask, control } = serve();
  const answer = await ask('POST', '/pools/pause?database=shop');
  expect([answer.statusCode, answer.json().is_at_rest, answer.json().pools.length]).toEqual([200, true, 3]);
  const one = await ask('POST', '/pools/pause?database=shop&user=bob');
  expect(one.json().pools).toMatchObject([{ user: 'bob', is_paused: true }]);
  expect((await ask('POST', '/pools/pause')).json().pools).toHaveLength(4);
  expect(control.poolOrders).toEqual([
    ['pause', { database: 'shop' }],
    ['pause', { database: 'shop', user: 'bob' }],
    ['pause', {}],
  ]);
});

test('a pause that does not come to rest in time is answered 202 and goes on; how it ends later does no harm', async () => {
  const { ask, control } = serve();
  const rest = Promise.withResolvers<void>();
  control.rest = rest.promise;
  const answer = await ask('POST', '/pools/pause?wait_ms=5');
  expect([answer.statusCode, answer.json().is_at_rest]).toEqual([202, false]);
  rest.reject(new Error('stopped meanwhile'));
  expect((await ask('POST', '/pools/pause?wait_ms=1000')).statusCode).toBe(500);
  control.rest = Promise.resolve();
  expect((await ask('POST', '/pools/pause?wait_ms=0')).statusCode).toBe(200);
  expect((await ask('POST', '/pools/pause?wait_ms=25001')).statusCode).toBe(400);
});

test('resume and reconnect are passed on with their filter; an unknown key of it is refused, not ignored', async () => {
  const { ask, control } = serve();
  const resumed = await ask('POST', '/pools/resume?user=ana');
  expect([resumed.statusCode, resumed.json().pools.length]).toEqual([200, 3]);
  expect((await ask('POST', '/pools/reconnect')).statusCode).toBe(200);
  expect((await ask('POST', '/pools/reconnect?databse=shop')).statusCode).toBe(400);
  expect(control.poolOrders).toEqual([
    ['resume', { user: 'ana' }],
    ['reconnect', {}],
  ]);
});

test('in mode session there are no pools, and orders to them are refused with the reason', async () => {
  const { ask, control } = serve('session');
  expect((await ask('GET', '/pools')).json()).toMatchObject({ mode: 'session', pools: [], totals: { held: 0 } });
  expect((await ask('GET', '/pools?format=text')).body).toBe('pool.mode is session: there are no pools\n');
  for (const order of ['pause', 'resume', 'reconnect']) {
    const answer = await ask('POST', `/pools/${order}`);
    expect([answer.statusCode, answer.headers['content-type']]).toEqual([409, 'application/problem+json']);
    expect(answer.json().detail).toMatch(new RegExp(`^pool\\.mode is session: .* no pool to ${order}$`));
  }
  expect(control.poolOrders).toEqual([]);
});

test('an order is not for GET, nor for a page of another origin', async () => {
  const { ask, control } = serve();
  expect((await ask('GET', '/pools/pause')).statusCode).toBe(405);
  const headers = { host: 'localhost:9091', origin: 'http://evil.example' };
  expect((await ask('POST', '/pools/pause', headers)).statusCode).toBe(403);
  expect(control.poolOrders).toEqual([]);
});
