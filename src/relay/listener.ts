// Takes clients in, on TCP and on a Unix socket: carries cancels to the session they mean, and makes a connection of every
// client that wants a session.

import { chmodSync, rmSync, statSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { describeError } from '../base/errors.ts';
import { ListenError, nameListenSetting } from '../base/listen-error.ts';
import { CancelCarrier } from './cancels.ts';
import { Connection } from './connection.ts';
import type { RelayContext } from './context.ts';
import { type Greeted, Greeting } from './greeting.ts';
import { beginLogin } from './steps/login.ts';

/** After the deadline of a drain: how long clients may still take what is to be said to them. */
const LAST_WORDS_MS = 500;

export class Listener {
  readonly #context: RelayContext;
  readonly #connections = new Map<number, Connection>();
  /** Of closed connections: the last that was said has not gone out yet. */
  readonly #parting = new Set<Socket>();
  readonly #greeting = new Set<Greeting>();
  readonly #servers: Server[] = [];
  readonly #cancels: CancelCarrier;
  #nextId = 1;
  #isDraining = false;
  #onEmpty: (() => void) | null = null;

  constructor(context: RelayContext) {
    this.#context = context;
    this.#cancels = new CancelCarrier(context);
  }

  get connections(): ReadonlyMap<number, Connection> {
    return this.#connections;
  }

  /** Binds the port, and the Unix socket where there is one. Returns the port. Throws ListenError. */
  async listen(): Promise<number> {
    const { host, port, unixSocketDirectory } = this.#context.settings.listen;
    const server = this.#makeServer(false);
    await nameListenSetting('listen', bind(server, { host, port, backlog: 1024 }));
    const address = server.address();
    const bound = typeof address === 'object' && address !== null ? address.port : port;
    if (unixSocketDirectory !== null) await this.#listenOnSocket(unixSocketDirectory, bound);
    return bound;
  }

  async #listenOnSocket(directory: string, port: number): Promise<void> {
    const path = `${directory}/.s.PGSQL.${port}`;
    try {
      // Of a folder that is not there the system says EACCES.
      if (!statSync(directory).isDirectory()) throw new Error(`${directory} is no folder`);
      await removeStaleSocket(path);
      await bind(this.#makeServer(true), { path });
      chmodSync(path, 0o777);
    } catch (error) {
      throw new ListenError('listen.unix_socket_directory', describeError(error), { cause: error });
    }
  }

  /** Stops accepting; who is in may stay. */
  stopAccepting(): void {
    for (const server of this.#servers) server.close();
  }

  /**
   * Sends idle clients home at once and busy ones at the end of their transaction, and whoever is left after `deadlineMs`.
   * Resolves when all are gone, and have taken what was said to them.
   */
  async drain(deadlineMs: number): Promise<void> {
    this.#isDraining = true;
    for (const greeting of this.#greeting) greeting.destroy();
    for (const connection of this.#connections.values()) connection.drain();
    if (this.#isEmpty) return;
    await new Promise<void>((resolve) => {
      let timer = setTimeout(() => {
        timer = setTimeout(resolve, LAST_WORDS_MS);
        for (const connection of this.#connections.values()) connection.fail('shutting_down', null);
      }, deadlineMs);
      this.#onEmpty = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  get #isEmpty(): boolean {
    return this.#connections.size === 0 && this.#parting.size === 0;
  }

  /** The connection is closed; its client may not have taken all that was written to it yet. */
  #part(id: number, socket: Socket): void {
    this.#connections.delete(id);
    if (!socket.destroyed) {
      this.#parting.add(socket);
      socket.once('close', () => {
        this.#parting.delete(socket);
        if (this.#isEmpty) this.#onEmpty?.();
      });
    }
    if (this.#isEmpty) this.#onEmpty?.();
  }

  #makeServer(isUnix: boolean): Server {
    const server = createServer(
      { allowHalfOpen: true, noDelay: true, keepAlive: true, pauseOnConnect: true },
      (socket) => this.#greet(socket, isUnix),
    );
    this.#servers.push(server);
    return server;
  }

  /** Begins to read what the client wants. On a Unix socket there is no TLS, as with PostgreSQL. */
  #greet(accepted: Socket, isUnix: boolean): void {
    this.#greeting.add(
      new Greeting(accepted, {
        context: this.#context,
        clientIp: isUnix ? 'unix' : normalizeAddress(accepted.remoteAddress ?? ''),
        acceptor: isUnix ? null : this.#context.acceptor,
        onStartup: (greeted) => this.#admit(greeted),
        onCancel: (key, socket) => void this.#cancels.carry(key).finally(() => socket.destroySoon()),
        onLeave: (greeting) => this.#greeting.delete(greeting),
      }),
    );
  }

  #admit({ socket, acceptedAtMs, inlet, clientIp, transport, startup, packet, rest, refuse }: Greeted): void {
    const { counters, settings, clock, log } = this.#context;
    if (this.#isDraining) {
      refuse('shutting_down', null);
      return;
    }
    if (this.#connections.size >= settings.limits.maxClients) {
      refuse('too_many_clients', null);
      return;
    }
    const id = this.#nextId++;
    counters.clientsAccepted++;
    counters.currentClients++;
    const connection = new Connection(id, socket, clientIp, transport, this.#context, () => {
      clearTimeout(timer);
      counters.currentClients--;
      this.#part(id, socket);
    });
    const leftMs = Math.max(0, acceptedAtMs + settings.limits.loginTimeoutMs - clock.monotonicMs());
    const timer = setTimeout(() => {
      if (connection.session.phase === 'login') connection.fail('login_timeout', null);
    }, leftMs);
    this.#connections.set(id, connection);
    connection.client.start(rest, inlet);
    beginLogin(connection, this.#context, startup, packet).catch((error: unknown) => {
      log.error({ session: id, error }, 'login failed in an unforeseen way');
      connection.fail('internal', null);
    });
  }
}

/** IPv4 in IPv6 clothes is IPv4; a zone is not part of the address. */
function normalizeAddress(address: string): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address);
  return mapped?.[1] ?? address.replace(/%.*$/, '');
}

function bind(
  server: Server,
  options: { host?: string; port?: number; path?: string; backlog?: number },
): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(options, () => {
      server.off('error', reject);
      resolve();
    });
  });
}

/** A socket on which nobody listens was left by a process that died. Throws for anything else. */
async function removeStaleSocket(path: string): Promise<void> {
  const stats = statSync(path, { throwIfNoEntry: false });
  if (stats === undefined) return;
  if (!stats.isSocket()) throw new Error(`${path} is no socket`);
  const isServed = await new Promise<boolean>((resolve, reject) => {
    const probe = connect({ path }, () => {
      probe.destroy();
      resolve(true);
    });
    probe.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ECONNREFUSED') resolve(false);
      else reject(error);
    });
  });
  if (isServed) throw new Error(`another process listens on ${path}`);
  rmSync(path, { force: true });
}
