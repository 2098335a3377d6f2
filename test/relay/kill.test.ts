// kill_after_ms on a real server: the statement that is late ends with the server's own 57014, and nothing else does.

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { waitFor } from '../support/deadline.ts';
import * as frontend from '../support/frontend-messages.ts';
import { sharedPostgres } from '../support/shared-postgres.ts';
import { type BackendMessage, readFields, transcribe } from '../support/transcript.ts';
import { startTestWeir, type TestWeir } from '../support/weir.ts';
import { sendCancel, WireClient } from '../support/wire-client.ts';
import { NEAR_DEADLINE_RULES, runNearDeadline } from './near-deadline.ts';
import { startSlowCancels } from './slow-cancels.ts';

const KILL_MS = 300;
const RULES = `
traffic_control:
  rules:
    - name: timed
      match: { query_regex: 'timed' }
      action: kill_after_ms
      timeout_ms: ${KILL_MS}
`;

const postgres = sharedPostgres();
let weir: TestWeir;

beforeAll(async () => {
  await postgres.query('DROP TABLE IF EXISTS timed_copy; CREATE TABLE timed_copy (a int)');
  weir = await startTestWeir({ postgres, rules: RULES });
});
afterAll(() => weir.stop());

const codesOf = (messages: readonly BackendMessage[]): string[] =>
  messages.filter(({ type }) => type === 'E').map(({ body }) => readFields(body).C ?? '');

const killsOf = (target: TestWeir): { killed: number; raced: number } => {
  const rule = target.control.rules.active.rules.find(({ name }) => name === 'timed');
  return { killed: rule?.counters.killed ?? 0, raced: rule?.counters.killRaced ?? 0 };
};

async function countActive(mark: string): Promise<number> {
  const { rows } = await postgres.query(
    `SELECT count(*)::int AS n FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%' || $1 || '%' AND pid <> pg_backend_pid()`,
    [mark],
  );
  return Number(rows[0]?.n);
}

/** Ways to run one statement; each answers all messages to ReadyForQuery. */
const ROADS: readonly { readonly name: string; run(client: WireClient, sql: string): Promise<BackendMessage[]> }[] = [
  { name: 'a simple query', run: (client, sql) => client.query(sql) },
  {
    name: 'an extended query',
    run: (client, sql) => {
      client.send(frontend.extendedQuery(sql), frontend.sync());
      return client.readUntilReady();
    },
  },
  {
    name: 'a statement prepared before',
    run: async (client, sql) => {
      client.send(frontend.parse(sql, 'before'), frontend.sync());
      await client.readUntilReady();
      client.send(frontend.bind({ statement: 'before' }), frontend.execute(), frontend.sync());
      return client.readUntilReady();
    },
  },
  {
    name: 'Parse, Bind, Execute, Flush, and a Sync only after the error',
    run: async (client, sql) => {
      client.send(frontend.extendedQuery(sql), frontend.flush());
      const messages = await client.readUntil('E');
      client.send(frontend.sync());
      return [...messages, ...(await client.readUntilReady())];
    },
  },
];

