// Reads fields out of a message in place. Offsets are absolute in the buffer; nothing is copied but the strings asked for.

/** Names longer than this are cut by the server (NAMEDATALEN - 1), so two names that differ only later are one name. */
export const MAX_NAME_BYTES = 63;

/** Offset of the NUL that ends the string at `start`, or -1 when there is none before `end`. */
export function findNul(buffer: Buffer, start: number, end: number): number {
  for (let at = start; at < end; at++) {
    if (buffer[at] === 0) return at;
  }
  return -1;
}

/** Like findNul, for long strings: the native search is faster from a few dozen bytes on. */
export function findNulFar(buffer: Buffer, start: number, end: number): number {
  const at = buffer.indexOf(0, start);
  return at < end ? at : -1;
}

/** A statement or portal name as the server would keep it: bytes one to one as Latin-1, cut at 63. */
export function readName(buffer: Buffer, start: number, nul: number): string {
  if (nul === start) return '';
  return buffer.toString('latin1', start, Math.min(nul, start + MAX_NAME_BYTES));
}
