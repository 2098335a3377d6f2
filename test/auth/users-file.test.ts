// The users file and the verifiers in it.

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseUsersFile } from '../../src/auth/users-file.ts';
import { decodeBase64, parseVerifier } from '../../src/auth/verifier.ts';

const KEY = Buffer.alloc(32, 1).toString('base64');
const SCRAM = `SCRAM-SHA-256$4096:c2FsdA==$${KEY}:${KEY}`;
const MD5 = `md5${'0a'.repeat(16)}`;

describe('a users file', () => {
  test('names users and verifiers as PgBouncer`s does', () => {
    const text = `; a comment\n\n"anna" "${SCRAM}"\r\n  "old" "${MD5}" "ignored"\n"plain" "pass word"\n"qu""ote" "a""b"\n"none" ""\n`;
    const { users, problems } = parseUsersFile(text);
    expect(problems).toEqual([]);
    expect([...users].map(([user, verifier]) => [user, verifier?.type ?? null])).toEqual([
      ['anna', 'scram'],
      ['old', 'md5'],
      ['plain', 'plain'],
      ['qu"ote', 'plain'],
      ['none', null],
    ]);
    expect(users.get('plain')).toEqual({ type: 'plain', password: 'pass word' });
    expect(users.get('qu"ote')).toEqual({ type: 'plain', password: 'a"b' });
  });

  test('with bad lines tells which, and never what stands there', () => {
    const text = `"a" "x"\nanna secret\n"a" "secret"\n"" "secret"\n"b" "SCRAM-SHA-256$secret"\n"c" "secret\n`;
    const { users, problems } = parseUsersFile(text);
    expect(problems).toEqual([
      { line: 2, message: 'is not of the form "user" "verifier"' },
      { line: 3, message: 'names a user for the second time' },
      { line: 4, message: 'names no user' },
      { line: 5, message: 'holds a SCRAM verifier that is not complete' },
      { line: 6, message: 'is not of the form "user" "verifier"' },
    ]);
    expect(JSON.stringify(problems)).not.toContain('secret');
    expect([...users.keys()]).toEqual(['a']);
  });

  test('holds any name and any password that has no line break', () => {
    const word = fc
      .string({ minLength: 1 })
      .filter((text) => !/[\r\n]/.test(text) && parseVerifier(text)?.type === 'plain');
    fc.assert(
      fc.property(word, word, (user, password) => {
        const quote = (text: string): string => `"${text.replaceAll('"', '""')}"`;
        const { users, problems } = parseUsersFile(`${quote(user)} ${quote(password)}`);
        expect(problems).toEqual([]);
        expect(users.get(user)).toEqual({ type: 'plain', password });
      }),
    );
  });
});

describe('a verifier', () => {
  test('of SCRAM is read into its parts', () => {
    expect(parseVerifier(SCRAM)).toEqual({
      type: 'scram',
      iterations: 4096,
      salt: 'c2FsdA==',
      storedKey: Buffer.alloc(32, 1),
      serverKey: Buffer.alloc(32, 1),
    });
  });

  test.each([
    ['no count', `SCRAM-SHA-256$:c2FsdA==$${KEY}:${KEY}`],
    ['a count of 0', `SCRAM-SHA-256$0:c2FsdA==$${KEY}:${KEY}`],
    ['a count that is no number', `SCRAM-SHA-256$x:c2FsdA==$${KEY}:${KEY}`],
    ['a salt that is no base64', `SCRAM-SHA-256$4096:***$${KEY}:${KEY}`],
    ['a short key', `SCRAM-SHA-256$4096:c2FsdA==$c2FsdA==:${KEY}`],
    ['no server key', `SCRAM-SHA-256$4096:c2FsdA==$${KEY}`],
    ['something behind it', `${SCRAM} `],
  ])('of SCRAM with %s is none', (_what, text) => {
    expect(parseVerifier(text)).toBeNull();
  });

  test.each([
    ['upper case', `md5${'0A'.repeat(16)}`],
    ['31 digits', MD5.slice(0, -1)],
    ['33 digits', `${MD5}0`],
  ])('of md5 with %s is a bare password, as for PostgreSQL', (_what, text) => {
    expect(parseVerifier(text)).toEqual({ type: 'plain', password: text });
    expect(parseVerifier(MD5)).toEqual({ type: 'md5', hash: MD5.slice(3) });
  });

  test.each(['A', 'AAA', 'AA=A', 'AA==A', 'AAAA=', '=', 'A A=', 'AA-_'])('base64 of %s is refused', (text) => {
    expect(decodeBase64(text)).toBeNull();
    expect(decodeBase64('AAA=')).toEqual(Buffer.alloc(2));
  });
});
