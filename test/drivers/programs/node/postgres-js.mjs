// postgres.js, which pipelines by itself what is asked without waiting.

import { once } from 'node:events';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import postgres from 'postgres';
import {
  describe,
  expect,
  failureOf,
  NoApi,
  readTlsOptions,
  runChecks,
  SESSION_MARK,
  SESSION_SEEN,
} from './report.mjs';

const open = (options = {}) =>
  postgres({
    ssl: readTlsOptions(),
    max: 1,
    fetch_types: false,
    connection: { application_name: process.env.PGAPPNAME },
    onnotice: () => undefined,
    ...options,
  });

const withClient = (check) => async () => {
  const sql = open();
  try {
    return await check(sql);
  } finally {
    await sql.end({ timeout: 5 });
  }
};

const readValue = async (query) => Object.values((await query)[0])[0];

await runChecks({
  connect: withClient(async (sql) => {
    const who = await readValue(sql`SELECT current_user || ' as ' || current_setting('application_name')`);
    const stranger = open({ password: 'wrong' });
    const refusal = await failureOf(stranger`SELECT 1`.execute());
    await stranger.end({ timeout: 1 });
    expect(refusal.code, '28P01');
    return `${who}; wrong password ${refusal.code}`;
  }),
  text: withClient(async (sql) => {
    const row = await readValue(
      sql`SELECT concat_ws('|', ${41}::int4 + 1, ${'naïve ✓'}::text, ${'1.25'}::numeric * 2, ${true}::bool, coalesce(${null}::text, 'null'))`,
    );
    expect(row, '42|naïve ✓|2.50|t|null');
    return row;
  }),
  binary: async () => {
    throw new NoApi('postgres.js speaks text only');
  },
  prepared: withClient(async (sql) => {
    const names = [];
    for (const id of [1, 2]) names.push(await readValue(sql`SELECT name FROM items WHERE id = ${id}`));
    expect(names, ['one', 'two']);
    const held = await readValue(
      sql`SELECT count(*)::int FROM pg_prepared_statements WHERE statement = 'SELECT name FROM items WHERE id = $1'`,
    );
    expect(held, 1);
    return `${names}, held ${held}`;
  }),
  batch: withClient(async (sql) => {
    const piped = await Promise.all([1, 2, 3].map((number) => readValue(sql`SELECT ${number}::int * 2`)));
    expect(piped, [2, 4, 6]);
    const mixed = await Promise.allSettled([
      sql`INSERT INTO items VALUES (10, 'ten', ${1})`,
      sql`SELECT 1 / ${0}::int`,
      sql`INSERT INTO items VALUES (11, 'eleven', ${1})`,
    ]);
    const inTransaction = await failureOf(
      sql.begin((step) => [step`INSERT INTO items VALUES (12, 'twelve', 1)`, step`SELECT 1 / ${0}::int`]),
    );
    const kept = await readValue(sql`SELECT string_agg(id::text, ',' ORDER BY id) FROM items`);
    return `${piped}; ${mixed.map((result) => result.reason?.code ?? 'ok')}; ${inTransaction.code}; kept ${kept}`;
  }),
  copy: withClient(async (sql) => {
    const rows = Array.from({ length: 1000 }, (_, index) => `${1000 + index}\tcopied ✓\t1\n`);
    await pipeline(Readable.from(rows), await sql`COPY items FROM STDIN`.writable());
    const outgoing = await sql`COPY (SELECT * FROM items WHERE id >= 1000 ORDER BY id) TO STDOUT`.readable();
    const left = Buffer.concat(await outgoing.toArray());
    // postgres.js forgets the server's error once the stream has ended: the stream just closes.
    const refused = await sql`COPY items FROM STDIN`.writable();
    const closed = once(refused, 'close').then(() => 'closed');
    refused.end('no number\tx\t1\n');
    const end = await Promise.race([closed, sleep(5_000, 'never closed')]);
    const entered = await readValue(sql`SELECT count(*)::int FROM items WHERE id >= 1000`);
    return `in ${entered}, out ${left.length} bytes, bad row: ${end}, then ${await readValue(sql`SELECT 1`)}`;
  }),
  notify: withClient(async (sql) => {
    const heard = [];
    const { unlisten } = await sql.listen('news', (payload) => heard.push(payload));
    await sql.notify('news', 'hello ✓');
    for (let turn = 0; turn < 100 && heard.length === 0; turn++) await sleep(50);
    expect(heard, ['hello ✓']);
    await unlisten();
    return `news: ${heard}`;
  }),
  cancel: withClient(async (sql) => {
    const startedAt = performance.now();
    const running = sql`SELECT pg_sleep(20)`.execute();
    await sleep(300);
    running.cancel();
    const failed = await failureOf(running);
    expect(performance.now() - startedAt < 10_000, true);
    return `${failed.code} ${failed.message}, then ${await readValue(sql`SELECT 1`)}`;
  }),
  large_objects: withClient(async (sql) => {
    const bytes = Buffer.alloc(100_000, 'large ');
    // It stands in a transaction of its own until it is closed.
    const object = await sql.largeObject();
    await pipeline(Readable.from([bytes]), await object.writable());
    await object.seek(10);
    const [{ data: part }] = await object.read(6);
    expect(part.toString(), bytes.subarray(10, 16).toString());
    const [{ size }] = await object.size();
    await object.close();
    return `size ${size}, part ${part}`;
  }),
  errors: withClient(async (sql) => {
    const twice = await failureOf(sql`INSERT INTO items VALUES (1, 'again', ${1})`.execute());
    const name = await failureOf(sql`SELECT nme FROM items`.execute());
    return (
      `${twice.code} ${twice.severity} ${twice.schema_name}.${twice.table_name} ${twice.constraint_name} ` +
      `${twice.detail}; ${name.code} at ${name.position} ${name.hint}`
    );
  }),
  refused: withClient(async (sql) => {
    const mark = await readValue(sql.unsafe(SESSION_MARK));
    const simple = await failureOf(sql`DELETE FROM guarded`.simple().execute());
    const extended = await failureOf(sql`DELETE FROM guarded WHERE id = ${1}`.execute());
    const again = await failureOf(sql`DELETE FROM guarded WHERE id = ${2}`.execute());
    expect(await readValue(sql.unsafe(SESSION_SEEN)), mark);
    return `${simple.name} ${[simple, extended, again].map(describe).join('; ')}`;
  }),
  refused_in_transaction: withClient(async (sql) => {
    let second;
    const first = await failureOf(
      sql.begin(async (transaction) => {
        await transaction`INSERT INTO items VALUES (20, 'twenty', 1)`;
        const refusal = await failureOf(transaction`DELETE FROM guarded WHERE id = ${1}`.execute());
        second = await failureOf(transaction`SELECT 1`.execute());
        throw refusal;
      }),
    );
    const left = await readValue(sql`SELECT count(*) FROM items WHERE id = 20`);
    return `${describe(first)}; ${second.code}; rows ${left}`;
  }),
  refused_in_batch: withClient(async (sql) => {
    const piped = await Promise.allSettled([
      sql`INSERT INTO items VALUES (30, 'thirty', ${1})`,
      sql`DELETE FROM guarded WHERE id = ${1}`,
      sql`INSERT INTO items VALUES (31, 'thirty-one', ${1})`,
    ]);
    const several = await failureOf(sql.unsafe("INSERT INTO items VALUES (32, 'x', 1); DELETE FROM guarded").execute());
    const left = await readValue(
      sql`SELECT string_agg(id::text, ',' ORDER BY id) FROM items WHERE id BETWEEN 30 AND 39`,
    );
    return `${piped.map((result) => (result.reason ? describe(result.reason) : 'ok'))}; ${describe(several)}; rows ${left}`;
  }),
  limited: withClient(async (sql) => {
    const look = () =>
      sql`SELECT count(*) FROM limited`.then(
        () => 'ok',
        (error) => `${error.code} ${error.message}`,
      );
    return `first: ${await look()}, second: ${await look()}, then ${await readValue(sql`SELECT 1`)}`;
  }),
});
