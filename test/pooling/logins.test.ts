// What a login gets where server connections are shared: one that was used before, or one of its own; and what must not
// be found on one that was used before.

import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { waitFor } from '../support/deadline.ts';
import * as frontend from '../support/frontend-messages.ts';
import { startPostgres, type TestPostgres } from '../support/postgres.ts';
import { transcribe } from '../support/transcript.ts';
import { type LoginOptions, WireClient } from '../support/wire-client.ts';
import { type PoolGround, startPoolGround } from './pool-ground.ts';

/** Of its own: what logins depend on is changed here. */
let postgres: TestPostgres;
let ground: PoolGround | null = null;
beforeAll(async () => {
  postgres = await startPostgres();
});
afterAll(() => postgres.stop());
afterEach(async () => {
  await ground?.stop();
  ground = null;
});

const pidOf = async (wire: WireClient): Promise<string> => (await wire.rows('SELECT pg_backend_pid()'))[0]?.[0] ?? '';

/** Logs in, runs the statements, leaves; the server process that ran the last one. */
async function visit(here: PoolGround, ...statements: string[]): Promise<string> {
  const { wire } = await here.login();
  for (const sql of statements) await wire.rows(sql);
  const pid = await pidOf(wire);
  await wire.end();
  return pid;
}

test('a login takes over a connection that is free, and leaves the one of another client alone', async () => {
  ground = await startPoolGround(postgres, { size: 4 });
  const first = await visit(ground);
  const { wire } = await ground.login();
  expect(await pidOf(wire)).toBe(first);
  expect(await visit(ground)).not.toBe(first);
  expect(ground.pool().opened).toBe(2);
});

test('with logins: own each login opens a connection, while there is room or a free one to close', async () => {
  ground = await startPoolGround(postgres, { size: 2, logins: 'own' });
  const seen = new Set<string>();
  for (let round = 0; round < 4; round++) seen.add(await visit(ground));
  expect(seen.size).toBe(4);
  const { wire } = await ground.login();
  const { wire: second } = await ground.login();
  const taken = [await pidOf(wire), await pidOf(second)];
  expect(taken).toContain(await visit(ground));
});

test('who logs in after ALTER ROLE … SET has the new value, and who was there before keeps the old one', async () => {
  ground = await startPoolGround(postgres, { size: 4 });
  const { wire: before } = await ground.login();
  await before.rows("ALTER ROLE weir SET work_mem = '7MB'");
  try {
    const { wire: after } = await ground.login();
    expect(await after.rows('SHOW work_mem')).toEqual([['7MB']]);
    expect(await before.rows('SHOW work_mem')).toEqual([['4MB']]);
  } finally {
    await postgres.query('ALTER ROLE weir RESET work_mem');
  }
});

test.each([
  "DO $$BEGIN ALTER ROLE app SET work_mem = '7MB'; END$$",
  "DO $$BEGIN EXECUTE format('ALTER ROLE %I SET work_mem = %L', 'app', '7MB'); END$$",
])('so has who logs in after %s', async (sql) => {
  ground = await startPoolGround(postgres, { size: 4 });
  const weir = { host: ground.weir.host, port: ground.weir.port };
  const keeper = await WireClient.login(weir);
  const before = await WireClient.login(weir, { user: 'app' });
  await before.end();
  await keeper.rows(sql);
  try {
    const after = await WireClient.login(weir, { user: 'app' });
    expect(await after.rows('SHOW work_mem')).toEqual([['7MB']]);
    await after.end();
  } finally {
    await keeper.rows('ALTER ROLE app RESET work_mem');
    await keeper.end();
  }
});

