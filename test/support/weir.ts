// pgweir for tests: in this process, with settings as values, or as a child process that reads a configuration file as
// `npm start` does.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { stringify } from 'yaml';
import type { ControlPlane } from '../../src/admin/control.ts';
import { startWeir } from '../../src/app.ts';
import { type Log, silentLog } from '../../src/base/log.ts';
import type { Settings } from '../../src/config/settings.ts';
import { waitFor, withDeadline } from './deadline.ts';
import { findFreePorts } from './server-process.ts';
import { setWatchdog } from './watchdog.ts';

export const ALLOW_ALL = 'traffic_control:\n  default_action: allow\n  rules: []\n';

/** Where the servers are: startPostgres() and sharedPostgres() both fit, and so does a plain address. */
export interface WeirTargets {
  readonly host: string;
  readonly port?: number;
  readonly primaryPort?: number;
  readonly standbyPort?: number;
  readonly standbys?: readonly { readonly host: string; readonly port: number }[];
}

/** Whole keys of a section are replaced, the others stay as makeTestSettings has them. */
export type SettingsOverrides = {
  readonly [Key in keyof Settings]?: Settings[Key] extends object ? Partial<Settings[Key]> : Settings[Key];
};

type Section = Readonly<Record<string, unknown>>;

export interface SpawnOptions {
  readonly postgres: WeirTargets;
  /** The rule document's text. */
  readonly rules?: string;
  /** Sections of the configuration file that replace or extend the usual ones, key by key. */
  readonly configuration?: Readonly<Record<string, Section>>;
  readonly environment?: NodeJS.ProcessEnv;
}

export interface SpawnedWeir {
  readonly host: string;
  readonly port: number;
  readonly adminUrl: string;
  readonly healthUrl: string;
  readonly pid: number;
  readonly configurationPath: string;
  readonly rulesPath: string;
  /** What it wrote to stderr, the last 20 kB. */
  log(): string;
  residentBytes(): number;
  signal(signal: NodeJS.Signals): void;
  /** Waits for the end; exit code, or the signal's name. */
  exit(deadlineMs?: number): Promise<number | string>;
  stop(): Promise<void>;
}

export function primaryEndpoint(postgres: WeirTargets): { name: string; host: string; port: number } {
  const port = postgres.port ?? postgres.primaryPort;
  if (port === undefined) throw new Error('no port of a primary given');
  return { name: 'primary', host: postgres.host, port };
}

export function replicaEndpoints(postgres: WeirTargets): { name: string; host: string; port: number }[] {
  const standbys = postgres.standbys?.map(({ host, port }) => ({ host, port })) ?? [];
  if (postgres.standbyPort !== undefined) standbys.push({ host: postgres.host, port: postgres.standbyPort });
  return standbys.map((endpoint, index) => ({ name: `replica${index + 1}`, ...endpoint }));
}

export const NO_LISTEN_TLS: Settings['listen']['tls'] = {
  mode: 'disable',
  certificateFile: null,
  keyFile: null,
  clientCaFile: null,
  clientCertificate: 'none',
  minVersion: 'TLSv1.2',
};

export const NO_TARGETS_TLS: Settings['targets']['tls'] = {
  mode: 'disable',
  caFile: null,
  certificateFile: null,
  keyFile: null,
  negotiation: 'postgres',
  minVersion: 'TLSv1.2',
  serverName: null,
};

/** Runs suites that were written for servers of one's own on so many shared ones. */
const POOL_VARIABLE = 'PGWEIR_TEST_POOL';

