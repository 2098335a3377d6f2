// Prepared statements of clients that share server connections: what is one text is prepared once, whatever each client calls
// it, and everything is answered as a server of the client's own answers it. The random programs for this are in test/pooling.

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { Settings } from '../../src/config/settings.ts';
import { waitFor } from '../support/deadline.ts';
import * as frontend from '../support/frontend-messages.ts';
import { sharedPostgres } from '../support/shared-postgres.ts';
import { readRow, transcribe } from '../support/transcript.ts';
import { startTestWeir, type TestWeir } from '../support/weir.ts';
import { type WireAddress, WireClient } from '../support/wire-client.ts';
import { type ListeningTap, startListeningTap } from './listening-tap.ts';

const postgres = sharedPostgres();
const bare: WireAddress = { host: postgres.host, port: postgres.primaryPort };
let tap: ListeningTap;
let weir: TestWeir;
let clients: WireClient[] = [];

/** So that every unit of work may find another server connection. */
async function start(pool: Partial<Settings['pool']>): Promise<void> {
  weir = await startTestWeir({
    postgres: tap,
    settings: { pool: { mode: 'transaction', affinity: 'avoid', ...pool } },
  });
}

async function login(address: WireAddress = weir): Promise<WireClient> {
  const client = await WireClient.login(address);
  clients.push(client);
  return client;
}

/** What is said to that, as lines. */
async function say(client: WireClient, ...parts: readonly Buffer[]): Promise<string[]> {
  client.send(...parts);
  const ready = parts.filter((part) => part.equals(frontend.sync()) || part[0] === 0x51).length;
  return transcribe(await client.readUntilReady(ready));
}

const { parse, bind, execute, describeStatement, closeStatement, sync, query } = frontend;

const prepare = (client: WireClient, name: string, sql: string, types: readonly number[] = []): Promise<string[]> =>
  say(client, parse(sql, name, types), sync());

/** First columns of what a prepared statement gives, and SQLSTATEs. */
async function use(client: WireClient, statement: string, values: readonly string[] = []): Promise<(string | null)[]> {
  client.send(bind({ statement, values }), execute(), sync());
  return (await client.readUntilReady()).flatMap(({ type, body }) => {
    if (type === 'D') return [readRow(body)[0] ?? null];
    return type === 'E' ? [/\0C([^\0]+)\0/.exec(body.toString('latin1'))?.[1] ?? ''] : [];
  });
}

/** One step of several clients, by number. */
type Turn = readonly [client: number, ...parts: Buffer[]];

/** The same turns on connections of their own and through pgweir must be answered alike. */
async function expectAlike(turns: readonly Turn[]): Promise<string[]> {
  const run = async (address: WireAddress): Promise<string[]> => {
    const crew = new Map<number, WireClient>();
    const lines: string[] = [];
    for (const [number, ...parts] of turns) {
      const client = crew.get(number) ?? (await login(address));
      crew.set(number, client);
      lines.push(`client ${number}`, ...(await say(client, ...parts)));
    }
    for (const client of crew.values()) await client.end();
    return lines;
  };
  await restoreTables();
  const wanted = await run(bare);
  await restoreTables();
  expect(await run(weir)).toEqual(wanted);
  return wanted;
}

const restoreTables = (): Promise<unknown> =>
  postgres.query(
    `DROP TABLE IF EXISTS carried, carried_too; CREATE TABLE carried (id int, note text);
     INSERT INTO carried VALUES (1, 'one'), (2, 'two')`,
  );

beforeAll(async () => {
  tap = await startListeningTap(bare);
});
afterAll(() => tap.stop());
beforeEach(() => tap.reset());
afterEach(async () => {
  for (const client of clients) client.destroy();
  clients = [];
  await weir.stop();
});

