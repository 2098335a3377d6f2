// Reads fields out of a message in place. Offsets are absolute in the buffer; nothing is copied but the strings asked for.

/** Names longer than this are cut by the server (NAMEDATALEN - 1), so two names that differ only later are one name. */
export const MAX_NAME_BYTES = 63;

/** A signed 32-bit number. Node's own reading of it looks at what the buffer is first, each time. */
export function readInt32(buffer: Buffer, at: number): number {
  return (
    ((buffer[at] as number) << 24) |
    ((buffer[at + 1] as number) << 16) |
    ((buffer[at + 2] as number) << 8) |
    (buffer[at + 3] as number)
  );
}

/** Offset of the NUL that ends the string at `start`, or -1 when there is none before `end`. */
export function findNul(buffer: Buffer, start: number, end: number): number {
  for (let at = start; at < end; at++) {
    if (buffer[at] === 0) return at;
  }
  return -1;
}

/** Beyond so many bytes the native search is faster. */
const NEAR_BYTES = 128;

/** Like findNul, for long strings. */
export function findNulFar(buffer: Buffer, start: number, end: number): number {
  const near = findNul(buffer, start, Math.min(end, start + NEAR_BYTES));
  if (near >= 0 || end <= start + NEAR_BYTES) return near;
  const at = buffer.indexOf(0, start + NEAR_BYTES);
  return at < end ? at : -1;
}

/** A name out of a decoded SQL text in the form of `readName`, for a client whose encoding is UTF-8. */
export function keepName(name: string): string {
  if (isAscii(name)) return name.length > MAX_NAME_BYTES ? name.slice(0, MAX_NAME_BYTES) : name;
  return Buffer.from(name, 'utf8').toString('latin1', 0, MAX_NAME_BYTES);
}

export function isAscii(text: string): boolean {
  for (let at = 0; at < text.length; at++) if (text.charCodeAt(at) >= 0x80) return false;
  return true;
}

/** A statement or portal name as the server would keep it: bytes one to one as Latin-1, cut at 63. */
export function readName(buffer: Buffer, start: number, nul: number): string {
  if (nul === start) return '';
  return buffer.toString('latin1', start, Math.min(nul, start + MAX_NAME_BYTES));
}
