// Rules swapped under load: nothing fails, nothing runs under rules that were not in force, and a bad document changes
// nothing.

import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { waitFor } from '../support/deadline.ts';
import * as frontend from '../support/frontend-messages.ts';
import { sharedPostgres } from '../support/shared-postgres.ts';
import { type BackendMessage, readFields } from '../support/transcript.ts';
import { startTestWeir, type TestWeir } from '../support/weir.ts';
import { WireClient } from '../support/wire-client.ts';
import { makeDocument, type StormRecord, storm, wasActive } from './swap-storm.ts';

const CLIENTS = 8;
const NO_RULES = 'traffic_control: { rules: [] }';
const DENY_MARKED = `
traffic_control:
  rules:
    - { name: marked, match: { query_regex: 'marked' }, action: deny }
`;

const postgres = sharedPostgres();
let weir: TestWeir;

beforeAll(async () => {
  await postgres.query(`
    DROP TABLE IF EXISTS secret, ledger;
    CREATE TABLE secret (a int);
    CREATE TABLE ledger (client int PRIMARY KEY, balance int NOT NULL);
    INSERT INTO ledger SELECT i, 0 FROM generate_series(0, ${CLIENTS - 1}) AS i`);
  weir = await startTestWeir({
    postgres,
    rules: makeDocument(0),
    settings: { observations: { maxDecisions: 100_000, maxCells: 10_000 } },
  });
});
afterAll(() => weir.stop());

const codesOf = (messages: readonly BackendMessage[]): string[] =>
  messages.filter(({ type }) => type === 'E').map(({ body }) => readFields(body).C ?? '');
const post = (text: string): void => {
  weir.control.rules.post(text, 'test', { actor: 'test' });
};

const untilState = (wanted: string, count: number): Promise<unknown> =>
  waitFor(
    () => weir.control.sessions().filter(({ state }) => state === wanted).length === count,
    5_000,
    () => `not ${count} sessions are ${wanted}`,
  );

interface Refused {
  readonly decisionId: string;
  readonly message: string;
  readonly sentAtMs: number;
  readonly answeredAtMs: number;
}

interface ClientTally {
  committed: number;
  readonly refused: Refused[];
  readonly wrong: string[];
}

/** One transaction by every road, and one statement that all documents refuse. */
async function work(index: number, isOver: () => boolean): Promise<ClientTally> {
  const tally: ClientTally = { committed: 0, refused: [], wrong: [] };
  const client = await WireClient.login(weir);
  const must = async (...parts: Buffer[]): Promise<void> => {
    client.send(...parts);
    const codes = codesOf(await client.readUntilReady());
    if (codes.length > 0) tally.wrong.push(codes.join(' '));
  };
  await must(frontend.parse('UPDATE ledger SET balance = balance + 1 WHERE client = $1', 'add'), frontend.sync());
  await must(frontend.query(`PREPARE look AS SELECT balance FROM ledger WHERE client = ${index}`));
  while (!isOver()) {
    await must(frontend.query('BEGIN'));
    await must(frontend.bind({ statement: 'add', values: [String(index)] }), frontend.execute(), frontend.sync());
    await must(
      frontend.extendedQuery('SELECT balance FROM ledger WHERE client = $1', [String(index)]),
      frontend.sync(),
    );
    await must(frontend.query('EXECUTE look'));
    await must(frontend.query('COMMIT'));
    if (client.status === 'I') tally.committed++;
    const sentAtMs = performance.now();
    const error = readFields((await client.query('SELECT * FROM secret'))[0]?.body ?? Buffer.alloc(0));
    if (error.C !== '42501') tally.wrong.push(`the refused statement: ${error.C} ${error.M}`);
    tally.refused.push({
      decisionId: JSON.parse(error.D ?? '{}').decision_id,
      message: error.M ?? '',
      sentAtMs,
      answeredAtMs: performance.now(),
    });
  }
  await client.end();
  return tally;
}