describe('one text is prepared once on a server connection', () => {
  beforeEach(() => start({ size: 1 }));

  test('whatever its clients call it; no bytes are changed where the names agree', async () => {
    const [one, two] = [await login(), await login()];
    await prepare(one, 'mine', 'SELECT $1::int + 1');
    expect(await use(one, 'mine', ['1'])).toEqual(['2']);
    await prepare(two, 'yours', 'SELECT $1::int + 1');
    expect(tap.parsedNames()).toEqual(['mine', 'yours']);
    tap.reset();
    for (let round = 0; round < 3; round++) {
      expect(await use(one, 'mine', ['10'])).toEqual(['11']);
      expect(await use(two, 'yours', ['20'])).toEqual(['21']);
    }
    expect(tap.parsedNames()).toEqual([]);
    expect(tap.heard('B').map(({ body }) => body.toString('latin1', 1, body.indexOf(0, 1)))).toEqual(
      Array(6).fill('yours'),
    );
  });

  test('and another text under the same name gets a name of pgweir’s own', async () => {
    const [one, two] = [await login(), await login()];
    await prepare(one, 'S_1', "SELECT 'one'");
    await prepare(two, 'S_1', "SELECT 'two'");
    tap.reset();
    for (let round = 0; round < 3; round++) {
      expect(await use(one, 'S_1')).toEqual(['one']);
      expect(await use(two, 'S_1')).toEqual(['two']);
    }
    expect(tap.parsedNames()).toEqual([]);
  });

  test('but not for a client that reads literals in another way', async () => {
    const [one, two] = [await login(), await login()];
    await say(two, query("SET DateStyle = 'ISO, DMY'"));
    const sql = "SELECT extract(month FROM '02/03/2020'::date)";
    for (const client of [one, two]) await prepare(client, 'when', sql);
    for (let round = 0; round < 2; round++) {
      expect(await use(one, 'when')).toEqual(['2']);
      expect(await use(two, 'when')).toEqual(['3']);
    }
  });

  test('nor is what somebody else has prepared there for anybody to use', async () => {
    const [one, two] = [await login(), await login()];
    await prepare(one, 'mine', 'SELECT 1');
    await prepare(one, '', 'SELECT 2');
    expect(await use(two, 'mine')).toEqual(['26000']);
    expect(await use(two, '')).toEqual(['26000']);
    expect(await say(two, query('EXECUTE mine'))).toEqual(await say(await login(bare), query('EXECUTE mine')));
    expect(await say(two, closeStatement('mine'), sync())).toEqual(['CloseComplete', 'ReadyForQuery I']);
    expect(await say(two, query('DEALLOCATE ALL'))).toEqual(['CommandComplete DEALLOCATE ALL', 'ReadyForQuery I']);
    expect(await use(one, 'mine')).toEqual(['1']);
  });
});

