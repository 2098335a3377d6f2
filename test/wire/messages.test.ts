// What is read of a server's messages, and the bytes of the messages that pgweir says itself, compared with bytes written
// down by hand from the manual's "Message Formats".

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { processIdOf, readBackendKey, readErrorField, readParameterStatus } from '../../src/wire/backend.ts';
import { findNul, findNulFar, readName } from '../../src/wire/reader.ts';
import * as writer from '../../src/wire/writer.ts';
import * as frontend from '../support/frontend-messages.ts';

describe('reading', () => {
  const error = frontend.message('E', Buffer.from('SFEHLER\0VERROR\0C42P01\0Mno such table\0\0'));

  test('fields of an error by their letter, and null for those it lacks', () => {
    expect(readErrorField(error, 0, error.length, 'C')).toBe('42P01');
    expect(readErrorField(error, 0, error.length, 'V')).toBe('ERROR');
    expect(readErrorField(error, 0, error.length, 'M')).toBe('no such table');
    expect(readErrorField(error, 0, error.length, 'H')).toBeNull();
  });

  test('an error that ends too early has the fields that are there', () => {
    const end = error.indexOf('no such');
    expect(readErrorField(error, 0, end, 'C')).toBe('42P01');
    expect(readErrorField(error, 0, end, 'M')).toBeNull();
  });

  test('a message in the middle of a chunk is read there', () => {
    const chunk = Buffer.concat([Buffer.from('xyz'), frontend.message('S', Buffer.from('TimeZone\0UTC\0'))]);
    expect(readParameterStatus(chunk, 3, chunk.length)).toEqual({ name: 'TimeZone', value: 'UTC' });
  });

  test.each(['', 'TimeZone', 'TimeZone\0', 'TimeZone\0UTC'])('a ParameterStatus of "%s" is none', (body) => {
    const message = frontend.message('S', Buffer.from(body));
    // What follows in the chunk must not be taken for its end.
    const chunk = Buffer.concat([message, Buffer.from('\0\0\0')]);
    expect(readParameterStatus(chunk, 0, message.length)).toBeNull();
  });

  test('keys keep every byte', () => {
    const message = frontend.message('K', Buffer.from([0, 1, 0xe2, 0x40, 0, 0xff, 0x80, 0x7f]));
    const key = readBackendKey(message, 0, message.length);
    expect(Buffer.from(key, 'latin1')).toEqual(message.subarray(5));
    expect(processIdOf(key)).toBe(123_456);
  });

  test('a name is cut at 63 bytes, as the server cuts it', () => {
    const long = Buffer.from(`${'é'.repeat(40)}\0`, 'utf8');
    const name = readName(long, 0, findNul(long, 0, long.length));
    expect(name).toHaveLength(63);
    expect(Buffer.from(name, 'latin1')).toEqual(long.subarray(0, 63));
    expect(readName(Buffer.from('short\0'), 0, 5)).toBe('short');
    expect(readName(Buffer.from('\0'), 0, 0)).toBe('');
  });

  test('both searches for NUL stop at the end that they are given', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), fc.nat(40), fc.nat(40), (bytes, a, b) => {
        const buffer = Buffer.from(bytes);
        const start = Math.min(a, b, buffer.length);
        const end = Math.min(Math.max(a, b), buffer.length);
        const slow = buffer.subarray(start, end).indexOf(0);
        const expected = slow < 0 ? -1 : start + slow;
        expect(findNul(buffer, start, end)).toBe(expected);
        expect(findNulFar(buffer, start, end)).toBe(expected);
      }),
      { numRuns: 2_000 },
    );
  });
});

describe('writing', () => {
  const hex = (message: Buffer): string => message.toString('hex');
  const ascii = (text: string): string => Buffer.from(text, 'latin1').toString('hex');

  test.each([
    ['AuthenticationOk', writer.AUTHENTICATION_OK, `520000000800000000`],
    ['Query', writer.makeQuery('SELECT 1'), `510000000d${ascii('SELECT 1')}00`],
    ['Parse', writer.makeParse('n\xe9', 'X'), `500000000b6ee90058000000`],
    ['Flush', writer.FLUSH, `4800000004`],
    ['Terminate', writer.TERMINATE, `5800000004`],
    ['FunctionCall of no function', writer.makeImpossibleFunctionCall(), `460000000e${'00'.repeat(10)}`],
    ['CancelRequest', writer.makeCancelRequest('\x00\x01\xe2\x40\xff\x80\x00\x01'), `0000001004d2162e0001e240ff800001`],
    [
      'NegotiateProtocolVersion',
      writer.makeNegotiateProtocolVersion(2, ['_pq_.a']),
      `7600000013${'00030002'}00000001${ascii('_pq_.a')}00`,
    ],
    [
      'ErrorResponse',
      writer.makeErrorResponse({ severity: 'ERROR', sqlstate: '42501', message: 'no', detail: 'd', hint: 'h' }),
      `4500000024${ascii('SERROR\0VERROR\0C42501\0Mno\0Dd\0Hh\0\0')}`,
    ],
  ])('%s has the bytes of the manual', (_name, message, expected) => {
    expect(hex(message)).toBe(expected);
  });

  test('an ErrorResponse without detail and hint has neither field, and a NUL in its words ends none', () => {
    const message = writer.makeErrorResponse({ severity: 'FATAL', sqlstate: '08P01', message: 'a\0b', detail: null });
    expect(message.readInt32BE(1)).toBe(message.length - 1);
    expect(readErrorField(message, 0, message.length, 'M')).toBe('a\uFFFDb');
    expect(readErrorField(message, 0, message.length, 'D')).toBeNull();
    expect(message.subarray(-2)).toEqual(Buffer.from([0, 0]));
  });
});
