// How a test client proves its password: md5 and SCRAM-SHA-256 (RFC 5802, RFC 7677), written apart from src/auth so that
// one can be tested against the other.

import { createHash, createHmac, pbkdf2Sync, randomBytes, timingSafeEqual } from 'node:crypto';
import { int32, message } from './frontend-messages.ts';

/** `md5` + md5(md5(password + user) + salt), in hex. */
export function answerMd5(user: string, password: string, salt: Buffer): string {
  const inner = createHash('md5').update(`${password}${user}`).digest('hex');
  return `md5${createHash('md5').update(inner).update(salt).digest('hex')}`;
}

/** One SCRAM-SHA-256 exchange, without channel binding. */
export class ScramLogin {
  readonly #password: string;
  readonly #nonce = randomBytes(18).toString('base64');
  #serverSignature: Buffer = Buffer.alloc(0);

  constructor(password: string) {
    // RFC 4013 (SASLprep) asks for NFKC; the full profile is not needed for the passwords of tests.
    this.#password = password.normalize('NFKC');
  }

  begin(mechanisms: readonly string[]): Buffer {
    if (!mechanisms.includes('SCRAM-SHA-256')) throw new Error(`no SCRAM-SHA-256 among ${mechanisms.join(' ')}`);
    const first = Buffer.from(`n,,${this.#clientFirstBare()}`);
    return message('p', Buffer.from('SCRAM-SHA-256\0'), int32(first.length), first);
  }

  /** Answers server-first-message with client-final-message. */
  answer(serverFirst: string): Buffer {
    const nonce = readAttribute(serverFirst, 'r');
    if (!nonce.startsWith(this.#nonce)) throw new Error('the server changed the nonce');
    const salted = pbkdf2Sync(
      this.#password,
      Buffer.from(readAttribute(serverFirst, 's'), 'base64'),
      Number(readAttribute(serverFirst, 'i')),
      32,
      'sha256',
    );
    const withoutProof = `c=biws,r=${nonce}`;
    const authMessage = `${this.#clientFirstBare()},${serverFirst},${withoutProof}`;
    const clientKey = hmac(salted, 'Client Key');
    const signature = hmac(createHash('sha256').update(clientKey).digest(), authMessage);
    this.#serverSignature = hmac(hmac(salted, 'Server Key'), authMessage);
    const proof = Buffer.from(clientKey.map((byte, index) => byte ^ (signature[index] ?? 0)));
    return message('p', Buffer.from(`${withoutProof},p=${proof.toString('base64')}`));
  }

  /** Throws where the server does not know the password either. */
  verify(serverFinal: string): void {
    const signature = Buffer.from(readAttribute(serverFinal, 'v'), 'base64');
    if (signature.length !== this.#serverSignature.length || !timingSafeEqual(signature, this.#serverSignature)) {
      throw new Error('the server does not know the password');
    }
  }

  #clientFirstBare(): string {
    return `n=,r=${this.#nonce}`;
  }
}

function hmac(key: Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest();
}

function readAttribute(text: string, name: string): string {
  const found = text.split(',').find((part) => part.startsWith(`${name}=`));
  if (found === undefined) throw new Error(`SCRAM message without ${name}=`);
  return found.slice(2);
}