test('who may not connect any more is refused, as by the server, and those who are there stay', async () => {
  await postgres.query('CREATE ROLE leaving LOGIN');
  await postgres.query('REVOKE CONNECT ON DATABASE weir FROM PUBLIC');
  await postgres.query('GRANT CONNECT ON DATABASE weir TO leaving');
  try {
    ground = await startPoolGround(postgres, { size: 4 });
    const weir = { host: ground.weir.host, port: ground.weir.port };
    const keeper = await WireClient.login(weir);
    const stays = await WireClient.login(weir, { user: 'leaving' });
    const goes = await WireClient.login(weir, { user: 'leaving' });
    await goes.end();
    await keeper.rows('REVOKE CONNECT ON DATABASE weir FROM leaving');
    await expect(WireClient.login(weir, { user: 'leaving' })).rejects.toMatchObject({ code: '42501' });
    expect(await stays.rows('SELECT 1')).toEqual([['1']]);
    await keeper.rows('GRANT CONNECT ON DATABASE weir TO leaving');
    await stays.end();
    await keeper.end();
  } finally {
    await postgres.query('GRANT CONNECT ON DATABASE weir TO PUBLIC');
    await postgres.query('DROP OWNED BY leaving');
    await postgres.query('DROP ROLE leaving');
  }
});

test('a client shares the connections that there are where the server takes no more of them', async () => {
  await postgres.query('CREATE ROLE limited LOGIN CONNECTION LIMIT 2');
  try {
    ground = await startPoolGround(postgres, { size: 4, queryWaitMs: 2_000 });
    const clients: WireClient[] = [];
    for (let count = 0; count < 5; count++) {
      const { wire } = await ground.login({ user: 'limited' });
      expect(await wire.rows('SELECT current_user')).toEqual([['limited']]);
      clients.push(wire);
    }
    const pids = new Set(await Promise.all(clients.map(pidOf)));
    expect(pids.size).toBeLessThanOrEqual(2);
    expect(ground.pool().opened).toBe(2);
    // Of another class nothing that there is would do: what is free makes room.
    const options = { user: 'limited', parameters: { options: '-c geqo=off' } };
    const { wire: other } = await ground.login(options);
    for (const wire of [other, ...clients, other]) expect((await wire.rows('SHOW geqo')).length).toBe(1);
    const { wire: keeper } = await ground.login({ user: 'limited' });
    await keeper.rows('BEGIN');
    await other.rows('BEGIN');
    await expect(ground.login({ ...options, parameters: { options: '-c geqo=on' } })).rejects.toMatchObject({
      code: '53300',
    });
    await keeper.rows('COMMIT');
    await other.rows('COMMIT');
    await ground.checkLedger();
  } finally {
    await ground?.stop();
    ground = null;
    await postgres.query('DROP ROLE limited');
  }
});

test('a login after ALTER ROLE does not find the server full of free connections that were opened before', async () => {
  await postgres.query('CREATE ROLE limited LOGIN CONNECTION LIMIT 1');
  ground = await startPoolGround(postgres, { size: 4 });
  const weir = { host: ground.weir.host, port: ground.weir.port };
  const keeper = await WireClient.login(weir);
  try {
    const before = await WireClient.login(weir, { user: 'limited' });
    await before.end();
    await keeper.rows("ALTER ROLE limited SET work_mem = '7MB'");
    const after = await WireClient.login(weir, { user: 'limited' });
    expect(await after.rows('SHOW work_mem')).toEqual([['7MB']]);
    await after.end();
    await keeper.end();
  } finally {
    await ground.stop();
    ground = null;
    await postgres.query('DROP ROLE limited');
  }
});

test('logins share connections again after ALTER ROLE, and after an event trigger that is none of logins', async () => {
  ground = await startPoolGround(postgres, { size: 4 });
  const { wire } = await ground.login();
  await wire.rows('CREATE FUNCTION note_ddl() RETURNS event_trigger LANGUAGE plpgsql AS $$BEGIN PERFORM 1; END$$');
  /** Soon after it, eight visits need fewer than four new connections. */
  const expectSharingAfter = async (sql: string): Promise<void> => {
    const here = ground as PoolGround;
    await wire.rows(sql);
    let opened = 0;
    await waitFor(
      async () => {
        const before = here.pool().opened;
        for (let round = 0; round < 8; round++) await visit(here);
        opened = here.pool().opened - before;
        return opened < 4;
      },
      10_000,
      () => `${opened} connections were opened for eight visits`,
    );
  };
  try {
    await expectSharingAfter("ALTER ROLE weir SET work_mem = '8MB'");
    await expectSharingAfter('CREATE EVENT TRIGGER on_ddl ON ddl_command_end EXECUTE FUNCTION note_ddl()');
  } finally {
    await postgres.query('ALTER ROLE weir RESET work_mem');
    await postgres.query('DROP EVENT TRIGGER on_ddl');
    await postgres.query('DROP FUNCTION note_ddl()');
  }
});

