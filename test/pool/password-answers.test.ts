// What pgweir answers a server that asks for a password: the best way that both know, and none that gives it away.

import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { type LoginSecret, NO_SECRET } from '../../src/auth/verifier.ts';
import { PLAIN_TRANSPORT, type Transport } from '../../src/base/transport.ts';
import { PasswordAnswers } from '../../src/pool/password-answers.ts';

const TLS: Transport = { isEncrypted: true, peer: null, serverEndPoint: Buffer.alloc(32, 3) };
/** Such as with an Ed25519 certificate. */
const UNBOUND: Transport = { ...TLS, serverEndPoint: null };
const WITH_PASSWORD: LoginSecret = { ...NO_SECRET, password: 'secret' };
const offer = (...mechanisms: string[]): Buffer => Buffer.from(`${mechanisms.join('\0')}\0\0`);
const BOTH = ['SCRAM-SHA-256-PLUS', 'SCRAM-SHA-256'];

async function answerTo(
  code: number,
  body: Buffer,
  transport = PLAIN_TRANSPORT,
  secret = WITH_PASSWORD,
  isUnix = false,
) {
  const answer = await new PasswordAnswers('anna', secret, transport, isUnix).answer(code, body);
  return answer?.toString('latin1', 5) ?? '';
}

describe('SCRAM', () => {
  test.each<[string, readonly string[], Transport, string]>([
    ['is bound where the server offers it over TLS', BOTH, TLS, 'SCRAM-SHA-256-PLUS\0....p=tls-server-end-point,,'],
    ['tells a server that did not offer it over TLS', ['SCRAM-SHA-256'], TLS, 'SCRAM-SHA-256\0....y,,'],
    ['is not bound without TLS', BOTH, PLAIN_TRANSPORT, 'SCRAM-SHA-256\0....n,,'],
    ['is not bound to a certificate that has no hash', BOTH, UNBOUND, 'SCRAM-SHA-256\0....n,,'],
    [
      'is bound where there is no other way',
      ['SCRAM-SHA-256-PLUS'],
      TLS,
      'SCRAM-SHA-256-PLUS\0....p=tls-server-end-point,,',
    ],
  ])('%s', async (_what, mechanisms, transport, expected) => {
    const answer = await answerTo(10, offer(...mechanisms), transport);
    expect(answer).toMatch(new RegExp(`^${expected}n=,r=`, 's'));
  });

  test.each([
    ['that is unknown', offer('SCRAM-SHA-512')],
    ['that is only -PLUS, without TLS', offer('SCRAM-SHA-256-PLUS')],
    ['that is none', offer()],
  ])('of a kind %s is refused', async (_what, body) => {
    await expect(answerTo(10, body)).rejects.toThrow('no SASL mechanism that pgweir knows');
  });

  test('that was not begun is not gone on with', async () => {
    for (const code of [11, 12]) await expect(answerTo(code, Buffer.from('v=x'))).rejects.toThrow('not begun');
  });

  test('is not over before the server has proved itself', async () => {
    const answers = new PasswordAnswers('anna', WITH_PASSWORD, PLAIN_TRANSPORT, false);
    expect(() => answers.finish()).not.toThrow();
    await answers.answer(10, offer('SCRAM-SHA-256'));
    expect(() => answers.finish()).toThrow('did not prove that it knows the password');
  });
});

describe('a bare password', () => {
  const nothing = Buffer.alloc(0);

  test('is sent over TLS and over a Unix socket, and nowhere else', async () => {
    expect(await answerTo(3, nothing, TLS)).toBe('secret\0');
    expect(await answerTo(3, nothing, PLAIN_TRANSPORT, WITH_PASSWORD, true)).toBe('secret\0');
    await expect(answerTo(3, nothing)).rejects.toThrow('without TLS');
  });

  test('is not made of keys or an md5 verifier', async () => {
    const keys = { salt: '', iterations: 1, clientKey: nothing, serverKey: nothing };
    await expect(answerTo(3, nothing, TLS, { password: null, md5Hash: 'x', keys })).rejects.toThrow(
      'has none for user "anna"',
    );
  });
});

test('md5 is answered by a password or by its verifier alike', async () => {
  const salt = Buffer.from([1, 2, 3, 4]);
  const byPassword = await answerTo(5, salt);
  expect(byPassword).toMatch(/^md5[0-9a-f]{32}\0$/);
  const md5Hash = createHash('md5').update('secretanna').digest('hex');
  expect(await answerTo(5, salt, PLAIN_TRANSPORT, { ...NO_SECRET, md5Hash })).toBe(byPassword);
  await expect(answerTo(5, salt, PLAIN_TRANSPORT, NO_SECRET)).rejects.toThrow('has none for user "anna"');
});

test('what pgweir does not know is refused', async () => {
  for (const code of [2, 7, 9, 13, -1]) await expect(answerTo(code, Buffer.alloc(4))).rejects.toThrow('does not know');
});
