// SCRAM as the side that asks, with our own client as the other side; what it says to malformed messages is compared with
// PostgreSQL in test/relay/login-proof.test.ts.

import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { AuthRefused } from '../../src/auth/auth-refused.ts';
import { ScramClient } from '../../src/auth/scram.ts';
import { listMechanisms, ScramServer, type ScramServerOptions } from '../../src/auth/scram-server.ts';
import { makeMockVerifier, makeScramVerifier, type ScramKeys } from '../../src/auth/verifier.ts';

const CERTIFICATE_HASH = Buffer.alloc(32, 7);

async function makeOptions(password: string, overrides: Partial<ScramServerOptions> = {}): Promise<ScramServerOptions> {
  return { verifier: await makeScramVerifier(password), isDoomed: false, serverEndPoint: null, ...overrides };
}

/** Both sides to the end; the keys that the server learned, or null. Throws what either side throws. */
async function exchange(client: ScramClient, server: ScramServer): Promise<ScramKeys | null> {
  const outcome = server.finish(await client.final(server.begin(client.first())));
  if (outcome === null) return null;
  client.verify(outcome.serverFinal);
  expect(client.isVerified).toBe(true);
  return outcome.keys;
}

function refusalOf(act: () => unknown): string {
  try {
    act();
  } catch (error) {
    if (error instanceof AuthRefused) return `${error.sqlstate} ${error.message}: ${error.detail}`;
    throw error;
  }
  return 'none';
}

describe('an exchange', () => {
  test('succeeds with the password of the verifier, and with no other', async () => {
    await fc.assert(
      fc.asyncProperty(fc.string({ minLength: 1 }), fc.string({ minLength: 1 }), async (password, other) => {
        const options = await makeOptions(password);
        const attempt = (tried: string): Promise<ScramKeys | null> =>
          exchange(new ScramClient({ password: tried }), new ScramServer('SCRAM-SHA-256', options));
        expect(await attempt(password)).not.toBeNull();
        if (other !== password) expect(await attempt(other)).toBeNull();
      }),
      { numRuns: 20 },
    );
  });

  test('gives keys that log in where the verifier is the same, without the password', async () => {
    const options = await makeOptions('secret');
    const keys = await exchange(new ScramClient({ password: 'secret' }), new ScramServer('SCRAM-SHA-256', options));
    const again = new ScramClient({ password: null, keys });
    expect(await exchange(again, new ScramServer('SCRAM-SHA-256', options))).toEqual(keys);
  });

  test('with keys against another verifier of the same password needs the password', async () => {
    const options = await makeOptions('secret');
    const keys = await exchange(new ScramClient({ password: 'secret' }), new ScramServer('SCRAM-SHA-256', options));
    const other = await makeOptions('secret');
    const attempt = (password: string | null): Promise<ScramKeys | null> =>
      exchange(new ScramClient({ password, keys }), new ScramServer('SCRAM-SHA-256', other));
    await expect(attempt(null)).rejects.toThrow('another verifier');
    expect(await attempt('secret')).not.toBeNull();
  });

  test('that is doomed fails even with a proof that fits', async () => {
    const options = await makeOptions('secret', { isDoomed: true });
    expect(
      await exchange(new ScramClient({ password: 'secret' }), new ScramServer('SCRAM-SHA-256', options)),
    ).toBeNull();
  });

  test('for a user who does not exist looks like any other, with a salt that stays the same', () => {
    const mockKey = randomBytes(32);
    const firsts = [1, 2].map(() => {
      const verifier = makeMockVerifier('nobody', mockKey);
      const server = new ScramServer('SCRAM-SHA-256', { verifier, isDoomed: true, serverEndPoint: null });
      return server.begin('n,,n=,r=abc').replace(/^r=abc[A-Za-z0-9+/]{24},/, '');
    });
    expect(firsts[0]).toMatch(/^s=[A-Za-z0-9+/]{22}==,i=4096$/);
    expect(firsts[0]).toBe(firsts[1]);
    expect(makeMockVerifier('somebody', mockKey).salt).not.toBe(makeMockVerifier('nobody', mockKey).salt);
    expect(makeMockVerifier('nobody', randomBytes(32)).salt).not.toBe(makeMockVerifier('nobody', mockKey).salt);
  });
});