test('a login trigger runs for each login, from the first after it was made', async () => {
  ground = await startPoolGround(postgres, { size: 4 });
  const { wire } = await ground.login();
  await wire.rows('CREATE TABLE login_log (pid int)');
  await wire.rows(
    'CREATE FUNCTION note_login() RETURNS event_trigger LANGUAGE plpgsql AS $$BEGIN INSERT INTO login_log VALUES (pg_backend_pid()); END$$',
  );
  await wire.rows('CREATE EVENT TRIGGER on_login ON login EXECUTE FUNCTION note_login()');
  try {
    for (let round = 0; round < 3; round++) await visit(ground);
    expect(await wire.rows('SELECT count(DISTINCT pid) FROM login_log')).toEqual([['3']]);
  } finally {
    await postgres.query('DROP EVENT TRIGGER on_login');
    await postgres.query('DROP FUNCTION note_login()');
    await postgres.query('DROP TABLE login_log');
  }
});

test('what a login trigger sets goes with each client from one server connection to the next', async () => {
  await postgres.query(`CREATE FUNCTION set_at_login() RETURNS event_trigger LANGUAGE plpgsql
    AS $$BEGIN SET work_mem = '9MB'; PERFORM set_config('shop.at_login', 'yes', false); END$$`);
  await postgres.query('CREATE EVENT TRIGGER on_login ON login EXECUTE FUNCTION set_at_login()');
  try {
    ground = await startPoolGround(postgres, { size: 1 });
    const { wire: one } = await ground.login();
    const { wire: other } = await ground.login();
    for (const wire of [one, other, one, other]) {
      await wire.rows('SET enable_sort = off');
      const shown = await wire.rows("SELECT current_setting('work_mem'), current_setting('shop.at_login')");
      expect(shown).toEqual([['9MB', 'yes']]);
    }
    await one.rows('RESET ALL');
    expect(await other.rows('SHOW work_mem')).toEqual([['9MB']]);
    expect(await one.rows('SHOW work_mem')).toEqual([['4MB']]);
    expect(ground.pool().opened).toBe(2);
  } finally {
    await ground?.stop();
    ground = null;
    await postgres.query('DROP EVENT TRIGGER on_login');
    await postgres.query('DROP FUNCTION set_at_login()');
  }
});

test('temporary tables that a login trigger makes are of one client alone', async () => {
  await postgres.query(`CREATE FUNCTION store_at_login() RETURNS event_trigger LANGUAGE plpgsql
    AS $$BEGIN CREATE TEMP TABLE session_storage (a text); END$$`);
  await postgres.query('CREATE EVENT TRIGGER on_login ON login EXECUTE FUNCTION store_at_login()');
  try {
    ground = await startPoolGround(postgres, { size: 1, queryWaitMs: 300 });
    const { wire: one } = await ground.login();
    const { wire: other } = await ground.login();
    await one.rows("INSERT INTO session_storage VALUES ('mine')");
    await expect(other.rows('SELECT * FROM session_storage')).rejects.toMatchObject({ code: '53300' });
    expect(await one.rows('SELECT * FROM session_storage')).toEqual([['mine']]);
    await one.end();
    expect(await other.rows('SELECT * FROM session_storage')).toEqual([]);
  } finally {
    await ground?.stop();
    ground = null;
    await postgres.query('DROP EVENT TRIGGER on_login');
    await postgres.query('DROP FUNCTION store_at_login()');
  }
});

