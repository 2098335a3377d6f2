import { expect, test } from 'vitest';
import { keepApplicationName } from '../../src/session/application-name.ts';

const server = (version: string, encoding = 'UTF8') =>
  new Map([
    ['server_version', version],
    ['server_encoding', encoding],
  ]);
const LONG = 'x'.repeat(63);

test.each([
  ['a plain name', 'shop', server('18.4'), 'shop'],
  ['one that is as long as a name may be', LONG, server('18.4'), LONG],
  ['a longer one', `${LONG}y`, server('18.4'), LONG],
  ['one beyond ASCII', 'b\u00fc\t', server('16.1 (Debian)'), 'b\\xc3\\xbc\\x09'],
  ['the same on an older server', 'b\u00fc\t', server('15.9'), 'b???'],
  ['one that would be cut in a character', `${'x'.repeat(62)}\u00fc`, server('15.9'), 'x'.repeat(62)],
  ['the same where a byte is a character', `${'x'.repeat(62)}\u00fc`, server('15.9', 'LATIN1'), `${'x'.repeat(62)}?`],
  ['bytes that are no UTF-8', 'b\udcfc', server('18.4'), 'b\\xfc'],
])('application_name: %s is kept as the server keeps it', (_what, name, parameters, kept) => {
  expect(keepApplicationName(name, parameters)).toBe(kept);
});
