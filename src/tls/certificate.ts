// What pgweir reads out of a certificate itself: the hash that channel binding uses, the names that verify-full compares,
// and the subject of a client.

import { createHash, type X509Certificate } from 'node:crypto';
import type { PeerCertificate } from '../base/transport.ts';
import { contentsOf, DER, type DerElement, readChildren, readElement, readObjectIdentifier } from './der.ts';

/** Hash functions by the object identifier of the hash, and of signature algorithms that name theirs (RFC 4055, 5758, 8017). */
const HASHES: ReadonlyMap<string, string> = new Map([
  ['1.2.840.113549.2.5', 'sha256'],
  ['1.3.14.3.2.26', 'sha256'],
  ['2.16.840.1.101.3.4.2.4', 'sha224'],
  ['2.16.840.1.101.3.4.2.1', 'sha256'],
  ['2.16.840.1.101.3.4.2.2', 'sha384'],
  ['2.16.840.1.101.3.4.2.3', 'sha512'],
  // md5WithRSAEncryption, sha1WithRSAEncryption, dsa-with-sha1 and ecdsa-with-SHA1: SHA-256 in their place (RFC 5929).
  ['1.2.840.113549.1.1.4', 'sha256'],
  ['1.2.840.113549.1.1.5', 'sha256'],
  ['1.2.840.10040.4.3', 'sha256'],
  ['1.2.840.10045.4.1', 'sha256'],
  ['1.2.840.113549.1.1.14', 'sha224'],
  ['1.2.840.113549.1.1.11', 'sha256'],
  ['1.2.840.113549.1.1.12', 'sha384'],
  ['1.2.840.113549.1.1.13', 'sha512'],
  ['1.2.840.10045.4.3.1', 'sha224'],
  ['1.2.840.10045.4.3.2', 'sha256'],
  ['1.2.840.10045.4.3.3', 'sha384'],
  ['1.2.840.10045.4.3.4', 'sha512'],
]);
const RSASSA_PSS = '1.2.840.113549.1.1.10';
const SUBJECT_ALTERNATIVE_NAME = '2.5.29.17';
/** GeneralName (RFC 5280, 4.2.1.6): dNSName and iPAddress. */
const DNS_NAME = 0x82;
const IP_ADDRESS = 0x87;

/**
 * The tls-server-end-point binding: the certificate's hash by the hash function of its signature, SHA-256 in place of MD5
 * and SHA-1 (RFC 5929, 4.1). Null where the signature has no hash function of its own, as Ed25519: then there is none.
 */
export function hashServerEndPoint(certificate: X509Certificate): Buffer | null {
  const der = certificate.raw;
  const algorithm = readChildren(readElement(der, 0, der.length))[1];
  if (algorithm === undefined) return null;
  const hash = nameHash(algorithm);
  return hash === null ? null : createHash(hash).update(der).digest();
}

function nameHash(algorithm: DerElement): string | null {
  const [identifier, parameters] = readChildren(algorithm);
  if (identifier === undefined) return null;
  const name = readObjectIdentifier(identifier);
  if (name !== RSASSA_PSS) return HASHES.get(name) ?? null;
  // RSASSA-PSS-params: [0] hashAlgorithm, SHA-1 where it is left out (RFC 4055, 3.1).
  const given = parameters === undefined ? [] : readChildren(parameters);
  const chosen = given.find((parameter) => parameter.tag === DER.context(0));
  const inner = chosen === undefined ? undefined : readChildren(chosen)[0];
  const hash = inner === undefined ? undefined : readChildren(inner)[0];
  return hash === undefined ? 'sha256' : (HASHES.get(readObjectIdentifier(hash)) ?? null);
}

export interface CertificateNames {
  readonly dnsNames: readonly string[];
  /** 4 or 16 bytes each. */
  readonly addresses: readonly Buffer[];
  /** The first CN of the subject. */
  readonly commonName: string | null;
}

/** The names that a certificate speaks for. */
export function readNames(certificate: X509Certificate): CertificateNames {
  const dnsNames: string[] = [];
  const addresses: Buffer[] = [];
  for (const name of findAlternativeNames(certificate.raw)) {
    if (name.tag === DNS_NAME) dnsNames.push(contentsOf(name).toString('latin1'));
    if (name.tag === IP_ADDRESS) addresses.push(contentsOf(name));
  }
  return { dnsNames, addresses, commonName: readCommonName(certificate) };
}

function findAlternativeNames(der: Buffer): DerElement[] {
  const signed = readChildren(readElement(der, 0, der.length))[0];
  const wrapper = signed === undefined ? undefined : readChildren(signed).find((part) => part.tag === DER.context(3));
  const extensions = wrapper === undefined ? undefined : readChildren(wrapper)[0];
  if (extensions === undefined) return [];
  for (const extension of readChildren(extensions)) {
    const [identifier, ...rest] = readChildren(extension);
    const value = rest.find((part) => part.tag === DER.octetString);
    if (identifier === undefined || value === undefined) continue;
    if (readObjectIdentifier(identifier) !== SUBJECT_ALTERNATIVE_NAME) continue;
    return readChildren(readElement(value.bytes, value.start, value.end));
  }
  return [];
}

/** The first one; null too where it holds a NUL, with which a name could pretend to end early. */
function readCommonName(certificate: X509Certificate): string | null {
  const { CN } = certificate.toLegacyObject().subject;
  const names: unknown = CN;
  const first: unknown = Array.isArray(names) ? names[0] : names;
  return typeof first === 'string' && !first.includes('\0') ? first : null;
}

/** A verified peer, as logins and logs see it. */
export function describePeer(certificate: X509Certificate): PeerCertificate {
  // Node lists the parts in the certificate's order; RFC 2253 has the last one first.
  const subject = certificate.subject?.split('\n').reverse().join(',') ?? '';
  return { commonName: readCommonName(certificate), subject };
}
