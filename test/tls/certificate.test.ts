// What is read out of certificates: the channel binding's hash, the names, and whether they are the host's.

import { createHash, X509Certificate } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { describePeer, hashServerEndPoint, readNames } from '../../src/tls/certificate.ts';
import { readElement } from '../../src/tls/der.ts';
import { findNameMismatch } from '../../src/tls/host-names.ts';
import { type CertificateRequest, makeAuthority, type SignatureAlgorithm } from '../support/certificates.ts';

const authority = makeAuthority('test authority');

function issue(request: CertificateRequest): X509Certificate {
  return new X509Certificate(authority.issue(request).cert);
}

describe('the hash of a certificate for channel binding', () => {
  test.each<[SignatureAlgorithm, string]>([
    ['ecdsa-sha256', 'sha256'],
    ['ecdsa-sha384', 'sha384'],
    ['rsa-sha1', 'sha256'],
    ['rsa-sha256', 'sha256'],
    ['rsa-sha512', 'sha512'],
    ['rsa-pss-sha384', 'sha384'],
  ])('signed with %s is made with %s', (algorithm, hash) => {
    const certificate = new X509Certificate(makeAuthority('signer', algorithm).issue({ commonName: 'x' }).cert);
    expect(hashServerEndPoint(certificate)).toEqual(createHash(hash).update(certificate.raw).digest());
  });

  test('signed with Ed25519, which has no hash of its own, is none', () => {
    const certificate = new X509Certificate(makeAuthority('signer', 'ed25519').issue({ commonName: 'x' }).cert);
    expect(hashServerEndPoint(certificate)).toBeNull();
  });
});

describe('the names of a certificate', () => {
  test('are its alternative names and its common name', () => {
    const names = readNames(issue({ commonName: 'cn', dnsNames: ['a.example', '*.b'], addresses: ['10.0.0.1'] }));
    expect(names).toEqual({
      dnsNames: ['a.example', '*.b'],
      addresses: [Buffer.from([10, 0, 0, 1])],
      commonName: 'cn',
    });
  });

  test('are none where it has none', () => {
    expect(readNames(issue({ commonName: null }))).toEqual({ dnsNames: [], addresses: [], commonName: null });
  });

  test('a peer is told by its common name and by its subject, the last part first', () => {
    expect(describePeer(issue({ commonName: 'app', organization: 'Shop' }))).toEqual({
      commonName: 'app',
      subject: 'CN=app,O=Shop',
    });
  });

  test('a common name with a NUL in it is none', () => {
    expect(readNames(issue({ commonName: 'db.example\0.evil.example' })).commonName).toBeNull();
  });
});

describe('verify-full', () => {
  const V6 = '2001:db8:0:0:0:0:0:1';
  test.each<[string, CertificateRequest]>([
    ['db.example.com', { commonName: 'db.example.com' }],
    ['DB.example.com', { commonName: null, dnsNames: ['db.EXAMPLE.com'] }],
    ['db.example.com', { commonName: 'other', dnsNames: ['x', 'db.example.com'] }],
    ['db.example.com', { commonName: null, dnsNames: ['*.example.com'] }],
    ['db.example.com', { commonName: '*.example.com' }],
    ['db.example.com', { commonName: 'db.example.com', addresses: ['10.0.0.1'] }],
    ['10.0.0.1', { commonName: null, addresses: ['10.0.0.1'] }],
    ['10.0.0.1', { commonName: '10.0.0.1' }],
    ['10.0.0.1', { commonName: '10.0.0.1', dnsNames: ['db'] }],
    ['10.0.0.1', { commonName: null, dnsNames: ['10.0.0.1'] }],
    ['2001:db8::1', { commonName: null, addresses: [V6] }],
    ['2001:DB8:0::1', { commonName: null, addresses: [V6] }],
  ])('of %s accepts %j', (host, request) => {
    expect(findNameMismatch(host, issue(request))).toBeNull();
  });

  test.each<[string, CertificateRequest]>([
    ['db.example.com', { commonName: 'db.example.org' }],
    ['db.example.com', { commonName: 'db.example.com', dnsNames: ['other.example.com'] }],
    ['db.example.com', { commonName: null }],
    ['a.db.example.com', { commonName: null, dnsNames: ['*.example.com'] }],
    ['example.com', { commonName: null, dnsNames: ['*.example.com'] }],
    ['.example.com', { commonName: null, dnsNames: ['*.example.com'] }],
    ['db.example.com', { commonName: null, dnsNames: ['d*.example.com'] }],
    ['db.example.com', { commonName: null, dnsNames: ['db.*.com'] }],
    ['db.example.com', { commonName: null, dnsNames: ['db.example.com\0.evil'] }],
    ['10.0.0.1', { commonName: '10.0.0.1', addresses: ['10.0.0.2'] }],
    ['10.0.0.1', { commonName: null, addresses: ['0:0:0:0:0:ffff:a00:1'] }],
    ['2001:db8::2', { commonName: null, addresses: [V6] }],
  ])('of %s refuses %j', (host, request) => {
    expect(findNameMismatch(host, issue(request))).toMatch(/^the certificate (is for|has no)/);
  });
});

test('DER whose lengths go beyond their bounds is refused', () => {
  expect(() => readElement(Buffer.from([0x30, 5, 1]), 0, 3)).toThrow(RangeError);
  expect(() => readElement(Buffer.from([0x30, 0x84, 0xff, 0xff, 0xff, 0xff]), 0, 6)).toThrow(RangeError);
  expect(() => readElement(Buffer.from([0x30]), 0, 1)).toThrow(RangeError);
});
