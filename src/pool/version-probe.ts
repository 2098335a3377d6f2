// What the primary says to a version or to protocol options that it does not know, before it asks who is there. A client that
// pgweir itself asks for a proof is told so first, as by the server, though its login to the server comes last.
//
// The probe names no user: the server negotiates, then refuses it, and no session begins for anybody. Answers are kept for
// a while; a server that says nothing to it negotiates at the login.

import type { Clock } from '../base/clock.ts';
import { WeirError } from '../base/errors.ts';
import type { Endpoint } from '../config/settings.ts';
import { BACKEND } from '../wire/codes.ts';
import { BackendMessages } from './backend-messages.ts';
import type { SessionPool } from './pool.ts';
import type { Lease } from './server-connection.ts';

const KEPT_MS = 60_000;
const MAX_KEPT = 100;

export class VersionProbe {
  readonly #pool: SessionPool;
  readonly #endpoint: Endpoint;
  readonly #timeoutMs: number;
  readonly #clock: Clock;
  readonly #kept = new Map<string, { readonly answer: Promise<Buffer | null>; readonly expiresAtMs: number }>();

  constructor(pool: SessionPool, endpoint: Endpoint, timeoutMs: number, clock: Clock) {
    this.#pool = pool;
    this.#endpoint = endpoint;
    this.#timeoutMs = timeoutMs;
    this.#clock = clock;
  }

  /**
   * NegotiateProtocolVersion, or null where the server takes what is asked. `parameters`: the client's; only protocol options
   * (`_pq_.…`) count. Throws WeirError target_unreachable.
   */
  ask(minor: number, parameters: ReadonlyMap<string, string>): Promise<Buffer | null> {
    const options = [...parameters.keys()].filter((name) => name.startsWith('_pq_.'));
    if (minor === 0 && options.length === 0) return Promise.resolve(null);
    const key = [minor, ...options].join('\0');
    const nowMs = this.#clock.monotonicMs();
    const kept = this.#kept.get(key);
    if (kept !== undefined && nowMs < kept.expiresAtMs) return kept.answer;
    const answer = this.#probe(makeNamelessStartup(minor, options));
    this.#kept.delete(key);
    const [oldest] = this.#kept.keys();
    if (this.#kept.size >= MAX_KEPT && oldest !== undefined) this.#kept.delete(oldest);
    this.#kept.set(key, { answer, expiresAtMs: nowMs + KEPT_MS });
    answer.catch(() => this.#kept.delete(key));
    return answer;
  }

  async #probe(startup: Buffer): Promise<Buffer | null> {
    const lease = await this.#pool.open(this.#endpoint);
    try {
      return await readNegotiation(lease, startup, this.#timeoutMs);
    } finally {
      lease.socket.destroy();
      lease.release();
    }
  }
}

function readNegotiation({ socket, inlet }: Lease, startup: Buffer, timeoutMs: number): Promise<Buffer | null> {
  return new Promise((resolve) => {
    const messages = new BackendMessages();
    const finish = (answer: Buffer | null): void => {
      clearTimeout(timer);
      inlet.receive = () => undefined;
      socket.off('close', onClose);
      resolve(answer);
    };
    const onClose = (): void => finish(null);
    const timer = setTimeout(onClose, timeoutMs);
    inlet.receive = (buffer, length) => {
      try {
        const [first] = messages.take(buffer.subarray(0, length));
        if (first !== undefined) finish(first[0] === BACKEND.negotiateProtocolVersion ? first : null);
      } catch (error) {
        if (!(error instanceof WeirError)) throw error;
        finish(null);
      }
    };
    socket.on('close', onClose);
    socket.write(startup);
    socket.resume();
  });
}

/** A StartupMessage with protocol options and nothing else. */
function makeNamelessStartup(minor: number, options: readonly string[]): Buffer {
  const body = Buffer.from(`${options.map((name) => `${name}\0\0`).join('')}\0`, 'utf8');
  const head = Buffer.alloc(8);
  head.writeInt32BE(8 + body.length, 0);
  head.writeInt32BE((3 << 16) | minor, 4);
  return Buffer.concat([head, body]);
}
