// SCRAM-SHA-256 as a client, without channel binding. Source: RFC 5802 and RFC 7677; PostgreSQL ignores the user name in the
// client-first message and takes the one of the startup packet.

import { createHash, createHmac, pbkdf2, randomBytes, timingSafeEqual } from 'node:crypto';
import { promisify } from 'node:util';

export const SCRAM_SHA_256 = 'SCRAM-SHA-256';
/** A hostile server could ask for hours of hashing. PostgreSQL's default is 4,096. */
const MAX_ITERATIONS = 1_000_000;
const GS2_HEADER = 'n,,';
/** In the thread pool: a storm of logins must not stop the relay. */
const deriveKey = promisify(pbkdf2);

/** The exchange broke the rules, or the server did not prove that it knows the password. */
export class ScramError extends Error {
  override readonly name = 'ScramError';
}

export class ScramClient {
  readonly #password: string;
  readonly #nonce: string;
  #serverSignature: Buffer | null = null;
  #isVerified = false;

  /** @param nonce only for tests of the RFC's example */
  constructor(password: string, nonce: string = randomBytes(18).toString('base64')) {
    this.#password = preparePassword(password);
    this.#nonce = nonce;
  }

  /** The server has proved that it knows the password. */
  get isVerified(): boolean {
    return this.#isVerified;
  }

  /** client-first-message */
  first(): string {
    return `${GS2_HEADER}n=,r=${this.#nonce}`;
  }

  /** client-final-message for the server's first. Throws ScramError on a malformed or foreign one. */
  async final(serverFirst: string): Promise<string> {
    const fields = readAttributes(serverFirst);
    const nonce = fields.get('r') ?? '';
    const salt = fields.get('s') ?? '';
    const iterations = Number(fields.get('i'));
    if (!nonce.startsWith(this.#nonce) || nonce.length === this.#nonce.length)
      throw new ScramError('server nonce does not extend ours');
    if (salt === '') throw new ScramError('server sent no salt');
    if (!Number.isInteger(iterations) || iterations < 1 || iterations > MAX_ITERATIONS)
      throw new ScramError('bad iteration count');
    const saltedPassword = await deriveKey(this.#password, Buffer.from(salt, 'base64'), iterations, 32, 'sha256');
    const clientKey = hmac(saltedPassword, 'Client Key');
    const withoutProof = `c=${Buffer.from(GS2_HEADER).toString('base64')},r=${nonce}`;
    const authMessage = `n=,r=${this.#nonce},${serverFirst},${withoutProof}`;
    const clientSignature = hmac(createHash('sha256').update(clientKey).digest(), authMessage);
    this.#serverSignature = hmac(hmac(saltedPassword, 'Server Key'), authMessage);
    const proof = Buffer.from(clientKey.map((byte, index) => byte ^ (clientSignature[index] as number)));
    return `${withoutProof},p=${proof.toString('base64')}`;
  }

  /** Checks server-final-message: the server knows the password too. Throws ScramError where it does not. */
  verify(serverFinal: string): void {
    const signature = Buffer.from(readAttributes(serverFinal).get('v') ?? '', 'base64');
    const expected = this.#serverSignature;
    if (expected === null || signature.length !== expected.length || !timingSafeEqual(signature, expected)) {
      throw new ScramError('server signature does not verify');
    }
    this.#isVerified = true;
  }
}

function hmac(key: Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest();
}

function readAttributes(text: string): Map<string, string> {
  return new Map(text.split(',').map((part): [string, string] => [part.slice(0, 1), part.slice(2)]));
}

/** The mapping and normalisation steps of SASLprep (RFC 4013); a password that it would refuse is used as it is, as PostgreSQL does. */
function preparePassword(password: string): string {
  return password
    .replace(/[\u00A0\u1680\u2000-\u200B\u202F\u205F\u3000]/g, ' ')
    .replace(/\u00AD|\u034F|\u1806|[\u180B-\u180D]|\u200C|\u200D|\u2060|[\uFE00-\uFE0F]|\uFEFF/g, '')
    .normalize('NFKC');
}
