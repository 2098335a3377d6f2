// Certificates made while tests run, so that none expires in the tree and no other program is needed: X.509 version 3 (RFC
// 5280) written as DER by hand, signed by node:crypto. Deliberately without the code under test.

import { createPrivateKey, generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto';

export type SignatureAlgorithm =
  | 'ecdsa-sha256'
  | 'ecdsa-sha384'
  | 'rsa-sha1'
  | 'rsa-sha256'
  | 'rsa-sha512'
  | 'rsa-pss-sha384'
  | 'ed25519';

export interface CertificateRequest {
  /** Null: a subject without CN. */
  readonly commonName: string | null;
  readonly organization?: string;
  readonly dnsNames?: readonly string[];
  /** IPv4 in dots, or IPv6 with all its eight groups. */
  readonly addresses?: readonly string[];
  /** Default: an hour ago. */
  readonly notBefore?: Date;
  /** Default: in a day. */
  readonly notAfter?: Date;
}

/** PEM. */
export interface Certified {
  readonly cert: string;
  readonly key: string;
}

export interface Authority extends Certified {
  issue(request: CertificateRequest): Certified;
}

const HOUR_MS = 3_600_000;

/** A certificate authority of its own; what it issues is signed as it is itself. */
export function makeAuthority(name: string, algorithm: SignatureAlgorithm = 'ecdsa-sha256'): Authority {
  const { publicKey, privateKey } = makeKeyPair(algorithm);
  const subject: CertificateRequest = { commonName: name };
  const cert = certify(subject, publicKey, { name: subject, key: privateKey, algorithm }, true);
  return {
    cert,
    key: toPem(privateKey),
    issue(request) {
      const leaf = makeKeyPair('ecdsa-sha256');
      return {
        cert: certify(request, leaf.publicKey, { name: subject, key: privateKey, algorithm }, false),
        key: toPem(leaf.privateKey),
      };
    },
  };
}

/** The same key behind a passphrase. */
export function lockKey(key: string, passphrase: string): string {
  const options = { type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase } as const;
  return createPrivateKey(key).export(options).toString();
}

interface Issuer {
  readonly name: CertificateRequest;
  readonly key: KeyObject;
  readonly algorithm: SignatureAlgorithm;
}

function makeKeyPair(algorithm: SignatureAlgorithm): { publicKey: KeyObject; privateKey: KeyObject } {
  if (algorithm === 'ed25519') return generateKeyPairSync('ed25519');
  if (algorithm.startsWith('ecdsa')) return generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return generateKeyPairSync('rsa', { modulusLength: 2048 });
}

function toPem(key: KeyObject): string {
  return key.export({ type: 'pkcs8', format: 'pem' }).toString();
}

function certify(request: CertificateRequest, publicKey: KeyObject, issuer: Issuer, isAuthority: boolean): string {
  const { notBefore = new Date(Date.now() - HOUR_MS), notAfter = new Date(Date.now() + 24 * HOUR_MS) } = request;
  const algorithm = describeAlgorithm(issuer.algorithm);
  const signed = sequence(
    der(0xa0, integer(Buffer.from([2]))),
    integer(Buffer.concat([Buffer.from([1]), randomBytes(8)])),
    algorithm,
    distinguishedName(issuer.name),
    sequence(utcTime(notBefore), utcTime(notAfter)),
    distinguishedName(request),
    publicKey.export({ type: 'spki', format: 'der' }),
    der(0xa3, sequence(...extensions(request, isAuthority))),
  );
  const signature = signBytes(signed, issuer);
  const bytes = sequence(signed, algorithm, der(0x03, Buffer.from([0]), signature));
  const lines = bytes.toString('base64').match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`;
}

function signBytes(bytes: Buffer, { key, algorithm }: Issuer): Buffer {
  if (algorithm === 'ed25519') return sign(null, bytes, key);
  const hash = algorithm.slice(algorithm.lastIndexOf('-') + 1);
  if (algorithm === 'rsa-pss-sha384') return sign(hash, bytes, { key, padding: 6, saltLength: 48 });
  return sign(hash, bytes, key);
}

function describeAlgorithm(algorithm: SignatureAlgorithm): Buffer {
  const none = der(0x05);
  switch (algorithm) {
    case 'ecdsa-sha256':
      return sequence(objectIdentifier('1.2.840.10045.4.3.2'));
    case 'ecdsa-sha384':
      return sequence(objectIdentifier('1.2.840.10045.4.3.3'));
    case 'rsa-sha1':
      return sequence(objectIdentifier('1.2.840.113549.1.1.5'), none);
    case 'rsa-sha256':
      return sequence(objectIdentifier('1.2.840.113549.1.1.11'), none);
    case 'rsa-sha512':
      return sequence(objectIdentifier('1.2.840.113549.1.1.13'), none);
    case 'ed25519':
      return sequence(objectIdentifier('1.3.101.112'));
    case 'rsa-pss-sha384': {
      const sha384 = sequence(objectIdentifier('2.16.840.1.101.3.4.2.2'), none);
      const mask = sequence(objectIdentifier('1.2.840.113549.1.1.8'), sha384);
      const salt = der(0xa2, integer(Buffer.from([48])));
      return sequence(objectIdentifier('1.2.840.113549.1.1.10'), sequence(der(0xa0, sha384), der(0xa1, mask), salt));
    }
    default:
      return algorithm satisfies never;
  }
}

function extensions({ dnsNames = [], addresses = [] }: CertificateRequest, isAuthority: boolean): Buffer[] {
  const isCritical = der(0x01, Buffer.from([0xff]));
  const constraints = isAuthority ? sequence(der(0x01, Buffer.from([0xff]))) : sequence();
  const list = [sequence(objectIdentifier('2.5.29.19'), isCritical, der(0x04, constraints))];
  const names = [
    ...dnsNames.map((name) => der(0x82, Buffer.from(name, 'latin1'))),
    ...addresses.map((address) => der(0x87, parseAddress(address))),
  ];
  if (names.length > 0) list.push(sequence(objectIdentifier('2.5.29.17'), der(0x04, sequence(...names))));
  return list;
}

function parseAddress(address: string): Buffer {
  if (!address.includes(':')) return Buffer.from(address.split('.').map(Number));
  return Buffer.from(
    address
      .split(':')
      .map((group) => group.padStart(4, '0'))
      .join(''),
    'hex',
  );
}

function distinguishedName({ commonName, organization }: CertificateRequest): Buffer {
  const part = (type: string, value: string): Buffer =>
    der(0x31, sequence(objectIdentifier(type), der(0x0c, Buffer.from(value, 'utf8'))));
  return sequence(
    ...(organization === undefined ? [] : [part('2.5.4.10', organization)]),
    ...(commonName === null ? [] : [part('2.5.4.3', commonName)]),
  );
}

function utcTime(date: Date): Buffer {
  const digits = date.toISOString().replace(/[-:T]/g, '').slice(2, 14);
  return der(0x17, Buffer.from(`${digits}Z`, 'latin1'));
}

function integer(bytes: Buffer): Buffer {
  return der(0x02, bytes);
}

function sequence(...parts: readonly Buffer[]): Buffer {
  return der(0x30, ...parts);
}

function objectIdentifier(dotted: string): Buffer {
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number);
  const bytes = [first * 40 + second, ...rest].flatMap((part) => {
    const septets = [part & 0x7f];
    for (let left = part >>> 7; left > 0; left >>>= 7) septets.unshift((left & 0x7f) | 0x80);
    return septets;
  });
  return der(0x06, Buffer.from(bytes));
}

function der(tag: number, ...parts: readonly Buffer[]): Buffer {
  const body = Buffer.concat(parts);
  if (body.length < 0x80) return Buffer.concat([Buffer.from([tag, body.length]), body]);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(body.length);
  const used = length.subarray(length.findIndex((byte) => byte !== 0));
  return Buffer.concat([Buffer.from([tag, 0x80 | used.length]), used, body]);
}
