// A connection to one server, and the lease by which a session holds it. In session mode a connection lives as long as
// its lease: another client would find the first one's settings in it.

import { connect, type Socket } from 'node:net';
import { WeirError } from '../base/errors.ts';
import { Inlet } from '../base/inlet.ts';
import type { Transport } from '../base/transport.ts';
import type { Endpoint } from '../config/settings.ts';
import { makeCancelRequest, TERMINATE } from '../wire/writer.ts';

/** Opens a socket to the endpoint, paused; what it says goes to `inlet`. Throws WeirError target_unreachable with the reason. */
export function openSocket(endpoint: Endpoint, timeoutMs: number, inlet: Inlet): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ ...socketAddress(endpoint), onread: inlet.onread });
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
    const onError = (error: Error): void => fail(error.message);
    const onConnect = (): void =>
      finish(() => {
        socket.pause();
        resolve(socket);
      });
    const timer = setTimeout(() => fail(`no connection within ${timeoutMs} ms`), timeoutMs);
    socket.on('error', onError).on('connect', onConnect);
  });
}

function socketAddress(endpoint: Endpoint): { path: string } | { host: string; port: number; keepAlive: boolean } {
  if (endpoint.host.startsWith('/')) return { path: `${endpoint.host}/.s.PGSQL.${endpoint.port}` };
  return { host: endpoint.host, port: endpoint.port, keepAlive: true };
}

export function describeEndpoint(endpoint: Endpoint): string {
  return endpoint.host.startsWith('/')
    ? `${endpoint.host}/.s.PGSQL.${endpoint.port}`
    : `${endpoint.host}:${endpoint.port}`;
}

/** How long a CancelRequest may take: the server closes the socket once it has sent the signal. */
const CANCEL_TIMEOUT_MS = 10_000;

/**
 * Sends a real CancelRequest on a connection of its own. Resolves when the server has closed that connection: only then is
 * the signal on its way, and until then no other statement may start. Throws WeirError target_unreachable.
 */
export async function sendCancelRequest(endpoint: Endpoint, key: string, connectTimeoutMs: number): Promise<void> {
  const socket = await openSocket(endpoint, connectTimeoutMs, new Inlet());
  await new Promise<void>((resolve) => {
    const timer = setTimeout(() => socket.destroy(), CANCEL_TIMEOUT_MS);
    socket.on('error', () => undefined);
    socket.on('close', () => {
      clearTimeout(timer);
      resolve();
    });
    socket.write(makeCancelRequest(key));
    socket.resume();
  });
}

/** A borrowed connection. It ends exactly once, whatever ends first: the client, the server, or an administrator. */
export class Lease {
  readonly socket: Socket;
  readonly inlet: Inlet;
  readonly endpoint: Endpoint;
  readonly transport: Transport;
  /** For a CancelRequest; set when the server tells it. */
  key: string | null = null;
  #onRelease: (() => void) | null;

  constructor(socket: Socket, inlet: Inlet, endpoint: Endpoint, transport: Transport, onRelease: () => void) {
    this.socket = socket;
    this.inlet = inlet;
    this.endpoint = endpoint;
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
    if (!isMidMessage && !this.socket.destroyed && this.socket.writable) this.socket.write(TERMINATE);
    this.socket.destroySoon();
    onRelease();
  }
}
