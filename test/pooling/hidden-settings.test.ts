// Settings that nobody sees being made: whose names are not known, not known yet, or another's on the same connection.

import { afterEach, describe, expect, test } from 'vitest';
import * as frontend from '../support/frontend-messages.ts';
import { sharedPostgres } from '../support/shared-postgres.ts';
import { transcribe } from '../support/transcript.ts';
import type { WireClient } from '../support/wire-client.ts';
import { type PoolGround, startPoolGround } from './pool-ground.ts';

const postgres = sharedPostgres();
let ground: PoolGround | null = null;
afterEach(async () => {
  await ground?.stop();
  ground = null;
  await postgres.query('DROP FUNCTION IF EXISTS hide(text)');
});

const BODY = `RETURNS text LANGUAGE plpgsql AS $$ BEGIN RETURN set_config('secret.' || 'name', value, false); END $$`;
const NAMED = `RETURNS text LANGUAGE plpgsql AS $$ BEGIN RETURN set_config('secret.name', value, false); END $$`;
const SHOW = "SELECT current_setting('secret.name', true)";

const nameOf = async (wire: WireClient): Promise<string | null | undefined> =>
  (await wire.rows("SELECT current_setting('application_name')"))[0]?.[0];

describe('a setting that hidden code makes', () => {
  test('is found from the first statement of the first clients on, though they come at once', async () => {
    await postgres.query(`CREATE FUNCTION hide(value text) ${NAMED}`);
    ground = await startPoolGround(postgres, { size: 2, affinity: 'avoid' });
    const { weir } = ground;
    const { WireClient: Client } = await import('../support/wire-client.ts');
    const wires = await Promise.all([0, 1, 2].map(() => Client.login(weir, {})));
    await Promise.all(wires.map((wire, index) => wire.rows(`SELECT hide('of ${index}')`)));
    for (let round = 0; round < 2; round++) {
      for (const [index, wire] of wires.entries()) expect(await wire.rows(SHOW)).toEqual([[`of ${index}`]]);
    }
    expect(ground.pool().pins).toEqual([]);
    for (const wire of wires) wire.destroy();
  });

  test('shows its value to nobody else, though its function was made past pgweir a moment ago', async () => {
    ground = await startPoolGround(postgres, { size: 1 });
    const { wire: one } = await ground.login();
    const { wire: other } = await ground.login();
    expect(await one.rows('SELECT 1')).toEqual([['1']]);
    await postgres.query(`CREATE FUNCTION hide(value text) ${BODY}`);
    expect(await one.rows("SELECT hide('a secret')")).toEqual([['a secret']]);
    expect((await other.rows(SHOW))[0]?.[0] ?? '').toBe('');
    expect(ground.pool().opened).toBe(1);
  });
});

