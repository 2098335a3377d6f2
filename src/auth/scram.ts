// SCRAM-SHA-256 and SCRAM-SHA-256-PLUS as a client. Source: RFC 5802, RFC 7677 and, for the binding, RFC 5929 section 4;
// PostgreSQL ignores the user name in the client-first message and takes the one of the startup packet.

import { randomBytes, timingSafeEqual } from 'node:crypto';
import { decodeBase64, deriveKeys, hmac, type ScramKeys, sha256, xor } from './verifier.ts';

export const SCRAM_SHA_256 = 'SCRAM-SHA-256';
export const SCRAM_SHA_256_PLUS = 'SCRAM-SHA-256-PLUS';
/** A hostile server could ask for hours of hashing. PostgreSQL's default is 4,096. */
const MAX_ITERATIONS = 1_000_000;
/** PostgreSQL's own is 24 characters; its messages are 1,024 bytes at most. */
const MAX_NONCE_CHARACTERS = 1024;

/** The exchange broke the rules, or the server did not prove that it knows the password. */
export class ScramError extends Error {
  override readonly name = 'ScramError';
}

export interface ScramClientOptions {
  readonly password: string | null;
  /** Used where the server's salt and count are those of the keys. */
  readonly keys?: ScramKeys | null;
  /** The certificate's hash (tls-server-end-point): the exchange is bound to it, mechanism -PLUS. */
  readonly serverEndPoint?: Buffer | null;
  /** TLS is up and the server offered no -PLUS: it can tell from this that somebody has cut the list. */
  readonly isPlusMissed?: boolean;
  /** Only for tests of the RFC's example. */
  readonly nonce?: string;
}

export class ScramClient {
  readonly mechanism: string;
  readonly #password: string | null;
  readonly #keys: ScramKeys | null;
  readonly #nonce: string;
  readonly #gs2Header: string;
  readonly #binding: string;
  #serverSignature: Buffer | null = null;
  #isVerified = false;

  constructor(options: ScramClientOptions) {
    const { serverEndPoint = null, isPlusMissed = false } = options;
    this.#password = options.password;
    this.#keys = options.keys ?? null;
    this.#nonce = options.nonce ?? randomBytes(18).toString('base64');
    this.mechanism = serverEndPoint === null ? SCRAM_SHA_256 : SCRAM_SHA_256_PLUS;
    this.#gs2Header = serverEndPoint !== null ? 'p=tls-server-end-point,,' : isPlusMissed ? 'y,,' : 'n,,';
    this.#binding = makeBinding(this.#gs2Header, serverEndPoint);
  }

  /** The server has proved that it knows the password. */
  get isVerified(): boolean {
    return this.#isVerified;
  }

  /** client-first-message */
  first(): string {
    return `${this.#gs2Header}n=,r=${this.#nonce}`;
  }

  /** client-final-message for the server's first. Throws ScramError on a malformed or foreign one. */
  async final(serverFirst: string): Promise<string> {
    const fields = readAttributes(serverFirst);
    const nonce = fields.get('r') ?? '';
    const salt = fields.get('s') ?? '';
    const iterations = Number(fields.get('i'));
    if (!nonce.startsWith(this.#nonce) || nonce.length === this.#nonce.length || nonce.length > MAX_NONCE_CHARACTERS)
      throw new ScramError('server nonce does not extend ours');
    const saltBytes = decodeBase64(salt);
    if (saltBytes === null || saltBytes.length === 0) throw new ScramError('server sent no salt');
    if (!Number.isInteger(iterations) || iterations < 1 || iterations > MAX_ITERATIONS)
      throw new ScramError('bad iteration count');
    const { clientKey, serverKey } = await this.#findKeys(salt, saltBytes, iterations);
    const withoutProof = `c=${this.#binding},r=${nonce}`;
    const authMessage = `n=,r=${this.#nonce},${serverFirst},${withoutProof}`;
    this.#serverSignature = hmac(serverKey, authMessage);
    const proof = xor(clientKey, hmac(sha256(clientKey), authMessage));
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

  async #findKeys(
    salt: string,
    saltBytes: Buffer,
    iterations: number,
  ): Promise<{ clientKey: Buffer; serverKey: Buffer }> {
    const keys = this.#keys;
    if (keys !== null && keys.salt === salt && keys.iterations === iterations) return keys;
    if (this.#password !== null) return deriveKeys(this.#password, saltBytes, iterations);
    throw new ScramError('the server keeps another verifier of that user than the one that pgweir knows');
  }
}

/** Channel binding input in base64: the header, and the hash where there is a binding. */
export function makeBinding(gs2Header: string, serverEndPoint: Buffer | null): string {
  const header = Buffer.from(gs2Header);
  return (serverEndPoint === null ? header : Buffer.concat([header, serverEndPoint])).toString('base64');
}

function readAttributes(text: string): Map<string, string> {
  return new Map(text.split(',').map((part): [string, string] => [part.slice(0, 1), part.slice(2)]));
}
