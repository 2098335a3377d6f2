// What pins a server connection to its client, each reason with what releases it at once, and each with a twin that looks
// like it and pins nothing. One connection, two clients: while it is pinned the other one waits, and not a moment longer.

import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { waitFor } from '../support/deadline.ts';
import * as frontend from '../support/frontend-messages.ts';
import { sharedPostgres } from '../support/shared-postgres.ts';
import { type PoolClient, type PoolGround, startPoolGround } from './pool-ground.ts';

interface Pinning {
  readonly reason: string;
  readonly take: readonly string[];
  /** Each of them ends the pin by itself. */
  readonly releases: readonly string[];
  /** Looks like it and pins nothing. */
  readonly twins: readonly (readonly string[])[];
}

const PINNINGS: readonly Pinning[] = [
  {
    reason: 'temporary',
    take: ['CREATE TEMP TABLE pinned AS SELECT 1 AS one'],
    releases: ['DROP TABLE pinned', 'DISCARD TEMP', 'DISCARD ALL'],
    twins: [
      ['BEGIN', 'CREATE TEMP TABLE pinned (one int) ON COMMIT DROP', 'COMMIT'],
      ['BEGIN', 'CREATE TEMP TABLE pinned (one int)', 'ROLLBACK'],
    ],
  },
  {
    reason: 'held_cursor',
    take: ['DECLARE pinned CURSOR WITH HOLD FOR SELECT generate_series(1, 3)'],
    releases: ['CLOSE pinned', 'CLOSE ALL', 'DISCARD ALL'],
    twins: [
      ['BEGIN', 'DECLARE pinned CURSOR FOR SELECT generate_series(1, 3)', 'FETCH 1 FROM pinned', 'COMMIT'],
      ['BEGIN', 'DECLARE pinned CURSOR WITH HOLD FOR SELECT 1', 'ROLLBACK'],
    ],
  },
  {
    reason: 'advisory_lock',
    take: ['SELECT pg_advisory_lock(5170)'],
    releases: ['SELECT pg_advisory_unlock(5170)', 'SELECT pg_advisory_unlock_all()', 'DISCARD ALL'],
    twins: [
      ['SELECT pg_advisory_xact_lock(5171)'],
      ['SELECT pg_advisory_lock(5172); SELECT pg_advisory_unlock(5172)'],
      ['SELECT pg_advisory_unlock_all()'],
    ],
  },
  {
    reason: 'advisory_lock',
    take: ['SELECT (5173::bigint).pg_advisory_lock'],
    releases: ['SELECT (5173::bigint).pg_advisory_unlock'],
    twins: [['SELECT (5174::bigint).pg_advisory_xact_lock']],
  },
  {
    reason: 'listen',
    take: ['LISTEN pinned'],
    releases: ['UNLISTEN pinned', 'UNLISTEN *', 'DISCARD ALL'],
    twins: [['BEGIN', 'LISTEN pinned', 'ROLLBACK'], ["NOTIFY pinned, 'nobody'"]],
  },
  {
    reason: 'sequence',
    take: ["SELECT nextval('pooling_pins')"],
    releases: ['DISCARD SEQUENCES', 'DISCARD ALL'],
    twins: [['SELECT last_value FROM pooling_pins'], ['INSERT INTO pooling_plain VALUES (1)']],
  },
  {
    reason: 'seed',
    take: ['SELECT setseed(0.5)'],
    // After DISCARD ALL, random() goes on as it was seeded.
    releases: [],
    twins: [['SELECT random() < 2']],
  },
  {
    reason: 'opaque_setting',
    take: ["SELECT set_config('pooling.' || 'pinned', 'x', false)"],
    // A custom setting that was once set is there for as long as the connection is.
    releases: [],
    twins: [["SELECT set_config('pooling.plain', 'x', false)"], ["SET work_mem = '5MB'"], ['SET ROLE app']],
  },
  {
    reason: 'library',
    take: ["LOAD 'plpgsql'"],
    releases: [],
    twins: [['DO $$ BEGIN PERFORM 1; END $$']],
  },
];
const QUESTION = "SELECT 'the other one'";
const postgres = sharedPostgres();
let ground: PoolGround;
let pinned: PoolClient;
let other: PoolClient;

beforeEach(async () => {
  await postgres.query('CREATE SEQUENCE IF NOT EXISTS pooling_pins; CREATE TABLE IF NOT EXISTS pooling_plain (n int)');
  ground = await startPoolGround(postgres, {});
  pinned = await ground.login();
  other = await ground.login();
});

afterEach(async () => {
  try {
    await ground.checkLedger();
  } finally {
    await ground.stop();
  }
});

