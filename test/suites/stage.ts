// Where a suite runs: a fresh PostgreSQL 17 as its authors ship it, and the road to it, direct or through pgweir with a
// hundred rules loaded.

import { chmod, chown, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { makeHundredRules } from '../bench/hundred-rules.ts';
import { type Account, runProgram } from '../support/native-binaries.ts';
import { ServerProcess } from '../support/server-process.ts';
import { spawnWeir } from '../support/weir.ts';
import { type BuiltSource, SourceUnavailable } from './debian-source.ts';
import { type Ledger, readRestingLedger } from './ledger.ts';
import type { Login, Mode } from './modes.ts';
import type { Road } from './suite.ts';

/** The direct way is to a server of the same kind, by the same means: libpq has other words for the end of a TLS connection. */
export const WAYS = ['direct', 'pgweir'] as const;
export type Way = (typeof WAYS)[number];

export interface Stage {
  readonly road: Road;
  /** Of all pools since pgweir started, when clients have gone; null where no connections are shared. */
  readLedger(): Promise<Ledger | null>;
  close(): Promise<void>;
}

const PASSWORD = 'suites ✓ secret';

/** Server programs as they are in the cache, and a cluster that never ran, to be copied for each stage. */
export class Theatre {
  readonly source: BuiltSource;
  readonly folder: string;
  readonly account: Account | null;
  /**
   * The superuser, named as the account that servers run under: dblink and postgres_fdw log in to their own server by the name of
   * the system's user, as it is with `make installcheck`.
   */
  #user = '';
  #count = 0;

  constructor(source: BuiltSource, folder: string, account: Account | null) {
    this.source = source;
    this.folder = folder;
    this.account = account;
  }

  get #template(): string {
    return join(this.folder, 'template');
  }

  /** initdb. Throws SourceUnavailable where the server's account cannot enter the cache. */
  async prepare(): Promise<void> {
    const { account } = this;
    await makeOwned(this.folder, account);
    const initdb = join(this.source.prefix, 'bin/initdb');
    const tried = await runProgram(initdb, ['--version'], { account }).catch(() => null);
    if (tried?.code !== 0)
      throw new SourceUnavailable(`the account that servers run under cannot run ${initdb}: set PGWEIR_CACHE`);
    this.#user = (await runProgram('id', ['-un'], { account })).stdout.trim();
    const args = ['-D', this.#template, '-U', this.#user, '-A', 'trust', '-E', 'UTF8', '--no-locale', '--no-sync'];
    const made = await runProgram(initdb, args, { account });
    if (made.code !== 0) throw new Error(`initdb: exit ${made.code}\n${made.stderr}`);
    await this.#makeCertificate();
  }

  async open(mode: Mode, way: Way, configuration: Readonly<Record<string, string>>): Promise<Stage> {
    const server = await this.#startServer(mode, way, configuration);
    const road = {
      name: `${way === 'direct' ? mode.login : mode.name} ${way}`,
      host: '127.0.0.1',
      port: server.port,
      serverPort: server.port,
      dataFolder: server.dataFolder,
      user: this.#user,
      environment: environmentOf(mode.login),
    };
    if (way === 'direct') return { road, readLedger: async () => null, close: () => server.retire() };
    try {
      const weir = await spawnWeir({
        postgres: { host: '127.0.0.1', port: server.port },
        rules: makeHundredRules(),
        configuration: this.#configureWeir(mode),
      });
      const close = async (): Promise<void> => {
        await weir.stop();
        await server.retire();
      };
      const askLedger = async (): Promise<Ledger | null> =>
        mode.pool === null ? null : readRestingLedger(weir.adminUrl);
      return { road: { ...road, port: weir.port }, readLedger: askLedger, close };
    } catch (error) {
      await server.retire();
      throw error;
    }
  }

  #configureWeir({ login, pool }: Mode): Record<string, Record<string, unknown>> {
    const tls = {
      listen: { tls: { mode: 'require', certificate_file: this.#certificate, key_file: this.#key } },
      targets: { tls: { mode: 'verify-full', ca_file: this.#certificate } },
    };
    return {
      auth: { mode: login === 'trust' ? 'trust' : 'passthrough' },
      limits: { max_clients: 1_000 },
      ...(login === 'passthrough-tls' ? tls : {}),
      ...(pool === null ? {} : { pool: { mode: 'transaction', ...pool } }),
    };
  }

  get #certificate(): string {
    return join(this.folder, 'certificate.pem');
  }

  get #key(): string {
    return join(this.folder, 'key.pem');
  }

  /** One that is its own authority, for pgweir and for the server. */
  async #makeCertificate(): Promise<void> {
    const kind = ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '7', '-subj', '/CN=suites'];
    const files = ['-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', this.#key, '-out', this.#certificate];
    const made = await runProgram('openssl', [...kind, ...files], { account: this.account });
    if (made.code !== 0) throw new Error(`openssl req: exit ${made.code}\n${made.stderr}`);
  }

  async #startServer(
    { name, login }: Mode,
    way: Way,
    configuration: Readonly<Record<string, string>>,
  ): Promise<ServerProcess> {
    this.#count++;
    const folder = join(this.folder, `${name}-${way}-${this.#count}`);
    const dataFolder = join(folder, 'data');
    await makeOwned(folder, this.account);
    await makeOwned(join(folder, 's'), this.account);
    // By cp of the system as the server's account, so that owners and modes come out right.
    const copied = await runProgram('cp', ['-a', this.#template, dataFolder], { account: this.account });
    if (copied.code !== 0) throw new Error(`the cluster could not be copied: ${copied.stderr}`);
    const binaries = join(this.source.prefix, 'bin');
    const server = new ServerProcess({ name: way, binaries, folder, dataFolder, account: this.account });
    const lines = Object.entries({
      listen_addresses: '127.0.0.1',
      // dblink and postgres_fdw look for their own server in libpq's own place.
      unix_socket_directories: `${server.socketDirectory},/tmp`,
      fsync: 'off',
      // Not every container has a roomy /dev/shm.
      dynamic_shared_memory_type: 'mmap',
      ...(login === 'passthrough-tls' ? { ssl: 'on', ssl_cert_file: this.#certificate, ssl_key_file: this.#key } : {}),
      ...configuration,
    }).map(([name, value]) => `${name} = '${value.replaceAll("'", "''")}'`);
    await server.writeOwned('postgresql.auto.conf', `${lines.join('\n')}\n`);
    const method = login === 'trust' ? 'trust' : 'scram-sha-256';
    const host = login === 'passthrough-tls' ? 'hostssl' : 'host';
    await server.writeOwned(
      'pg_hba.conf',
      [
        'local all all trust',
        'local replication all trust',
        `${host} all ${this.#user} 127.0.0.1/32 ${method}`,
        `${host} replication ${this.#user} 127.0.0.1/32 ${method}`,
        // Tests that reconnect as a role of their own have no password to give.
        `${host} all all 127.0.0.1/32 trust`,
        '',
      ].join('\n'),
    );
    await server.boot();
    if (method !== 'trust') await this.#setPassword(server);
    return server;
  }

  async #setPassword(server: ServerProcess): Promise<void> {
    const psql = join(this.source.prefix, 'bin/psql');
    const sql = `ALTER ROLE ${this.#user} PASSWORD '${PASSWORD}'`;
    const args = [
      '-X',
      '-h',
      server.socketDirectory,
      '-p',
      String(server.port),
      '-U',
      this.#user,
      '-d',
      'postgres',
      '-c',
      sql,
    ];
    const result = await runProgram(psql, args, { account: this.account });
    if (result.code !== 0) throw new Error(`the password could not be set: ${result.stderr}`);
  }
}

/** What libpq is told: a password where there is one, and never to go without TLS where there should be TLS. */
function environmentOf(login: Login): Record<string, string> {
  switch (login) {
    case 'trust':
      return {};
    case 'passthrough':
      return { PGPASSWORD: PASSWORD };
    case 'passthrough-tls':
      // Certificates are the same on both stretches, so that even channel binding holds, and is demanded (SCRAM-SHA-256-PLUS).
      return { PGPASSWORD: PASSWORD, PGSSLMODE: 'require', PGCHANNELBINDING: 'require' };
    default:
      return login satisfies never;
  }
}

export async function makeOwned(folder: string, account: Account | null): Promise<void> {
  await mkdir(folder, { recursive: true });
  await chmod(folder, 0o755);
  if (account !== null) await chown(folder, account.uid, account.gid);
}
