// The few server messages that are read. All take the message at `buffer[start, end)`, header included.

import { BACKEND } from './codes.ts';
import { findNul } from './reader.ts';

/** Name and value of a ParameterStatus. */
export function readParameterStatus(
  buffer: Buffer,
  start: number,
  end: number,
): { name: string; value: string } | null {
  const nameEnd = findNul(buffer, start + 5, end);
  if (nameEnd < 0) return null;
  const valueEnd = findNul(buffer, nameEnd + 1, end);
  if (valueEnd < 0) return null;
  return { name: buffer.toString('latin1', start + 5, nameEnd), value: buffer.toString('utf8', nameEnd + 1, valueEnd) };
}

/** Process id and secret of BackendKeyData, one to one as Latin-1: what a CancelRequest has to say. */
export function readBackendKey(buffer: Buffer, start: number, end: number): string {
  return buffer.toString('latin1', start + 5, end);
}

/** The process id in a backend key. */
export function processIdOf(key: string): number {
  return Buffer.from(key.slice(0, 4), 'latin1').readInt32BE(0);
}

/** One field of an ErrorResponse or NoticeResponse ('C' SQLSTATE, 'M' message …), or null where it has none. */
export function readErrorField(buffer: Buffer, start: number, end: number, code: string): string | null {
  const wanted = code.charCodeAt(0);
  let at = start + 5;
  while (at < end && buffer[at] !== 0) {
    const valueEnd = findNul(buffer, at + 1, end);
    if (valueEnd < 0) return null;
    if (buffer[at] === wanted) return buffer.toString('utf8', at + 1, valueEnd);
    at = valueEnd + 1;
  }
  return null;
}

/** What a server says of a prepared statement: its parameters, and the columns of its result. */
export interface StatementDescription {
  /** Body of ParameterDescription. It is laid out like the end of a Parse message. */
  readonly parameters: Buffer;
  /** Equal for equal types of parameters and equal names, types and type modifiers of columns. */
  readonly signature: string;
  /** Name, type and type modifier of each; null where there is no result, which is not the same as one without columns. */
  readonly columns: readonly ColumnDescription[] | null;
}

export interface ColumnDescription {
  /** One to one as Latin-1. */
  readonly name: string;
  readonly type: number;
  readonly modifier: number;
}

export function makeDescription(
  parameters: Buffer,
  columns: readonly ColumnDescription[] | null,
): StatementDescription {
  return { parameters, columns, signature: JSON.stringify([parameters.toString('latin1'), columns]) };
}

/**
 * @param parameters body of ParameterDescription
 * @param buffer RowDescription or NoData, in `[start, end)`; null is answered where it is not there whole
 */
export function readDescription(
  parameters: Buffer,
  buffer: Buffer,
  start: number,
  end: number,
): StatementDescription | null {
  if (end - start <= buffer.readInt32BE(start + 1)) return null;
  const columns: ColumnDescription[] | null = buffer[start] === BACKEND.rowDescription ? [] : null;
  let at = start + 7;
  while (columns !== null && at < end) {
    const nameEnd = findNul(buffer, at, end);
    if (nameEnd < 0 || nameEnd + 19 > end) return null;
    // Behind the name: table, number of the column, type, length of the type, type modifier, format.
    columns.push({
      name: buffer.toString('latin1', at, nameEnd),
      type: buffer.readInt32BE(nameEnd + 7),
      modifier: buffer.readInt32BE(nameEnd + 13),
    });
    at = nameEnd + 19;
  }
  return makeDescription(parameters, columns);
}