describe('under load', () => {
  let record: StormRecord;
  let tallies: ClientTally[];

  beforeAll(async () => {
    let isOver = false;
    const working = Promise.all(Array.from({ length: CLIENTS }, (_, index) => work(index, () => isOver)));
    record = await storm(weir.adminUrl, { posts: 100, pauseMs: 15, badEvery: 9 }).finally(() => {
      isOver = true;
    });
    tallies = await working;
  });

  test('100 posts over HTTP fail no transaction', async () => {
    expect(tallies.flatMap(({ wrong }) => wrong)).toEqual([]);
    const { rows } = await postgres.query('SELECT client, balance FROM ledger ORDER BY client');
    expect(rows.map(({ balance }) => balance)).toEqual(tallies.map(({ committed }) => committed));
    expect(Math.min(...tallies.map(({ committed }) => committed))).toBeGreaterThan(10);
    expect(weir.control.counters.clientsAccepted).toBe(CLIENTS);
  });

  test('bad documents among them are answered with line and column, and the old version stays', () => {
    expect(record.wrong).toEqual([]);
    expect(record.bad).toBe(11);
    expect(record.spans).toHaveLength(90);
    expect(weir.control.rules).toMatchObject({ swaps: 89, rejected: 11, version: record.spans.at(-1)?.version });
  });

  test('every decision carries a version that was in force while its statement ran, with the words of that version', async () => {
    const refused = tallies.flatMap((tally) => tally.refused);
    const { rows } = await postgres.query('SELECT count(*)::int AS n FROM secret');
    expect(rows).toEqual([{ n: 0 }]);
    const answer = await fetch(`${weir.adminUrl}/decisions?limit=100000`);
    const { decisions, total } = (await answer.json()) as {
      total: number;
      decisions: { id: string; rules_version: string; rule: string }[];
    };
    expect(total).toBe(refused.length);
    const byId = new Map(decisions.map((decision) => [decision.id, decision]));
    const wrong = refused.filter(({ decisionId, message, sentAtMs, answeredAtMs }) => {
      const decision = byId.get(decisionId);
      const span = record.spans.find(({ version }) => version === decision?.rules_version);
      return (
        decision === undefined ||
        span === undefined ||
        message !== `document ${span.document}` ||
        !wasActive(record.spans, decision.rules_version, sentAtMs, answeredAtMs)
      );
    });
    expect(wrong).toEqual([]);
    expect(new Set(decisions.map(({ rules_version }) => rules_version)).size).toBeGreaterThan(50);
  });

  test('what the versions judged and refused sums up to all that was sent', async () => {
    const { versions } = (await (await fetch(`${weir.adminUrl}/rules/judged`)).json()) as {
      versions: { version: string; refused: number; judged: number }[];
    };
    const known = new Set(record.spans.map(({ version }) => version));
    expect(versions.every(({ version }) => known.has(version))).toBe(true);
    // Only the last 64 versions are kept, so their sum is at most the whole.
    const refused = versions.reduce((sum, version) => sum + version.refused, 0);
    expect(refused).toBeLessThanOrEqual(weir.control.counters.refused);
    expect(weir.control.counters.refused).toBe(tallies.reduce((sum, tally) => sum + tally.refused.length, 0));
  });
});