describe('a statement that is late', () => {
  test.each(ROADS)(
    'ends with 57014 of the server as $name, within a second, and is gone there',
    async ({ run, name }) => {
      const client = await WireClient.login(weir);
      const before = killsOf(weir);
      const mark = `timed ${name}`;
      const startedAtMs = performance.now();
      const answered = run(client, `SELECT pg_sleep(10) /* ${mark} */`);
      await waitFor(
        () => countActive(mark),
        5_000,
        () => 'the statement does not reach the server',
      );
      const messages = await answered;
      const tookMs = performance.now() - startedAtMs;
      const error = readFields(messages.find(({ type }) => type === 'E')?.body ?? Buffer.alloc(0));
      expect(error).toMatchObject({ C: '57014', M: 'canceling statement due to user request', R: 'ProcessInterrupts' });
      expect(tookMs).toBeGreaterThanOrEqual(KILL_MS);
      expect(tookMs).toBeLessThan(1_000);
      expect(client.status).toBe('I');
      expect(await countActive(mark)).toBe(0);
      expect(killsOf(weir)).toEqual({ killed: before.killed + 1, raced: before.raced });
      const [decision] = weir.control.recorder.decisions.list(1);
      expect(decision).toMatchObject({ rule: 'timed', outcome: 'killed', rulesVersion: weir.control.rules.version });
      expect(await client.rows('SELECT 1')).toEqual([['1']]);
      await client.end();
    },
  );

  test('is not killed where the rule does not match, however long it runs', async () => {
    const client = await WireClient.login(weir);
    const before = killsOf(weir);
    expect(codesOf(await client.query(`SELECT pg_sleep(${(KILL_MS * 1.5) / 1000})`))).toEqual([]);
    expect(killsOf(weir)).toEqual(before);
    await client.end();
  });

  test.each(ROADS.slice(0, 3))(
    'is killed when it runs at the COMMIT, for a cursor WITH HOLD, sent as $name',
    async ({ run }) => {
      const client = await WireClient.login(weir);
      const declare = async (name: string, hold: string): Promise<void> => {
        const sql = `DECLARE ${name} CURSOR ${hold} FOR SELECT pg_sleep(0.2), 'timed' FROM generate_series(1, 4)`;
        expect(codesOf(await client.query(sql))).toEqual([]);
      };
      await client.query('BEGIN');
      await declare('gone', '');
      expect(codesOf(await client.query('COMMIT'))).toEqual([]);
      await client.query('BEGIN');
      await declare('stored', 'WITH HOLD');
      expect(codesOf(await run(client, 'COMMIT'))).toEqual(['57014']);
      expect(client.status).toBe('I');
      await client.end();
    },
  );

  test('is only counted where the rule observes', async () => {
    const observing = await startTestWeir({
      postgres,
      rules: RULES.replace('name: timed', 'name: timed\n      mode: observe'),
    });
    const client = await WireClient.login(observing);
    expect(codesOf(await client.query(`SELECT pg_sleep(${(KILL_MS + 50) / 1000}) /* timed */`))).toEqual([]);
    expect(codesOf(await client.query('SELECT 1 /* timed */'))).toEqual([]);
    const [rule] = observing.control.rules.active.rules;
    expect(rule?.counters).toMatchObject({ matched: 2, wouldKill: 1, killed: 0, killRaced: 0 });
    expect(observing.control.counters.cancelsFromRules).toBe(0);
    await client.end();
    await observing.stop();
  });

  test('fails its transaction as an error of PostgreSQL does, message by message', async () => {
    const steps = (late: string): Buffer[][] => [
      [frontend.query('BEGIN')],
      [frontend.query('SAVEPOINT s')],
      [frontend.query(late)],
      [frontend.query('SELECT 1')],
      [frontend.query('ROLLBACK TO s')],
      [frontend.query('SELECT 2')],
      [
        frontend.extendedQuery('SELECT 3'),
        frontend.extendedQuery(late),
        frontend.extendedQuery('SELECT 4'),
        frontend.sync(),
      ],
      [frontend.extendedQuery('SELECT 5'), frontend.sync()],
      [frontend.query('COMMIT')],
      [frontend.query('SELECT 6')],
    ];
    const transcript = async (address: { host: string; port: number }, late: string): Promise<string[]> => {
      const client = await WireClient.login(address);
      const lines: string[] = [];
      for (const step of steps(late)) {
        client.send(...step);
        lines.push(...transcribe(await client.readUntilReady()));
      }
      await client.end();
      return lines;
    };
    // The bare server ends the same statement with the same words by its own timer.
    const bare = await transcript(
      { host: postgres.host, port: postgres.primaryPort },
      `DO $$ BEGIN RAISE EXCEPTION 'canceling statement due to user request' USING ERRCODE = '57014'; END $$`,
    );
    const proxied = await transcript(weir, 'DO $$ BEGIN PERFORM pg_sleep(10); END $$ /* timed */');
    // Where an error was raised (context, W) is the statement's own.
    const withoutContext = (lines: string[]): string[] => lines.map((line) => line.replace(/ W=".*?"(?= |$)/, ''));
    expect(withoutContext(proxied)).toEqual(withoutContext(bare));
    expect(proxied.filter((line) => line.includes('57014'))).toHaveLength(2);
  });

  test('keeps what was pipelined behind it, in order', async () => {
    const client = await WireClient.login(weir);
    client.send(
      frontend.query('SELECT pg_sleep(10) /* timed */'),
      frontend.query("SELECT 'second'"),
      frontend.extendedQuery("SELECT 'third'"),
      frontend.sync(),
    );
    const messages = await client.readUntilReady(3);
    expect(codesOf(messages)).toEqual(['57014']);
    expect(transcribe(messages).filter((line) => line.startsWith('DataRow'))).toEqual([
      'DataRow ["second"]',
      'DataRow ["third"]',
    ]);
    await client.end();
  });

  test('is killed though its client has gone', async () => {
    for (const leave of ['end', 'reset'] as const) {
      const client = await WireClient.login(weir);
      const mark = `timed, left by ${leave}`;
      client.send(frontend.query(`SELECT pg_sleep(20) /* ${mark} */`));
      await waitFor(
        () => countActive(mark),
        5_000,
        () => 'the statement does not reach the server',
      );
      if (leave === 'end') client.destroy();
      else client.socket.resetAndDestroy();
      await waitFor(
        async () => (await countActive(mark)) === 0,
        3_000,
        () => `still running after ${leave}`,
      );
    }
  });
});