describe.each([1, 2])('over %i server connections', (size) => {
  beforeEach(() => start({ size }));

  test('errors name what the client named, at any length', async () => {
    const long = 'n'.repeat(70);
    const lines = await expectAlike([
      [0, parse('SELECT 1', 'x'), parse('SELECT 2', long), sync()],
      [1, parse('SELECT $1::int', 'x'), parse('SELECT $1::int', long), sync()],
      [0, bind({ statement: 'x' }), execute(), sync()],
      [1, bind({ statement: 'x' }), sync()],
      [1, bind({ statement: long }), sync()],
      [1, parse('SELECT 5', 'x'), sync()],
      [0, parse('SELECT 5', long), sync()],
      [1, closeStatement('x'), bind({ statement: 'x', values: ['1'] }), sync()],
      [1, describeStatement('x'), sync()],
      [0, bind({ statement: 'x' }), execute(), sync()],
      [1, parse('SELECT 7', 'pgweir_s1'), sync()],
      [0, bind({ statement: 'pgweir_s1' }), sync()],
      [1, bind({ statement: 'pgweir_s1' }), execute(), sync()],
    ]);
    expect(lines.filter((line) => line.includes('prepared statement')).length).toBeGreaterThan(5);
  });

  test('texts that say the same to clients of different settings are prepared again for each as it wrote them', async () => {
    const text = "SELECT 'Привет' || $1::text";
    const withValue = [bind({ statement: 's', values: ['!'] }), execute(), sync()];
    const lines = await expectAlike([
      [0, query('SELECT 1')],
      [1, query('SET standard_conforming_strings = off')],
      [0, parse(text, 's'), sync()],
      [1, parse(text, 's'), sync()],
      ...[0, 1, 1, 0, 1, 1].map((client): Turn => [client, ...withValue]),
    ]);
    expect(lines.join()).not.toContain('ErrorResponse');
  });

  test('errors keep the words that hold the letters of a name', async () => {
    const short = bind({ statement: 'b c', values: [Buffer.from([1])], valueFormats: [1] });
    await expectAlike([
      [0, parse('SELECT $1::int8', 'a'), sync()],
      [1, parse('SELECT $1::int8', 'b c'), sync()],
      [0, bind({ statement: 'a', values: ['1'] }), sync()],
      [1, bind({ statement: 'b c', values: ['1'] }), sync(), short, sync(), bind({ statement: 'b c' }), sync()],
    ]);
  });

  test('a name that DEALLOCATE or PREPARE looks for is not the one to make room', async () => {
    await weir.stop();
    await start({ size: 2, maxPreparedStatements: 1 });
    await expectAlike([
      [
        0,
        parse('DEALLOCATE a', 'a'),
        parse('PREPARE a AS SELECT 5', 'b', [23]),
        sync(),
        bind({ statement: 'b' }),
        sync(),
      ],
      [0, bind({ statement: 'a' }), parse('', 'a'), sync(), bind({ statement: 'b', values: ['7'] }), execute(), sync()],
    ]);
  });

  test('nor while a portal may still look for it, and once the client has closed it is not there', async () => {
    await weir.stop();
    await start({ size: 1, maxPreparedStatements: 1 });
    await expectAlike([
      [0, parse('SELECT 1', 'a'), sync()],
      [1, parse('SELECT 2', 'a'), sync()],
      [0, query('BEGIN'), parse('DEALLOCATE a', ''), sync(), bind(), sync()],
      [0, parse('SELECT 3', 'b'), execute(), sync(), query('COMMIT')],
      [0, parse('SELECT 1', 'a'), sync()],
      [1, parse('SELECT 4', 'c'), sync()],
      [0, query('BEGIN'), parse('EXECUTE a', ''), bind(), sync()],
      [0, parse('SELECT 3', 'd'), execute(), sync(), query('COMMIT')],
      [1, bind({ statement: 'a' }), execute(), sync()],
      [0, query('BEGIN'), parse('DEALLOCATE a', ''), sync(), bind(), sync()],
      [0, closeStatement('a'), sync(), execute(), sync(), query('ROLLBACK')],
    ]);
  });

  test('an Execute that passes in a failed transaction without effect is followed by what follows it', async () => {
    await expectAlike([
      [0, parse('PREPARE a AS SELECT 5', 'a', [999_999]), sync()],
      [0, query('BEGIN')],
      [
        0,
        ...[bind({ portal: 'p', statement: 'a', values: ['7'] }), sync()],
        ...[closeStatement('a'), execute('p'), frontend.closePortal(''), sync()],
      ],
    ]);
  });

  test('a name that is taken stays taken, and one that was closed is free', async () => {
    await expectAlike([
      [0, parse('SELECT 1', 'x'), sync()],
      [1, parse('SELECT 2', 'x'), sync()],
      [0, query('SELECT 1')],
      [0, parse('SELECT 3', 'x'), sync(), parse('SELECT 3', 'x'), sync()],
      [0, closeStatement('x'), parse('SELECT 4', 'x'), bind({ statement: 'x' }), execute(), sync()],
      [1, query('DEALLOCATE x'), parse('SELECT 5', 'x'), bind({ statement: 'x' }), execute(), sync()],
      [0, query('DEALLOCATE x'), query('DEALLOCATE x')],
      [1, query('DEALLOCATE ALL'), bind({ statement: 'x' }), sync()],
      [0, parse('not a statement', 'x'), sync(), parse('SELECT 6', 'x'), bind({ statement: 'x' }), execute(), sync()],
    ]);
  });

  test('what was prepared in front of a message is skipped with it, and is there when it is needed', async () => {
    await expectAlike([
      [0, parse('SELECT 1', 'x'), parse('SELECT 2', 'y'), sync()],
      [1, parse('SELECT 3', 'x'), parse('SELECT 4', 'y'), sync()],
      [0, query('SELECT 1')],
      [
        0,
        ...[bind({ statement: 'nobody' }), bind({ statement: 'x' }), execute(), sync()],
        ...[bind({ statement: 'x' }), execute(), bind({ statement: 'y' }), execute(), sync()],
      ],
      [
        1,
        ...[parse('SELECT 1/0', ''), bind(), execute(), bind({ statement: 'x' }), execute(), sync()],
        ...[closeStatement('x'), sync(), bind({ statement: 'x' }), sync(), bind({ statement: 'y' }), execute(), sync()],
      ],
      [0, bind({ statement: 'x' }), execute(), bind({ statement: 'y' }), execute(), sync()],
    ]);
  });

  test('the statement without a name outlives its unit of work, until a Query', async () => {
    await expectAlike([
      [0, parse('SELECT 1', ''), sync()],
      [1, parse('SELECT 2', ''), sync()],
      [0, describeStatement(''), bind(), execute(), sync()],
      [1, bind(), execute(), sync()],
      [0, query('SELECT 3')],
      [0, bind(), sync()],
      [1, parse('not a statement', ''), sync()],
      [1, bind(), sync()],
    ]);
  });

  test('a Bind of megabytes goes to another name as it goes to its own', async () => {
    const [one, two] = [await login(), await login()];
    const value = 'v'.repeat(5_000_000);
    await prepare(one, 'size', 'SELECT length($1::text) + 1');
    await prepare(two, 'size', 'SELECT length($1::text)');
    expect(await use(one, 'size', [value])).toEqual(['5000001']);
    expect(await use(two, 'size', [value])).toEqual(['5000000']);
    two.send(bind({ statement: 'size', values: [value] }).subarray(0, 100_000));
    two.destroy();
    expect(await use(one, 'size', ['abc'])).toEqual(['4']);
  });

  test('definitions that change between make a statement fail where it would fail on a server of one’s own', async () => {
    const lines = await expectAlike([
      [0, parse('SELECT * FROM carried ORDER BY id', 'all'), parse('SELECT id FROM carried', 'ids'), sync()],
      [1, parse('SELECT * FROM carried ORDER BY id', 'all'), bind({ statement: 'all' }), execute(), sync()],
      [0, query('SELECT 1')],
      [2, query('ALTER TABLE carried ADD COLUMN extra int')],
      [0, bind({ statement: 'all' }), execute(), sync()],
      [1, bind({ statement: 'all' }), execute(), sync()],
      [2, parse('SELECT * FROM carried ORDER BY id', 'all'), bind({ statement: 'all' }), execute(), sync()],
      [0, bind({ statement: 'all' }), execute(), sync()],
      [0, describeStatement('all'), sync()],
      [0, bind({ statement: 'all', values: ['too many'] }), sync()],
      [0, query('EXECUTE all'), query('EXECUTE all (1)')],
      [1, query('BEGIN'), bind({ statement: 'all' }), execute(), sync(), query('SELECT 1'), query('ROLLBACK')],
      [0, bind({ statement: 'ids' }), execute(), sync()],
      [1, closeStatement('all'), parse('SELECT * FROM carried ORDER BY id', 'all'), sync()],
      [1, bind({ statement: 'all' }), execute(), sync()],
      [2, query('ALTER TABLE carried DROP COLUMN extra')],
      [0, bind({ statement: 'all' }), execute(), sync()],
      [1, bind({ statement: 'all' }), execute(), sync()],
      [2, query('DROP TABLE carried')],
      [0, bind({ statement: 'all' }), execute(), sync()],
      [0, describeStatement('all'), sync()],
    ]);
    expect(lines.filter((line) => line.includes('0A000')).length).toBeGreaterThan(4);
  });

  test('but in a failed transaction such a statement is not described at all, and afterwards fails again', async () => {
    const lines = await expectAlike([
      [0, parse('SELECT * FROM carried ORDER BY id', 'all'), parse('SELECT', 'none'), sync()],
      [1, query('ALTER TABLE carried ADD COLUMN extra int')],
      [2, parse('SELECT * FROM carried ORDER BY id', 'all'), describeStatement('all'), sync()],
      [0, bind({ statement: 'all' }), sync()],
      [0, query('BEGIN'), query('SELECT 1/0')],
      [0, describeStatement('all'), sync()],
      [0, describeStatement('all'), closeStatement('none'), sync()],
      [0, query('ROLLBACK'), describeStatement('all'), sync()],
    ]);
    expect(lines.filter((line) => line.includes('25P02')).length).toBe(2);
    expect(lines.filter((line) => line.includes('0A000')).length).toBe(2);
  });

  test('so it is with the statement without a name, made while definitions were changing', async () => {
    const lines = await expectAlike([
      [1, query('ALTER TABLE carried ALTER COLUMN note TYPE varchar(20)')],
      [0, parse('SELECT note FROM carried ORDER BY id', ''), sync()],
      [1, query('ALTER TABLE carried ALTER COLUMN note TYPE text')],
      [0, describeStatement(''), sync()],
      [0, bind(), execute(), sync()],
      [0, parse('SELECT note FROM carried ORDER BY id', ''), describeStatement(''), bind(), execute(), sync()],
    ]);
    expect(lines.filter((line) => line.includes('0A000')).length).toBe(2);
  });

  test('a statement without a result is described as it was, although it cannot be used any more', async () => {
    const insert = 'INSERT INTO carried (note) VALUES ($1)';
    const lines = await expectAlike([
      [0, parse(insert, 'add'), parse(insert, ''), sync()],
      [0, query(`PREPARE add_too (text) AS ${insert}`)],
      [1, query('DROP TABLE carried')],
      [0, parse(insert, ''), sync()],
      [0, describeStatement('add'), describeStatement('add_too'), sync()],
      [
        0,
        query('BEGIN'),
        describeStatement('add'),
        describeStatement('add_too'),
        sync(),
        query('SELECT 1'),
        query('END'),
      ],
      [0, bind({ statement: 'add', values: ['x'] }), execute(), sync(), describeStatement('add'), sync()],
      [0, query("EXECUTE add_too ('x')"), describeStatement('add_too'), sync()],
      [0, query("SET search_path = ''"), describeStatement('add'), sync(), describeStatement('add_too'), sync()],
      [1, query('CREATE TABLE public.carried (note int)'), query('SELECT 1')],
      [0, query('RESET search_path'), describeStatement('add'), sync(), describeStatement('add_too'), sync()],
    ]);
    expect(lines.filter((line) => line === 'NoData').length).toBe(10);
  });

  test('types of parameters stay what they were when the client prepared it', async () => {
    await expectAlike([
      [0, parse('SELECT note FROM carried WHERE id = $1', 'one'), describeStatement('one'), sync()],
      [1, query('ALTER TABLE carried ALTER COLUMN id TYPE bigint')],
      [1, parse('SELECT note FROM carried WHERE id = $1', 'one'), describeStatement('one'), sync()],
      [0, describeStatement('one'), bind({ statement: 'one', values: ['2'] }), execute(), sync()],
      [0, bind({ statement: 'one', values: [frontend.int32(2)], valueFormats: [1] }), execute(), sync()],
      [1, bind({ statement: 'one', values: [frontend.int32(2)], valueFormats: [1] }), execute(), sync()],
    ]);
  });

  test('SQL finds what the protocol prepared, and fails once where it cannot be prepared any more', async () => {
    await expectAlike([
      [0, parse('SELECT id, note FROM carried ORDER BY id', 'rows'), sync()],
      [1, parse("SELECT 'another one'", 'rows'), sync()],
      [0, query('EXECUTE rows')],
      [1, query('EXECUTE rows; EXPLAIN (COSTS off) EXECUTE rows')],
      [0, query('CREATE TABLE carried_too AS EXECUTE rows')],
      [1, query('DROP TABLE carried')],
      [0, query('EXECUTE rows')],
      [0, query('BEGIN'), query('EXECUTE rows'), query('SELECT 1'), query('ROLLBACK')],
      [0, query("SELECT 'before'; EXECUTE rows")],
      [0, parse('EXECUTE rows', ''), bind(), execute(), sync()],
      [1, query('EXECUTE rows'), query('DEALLOCATE rows'), query('EXECUTE rows')],
      [0, query('DEALLOCATE rows'), query('EXECUTE rows')],
    ]);
  });

  test('the server looks at the values of an EXECUTE first, then at what has become of the statement', async () => {
    await expectAlike([
      [0, parse('SELECT note FROM carried WHERE id = $1', 'rows'), sync()],
      [1, parse("SELECT 'another one'", 'rows'), query('EXECUTE rows'), sync()],
      [1, query('DROP TABLE carried')],
      [0, query('BEGIN'), query('EXECUTE rows'), query('ROLLBACK')],
      [1, query('EXECUTE rows')],
      [0, query('BEGIN'), query("EXECUTE rows ('no number')"), query('ROLLBACK')],
      [1, query('EXECUTE rows')],
      [0, query('BEGIN'), query('SAVEPOINT s'), query('EXECUTE rows (1)'), query('ROLLBACK TO s'), query('SELECT 1')],
      [0, query('EXECUTE rows (1, 2)'), query('ROLLBACK')],
    ]);
  });

  test('who looks at what is prepared sees the client’s own statements, by the client’s own names', async () => {
    const look = query('SELECT name, statement, parameter_types FROM pg_prepared_statements ORDER BY name');
    await expectAlike([
      [0, parse('SELECT $1::int', 'a'), parse('SELECT 2', 'b'), parse('SELECT 3', ''), sync()],
      [1, look],
      [1, parse('SELECT 4', 'a'), parse('SELECT 2', 'c'), sync()],
      [1, look],
      [0, look],
      [1, parse('SELECT count(*) FROM pg_prepared_statements', ''), bind(), execute(), sync()],
      [0, query('BEGIN'), look, query('PREPARE d AS SELECT 5'), look, query('ROLLBACK'), query('DEALLOCATE d')],
      [0, closeStatement('a'), sync()],
      [1, query('DEALLOCATE ALL')],
      [0, look],
      [1, look],
    ]);
  });

  test('a DEALLOCATE finds no other client’s statement where the client has closed its own', async () => {
    await expectAlike([
      [0, parse('DEALLOCATE a', 'a'), sync()],
      [1, parse('SHOW search_path', 'a'), sync()],
      [2, parse('SHOW search_path', 'a'), sync()],
      [0, bind({ statement: 'a' }), closeStatement('a'), execute(), sync()],
      [1, bind({ statement: 'a' }), execute(), sync()],
      [2, bind({ statement: 'a' }), execute(), sync()],
    ]);
  });

  test('what was to be closed, and was skipped, is closed when that is needed again', async () => {
    const lines = await expectAlike([
      [0, query('PREPARE a AS SELECT 1')],
      [1, query('PREPARE a AS SELECT 2')],
      [0, parse('DEALLOCATE a', ''), bind(), sync()],
      [0, execute(), closeStatement('a'), sync()],
      [0, query("DO $$BEGIN EXECUTE 'EXECUTE a'; END$$"), query('EXECUTE a')],
      [1, query('EXECUTE a')],
    ]);
    expect(lines.filter((line) => line.startsWith('DataRow'))).toEqual(['DataRow ["1"]', 'DataRow ["2"]']);
  });

  test('a statement that has deallocated itself is gone', async () => {
    await weir.stop();
    await start({ size: 1, maxPreparedStatements: 1 });
    await expectAlike([
      [0, parse('DEALLOCATE "b c"', 'b c', [23, 25]), sync()],
      [1, parse('SELECT 1', 'other'), sync()],
      [0, parse('', 'long'), bind({ statement: 'b c', values: ['2', 'text'] }), execute(), sync()],
      [0, bind({ statement: 'b c', values: ['7'] }), sync()],
    ]);
  });

  test('so it is for what is pipelined behind it, where the server knows it by the name of another client', async () => {
    const [dropping, after] = [parse('DEALLOCATE s', 's'), parse('SELECT 5', 's')];
    const runSelf = Buffer.concat([bind({ statement: 's' }), execute()]);
    const elsewhere: Turn = [1, parse('DEALLOCATE s', 't'), sync()];
    await expectAlike([
      [0, dropping, sync()],
      elsewhere,
      [0, runSelf, after, runSelf, sync()],
      [0, closeStatement('s'), dropping, sync()],
      [1, closeStatement('t'), sync()],
      elsewhere,
      [0, runSelf, runSelf, sync()],
      [0, dropping, sync()],
      [1, closeStatement('t'), sync()],
      elsewhere,
      [0, runSelf, describeStatement('s'), sync()],
      [0, runSelf, sync()],
    ]);
  });

  test.each(['DEALLOCATE ALL', 'DEALLOCATE s', 'SELECT 2'])(
    'what a name did not come to mean does nothing: %s',
    async (refused) => {
      const old = refused === 'SELECT 2' ? 'DEALLOCATE s' : 'SELECT 2';
      await expectAlike([
        [0, parse("SELECT 'of the first'", 's'), parse(old, 'e'), sync()],
        [0, parse(refused, 'e'), sync(), bind({ statement: 'e' }), execute(), sync()],
        [1, bind({ statement: 's' }), execute(), sync(), parse("SELECT 'of the second'", 's'), sync()],
        [1, bind({ statement: 's' }), execute(), sync()],
        [0, bind({ statement: 's' }), execute(), sync()],
      ]);
    },
  );

  test.each(['DEALLOCATE ALL', 'SELECT 2'])(
    'an EXECUTE does what its name meant when it was sent, not %s',
    async (later) => {
      const now = later === 'SELECT 2' ? 'DEALLOCATE ALL' : 'SELECT 2';
      await expectAlike([
        [0, parse("SELECT 'of the first'", 's'), parse(now, 'e'), sync()],
        [0, query('EXECUTE e'), closeStatement('e'), parse(later, 'e'), sync()],
        [0, bind({ statement: 's' }), execute(), sync()],
        [1, bind({ statement: 's' }), execute(), sync()],
        [0, bind({ statement: 'e' }), execute(), sync()],
      ]);
    },
  );

  test('a portal that will DEALLOCATE a name ends what is prepared under it meanwhile', async () => {
    await expectAlike([
      [0, parse('SELECT 0', 's'), sync()],
      [1, parse('DEALLOCATE s', 'dropping'), sync()],
      [1, bind({ portal: 'p', statement: 'dropping' }), parse('SELECT 1', 's'), execute('p'), sync()],
      [1, bind({ statement: 's' }), sync()],
      [0, bind({ statement: 's' }), execute(), sync()],
    ]);
  });

  test('code whose strings name a statement finds the client’s own, and nobody else’s', async () => {
    const explain = query("SELECT carried_plan('explain (costs off) execute rows')");
    await expectAlike([
      [
        2,
        query(
          'CREATE FUNCTION carried_plan(text) RETURNS SETOF text LANGUAGE plpgsql AS ' +
            '$$ BEGIN RETURN QUERY EXECUTE $1; END $$',
        ),
      ],
      [0, parse('SELECT id FROM carried', 'rows'), sync()],
      [1, parse('SELECT note FROM carried ORDER BY note', 'rows'), sync()],
      [0, explain],
      [1, explain, query('DO $$ BEGIN EXECUTE $x$ EXECUTE rows $x$; END $$')],
      [2, explain],
      [2, query('DROP FUNCTION carried_plan')],
    ]);
  });

  test('code that drops statements on the server drops nobody else’s', async () => {
    await expectAlike([
      [0, parse('SELECT 1', 'a'), sync()],
      [1, parse('SELECT 2', 'b'), sync()],
      [1, query("DO $$ BEGIN EXECUTE 'DEALLOCATE ALL'; END $$")],
      [0, bind({ statement: 'a' }), execute(), sync()],
      [1, bind({ statement: 'b' }), sync()],
      [1, parse('SELECT 3', 'b'), bind({ statement: 'b' }), execute(), sync()],
      [0, bind({ statement: 'a' }), execute(), sync()],
    ]);
  });
});

