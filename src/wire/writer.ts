// The messages that pgweir says itself, built byte by byte: errors, the end of a login it did on the client's behalf, and
// the few frontend messages that stand in for a refused one.

import { AUTHENTICATION, BACKEND, FRONTEND, HEADER_BYTES, REQUEST, TRANSACTION } from './codes.ts';
import type { Broken } from './framer.ts';

const EMPTY = Buffer.alloc(0);

/** A message of that type, its length word before `body`. */
export function makeMessage(type: number, body: Buffer): Buffer {
  const message = Buffer.allocUnsafe(HEADER_BYTES + body.length);
  message[0] = type;
  message.writeInt32BE(message.length - 1, 1);
  body.copy(message, HEADER_BYTES);
  return message;
}

function cstring(text: string): Buffer {
  return Buffer.from(`${text}\0`, 'utf8');
}

export interface ErrorFields {
  readonly severity: 'ERROR' | 'FATAL';
  readonly sqlstate: string;
  readonly message: string;
  readonly detail?: string | null;
  readonly hint?: string | null;
}

/** NUL would end a field early, so it is shown as U+FFFD. */
function field(code: string, text: string): string {
  return `${code}${text.replaceAll('\0', '\uFFFD')}\0`;
}

/** ErrorResponse. Source: PostgreSQL documentation, "Error and Notice Message Fields". */
export function makeErrorResponse(fields: ErrorFields): Buffer {
  let body =
    field('S', fields.severity) +
    field('V', fields.severity) +
    field('C', fields.sqlstate) +
    field('M', fields.message);
  if (fields.detail) body += field('D', fields.detail);
  if (fields.hint) body += field('H', fields.hint);
  return makeMessage(BACKEND.error, Buffer.from(`${body}\0`, 'utf8'));
}

/** The error message of protocols before 3.0: one string, without a length. PostgreSQL still answers their clients so. */
export function makeOldErrorResponse(message: string): Buffer {
  return Buffer.concat([Buffer.from([BACKEND.error]), cstring(`FATAL:  ${message}\n`)]);
}

/** @param body what stands behind the code */
export function makeAuthentication(code: (typeof AUTHENTICATION)[keyof typeof AUTHENTICATION], body: Buffer): Buffer {
  const head = Buffer.alloc(4);
  head.writeInt32BE(code, 0);
  return makeMessage(BACKEND.authentication, Buffer.concat([head, body]));
}

export const AUTHENTICATION_OK = makeAuthentication(AUTHENTICATION.ok, EMPTY);

/** @param name as Latin-1, one to one */
export function makeParameterStatus(name: string, value: string): Buffer {
  return makeMessage(BACKEND.parameterStatus, Buffer.concat([Buffer.from(`${name}\0`, 'latin1'), cstring(value)]));
}

/** @param key process id and secret, one to one as Latin-1 */
export function makeBackendKeyData(key: string): Buffer {
  return makeMessage(BACKEND.backendKeyData, Buffer.from(key, 'latin1'));
}

/** ReadyForQuery outside a transaction. */
export const READY = makeMessage(BACKEND.readyForQuery, Buffer.from([TRANSACTION.idle]));

/** Tells a client that asked for a newer minor version, or for unknown `_pq_.` options, what it gets instead. */
export function makeNegotiateProtocolVersion(minor: number, unknownOptions: readonly string[]): Buffer {
  const head = Buffer.alloc(8);
  head.writeInt32BE((3 << 16) | minor, 0);
  head.writeInt32BE(unknownOptions.length, 4);
  return makeMessage(BACKEND.negotiateProtocolVersion, Buffer.concat([head, ...unknownOptions.map(cstring)]));
}

export function makeQuery(text: string): Buffer {
  return makeMessage(FRONTEND.query, cstring(text));
}

/** @param name as Latin-1, one to one */
export function makeParse(name: string, text: string): Buffer {
  return makeMessage(
    FRONTEND.parse,
    Buffer.concat([Buffer.from(`${name}\0`, 'latin1'), cstring(text), Buffer.from([0, 0])]),
  );
}

export const SYNC = makeMessage(FRONTEND.sync, EMPTY);
export const FLUSH = makeMessage(FRONTEND.flush, EMPTY);
export const TERMINATE = makeMessage(FRONTEND.terminate, EMPTY);

/** How the message began that could not be framed: as much of it as a server reads before it gives up. */
export function makeBrokenHead({ reason, type, length }: Broken): Buffer {
  const head = Buffer.from([type, 0, 0, 0, 0]);
  head.writeInt32BE(length ?? 0, 1);
  return reason === 'unknown_type' ? head.subarray(0, 1) : head;
}

/** FunctionCall of OID 0, which no function has: the server fails it as it would fail any other, with ReadyForQuery. */
export function makeImpossibleFunctionCall(): Buffer {
  return makeMessage(FRONTEND.functionCall, Buffer.alloc(10));
}

/** @param key process id and secret as one to one Latin-1 */
export function makeCancelRequest(key: string): Buffer {
  const packet = Buffer.allocUnsafe(8 + key.length);
  packet.writeInt32BE(packet.length, 0);
  packet.writeInt32BE(REQUEST.cancel, 4);
  packet.write(key, 8, 'latin1');
  return packet;
}
