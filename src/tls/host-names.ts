// Whether a certificate speaks for a host, by libpq's rules (fe-secure-common.c and fe-secure-openssl.c): sslmode verify-full.

import type { X509Certificate } from 'node:crypto';
import { isIP, SocketAddress } from 'node:net';
import { readNames } from './certificate.ts';

/** Null where the certificate is for the host, else why not. */
export function findNameMismatch(host: string, certificate: X509Certificate): string | null {
  const { dnsNames, addresses, commonName } = readNames(certificate);
  const family = isIP(host);
  if (dnsNames.some((name) => matchesName(host, name))) return null;
  if (addresses.some((address) => matchesAddress(host, address))) return null;
  // The common name counts only where there is no alternative name of the host's own kind (RFC 6125, 6.4.4).
  const isNamed = family === 0 ? dnsNames.length > 0 : addresses.length > 0;
  if (!isNamed && commonName !== null && matchesName(host, commonName)) return null;
  const names = [...dnsNames, ...addresses.map(formatAddress), ...(isNamed || commonName === null ? [] : [commonName])];
  return names.length === 0
    ? 'the certificate has no host name'
    : `the certificate is for ${names.map(quote).join(', ')} and not for ${quote(host)}`;
}

/** The same but for case, or `*.` in place of the leftmost label. A name with a NUL in it matches nothing. */
function matchesName(host: string, name: string): boolean {
  if (name.includes('\0')) return false;
  const wanted = host.toLowerCase();
  const given = name.toLowerCase();
  if (wanted === given) return true;
  if (!given.startsWith('*.')) return false;
  const suffix = given.slice(1);
  return wanted.length > suffix.length && wanted.endsWith(suffix) && !wanted.slice(0, -suffix.length).includes('.');
}

function matchesAddress(host: string, address: Buffer): boolean {
  const family = isIP(host);
  if (family === 0 || address.length !== (family === 4 ? 4 : 16)) return false;
  return canonicalize(host) === canonicalize(formatAddress(address));
}

function canonicalize(address: string): string {
  return new SocketAddress({ address, family: isIP(address) === 4 ? 'ipv4' : 'ipv6' }).address;
}

function formatAddress(address: Buffer): string {
  if (address.length === 4) return [...address].join('.');
  if (address.length !== 16) return 'an address of no known kind';
  return Array.from({ length: 8 }, (_, index) => address.readUInt16BE(index * 2).toString(16)).join(':');
}

function quote(name: string): string {
  return `"${name}"`;
}