describe('server time, and no other, counts', () => {
  test('not the time in which the client owes COPY data', async () => {
    for (const isExtended of [false, true]) {
      const client = await WireClient.login(weir);
      const sql = 'COPY timed_copy FROM STDIN';
      client.send(...(isExtended ? [frontend.extendedQuery(sql), frontend.sync()] : [frontend.query(sql)]));
      await client.readUntil('G');
      for (let line = 0; line < 4; line++) {
        await new Promise((resolve) => setTimeout(resolve, KILL_MS / 2));
        client.send(frontend.copyData(Buffer.from(`${line}\n`)));
      }
      client.send(frontend.copyDone(), ...(isExtended ? [frontend.sync()] : []));
      const messages = await client.readUntilReady();
      expect(codesOf(messages)).toEqual([]);
      expect(transcribe(messages)).toContain('CommandComplete COPY 4');
      await client.end();
    }
  });

  test('but the time that the server takes for the data after its end', async () => {
    await postgres.query(`
      CREATE OR REPLACE FUNCTION linger() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(10); RETURN NULL; END';
      DROP TABLE IF EXISTS lingering; CREATE TABLE lingering (a int);
      CREATE TRIGGER linger AFTER INSERT ON lingering FOR EACH STATEMENT EXECUTE FUNCTION linger()`);
    const client = await WireClient.login(weir);
    client.send(frontend.query('COPY lingering FROM STDIN /* timed */'));
    await client.readUntil('G');
    client.send(frontend.copyData(Buffer.from('1\n')), frontend.copyDone(), frontend.query("SELECT 'next'"));
    const messages = await client.readUntilReady(2);
    expect(codesOf(messages)).toEqual(['57014']);
    expect(transcribe(messages)).toContain('DataRow ["next"]');
    await client.end();
  });

  test('not the time that a statement sent before it takes, whichever way they were pipelined', async () => {
    const client = await WireClient.login(weir);
    const slow = `SELECT pg_sleep(${(KILL_MS * 1.3) / 1000})`;
    const quick = "SELECT 'timed'";
    const before = killsOf(weir);
    const pipelines: Buffer[][] = [
      [frontend.query(slow), frontend.query(quick)],
      [frontend.extendedQuery(slow), frontend.sync(), frontend.extendedQuery(quick), frontend.sync()],
      [frontend.extendedQuery(slow), frontend.extendedQuery(quick), frontend.sync()],
      [frontend.extendedQuery(slow), frontend.sync(), frontend.query(quick)],
    ];
    for (const pipeline of pipelines) {
      client.send(...pipeline);
      const units = pipeline.filter((message) => 'QS'.includes(message.toString('latin1', 0, 1))).length;
      expect(transcribe(await client.readUntilReady(units))).toContain('DataRow ["timed"]');
    }
    expect(killsOf(weir)).toEqual(before);
    await client.end();
  });

  test('not the time in which a portal is suspended, but that of all its Executes together', async () => {
    const client = await WireClient.login(weir);
    // 60 ms a row: two rows are 120 ms, three Executes of two rows are over 300 ms.
    const slow = 'SELECT i, pg_sleep(0.06) AS timed FROM generate_series(1, 100) AS i';
    await client.query('BEGIN');
    client.send(frontend.parse(slow), frontend.bind({ portal: 'p' }), frontend.execute('p', 2), frontend.sync());
    expect(codesOf(await client.readUntilReady())).toEqual([]);
    await new Promise((resolve) => setTimeout(resolve, KILL_MS * 1.5));
    client.send(frontend.execute('p', 2), frontend.sync());
    expect(codesOf(await client.readUntilReady())).toEqual([]);
    await new Promise((resolve) => setTimeout(resolve, KILL_MS));
    client.send(frontend.execute('p', 10), frontend.sync());
    expect(codesOf(await client.readUntilReady())).toEqual(['57014']);
    expect(client.status).toBe('E');
    await client.query('ROLLBACK');
    await client.end();
  });
});

