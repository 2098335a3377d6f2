// Cuts a byte stream into protocol messages without decoding them. A message that lies whole in its chunk is shown in
// place; one that is split is put together first, as far as its table entry wants it read; long ones flow by in parts.

import { HEADER_BYTES, type MessageTable } from './codes.ts';
import { readInt32 } from './reader.ts';

/** Why framing was lost. The connection cannot go on: there is no way to find the next message. */
export interface Broken {
  readonly reason: 'unknown_type' | 'bad_length';
  readonly type: number;
  /** Null with an unknown type: what follows that is nobody's length. */
  readonly length: number | null;
}

export function describeBroken({ type, length }: Broken): string {
  return length === null ? `message type ${type}` : `message type ${type}, length ${length}`;
}

export interface FrameSink {
  /**
   * One message, header included, at `buffer[start, end)`. `remaining` bytes of it are still to come, through `rest`:
   * always for streamed types that are split, for `head` types longer than HEAD_BYTES, and for `whole` types over the
   * framer's limit. The bytes are only valid during the call.
   *
   * Returns where to go on: `end`, or further on where messages behind this one have been taken with it; `start`: not now,
   * offer this message again later.
   */
  frame(type: number, buffer: Buffer, start: number, end: number, remaining: number): number;
  /** The next bytes of the message last shown with `remaining` > 0. */
  rest(buffer: Buffer, start: number, end: number): void;
}

/** How much of a `head` message is put together: names are short, and 16 KB holds any that a server would keep. */
export const HEAD_BYTES = 16_384;

export class Framer {
  readonly #sink: FrameSink;
  readonly #wholeLimitBytes: number;
  #table: MessageTable;
  /** Bytes still to flow by of the message that was shown last. */
  #remaining = 0;
  /** A message being put together: its first `#heldBytes` bytes. Grows with what arrives, never by the claimed length. */
  #held: Buffer | null = null;
  #heldBytes = 0;
  #broken: Broken | null = null;

  /** @param wholeLimitBytes a `whole` message longer than this is shown by its first HEAD_BYTES, the rest flows by */
  constructor(table: MessageTable, sink: FrameSink, wholeLimitBytes: number) {
    this.#table = table;
    this.#sink = sink;
    this.#wholeLimitBytes = wholeLimitBytes;
  }

  /** Not null once framing is lost; from then on `consume` takes no more bytes. */
  get broken(): Broken | null {
    return this.#broken;
  }

  /** True between two messages: nothing is half read. */
  get isAtBoundary(): boolean {
    return this.#remaining === 0 && this.#heldBytes === 0;
  }

  /** Part of a message has been shown, and the rest of it is still to come. */
  get isMidMessage(): boolean {
    return this.#remaining > 0;
  }

  /** Type of the message of which a part has come and nothing has been shown; null between messages. */
  get heldType(): number | null {
    return this.#heldBytes > 0 ? (this.#held?.[0] ?? null) : null;
  }

  /** Which messages are legal from the next one on. */
  useTable(table: MessageTable): void {
    this.#table = table;
  }

  /**
   * Takes `buffer[start, end)` and shows the messages in it. Returns the offset of the first byte not taken: `end`, or less
   * when the sink stopped or framing was lost.
   */
  consume(buffer: Buffer, start: number, end: number): number {
    let at = start;
    if (this.#remaining > 0) at = this.#flowBy(buffer, at, end);
    if (this.#heldBytes > 0) at = this.#completeHeld(buffer, at, end);
    while (at < end && this.#heldBytes === 0 && this.#broken === null) {
      const type = buffer[at] as number;
      if (end - at < HEADER_BYTES) {
        // As for the server, the type alone is enough to say so.
        if (this.#table[type] === undefined) {
          this.#broken = { reason: 'unknown_type', type, length: null };
          return at;
        }
        this.#hold(buffer, at, end);
        return end;
      }
      const length = readInt32(buffer, at + 1);
      const wanted = this.#wantedBytes(type, length);
      if (wanted === 0) return at;
      if (end - at < wanted) {
        this.#hold(buffer, at, end);
        return end;
      }
      const total = length + 1;
      const shown = at + total <= end ? at + total : wanted === HEADER_BYTES ? end : at + wanted;
      const remaining = at + total - shown;
      const next = this.#sink.frame(type, buffer, at, shown, remaining);
      if (next === at) return at;
      this.#remaining = remaining;
      at = remaining > 0 ? this.#flowBy(buffer, shown, end) : next;
    }
    return at;
  }

  /** Bytes that must be there before the message can be shown; 0 when framing is lost. */
  #wantedBytes(type: number, length: number): number {
    const rule = this.#table[type];
    if (rule === undefined) {
      this.#broken = { reason: 'unknown_type', type, length: null };
      return 0;
    }
    if (length < rule.minLength || length > rule.maxLength) {
      this.#broken = { reason: 'bad_length', type, length };
      return 0;
    }
    if (rule.reading === 'stream') return HEADER_BYTES;
    const total = length + 1;
    if (rule.reading === 'head') return Math.min(total, HEAD_BYTES);
    return total <= this.#wholeLimitBytes ? total : Math.min(total, HEAD_BYTES);
  }

  #flowBy(buffer: Buffer, start: number, end: number): number {
    const stop = Math.min(end, start + this.#remaining);
    if (stop > start) {
      this.#remaining -= stop - start;
      this.#sink.rest(buffer, start, stop);
    }
    return stop;
  }

  #hold(buffer: Buffer, start: number, end: number): void {
    const added = end - start;
    const needed = this.#heldBytes + added;
    if (this.#held === null || this.#held.length < needed) {
      const grown = Buffer.allocUnsafe(Math.max(needed * 2, 256));
      this.#held?.copy(grown, 0, 0, this.#heldBytes);
      this.#held = grown;
    }
    buffer.copy(this.#held, this.#heldBytes, start, end);
    this.#heldBytes = needed;
  }

  /** Takes from `buffer` what the held message lacks, and shows it when it is complete enough. */
  #completeHeld(buffer: Buffer, start: number, end: number): number {
    let at = start;
    if (this.#heldBytes < HEADER_BYTES) {
      const stop = Math.min(end, at + HEADER_BYTES - this.#heldBytes);
      this.#hold(buffer, at, stop);
      at = stop;
      if (this.#heldBytes < HEADER_BYTES) return at;
    }
    const held = this.#held as Buffer;
    const type = held[0] as number;
    const length = readInt32(held, 1);
    const wanted = this.#wantedBytes(type, length);
    if (wanted === 0) return at;
    if (this.#heldBytes < wanted) {
      const stop = Math.min(end, at + wanted - this.#heldBytes);
      this.#hold(buffer, at, stop);
      at = stop;
      if (this.#heldBytes < wanted) return at;
    }
    const remaining = length + 1 - this.#heldBytes;
    if (this.#sink.frame(type, this.#held as Buffer, 0, this.#heldBytes, remaining) === 0) return at;
    this.#held = null;
    this.#heldBytes = 0;
    this.#remaining = remaining;
    return remaining > 0 ? this.#flowBy(buffer, at, end) : at;
  }
}
