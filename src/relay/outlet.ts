// What goes out on one socket during one turn of the event loop: spans of the original bytes joined where they touch, and
// pgweir's own messages between them, in order, in one write.

import type { Socket } from 'node:net';
import { keepBytes } from '../base/inlet.ts';
import { SocketWriter } from '../base/socket-writer.ts';

export class Outlet {
  readonly #writer: SocketWriter;
  /** Spans that stand before the last one. */
  #earlier: Buffer[] | null = null;
  #buffer: Buffer | null = null;
  #start = 0;
  #end = 0;

  /** As for `SocketWriter`. */
  constructor(socket: Socket, onDrain: () => void, isServer = false) {
    this.#writer = new SocketWriter(socket, onDrain, isServer);
  }

  /** Adds `buffer[start, end)`. The bytes must stay as they are until `flush`, and after it unless a socket was read into them. */
  append(buffer: Buffer, start: number, end: number): void {
    if (buffer === this.#buffer && start === this.#end) {
      this.#end = end;
      return;
    }
    if (this.#buffer !== null) {
      this.#earlier ??= [];
      this.#earlier.push(keepBytes(this.#buffer, this.#start, this.#end));
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
    const buffer = this.#buffer;
    if (buffer === null) return;
    this.#buffer = null;
    if (this.#earlier === null) {
      this.#writer.write(buffer, this.#start, this.#end);
      return;
    }
    const joined = Buffer.concat([...this.#earlier, buffer.subarray(this.#start, this.#end)]);
    this.#earlier = null;
    this.#writer.write(joined, 0, joined.length);
  }

  /** More is waiting to be sent than the socket wants to hold: stop reading what feeds it until it drains. */
  get isCongested(): boolean {
    return this.#writer.isCongested;
  }
}
