// Messages that name a prepared statement, under another name: the client's on one side, the server's on the other.

import { FRONTEND } from '../wire/codes.ts';

/** Message type and length word. */
const HEADER_BYTES = 5;

/**
 * The head of a message up to the end of its name, with `name` in the place of `buffer[nameStart, nameEnd)`. Whatever follows
 * the name follows as it is; the length word counts it.
 */
export function makeRenamedHead(
  buffer: Buffer,
  start: number,
  nameStart: number,
  nameEnd: number,
  name: Buffer,
): Buffer {
  const before = nameStart - start;
  const head = Buffer.allocUnsafe(before + name.length);
  buffer.copy(head, 0, start, nameStart);
  name.copy(head, before);
  head.writeInt32BE(buffer.readInt32BE(start + 1) + name.length - (nameEnd - nameStart), 1);
  return head;
}

/**
 * Parse of a statement that another connection has.
 *
 * @param text as it stands in a Parse message, its NUL included
 * @param types number of parameters and their types, as they stand in it
 */
export function makeRepeatedParse(name: Buffer, text: Buffer, types: Buffer): Buffer {
  const message = Buffer.allocUnsafe(HEADER_BYTES + name.length + 1 + text.length + types.length);
  message[0] = FRONTEND.parse;
  message.writeInt32BE(message.length - 1, 1);
  let at = HEADER_BYTES;
  at += name.copy(message, at);
  message[at++] = 0;
  at += text.copy(message, at);
  types.copy(message, at);
  return message;
}

/** Describe or Close of a prepared statement. */
export function makeNamed(type: typeof FRONTEND.describe | typeof FRONTEND.close, name: Buffer): Buffer {
  const message = Buffer.allocUnsafe(HEADER_BYTES + 2 + name.length);
  message[0] = type;
  message.writeInt32BE(message.length - 1, 1);
  message[HEADER_BYTES] = 0x53; // S
  name.copy(message, HEADER_BYTES + 1);
  message[message.length - 1] = 0;
  return message;
}

/** An ErrorResponse that names `from`, naming `to` instead; as it is where it does not. Both names as Latin-1, one to one. */
export function restoreName(error: Buffer, from: string, to: string): Buffer {
  const text = error.toString('latin1', HEADER_BYTES);
  if (!text.includes(from)) return error;
  const body = Buffer.from(
    text.replaceAll(from, () => to),
    'latin1',
  );
  const restored = Buffer.allocUnsafe(HEADER_BYTES + body.length);
  restored[0] = error[0] as number;
  restored.writeInt32BE(4 + body.length, 1);
  body.copy(restored, HEADER_BYTES);
  return restored;
}