describe('a cancel that takes its time', () => {
  test('does not hit what follows a COPY that has begun since, and has failed by itself', async () => {
    const cancels = await startSlowCancels({ host: postgres.host, port: postgres.primaryPort }, 600);
    const slow = await startTestWeir({ postgres: cancels, rules: RULES });
    const [locker, client] = [await WireClient.login(slow), await WireClient.login(slow)];
    await locker.query('BEGIN; LOCK TABLE timed_copy');
    client.send(frontend.query('COPY timed_copy FROM STDIN /* timed */'));
    await waitFor(
      () => cancels.count() > 0,
      5_000,
      () => 'no cancel is sent',
    );
    await locker.query('COMMIT');
    await client.readUntil('G');
    client.send(frontend.copyData(Buffer.from('no number\n')));
    expect(codesOf(await client.readUntilReady())).toEqual(['22P02']);
    expect(codesOf(await client.query('SELECT pg_sleep(1)'))).toEqual([]);
    expect(killsOf(slow)).toEqual({ killed: 0, raced: 1 });
    await Promise.all([locker.end(), client.end()]);
    await slow.stop();
    await cancels.stop();
  });
});

test('a statement under a kill rule in place of COPY data breaks the protocol as it does without pgweir, and hangs nobody', async () => {
  const said: string[][] = [];
  for (const address of [{ host: postgres.host, port: postgres.primaryPort }, weir]) {
    const client = await WireClient.login(address);
    await client.query('CREATE TEMP TABLE taken (a int)');
    client.send(frontend.query('COPY taken FROM STDIN'), frontend.query("SELECT 'timed'"));
    said.push(codesOf(await client.readUntilEnd()));
  }
  expect(said[1]).toEqual(said[0]);
});

