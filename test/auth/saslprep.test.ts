// SASLprep: RFC 4013's own examples, and what is forbidden. Against PostgreSQL itself in test/relay/login-secrets.test.ts.

import { expect, test } from 'vitest';
import { preparePassword } from '../../src/auth/saslprep.ts';

test.each([
  ['a soft hyphen is dropped', 'I\u00ADX', 'IX'],
  ['nothing is changed', 'user', 'user'],
  ['case is kept', 'USER', 'USER'],
  ['a compatibility character is decomposed', '\u00AA', 'a'],
  ['two ways to the same', '\u2168', 'IX'],
  ['a no-break space becomes a space', 'a\u00A0b', 'a b'],
  ['every other space too', 'a\u3000b\u205Fc', 'a b c'],
  ['a letter and its accent become one', 'e\u0301', '\u00E9'],
  ['right-to-left text stays', '\u0627\u0628', '\u0627\u0628'],
])('%s', (_what, typed, prepared) => {
  expect(preparePassword(typed)).toBe(prepared);
});

test.each([
  ['control characters behind a non-ASCII one', '\u00AA\u0007'],
  ['right-to-left mixed with left-to-right', '\u0627a\u00AD'],
  ['right-to-left that does not end so', '\u06271\u00AD'],
  ['what Unicode 3.2 did not know', '\u{1F600}\u00AD'],
  ['private use', '\uE000\u00AD'],
  ['nothing left over', '\u00AD'],
])('%s is forbidden, and the password used as it is', (_what, typed) => {
  expect(preparePassword(typed)).toBe(typed);
});

test('ASCII is used as it is, control characters too', () => {
  const all = String.fromCharCode(...Array.from({ length: 128 }, (_, code) => code));
  expect(preparePassword(all)).toBe(all);
});
