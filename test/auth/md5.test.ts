// md5 passwords, as the side that proves and as the side that asks.

import fc from 'fast-check';
import { expect, test } from 'vitest';
import { hashMd5Password, isMd5Answer, makeMd5Answer } from '../../src/auth/md5.ts';
import { answerMd5 } from '../support/password-login.ts';

test.each([
  ['postgres', 'secret', [1, 2, 3, 4], 'md5bb41a296aab6baccb36ff243a562abff'],
  ['jö', 'pä✓', [255, 0, 128, 7], 'md55d652a6eeff674d0af2967eb39bcd9ec'],
])('the answer of user %s is the one computed elsewhere', (user, password, salt, expected) => {
  expect(makeMd5Answer(hashMd5Password(user, password), Buffer.from(salt))).toBe(expected);
});

test('a proof holds for its salt, user and password alone, and agrees with a second implementation', () => {
  fc.assert(
    fc.property(fc.string(), fc.string(), fc.uint8Array({ minLength: 4, maxLength: 4 }), (user, password, bytes) => {
      const salt = Buffer.from(bytes);
      const hash = hashMd5Password(user, password);
      const answer = answerMd5(user, password, salt);
      expect(makeMd5Answer(hash, salt)).toBe(answer);
      expect(isMd5Answer(answer, hash, salt)).toBe(true);
      expect(isMd5Answer(answer, hash, Buffer.from(salt.map((byte) => byte ^ 1)))).toBe(false);
      expect(isMd5Answer(answer, hashMd5Password(user, `${password}x`), salt)).toBe(false);
      expect(isMd5Answer(answer.slice(0, -1), hash, salt)).toBe(false);
      expect(isMd5Answer('', hash, salt)).toBe(false);
    }),
  );
});