describe('one statement', () => {
  beforeEach(() => post(NO_RULES));

  test('that runs ends under the rules it began with, and the next is judged by the new ones', async () => {
    const client = await WireClient.login(weir);
    client.send(frontend.query("SELECT pg_sleep(0.4), 'marked'"));
    await waitFor(
      () => weir.control.sessions().some(({ state }) => state === 'active'),
      5_000,
      () => 'the statement does not start',
    );
    post(DENY_MARKED);
    // Sent while the first one runs: the new rules are in force already.
    client.send(frontend.query("SELECT 'marked'"));
    expect(codesOf(await client.readUntilReady())).toEqual([]);
    expect(codesOf(await client.readUntilReady())).toEqual(['42501']);
    post(NO_RULES);
    expect(codesOf(await client.query("SELECT 'marked'"))).toEqual([]);
    await client.end();
  });

  test('that runs is not killed by a rule that came later', async () => {
    const client = await WireClient.login(weir);
    client.send(frontend.query("SELECT pg_sleep(0.4), 'marked'"));
    await waitFor(
      () => weir.control.sessions().some(({ state }) => state === 'active'),
      5_000,
      () => 'the statement does not start',
    );
    post('traffic_control: { rules: [{ name: late, action: kill_after_ms, timeout_ms: 50 }] }');
    expect(codesOf(await client.readUntilReady())).toEqual([]);
    expect(codesOf(await client.query("SELECT pg_sleep(10), 'marked'"))).toEqual(['57014']);
    await client.end();
  });

  test.each([
    ['as a Query', (sql: string) => [frontend.query(sql)]],
    ['as a portal', (sql: string) => [frontend.extendedQuery(sql), frontend.sync()]],
  ])('that waits for a place is judged again by the rules under which it would run: %s', async (_, say) => {
    const LIMIT = `{ name: place, match: { query_regex: 'marked' }, action: max_concurrent, limit: 1, wait_ms: 20000 }`;
    const limited = (more: string): string => `traffic_control: { rules: [${LIMIT}${more}] }`;
    post(limited(''));
    const [busy, refused, patient] = await Promise.all([1, 2, 3].map(() => WireClient.login(weir)));
    if (busy === undefined || refused === undefined || patient === undefined) throw new Error('no clients');
    busy.send(...say("SELECT pg_sleep(0.5), 'marked'"));
    await untilState('active', 1);
    refused.send(...say("SELECT 'marked' AS by_then"));
    patient.send(...say("SELECT 'marked'"));
    await untilState('waiting', 2);
    post(limited(", { name: late, match: { query_regex: 'by_then' }, action: deny, priority: 1 }"));
    expect(codesOf(await busy.readUntilReady())).toEqual([]);
    expect(codesOf(await refused.readUntilReady())).toEqual(['42501']);
    expect(codesOf(await patient.readUntilReady())).toEqual([]);
    expect(codesOf(await refused.query("SELECT 'marked'"))).toEqual([]);
    await Promise.all([busy, refused, patient].map((client) => client.end()));
  });

  test('that waited for a place goes on, as a portal, under the rules by which it began', async () => {
    post(`traffic_control:
  rules:
    - { name: place, match: { query_regex: 'marked' }, action: max_concurrent, limit: 1, wait_ms: 20000 }
    - { name: short, match: { query_regex: 'slow' }, action: kill_after_ms, timeout_ms: 400 }`);
    const [busy, patient] = await Promise.all([1, 2].map(() => WireClient.login(weir)));
    if (busy === undefined || patient === undefined) throw new Error('no clients');
    await patient.query('BEGIN');
    busy.send(frontend.query("SELECT pg_sleep(1), 'marked'"));
    await untilState('active', 1);
    patient.send(frontend.parse("SELECT pg_sleep(0.25), 'marked', 'slow' FROM generate_series(1, 3)"));
    patient.send(frontend.bind({ portal: 'begun' }), frontend.execute('begun', 1), frontend.sync());
    await untilState('waiting', 1);
    post(NO_RULES);
    expect(codesOf(await patient.readUntilReady())).toEqual([]);
    patient.send(frontend.execute('begun'), frontend.sync());
    expect(codesOf(await patient.readUntilReady())).toEqual([]);
    expect(codesOf(await busy.readUntilReady())).toEqual([]);
    await Promise.all([busy.end(), patient.end()]);
  });

  test('that waits for a place and is judged again is one statement, and takes one token', async () => {
    const match = `match: { query_regex: 'marked' }`;
    const rules = (more: string): string => `traffic_control:
  rules:
    - { name: place, ${match}, action: max_concurrent, limit: 1, wait_ms: 20000 }
    - { name: pace, ${match}, action: rate_limit, rate_per_sec: 0.001, burst: 3 }${more}`;
    post(rules(''));
    const [busy, patient] = await Promise.all([1, 2].map(() => WireClient.login(weir)));
    if (busy === undefined || patient === undefined) throw new Error('no clients');
    const { statements } = weir.control.counters;
    busy.send(frontend.query("SELECT pg_sleep(0.5), 'marked'"));
    await untilState('active', 1);
    patient.send(frontend.query("SELECT 'marked'"));
    await untilState('waiting', 1);
    post(rules(`\n    - { name: short, ${match}, action: kill_after_ms, timeout_ms: 60000 }`));
    expect(codesOf(await busy.readUntilReady())).toEqual([]);
    expect(codesOf(await patient.readUntilReady())).toEqual([]);
    expect(weir.control.counters.statements).toBe(statements + 2);
    expect(codesOf(await patient.query("SELECT 'marked'"))).toEqual([]);
    expect(codesOf(await patient.query("SELECT 'marked'"))).toEqual(['53400']);
    await Promise.all([busy.end(), patient.end()]);
  });

  test('that waits for a place is judged again when it is known whether it runs in a transaction, where the new rules ask', async () => {
    post(
      `traffic_control: { rules: [{ name: place, match: { query_regex: 'marked' }, action: max_concurrent, limit: 1, wait_ms: 20000 }] }`,
    );
    const [busy, patient] = await Promise.all([1, 2].map(() => WireClient.login(weir)));
    if (busy === undefined || patient === undefined) throw new Error('no clients');
    busy.send(frontend.query("SELECT pg_sleep(0.5), 'marked'"));
    await untilState('active', 1);
    // Its BEGIN never runs.
    patient.send(frontend.query('SELECT pg_sleep(1); SELECT 1/0; BEGIN'), frontend.query("SELECT 'marked'"));
    await untilState('waiting', 1);
    post(DENY_MARKED.replace('match: {', 'match: { in_transaction: false,'));
    expect(codesOf(await patient.readUntilReady())).toEqual(['22012']);
    expect(codesOf(await patient.readUntilReady())).toEqual(['42501']);
    await busy.readUntilReady();
    await Promise.all([busy.end(), patient.end()]);
  });

  test('that waits for a shared server connection is judged again, too', async () => {
    const pool = { mode: 'transaction' as const, size: 1 };
    const crowded = await startTestWeir({ postgres, rules: NO_RULES, settings: { pool } });
    const [busy, refused] = await Promise.all([1, 2].map(() => WireClient.login(crowded)));
    if (busy === undefined || refused === undefined) throw new Error('no clients');
    await busy.query('BEGIN');
    refused.send(frontend.query("SELECT 'marked'"));
    await waitFor(
      () => crowded.control.sessions().some(({ holds }) => holds.includes('waiting')),
      5_000,
      () => 'nobody waits',
    );
    crowded.control.rules.post(DENY_MARKED, 'test', { actor: 'test' });
    await busy.query('COMMIT');
    expect(codesOf(await refused.readUntilReady())).toEqual(['42501']);
    expect(codesOf(await refused.query('SELECT 1'))).toEqual([]);
    await Promise.all([busy.end(), refused.end()]);
    await crowded.stop();
  });

  test('that was prepared before is judged again by each Execute', async () => {
    const client = await WireClient.login(weir);
    client.send(frontend.parse("SELECT 'marked'", 'named'), frontend.parse("SELECT 'marked'"), frontend.sync());
    await client.readUntilReady();
    const use = async (statement: string): Promise<string[]> => {
      client.send(frontend.bind({ statement }), frontend.execute(), frontend.sync());
      return codesOf(await client.readUntilReady());
    };
    expect([await use('named'), await use('')]).toEqual([[], []]);
    post(DENY_MARKED);
    expect([await use('named'), await use('')]).toEqual([['42501'], ['42501']]);
    post(NO_RULES);
    expect([await use('named'), await use('')]).toEqual([[], []]);
    await client.end();
  });

  test.each([
    ['has failed', [frontend.execute('bound'), frontend.sync()]],
    ['was skipped', [frontend.parse('no SQL', 'other'), frontend.execute('bound'), frontend.sync()]],
  ])('that was bound before the swap is judged though an Execute of it %s', async (_, inVain) => {
    const client = await WireClient.login(weir);
    await client.query('BEGIN');
    client.send(frontend.parse("SELECT 'marked'"), frontend.bind({ portal: 'bound' }), frontend.sync());
    expect(codesOf(await client.readUntilReady())).toEqual([]);
    await client.query('SAVEPOINT before; SELECT 1/0');
    client.send(...inVain);
    expect(codesOf(await client.readUntilReady())).toHaveLength(1);
    await client.query('ROLLBACK TO before; SAVEPOINT again');
    post(DENY_MARKED);
    client.send(frontend.execute('bound'), frontend.sync());
    expect(codesOf(await client.readUntilReady())).toEqual(['42501']);
    await client.query('ROLLBACK TO again');
    post(NO_RULES);
    client.send(frontend.execute('bound'), frontend.sync());
    expect(codesOf(await client.readUntilReady())).toEqual([]);
    await client.end();
  });

  test('that was bound before the swap is judged at its Execute, but a portal that has begun goes on', async () => {
    const client = await WireClient.login(weir);
    await client.query('BEGIN');
    const rows = "SELECT i, 'marked' FROM generate_series(1, 6) AS i";
    client.send(frontend.parse(rows), frontend.bind({ portal: 'begun' }), frontend.bind({ portal: 'fresh' }));
    client.send(frontend.execute('begun', 2), frontend.sync());
    expect(codesOf(await client.readUntilReady())).toEqual([]);
    post(DENY_MARKED);
    client.send(frontend.execute('begun', 2), frontend.sync());
    expect(codesOf(await client.readUntilReady())).toEqual([]);
    client.send(frontend.execute('fresh'), frontend.sync());
    expect(codesOf(await client.readUntilReady())).toEqual(['42501']);
    await client.query('ROLLBACK');
    await client.end();
  });
});