describe('channel binding', () => {
  test('is offered first, and only where there is a certificate', () => {
    expect(listMechanisms(null)).toEqual(['SCRAM-SHA-256']);
    expect(listMechanisms(CERTIFICATE_HASH)).toEqual(['SCRAM-SHA-256-PLUS', 'SCRAM-SHA-256']);
  });

  test('holds where both sides see the same certificate', async () => {
    const options = await makeOptions('secret', { serverEndPoint: CERTIFICATE_HASH });
    const client = new ScramClient({ password: 'secret', serverEndPoint: CERTIFICATE_HASH });
    expect(client.mechanism).toBe('SCRAM-SHA-256-PLUS');
    expect(await exchange(client, new ScramServer(client.mechanism, options))).not.toBeNull();
  });

  test('fails where somebody between them shows another one', async () => {
    const options = await makeOptions('secret', { serverEndPoint: CERTIFICATE_HASH });
    const client = new ScramClient({ password: 'secret', serverEndPoint: Buffer.alloc(32, 8) });
    const server = new ScramServer(client.mechanism, options);
    const last = await client.final(server.begin(client.first()));
    expect(refusalOf(() => server.finish(last))).toBe('28000 SCRAM channel binding check failed: null');
  });

  test('that a client believes not to be offered is an attack', async () => {
    const client = new ScramClient({ password: 'secret', isPlusMissed: true });
    const bound = new ScramServer('SCRAM-SHA-256', await makeOptions('secret', { serverEndPoint: CERTIFICATE_HASH }));
    expect(refusalOf(() => bound.begin(client.first()))).toMatch(
      /^28000 SCRAM channel binding negotiation error: The client supports/,
    );
    expect(await exchange(client, new ScramServer('SCRAM-SHA-256', await makeOptions('secret')))).not.toBeNull();
  });

  test('may be left out by a client that does not know it', async () => {
    const options = await makeOptions('secret', { serverEndPoint: CERTIFICATE_HASH });
    expect(
      await exchange(new ScramClient({ password: 'secret' }), new ScramServer('SCRAM-SHA-256', options)),
    ).not.toBeNull();
  });

  test.each([
    ['SCRAM-SHA-256-PLUS', 'n,,n=,r=abc', /does not include channel binding data/],
    ['SCRAM-SHA-256-PLUS', 'y,,n=,r=abc', /does not include channel binding data/],
    ['SCRAM-SHA-256-PLUS', 'p=tls-unique,,n=,r=abc', /unsupported SCRAM channel-binding type "tls-unique"/],
    ['SCRAM-SHA-256', 'p=tls-server-end-point,,n=,r=abc', /without channel binding, but the SCRAM message includes/],
  ])('with mechanism %s a client that says %s is refused', async (mechanism, first, words) => {
    const server = new ScramServer(mechanism, await makeOptions('secret', { serverEndPoint: CERTIFICATE_HASH }));
    expect(refusalOf(() => server.begin(first))).toMatch(words);
  });

  test('cannot be chosen where it was not offered', async () => {
    const options = await makeOptions('secret');
    expect(refusalOf(() => new ScramServer('SCRAM-SHA-256-PLUS', options))).toMatch(
      /^08P01 client selected an invalid/,
    );
  });
});

test('no message makes the server do anything but answer or refuse', async () => {
  const options = await makeOptions('secret');
  const text = fc.string({ unit: fc.constantFrom(...'nrpc=,ym\0 \u00ffAa+/1'), maxLength: 40 });
  fc.assert(
    fc.property(text, text, (first, last) => {
      const server = new ScramServer('SCRAM-SHA-256', options);
      expect(refusalOf(() => server.begin(first))).toMatch(/^(none|08P01|0A000)/);
      const begun = new ScramServer('SCRAM-SHA-256', options);
      begun.begin('n,,n=,r=abc');
      expect(refusalOf(() => begun.finish(last))).toMatch(/^08P01/);
    }),
    { numRuns: 2_000 },
  );
});
