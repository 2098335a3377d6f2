// What a server says of its own accord while its client's statements run on another server (notices, notifications). It must not
// reach the client in the middle of a message from that other server, so it is kept until that message is complete.

import { keepBytes } from '../base/inlet.ts';
import { BACKEND } from '../wire/codes.ts';
import type { Connection } from './connection.ts';
import type { ServerSide } from './server-side.ts';

/** With more than this kept, the server is read no further until the client has it. */
const KEPT_LIMIT_BYTES = 1024 * 1024;

export class Asides {
  /** The client's statements run on another server. */
  isOn = false;
  #parts: Buffer[] = [];
  #bytes = 0;
  /** The server is read no further for now. */
  isHeldBack = false;

  /** The server is about to speak. */
  begin(server: ServerSide, connection: Connection): void {
    this.isOn = connection.hasServer && connection.active !== server;
    if (!this.isOn && this.#parts.length > 0) this.#say(connection.client.outlet);
  }

  /** True where the client is to get the message: what the primary says, but not a replica's notices, nor why a replica ends. */
  isHeard(server: ServerSide, type: number, buffer: Buffer, start: number, end: number): boolean {
    if (type === BACKEND.error) server.hasSaidFatal = true;
    return type === BACKEND.parameterStatus ? server.setParameter(buffer, start, end) : server.isPrimary;
  }

  /** Part of a message that the client is to get. */
  keep(buffer: Buffer, start: number, end: number): void {
    this.#parts.push(keepBytes(buffer, start, end));
    this.#bytes += end - start;
  }

  /** Sends the client what is kept, unless it is in the middle of a message of the active server's: then this server may have to wait. */
  passOn(server: ServerSide, { active, client }: Connection): void {
    if (this.#parts.length === 0) return;
    if (active !== server && active.isMidMessage) {
      this.isHeldBack = this.#bytes > KEPT_LIMIT_BYTES;
      if (this.isHeldBack) server.pause();
      return;
    }
    this.isHeldBack = false;
    server.resume();
    if (server.isMidMessage) return;
    this.#say(client.outlet);
    client.outlet.flush();
  }

  #say(outlet: { write(message: Buffer): void }): void {
    for (const part of this.#parts) outlet.write(part);
    this.#parts = [];
    this.#bytes = 0;
  }
}
