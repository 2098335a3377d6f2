import fc from 'fast-check';
import { expect, test } from 'vitest';
import { makeMd5Answer } from '../../src/auth/md5.ts';
import { answerMd5 } from '../support/password-login.ts';

test.each([
  ['postgres', 'secret', [1, 2, 3, 4], 'md5bb41a296aab6baccb36ff243a562abff'],
  ['jö', 'pä✓', [255, 0, 128, 7], 'md55d652a6eeff674d0af2967eb39bcd9ec'],
])('the answer of user %s is the one computed elsewhere', (user, password, salt, expected) => {
  expect(makeMd5Answer(user, password, Buffer.from(salt))).toBe(expected);
});

test('another salt, user or password gives another answer, and all agree with a second implementation', () => {
  fc.assert(
    fc.property(fc.string(), fc.string(), fc.uint8Array({ minLength: 4, maxLength: 4 }), (user, password, bytes) => {
      const salt = Buffer.from(bytes);
      const answer = makeMd5Answer(user, password, salt);
      expect(answer).toBe(answerMd5(user, password, salt));
      expect(answer).toMatch(/^md5[0-9a-f]{32}$/);
      expect(makeMd5Answer(user, `${password}x`, salt)).not.toBe(answer);
    }),
  );
});
