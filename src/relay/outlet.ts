// What goes out on one socket during one turn of the event loop: spans of the original bytes joined where they touch, and
// pgweir's own messages between them, in order, in as few writes as that allows.

import type { Socket } from 'node:net';
import { writeBytes } from '../base/inlet.ts';

export class Outlet {
  readonly #socket: Socket;
  #buffer: Buffer | null = null;
  #start = 0;
  #end = 0;
  #isCorked = false;
  /** Bytes handed to the socket so far. */
  bytes = 0;

  constructor(socket: Socket) {
    this.#socket = socket;
  }

  /** Adds `buffer[start, end)`. The bytes must stay as they are until `flush`, and after it unless a socket was read into them. */
  append(buffer: Buffer, start: number, end: number): void {
    if (buffer === this.#buffer && start === this.#end) {
      this.#end = end;
      return;
    }
    if (this.#buffer !== null) {
      if (!this.#isCorked) {
        this.#isCorked = true;
        this.#socket.cork();
      }
      this.#writeSpan();
    }
    this.#buffer = buffer;
    this.#start = start;
    this.#end = end;
  }

  /** Adds a message of pgweir's own. */
  write(message: Buffer): void {
    this.append(message, 0, message.length);
  }

  /** Ends the turn. */
  flush(): void {
    if (this.#buffer === null) return;
    this.#writeSpan();
    if (this.#isCorked) {
      this.#isCorked = false;
      this.#socket.uncork();
    }
  }

  /** More is waiting to be sent than the socket wants to hold: stop reading what feeds it until its 'drain'. */
  get isCongested(): boolean {
    return this.#socket.writableNeedDrain;
  }

  #writeSpan(): void {
    const buffer = this.#buffer as Buffer;
    this.#buffer = null;
    this.bytes += this.#end - this.#start;
    if (!this.#socket.writable) return;
    writeBytes(this.#socket, buffer, this.#start, this.#end);
  }
}
