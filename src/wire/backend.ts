// The few server messages that are read. All take the message at `buffer[start, end)`, header included.

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