describe('a rule that observes', () => {
  test('counts as the clock of one that enforces does: not what a client owes a COPY, but all Executes of a portal', async () => {
    const observing = await startTestWeir({
      postgres,
      rules: RULES.replace('name: timed', 'name: timed\n      mode: observe'),
    });
    const [rule] = observing.control.rules.active.rules;
    const client = await WireClient.login(observing);
    client.send(frontend.query('COPY timed_copy FROM STDIN /* timed */'));
    await client.readUntil('G');
    await new Promise((resolve) => setTimeout(resolve, KILL_MS * 1.3));
    client.send(frontend.copyData(Buffer.from('1\n')), frontend.copyDone());
    expect(codesOf(await client.readUntilReady())).toEqual([]);
    expect(rule?.counters).toMatchObject({ matched: 1, wouldKill: 0 });
    await client.query('BEGIN');
    const rows = Array.from({ length: 6 }, () => frontend.execute('p', 1));
    const slow = 'SELECT i, pg_sleep(0.1) AS timed FROM generate_series(1, 10) AS i';
    client.send(frontend.parse(slow), frontend.bind({ portal: 'p' }), ...rows, frontend.sync());
    expect(codesOf(await client.readUntilReady())).toEqual([]);
    expect(rule?.counters).toMatchObject({ matched: 2, wouldKill: 1, killed: 0 });
    await client.end();
    await observing.stop();
  });

  test.each(['session', 'transaction'] as const)(
    'in mode %s what is pipelined is late by its own time alone',
    async (mode) => {
      const observing = await startTestWeir({
        postgres,
        rules: RULES.replace('name: timed', 'name: timed\n      mode: observe'),
        settings: { pool: { mode } },
      });
      const [rule] = observing.control.rules.active.rules;
      const client = await WireClient.login(observing);
      const sql = `SELECT pg_sleep(${(KILL_MS * 0.4) / 1_000}), 'timed'`;
      const unit = Buffer.concat([frontend.extendedQuery(sql), frontend.sync()]);
      client.send(...Array.from({ length: 5 }, () => frontend.query(sql)), ...Array.from({ length: 5 }, () => unit));
      await client.readUntilReady(10);
      expect(rule?.counters).toMatchObject({ matched: 10, wouldKill: 0 });
      client.send(frontend.query(sql), frontend.query(sql.replace('0.', '1.')), frontend.query(sql));
      await client.readUntilReady(3);
      expect(rule?.counters).toMatchObject({ matched: 13, wouldKill: 1 });
      await client.end();
      await observing.stop();
    },
  );

  test('counts a message of several statements once, under the fingerprint that one that enforces counts', async () => {
    const late = `SELECT pg_sleep(${(KILL_MS * 3) / 1_000})`;
    const counted: unknown[] = [];
    for (const mode of ['observe', 'enforce']) {
      const timing = await startTestWeir({
        postgres,
        rules: `traffic_control:\n  rules: [{ name: all, mode: ${mode}, action: kill_after_ms, timeout_ms: ${KILL_MS} }]\n`,
      });
      const client = await WireClient.login(timing);
      await client.query(`SELECT 'first'; ${late}; SELECT 'last' AS last`);
      await client.query(`PREPARE p AS ${late}`);
      await client.query('EXECUTE p');
      await client.query('BEGIN');
      await client.query(`DECLARE c CURSOR FOR ${late}`);
      await client.query('FETCH c');
      await client.end();
      const answer = await fetch(`${timing.adminUrl}/observations?format=json`);
      const { rows } = (await answer.json()) as {
        rows: { fingerprint: string; killed: number; would_kill: number }[];
      };
      counted.push(Object.fromEntries(rows.map((row) => [row.fingerprint, row.killed + row.would_kill])));
      expect(timing.control.rules.active.rules[0]?.counters[mode === 'observe' ? 'wouldKill' : 'killed']).toBe(3);
      await timing.stop();
    }
    expect(counted[0]).toEqual(counted[1]);
  });

  test.each<[string, (client: WireClient) => unknown]>([
    ['its client is reset', (client) => client.socket.resetAndDestroy()],
    ['its server process ends', (client) => postgres.query(`SELECT pg_terminate_backend(${client.processId})`)],
  ])('counts a statement that is late already when %s', async (_who, end) => {
    const timeoutMs = 1_500;
    const observing = await startTestWeir({
      postgres,
      rules: RULES.replace('name: timed', 'name: timed\n      mode: observe').replace(`${KILL_MS}`, `${timeoutMs}`),
    });
    const [rule] = observing.control.rules.active.rules;
    for (const [waitMs, wouldKill] of [
      [timeoutMs * 0.1, 0],
      [timeoutMs * 1.2, 1],
    ] as const) {
      const client = await WireClient.login(observing);
      client.send(frontend.query("SELECT pg_sleep(5), 'timed'"), frontend.query("SELECT 'timed'"));
      await waitFor(
        () => countActive("'timed'"),
        5_000,
        () => 'the statement does not reach the server',
      );
      await new Promise((resolve) => setTimeout(resolve, waitMs));
      await end(client);
      await client.readUntilEnd().catch(() => []);
      await waitFor(
        () => observing.control.sessions().length === 0,
        5_000,
        () => 'the session does not end',
      );
      expect(rule?.counters).toMatchObject({ wouldKill, killed: 0 });
      client.destroy();
      await postgres.query(`SELECT pg_terminate_backend(${client.processId})`);
    }
    expect(rule?.counters.matched).toBe(4);
    await observing.stop();
  });
});

