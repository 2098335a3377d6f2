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
const MAX_KEPT_VIEW_BYTES = 1_024;

/** Holds what is being written. Most writes are short, so views of its first bytes are made once. */
class Scratch {
  readonly #buffer = Buffer.allocUnsafeSlow(READ_BYTES);
  readonly #views = new Array<Buffer | undefined>(MAX_KEPT_VIEW_BYTES + 1);

  /** `source[start, end)`, until the next one. */
  fill(source: Buffer, start: number, end: number): Buffer {
    source.copy(this.#buffer, 0, start, end);
    const length = end - start;
    if (length > MAX_KEPT_VIEW_BYTES) return this.#buffer.subarray(0, length);
    let view = this.#views[length];
    if (view === undefined) {
      view = this.#buffer.subarray(0, length);
      this.#views[length] = view;
    }
    return view;
  }
}

const spares: Scratch[] = [];
/** For all sockets: when the kernel takes a write at once, it is free again. */
let scratch: Scratch | null = null;

export class SocketWriter {
  readonly #socket: Socket;
  readonly #onDrain: () => void;
  /** The same socket where it can be written to directly, else null. */
  readonly #direct: (Socket & TakesBytes) | null;
  /** The kernel has not taken all of a direct write yet. */
  #isHeldUp = false;
  /** What it is still read from, if that is scratch. */
  #lender: Scratch | null = null;
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
      scratch ??= spares.pop() ?? new Scratch();
      const used = scratch;
      if (!this.#writeNow(direct, used.fill(buffer, start, end), used)) scratch = null;
    } else {
      this.#writeNow(direct, keepBytes(buffer, start, end), null);
    }
  }

  /** False where the kernel still reads from the chunk; its `lender` is free again when that is over. */
  #writeNow(socket: TakesBytes, chunk: Buffer, lender: Scratch | null): boolean {
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