describe.each([1, 2])('SQL PREPARE over %i server connections', (size) => {
  beforeEach(() => start({ size }));

  test('follows its client, and holds no connection', async () => {
    await expectAlike([
      [0, query('PREPARE a (int) AS SELECT $1 + 1')],
      [1, query('PREPARE a AS SELECT id FROM carried ORDER BY id')],
      [0, query('EXECUTE a (1)'), query('EXECUTE a')],
      [1, query('EXECUTE a'), query('EXPLAIN (COSTS off) EXECUTE a')],
      [0, bind({ statement: 'a', values: ['7'] }), execute(), sync()],
      [1, describeStatement('a'), bind({ statement: 'a', values: ['7'] }), sync()],
      [0, query('PREPARE a AS SELECT 1'), parse('SELECT 1', 'a'), sync()],
      [1, query('BEGIN'), query('EXECUTE a'), parse('EXECUTE a', ''), bind(), execute(), sync(), query('COMMIT')],
      [0, parse('PREPARE b AS SELECT $1::text', ''), bind(), execute(), bind({ statement: 'b' }), sync()],
      [1, query('DEALLOCATE a'), query('EXECUTE a')],
      [0, query("EXECUTE b ('text')"), closeStatement('a'), sync(), query('EXECUTE a (1)')],
      [1, bind({ statement: 'b' }), sync(), query('EXECUTE b')],
      [0, query('DEALLOCATE ALL'), query("EXECUTE b ('text')")],
    ]);
    const client = await login();
    await say(client, query('PREPARE a AS SELECT 1'));
    await say(await login(), query('SELECT 1'));
    const holds = (): string =>
      weir.control
        .sessions()
        .flatMap((session) => session.holds)
        .join();
    await waitFor(() => holds() === '', 5_000, holds);
    expect(weir.control.pools()[0]?.pins).toEqual([]);
  });

  test('is found by code that makes its statements out of pieces', async () => {
    const run = (text: string): Buffer => query(`SELECT carried_run('${text}')`);
    await expectAlike([
      [
        2,
        query(
          'CREATE FUNCTION carried_run(text) RETURNS SETOF text LANGUAGE plpgsql AS ' +
            "$$ BEGIN RETURN QUERY EXECUTE 'exec' || $1; END $$",
        ),
      ],
      [0, query('PREPARE a (int) AS SELECT $1::text')],
      [1, query("PREPARE a (int) AS SELECT 'other'"), query("PREPARE b AS SELECT 'second'")],
      [0, run('ute a (1)')],
      [1, run('ute a (1)'), run('ute b')],
      [0, run('ute b'), query('BEGIN'), run('ute a (2)'), query('COMMIT')],
      [
        0,
        query('BEGIN'),
        query("DECLARE c CURSOR FOR SELECT carried_run('ute a (3)')"),
        query('FETCH c'),
        query('COMMIT'),
      ],
      [1, parse("SELECT carried_run('ute ' || $1)", 'p'), bind({ statement: 'p', values: ['b'] }), execute(), sync()],
      [0, bind({ statement: 'p', values: ['b'] }), sync(), query('DEALLOCATE a'), run('ute a (1)')],
      [1, query("CREATE TABLE carried_too AS SELECT carried_run('ute a (4)')"), query('TABLE carried_too')],
      [2, query('DROP FUNCTION carried_run')],
    ]);
  });

  test('shows as what the client wrote', async () => {
    const look = query('SELECT name, statement, parameter_types, from_sql FROM pg_prepared_statements ORDER BY name');
    await expectAlike([
      [0, query('/* mine */ PREPARE a (int, text) AS SELECT $1; -- and no more')],
      [1, query('PREPARE b AS VALUES (1)')],
      [0, parse('SELECT 1', 'c'), sync(), look],
      [1, look],
      [0, look, query('BEGIN'), look, query('COMMIT')],
    ]);
  });

  test('may stand behind anything in a pipeline, and nobody waits for its connection then', async () => {
    const others: Turn = [1, query('SELECT 1')];
    await expectAlike([
      [0, parse('SELECT 1'), bind(), execute(), sync(), query('PREPARE q AS SELECT nocol'), query('SELECT 1')],
      others,
      [0, parse('SELECT 1'), bind(), execute(), sync(), query('PREPARE q AS SELECT 2')],
      others,
      [0, query('SELECT 1'), query('PREPARE r AS SELECT 3'), query('EXECUTE q'), query('EXECUTE r')],
      others,
      [0, parse('SELEC'), sync(), query('PREPARE t AS SELECT 5'), query('DEALLOCATE r'), query('EXECUTE t')],
      others,
      [
        0,
        query('BEGIN'),
        query('SELECT 1/0'),
        parse('SELECT 1'),
        sync(),
        query('PREPARE v AS SELECT 7'),
        query('ABORT'),
      ],
      others,
    ]);
  });

  test('may have a name beyond ASCII, whatever the encoding of its client', async () => {
    const latin = (sql: string): Buffer => frontend.message('Q', Buffer.from(`${sql}\0`, 'latin1'));
    await expectAlike([
      [0, query("SET client_encoding = 'LATIN1'"), latin('BEGIN'), latin('PREPARE "caf\u00e9" AS SELECT 1')],
      [0, latin('EXECUTE "caf\u00e9"'), latin('COMMIT'), latin('EXECUTE "caf\u00e9"')],
      [0, latin('DEALLOCATE "caf\u00e9"'), latin('EXECUTE "caf\u00e9"')],
      [1, query("SET client_encoding = 'SJIS'"), latin('BEGIN'), latin('PREPARE "\x83\x5c" AS SELECT 2')],
      [1, latin('EXECUTE "\x83\x5c"'), latin('COMMIT'), latin('DEALLOCATE "\x83\x5c"')],
      [0, query('SELECT 1')],
    ]);
  });

  test('is skipped with what it stands behind, up to the Sync and no further', async () => {
    await expectAlike([
      [0, parse('SELECT 1', 's'), sync()],
      // One ReadyForQuery comes of it all.
      [
        0,
        Buffer.concat([execute('nowhere'), query('SELECT 1'), query('PREPARE q AS SELECT 2'), closeStatement('s')]),
        sync(),
      ],
      [0, describeStatement('s'), sync()],
      [0, query('EXECUTE q')],
    ]);
  });

  test('fails where its tables are gone, once for each message that wants it', async () => {
    for (const text of ['INSERT INTO carried (note) VALUES ($1)', 'SELECT note FROM carried WHERE note = $1']) {
      const uses = [
        [bind({ statement: 'sql', values: ['a'] }), execute(), sync()],
        [query("EXECUTE sql ('a')")],
        [describeStatement('sql'), sync()],
      ];
      tap.reset();
      await expectAlike([
        [0, query(`PREPARE sql (text) AS ${text}`)],
        [1, query('DROP TABLE carried')],
        [0, parse("EXECUTE sql ('a')"), bind(), execute(), sync()],
        ...uses.map((use): Turn => [0, ...use]),
        ...uses.map((use): Turn => [0, query('BEGIN'), ...use, query('END')]),
      ]);
      expect(tap.parsedNames().length).toBeLessThan(60);
    }
  });

  test('fails where its tables have changed, as it does on a server of one’s own', async () => {
    const lines = await expectAlike([
      [0, query('PREPARE a AS SELECT * FROM carried ORDER BY id'), query('PREPARE b (int) AS SELECT id FROM carried')],
      [1, query('ALTER TABLE carried ADD COLUMN extra int')],
      [0, query('EXECUTE a'), bind({ statement: 'a' }), execute(), sync(), describeStatement('a'), sync()],
      [1, query('PREPARE a AS SELECT * FROM carried ORDER BY id'), query('EXECUTE a')],
      [0, query("SELECT 'before'; EXECUTE a"), query('EXECUTE b (1)'), query('EXECUTE b')],
      [1, query('DROP TABLE carried')],
      [0, query('EXECUTE a'), query('EXECUTE b (1)'), query('EXECUTE b'), query('DEALLOCATE a'), query('EXECUTE a')],
      [1, query('BEGIN'), query('EXECUTE a'), query('SELECT 1'), query('ROLLBACK')],
    ]);
    expect(lines.filter((line) => line.includes('0A000')).length).toBeGreaterThan(2);
  });

  test('keeps its connection where its text cannot be repeated alone', async () => {
    await expectAlike([
      [0, query('PREPARE a AS SELECT 1; PREPARE b AS SELECT 2')],
      [0, query('EXECUTE a'), query('EXECUTE b'), query('DEALLOCATE ALL')],
      [1, query('SELECT 1')],
    ]);
    const client = await login();
    await say(client, query('PREPARE a AS SELECT 1; PREPARE b AS SELECT 2'));
    await say(client, query('EXECUTE b'));
    const holds = (): string => String(weir.control.sessions()[0]?.holds);
    await waitFor(() => holds() === 'prepared_sql', 5_000, holds);
    await say(client, query('DEALLOCATE ALL'));
    await waitFor(() => holds() === '', 5_000, holds);
  });
});

