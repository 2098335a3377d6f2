// The paths that the benchmark compares: the server itself, PgBouncer, a relay that only copies bytes, pgweir without
// rules, pgweir with a hundred.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { chmod, chown, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { formatLedger, readLedger } from '../suites/ledger.ts';
import { waitFor, withDeadline } from '../support/deadline.ts';
import { findServerAccount, runProgram } from '../support/native-binaries.ts';
import type { TestPostgres } from '../support/postgres.ts';
import { findFreePort } from '../support/server-process.ts';
import { setWatchdog } from '../support/watchdog.ts';
import { spawnWeir } from '../support/weir.ts';
import { WireClient } from '../support/wire-client.ts';
import { findPgBouncer, providePoolingPgBouncer } from './pgbouncer-build.ts';

export const PATHS = ['direct', 'pgbouncer', 'bare relay', 'pgweir', 'pgweir+rules'] as const;
export type Path = (typeof PATHS)[number];

/** Certificate and key that every path shows to pgbench where the run is over TLS. */
export interface TlsFiles {
  readonly certificateFile: string;
  readonly keyFile: string;
}

/** Both poolers in transaction mode, with so many server connections; null: in session mode. */
export type Pooling = { readonly size: number } | null;

export interface Contender {
  readonly path: Path;
  readonly version: string;
  readonly host: string;
  readonly port: number;
  /** CPU time of the proxy process so far, all threads; null for the direct path. */
  cpuMicroseconds(): number | null;
  /** The last that the process wrote to its log. */
  logTail(): string;
  /** What its pool entered so far, in words; null where it has none that tells. */
  describePool(): Promise<string | null>;
  stop(): Promise<void>;
}

export function startDirect(postgres: TestPostgres): Contender {
  return {
    path: 'direct',
    version: `PostgreSQL ${postgres.version}`,
    host: postgres.host,
    port: postgres.port,
    cpuMicroseconds: () => null,
    logTail: () => postgres.logTail(),
    describePool: async () => null,
    stop: async () => undefined,
  };
}

