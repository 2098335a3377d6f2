// What both sides of PostgreSQL's TLS have in common.

import { REQUEST } from '../wire/codes.ts';

/** Registered with IANA; offered by libpq since PostgreSQL 17, and demanded by servers where TLS begins without SSLRequest. */
export const ALPN_PROTOCOL = 'postgresql';
/** The content type of a TLS handshake record (RFC 8446, 5.1): no startup packet begins with it. */
export const HANDSHAKE_RECORD = 0x16;
/**
 * Records no larger than PostgreSQL's own: libpq asks for 8 KB at a time, and what OpenSSL keeps of a longer record does
 * not make the socket readable again, so that a client which waits for that would hang.
 */
export const MAX_RECORD_BYTES = 8192;

/** Message Formats, SSLRequest: length and code. */
export function makeSslRequest(): Buffer {
  const packet = Buffer.allocUnsafe(8);
  packet.writeInt32BE(8, 0);
  packet.writeInt32BE(REQUEST.ssl, 4);
  return packet;
}
