// Addresses and CIDR prefixes compared bit by bit. IPv4-mapped IPv6 (::ffff:a.b.c.d, RFC 4291 2.5.5.2) is IPv4: an
// address and a prefix are of one family only after that has been undone. node:net's BlockList is not used: it answers
// false for IPv6 unless told the family, and knows nothing of mapped addresses.

import { isIPv4, isIPv6 } from 'node:net';

export interface Address {
  /** 4 or 16 bytes. */
  readonly bytes: readonly number[];
}

export interface Prefix {
  readonly bytes: readonly number[];
  readonly bits: number;
  /** Bits behind the prefix were set: 10.1.0.0/8 says more than it means. */
  readonly hasHostBits: boolean;
}

/** Null for text that is no address (`unix` for one). A zone (`fe80::1%eth0`) is ignored. */
export function parseAddress(text: string): Address | null {
  const zone = text.indexOf('%');
  const bare = zone < 0 ? text : text.slice(0, zone);
  if (isIPv4(bare)) return { bytes: bare.split('.').map(Number) };
  if (!isIPv6(bare)) return null;
  const bytes = parseIPv6(bare);
  return isMapped(bytes) ? { bytes: bytes.slice(12) } : { bytes };
}

/** Why a text is no address that a client can have; null where it is one. */
export function complainOfClientAddress(text: string): string | null {
  const isGood = text === 'unix' || parseAddress(text) !== null;
  return isGood ? null : `"${text}" is no IPv4 or IPv6 address, nor "unix"`;
}

/** An address with an optional `/bits`; the reason as a string where it is neither. */
export function parsePrefix(text: string): Prefix | string {
  const slash = text.indexOf('/');
  const addressText = slash < 0 ? text : text.slice(0, slash);
  if (!isIPv4(addressText) && !isIPv6(addressText)) return `"${text}" is no IPv4 or IPv6 prefix, nor "unix"`;
  const raw = isIPv4(addressText) ? addressText.split('.').map(Number) : parseIPv6(addressText);
  const width = raw.length * 8;
  const bitsText = slash < 0 ? String(width) : text.slice(slash + 1);
  if (!/^\d{1,3}$/.test(bitsText) || Number(bitsText) > width) {
    return `"${text}" needs a prefix length between 0 and ${width} after the slash`;
  }
  const bits = Number(bitsText);
  const masked = raw.map((byte, index) => byte & maskOf(bits - index * 8));
  const hasHostBits = masked.some((byte, index) => byte !== raw[index]);
  if (isMapped(raw) && bits >= 96) return { bytes: masked.slice(12), bits: bits - 96, hasHostBits };
  return { bytes: masked, bits, hasHostBits };
}

export function isInPrefix(address: Address, prefix: Prefix): boolean {
  if (address.bytes.length !== prefix.bytes.length) return false;
  return prefix.bytes.every((byte, index) => ((address.bytes[index] ?? 0) & maskOf(prefix.bits - index * 8)) === byte);
}

/** The mask of one byte of which the first `bits` count. */
function maskOf(bits: number): number {
  if (bits >= 8) return 0xff;
  return bits <= 0 ? 0 : (0xff << (8 - bits)) & 0xff;
}

function isMapped(bytes: readonly number[]): boolean {
  return bytes.length === 16 && bytes.every((byte, index) => index >= 12 || byte === (index >= 10 ? 0xff : 0));
}

/** Sixteen bytes of a text that node:net has found to be IPv6 (RFC 4291 2.2, all three forms). */
function parseIPv6(text: string): number[] {
  const [head = '', tail] = text.split('::');
  const left = parseGroups(head);
  if (tail === undefined) return left;
  const right = parseGroups(tail);
  return [...left, ...new Array<number>(16 - left.length - right.length).fill(0), ...right];
}

function parseGroups(text: string): number[] {
  if (text === '') return [];
  return text.split(':').flatMap((group) => {
    if (group.includes('.')) return group.split('.').map(Number);
    const value = Number.parseInt(group, 16);
    return [value >> 8, value & 0xff];
  });
}
