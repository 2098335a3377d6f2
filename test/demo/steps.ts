// The migration story, one function per step. Each says what it does, does it over real connections, and notes what was
// expected and what was seen.

import { setTimeout as sleep } from 'node:timers/promises';
import { codeOf, run, type Stage, tell } from './stage.ts';

const DUAL_COUNT = 5;
const LOADER_STATEMENTS = 60;
const LOADER_RATE_PER_SECOND = 20;
const LOADER_BURST = 20;

/** Tables of a shop that came from Oracle: with a `dual`, as such schemas have. */
export async function prepareShop(stage: Stage): Promise<void> {
  await stage.postgres.query(`
    CREATE TABLE orders (id int PRIMARY KEY, customer text NOT NULL, total numeric NOT NULL);
    INSERT INTO orders SELECT n, 'customer ' || n % 50, n FROM generate_series(1, 1000) n;
    CREATE VIEW dual AS SELECT 'X'::text AS dummy;
    GRANT ALL ON orders, dual TO app;
    CREATE ROLE erp LOGIN;
    GRANT ALL ON orders, dual TO erp`);
  await stage.postgres.waitForReplay();
}

export async function countOnly(stage: Stage): Promise<void> {
  stage.title('1. An Oracle-flavoured query is only counted');
  const client = await stage.connect('legacy-erp', 'erp');
  let answered = 0;
  for (let index = 0; index < DUAL_COUNT; index++) {
    const outcome = await run(client, `SELECT ${index} AS answer FROM dual`);
    if (outcome.type === 'rows' && outcome.rows.length === 1) answered++;
  }
  await client.end();
  const counted = await readCounted(stage, 'no_from_dual');
  stage.say(`legacy-erp runs SELECT … FROM dual ${DUAL_COUNT} times: ${answered} answers, as without pgweir.`);
  stage.say(`The rule no_from_dual observes: it would have refused ${counted}.`);
  stage.expect('FROM dual in observe mode: answers', DUAL_COUNT, answered);
  stage.expect('FROM dual in observe mode: counted', DUAL_COUNT, counted);
}

export async function flipToEnforce(stage: Stage): Promise<void> {
  stage.title('2. The same rule enforces, by one HTTP call, with no restart');
  const client = await stage.connect('legacy-erp', 'erp');
  const before = await run(client, 'SELECT 1 AS answer FROM dual');
  stage.say(`before: SELECT 1 FROM dual → ${tell(before)}`);
  await stage.callAdmin('PATCH', '/rules/no_from_dual', { mode: 'enforce' });
  stage.say(`PATCH ${stage.weir.adminUrl}/rules/no_from_dual {"mode":"enforce"}`);
  const after = await run(client, 'SELECT 1 AS answer FROM dual');
  stage.say(`after, on the same connection: SELECT 1 FROM dual → ${tell(after)}`);
  const ported = await run(client, 'SELECT 1 AS answer');
  stage.say(`the ported statement: SELECT 1 → ${tell(ported)}`);
  await client.end();
  stage.expect('FROM dual before the flip', '1', tell(before));
  stage.expect('FROM dual after the flip', '42501', codeOf(after));
  stage.expect('the same connection, without FROM dual', '1', tell(ported));
}

export async function refuseInTransaction(stage: Stage): Promise<void> {
  stage.title('3. An unbounded DELETE is refused inside a transaction');
  const client = await stage.connect('webshop');
  await run(client, 'BEGIN');
  await run(client, "INSERT INTO orders VALUES (5001, 'in the same transaction', 1)");
  const refused = await run(client, 'DELETE FROM orders');
  const next = await run(client, 'SELECT count(*) FROM orders');
  const end = await run(client, 'COMMIT');
  const left = await run(client, 'SELECT count(*)::int AS orders FROM orders');
  const bounded = await run(client, 'DELETE FROM orders WHERE id = 1000');
  await client.end();
  stage.say(`BEGIN; INSERT …; DELETE FROM orders → ${tell(refused)}`);
  stage.say(`then as after any error: SELECT → ${tell(next)}`);
  stage.say(`COMMIT → ${tell(end)}; ${tell(left)} orders are left. DELETE … WHERE id = 1000 → ${tell(bounded)}`);
  stage.expect('DELETE without WHERE', '42501', codeOf(refused));
  stage.expect('the next statement of that transaction', '25P02', codeOf(next));
  stage.expect('COMMIT of that transaction', 'ROLLBACK', tell(end));
  stage.expect('orders left', '1000', tell(left));
  stage.expect('DELETE with WHERE', 'DELETE', tell(bounded));
}