test('a setting of a library that another client has loaded is unknown, as on a fresh connection', async () => {
  ground = await startPoolGround(postgres, { size: 1 });
  await visit(ground, 'DO $$BEGIN END$$');
  const { wire } = await ground.login();
  // With plpgsql loaded this is an error: its prefix is reserved then.
  await wire.rows('SET plpgsql.not_there = 1');
  expect(await wire.rows('SHOW plpgsql.not_there')).toEqual([['1']]);
});

test('a custom setting of another client is unknown, not empty', async () => {
  ground = await startPoolGround(postgres, { size: 1 });
  await visit(ground, "SET shop.tenant = 'other'");
  const { wire } = await ground.login();
  expect(await wire.rows("SELECT current_setting('shop.tenant', true) IS NULL")).toEqual([['t']]);
});

test('who had temporary objects leaves no connection to others, even after dropping them', async () => {
  ground = await startPoolGround(postgres, { size: 1 });
  const first = await visit(ground, 'CREATE TEMP TABLE mine (a int)', 'DROP TABLE mine');
  const { wire } = await ground.login();
  expect(await pidOf(wire)).not.toBe(first);
  await wire.rows("SET temp_buffers = '2MB'");
});

test('DROP DATABASE finds no connection of clients that have left, and one of a client that has not', async () => {
  ground = await startPoolGround(postgres, { size: 4 });
  const { wire } = await ground.login();
  await wire.rows('CREATE DATABASE deserted');
  try {
    const other = await ground.login({ database: 'deserted' });
    await other.wire.rows('SELECT 1');
    await expect(wire.rows('DROP DATABASE deserted')).rejects.toThrow(/being accessed/);
    await other.wire.end();
    await wire.rows('DROP DATABASE deserted');
  } finally {
    await postgres.query('DROP DATABASE IF EXISTS deserted WITH (FORCE)');
  }
});

test('options that differ in bytes which are no UTF-8 are each client’s own', async () => {
  ground = await startPoolGround(postgres, { size: 4 });
  for (const byte of [0xe8, 0xe9, 0xe8]) {
    const wire = await WireClient.connect(ground.weir);
    const parameters = ['user', 'weir', 'database', 'weir', 'client_encoding', 'SQL_ASCII', 'options', ''].join('\0');
    const options = Buffer.concat([Buffer.from('-c logins.byte='), Buffer.of(byte, 0, 0)]);
    wire.send(frontend.packet(frontend.int32(frontend.PROTOCOL_3_0), Buffer.from(parameters), options));
    await wire.readUntilReady();
    const [row] = (await wire.query("SELECT current_setting('logins.byte')")).filter(({ type }) => type === 'D');
    expect(row?.body.at(-1)).toBe(byte);
    await wire.end();
  }
});

test('who brings no application_name has that of the role, whoever logged in before', async () => {
  ground = await startPoolGround(postgres, { size: 1 });
  await postgres.query("ALTER ROLE app SET application_name = 'of the role'");
  try {
    const named = { user: 'app', parameters: { application_name: 'own' } };
    for (const options of [named, { user: 'app' }, { user: 'app' }, named, { user: 'app' }]) {
      const { wire, sessionId } = await ground.login(options);
      const expected = 'parameters' in options ? 'own' : 'of the role';
      expect(wire.parameters.get('application_name')).toBe(expected);
      expect(ground.weir.control.session(sessionId)?.applicationName).toBe(expected);
      expect(await wire.rows('SHOW application_name')).toEqual([[expected]]);
      await wire.rows("SET application_name = 'other'");
      await wire.rows('RESET application_name');
      expect(await wire.rows('SHOW application_name')).toEqual([[expected]]);
    }
  } finally {
    await postgres.query('ALTER ROLE app RESET application_name');
  }
});

