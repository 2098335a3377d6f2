// The first packet of a connection: it has no type byte, and is a startup message, a request for encryption, or a cancel.

import { isUtf8 } from 'node:buffer';
import { REQUEST } from './codes.ts';
import { MAX_NAME_BYTES } from './reader.ts';

/** PostgreSQL refuses longer ones: MAX_STARTUP_PACKET_LENGTH, which does not count the length word itself. */
export const MAX_STARTUP_BYTES = 10_004;
/** PostgreSQL cuts these to the length of a name before it looks them up. */
const CUT_NAMES: ReadonlySet<string> = new Set(['user', 'database']);
/** The secret key is 4 bytes up to protocol 3.0, and up to 256 in 3.2. */
const MIN_CANCEL_BYTES = 12 + 1;
const MAX_CANCEL_BYTES = 12 + 256;

/** What a client wants to speak, and who it says it is. */
export interface StartupMessage {
  readonly type: 'startup';
  readonly major: number;
  readonly minor: number;
  readonly parameters: ReadonlyMap<string, string>;
}

export type StartupPacket =
  | StartupMessage
  | { readonly type: 'ssl_request' }
  | { readonly type: 'gssenc_request' }
  /** `key` is process id and secret as sent, one to one as Latin-1. */
  | { readonly type: 'cancel'; readonly key: string };

export type StartupAnswer =
  | { readonly status: 'ok'; readonly packet: StartupPacket; readonly end: number }
  | { readonly status: 'more' }
  /** `isTold`: PostgreSQL says so to the client, too; where it does not it only logs, and closes. */
  | { readonly status: 'broken'; readonly reason: string; readonly isTold: boolean };

/** Reads the packet at the start of `buffer[0, end)`. Source: PostgreSQL documentation, "Message Formats", StartupMessage. */
export function readStartupPacket(buffer: Buffer, end: number): StartupAnswer {
  if (end < 4) return { status: 'more' };
  const length = buffer.readInt32BE(0);
  if (length < 8 || length > MAX_STARTUP_BYTES)
    return { status: 'broken', reason: 'invalid length of startup packet', isTold: false };
  if (end < length) return { status: 'more' };
  const code = buffer.readInt32BE(4);
  // Like PostgreSQL, by the code alone: what else stands in the packet is passed over.
  if (code === REQUEST.ssl || code === REQUEST.gssenc)
    return { status: 'ok', packet: { type: code === REQUEST.ssl ? 'ssl_request' : 'gssenc_request' }, end: length };
  if (code === REQUEST.cancel) {
    if (length < MIN_CANCEL_BYTES || length > MAX_CANCEL_BYTES)
      return { status: 'broken', reason: 'invalid length of cancel request', isTold: false };
    return { status: 'ok', packet: { type: 'cancel', key: buffer.toString('latin1', 8, length) }, end: length };
  }
  const parameters = code >>> 16 === 3 ? readParameters(buffer, 8, length) : new Map<string, string>();
  if (parameters === null) return { status: 'broken', reason: 'invalid startup packet layout', isTold: true };
  return {
    status: 'ok',
    packet: { type: 'startup', major: code >>> 16, minor: code & 0xffff, parameters },
    end: length,
  };
}

/** As the server takes them: of a name given twice the last, names of users and databases cut, an empty database as none. */
function readParameters(buffer: Buffer, start: number, end: number): ReadonlyMap<string, string> | null {
  const parameters = new Map<string, string>();
  let at = start;
  while (at < end && buffer[at] !== 0) {
    const nameEnd = buffer.indexOf(0, at);
    if (nameEnd < 0 || nameEnd >= end) return null;
    const valueEnd = buffer.indexOf(0, nameEnd + 1);
    if (valueEnd < 0 || valueEnd >= end) return null;
    const name = readText(buffer, at, nameEnd);
    const keptEnd = CUT_NAMES.has(name) ? Math.min(valueEnd, nameEnd + 1 + MAX_NAME_BYTES) : valueEnd;
    parameters.set(name, readText(buffer, nameEnd + 1, keptEnd));
    at = valueEnd + 1;
  }
  if (parameters.get('database') === '') parameters.delete('database');
  return at === end - 1 ? parameters : null;
}

/** The StartupMessage with further parameters behind its own. */
export function addParameters(packet: Buffer, parameters: ReadonlyMap<string, string>): Buffer {
  const text = [...parameters].map(([name, value]) => `${name}\0${value}\0`).join('');
  const longer = Buffer.concat([packet.subarray(0, -1), Buffer.from(`${text}\0`)]);
  longer.writeInt32BE(longer.length, 0);
  return longer;
}

/** What is no UTF-8 has a lone surrogate for each byte above ASCII: texts that differ are different for pgweir, too. */
function readText(buffer: Buffer, start: number, end: number): string {
  const bytes = buffer.subarray(start, end);
  if (isUtf8(bytes)) return bytes.toString('utf8');
  const keepByte = (character: string): string => String.fromCharCode(0xdc00 | character.charCodeAt(0));
  return bytes.toString('latin1').replace(/[\x80-\xff]/g, keepByte);
}
