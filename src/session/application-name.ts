// application_name as the server keeps and reports it, for a client that is told before any server has been given its name.

import { MAX_NAME_BYTES } from '../wire/reader.ts';

const PRINTABLE = /^[ -~]*$/;
const UNPRINTABLE = /[^ -~]/g;
/** From this version on what is no printable ASCII is shown by its number, before it as a question mark. */
const NUMBERED_FROM = 16;

/**
 * Cut as a name, then cleaned. Source: PostgreSQL, truncate_identifier() and pg_clean_ascii().
 *
 * @param name of a startup packet, as `readStartupPacket` gives it
 * @param parameters of a login to that server
 */
export function keepApplicationName(name: string, parameters: ReadonlyMap<string, string>): string {
  if (name.length <= MAX_NAME_BYTES && PRINTABLE.test(name)) return name;
  // A lone surrogate stands for a byte: its lower half.
  const bytes = name.isWellFormed() ? Buffer.from(name, 'utf8') : Buffer.from(name, 'latin1');
  let end = Math.min(bytes.length, MAX_NAME_BYTES);
  if (parameters.get('server_encoding') === 'UTF8') while (isInsideCharacter(bytes[end])) end--;
  const isNumbered = Number.parseInt(parameters.get('server_version') ?? '', 10) >= NUMBERED_FROM;
  const clean = (character: string): string =>
    isNumbered ? `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}` : '?';
  // What has grown too long for a name, no SET could give to the next server connection.
  return bytes.toString('latin1', 0, end).replace(UNPRINTABLE, clean).slice(0, MAX_NAME_BYTES);
}

/** A character of UTF-8 goes on with that byte. */
function isInsideCharacter(byte: number | undefined): boolean {
  return byte !== undefined && (byte & 0xc0) === 0x80;
}
