// rate_limit and max_concurrent through real sockets: how much passes, who waits, what a refused client is told, and that
// every place is given back however its statement ended.

import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { waitFor } from '../support/deadline.ts';
import * as frontend from '../support/frontend-messages.ts';
import { sharedPostgres } from '../support/shared-postgres.ts';
import { type BackendMessage, readFields, readRow } from '../support/transcript.ts';
import { startTestWeir, type TestWeir } from '../support/weir.ts';
import { sendCancel, WireClient } from '../support/wire-client.ts';
import { hammer, sendInStep } from './pace.ts';

const RATE = 200;
const BURST = 100;
const RULES = `
traffic_control:
  rules:
    - { name: enforced, match: { application_name: enforced }, action: rate_limit, rate_per_sec: ${RATE}, burst: ${BURST} }
    - name: observed
      mode: observe
      match: { application_name: observed }
      action: rate_limit
      rate_per_sec: ${RATE}
      burst: ${BURST}
    - { name: patient, match: { application_name: patient }, action: rate_limit, rate_per_sec: 20, burst: 1, wait_ms: 5000 }
    - { name: patient_too, match: { query_regex: patient_too }, action: rate_limit, rate_per_sec: 1, burst: 1, wait_ms: 5000 }
    - { name: strict, match: { application_name: strict }, action: rate_limit, rate_per_sec: 5, burst: 1 }
    - name: keyed
      match: { application_name: 'keyed*' }
      action: rate_limit
      rate_per_sec: 0.01
      burst: 2
      per: [application_name, user, 'tag:tenant']
    - { name: named, match: { application_name: named }, action: rate_limit, rate_per_sec: 0.01, burst: 3 }
    - { name: slow_lane, match: { application_name: slow_lane }, action: rate_limit, rate_per_sec: 0.01, burst: 1, wait_ms: 200000 }
    - { name: places, match: { application_name: places }, action: max_concurrent, limit: 3, wait_ms: 20000 }
    - { name: places_watched, match: { application_name: places }, mode: observe, action: max_concurrent, limit: 1 }
    - { name: single, match: { application_name: single }, action: max_concurrent, limit: 1, message: "one at a time" }
    - { name: left, match: { query_regex: left_place }, action: max_concurrent, limit: 1, wait_ms: 20000 }
    - { name: right, match: { query_regex: right_place }, action: max_concurrent, limit: 1, wait_ms: 20000 }
    - { name: single_watched, match: { application_name: single }, mode: observe, action: max_concurrent, limit: 1 }
    - { name: resumed, match: { query_regex: resumed_place }, action: max_concurrent, limit: 1 }
    - { name: resumed_rate, match: { query_regex: resumed_place }, action: rate_limit, rate_per_sec: 0.01, burst: 2 }
    - { name: resumed_watched, match: { query_regex: resumed_place }, mode: observe, action: rate_limit, rate_per_sec: 0.01, burst: 2 }
    - { name: single_rate, match: { application_name: single, query_regex: rated }, action: rate_limit, rate_per_sec: 0.01, burst: 1 }
    - { name: single_kill, match: { application_name: single, query_regex: killed }, action: kill_after_ms, timeout_ms: 50 }
    - { name: single_deny, match: { application_name: single, query_regex: denied }, action: deny, priority: -1 }
`;

const postgres = sharedPostgres();
let weir: TestWeir;

beforeAll(async () => {
  weir = await startTestWeir({ postgres, rules: RULES });
});
afterAll(() => weir.stop());

const login = (applicationName: string, user = 'weir'): Promise<WireClient> =>
  WireClient.login(weir, { user, parameters: { application_name: applicationName } });

const errorOf = (messages: readonly BackendMessage[]): Record<string, string> =>
  readFields(messages.find(({ type }) => type === 'E')?.body ?? Buffer.alloc(0));
const codeOf = (messages: readonly BackendMessage[]): string => errorOf(messages).C ?? 'ok';

const countersOf = (name: string) => {
  const rule = weir.control.rules.active.rules.find((candidate) => candidate.name === name);
  if (rule === undefined) throw new Error(`no rule ${name}`);
  return rule.counters;
};

async function countOnServer(mark: string): Promise<number> {
  const { rows } = await postgres.query(
    `SELECT count(*)::int AS n FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%' || $1 || '%' AND pid <> pg_backend_pid()`,
    [mark],
  );
  return Number(rows[0]?.n);
}