/** Complete settings for a proxy in this process, on free ports, trusting and quiet. */
export function makeTestSettings(
  postgres: WeirTargets,
  rules = ALLOW_ALL,
  overrides: SettingsOverrides = {},
): Settings {
  const usual: Settings = {
    listen: { host: '127.0.0.1', port: 0, unixSocketDirectory: null, tls: NO_LISTEN_TLS },
    targets: { primary: primaryEndpoint(postgres), replicas: replicaEndpoints(postgres), tls: NO_TARGETS_TLS },
    auth: {
      mode: 'trust',
      isRemoteTrustAllowed: false,
      credentials: [],
      usersFile: null,
      query: null,
      certificateUsers: [],
    },
    limits: {
      maxClients: 1_000,
      maxStatementBytes: 64 * 1024 * 1024,
      maxAnalyzedBytes: 1024 * 1024,
      loginTimeoutMs: 10_000,
      connectTimeoutMs: 5_000,
      drainMs: 2_000,
      minSigtermDelayMs: 0,
    },
    pool: {
      mode: 'session',
      size: 20,
      minIdle: 0,
      reserveSize: 0,
      reserveAfterMs: 5_000,
      maxPerDatabase: null,
      maxPerUser: null,
      maxPerTarget: null,
      queryWaitMs: 120_000,
      serverLifetimeMs: 3_600_000,
      serverIdleMs: 600_000,
      idleInTransactionMs: 0,
      loginRetryMs: 15_000,
      maxPreparedStatements: 200,
      sequences: 'keep',
      logins: 'shared',
      affinity: 'prefer',
    },
    admin: { host: '127.0.0.1', port: 0, token: null },
    health: { host: '127.0.0.1', port: 0 },
    rules: { file: null, text: rules, source: 'test rules', onInvalidStart: 'exit' },
    observations: { maxCells: 10_000, maxDecisions: 1_000 },
    stateDirectory: null,
    log: { level: 'silent' },
  };
  const isShared = process.env[POOL_VARIABLE] !== undefined && overrides.auth?.mode !== 'passthrough';
  const shared = isShared ? ({ mode: 'transaction', size: Number(process.env[POOL_VARIABLE]) } as const) : {};
  return {
    ...usual,
    ...overrides,
    listen: { ...usual.listen, ...overrides.listen },
    targets: { ...usual.targets, ...overrides.targets },
    auth: { ...usual.auth, ...overrides.auth },
    limits: { ...usual.limits, ...overrides.limits },
    pool: { ...usual.pool, ...shared, ...overrides.pool },
    admin: { ...usual.admin, ...overrides.admin },
    health: { ...usual.health, ...overrides.health },
    rules: { ...usual.rules, ...overrides.rules },
    observations: { ...usual.observations, ...overrides.observations },
    log: { ...usual.log, ...overrides.log },
  };
}

/** A proxy in this process; with `control` as the admin API sees it. */
export interface TestWeir {
  readonly host: string;
  readonly port: number;
  readonly adminUrl: string;
  readonly healthUrl: string;
  readonly control: ControlPlane;
  readonly settings: Settings;
  /** Stops it; rejects when a lease of a server connection was never given back. */
  stop(): Promise<void>;
}

export interface TestWeirOptions {
  readonly postgres: WeirTargets;
  /** The rule document's text. */
  readonly rules?: string;
  readonly settings?: SettingsOverrides;
  readonly log?: Log;
}

const STOP_DEADLINE_MS = 15_000;

export async function startTestWeir(options: TestWeirOptions): Promise<TestWeir> {
  const settings = makeTestSettings(options.postgres, options.rules, options.settings);
  const weir = await startWeir(settings, options.log ?? silentLog);
  return {
    host: settings.listen.host,
    port: weir.ports.client,
    adminUrl: `http://127.0.0.1:${weir.ports.admin}`,
    healthUrl: `http://127.0.0.1:${weir.ports.health}`,
    control: weir.control,
    settings,
    async stop() {
      await withDeadline(weir.stop(0), STOP_DEADLINE_MS, () => 'pgweir does not stop');
      const { leasesTaken, leasesReturned } = weir.control.counters;
      if (leasesTaken !== leasesReturned) {
        throw new Error(`${leasesTaken} server connections were taken, ${leasesReturned} given back`);
      }
    },
  };
}

const ROOT = resolve(import.meta.dirname, '../..');
const LOG_TAIL_CHARACTERS = 20_000;