/** The other client's question is sent, and the pinned one is seen to hold the connection for the reason. */
async function expectPinned(reason: string): Promise<void> {
  other.wire.send(frontend.query(QUESTION));
  await ground.waitForQueue(1);
  await waitFor(
    () => pinned.holds().includes(reason),
    2_000,
    () => `held for ${JSON.stringify(pinned.holds())}, not for ${reason}`,
  );
  expect(ground.pool().connections).toMatchObject({ pinned: 1 });
  expect(ground.pool().pins).toContainEqual(expect.objectContaining({ reason, current: 1 }));
}

async function expectAnswered(): Promise<void> {
  const answer = await other.wire.readUntilReady();
  expect(answer.map(({ type }) => type)).toEqual(['T', 'D', 'C', 'Z']);
  expect(ground.pool().pins.filter(({ current }) => current > 0)).toEqual([]);
}

describe.each(PINNINGS)('$reason', ({ reason, take, releases, twins }) => {
  test.each(releases)('pins until %s', async (release) => {
    for (const sql of take) await pinned.wire.rows(sql);
    await expectPinned(reason);
    await pinned.wire.rows(release);
    await expectAnswered();
  });

  test('pins until the session ends with a word', async () => {
    for (const sql of take) await pinned.wire.rows(sql);
    await expectPinned(reason);
    await pinned.wire.end();
    await expectAnswered();
  });

  test('pins until the client vanishes', async () => {
    for (const sql of take) await pinned.wire.rows(sql);
    await expectPinned(reason);
    pinned.wire.destroy();
    await expectAnswered();
  });

  test('goes on pinning while something else is done', async () => {
    for (const sql of take) await pinned.wire.rows(sql);
    await expectPinned(reason);
    await pinned.wire.rows('SELECT 1');
    await pinned.wire.rows('BEGIN; SELECT 2; COMMIT');
    expect(ground.pool()).toMatchObject({ waiting: 1 });
    await pinned.wire.end();
    await expectAnswered();
  });

  test.each(twins.map((list) => list.join('; ')))('is not what %s does', async (list) => {
    for (const sql of twins.find((candidate) => candidate.join('; ') === list) ?? []) await pinned.wire.rows(sql);
    expect(await other.wire.rows(QUESTION)).toEqual([['the other one']]);
    expect(ground.pool().pins.filter(({ total }) => total > 0)).toEqual([]);
    expect(pinned.holds()).toEqual([]);
  });
});

test('a session that is ended while its connection is asked what is left leaves no pin behind', async () => {
  await pinned.wire.rows('CREATE TEMP TABLE pinned AS SELECT 1');
  const pid = Number((await pinned.wire.rows('SELECT pg_backend_pid()'))[0]?.[0]);
  process.kill(pid, 'SIGSTOP');
  try {
    other.wire.send(frontend.query(QUESTION));
    await ground.waitForQueue(1);
    await waitFor(
      () => ground.pool().settlements > 0,
      2_000,
      () => `nobody is asked: ${JSON.stringify(ground.pool())}`,
    );
    expect(ground.weir.control.terminateSession(pinned.sessionId)).toBe(true);
  } finally {
    process.kill(pid, 'SIGCONT');
  }
  await expectAnswered();
});

test('two reasons pin until both are gone', async () => {
  await pinned.wire.rows('CREATE TEMP TABLE pinned AS SELECT 1');
  await pinned.wire.rows('LISTEN pinned');
  await expectPinned('temporary');
  expect(pinned.holds()).toContain('listen');
  await pinned.wire.rows('DROP TABLE pinned');
  expect(ground.pool()).toMatchObject({ waiting: 1 });
  await pinned.wire.rows('UNLISTEN *');
  await expectAnswered();
});

test('a pin taken in a transaction that is rolled back is none', async () => {
  await pinned.wire.rows('BEGIN');
  await pinned.wire.rows('CREATE TEMP TABLE pinned AS SELECT 1');
  other.wire.send(frontend.query(QUESTION));
  await ground.waitForQueue(1);
  expect(pinned.holds()).toContain('transaction');
  await pinned.wire.rows('ROLLBACK');
  await expectAnswered();
});

test('a transaction holds the connection, and a portal that is suspended in it too', async () => {
  await pinned.wire.rows('BEGIN');
  pinned.wire.send(
    frontend.parse('SELECT generate_series(1, 5)'),
    frontend.bind(),
    frontend.execute('', 2),
    frontend.sync(),
  );
  expect((await pinned.wire.readUntilReady()).map(({ type }) => type)).toContain('s');
  other.wire.send(frontend.query(QUESTION));
  await ground.waitForQueue(1);
  await pinned.wire.rows('COMMIT');
  await expectAnswered();
});

