// Text that a server gave and that it is given back: bytes of the database's own encoding, one to one as Latin-1. It goes
// there and back as ASCII, because client_encoding and the settings that change how a literal is read are the client's.

const PLAIN = /^[ -[\]-~]*$/;

/** Bytes in hexadecimal, as `encode(…, 'hex')` gives them. */
export function readHex(hex: string): string {
  return Buffer.from(hex, 'hex').toString('latin1');
}

/** An expression of type text or an untyped literal: safe under every client_encoding and standard_conforming_strings. */
export function literalOf(text: string): string {
  if (PLAIN.test(text)) return `'${text.replaceAll("'", "''")}'`;
  const hex = Buffer.from(text, 'latin1').toString('hex');
  return `pg_catalog.convert_from(pg_catalog.decode('${hex}', 'hex'), pg_catalog.getdatabaseencoding())`;
}

/** A quoted identifier; null where it holds more than printable ASCII. */
export function identifierOf(text: string): string | null {
  return PLAIN.test(text) ? `"${text.replaceAll('"', '""')}"` : null;
}
