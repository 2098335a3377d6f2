// Where verifiers and passwords come from, and what becomes of a login when they change, cannot be had, or are wrong.

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { deriveKeys, parseVerifier, sha256 } from '../../src/auth/verifier.ts';
import { createLog } from '../../src/base/log.ts';
import type { AuthQuery } from '../../src/config/settings.ts';
import { withClosedPort } from '../support/closed-port.ts';
import { waitFor } from '../support/deadline.ts';
import * as frontend from '../support/frontend-messages.ts';
import { ROLES } from '../support/postgres.ts';
import { sharedPostgres } from '../support/shared-postgres.ts';
import { readFields } from '../support/transcript.ts';
import { tryLogin } from '../support/try-login.ts';
import { type SettingsOverrides, startTestWeir, type TestWeir, type TestWeirOptions } from '../support/weir.ts';
import { type LoginOptions, WireClient } from '../support/wire-client.ts';

const postgres = sharedPostgres();
const target = { host: postgres.host, port: postgres.primaryPort };
const { scram, md5 } = ROLES;
/** A role that the server asks for nothing, so that only pgweir decides. */
const FREE = 'secrets_free';
const query: AuthQuery = {
  user: 'weir',
  database: 'postgres',
  text: 'SELECT rolname, CASE WHEN rolvaliduntil < now() THEN NULL ELSE rolpassword END FROM pg_authid WHERE rolname = $1',
  cacheMs: 60_000,
  maxCachedUsers: 3,
};
let folder: string;
let logged: string[] = [];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'weir-secrets-'));
  await postgres.query(`DROP ROLE IF EXISTS ${FREE}`);
  await postgres.query(`CREATE ROLE ${FREE} LOGIN PASSWORD 'first one'`);
});

afterAll(async () => {
  await postgres.query(`DROP ROLE ${FREE}`);
  await rm(folder, { recursive: true, force: true });
});

async function withWeir<T>(
  auth: SettingsOverrides['auth'],
  use: (weir: TestWeir) => Promise<T>,
  options: Partial<TestWeirOptions> & { limits?: SettingsOverrides['limits'] } = {},
): Promise<T> {
  logged = [];
  const weir = await startTestWeir({
    postgres: target,
    settings: { auth: auth ?? {}, limits: options.limits ?? {} },
    log: createLog('debug', { write: (line) => logged.push(line) }),
    ...options,
  });
  try {
    return await use(weir);
  } finally {
    await weir.stop();
  }
}

const refused = (user: string): string => `28P01 password authentication failed for user "${user}"`;

