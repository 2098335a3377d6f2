// A connection to one server, and the lease by which a session holds it. In session mode a connection lives as long as
// its lease: another client would find the first one's settings in it.

import { connect, isIP, type Socket } from 'node:net';
import { endSocket } from '../base/end-socket.ts';
import { describeError, WeirError } from '../base/errors.ts';
import { settleWrites } from '../base/gathered-writes.ts';
import { Inlet } from '../base/inlet.ts';
import { PLAIN_TRANSPORT, type Transport } from '../base/transport.ts';
import type { Endpoint } from '../config/settings.ts';
import type { ServerLine, TlsConnector } from '../tls/connector.ts';
import { makeCancelRequest, TERMINATE } from '../wire/writer.ts';

/**
 * Opens a socket to the endpoint, paused; what it says goes to `inlet`. Throws WeirError target_unreachable with the reason.
 *
 * @param host the endpoint's, or one address of several that it stands for
 */
export function openSocket(
  endpoint: Endpoint,
  timeoutMs: number,
  inlet: Inlet,
  host: string = endpoint.host,
): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ ...socketAddress({ ...endpoint, host }), onread: inlet.onread });
    socket.setNoDelay(true);
    const finish = (act: () => void): void => {
      clearTimeout(timer);
      socket.off('error', onError).off('connect', onConnect);
      act();
    };
    const fail = (reason: string): void =>
      finish(() => {
        socket.on('error', () => undefined).destroy();
        reject(new WeirError('target_unreachable', `${endpoint.name} at ${describeEndpoint(endpoint)}: ${reason}`));
      });
    const onError = (error: Error): void => fail(reasonOf(error));
    const onConnect = (): void =>
      finish(() => {
        socket.pause();
        resolve(socket);
      });
    const timer = setTimeout(() => fail(`no connection within ${timeoutMs} ms`), timeoutMs);
    socket.on('error', onError).on('connect', onConnect);
  });
}

/** Where a name stands for several addresses each of them has failed for a reason of its own. */
function reasonOf(error: Error): string {
  return error instanceof AggregateError ? error.errors.map(describeError).join(', ') : error.message;
}

function socketAddress(endpoint: Endpoint): { path: string } | { host: string; port: number; keepAlive: boolean } {
  if (isUnixSocket(endpoint)) return { path: describeEndpoint(endpoint) };
  return { host: endpoint.host, port: endpoint.port, keepAlive: true };
}

/** Its address, or the path of its Unix socket. */
function describeEndpoint(endpoint: Endpoint): string {
  const { host, port } = endpoint;
  return isUnixSocket(endpoint) ? `${host}/.s.PGSQL.${port}` : `${host}:${port}`;
}

/** The host is the folder of a Unix socket, as libpq has it. */
export function isUnixSocket({ host }: Endpoint): boolean {
  return host.startsWith('/');
}

/** How a server is reached: every line to it, for sessions, cancels and probes, is opened and encrypted alike. */
export class Dialer {
  readonly #connectTimeoutMs: number;
  readonly #connector: TlsConnector;

  /** `connectTimeoutMs` holds for connecting, and again for TLS. */
  constructor(connectTimeoutMs: number, connector: TlsConnector) {
    this.#connectTimeoutMs = connectTimeoutMs;
    this.#connector = connector;
  }

  /** A line on which nothing has been said yet. Throws WeirError target_unreachable or target_tls_failed with the reason. */
  async open(endpoint: Endpoint, host: string = endpoint.host): Promise<ServerLine> {
    const inlet = new Inlet();
    const socket = await openSocket(endpoint, this.#connectTimeoutMs, inlet, host);
    // An error without a listener would end the process; whoever waits hears of the end by 'close'.
    socket.on('error', () => undefined);
    const where = `${endpoint.name} at ${describeEndpoint(endpoint)}`;
    let isLate = false;
    const timer = setTimeout(() => {
      isLate = true;
      socket.destroy();
    }, this.#connectTimeoutMs);
    try {
      return await this.#connector.encrypt({ socket, inlet, transport: PLAIN_TRANSPORT }, endpoint.host);
    } catch (error) {
      socket.destroy();
      if (!(error instanceof WeirError)) throw error;
      const reason = isLate ? `no handshake within ${this.#connectTimeoutMs} ms` : error.detail;
      throw new WeirError(error.code, `${where}: ${reason}`);
    } finally {
      clearTimeout(timer);
    }
  }

  /**
   * Sends a real CancelRequest on a connection of its own. Resolves when the server has closed that connection: only then
   * is the signal on its way, and until then no other statement may start. Throws as `open`.
   */
  async cancel(endpoint: Endpoint, key: string, host: string = endpoint.host): Promise<void> {
    const { socket } = await this.open(endpoint, host);
    await new Promise<void>((resolve) => {
      const finish = (): void => {
        clearTimeout(timer);
        resolve();
      };
      const timer = setTimeout(() => socket.destroy(), CANCEL_TIMEOUT_MS);
      socket.on('close', finish);
      if (socket.destroyed) finish();
      socket.write(makeCancelRequest(key));
      socket.resume();
    });
  }
}

/** How long a CancelRequest may take: the server closes the socket once it has sent the signal. */
const CANCEL_TIMEOUT_MS = 10_000;

/** How long a server may take to end a connection to which goodbye was said. */
const RETIRE_MS = 5_000;

/** A borrowed connection. It ends exactly once, whatever ends first: the client, the server, or an administrator. */
export class Lease {
  readonly socket: Socket;
  readonly inlet: Inlet;
  readonly endpoint: Endpoint;
  /** Where the server is, among several that the endpoint's host may be a name of. */
  readonly host: string;
  readonly transport: Transport;
  /** For a CancelRequest; set when the server tells it. */
  key: string | null = null;
  #onRelease: (() => void) | null;

  constructor(socket: Socket, inlet: Inlet, endpoint: Endpoint, transport: Transport, onRelease: () => void) {
    this.socket = socket;
    this.inlet = inlet;
    this.endpoint = endpoint;
    const isName = !isUnixSocket(endpoint) && isIP(endpoint.host) === 0;
    this.host = (isName ? socket.remoteAddress : undefined) ?? endpoint.host;
    this.transport = transport;
    this.#onRelease = onRelease;
    // Whoever holds the lease hears of the end by 'close'; an error without a listener would end the process.
    socket.on('error', () => undefined);
  }

  /**
   * Gives the connection back: what was written still goes out, then the server is told goodbye; not in the middle of a
   * message, which those bytes would complete.
   */
  release(isMidMessage = false): void {
    const onRelease = this.#onRelease;
    if (onRelease === null) return;
    this.#onRelease = null;
    settleWrites();
    if (!isMidMessage && !this.socket.destroyed && this.socket.writable) this.socket.write(TERMINATE);
    endSocket(this.socket);
    onRelease();
  }

  /**
   * The same, and resolves when the server has let go of the connection: until then it counts against the server's own
   * limit.
   */
  retire(isMidMessage = false): Promise<void> {
    const onRelease = this.#onRelease;
    this.#onRelease = null;
    settleWrites();
    const { socket } = this;
    return new Promise((resolve) => {
      const timer = setTimeout(() => socket.destroy(), RETIRE_MS);
      const finish = (): void => {
        clearTimeout(timer);
        onRelease?.();
        resolve();
      };
      if (socket.destroyed) {
        finish();
        return;
      }
      socket.on('close', finish);
      this.inlet.receive = () => undefined;
      if (!isMidMessage && socket.writable) socket.write(TERMINATE);
      socket.end();
      socket.resume();
    });
  }
}
