// Messages that name a prepared statement, under another name: the client's on one side, the server's on the other.

import { FRONTEND, HEADER_BYTES, NAMED } from '../wire/codes.ts';
import { findNul } from '../wire/reader.ts';

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

/** Describe or Close of a prepared statement or portal. */
export function makeNamed(
  type: typeof FRONTEND.describe | typeof FRONTEND.close,
  name: Buffer,
  kind: (typeof NAMED)[keyof typeof NAMED] = NAMED.statement,
): Buffer {
  const message = Buffer.allocUnsafe(HEADER_BYTES + 2 + name.length);
  message[0] = type;
  message.writeInt32BE(message.length - 1, 1);
  message[HEADER_BYTES] = kind;
  name.copy(message, HEADER_BYTES + 1);
  message[message.length - 1] = 0;
  return message;
}

/** bind_message_supplies…, invalid_sql_statement_name, duplicate_prepared_statement: their messages name the statement. */
const NAMING_ERRORS: ReadonlySet<string> = new Set(['08P01', '26000', '42P05']);
const MESSAGE = 0x4d; // M

/** A name may be a word of the message, or a part of one: it stands in quotes, which other languages write in other letters. */
function quotedPattern(name: string): RegExp {
  const escaped = name.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
  return new RegExp(`(["'\`\\x80-\\xff]\\s?)${escaped}(\\s?["'\`\\x80-\\xff])`, 'g');
}

/** An ErrorResponse whose message names `from`, naming `to` instead; any other as it is. Names as Latin-1, one to one. */
export function restoreName(error: Buffer, sqlstate: string, from: string, to: string): Buffer {
  if (!NAMING_ERRORS.has(sqlstate)) return error;
  let start = HEADER_BYTES;
  let end = findNul(error, start, error.length);
  while (end > start && error[start] !== MESSAGE) {
    start = end + 1;
    end = findNul(error, start, error.length);
  }
  if (end <= start) return error;
  const text = error.toString('latin1', start + 1, end);
  const reworded = text.replace(quotedPattern(from), (_, before: string, after: string) => `${before}${to}${after}`);
  const restored = Buffer.concat([error.subarray(0, start + 1), Buffer.from(reworded, 'latin1'), error.subarray(end)]);
  restored.writeInt32BE(restored.length - 1, 1);
  return restored;
}
