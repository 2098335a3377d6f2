// node-postgres (pg), with pg-copy-streams for COPY.

import { once } from 'node:events';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { from, to } from 'pg-copy-streams';
import {
  describe,
  expect,
  failureOf,
  isPooled,
  NoApi,
  readTlsOptions,
  runChecks,
  SESSION_MARK,
  SESSION_SEEN,
} from './report.mjs';

const GUARDED = 'DELETE FROM guarded WHERE id = $1';

async function open(options = {}) {
  const client = new pg.Client({ ssl: readTlsOptions(), ...options });
  client.on('error', () => undefined);
  await client.connect();
  return client;
}

const withClient = (check) => async () => {
  const client = await open();
  try {
    return await check(client);
  } finally {
    await client.end();
  }
};

async function readValue(client, query, values) {
  const { rows } = await client.query(query, values);
  return Object.values(rows[0])[0];
}

await runChecks({
  connect: withClient(async (client) => {
    const who = await readValue(client, "SELECT current_user || ' as ' || current_setting('application_name')");
    const refusal = await failureOf(open({ password: 'wrong' }));
    expect(refusal.code, '28P01');
    return `${who}; wrong password ${refusal.code}`;
  }),
  text: withClient(async (client) => {
    const row = await readValue(
      client,
      "SELECT concat_ws('|', $1::int4 + 1, $2::text, $3::numeric * 2, $4::bool, coalesce($5::text, 'null'))",
      [41, 'naïve ✓', '1.25', true, null],
    );
    expect(row, '42|naïve ✓|2.50|t|null');
    return row;
  }),
  binary: withClient(async (client) => {
    // Buffers go out in binary; binary results are a string to pg-protocol 1 (its `binary` option spoils them).
    const query = "SELECT encode($1::bytea, 'hex')";
    const bytes = await readValue(client, query, [Buffer.from([0, 255, 16])]);
    expect(bytes, '00ff10');
    return `parameter ${bytes}, results in text`;
  }),
  prepared: withClient(async (client) => {
    const byId = (id) => ({ name: 'by_id', text: 'SELECT name FROM items WHERE id = $1', values: [id] });
    const names = [await readValue(client, byId(1)), await readValue(client, byId(2))];
    expect(names, ['one', 'two']);
    const held = await readValue(client, "SELECT count(*)::int FROM pg_prepared_statements WHERE name = 'by_id'");
    expect(held, 1);
    return `${names}, held ${held}`;
  }),
  batch: withClient(async (client) => {
    // What is queued without waiting is sent one query after another; several statements go in one simple query.
    const queued = await Promise.all([1, 2, 3].map((number) => readValue(client, 'SELECT $1::int * 2', [number])));
    expect(queued, [2, 4, 6]);
    const several = await client.query('SELECT 1 AS a; SELECT 2 AS b');
    const failed = await failureOf(client.query("INSERT INTO items VALUES (10, 'ten', 1); SELECT 1 / 0"));
    const kept = await readValue(client, "SELECT string_agg(id::text, ',' ORDER BY id) FROM items");
    return `${queued}; ${several.map((result) => JSON.stringify(result.rows))}; ${failed.code}; kept ${kept}`;
  }),
  copy: withClient(async (client) => {
    const rows = Array.from({ length: 1000 }, (_, index) => `${1000 + index}\tcopied ✓\t1\n`);
    const incoming = client.query(from('COPY items FROM STDIN'));
    await pipeline(Readable.from(rows), incoming);
    const outgoing = client.query(to('COPY (SELECT * FROM items WHERE id >= 1000 ORDER BY id) TO STDOUT'));
    const left = Buffer.concat(await outgoing.toArray());
    const failed = await failureOf(
      pipeline(Readable.from(['no number\tx\t1\n']), client.query(from('COPY items FROM STDIN'))),
    );
    return `in ${incoming.rowCount}, out ${left.length} bytes, bad row ${failed.code}, then ${await readValue(client, 'SELECT 1')}`;
  }),
  notify: withClient(async (listener) => {
    const speaker = await open();
    await listener.query('LISTEN news');
    const first = once(listener, 'notification');
    const sender = await readValue(speaker, "SELECT pg_backend_pid() FROM pg_notify('news', 'hello ✓')");
    const [heard] = await first;
    expect(heard.processId, sender);
    if (!isPooled) expect(sender, speaker.processID);
    await speaker.end();
    const second = once(listener, 'notification');
    await listener.query("NOTIFY news, 'self'");
    const [own] = await second;
    return `${heard.channel}: ${heard.payload}, ${own.payload}`;
  }),
  cancel: withClient(async (client) => {
    const query = new pg.Query('SELECT pg_sleep(20)');
    const startedAt = performance.now();
    const failed = once(query, 'error').then(([error]) => error);
    client.query(query);
    await sleep(300);
    // The client that cancels opens a connection of its own.
    new pg.Client({ ssl: readTlsOptions() }).cancel(client, query);
    const error = await failed;
    expect(performance.now() - startedAt < 10_000, true);
    return `${error.code} ${error.message}, then ${await readValue(client, 'SELECT 1')}`;
  }),
  large_objects: async () => {
    throw new NoApi('no large-object interface in node-postgres');
  },
  errors: withClient(async (client) => {
    const twice = await failureOf(client.query("INSERT INTO items VALUES (1, 'again', 1)"));
    const name = await failureOf(client.query('SELECT nme FROM items'));
    return (
      `${twice.code} ${twice.severity} ${twice.schema}.${twice.table} ${twice.constraint} ${twice.detail}; ` +
      `${name.code} at ${name.position} ${name.hint}`
    );
  }),
  refused: withClient(async (client) => {
    const mark = await readValue(client, SESSION_MARK);
    const simple = await failureOf(client.query('DELETE FROM guarded'));
    const extended = await failureOf(client.query(GUARDED, [1]));
    const named = await failureOf(client.query({ name: 'closed', text: GUARDED, values: [1] }));
    const again = await failureOf(client.query({ name: 'closed', text: GUARDED, values: [2] }));
    expect(await readValue(client, SESSION_SEEN), mark);
    return `${simple.constructor.name} ${[simple, extended, named, again].map(describe).join('; ')}`;
  }),
  refused_in_transaction: withClient(async (client) => {
    await client.query('BEGIN');
    await client.query("INSERT INTO items VALUES (20, 'twenty', 1)");
    const first = await failureOf(client.query(GUARDED, [1]));
    const second = await failureOf(client.query('SELECT 1'));
    await client.query('ROLLBACK');
    const left = await readValue(client, 'SELECT count(*) FROM items WHERE id = 20');
    return `${describe(first)}; ${second.code}; rows ${left}`;
  }),
  refused_in_batch: withClient(async (client) => {
    const several = await failureOf(client.query("INSERT INTO items VALUES (30, 'thirty', 1); DELETE FROM guarded"));
    const queued = await Promise.allSettled([
      client.query("INSERT INTO items VALUES (31, 'thirty-one', $1)", [1]),
      client.query(GUARDED, [1]),
      client.query("INSERT INTO items VALUES (32, 'thirty-two', $1)", [1]),
    ]);
    const left = await readValue(
      client,
      "SELECT string_agg(id::text, ',' ORDER BY id) FROM items WHERE id BETWEEN 30 AND 39",
    );
    return `${describe(several)}; ${queued.map((result) => result.reason?.code ?? 'ok')}; rows ${left}`;
  }),
  limited: withClient(async (client) => {
    const looks = [];
    for (let look = 0; look < 2; look++) {
      looks.push(
        await client.query('SELECT count(*) FROM limited').then(
          () => 'ok',
          (error) => `${error.code} ${error.message}`,
        ),
      );
    }
    return `first: ${looks[0]}, second: ${looks[1]}, then ${await readValue(client, 'SELECT 1')}`;
  }),
});