async function untilOnServer(mark: string): Promise<void> {
  await waitFor(
    async () => (await countOnServer(mark)) > 0,
    5_000,
    () => 'it does not reach the server',
  );
}

describe('rate_limit', () => {
  test('lets through its rate and its burst, against clients that are faster', async () => {
    const tally = await hammer(weir, { applicationName: 'enforced', clients: 4, durationMs: 2_000 });
    expect(tally.other).toEqual([]);
    expect(tally.passed).toBeLessThanOrEqual(BURST + (RATE * tally.elapsedMs) / 1000 + 1);
    const expected = (RATE * tally.empty.elapsedMs) / 1000;
    expect(expected).toBeGreaterThan(RATE);
    expect(Math.abs(tally.empty.passed - expected) / expected).toBeLessThan(0.05);
    expect(countersOf('enforced')).toMatchObject({ matched: tally.passed + tally.refused, refused: tally.refused });
  });

  test('in observe mode reports what enforcement refuses of the same traffic, and refuses nothing', async () => {
    const before = { refused: countersOf('enforced').refused, would: countersOf('observed').wouldRefuse };
    await sleep((BURST / RATE) * 1_000);
    const [enforced, observed] = await sendInStep(weir, ['enforced', 'observed'], {
      tickMs: 10,
      perTick: 5,
      durationMs: 2_000,
    });
    const refused = countersOf('enforced').refused - before.refused;
    const would = countersOf('observed').wouldRefuse - before.would;
    expect(enforced?.refused).toBe(refused);
    expect(observed).toMatchObject({ passed: 1_000, refused: 0, other: [] });
    expect(refused).toBeGreaterThan(300);
    expect(Math.abs(would - refused) / refused).toBeLessThan(0.02);
  });

  test('with wait_ms makes statements wait and lets them pass at its rate', async () => {
    const clients = await Promise.all(Array.from({ length: 5 }, () => login('patient')));
    const startedAtMs = performance.now();
    const codes = await Promise.all(clients.map(async (client) => codeOf(await client.query('SELECT 1'))));
    const tookMs = performance.now() - startedAtMs;
    expect(codes).toEqual(Array(5).fill('ok'));
    expect(tookMs).toBeGreaterThanOrEqual((4 / 20) * 1_000 - 5);
    expect(countersOf('patient')).toMatchObject({ matched: 5, waited: 4, refused: 0 });
    await Promise.all(clients.map((client) => client.end()));
  });

  test('keeps the order of what is pipelined behind a statement that waits', async () => {
    const client = await login('patient');
    client.send(...['a', 'b', 'c'].map((value) => frontend.query(`SELECT '${value}'`)));
    const messages = await client.readUntilReady(3);
    const values = messages.filter(({ type }) => type === 'D').map(({ body }) => body.toString('latin1').slice(-1));
    expect(values).toEqual(['a', 'b', 'c']);
    await client.end();
  });

  test('refuses with 53400 and says when a retry passes; it passes then, and not before', async () => {
    const client = await login('strict');
    expect(codeOf(await client.query('SELECT 1'))).toBe('ok');
    const error = errorOf(await client.query('SELECT 1'));
    expect(error).toMatchObject({ S: 'ERROR', C: '53400' });
    const detail = JSON.parse(error.D ?? '{}');
    expect(detail).toMatchObject({ rule: 'strict' });
    expect(detail.retry_after_ms).toBeGreaterThan(0);
    expect(detail.retry_after_ms).toBeLessThanOrEqual(200);
    expect(error.H).toContain(`${detail.retry_after_ms} ms`);
    expect(weir.control.recorder.decisions.find(detail.decision_id)).toMatchObject({
      rule: 'strict',
      outcome: 'limited',
    });
    await sleep(detail.retry_after_ms + 2);
    expect(codeOf(await client.query('SELECT 1'))).toBe('ok');
    await client.end();
  });

  test('refuses inside a transaction as an error does', async () => {
    const client = await login('enforced');
    await sleep((BURST / RATE) * 1_000);
    await client.query('BEGIN');
    let codes: string[] = [];
    client.send(...Array.from({ length: 2 * BURST }, () => frontend.query('SELECT 1')));
    codes = (await client.readUntilReady(2 * BURST))
      .filter(({ type }) => type === 'E')
      .map(({ body }) => readFields(body).C ?? '');
    expect(codes[0]).toBe('53400');
    expect(new Set(codes)).toEqual(new Set(['53400', '25P02']));
    expect(client.status).toBe('E');
    await client.end();
  });

  test('counts each key by itself', async () => {
    const passed = async (application: string, user: string, sql: string): Promise<number> => {
      const client = await login(application, user);
      let count = 0;
      for (let attempt = 0; attempt < 4; attempt++) if (codeOf(await client.query(sql)) === 'ok') count++;
      await client.end();
      return count;
    };
    expect(await passed('keyed a', 'weir', 'SELECT 1')).toBe(2);
    expect(await passed('keyed b', 'weir', 'SELECT 1')).toBe(2);
    expect(await passed('keyed a', 'app', 'SELECT 1')).toBe(2);
    expect(await passed('keyed a', 'weir', "SELECT 1 /*tenant='one'*/")).toBe(2);
    expect(await passed('keyed a', 'weir', "SELECT 2 /*tenant='one'*/")).toBe(0);
    expect(await passed('keyed a', 'weir', 'SELECT 3')).toBe(0);
  });

  test('counts each key by itself, whichever statement of the message has the tag', async () => {
    const client = await login('keyed-parts');
    const send = async (sql: string): Promise<string> => codeOf(await client.query(sql));
    expect(await send("SELECT 1 /*tenant='x'*/; SELECT 2")).toBe('ok');
    expect(await send("SELECT 1 /*tenant='x'*/")).toBe('53400');
    expect(await send("SELECT 1; SELECT 2 /*tenant='y'*/")).toBe('ok');
    expect(await send("SELECT 1 /*tenant='y'*/")).toBe('53400');
    client.send(frontend.parse("SELECT 1 /*tenant='z'*/", 'tagged'), frontend.sync());
    await client.readUntilReady();
    expect([await send('EXECUTE tagged'), await send('EXECUTE tagged')]).toEqual(['ok', 'ok']);
    expect(await send("SELECT 1 /*tenant='z'*/")).toBe('53400');
    await client.end();
  });

  test('counts EXECUTE and what it executes as one statement, and so PREPARE', async () => {
    const client = await login('named');
    const answers: string[] = [];
    for (const sql of ['PREPARE counted AS SELECT 1', 'EXECUTE counted', 'SELECT 1', 'EXECUTE counted'])
      answers.push(codeOf(await client.query(sql)));
    expect(answers).toEqual(['ok', 'ok', 'ok', '53400']);
    await client.end();
  });

  test("a client's CancelRequest ends the wait with 57014, and the session goes on", async () => {
    const client = await login('slow_lane');
    expect(codeOf(await client.query('SELECT 1'))).toBe('ok');
    client.send(frontend.query('SELECT 2'));
    await waitFor(
      () => weir.control.sessions().some(({ state }) => state === 'waiting'),
      5_000,
      () => 'the session does not wait',
    );
    await sendCancel(weir, client.processId, client.secretKey);
    expect(codeOf(await client.readUntilReady())).toBe('57014');
    expect(client.status).toBe('I');
    client.destroy();
  });

  describe('takes no token for a statement that never runs, as', () => {
    const WAYS: readonly [string, (client: WireClient, scarce: TestWeir) => Promise<string>][] = [
      [
        'one that waits for a server connection too long',
        async (client) => codeOf(await client.query("SELECT 'scarce'")),
      ],
      [
        'one that is cancelled meanwhile',
        async (client, scarce) => {
          client.send(frontend.query("SELECT 'scarce'"));
          await untilOneWaits(scarce);
          await sendCancel(scarce, client.processId, client.secretKey);
          return codeOf(await client.readUntilReady());
        },
      ],
      [
        'one whose client leaves meanwhile',
        async (client, scarce) => {
          client.send(frontend.query("SELECT 'scarce'"));
          await untilOneWaits(scarce);
          await client.end();
          return 'left';
        },
      ],
    ];
    const untilOneWaits = (scarce: TestWeir): Promise<unknown> =>
      waitFor(
        () => scarce.control.sessions().some(({ holds }) => holds.includes('waiting')),
        5_000,
        () => 'nobody waits for a server connection',
      );

    test.each(WAYS)('%s, enforced or observed', async (_what, end) => {
      const scarce = await startTestWeir({
        postgres,
        rules: `
traffic_control:
  rules:
    - { name: one, match: { query_regex: scarce }, action: rate_limit, rate_per_sec: 0.01, burst: 1 }
    - { name: watched, mode: observe, match: { query_regex: scarce }, action: rate_limit, rate_per_sec: 0.01, burst: 1 }
`,
        settings: { pool: { mode: 'transaction', size: 1, queryWaitMs: 500 } },
      });
      const [holder, client, next] = await Promise.all(Array.from({ length: 3 }, () => WireClient.login(scarce)));
      if (holder === undefined || client === undefined || next === undefined)
        throw new Error('three clients are needed');
      await holder.query('BEGIN');
      expect(await end(client, scarce)).toMatch(/^(53300|57014|left)$/);
      await holder.query('COMMIT');
      expect(codeOf(await next.query("SELECT 'scarce'"))).toBe('ok');
      expect(codeOf(await next.query("SELECT 'scarce'"))).toBe('53400');
      const [one, watched] = scarce.control.rules.active.rules;
      expect([one?.counters.refused, watched?.counters.wouldRefuse]).toEqual([1, 0]);
      for (const one of [holder, client, next]) one.destroy();
      await scarce.stop();
    });

    test('one that waits for its token while a statement before it fails', async () => {
      const client = await login('patient_too');
      expect(codeOf(await client.query("SELECT 'patient_too'"))).toBe('ok');
      const failing = 'SELECT 1 / (SELECT 0 FROM pg_sleep(0.1))';
      client.send(frontend.extendedQuery(failing), frontend.extendedQuery("SELECT 'patient_too'"), frontend.sync());
      expect(codeOf(await client.readUntilReady())).toBe('22012');
      const startedAtMs = performance.now();
      expect(codeOf(await client.query("SELECT 'patient_too'"))).toBe('ok');
      expect(performance.now() - startedAtMs).toBeLessThan(500);
      await client.end();
    });
  });
});

