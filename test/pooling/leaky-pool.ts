// A transaction pool as it should not be: all clients share one server connection, and what a session sets stays on it for
// whoever comes next. The state tests are run against it to show that they find a leak.

import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import { type BackendMessage, readFields } from '../support/transcript.ts';
import { type WireAddress, WireClient } from '../support/wire-client.ts';

export interface LeakyPool {
  readonly address: WireAddress;
  stop(): Promise<void>;
}

interface Guest {
  readonly socket: Socket;
  pending: Buffer;
  isLoggedIn: boolean;
  /** ReadyForQuery that its messages will be answered by. */
  owed: number;
}

const READY_TYPES = 'QSF';

export async function startLeakyPool(server: WireAddress, database: string): Promise<LeakyPool> {
  const backend = await WireClient.connect(server);
  const welcome = await backend.startup({ database });
  if (welcome.at(-1)?.type !== 'Z') throw new Error(readFields(welcome.at(-1)?.body ?? Buffer.alloc(0)).M);
  const pool = new SharedBackend(backend, welcome);
  const guests = new Set<Socket>();
  const listener = createServer((socket) => {
    guests.add(socket.setNoDelay(true));
    socket.on('close', () => guests.delete(socket));
    pool.admit(socket);
  }).listen(0, '127.0.0.1');
  await once(listener, 'listening');
  const bound = listener.address();
  if (bound === null || typeof bound === 'string') throw new Error('no port');
  return {
    address: { host: '127.0.0.1', port: bound.port },
    async stop() {
      for (const socket of guests) socket.destroy();
      backend.destroy();
      listener.close();
      await once(listener, 'close');
    },
  };
}

/** The one server connection: held by a guest until nothing is owed and no transaction is open. */
class SharedBackend {
  readonly #backend: WireClient;
  readonly #welcome: Buffer;
  #holder: Guest | null = null;
  readonly #waiting: Guest[] = [];

  constructor(backend: WireClient, welcome: readonly BackendMessage[]) {
    this.#backend = backend;
    this.#welcome = Buffer.concat(welcome.map(frame));
    void this.#relay();
  }

  admit(socket: Socket): void {
    const guest: Guest = { socket, pending: Buffer.alloc(0), isLoggedIn: false, owed: 0 };
    socket.on('error', () => undefined);
    socket.on('data', (chunk: Buffer) => {
      guest.pending = Buffer.concat([guest.pending, chunk]);
      if (!guest.isLoggedIn) this.#welcomeGuest(guest);
      this.#goOn(guest);
    });
    socket.on('close', () => {
      if (this.#holder !== guest) return;
      // Enough for a test: what the guest left open is rolled back by whoever reads the next answer.
      this.#backend.send(frame({ type: 'Q', body: Buffer.from('ROLLBACK\0') }));
      guest.owed++;
    });
  }

  #welcomeGuest(guest: Guest): void {
    if (guest.pending.length < 4 || guest.pending.length < guest.pending.readInt32BE(0)) return;
    guest.pending = guest.pending.subarray(guest.pending.readInt32BE(0));
    guest.isLoggedIn = true;
    guest.socket.write(this.#welcome);
  }

  #goOn(guest: Guest): void {
    if (!guest.isLoggedIn || guest.pending.length === 0) return;
    this.#holder ??= guest;
    if (this.#holder !== guest) {
      if (!this.#waiting.includes(guest)) this.#waiting.push(guest);
      return;
    }
    while (guest.pending.length >= 5 && guest.pending.length > guest.pending.readInt32BE(1)) {
      const end = 1 + guest.pending.readInt32BE(1);
      const type = guest.pending.toString('latin1', 0, 1);
      if (READY_TYPES.includes(type)) guest.owed++;
      if (type !== 'X') this.#backend.send(guest.pending.subarray(0, end));
      guest.pending = guest.pending.subarray(end);
    }
    // A Terminate alone is no work.
    if (guest.owed === 0 && this.#backend.status === 'I') this.#passOn();
  }

  #passOn(): void {
    this.#holder = null;
    const next = this.#waiting.shift();
    if (next !== undefined) this.#goOn(next);
  }

  async #relay(): Promise<void> {
    try {
      for (;;) {
        const message = await this.#backend.readMessage();
        const holder = this.#holder;
        if (holder === null) continue;
        holder.socket.write(frame(message));
        if (message.type !== 'Z') continue;
        holder.owed--;
        if (holder.owed <= 0 && this.#backend.status === 'I') this.#passOn();
      }
    } catch {
      // The backend is gone, or nobody asked anything for as long as one waits for a message.
      for (const guest of [this.#holder, ...this.#waiting]) guest?.socket.destroy();
    }
  }
}

function frame({ type, body }: BackendMessage): Buffer {
  const head = Buffer.alloc(5);
  head.write(type, 'latin1');
  head.writeInt32BE(body.length + 4, 1);
  return Buffer.concat([head, body]);
}
