// A real PostgreSQL for tests, the demo and the benchmark: a primary and its standbys in a temporary folder, gone without
// a trace when stopped, even when the process that started them is killed.

import { existsSync } from 'node:fs';
import { chmod, chown, cp, mkdir, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import pg from 'pg';
import { waitFor } from './deadline.ts';
import { type Account, findServerAccount, prepareBinaries, runProgram } from './native-binaries.ts';
import { ServerProcess } from './server-process.ts';

/** Roles that every test server has. The password decides nothing for `trust`. */
export const ROLES = {
  superuser: { user: 'weir', password: null, method: 'trust' },
  application: { user: 'app', password: null, method: 'trust' },
  scram: { user: 'scram_user', password: 'scram secret ✓', method: 'scram-sha-256' },
  md5: { user: 'md5_user', password: 'md5 secret', method: 'md5' },
  plain: { user: 'plain_user', password: 'plain secret', method: 'password' },
  rejected: { user: 'rejected_user', password: null, method: 'reject' },
} as const;

export const DATABASE = 'weir';

export interface PostgresOptions {
  readonly standbys?: number;
  /** Lines of postgresql.conf, for the primary and its standbys. */
  readonly settings?: Readonly<Record<string, string>>;
  /** Lines of pg_hba.conf that come before the usual ones. */
  readonly hbaLines?: readonly string[];
  /** Files of the data folder by name, such as server.crt and server.key. */
  readonly files?: Readonly<Record<string, string>>;
  /** A folder with `postgres` and `initdb` to use in place of npm's. */
  readonly binaries?: string;
}

export interface QueryRows {
  readonly rows: readonly Record<string, unknown>[];
  readonly rowCount: number | null;
}

/** One running server. */
export interface TestServer {
  readonly name: string;
  readonly host: string;
  readonly port: number;
  readonly socketDirectory: string;
  readonly user: string;
  readonly database: string;
  /** One statement by the superuser on a connection of its own, with a deadline of 10 s. */
  query(sql: string, values?: readonly unknown[]): Promise<QueryRows>;
  /** Process id of the postmaster, or null while it is down. */
  pid(): number | null;
  shutDown(mode?: 'fast' | 'immediate'): Promise<void>;
  /** Starts it again after shutDown, on the same port. */
  boot(): Promise<void>;
  logTail(): string;
}

export interface TestPostgres extends TestServer {
  /** Version of the server, such as 18.4. */
  readonly version: string;
  /** A cluster that never ran, for other processes of the run to copy: its place goes into TEMPLATE_VARIABLE. */
  readonly templateFolder: string;
  readonly standbys: readonly TestServer[];
  /** Waits until every standby has replayed all that the primary has written so far. */
  waitForReplay(deadlineMs?: number): Promise<void>;
  /** Ends all servers and removes their files. Rejects when one of their processes is left. */
  stop(): Promise<void>;
}

/** Where a template made by another process of the same run can be found: initdb runs once per run. */
export const TEMPLATE_VARIABLE = 'PGWEIR_TEST_TEMPLATE';

const MAX_SOCKET_PATH_BYTES = 100;

/** Starts a primary and, when asked, standbys that stream from it. Every wait has a deadline and quotes the server's log. */
export async function startPostgres(options: PostgresOptions = {}): Promise<TestPostgres> {
  const account = await findServerAccount();
  const folder = await makeScratchFolder(account);
  const servers: ServerProcess[] = [];
  try {
    const binaries = options.binaries ?? findSharedBinaries() ?? (await prepareBinaries(folder, account));
    const template = await findOrMakeTemplate(folder, binaries, account, options.binaries !== undefined);
    const start = async (name: string, upstream: ServerProcess | null): Promise<ServerProcess> => {
      const dataFolder = join(folder, name);
      await copyOwned(template, dataFolder, account);
      const server = new ServerProcess({ name, binaries, folder, dataFolder, account });
      await configure(server, options, upstream);
      servers.push(server);
      await server.boot();
      return server;
    };
    const primary = await start('primary', null);
    const standbys: ServerProcess[] = [];
    for (let index = 1; index <= (options.standbys ?? 0); index++)
      standbys.push(await start(`standby${index}`, primary));
    const postgres = describePostgres(primary, standbys, { folder, template, version: await readVersion(binaries) });
    await postgres.waitForReplay();
    return postgres;
  } catch (error) {
    await stopAll(servers, folder);
    throw error;
  }
}

/** The repaired copy of the programs that the shared template was made with, where one was needed. */
function findSharedBinaries(): string | null {
  const template = process.env[TEMPLATE_VARIABLE];
  const binaries = template === undefined ? null : join(dirname(template), 'native/bin');
  return binaries !== null && existsSync(binaries) ? binaries : null;
}

async function makeScratchFolder(account: Account | null): Promise<string> {
  // A Unix socket's path holds 107 bytes at most, and some systems have very long temporary folders.
  const parent =
    Buffer.byteLength(join(tmpdir(), 'weir-XXXXXX/s/.s.PGSQL.65535.lock')) > MAX_SOCKET_PATH_BYTES ? '/tmp' : tmpdir();
  const folder = await mkdtemp(join(parent, 'weir-'));
  await chmod(folder, 0o755);
  await mkdir(join(folder, 's'));
  if (account !== null) {
    await chown(folder, account.uid, account.gid);
    await chown(join(folder, 's'), account.uid, account.gid);
  }
  return folder;
}

async function findOrMakeTemplate(
  folder: string,
  binaries: string,
  account: Account | null,
  isForeignVersion: boolean,
): Promise<string> {
  const shared = process.env[TEMPLATE_VARIABLE];
  if (shared !== undefined && !isForeignVersion && existsSync(shared)) return shared;
  const template = join(folder, 'template');
  const made = await runProgram(
    join(binaries, 'initdb'),
    [
      '-D',
      template,
      '-U',
      ROLES.superuser.user,
      '-A',
      'trust',
      '-E',
      'UTF8',
      '--locale=C',
      '--no-sync',
      '--wal-segsize=4',
    ],
    { account },
  );
  if (made.code !== 0) throw new Error(`initdb: exit ${made.code}\n${made.stdout}${made.stderr}`);
  const filled = await runProgram(
    join(binaries, 'postgres'),
    ['--single', '-D', template, '-c', 'fsync=off', 'postgres'],
    {
      account,
      input: templateStatements(),
    },
  );
  if (filled.code !== 0 || /ERROR|FATAL/.test(filled.stderr)) {
    throw new Error(`the test roles could not be made: exit ${filled.code}\n${filled.stderr}`);
  }
  return template;
}

/** Statements for single-user mode: one per line. */
function templateStatements(): string {
  const quote = (text: string): string => `'${text.replaceAll("'", "''")}'`;
  const roles = Object.values(ROLES)
    .filter((role) => role.user !== ROLES.superuser.user)
    .flatMap((role) => [
      `SET password_encryption = '${role.method === 'md5' ? 'md5' : 'scram-sha-256'}';`,
      `CREATE ROLE ${role.user} LOGIN${role.password === null ? '' : ` PASSWORD ${quote(role.password)}`};`,
    ]);
  return [
    ...roles,
    `CREATE DATABASE ${DATABASE};`,
    `ALTER DATABASE ${DATABASE} OWNER TO ${ROLES.application.user};`,
    '',
  ].join('\n');
}

async function copyOwned(from: string, to: string, account: Account | null): Promise<void> {
  await cp(from, to, { recursive: true });
  await chmod(to, 0o700);
  if (account !== null) await chownAll(to, account);
}

async function chownAll(folder: string, account: Account): Promise<void> {
  await chown(folder, account.uid, account.gid);
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) await chownAll(path, account);
    else await chown(path, account.uid, account.gid);
  }
}