describe('max_concurrent', () => {
  test('is never exceeded on the server, and all who wait pass in the end', async () => {
    const clients = await Promise.all(Array.from({ length: 10 }, () => login('places')));
    const seen: number[] = [];
    // Each holds a lock from its start to its commit, and counts those who hold it.
    const sql = `SELECT pg_advisory_xact_lock_shared(6432), pg_sleep(0.02),
      (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 6432)`;
    await Promise.all(
      clients.map(async (client, index) => {
        for (let round = 0; round < 6; round++) {
          const isExtended = (index + round) % 2 === 0;
          client.send(...(isExtended ? [frontend.extendedQuery(sql), frontend.sync()] : [frontend.query(sql)]));
          const messages = await client.readUntilReady();
          expect(codeOf(messages)).toBe('ok');
          const row = messages.find(({ type }) => type === 'D');
          seen.push(Number(row === undefined ? NaN : readRow(row.body)[2]));
        }
      }),
    );
    expect(seen).toHaveLength(60);
    expect(Math.max(...seen)).toBe(3);
    expect(countersOf('places')).toMatchObject({ matched: 60, refused: 0 });
    expect(countersOf('places').waited).toBeGreaterThan(0);
    await Promise.all(clients.map((client) => client.end()));
  });

  test('refuses with 53400 where the place is taken and nobody may wait', async () => {
    const [holder, other] = [await login('single'), await login('single')];
    holder.send(frontend.query("SELECT pg_sleep(0.3), 'holding'"));
    await waitFor(
      () => countOnServer("'holding'"),
      5_000,
      () => 'the statement does not reach the server',
    );
    const error = errorOf(await other.query('SELECT 1'));
    expect(error).toMatchObject({ C: '53400', M: 'one at a time' });
    expect(JSON.parse(error.D ?? '{}')).toMatchObject({ rule: 'single' });
    expect(codeOf(await holder.readUntilReady())).toBe('ok');
    expect(codeOf(await other.query('SELECT 1'))).toBe('ok');
    await Promise.all([holder.end(), other.end()]);
  });

  test('is not reached by what one session has pipelined, enforced or observed: that runs one after the other', async () => {
    const client = await login('single');
    const before = { refused: countersOf('single').refused, would: countersOf('single_watched').wouldRefuse };
    const extended = ['SELECT 1', 'SELECT 2'].map((sql) => frontend.extendedQuery(sql));
    client.send(...extended, frontend.sync(), frontend.query('SELECT 3'), frontend.query('SELECT 4'));
    expect(codeOf(await client.readUntilReady(3))).toBe('ok');
    expect(countersOf('single').refused).toBe(before.refused);
    expect(countersOf('single_watched').wouldRefuse).toBe(before.would);
    await client.end();
  });

  test('is not waited for by two sessions that each hold, in a pipeline without a Sync yet, what the other waits for', async () => {
    const [one, other] = [await login('left'), await login('right')];
    const [left, right] = ['left', 'right'].map((side) =>
      frontend.extendedQuery(`SELECT pg_sleep(0.1), '${side}_place'`),
    );
    if (left === undefined || right === undefined) throw new Error('two statements are missing');
    one.send(left);
    other.send(right);
    await Promise.all([untilOnServer('left_place'), untilOnServer('right_place')]);
    one.send(right, frontend.sync());
    other.send(left, frontend.sync());
    expect([codeOf(await one.readUntilReady()), codeOf(await other.readUntilReady())]).toEqual(['ok', 'ok']);
    expect(countersOf('left').waited + countersOf('right').waited).toBeGreaterThan(0);
    await Promise.all([one.end(), other.end()]);
  });

  test('is asked again when a suspended portal goes on, but takes no token twice', async () => {
    const [one, other] = [await login('resumed'), await login('resumed')];
    const open = async (client: WireClient): Promise<void> => {
      client.send(
        frontend.query('BEGIN'),
        frontend.parse("SELECT i, pg_sleep(0.1), 'resumed_place' FROM generate_series(1, 5) AS i"),
        frontend.bind({ portal: 'p' }),
        frontend.execute('p', 1),
        frontend.sync(),
      );
      expect(codeOf(await client.readUntilReady(2))).toBe('ok');
    };
    await open(one);
    await open(other);
    one.send(frontend.execute('p', 4), frontend.sync());
    await untilOnServer('resumed_place');
    other.send(frontend.execute('p', 4), frontend.sync());
    expect(errorOf(await other.readUntilReady())).toMatchObject({ C: '53400' });
    expect(codeOf(await one.readUntilReady())).toBe('ok');
    one.send(frontend.execute('p', 1), frontend.sync());
    expect(codeOf(await one.readUntilReady())).toBe('ok');
    expect(countersOf('resumed')).toMatchObject({ refused: 1 });
    expect(countersOf('resumed_rate')).toMatchObject({ matched: 2, refused: 0 });
    expect(countersOf('resumed_watched')).toMatchObject({ matched: 2, wouldRefuse: 0 });
    await Promise.all([one.end(), other.end()]);
  });

  test('is not held by who waits for a shared server connection, which the transaction has that waits for the place', async () => {
    const crowded = await startTestWeir({
      postgres,
      rules: RULES.replaceAll('wait_ms: 20000', 'wait_ms: 5000'),
      settings: { pool: { mode: 'transaction', size: 1 } },
    });
    const enter = (): Promise<WireClient> => WireClient.login(crowded, { parameters: { application_name: 'crowded' } });
    const [inside, outside, third] = await Promise.all([enter(), enter(), enter()]);
    const sql = "SELECT 'left_place'";
    for (const isExtended of [false, true]) {
      await inside.query('BEGIN');
      outside.send(frontend.query(sql));
      third.send(frontend.query(sql));
      await waitFor(
        () => crowded.control.sessions().filter(({ holds }) => holds.includes('waiting')).length === 2,
        5_000,
        () => 'they do not wait for the server connection',
      );
      const startedAtMs = performance.now();
      inside.send(...(isExtended ? [frontend.extendedQuery(sql), frontend.sync()] : [frontend.query(sql)]));
      expect(codeOf(await inside.readUntilReady())).toBe('ok');
      expect(performance.now() - startedAtMs).toBeLessThan(1_000);
      await inside.query('COMMIT');
      expect([codeOf(await outside.readUntilReady()), codeOf(await third.readUntilReady())]).toEqual(['ok', 'ok']);
    }
    const [rule] = crowded.control.rules.active.rules.filter(({ name }) => name === 'left');
    expect(rule?.counters).toMatchObject({ matched: 6, refused: 0 });
    // The place is free, and no server connection is held.
    expect(codeOf(await third.query(sql))).toBe('ok');
    await Promise.all([inside.end(), outside.end(), third.end()]);
    await crowded.stop();
  });

  test('counts a statement once that is asked again when it has waited for a shared server connection', async () => {
    const crowded = await startTestWeir({
      postgres,
      rules: RULES,
      settings: { pool: { mode: 'transaction', size: 2 } },
    });
    const [first, stranger, second] = await Promise.all(
      ['places', 'stranger', 'places'].map((name) =>
        WireClient.login(crowded, { parameters: { application_name: name } }),
      ),
    );
    if (first === undefined || stranger === undefined || second === undefined) throw new Error('a client is missing');
    first.send(frontend.query("SELECT pg_sleep(1), 'counted_once'"));
    stranger.send(frontend.query("SELECT pg_sleep(0.5), 'counted_once'"));
    await waitFor(
      async () => (await countOnServer('counted_once')) === 2,
      5_000,
      () => 'they do not reach the servers',
    );
    expect(codeOf(await second.query('SELECT 1'))).toBe('ok');
    const [rule] = crowded.control.rules.active.rules.filter(({ name }) => name === 'places_watched');
    expect(rule?.counters).toMatchObject({ matched: 2, wouldRefuse: 1 });
    await crowded.stop();
  });

  test.each(['enforce', 'observe'])(
    'in mode %s counts none of those who wait for a shared server connection',
    async (mode) => {
      const few = await startTestWeir({
        postgres,
        rules: `traffic_control: { rules: [{ name: two, mode: ${mode}, action: max_concurrent, limit: 2 }] }`,
        settings: { pool: { mode: 'transaction', size: 1 } },
      });
      const clients = await Promise.all(Array.from({ length: 6 }, () => WireClient.login(few)));
      const answers = await Promise.all(clients.map((client) => client.query('SELECT pg_sleep(0.05)')));
      expect(answers.map(codeOf)).toEqual(clients.map(() => 'ok'));
      expect(few.control.rules.active.rules[0]?.counters).toMatchObject({ matched: 6, refused: 0, wouldRefuse: 0 });
      await Promise.all(clients.map((client) => client.end()));
      await few.stop();
    },
  );

  /** How a statement that has the only place may end; afterwards the next one must pass at once. */
  const ENDINGS: readonly { readonly name: string; end(client: WireClient): Promise<unknown> }[] = [
    { name: 'is answered', end: (client) => client.query('SELECT 1') },
    { name: 'fails', end: (client) => client.query('SELECT 1/0') },
    {
      name: 'fails in a pipeline of which the rest is skipped',
      end: (client) => {
        client.send(frontend.extendedQuery('SELECT 1/0'), frontend.extendedQuery('SELECT 1'), frontend.sync());
        return client.readUntilReady();
      },
    },
    {
      name: 'is skipped behind an error that its client had seen',
      end: async (client) => {
        client.send(frontend.parse('SELECT no_such_column'), frontend.flush());
        await client.readUntil('E');
        client.send(frontend.extendedQuery('SELECT 1'), frontend.sync());
        return client.readUntilReady();
      },
    },
    { name: 'is refused by a rule that denies', end: (client) => client.query('SELECT 1 /* denied */') },
    {
      name: 'is refused by another limit',
      end: async (client) => {
        await client.query('SELECT 1 /* rated */');
        return client.query('SELECT 1 /* rated */');
      },
    },
    { name: 'is killed by a rule', end: (client) => client.query('SELECT pg_sleep(10) /* killed */') },
    {
      name: 'is cancelled by its client',
      end: async (client) => {
        client.send(frontend.query("SELECT pg_sleep(10), 'to cancel'"));
        await untilOnServer("'to cancel'");
        await sendCancel(weir, client.processId, client.secretKey);
        return client.readUntilReady();
      },
    },
    {
      name: 'loses its client, who closes',
      end: async (client) => {
        client.send(frontend.query("SELECT pg_sleep(0.4), 'left'"));
        await untilOnServer("'left'");
        client.destroy();
      },
    },
    {
      name: 'loses its client by a reset',
      end: async (client) => {
        client.send(frontend.query("SELECT pg_sleep(0.4), 'left'"));
        await untilOnServer("'left'");
        client.socket.resetAndDestroy();
      },
    },
    {
      name: 'loses its session by an administrator',
      end: async (client) => {
        client.send(frontend.query("SELECT pg_sleep(10), 'to end'"));
        await untilOnServer("'to end'");
        const session = weir.control.sessions().find(({ serverPid }) => serverPid === client.processId);
        weir.control.terminateSession(session?.id ?? 0);
        await client.readUntilEnd();
      },
    },
    {
      name: 'runs a portal that is suspended and closed',
      end: async (client) => {
        await client.query('BEGIN');
        client.send(
          frontend.parse('SELECT generate_series(1, 10)'),
          frontend.bind({ portal: 'p' }),
          frontend.execute('p', 2),
          frontend.closePortal('p'),
          frontend.sync(),
        );
        await client.readUntilReady();
        return client.query('COMMIT');
      },
    },
    {
      name: 'is a COPY that its client fails',
      end: async (client) => {
        client.send(frontend.query('COPY pg_temp.nothing FROM STDIN'));
        await client.readUntilReady();
        await client.query('CREATE TEMP TABLE nothing (a int)');
        client.send(frontend.query('COPY nothing FROM STDIN'));
        await client.readUntil('G');
        client.send(frontend.copyFail('no'));
        return client.readUntilReady();
      },
    },
  ];

  test.each(ENDINGS)('gives the place back when a statement $name', async ({ end, name }) => {
    const [first, next] = [await login('single'), await login('single')];
    await end(first);
    if (/client|administrator/.test(name)) {
      // The place stays taken as long as the server works for whoever has gone, and not longer.
      const isFree = async (): Promise<boolean> => codeOf(await next.query("SELECT 'next'")) === 'ok';
      const isLeft = /loses its client/.test(name);
      if (isLeft) expect(await isFree()).toBe(false);
      await waitFor(isFree, 5_000, () => 'the place is not given back');
      if (isLeft) expect(await countOnServer("'left'")).toBe(0);
    }
    expect(codeOf(await next.query("SELECT 'next'"))).toBe('ok');
    first.destroy();
    await next.end();
  });

  test.each<[string, (client: WireClient) => unknown]>([
    ['closes', (client) => client.destroy()],
    ['says goodbye', (client) => client.socket.end(frontend.terminate())],
    ['is reset', (client) => client.socket.resetAndDestroy()],
  ])('who %s while it waits leaves the line at once, and what it sent does not run', async (_how, leave) => {
    const [holder, leaver] = [await login('left'), await login('left')];
    holder.send(frontend.query("SELECT pg_sleep(5), 'left_place'"));
    await untilOnServer('left_place');
    leaver.send(frontend.query("SELECT 'left_place'"), frontend.query('SELECT 1'));
    const isWaiting = (): boolean => weir.control.sessions().some(({ state }) => state === 'waiting');
    await waitFor(isWaiting, 5_000, () => 'the session does not wait');
    leave(leaver);
    await waitFor(
      () => !isWaiting(),
      1_000,
      () => 'the session of the client that left waits on',
    );
    expect(weir.control.sessions().some(({ serverPid }) => serverPid === leaver.processId)).toBe(false);
    await sendCancel(weir, holder.processId, holder.secretKey);
    await holder.readUntilReady();
    await holder.end();
  });

  test('a client that vanishes while it waits leaves the line', async () => {
    const holder = await login('places');
    const blockers = await Promise.all([login('places'), login('places')]);
    const leaver = await login('places');
    const follower = await login('places');
    const hold = (client: WireClient, seconds: number): void =>
      client.send(frontend.query(`SELECT pg_sleep(${seconds}), 'held'`));
    for (const client of [holder, ...blockers]) hold(client, 0.4);
    await waitFor(
      async () => (await countOnServer("'held'")) === 3,
      5_000,
      () => 'the places are not taken',
    );
    leaver.send(frontend.query("SELECT 'must not run'"));
    await waitFor(
      () => weir.control.sessions().some(({ state }) => state === 'waiting'),
      5_000,
      () => 'the session does not wait',
    );
    leaver.destroy();
    expect(codeOf(await follower.query('SELECT 1'))).toBe('ok');
    for (const client of [holder, ...blockers]) expect(codeOf(await client.readUntilReady())).toBe('ok');
    await waitFor(
      () => !weir.control.sessions().some(({ serverPid }) => serverPid === leaver.processId),
      5_000,
      () => 'the session of the client that left is still there',
    );
    await Promise.all([holder, ...blockers, follower].map((client) => client.end()));
  });
});