export async function cancelRunaway(stage: Stage): Promise<void> {
  stage.title('4. A runaway query is cancelled on the server');
  const client = await stage.connect('metabase');
  const startedAt = performance.now();
  const running = run(client, 'SELECT pg_sleep(60)');
  await sleep(250);
  const during = await countOnServer(stage);
  const outcome = await running;
  const tookMs = Math.round(performance.now() - startedAt);
  const after = await countOnServer(stage);
  const next = await run(client, 'SELECT 1 AS answer');
  await client.end();
  stage.say(`metabase: SELECT pg_sleep(60) → ${tell(outcome)}, after ${tookMs} ms`);
  stage.say(
    `pg_stat_activity had it running: ${during} before, ${after} after. The connection goes on: SELECT 1 → ${tell(next)}`,
  );
  stage.expect('runaway query', '57014', codeOf(outcome));
  stage.expectBetween('runaway query: ended after (ms)', 400, 1_500, tookMs);
  stage.expect('running on the server before', 1, during);
  stage.expect('running on the server after', 0, after);
  stage.expect('the connection after the kill', '1', tell(next));
}

export async function limitApplication(stage: Stage): Promise<void> {
  stage.title('5. One application is limited, the others are not');
  const loader = await stage.connect('batch-loader');
  const shop = await stage.connect('webshop');
  const startedAt = performance.now();
  const codes: string[] = [];
  let shopErrors = 0;
  for (let index = 0; index < LOADER_STATEMENTS; index++) {
    codes.push(codeOf(await run(loader, `SELECT ${index} AS batch`)));
    if ((await run(shop, 'SELECT total FROM orders WHERE id = 7')).type === 'error') shopErrors++;
  }
  const seconds = (performance.now() - startedAt) / 1_000;
  await loader.end();
  await shop.end();
  const passed = codes.filter((code) => code === 'no error').length;
  const limited = codes.filter((code) => code === '53400').length;
  stage.say(
    `batch-loader sends ${LOADER_STATEMENTS} statements in ${seconds.toFixed(2)} s: ${passed} pass, ${limited} get 53400.`,
  );
  stage.say(`webshop sends as many meanwhile: ${shopErrors} errors.`);
  const mostPassed = LOADER_BURST + Math.ceil(LOADER_RATE_PER_SECOND * seconds) + 1;
  stage.expectBetween('batch-loader: statements let through', LOADER_BURST, mostPassed, passed);
  stage.expect('batch-loader: passed and limited together', LOADER_STATEMENTS, passed + limited);
  stage.expect('webshop: errors meanwhile', 0, shopErrors);
}

export async function routeReads(stage: Stage): Promise<void> {
  stage.title('6. Reads of one application go to the replica');
  const reports = await stage.connect('reports');
  const shop = await stage.connect('webshop');
  const routed = await run(reports, 'SELECT pg_is_in_recovery() AS is_replica');
  const total = await run(reports, 'SELECT sum(total)::int AS total FROM orders');
  const direct = await run(shop, 'SELECT pg_is_in_recovery() AS is_replica');
  await reports.end();
  await shop.end();
  stage.say(`reports: SELECT pg_is_in_recovery() → ${tell(routed)}; SELECT sum(total) FROM orders → ${tell(total)}`);
  stage.say(`webshop: SELECT pg_is_in_recovery() → ${tell(direct)}`);
  stage.expect('reports: served by the replica', 'true', tell(routed));
  stage.expect('webshop: served by the replica', 'false', tell(direct));
}

export async function showObservations(stage: Stage): Promise<void> {
  stage.title('7. What the rules saw');
  const table = await stage.callAdmin('GET', '/observations?format=text');
  stage.say(table.trimEnd());
  for (const rule of [
    'no_from_dual',
    'no_unbounded_delete',
    'end_runaway_analytics',
    'limit_batch_loader',
    'reports_read_from_replica',
  ]) {
    stage.expect(`the table names ${rule}`, true, table.includes(rule));
  }
}

/** How many statements the rule would have refused, by the observations of the admin API. */
async function readCounted(stage: Stage, rule: string): Promise<number> {
  const report = JSON.parse(await stage.callAdmin('GET', `/rules/${rule}/observations?format=json`)) as {
    readonly rules: readonly { readonly rule: string; readonly totals: Readonly<Record<string, number>> }[];
  };
  return report.rules.find((line) => line.rule === rule)?.totals.would_refuse ?? 0;
}

/** Past pgweir: what the server itself says is running. */
async function countOnServer(stage: Stage): Promise<number> {
  const answer = await stage.postgres.query(
    "SELECT count(*)::int AS running FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(60)%' AND state = 'active'",
  );
  return Number(answer.rows[0]?.running);
}