test('an extended query holds the connection up to its Sync, not only to its answer', async () => {
  pinned.wire.send(frontend.extendedQuery('SELECT 1'), frontend.flush());
  await pinned.wire.readUntil('C');
  other.wire.send(frontend.query(QUESTION));
  await ground.waitForQueue(1);
  pinned.wire.send(frontend.sync());
  await pinned.wire.readUntilReady();
  await expectAnswered();
});

test('notifications come to a pinned client that only listens, while others work', async () => {
  await pinned.wire.rows('LISTEN pooling_news');
  await postgres.query("NOTIFY pooling_news, 'for the listener'");
  const news = await pinned.wire.readUntil('A');
  expect(news.at(-1)?.body.toString('utf8', 4)).toBe('pooling_news\0for the listener\0');
});

test('what was pinned leaves nothing on the connection for the next client', async () => {
  await pinned.wire.rows('CREATE TEMP TABLE pinned AS SELECT 1');
  await pinned.wire.rows('PREPARE pinned AS SELECT 1');
  await pinned.wire.rows("SET work_mem = '7MB'");
  await pinned.wire.end();
  expect(await other.wire.rows("SELECT to_regclass('pg_temp.pinned')")).toEqual([[null]]);
  expect(await other.wire.rows('SELECT name FROM pg_prepared_statements WHERE from_sql')).toEqual([]);
  expect(await other.wire.rows('SHOW work_mem')).toEqual([['4MB']]);
});

test('a statement of SQL PREPARE pins nothing: it goes with its client', async () => {
  await pinned.wire.rows('PREPARE pinned AS SELECT 1');
  expect(await other.wire.rows('SELECT 2')).toEqual([['2']]);
  await expect(other.wire.rows('EXECUTE pinned')).rejects.toThrow(/does not exist/);
  expect(await pinned.wire.rows('EXECUTE pinned')).toEqual([['1']]);
  expect(pinned.holds()).not.toContain('prepared_sql');
});

describe('under kill_after_ms', () => {
  const asQuery = async (sql: string): Promise<void> => {
    await pinned.wire.rows(sql);
  };
  const asExecute = async (sql: string): Promise<void> => {
    pinned.wire.send(frontend.extendedQuery(sql), frontend.sync());
    await pinned.wire.readUntilReady();
  };
  const ways = [
    ['a Query', asQuery],
    ['an Execute', asExecute],
  ] as const;

  beforeEach(async () => {
    const rules = { rules: [{ name: 'late', match: { user: 'weir' }, action: 'kill_after_ms', timeout_ms: 60_000 }] };
    const answer = await fetch(`${ground.weir.adminUrl}/rules`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ traffic_control: rules }),
    });
    expect(answer.status).toBe(200);
  });

  for (const [how, say] of ways) {
    test(`a statement of SQL PREPARE, made by ${how}, goes with its client, too`, async () => {
      await say('PREPARE pinned AS SELECT 1');
      expect(await other.wire.rows('SELECT 2')).toEqual([['2']]);
      expect(await pinned.wire.rows('EXECUTE pinned')).toEqual([['1']]);
      expect(pinned.holds()).not.toContain('prepared_sql');
    });

    test(`one that ${how} could not make is not there, and pins nothing`, async () => {
      await say('PREPARE pinned AS SELECT no_such_column').catch(() => undefined);
      expect(await other.wire.rows('SELECT 2')).toEqual([['2']]);
      await expect(pinned.wire.rows('EXECUTE pinned')).rejects.toThrow(/does not exist/);
    });
  }
});

test('with sequences: discard nothing that draws pins, and the next client sees nothing of it', async () => {
  const here = await startPoolGround(postgres, { size: 1, queryWaitMs: 2_000, sequences: 'discard' });
  try {
    const { wire: one } = await here.login();
    const { wire: other } = await here.login();
    await one.rows('CREATE TABLE drawn (id serial)');
    for (const sql of [
      'INSERT INTO drawn DEFAULT VALUES',
      'DO $$BEGIN INSERT INTO drawn DEFAULT VALUES; END$$',
      "DO $$BEGIN EXECUTE 'INSERT INTO drawn DEFAULT VALUES'; END$$",
      "BEGIN; CREATE TABLE more (id serial); INSERT INTO more DEFAULT VALUES; DROP TABLE more; SELECT nextval('drawn_id_seq'); COMMIT",
    ]) {
      await one.rows(sql);
      await expect(other.rows('SELECT lastval()')).rejects.toMatchObject({ code: '55000' });
    }
    expect(here.pool().pins).toEqual([]);
    await here.checkLedger();
  } finally {
    await here.stop();
    await postgres.query('DROP TABLE IF EXISTS drawn');
  }
});