describe('the state of a rule', () => {
  const rules = (message: string): string => `
traffic_control:
  rules:
    - { name: same, match: { query_regex: kept }, action: rate_limit, rate_per_sec: 0.01, burst: 2 }
    - { name: changed, match: { query_regex: other }, action: rate_limit, rate_per_sec: 0.01, burst: 2, message: "${message}" }
    - { name: "${message}", match: { query_regex: 'nothing at all' }, action: observe }
`;

  test('that is unchanged lives on through a swap, buckets and counters; one that has changed starts afresh', async () => {
    post(rules('first'));
    const client = await WireClient.login(weir);
    const send = async (sql: string): Promise<string> => codesOf(await client.query(sql))[0] ?? 'ok';
    expect([await send('SELECT 1 /* kept */'), await send('SELECT 1 /* kept */')]).toEqual(['ok', 'ok']);
    post(rules('second'));
    expect(await send('SELECT 1 /* kept */')).toBe('53400');
    const same = weir.control.rules.active.rules.find(({ name }) => name === 'same');
    expect(same?.counters).toMatchObject({ matched: 3, refused: 1 });
    post(rules('second').replace('burst: 2 }', 'burst: 3 }'));
    expect(await send('SELECT 1 /* kept */')).toBe('ok');
    await client.end();
  });
});
