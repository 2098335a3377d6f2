// The life of one postgres process: started with a deadline, watched so that it never outlives the tests, stopped without
// leaving a child behind.

import { type ChildProcess, spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { chown, open, writeFile } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { waitFor, withDeadline } from './deadline.ts';
import type { Account } from './native-binaries.ts';
import { type CallOff, setWatchdog } from './watchdog.ts';

const BOOT_DEADLINE_MS = 30_000;
const STOP_DEADLINE_MS = 15_000;
const LOG_TAIL_BYTES = 4_000;

/** Stops the server that runs in $1 and removes $2. */
const WATCHDOG_SCRIPT = `[ -f "$1/postmaster.pid" ] && kill -QUIT "$(head -n 1 "$1/postmaster.pid")"; sleep 1; rm -rf "$2"`;

export class ServerProcess {
  readonly name: string;
  readonly socketDirectory: string;
  readonly dataFolder: string;
  port = 0;
  readonly #binaries: string;
  readonly #folder: string;
  readonly #account: Account | null;
  #child: ChildProcess | null = null;
  #callOffWatchdog: CallOff | null = null;

  constructor(options: {
    name: string;
    binaries: string;
    folder: string;
    dataFolder: string;
    account: Account | null;
  }) {
    this.name = options.name;
    this.socketDirectory = join(options.folder, 's');
    this.dataFolder = options.dataFolder;
    this.#binaries = options.binaries;
    this.#folder = options.folder;
    this.#account = options.account;
  }

  pid(): number | null {
    return this.#child?.pid ?? null;
  }

  /** Writes a file of the data folder, owned by the server's account. */
  async writeOwned(fileName: string, text: string): Promise<void> {
    const path = join(this.dataFolder, fileName);
    await writeFile(path, text, { mode: 0o600 });
    if (this.#account !== null) await chown(path, this.#account.uid, this.#account.gid);
  }

  logTail(): string {
    if (!existsSync(this.#logPath())) return '(no server log)';
    return `log of ${this.name}:\n${readFileSync(this.#logPath(), 'utf8').slice(-LOG_TAIL_BYTES)}`;
  }

  /** Starts the server and waits until it answers. The port stays the same over restarts. */
  async boot(): Promise<void> {
    if (this.#child !== null) throw new Error(`${this.name} runs already`);
    this.#callOffWatchdog ??= setWatchdog(WATCHDOG_SCRIPT, [this.dataFolder, this.#folder]);
    if (this.port !== 0) return this.#bootOnPort();
    for (let attempt = 1; ; attempt++) {
      this.port = await findFreePort();
      try {
        return await this.#bootOnPort();
      } catch (error) {
        // Another process may take the port between the look and the bind.
        if (attempt === 3 || !/could not bind|Address already in use/.test(this.logTail())) throw error;
      }
    }
  }

  /** Fast: clients are cut off, a shutdown checkpoint is written. Immediate: as a crash. */
  async shutDown(mode: 'fast' | 'immediate'): Promise<void> {
    const child = this.#child;
    if (child === null) return;
    const exited = once(child, 'exit');
    child.kill(mode === 'fast' ? 'SIGINT' : 'SIGQUIT');
    try {
      await withDeadline(exited, STOP_DEADLINE_MS, () => `${this.name} does not stop\n${this.logTail()}`);
    } catch (error) {
      child.kill('SIGKILL');
      throw error;
    } finally {
      this.#child = null;
    }
  }

  /** Stops the server for good; rejects when one of its processes is left. */
  async retire(): Promise<void> {
    try {
      await this.shutDown('fast');
      await waitFor(
        () => findProcessesIn(this.dataFolder).length === 0,
        5_000,
        () => `${this.name} left processes behind: ${findProcessesIn(this.dataFolder).join(', ')}`,
      );
    } finally {
      this.#callOffWatchdog?.();
      this.#callOffWatchdog = null;
    }
  }

  async #bootOnPort(): Promise<void> {
    const log = await open(this.#logPath(), 'w');
    const child = spawn(join(this.#binaries, 'postgres'), ['-D', this.dataFolder, '-p', String(this.port)], {
      ...(this.#account ?? {}),
      cwd: this.dataFolder,
      env: { PATH: process.env.PATH, LC_ALL: 'C', TZ: 'UTC' },
      stdio: ['ignore', log.fd, log.fd],
      // Ctrl-C in a terminal goes to the whole foreground group; the order of stopping is ours.
      detached: true,
    });
    child.unref();
    this.#child = child;
    let exit = '';
    child.once('error', (error) => {
      exit = error.message;
    });
    child.once('exit', (code, signal) => {
      exit = `exit ${code ?? signal}`;
      if (this.#child === child) this.#child = null;
    });
    await log.close();
    try {
      const answer = await waitFor(
        async () => (exit !== '' ? 'ended' : (await canAnswer(this.port)) && this.#isReady() && 'ready'),
        BOOT_DEADLINE_MS,
        () => `${this.name} does not start\n${this.logTail()}`,
      );
      if (answer === 'ended') throw new Error(`${this.name} did not start: ${exit}\n${this.logTail()}`);
    } catch (error) {
      child.kill('SIGKILL');
      this.#child = null;
      throw error;
    }
  }

  /** The last line of postmaster.pid says `ready` (or `standby`, for a server that serves reads in recovery). */
  #isReady(): boolean {
    const path = join(this.dataFolder, 'postmaster.pid');
    if (!existsSync(path)) return false;
    return /^(ready|standby)\s*$/.test(readFileSync(path, 'utf8').split('\n')[7] ?? '');
  }

  #logPath(): string {
    return join(this.#folder, `${this.name}.log`);
  }
}

/** A port of 127.0.0.1 that nobody listens on at this moment. */
export async function findFreePort(): Promise<number> {
  const [port] = await findFreePorts(1);
  if (port === undefined) throw new Error('no port given');
  return port;
}

/** Below those that systems give to outgoing connections, of which any could take a port that was free a moment ago. */
const PORTS = { first: 10_240, count: 20_000 };

/** As many of them, all different. */
export async function findFreePorts(count: number): Promise<number[]> {
  const ports = new Set<number>();
  for (let tries = 100 * count; ports.size < count && tries > 0; tries--) {
    const port = PORTS.first + randomInt(PORTS.count);
    if (await isFree(port)) ports.add(port);
  }
  if (ports.size < count) throw new Error('no port is free');
  return [...ports];
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer().listen(port, '127.0.0.1');
  try {
    await once(server, 'listening');
  } catch {
    return false;
  }
  server.close();
  await once(server, 'close');
  return true;
}

/** Process ids whose working folder is `folder`; empty where the system has no /proc. */
export function findProcessesIn(folder: string): number[] {
  if (!existsSync('/proc/self/cwd')) return [];
  return readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry))
    .filter((entry) => {
      try {
        return readlinkSync(`/proc/${entry}/cwd`).replace(/ \(deleted\)$/, '') === folder;
      } catch {
        return false;
      }
    })
    .map(Number);
}

async function canAnswer(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1');
  try {
    await withDeadline(once(socket, 'connect'), 2_000, () => 'no answer');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
