// Cuts what a server says in a conversation of pgweir's own (a login, a look-up of a user) into messages. All of them
// together are bounded: a server that never stops talking must not fill the memory.

import { WeirError } from '../base/errors.ts';
import { HEADER_BYTES } from '../wire/codes.ts';

/** Far above any login: PostgreSQL's longest parts are a few kilobytes. */
const MAX_CONVERSATION_BYTES = 1 << 20;

export class BackendMessages {
  #pending: Buffer = Buffer.alloc(0);
  #takenBytes = 0;

  /** No part of a message is waiting for the rest of it. */
  get isAtBoundary(): boolean {
    return this.#pending.length === 0;
  }

  /** The messages that `bytes` complete, header included, each in memory of its own. Throws target_protocol_violation. */
  take(bytes: Buffer): Buffer[] {
    this.#takenBytes += bytes.length;
    if (this.#takenBytes > MAX_CONVERSATION_BYTES) throw new WeirError('target_protocol_violation', 'it says too much');
    const buffer = Buffer.concat([this.#pending, bytes]);
    const messages: Buffer[] = [];
    let at = 0;
    while (buffer.length - at >= HEADER_BYTES) {
      const length = buffer.readInt32BE(at + 1);
      if (length < 4 || length > MAX_CONVERSATION_BYTES) {
        throw new WeirError('target_protocol_violation', `message type ${buffer[at]}, length ${length}`);
      }
      if (buffer.length - at < length + 1) break;
      messages.push(buffer.subarray(at, at + length + 1));
      at += length + 1;
    }
    this.#pending = buffer.subarray(at);
    return messages;
  }
}