/** `node src/main.ts serve` with a configuration file of its own; resolves when it accepts clients. */
export async function spawnWeir(options: SpawnOptions): Promise<SpawnedWeir> {
  const folder = await mkdtemp(join(tmpdir(), 'weir-proxy-'));
  const [port = 0, adminPort = 0, healthPort = 0] = await findFreePorts(3);
  const rulesPath = join(folder, 'rules.yaml');
  const configurationPath = join(folder, 'pgweir.yaml');
  await writeFile(rulesPath, options.rules ?? ALLOW_ALL);
  const usual: Readonly<Record<string, Section>> = {
    listen: { host: '127.0.0.1', port },
    targets: {
      primary: { host: options.postgres.host, port: primaryEndpoint(options.postgres).port },
      replicas: replicaEndpoints(options.postgres),
    },
    auth: { mode: 'trust' },
    admin: { host: '127.0.0.1', port: adminPort },
    health: { host: '127.0.0.1', port: healthPort },
    rules: { file: rulesPath },
  };
  const configuration: Record<string, Section> = { ...usual };
  for (const [name, section] of Object.entries(options.configuration ?? {})) {
    configuration[name] = { ...usual[name], ...section };
  }
  await writeFile(configurationPath, stringify(configuration));
  const child = spawn(process.execPath, [join(ROOT, 'src/main.ts'), 'serve', configurationPath], {
    cwd: ROOT,
    env: { ...process.env, ...options.environment },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const callOffWatchdog = setWatchdog('kill "$1"; rm -rf "$2"', [String(child.pid ?? ''), folder]);
  const log = collectLog(child);
  const exited = waitForExit(child);
  const healthUrl = `http://127.0.0.1:${healthPort}`;
  const stop = async (): Promise<void> => {
    try {
      if (child.exitCode === null && child.signalCode === null) {
        child.kill('SIGTERM');
        // The second one ends the drain; sent together, the system would deliver only one.
        const impatience = setTimeout(() => child.kill('SIGTERM'), 300);
        await withDeadline(exited, 5_000, () => `pgweir does not end\n${log()}`).finally(() =>
          clearTimeout(impatience),
        );
      }
    } finally {
      child.kill('SIGKILL');
      callOffWatchdog();
      await rm(folder, { recursive: true, force: true });
    }
  };
  try {
    const state = await waitFor(
      async () => {
        if (child.exitCode !== null || child.signalCode !== null) return 'ended';
        return (await fetch(`${healthUrl}/readiness`)).status === 200 && 'ready';
      },
      20_000,
      () => `pgweir is not ready\n${log()}`,
    );
    if (state === 'ended') throw new Error(`pgweir ended at its start: ${await exited}\n${log()}`);
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    host: '127.0.0.1',
    port,
    adminUrl: `http://127.0.0.1:${adminPort}`,
    healthUrl,
    pid: child.pid ?? 0,
    configurationPath,
    rulesPath,
    log,
    residentBytes: () => readResidentBytes(child.pid ?? 0),
    signal: (signal) => {
      child.kill(signal);
    },
    exit: (deadlineMs = 10_000) => withDeadline(exited, deadlineMs, () => `pgweir does not end\n${log()}`),
    stop,
  };
}

/** Resident memory of a process in bytes (VmRSS); Linux only. */
export function readResidentBytes(pid: number): number {
  const kilobytes = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  if (kilobytes === undefined) throw new Error(`process ${pid} has no VmRSS`);
  return Number(kilobytes) * 1024;
}

function collectLog(child: ChildProcess): () => string {
  let text = '';
  child.stderr?.setEncoding('utf8').on('data', (chunk: string) => {
    text = (text + chunk).slice(-LOG_TAIL_CHARACTERS);
  });
  return () => text;
}

async function waitForExit(child: ChildProcess): Promise<number | string> {
  const [code, signal] = (await once(child, 'exit')) as [number | null, NodeJS.Signals | null];
  return code ?? signal ?? 'unknown';
}
