// What is taken for the usual end of a unit of work, against the messages themselves, cut out of the bytes one by one.

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { findUsualEnd } from '../../src/wire/usual-unit.ts';
import * as frontend from '../support/frontend-messages.ts';

const { describePortal, execute, sync } = frontend;

/** One message, and what it is in the usual end; null: nothing that may stand there. */
type Piece = readonly [message: Buffer, part: 'describe' | 'execute' | 'sync' | null];

const pieceOf: fc.Arbitrary<Piece> = fc.oneof(
  { weight: 4, arbitrary: fc.constant<Piece>([describePortal(), 'describe']) },
  { weight: 4, arbitrary: fc.constant<Piece>([execute(), 'execute']) },
  { weight: 4, arbitrary: fc.constant<Piece>([sync(), 'sync']) },
  fc.constantFrom<Piece>(
    [describePortal('p'), null],
    [frontend.describeStatement(), null],
    [execute('p'), null],
    [execute('', 1), null],
    [execute('', 0x0100_0000), null],
    [frontend.message('S', Buffer.from('x')), null],
    [frontend.message('D', Buffer.from('P\0x')), null],
    [frontend.message('E', Buffer.alloc(6)), null],
    [frontend.flush(), null],
    [frontend.bind(), null],
    [frontend.query('SELECT 1'), null],
  ),
);

/** Length of the usual end at the front of the pieces, by their names; 0 where it does not stand there. */
function lengthOf(pieces: readonly Piece[]): number {
  const parts = pieces.map(([, part]) => part);
  const count = parts[0] === 'describe' ? 3 : 2;
  if (parts[count - 2] !== 'execute' || parts[count - 1] !== 'sync') return 0;
  return Buffer.concat(pieces.slice(0, count).map(([message]) => message)).length;
}

describe('the usual end of a unit of work', () => {
  test('is found where its messages stand one after another, and nowhere else', () => {
    fc.assert(
      fc.property(fc.array(pieceOf, { maxLength: 6 }), fc.uint8Array({ maxLength: 9 }), (pieces, before) => {
        const buffer = Buffer.concat([before, ...pieces.map(([message]) => message)]);
        const length = lengthOf(pieces);
        const end = length === 0 ? 0 : before.length + length;
        expect(findUsualEnd(buffer, before.length, buffer.length)).toBe(end);
      }),
      { numRuns: 2_000 },
    );
  });

  test('is not there as long as a byte of it is missing', () => {
    const whole = Buffer.concat([describePortal(), execute(), sync(), frontend.query('SELECT 1')]);
    const end = whole.length - frontend.query('SELECT 1').length;
    for (let limit = 0; limit < end; limit++) expect(findUsualEnd(whole, 0, limit), `${limit} bytes`).toBe(0);
    expect(findUsualEnd(whole, 0, end)).toBe(end);
  });

  test('is another one with any bit of it turned', () => {
    const whole = Buffer.concat([describePortal(), execute(), sync()]);
    for (let bit = 0; bit < whole.length * 8; bit++) {
      const turned = Buffer.from(whole);
      turned[bit >> 3] = (turned[bit >> 3] as number) ^ (1 << (bit & 7));
      expect(findUsualEnd(turned, 0, turned.length), `bit ${bit}`).toBe(0);
    }
  });
});