describe('with auth.query', () => {
  test('a user gets in by the keys of the login itself: pgweir knows no password', async () => {
    await withWeir({ mode: 'scram', query }, async (weir) => {
      expect(await tryLogin(weir, scram)).toBe(`in as ${scram.user}`);
      expect(await tryLogin(weir, { ...scram, password: 'no' })).toBe(refused(scram.user));
    });
  });

  test('a user with an md5 verifier gets in by md5, and not where only SCRAM will do', async () => {
    await withWeir({ mode: 'md5', query }, async (weir) => {
      expect(await tryLogin(weir, md5)).toBe(`in as ${md5.user}`);
      expect(await tryLogin(weir, { ...md5, password: 'no' })).toBe(refused(md5.user));
      expect(await tryLogin(weir, scram)).toBe(`in as ${scram.user}`);
    });
    await withWeir({ mode: 'scram', query }, async (weir) => {
      expect(await tryLogin(weir, md5)).toBe(refused(md5.user));
    });
  });

  test('an answer is kept, dropped when it does not fit, and only the newest users are kept', async () => {
    await postgres.query(`ALTER ROLE ${FREE} PASSWORD 'first one'`);
    await withWeir({ mode: 'scram', query }, async (weir) => {
      const lookUps = (): number => weir.control.counters.leasesTaken;
      expect(await tryLogin(weir, { user: FREE, password: 'first one' })).toBe(`in as ${FREE}`);
      expect(lookUps()).toBe(2);
      expect(await tryLogin(weir, { user: FREE, password: 'first one' })).toBe(`in as ${FREE}`);
      expect(lookUps()).toBe(3);
      await postgres.query(`ALTER ROLE ${FREE} PASSWORD 'second one'`);
      expect(await tryLogin(weir, { user: FREE, password: 'second one' })).toBe(refused(FREE));
      expect(await tryLogin(weir, { user: FREE, password: 'second one' })).toBe(`in as ${FREE}`);
      expect(lookUps()).toBe(5);
      for (const user of ['nobody1', 'nobody2', 'nobody3']) {
        const client = await WireClient.connect(weir);
        client.send(frontend.startupMessage({ user, database: 'weir' }));
        await client.readMessage();
        client.destroy();
      }
      expect(await tryLogin(weir, { user: FREE, password: 'second one' })).toBe(`in as ${FREE}`);
      expect(lookUps()).toBe(10);
    });
  });

  test('cache_ms 0 asks each time', async () => {
    await postgres.query(`ALTER ROLE ${FREE} PASSWORD 'first one'`);
    await withWeir({ mode: 'scram', query: { ...query, cacheMs: 0 } }, async (weir) => {
      expect(await tryLogin(weir, { user: FREE, password: 'first one' })).toBe(`in as ${FREE}`);
      await postgres.query(`ALTER ROLE ${FREE} PASSWORD 'second one'`);
      expect(await tryLogin(weir, { user: FREE, password: 'second one' })).toBe(`in as ${FREE}`);
    });
  });

  test('of a password that has changed at the server under a kept verifier the next login hears', async () => {
    await postgres.query('DROP ROLE IF EXISTS scram_user_two');
    await withWeir({ mode: 'scram', query }, async (weir) => {
      expect(await tryLogin(weir, scram)).toBe(`in as ${scram.user}`);
      await postgres.query(`ALTER ROLE ${scram.user} PASSWORD '${scram.password}'`);
      expect(await tryLogin(weir, scram)).toMatch(/^28000 pgweir could not log in .* another verifier/);
      expect(await tryLogin(weir, scram)).toBe(`in as ${scram.user}`);
    });
  });

  test('nothing that a client or a role sets changes what is asked (CVE-2025-12819)', async () => {
    await postgres.query('DROP ROLE IF EXISTS secrets_asker');
    await postgres.query('CREATE ROLE secrets_asker LOGIN SUPERUSER');
    const inPostgres = await WireClient.login(target, { database: 'postgres' });
    for (const sql of [
      'DROP SCHEMA IF EXISTS evil CASCADE',
      'CREATE SCHEMA evil',
      `CREATE TABLE evil.pg_authid AS SELECT rolname, rolvaliduntil, (SELECT rolpassword FROM pg_authid WHERE rolname = '${scram.user}') AS rolpassword FROM pg_authid`,
      'ALTER ROLE secrets_asker SET search_path = evil, pg_catalog',
      'ALTER DATABASE postgres SET search_path = evil, pg_catalog',
    ])
      await inPostgres.rows(sql);
    try {
      await withWeir({ mode: 'scram', query: { ...query, user: 'secrets_asker', cacheMs: 0 } }, async (weir) => {
        const hijack = { options: '-c search_path=evil,pg_catalog' };
        for (const parameters of [{}, hijack, { search_path: 'evil, pg_catalog' }]) {
          expect(await tryLogin(weir, { user: FREE, password: scram.password, parameters })).toBe(refused(FREE));
          expect(await tryLogin(weir, { user: FREE, password: 'second one', parameters })).toBe(`in as ${FREE}`);
        }
      });
    } finally {
      for (const sql of [
        'ALTER DATABASE postgres RESET search_path',
        'DROP SCHEMA evil CASCADE',
        'DROP ROLE secrets_asker',
      ])
        await inPostgres.rows(sql);
      await inPostgres.end();
    }
  });

  test.each([
    ['is no SQL', { text: 'SELEC $1' }, /42601 syntax error/],
    ['writes', { text: 'CREATE TABLE t AS SELECT $1' }, /25006|42P18/],
    ['asks as somebody without a password', { user: scram.user }, /pgweir has none for user/],
    ['asks as nobody', { user: 'no_such_role' }, /28000 role .*no_such_role.* does not exist/],
    ['asks in no database', { database: 'no_such_database' }, /3D000/],
  ])('a query that %s lets nobody in, and the log tells why', async (_what, wrong, reason) => {
    await withWeir({ mode: 'scram', query: { ...query, ...wrong } }, async (weir) => {
      const told = await tryLogin(weir, { user: FREE, password: 'second one' });
      expect(told).toBe('58000 pgweir could not look the user up in the database');
      expect(logged.join('')).toMatch(reason);
    });
  });

  test('a query without a row, or with a broken verifier, is a wrong password', async () => {
    for (const text of ['SELECT NULL WHERE $1 = NULL', 'SELECT $1::text, NULL', "SELECT $1::text, 'SCRAM-SHA-256$x'"]) {
      await withWeir({ mode: 'scram', query: { ...query, text } }, async (weir) => {
        expect(await tryLogin(weir, { user: FREE, password: 'second one' })).toBe(refused(FREE));
      });
    }
  });

  test('a database that is down is told as such', () =>
    withClosedPort((port) =>
      withWeir(
        { mode: 'scram', query },
        async (weir) => expect(await tryLogin(weir, scram)).toMatch(/^08001 pgweir cannot reach the database/),
        { postgres: { host: '127.0.0.1', port } },
      ),
    ));

  test('many clients at once are all served', async () => {
    await withWeir({ mode: 'scram', query: { ...query, cacheMs: 0 } }, async (weir) => {
      const users = Array.from(
        { length: 40 },
        (_, index): LoginOptions => (index % 2 === 0 ? scram : { ...scram, user: `nobody${index}` }),
      );
      const outcomes = await Promise.all(users.map((options) => tryLogin(weir, options)));
      expect(outcomes).toEqual(users.map(({ user = '' }) => (user === scram.user ? `in as ${user}` : refused(user))));
    });
  });

  test('a replica is logged in to with the same keys', async () => {
    const rules =
      'traffic_control:\n  rules:\n    - { name: reads, match: { query_class: [read] }, action: route, target: replica }\n';
    await withWeir(
      { mode: 'scram', query },
      async (weir) => {
        const client = await WireClient.login(weir, scram);
        expect(await client.rows('SELECT pg_is_in_recovery(), session_user')).toEqual([['t', scram.user]]);
        await client.end();
      },
      { postgres, rules },
    );
  });
});