/** One PgBouncer process. Null where there is none to be had. */
export async function startPgBouncer(
  postgres: TestPostgres,
  tls: TlsFiles | null,
  pooling: Pooling,
  say: (line: string) => void,
): Promise<Contender | null> {
  const program = pooling === null ? await findPgBouncer() : await providePoolingPgBouncer(say);
  if (program === null) return null;
  const account = await findServerAccount();
  const folder = await mkdtemp(join(tmpdir(), 'weir-bouncer-'));
  const port = await findFreePort();
  const configuration = [
    '[databases]',
    `* = host=${postgres.host} port=${postgres.port}`,
    '[pgbouncer]',
    'listen_addr = 127.0.0.1',
    `listen_port = ${port}`,
    'unix_socket_dir =',
    'auth_type = trust',
    `auth_file = ${join(folder, 'users.txt')}`,
    ...(pooling === null
      ? ['pool_mode = session', 'max_client_conn = 200', 'default_pool_size = 150']
      : [
          'pool_mode = transaction',
          'max_client_conn = 2000',
          `default_pool_size = ${pooling.size}`,
          'max_prepared_statements = 200',
        ]),
    'ignore_startup_parameters = extra_float_digits',
    'log_connections = 0',
    'log_disconnections = 0',
    'log_stats = 0',
    ...(tls === null
      ? []
      : [
          'client_tls_sslmode = allow',
          `client_tls_cert_file = ${tls.certificateFile}`,
          `client_tls_key_file = ${tls.keyFile}`,
        ]),
    '',
  ].join('\n');
  await writeFile(join(folder, 'users.txt'), `"${postgres.user}" ""\n`);
  await writeFile(join(folder, 'pgbouncer.ini'), configuration);
  await chmod(folder, 0o755);
  if (account !== null) await chown(folder, account.uid, account.gid);
  // PgBouncer refuses to be root, as PostgreSQL does.
  const child = spawn(program, [join(folder, 'pgbouncer.ini')], {
    ...(account ?? {}),
    cwd: '/',
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const callOffWatchdog = setWatchdog('kill "$1"; rm -rf "$2"', [String(child.pid ?? ''), folder]);
  const log = collectText(child);
  const stop = async (): Promise<void> => {
    await endChild(child);
    callOffWatchdog();
    await rm(folder, { recursive: true, force: true });
  };
  try {
    await waitUntilServing({ host: '127.0.0.1', port }, postgres, log);
  } catch (error) {
    await stop();
    throw error;
  }
  const { stdout } = await runProgram(program, ['--version']);
  return {
    path: 'pgbouncer',
    version: stdout.split('\n')[0] ?? 'PgBouncer',
    host: '127.0.0.1',
    port,
    cpuMicroseconds: () => readCpuMicroseconds(child.pid ?? 0),
    logTail: log,
    describePool: async () => null,
    stop,
  };
}

/** pgweir as `npm start` would run it, with the given rule document. */
export async function startPgweir(
  path: 'pgweir' | 'pgweir+rules',
  postgres: TestPostgres,
  rules: string,
  tls: TlsFiles | null,
  pooling: Pooling,
): Promise<Contender> {
  const listen =
    tls === null ? {} : { tls: { mode: 'allow', certificate_file: tls.certificateFile, key_file: tls.keyFile } };
  const shared = { limits: { max_clients: 2_000 }, pool: { mode: 'transaction', size: pooling?.size } };
  const configuration = { listen, ...(pooling === null ? {} : shared) };
  const weir = await spawnWeir({ postgres, rules, configuration });
  return {
    path,
    version: `pgweir on Node ${process.version}`,
    host: weir.host,
    port: weir.port,
    cpuMicroseconds: () => readCpuMicroseconds(weir.pid),
    logTail: () => weir.log(),
    describePool: async () => (pooling === null ? null : formatLedger(await readLedger(weir.adminUrl))),
    stop: () => weir.stop(),
  };
}

/** A relay in Node that copies bytes and does nothing else. */
export async function startBareRelay(postgres: TestPostgres): Promise<Contender> {
  const child = spawn(
    process.execPath,
    [join(import.meta.dirname, 'bare-relay.ts'), postgres.host, String(postgres.port)],
    { stdio: ['ignore', 'pipe', 'pipe'] },
  );
  const callOffWatchdog = setWatchdog('kill "$1"', [String(child.pid ?? '')]);
  const log = collectText(child);
  const stop = async (): Promise<void> => {
    await endChild(child);
    callOffWatchdog();
  };
  try {
    const [line] = await withDeadline(once(child.stdout, 'data'), 10_000, () => `the relay does not start\n${log()}`);
    return {
      path: 'bare relay',
      version: `Node ${process.version}`,
      host: '127.0.0.1',
      port: Number(String(line)),
      cpuMicroseconds: () => readCpuMicroseconds(child.pid ?? 0),
      logTail: log,
      describePool: async () => null,
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** CPU time of all threads in µs: to the nanosecond where the kernel keeps it, else in ticks of 10 ms. */
export function readCpuMicroseconds(pid: number): number {
  try {
    return readdirSync(`/proc/${pid}/task`).reduce(
      (sum, thread) =>
        sum + Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ')[0]) / 1_000,
      0,
    );
  } catch {
    // The fields after the program's name, which may hold spaces: utime is the 12th of them, stime the 13th.
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
      .replace(/^.*\) /s, '')
      .split(' ');
    return (Number(fields[11]) + Number(fields[12])) * 10_000;
  }
}

async function waitUntilServing(
  address: { host: string; port: number },
  postgres: TestPostgres,
  log: () => string,
): Promise<void> {
  await waitFor(
    async () => {
      const client = await WireClient.login(address, { user: postgres.user, database: postgres.database });
      await client.end();
      return true;
    },
    15_000,
    () => `nothing serves on port ${address.port}\n${log()}`,
    100,
  );
}

function collectText(child: ChildProcess): () => string {
  let text = '';
  child.stderr?.setEncoding('utf8').on('data', (chunk: string) => {
    text = (text + chunk).slice(-4_000);
  });
  child.on('error', (error) => {
    text += error.message;
  });
  return () => text;
}

async function endChild(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
  const exited = once(child, 'exit');
  child.kill('SIGTERM');
  await withDeadline(exited, 3_000, () => 'it does not end').catch(async () => {
    child.kill('SIGKILL');
    await exited;
  });
}