async function configure(
  server: ServerProcess,
  options: PostgresOptions,
  upstream: ServerProcess | null,
): Promise<void> {
  const settings: Record<string, string> = {
    listen_addresses: '127.0.0.1',
    unix_socket_directories: server.socketDirectory,
    fsync: 'off',
    full_page_writes: 'off',
    shared_buffers: '32MB',
    max_connections: '200',
    // Not every container has a roomy /dev/shm.
    dynamic_shared_memory_type: 'mmap',
    wal_level: 'replica',
    hot_standby: 'on',
    max_wal_senders: '10',
    wal_keep_size: '512MB',
    max_wal_size: '1GB',
    max_prepared_transactions: '10',
    autovacuum: 'off',
    lc_messages: 'C',
    log_min_messages: 'warning',
    log_line_prefix: '%m [%p] %u %a ',
    ...(upstream === null
      ? {}
      : {
          primary_conninfo: `host=127.0.0.1 port=${upstream.port} user=${ROLES.superuser.user} application_name=${server.name}`,
        }),
    ...options.settings,
  };
  const lines = Object.entries(settings).map(([name, value]) => `${name} = '${value.replaceAll("'", "''")}'`);
  const usual = Object.values(ROLES)
    .filter((role) => role.method !== 'trust')
    .flatMap((role) => [`local all ${role.user} ${role.method}`, `host all ${role.user} all ${role.method}`]);
  const hba = [
    ...(options.hbaLines ?? []),
    ...usual,
    'local all all trust',
    'host all all 127.0.0.1/32 trust',
    'local replication all trust',
    'host replication all 127.0.0.1/32 trust',
  ];
  await server.writeOwned('postgresql.auto.conf', `${lines.join('\n')}\n`);
  await server.writeOwned('pg_hba.conf', `${hba.join('\n')}\n`);
  for (const [name, text] of Object.entries(options.files ?? {})) await server.writeOwned(name, text);
  if (upstream !== null) await server.writeOwned('standby.signal', '');
}

