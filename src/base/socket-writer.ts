// Writes past Node's stream: nearly every write of a relay is taken by the kernel at once, and then it needs no copy that
// lasts, no account kept by the stream and no request object. A relayed transaction takes about a fifth less CPU so
// (test/bench). What the kernel does not take at once goes the stream's own way, and so does all that is to be encrypted.

import { writeSync } from 'node:fs';
import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { gatherWrite, settleWrites } from './gathered-writes.ts';
import { keepBytes } from './inlet.ts';

/** What Node reads and writes a socket through; gone from the socket when its file descriptor is closed. */
interface HasHandle {
  readonly _handle?: { readonly fd?: number } | null;
}

export class SocketWriter {
  readonly #socket: Socket & HasHandle;
  readonly #handle: HasHandle['_handle'];
  /** File descriptor; -1 where the socket cannot be written to directly. */
  readonly #fd: number;
  readonly #isServer: boolean;
  #hasGathered = false;

  /**
   * `onDrain`: called when the socket takes bytes again after `isCongested`. `isServer`: a peer that has reset the connection
   * is still to be heard: what it said before is read, and then the end, where a failed write would destroy the socket at
   * once. What is put off for servers goes out behind what is for clients.
   */
  constructor(socket: Socket, onDrain: () => void, isServer = false) {
    this.#socket = socket;
    this.#isServer = isServer;
    this.#handle = this.#socket._handle;
    this.#fd = socket instanceof TLSSocket ? -1 : (this.#handle?.fd ?? -1);
    socket.on('drain', onDrain);
  }

  /** More is waiting to be sent than the socket wants to hold: stop reading what feeds it. */
  get isCongested(): boolean {
    return this.#socket.writableNeedDrain;
  }

  /**
   * Writes `buffer[start, end)`, which may stand in a buffer that is read into again: at once, or at the end of this turn of
   * the event loop. Nothing is written to an ended socket.
   */
  write(buffer: Buffer, start: number, end: number): void {
    if (this.#fd >= 0 && gatherWrite(this, this.#isServer, buffer, start, end)) {
      this.#hasGathered = true;
      return;
    }
    if (this.#hasGathered) settleWrites();
    if (!this.#socket.writable) return;
    const rest = this.#writeDirectly(buffer, start, end);
    if (rest < end) this.#socket.write(keepBytes(buffer, rest, end));
  }

  /** What `write` has put off: `arena[start, end)`, which is only valid during the call. */
  writeGathered(arena: Buffer, start: number, end: number): void {
    this.#hasGathered = false;
    if (!this.#socket.writable) return;
    const rest = this.#writeDirectly(arena, start, end);
    if (rest < end) this.#socket.write(Buffer.from(arena.subarray(rest, end)));
  }

  /** Writes past the stream as much as goes at once. Returns where what is left begins. */
  #writeDirectly(buffer: Buffer, start: number, end: number): number {
    const socket = this.#socket;
    // The number of a closed file may be another connection's by now.
    const isDirect = this.#fd >= 0 && socket.writableLength === 0 && socket._handle === this.#handle;
    return isDirect ? start + this.#writeNow(buffer, start, end) : start;
  }

  /** Returns how many bytes are settled: none where it fails, which the stream then hears in its turn. */
  #writeNow(buffer: Buffer, start: number, end: number): number {
    try {
      return writeSync(this.#fd, buffer, start, end - start);
    } catch (error) {
      return this.#isServer && isReset(error) ? end - start : 0;
    }
  }
}

function isReset(error: unknown): boolean {
  return error instanceof Error && 'code' in error && (error.code === 'ECONNRESET' || error.code === 'EPIPE');
}
