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
  readonly hasColumns: boolean;
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
  const hasColumns = buffer[start] === BACKEND.rowDescription;
  let columns = '';
  let at = start + 7;
  while (hasColumns && at < end) {
    const nameEnd = findNul(buffer, at, end);
    if (nameEnd < 0 || nameEnd + 19 > end) return null;
    // Behind the name: table, number of the column, type, length of the type, type modifier, format.
    columns += `${buffer.toString('latin1', at, nameEnd)}\0${buffer.readInt32BE(nameEnd + 7)} ${buffer.readInt32BE(nameEnd + 13)}\0`;
    at = nameEnd + 19;
  }
  return { parameters, hasColumns, signature: `${parameters.toString('latin1')}${hasColumns ? 'T' : ''}${columns}` };
}