describe('near the deadline', () => {
  test('only statements that were due are killed, no connection is lost, and the counters add up', async () => {
    const near = await startTestWeir({
      postgres,
      rules: NEAR_DEADLINE_RULES,
      settings: { observations: { maxDecisions: 10_000 } },
    });
    const tally = await runNearDeadline(near, { clients: 8, timedEach: 40, seed: 20_260_801 });
    expect(tally.wrong).toEqual([]);
    expect(tally.timed).toBeGreaterThanOrEqual(320);
    const { killed, raced } = killsOf(near);
    expect(killed).toBe(tally.killed);
    expect(killed + raced).toBe(near.control.counters.cancelsFromRules);
    expect(near.control.recorder.decisions.count).toBe(killed + raced);
    expect(killed).toBeGreaterThan(0);
    expect(killed).toBeLessThan(tally.timed);
    expect(near.control.counters.cancelsFailed).toBe(0);
    await near.stop();
  });
});

describe("a client's own CancelRequest", () => {
  test('ends the statement of its session and of no other', async () => {
    const victim = await WireClient.login(weir);
    const bystander = await WireClient.login(weir);
    victim.send(frontend.query("SELECT pg_sleep(10), 'victim'"));
    bystander.send(frontend.query("SELECT pg_sleep(0.3), 'bystander'"));
    await waitFor(
      () => countActive("'victim'"),
      5_000,
      () => 'the statement does not reach the server',
    );
    await sendCancel(weir, victim.processId, victim.secretKey);
    expect(codesOf(await victim.readUntilReady())).toEqual(['57014']);
    expect(codesOf(await bystander.readUntilReady())).toEqual([]);
    expect(await victim.rows('SELECT 1')).toEqual([['1']]);
    await victim.end();
    await bystander.end();
  });

  test('goes to the standby while the statement runs there', async () => {
    const routing = await startTestWeir({
      postgres,
      rules: 'traffic_control: { rules: [{ name: reads, match: { query_class: read }, action: route_replica }] }',
    });
    const client = await WireClient.login(routing);
    client.send(frontend.query('SELECT pg_is_in_recovery(), pg_sleep(10)'));
    await waitFor(
      () => routing.control.sessions().some(({ state }) => state !== 'idle'),
      5_000,
      () => 'the session does not get busy',
    );
    await new Promise((resolve) => setTimeout(resolve, 200));
    await sendCancel(routing, client.processId, client.secretKey);
    expect(codesOf(await client.readUntilReady())).toEqual(['57014']);
    expect(await client.rows('SELECT pg_is_in_recovery()')).toEqual([['t']]);
    await client.end();
    await routing.stop();
  });

  test('does nothing with a key that is unknown or of a session that has ended, and is answered by a close alone', async () => {
    const gone = await WireClient.login(weir);
    const client = await WireClient.login(weir);
    await gone.end();
    client.send(frontend.query("SELECT pg_sleep(0.3), 'untouched'"));
    const wrongKey = Buffer.from(client.secretKey);
    wrongKey[0] = (wrongKey[0] ?? 0) ^ 1;
    await sendCancel(weir, client.processId, wrongKey);
    await sendCancel(weir, client.processId + 1, client.secretKey);
    await sendCancel(weir, gone.processId, gone.secretKey);
    expect(codesOf(await client.readUntilReady())).toEqual([]);
    await client.end();
  });

  test('for an idle session does nothing to its next statement', async () => {
    const client = await WireClient.login(weir);
    for (let round = 0; round < 20; round++) {
      await sendCancel(weir, client.processId, client.secretKey);
      expect(await client.rows('SELECT pg_sleep(0.005), 1')).toEqual([['', '1']]);
    }
    await client.end();
  });
});
