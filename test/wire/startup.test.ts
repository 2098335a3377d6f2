import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { MAX_STARTUP_BYTES, readStartupPacket } from '../../src/wire/startup.ts';
import * as frontend from '../support/frontend-messages.ts';

const read = (packet: Buffer) => readStartupPacket(packet, packet.length);

describe('the first packet', () => {
  test('a startup message tells version and parameters, empty values included', () => {
    const packet = frontend.startupMessage({ user: 'ann', database: 'shop', application_name: '', options: '-c a=b' });
    const answer = read(packet);
    if (answer.status !== 'ok' || answer.packet.type !== 'startup') throw new Error(`got ${answer.status}`);
    expect(answer.end).toBe(packet.length);
    expect(answer.packet).toMatchObject({ major: 3, minor: 0 });
    expect(Object.fromEntries(answer.packet.parameters)).toEqual({
      user: 'ann',
      database: 'shop',
      application_name: '',
      options: '-c a=b',
    });
  });

  test.each([
    [2, 0],
    [3, 2],
    [3, 9999],
    [4, 0],
    [0xffff, 0xffff],
  ])('version %i.%i is told as it stands', (major, minor) => {
    const answer = read(frontend.startupMessage({ user: 'u' }, (major << 16) | minor));
    expect(answer).toMatchObject({ status: 'ok', packet: { type: 'startup', major, minor } });
  });

  test('requests for encryption and cancels are told apart', () => {
    expect(read(frontend.sslRequest())).toMatchObject({ packet: { type: 'ssl_request' }, end: 8 });
    expect(read(frontend.gssencRequest())).toMatchObject({ packet: { type: 'gssenc_request' }, end: 8 });
    const key = Buffer.from([0xff, 0, 0x80, 1]);
    expect(read(frontend.cancelRequest(0x01020304, key))).toMatchObject({
      packet: { type: 'cancel', key: '\x01\x02\x03\x04\xff\x00\x80\x01' },
    });
    const longKey = Buffer.alloc(256, 0xfe);
    expect(read(frontend.cancelRequest(7, longKey))).toMatchObject({ packet: { type: 'cancel' }, end: 268 });
  });

  test('every shorter part of a packet asks for more, and bytes behind it are left alone', () => {
    const packet = frontend.startupMessage({ user: 'ann', database: 'shop' });
    const followed = Buffer.concat([packet, Buffer.from('behind')]);
    for (let end = 0; end < packet.length; end++) {
      expect(readStartupPacket(followed, end), `${end} bytes`).toEqual({ status: 'more' });
    }
    expect(readStartupPacket(followed, followed.length)).toMatchObject({ status: 'ok', end: packet.length });
  });

  test('a request for encryption is known by its code, whatever stands behind that', () => {
    const packet = frontend.packet(frontend.int32(frontend.SSL_REQUEST_CODE), Buffer.from('anything'));
    expect(read(packet)).toMatchObject({ packet: { type: 'ssl_request' }, end: packet.length });
  });

  test.each(['user', 'database'])('a name of a %s is cut as the server cuts it', (name) => {
    const answer = read(frontend.startupMessage({ [name]: `${'n'.repeat(63)}more`, options: 'o'.repeat(100) }));
    if (answer.status !== 'ok' || answer.packet.type !== 'startup') throw new Error(`got ${answer.status}`);
    expect(answer.packet.parameters.get(name)).toBe('n'.repeat(63));
    expect(answer.packet.parameters.get('options')).toHaveLength(100);
  });

  test('an empty database is none, and of a name given twice the last counts', () => {
    const pairs = Buffer.from('user\0ann\0database\0\0user\0bob\0\0');
    const answer = read(frontend.packet(frontend.int32(3 << 16), pairs));
    if (answer.status !== 'ok' || answer.packet.type !== 'startup') throw new Error(`got ${answer.status}`);
    expect([...answer.packet.parameters]).toEqual([['user', 'bob']]);
  });

  test('a parameter that is not UTF-8 is read without an error', () => {
    const packet = frontend.packet(frontend.int32(3 << 16), Buffer.from('user\0\xe9\xff\0\0', 'latin1'));
    expect(read(packet)).toMatchObject({ status: 'ok', packet: { type: 'startup' } });
  });
});

describe('a first packet that is none', () => {
  const withLength = (length: number): Buffer => Buffer.concat([frontend.int32(length), Buffer.alloc(64)]);

  test.each([-1, 0, 3, 4, 7, MAX_STARTUP_BYTES + 1, 0x7fffffff])(
    'a length of %i is refused from its first four bytes',
    (length) => {
      expect(readStartupPacket(withLength(length | 0), 4)).toMatchObject({ status: 'broken' });
    },
  );

  test('the longest that PostgreSQL takes is taken', () => {
    const value = 'x'.repeat(MAX_STARTUP_BYTES - 8 - 'user\0\0\0'.length);
    const packet = frontend.startupMessage({ user: value });
    expect(packet.length).toBe(MAX_STARTUP_BYTES);
    expect(read(packet)).toMatchObject({ status: 'ok' });
  });

  test.each([
    ['an HTTP request', Buffer.from('GET / HTTP/1.1\r\n\r\n')],
    ['a TLS ClientHello', Buffer.from('160301020001', 'hex')],
  ])('%s is refused', (_what, bytes) => {
    expect(read(bytes)).toMatchObject({ status: 'broken' });
  });

  test.each([
    ['nothing at all', ''],
    ['no terminator', 'user\0ann\0'],
    ['a name without a value', 'user\0\0x\0'],
    ['a value without an end', 'user\0ann'],
    ['bytes behind the terminator', 'user\0ann\0\0\0'],
  ])('parameters with %s are refused', (_what, body) => {
    expect(read(frontend.packet(frontend.int32(3 << 16), Buffer.from(body)))).toMatchObject({ status: 'broken' });
  });

  test.each([
    ['cancel request without a key', frontend.packet(frontend.int32(frontend.CANCEL_REQUEST_CODE), Buffer.alloc(4))],
    ['cancel request with 257 bytes of key', frontend.cancelRequest(1, Buffer.alloc(257))],
  ])('a %s of a wrong length is refused', (_what, packet) => {
    expect(read(packet)).toMatchObject({ status: 'broken' });
  });

  test('random bytes get one of the three answers, never an exception', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), fc.boolean(), (bytes, hasTrueLength) => {
        const packet = Buffer.from(bytes);
        if (hasTrueLength && packet.length >= 8) {
          packet.writeInt32BE(packet.length, 0);
          packet.writeInt32BE(3 << 16, 4);
        }
        expect(['ok', 'more', 'broken']).toContain(read(packet).status);
      }),
      { numRuns: 2_000 },
    );
  });
});
