// Writes past the buffer of Node's stream: nearly every write of a relay is taken by the kernel at once, and then neither a
// copy that lasts nor the stream's accounts are needed. A relayed transaction takes about an eighth less CPU so
// (test/bench). What the kernel does not take at once goes the stream's own way, and so does all that is to be encrypted.

import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { isLent, keepBytes, READ_BYTES } from './inlet.ts';

/** `_write` is what Node's documentation has every Writable implement; 'buffer' says that the chunk is bytes. */
interface TakesBytes {
  _write(chunk: Buffer, encoding: 'buffer', callback: (error?: Error | null) => void): void;
}

const MAX_SPARES = 64;
const spares: Buffer[] = [];
/** Holds what is being written, for all sockets: when the kernel takes it at once, it is free again. */
let scratch: Buffer | null = null;

export class SocketWriter {
  readonly #socket: Socket;
  readonly #onDrain: () => void;
  /** The same socket where it can be written to directly, else null. */
  readonly #direct: (Socket & TakesBytes) | null;
  /** The kernel has not taken all of a direct write yet. */
  #isHeldUp = false;
  /** What it is still read from, if that is a scratch buffer. */
  #lender: Buffer | null = null;
  #isWriting = false;
  #isTaken = false;

  /** `onDrain`: called when the socket takes bytes again after `isCongested`. */
  constructor(socket: Socket, onDrain: () => void) {
    this.#socket = socket;
    this.#direct = takesBytes(socket) ? socket : null;
    this.#onDrain = onDrain;
    socket.on('drain', () => {
      if (!this.#isHeldUp) onDrain();
    });
  }

  /** More is waiting to be sent than the socket wants to hold: stop reading what feeds it. */
  get isCongested(): boolean {
    return this.#isHeldUp || this.#socket.writableNeedDrain;
  }

  /** Writes `buffer[start, end)`, which may stand in a buffer that is read into again. Nothing is written to an ended socket. */
  write(buffer: Buffer, start: number, end: number): void {
    const socket = this.#socket;
    if (!socket.writable) return;
    const direct = this.#direct;
    if (direct === null || this.#isHeldUp || socket.writableLength > 0) {
      socket.write(keepBytes(buffer, start, end));
    } else if (isLent(buffer)) {
      scratch ??= spares.pop() ?? Buffer.allocUnsafeSlow(READ_BYTES);
      const used = scratch;
      buffer.copy(used, 0, start, end);
      if (!this.#writeNow(direct, used.subarray(0, end - start), used)) scratch = null;
    } else {
      this.#writeNow(direct, buffer.subarray(start, end), null);
    }
  }

  /** False where the kernel still reads from the chunk; its `lender` is free again when that is over. */
  #writeNow(socket: TakesBytes, chunk: Buffer, lender: Buffer | null): boolean {
    this.#isTaken = false;
    this.#isWriting = true;
    socket._write(chunk, 'buffer', this.#settle);
    this.#isWriting = false;
    if (this.#isTaken) return true;
    this.#isHeldUp = true;
    this.#lender = lender;
    return false;
  }

  readonly #settle = (error?: Error | null): void => {
    if (error) this.#socket.destroy(error);
    if (this.#isWriting) {
      this.#isTaken = true;
      return;
    }
    this.#isHeldUp = false;
    if (this.#lender !== null && spares.length < MAX_SPARES) spares.push(this.#lender);
    this.#lender = null;
    if (!error && !this.#socket.writableNeedDrain) this.#onDrain();
  };
}

/** A TLS socket never says within the call that the kernel has taken a write: each would look held up. */
function takesBytes(socket: Socket): socket is Socket & TakesBytes {
  return !(socket instanceof TLSSocket);
}
