// SCRAM-SHA-256 as a client: against RFC 7677's example, against another implementation, and against servers that cheat.

import { createHash, createHmac, pbkdf2Sync } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ScramClient, ScramError } from '../../src/auth/scram.ts';

/** The example of RFC 7677, section 3. */
const RFC = {
  password: 'pencil',
  nonce: 'rOprNGfwEbeRWgbNEkqO',
  serverFirst: 'r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096',
  proof: 'dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=',
  serverSignature: '6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=',
};

const hmac = (key: Buffer, text: string): Buffer => createHmac('sha256', key).update(text).digest();

/** The formulas of RFC 5802, section 3, written down once more. */
function computeReference(
  user: string,
  password: string,
  nonce: string,
  serverFirst: string,
): { proof: string; serverSignature: string } {
  const [r = '', s = '', i = ''] = serverFirst.split(',').map((part) => part.slice(2));
  const salted = pbkdf2Sync(password, Buffer.from(s, 'base64'), Number(i), 32, 'sha256');
  const authMessage = `n=${user},r=${nonce},${serverFirst},c=biws,r=${r}`;
  const clientKey = hmac(salted, 'Client Key');
  const signature = hmac(createHash('sha256').update(clientKey).digest(), authMessage);
  return {
    proof: Buffer.from(clientKey.map((byte, index) => byte ^ (signature[index] ?? 0))).toString('base64'),
    serverSignature: hmac(hmac(salted, 'Server Key'), authMessage).toString('base64'),
  };
}

describe('SCRAM-SHA-256', () => {
  test('the formulas used here give the answers of RFC 7677', () => {
    const reference = computeReference('user', RFC.password, RFC.nonce, RFC.serverFirst);
    expect(reference).toEqual({ proof: RFC.proof, serverSignature: RFC.serverSignature });
  });

  test("the RFC's exchange, with the empty user name that PostgreSQL's clients send", async () => {
    const reference = computeReference('', RFC.password, RFC.nonce, RFC.serverFirst);
    const client = new ScramClient({ password: RFC.password, nonce: RFC.nonce });
    expect(client.first()).toBe(`n,,n=,r=${RFC.nonce}`);
    expect(await client.final(RFC.serverFirst)).toBe(
      `c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=${reference.proof}`,
    );
    expect(client.isVerified).toBe(false);
    client.verify(`v=${reference.serverSignature}`);
    expect(client.isVerified).toBe(true);
  });

  test('any password, salt and iteration count give what the formulas give', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.string({ minLength: 1, maxLength: 20, unit: fc.constantFrom(...'aZ09 ,=\'"\\') }),
        fc.uint8Array({ minLength: 1, maxLength: 32 }),
        fc.integer({ min: 1, max: 20 }),
        async (password, salt, iterations) => {
          const serverFirst = `r=abcdef,s=${Buffer.from(salt).toString('base64')},i=${iterations}`;
          const client = new ScramClient({ password, nonce: 'abc' });
          const reference = computeReference('', password, 'abc', serverFirst);
          expect(await client.final(serverFirst)).toBe(`c=biws,r=abcdef,p=${reference.proof}`);
          client.verify(`v=${reference.serverSignature}`);
        },
      ),
      { numRuns: 50 },
    );
  });

  test.each([
    ['a no-break space', 'a\u00A0b', 'a b'],
    ['a soft hyphen', 'a\u00ADb', 'ab'],
    ['a compatibility character', '\u2168', 'IX'],
    ['a decomposed letter', 'e\u0301', '\u00E9'],
  ])('%s in a password is prepared by SASLprep', async (_what, typed, prepared) => {
    const serverFirst = 'r=abcdef,s=c2FsdA==,i=1';
    const proof = computeReference('', prepared, 'abc', serverFirst).proof;
    expect(await new ScramClient({ password: typed, nonce: 'abc' }).final(serverFirst)).toContain(`p=${proof}`);
  });

  test('every client makes a nonce of its own', () => {
    const firsts = new Set(Array.from({ length: 100 }, () => new ScramClient({ password: 'x' }).first()));
    expect(firsts.size).toBe(100);
  });
});

describe('a server that cheats', () => {
  test.each([
    ['sends back our nonce without one of its own', 'r=abc,s=c2FsdA==,i=4096'],
    ['answers with another nonce', 'r=xyzdef,s=c2FsdA==,i=4096'],
    ['sends no nonce', 's=c2FsdA==,i=4096'],
    ['sends no salt', 'r=abcdef,s=,i=4096'],
    ['asks for no iterations', 'r=abcdef,s=c2FsdA==,i=0'],
    ['asks for a negative count', 'r=abcdef,s=c2FsdA==,i=-5'],
    ['asks for hours of hashing', 'r=abcdef,s=c2FsdA==,i=2000000000'],
    ['sends a count that is no number', 'r=abcdef,s=c2FsdA==,i=many'],
    ['sends no count', 'r=abcdef,s=c2FsdA=='],
    ['sends nothing', ''],
    ['sends an error', 'e=other-error'],
  ])('that %s is refused', async (_what, serverFirst) => {
    await expect(new ScramClient({ password: 'pw', nonce: 'abc' }).final(serverFirst)).rejects.toBeInstanceOf(
      ScramError,
    );
  });

  test.each([
    ['a wrong signature', `v=${Buffer.alloc(32).toString('base64')}`],
    ['a short signature', 'v=AAAA'],
    ['no signature', 'v='],
    ['an error', 'e=invalid-proof'],
    ['nothing', ''],
  ])('that ends with %s has not proved that it knows the password', async (_what, serverFinal) => {
    const client = new ScramClient({ password: 'pw', nonce: 'abc' });
    await client.final('r=abcdef,s=c2FsdA==,i=1');
    expect(() => client.verify(serverFinal)).toThrow(ScramError);
    expect(client.isVerified).toBe(false);
  });

  test('that ends before it began has not either', () => {
    expect(() =>
      new ScramClient({ password: 'pw', nonce: 'abc' }).verify(`v=${Buffer.alloc(32).toString('base64')}`),
    ).toThrow(ScramError);
  });
});