describe('application_name', () => {
  test.each([
    { sql: 'BEGIN; RESET ALL; ROLLBACK', told: [], name: 'first' },
    { sql: 'BEGIN; RESET ALL; COMMIT', told: ['application_name\0second\0'], name: 'second' },
  ])('is told after $sql in one message as $name', async ({ sql, told, name }) => {
    ground = await startPoolGround(postgres, { size: 1 });
    const { wire: first } = await ground.login({ parameters: { application_name: 'first' } });
    const { wire: second } = await ground.login({ parameters: { application_name: 'second' } });
    await first.rows('SELECT 1');
    await second.rows("SET application_name = 'first'");
    const said = (await second.query(sql)).filter(({ type }) => type === 'S');
    expect(said.map(({ body }) => body.toString('utf8'))).toEqual(told);
    expect(await nameOf(second)).toBe(name);
  });

  test.each(['RESET ALL', 'RESET application_name', 'SET application_name TO DEFAULT', 'DISCARD ALL'])(
    "after %s is the client's own, and not that of the login that opened the connection",
    async (reset) => {
      ground = await startPoolGround(postgres, { size: 1, affinity: 'avoid' });
      const { wire: first } = await ground.login({ parameters: { application_name: 'first' } });
      const { wire: second } = await ground.login({ parameters: { application_name: 'second' } });
      for (const name of ['other', 'first']) {
        await second.rows(`SET application_name = '${name}'`);
        await second.rows(reset);
        expect(await nameOf(second)).toBe('second');
        expect(second.parameters.get('application_name')).toBe('second');
      }
      expect(await nameOf(first)).toBe('first');
    },
  );

  test('in a transaction, too, and is what it was before when that is rolled back', async () => {
    ground = await startPoolGround(postgres, { size: 1, affinity: 'avoid' });
    await ground.login({ parameters: { application_name: 'first' } });
    const { wire } = await ground.login({ parameters: { application_name: 'second' } });
    await wire.rows("SET application_name = 'set'");
    await wire.rows('BEGIN');
    await wire.rows('RESET ALL');
    await wire.rows('SET TRANSACTION ISOLATION LEVEL SERIALIZABLE');
    expect(await nameOf(wire)).toBe('second');
    await wire.rows('ROLLBACK');
    expect(await nameOf(wire)).toBe('set');
  });

  test('after RESET ALL leaves its client the statement without a name, in a transaction too', async () => {
    ground = await startPoolGround(postgres, { size: 1 });
    await ground.login({ parameters: { application_name: 'first' } });
    const { wire } = await ground.login({ parameters: { application_name: 'second' } });
    const say = async (...parts: readonly Buffer[]): Promise<string[]> => {
      wire.send(...parts, frontend.sync());
      return transcribe(await wire.readUntilReady());
    };
    const run = (statement: string): Buffer => Buffer.concat([frontend.bind({ statement }), frontend.execute()]);
    await say(frontend.parse('BEGIN', 'begin'), frontend.parse('RESET ALL', 'reset'), frontend.parse('SELECT 1'));
    for (const before of ['reset', 'begin']) {
      await say(run(before));
      await say(run('reset'));
      expect(await say(run(''))).toContain('BindComplete');
    }
  });

  test.each(['RESET ROLE', "SET work_mem = '5MB'", 'RESET work_mem'])(
    "given behind %s in one unit of work is the client's, though it is the name of whoever opened the connection",
    async (before) => {
      ground = await startPoolGround(postgres, { size: 1 });
      const { wire: opener } = await ground.login({ parameters: { application_name: 'first' } });
      const { wire } = await ground.login({ parameters: { application_name: 'second' } });
      for (const text of ["SET application_name = 'first'", "SELECT set_config('application_name', 'first', false)"]) {
        await wire.rows("SET application_name = 'second'");
        for (const sql of [before, text]) wire.send(frontend.parse(sql), frontend.bind(), frontend.execute());
        wire.send(frontend.sync());
        expect(transcribe(await wire.readUntilReady())).toContain('ParameterStatus application_name=first');
        await opener.rows('SELECT 1');
        expect(await nameOf(wire)).toBe('first');
      }
    },
  );

  // Behind a savepoint an error undoes what was done since then, and the end of the transaction the rest.
  const FAILED = ['SAVEPOINT a', 'SELECT 1/0'];
  test.each([
    { run: [], end: 'ROLLBACK' },
    { run: [], end: 'ROLLBACK AND CHAIN' },
    { run: [], end: 'SELECT 1/0' },
    { run: FAILED, end: 'COMMIT' },
    { run: FAILED, end: 'COMMIT AND CHAIN' },
  ])(
    "reset and committed with a transaction that ran $run and is undone by $end, stays the client's own",
    async (one) => {
      ground = await startPoolGround(postgres, { size: 1, affinity: 'avoid' });
      await ground.login({ parameters: { application_name: 'first' } });
      const { wire } = await ground.login({ parameters: { application_name: 'second' } });
      await wire.rows('BEGIN; RESET ALL; COMMIT AND CHAIN');
      const said: string[] = [];
      for (const text of [...one.run, one.end]) {
        wire.send(frontend.query(text));
        said.push(...transcribe(await wire.readUntilReady()));
      }
      const hasFailed = [...one.run, one.end].includes('SELECT 1/0');
      expect(said.includes('ReadyForQuery E')).toBe(hasFailed);
      expect(said.filter((line) => line.startsWith('ParameterStatus'))).toEqual([]);
      await wire.rows('ROLLBACK');
      expect(await nameOf(wire)).toBe('second');
      expect(wire.parameters.get('application_name')).toBe('second');
    },
  );
});