describe('a server connection keeps so many statements', () => {
  test('and a client that has more than that finds them all', async () => {
    await start({ size: 1, maxPreparedStatements: 3 });
    const client = await login();
    const names = Array.from({ length: 10 }, (_, index) => `s${index}`);
    for (const [index, name] of names.entries()) await prepare(client, name, `SELECT ${index}`);
    for (const [index, name] of names.entries()) expect(await use(client, name)).toEqual([String(index)]);
    const parsed = tap.heard('P').length;
    const closed = tap.heard('C').length;
    expect(parsed - closed).toBe(3);
    tap.reset();
    for (const [index, name] of names.entries())
      if (index >= 7) expect(await use(client, name)).toEqual([String(index)]);
    expect(tap.parsedNames()).toEqual([]);
  });

  test('even one, for two clients, with failures in every unit of work', async () => {
    await start({ size: 1, maxPreparedStatements: 1 });
    const failing = [bind({ statement: 'nobody' }), bind({ statement: 'x' }), sync()];
    await expectAlike([
      [0, parse('SELECT 1', 'x'), parse('SELECT 2', 'y'), parse('SELECT 3', 'z'), sync()],
      [1, parse('SELECT 4', 'x'), parse('SELECT 5', 'y'), sync()],
      [0, ...failing, bind({ statement: 'y' }), execute(), sync(), bind({ statement: 'z' }), execute(), sync()],
      [1, ...failing, bind({ statement: 'x' }), execute(), bind({ statement: 'y' }), execute(), sync()],
      [0, bind({ statement: 'x' }), execute(), closeStatement('x'), bind({ statement: 'y' }), execute(), sync()],
      [1, query('EXECUTE x; EXECUTE y'), query('EXECUTE y')],
      [0, bind({ statement: 'x' }), sync(), bind({ statement: 'z' }), execute(), sync()],
    ]);
  });
});

describe('a client that is alone', () => {
  test('comes back to what it has prepared, and nothing is said of it', async () => {
    await start({ size: 2, affinity: 'prefer' });
    const client = await login();
    await prepare(client, 'x', 'SELECT $1::int');
    tap.reset();
    for (let round = 0; round < 3; round++) expect(await use(client, 'x', ['7'])).toEqual(['7']);
    expect(tap.heard('P').length + tap.heard('D').length + tap.heard('C').length).toBe(0);
    expect(tap.heard('B')[0]?.body).toEqual(bind({ statement: 'x', values: ['7'] }).subarray(5));
  });
});
