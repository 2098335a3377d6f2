import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { waitFor } from './deadline.ts';
import { ROLES, startPostgres, type TestPostgres } from './postgres.ts';
import { findProcessesIn } from './server-process.ts';
import { sharedPostgres } from './shared-postgres.ts';

describe('the server pair of the run', () => {
  const shared = sharedPostgres();

  test('answers on the primary, over TCP and over the Unix socket', async () => {
    expect((await shared.query('SELECT pg_is_in_recovery() AS is_standby')).rows).toEqual([{ is_standby: false }]);
    const client = new pg.Client({
      host: shared.socketDirectory,
      port: shared.primaryPort,
      user: 'app',
      database: shared.database,
    });
    await client.connect();
    expect((await client.query('SELECT current_user AS me')).rows).toEqual([{ me: 'app' }]);
    await client.end();
  });

  test.each([ROLES.scram, ROLES.md5, ROLES.plain])('lets $user in with its password by $method', async (role) => {
    const client = new pg.Client({ host: shared.host, port: shared.primaryPort, database: shared.database, ...role });
    await client.connect();
    expect((await client.query('SELECT current_user AS me')).rows).toEqual([{ me: role.user }]);
    await client.end();
  });

  test.each([ROLES.scram, ROLES.md5, ROLES.plain])('refuses $user with a wrong password by $method', async (role) => {
    const client = new pg.Client({
      host: shared.host,
      port: shared.primaryPort,
      database: shared.database,
      user: role.user,
      password: 'wrong',
    });
    await expect(client.connect()).rejects.toMatchObject({ code: '28P01' });
  });
});

describe('a server of a test file', () => {
  let postgres: TestPostgres;
  beforeAll(async () => {
    postgres = await startPostgres({
      standbys: 1,
      settings: { work_mem: '5MB' },
      hbaLines: ['host all app 127.0.0.1/32 reject'],
    });
  });
  afterAll(() => postgres.stop());

  test('has a standby that follows the primary', async () => {
    await postgres.query('CREATE TABLE followed AS SELECT 42 AS answer');
    await postgres.waitForReplay();
    const [standby] = postgres.standbys;
    expect((await standby?.query('SELECT answer, pg_is_in_recovery() AS is_standby FROM followed'))?.rows).toEqual([
      { answer: 42, is_standby: true },
    ]);
    await expect(standby?.query('DROP TABLE followed')).rejects.toMatchObject({ code: '25006' });
  });

  test('has the settings and the pg_hba lines that were asked for', async () => {
    expect((await postgres.query('SHOW work_mem')).rows).toEqual([{ work_mem: '5MB' }]);
    const client = new pg.Client({
      host: postgres.host,
      port: postgres.port,
      user: 'app',
      database: postgres.database,
    });
    await expect(client.connect()).rejects.toMatchObject({ code: '28000' });
  });

  test('comes back on its port after a crash, with what was committed', async () => {
    await postgres.query('CREATE TABLE kept AS SELECT 1 AS one');
    await postgres.query('CHECKPOINT');
    await postgres.shutDown('immediate');
    await expect(postgres.query('SELECT 1')).rejects.toThrow(/ECONNREFUSED/);
    await postgres.boot();
    expect((await postgres.query('SELECT one FROM kept')).rows).toEqual([{ one: 1 }]);
  });
});

test('a stopped server leaves neither process nor file', async () => {
  const postgres = await startPostgres();
  const pid = postgres.pid();
  expect(pid).not.toBeNull();
  const folder = postgres.socketDirectory.replace(/\/s$/, '');
  expect(findProcessesIn(`${folder}/primary`)).toContain(pid);
  await postgres.stop();
  expect(findProcessesIn(`${folder}/primary`)).toEqual([]);
  expect(existsSync(folder)).toBe(false);
});

test('a server and a proxy whose tests are killed are stopped, and their files removed', async () => {
  const starter = spawn(process.execPath, [join(import.meta.dirname, 'abandoned-server.ts')], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [line] = (await once(starter.stdout, 'data')) as [Buffer];
  const [folder = '', proxyPid] = line.toString().trim().split(' ');
  expect(findProcessesIn(`${folder}/primary`)).not.toEqual([]);
  expect(isAlive(Number(proxyPid))).toBe(true);
  starter.kill('SIGKILL');
  await waitFor(
    () => findProcessesIn(`${folder}/primary`).length === 0 && !existsSync(folder) && !isAlive(Number(proxyPid)),
    10_000,
    () => `${folder} or process ${proxyPid} is still there`,
  );
});

test('a server that cannot start tells why, from its own log, and leaves nothing', async () => {
  await expect(startPostgres({ settings: { shared_buffers: 'plenty' } })).rejects.toThrow(
    /invalid value for parameter "shared_buffers"/,
  );
});

test('waiting in vain ends at the deadline, with the reason and the last error', async () => {
  const startedAt = performance.now();
  const waiting = waitFor(
    () => Promise.reject(new Error('no luck')),
    100,
    () => 'luck did not come',
  );
  await expect(waiting).rejects.toThrow(/after 100 ms: luck did not come; last error: no luck/);
  expect(performance.now() - startedAt).toBeLessThan(1_000);
});

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}