describe('with files', () => {
  test('a users file is read again when it changes, and a broken one leaves the old in force', async () => {
    const path = join(folder, 'users');
    const text = `"${FREE}" "from the file"\n`;
    await writeFile(path, text);
    await withWeir({ mode: 'scram', usersFile: { path, text } }, async (weir) => {
      expect(await tryLogin(weir, { user: FREE, password: 'from the file' })).toBe(`in as ${FREE}`);
      expect(await tryLogin(weir, scram)).toBe(refused(scram.user));
      await writeFile(path, `"${FREE}" "seventh heaven"\n"${scram.user}" "${scram.password}"\n`);
      await waitFor(
        async () => (await tryLogin(weir, { user: FREE, password: 'seventh heaven' })) === `in as ${FREE}`,
        5_000,
        () => logged.join(''),
      );
      expect(await tryLogin(weir, { user: FREE, password: 'from the file' })).toBe(refused(FREE));
      expect(await tryLogin(weir, scram)).toBe(`in as ${scram.user}`);
      await writeFile(path, `"${FREE}" "eighth day"\n"broken top secret\n`);
      await waitFor(
        () => logged.join('').includes('line 2 is not of the form'),
        5_000,
        () => logged.join(''),
      );
      expect(await tryLogin(weir, { user: FREE, password: 'seventh heaven' })).toBe(`in as ${FREE}`);
      expect(await tryLogin(weir, { user: FREE, password: 'eighth day' })).toBe(refused(FREE));
      expect(logged.join('')).not.toMatch(/top secret|from the file|seventh|eighth/);
    });
  });

  test('a password file is read again when it changes, and an empty one leaves the old in force', async () => {
    const passwordFile = join(folder, 'password');
    await writeFile(passwordFile, 'not yet right\n');
    const credentials = [{ user: scram.user, password: 'not yet right', passwordFile }];
    await withWeir({ mode: 'trust', credentials }, async (weir) => {
      expect(await tryLogin(weir, { user: scram.user })).toBe(refused(scram.user));
      await writeFile(passwordFile, `${scram.password}\n`);
      await waitFor(
        async () => (await tryLogin(weir, { user: scram.user })) === `in as ${scram.user}`,
        5_000,
        () => logged.join(''),
      );
      await writeFile(passwordFile, '\n');
      await waitFor(
        () => logged.join('').includes('it is empty'),
        5_000,
        () => logged.join(''),
      );
      expect(await tryLogin(weir, { user: scram.user })).toBe(`in as ${scram.user}`);
      expect(logged.join('')).not.toContain(scram.password);
    });
  });

  test('an md5 verifier of the users file serves for the server too', async () => {
    const { rows } = await postgres.query('SELECT rolpassword FROM pg_authid WHERE rolname = $1', [md5.user]);
    const text = `"${md5.user}" "${String(rows[0]?.rolpassword)}"\n`;
    await withWeir({ mode: 'trust', usersFile: { path: join(folder, 'none'), text } }, async (weir) => {
      expect(await tryLogin(weir, { user: md5.user })).toBe(`in as ${md5.user}`);
      expect(await tryLogin(weir, { user: scram.user })).toMatch(/^28000 .*pgweir has none for user/);
    });
  });
});