test('an application_name that the server keeps otherwise is told, and told after RESET, as by the bare server', async () => {
  ground = await startPoolGround(postgres, { size: 1 });
  const bare = { host: postgres.host, port: postgres.port };
  const hear = async (wire: WireClient): Promise<string[]> => {
    const heard = [wire.parameters.get('application_name') ?? ''];
    for (const text of ['SELECT 1', 'RESET ALL', "SET application_name = 'other'", 'DISCARD ALL'])
      heard.push(...transcribe(await wire.query(text)));
    return heard;
  };
  for (const name of ['b\u00fcro', 'x'.repeat(80), 'tab\there']) {
    const options = { parameters: { application_name: name } };
    const direct = await WireClient.login(bare, options);
    const expected = await hear(direct);
    await direct.end();
    for (let round = 0; round < 2; round++) expect(await hear((await ground.login(options)).wire)).toEqual(expected);
  }
});

test('RESET inside of code leads to the own application_name, whoever opened the connection', async () => {
  await postgres.query(`CREATE FUNCTION reset_all() RETURNS void LANGUAGE plpgsql AS $$ BEGIN RESET ALL; END $$;
    CREATE FUNCTION give_name(name text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN
      EXECUTE format('SET application_name = %L', name); END $$`);
  ground = await startPoolGround(postgres, { size: 1 });
  const named = (name: string): LoginOptions => ({ parameters: { application_name: name } });
  const opener = await ground.login(named('of the opener'));
  const { wire } = await ground.login(named('own'));
  const look = async (): Promise<readonly (string | null | undefined)[]> => {
    await opener.wire.rows('SELECT 1');
    const [[name] = []] = await wire.rows('SHOW application_name');
    return [name, wire.parameters.get('application_name')];
  };
  const resets = [
    'SELECT reset_all()',
    'DO $$ BEGIN RESET application_name; END $$',
    "SELECT set_config('application_name', NULL, false)",
    'BEGIN; DO $$ BEGIN SET application_name TO DEFAULT; END $$; COMMIT',
    'EXECUTE calls',
    'EXECUTE "RESET"',
    'BEGIN; DECLARE looks CURSOR FOR SELECT reset_all(); FETCH looks; COMMIT',
    'FETCH held',
  ];
  await wire.query('PREPARE calls AS SELECT reset_all()');
  wire.send(frontend.parse('RESET ALL', 'RESET'), frontend.sync());
  await wire.readUntilReady();
  for (const before of ['SELECT 1', "SET application_name = 'other'"])
    for (const reset of resets) {
      await wire.query(before);
      if (reset === 'FETCH held') await wire.query('BEGIN; DECLARE held SCROLL CURSOR FOR SELECT reset_all()');
      await wire.query(reset);
      if (reset === 'FETCH held') await wire.query('COMMIT');
      expect(await look(), `${before}; ${reset}`).toEqual(['own', 'own']);
    }
  await wire.query("SELECT give_name('of the opener')");
  expect(await look()).toEqual(['of the opener', 'of the opener']);
});

test('DISCARD ALL leads to the own application_name, also where something behind it fails before its Sync', async () => {
  ground = await startPoolGround(postgres, { size: 1 });
  const opener = await ground.login({ parameters: { application_name: 'of the opener' } });
  const { wire } = await ground.login({ parameters: { application_name: 'own' } });
  wire.send(frontend.extendedQuery('DISCARD ALL'), frontend.extendedQuery('SELECT 1/0'), frontend.sync());
  await wire.readUntilReady();
  await opener.wire.rows('SELECT 1');
  expect(await wire.rows('SHOW application_name')).toEqual([['own']]);
  expect(wire.parameters.get('application_name')).toBe('own');
});

test('RESET ALL leads to the own application_name, also where a transaction is pipelined behind it that fails', async () => {
  ground = await startPoolGround(postgres, { size: 1 });
  await ground.login({ parameters: { application_name: 'of the opener' } });
  const { wire } = await ground.login({ parameters: { application_name: 'own' } });
  wire.send(frontend.extendedQuery('RESET ALL'), frontend.sync(), frontend.extendedQuery('BEGIN'), frontend.sync());
  await wire.readUntilReady(2);
  for (const sql of ['SELECT 1/0', 'ROLLBACK', 'SHOW application_name'])
    expect(transcribe(await wire.query(sql)).filter((line) => line.includes('opener'))).toEqual([]);
  expect(wire.parameters.get('application_name')).toBe('own');
});