function describeServer(server: ServerProcess): TestServer {
  return {
    name: server.name,
    host: '127.0.0.1',
    port: server.port,
    socketDirectory: server.socketDirectory,
    user: ROLES.superuser.user,
    database: DATABASE,
    query: (sql, values) => queryOnce(server, sql, values ?? []),
    pid: () => server.pid(),
    shutDown: (mode = 'fast') => server.shutDown(mode),
    boot: () => server.boot(),
    logTail: () => server.logTail(),
  };
}

function describePostgres(
  primary: ServerProcess,
  standbys: readonly ServerProcess[],
  place: { readonly folder: string; readonly template: string; readonly version: string },
): TestPostgres {
  const described = describeServer(primary);
  return {
    ...described,
    version: place.version,
    templateFolder: place.template,
    standbys: standbys.map(describeServer),
    async waitForReplay(deadlineMs = 20_000) {
      if (standbys.length === 0) return;
      // A record of its own: the position of the next record need not be one that a standby ever reports.
      const marked = await described.query("SELECT pg_logical_emit_message(true, 'test support', '')::text AS lsn");
      const lsn = marked.rows[0]?.lsn;
      for (const standby of standbys) {
        await waitFor(
          async () => {
            const replayed = await queryOnce(standby, 'SELECT pg_last_wal_replay_lsn() >= $1::pg_lsn AS is_there', [
              lsn,
            ]);
            return replayed.rows[0]?.is_there === true;
          },
          deadlineMs,
          () => `${standby.name} has not replayed ${String(lsn)}\n${standby.logTail()}`,
        );
      }
    },
    stop: () => stopAll([...standbys, primary], place.folder),
  };
}

async function stopAll(servers: readonly ServerProcess[], folder: string): Promise<void> {
  const failures: unknown[] = [];
  for (const server of servers) await server.retire().catch((error: unknown) => failures.push(error));
  await rm(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 });
  if (failures.length > 0) throw new AggregateError(failures, failures.map(String).join('\n'));
}

async function readVersion(binaries: string): Promise<string> {
  const { stdout } = await runProgram(join(binaries, 'postgres'), ['--version']).catch(() => ({ stdout: '' }));
  return /\d+(\.\d+)?/.exec(stdout)?.[0] ?? 'unknown';
}

/** Runs one statement (or several without values) as the superuser. */
async function queryOnce(server: { port: number }, sql: string, values: readonly unknown[]): Promise<QueryRows> {
  const client = new pg.Client({
    host: '127.0.0.1',
    port: server.port,
    user: ROLES.superuser.user,
    database: DATABASE,
    connectionTimeoutMillis: 10_000,
    query_timeout: 10_000,
    application_name: 'test support',
  });
  client.on('error', () => undefined);
  await client.connect();
  try {
    const result = await client.query(sql, [...values]);
    return { rows: result.rows ?? [], rowCount: result.rowCount };
  } finally {
    await client.end();
  }
}