test('a certificate is asked for where there can be none', async () => {
  await withWeir({ mode: 'certificate' }, async (weir) => {
    expect(await tryLogin(weir, { user: FREE })).toBe('28000 connection requires a valid client certificate');
  });
});

test('passwords of any characters are prepared as the server does', async () => {
  await postgres.query('DROP ROLE IF EXISTS secrets_unicode');
  await postgres.query('CREATE ROLE secrets_unicode');
  const picked = fc.constantFrom(
    ...'aZ \u00A0\u00AD\u00E9\u0301\u00AA\u2168\u0627\u0661\u200B\uFB01\uE000\u0378\u{1F600}\u3000\u0007',
  );
  const character = fc.oneof(picked, fc.string({ unit: 'binary', minLength: 1, maxLength: 1 }));
  await fc.assert(
    fc.asyncProperty(fc.array(character, { minLength: 1, maxLength: 6 }), async (characters) => {
      const password = characters.join('');
      fc.pre(password.isWellFormed() && !password.includes('\0'));
      await postgres.query(`ALTER ROLE secrets_unicode PASSWORD '${password.replaceAll("'", "''")}'`);
      const { rows } = await postgres.query("SELECT rolpassword FROM pg_authid WHERE rolname = 'secrets_unicode'");
      const verifier = parseVerifier(String(rows[0]?.rolpassword));
      if (verifier?.type !== 'scram') throw new Error('no SCRAM verifier');
      const keys = await deriveKeys(password, Buffer.from(verifier.salt, 'base64'), verifier.iterations);
      expect(sha256(keys.clientKey).equals(verifier.storedKey)).toBe(true);
      expect(keys.serverKey.equals(verifier.serverKey)).toBe(true);
    }),
    { numRuns: 60 },
  );
  await postgres.query('DROP ROLE secrets_unicode');
});

describe('a client that is asked', () => {
  const auth = { mode: 'scram', query } as const;
  const startup = frontend.startupMessage({ user: scram.user, database: 'weir' });

  test('and says nothing is sent home in time, one that answers stays', async () => {
    await withWeir(
      auth,
      async (weir) => {
        const silent = await WireClient.connect(weir);
        silent.send(startup);
        expect((await silent.readMessage()).type).toBe('R');
        const other = await WireClient.login(weir, scram);
        const messages = await silent.readUntilEnd();
        expect(messages.map(({ body }) => readFields(body).C)).toEqual(['08006']);
        expect(await other.rows('SELECT 1')).toEqual([['1']]);
        await other.end();
      },
      { limits: { loginTimeoutMs: 500 } },
    );
  });

  test('and leaves, or closes its half, leaves nothing behind', async () => {
    await withWeir(auth, async (weir) => {
      const [gone, half] = [await WireClient.connect(weir), await WireClient.connect(weir)];
      for (const client of [gone, half]) {
        client.send(startup);
        await client.readMessage();
      }
      gone.destroy();
      half.socket.end();
      expect(await half.readUntilEnd()).toEqual([]);
      await waitFor(
        () => weir.control.counters.currentClients === 0,
        5_000,
        () => 'a client is left',
      );
      expect(weir.control.counters.leasesTaken).toBe(weir.control.counters.leasesReturned);
    });
  });

  test('and answers byte by byte gets in, as does one that has sent its first answer already', async () => {
    await withWeir(auth, async (weir) => {
      const slow = await WireClient.connect(weir);
      const send = slow.send.bind(slow);
      slow.send = (bytes) => {
        for (let at = 0; at < bytes.length; at++) send(bytes.subarray(at, at + 1));
      };
      slow.socket.setNoDelay(true);
      expect((await slow.startup(scram)).at(-1)?.type).toBe('Z');
      await slow.end();
      const eager = await WireClient.connect(weir);
      const first = Buffer.from('n,,n=,r=abc');
      const answer = frontend.message('p', frontend.cstring('SCRAM-SHA-256'), frontend.int32(first.length), first);
      eager.send(Buffer.concat([startup, answer]));
      const asked = [await eager.readMessage(), await eager.readMessage()];
      expect(asked.map(({ body }) => body.readInt32BE(0))).toEqual([10, 11]);
      eager.destroy();
    });
  });
});
