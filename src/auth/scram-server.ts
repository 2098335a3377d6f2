// SCRAM-SHA-256 and SCRAM-SHA-256-PLUS as a server, answering as PostgreSQL does, mistakes of the client included. Source:
// RFC 5802, RFC 7677, and PostgreSQL's auth-scram.c for the words.
//
//   begin   reads client-first, gives server-first
//   finish  reads client-final, gives server-final and the keys, or null for a wrong proof

import { randomBytes, timingSafeEqual } from 'node:crypto';
import { AuthRefused } from './auth-refused.ts';
import { makeBinding, SCRAM_SHA_256, SCRAM_SHA_256_PLUS } from './scram.ts';
import { AttributeReader, isPrintableNonce, malformed, showCharacter, showText } from './scram-message.ts';
import { decodeBase64, hmac, type ScramKeys, type ScramVerifier, sha256, xor } from './verifier.ts';

/** SCRAM_RAW_NONCE_LEN */
const NONCE_BYTES = 18;
const BINDING_TYPE = 'tls-server-end-point';

export interface ScramServerOptions {
  readonly verifier: ScramVerifier;
  /** The user has no such verifier: the exchange goes its way and fails at the end, whatever the client proves. */
  readonly isDoomed: boolean;
  /** Hash of the certificate that the client was shown; null without TLS. */
  readonly serverEndPoint: Buffer | null;
}

/** What the client may choose from, best first. */
export function listMechanisms(serverEndPoint: Buffer | null): readonly string[] {
  return serverEndPoint === null ? [SCRAM_SHA_256] : [SCRAM_SHA_256_PLUS, SCRAM_SHA_256];
}

export class ScramServer {
  readonly #options: ScramServerOptions;
  readonly #isBound: boolean;
  readonly #nonce = randomBytes(NONCE_BYTES).toString('base64');
  #flag = '';
  #clientFirstBare = '';
  #clientNonce = '';
  #serverFirst = '';

  /** Throws AuthRefused for a mechanism that was not offered. */
  constructor(mechanism: string, options: ScramServerOptions) {
    if (!listMechanisms(options.serverEndPoint).includes(mechanism))
      throw new AuthRefused('08P01', 'client selected an invalid SASL authentication mechanism');
    this.#options = options;
    this.#isBound = mechanism === SCRAM_SHA_256_PLUS;
  }

  /** server-first-message for client-first-message, both one byte one character. Throws AuthRefused. */
  begin(clientFirst: string): string {
    refuseEmptyOrNul(clientFirst);
    const reader = new AttributeReader(clientFirst);
    this.#readBindingFlag(reader);
    if (reader.peek === 'a')
      throw new AuthRefused('0A000', 'client uses authorization identity, but it is not supported');
    if (reader.peek !== ',')
      throw malformed(`Unexpected attribute "${showCharacter(reader.peek)}" in client-first-message.`);
    reader.skip();
    this.#clientFirstBare = reader.rest;
    if (this.#clientFirstBare.startsWith('m'))
      throw new AuthRefused('0A000', 'client requires an unsupported SCRAM extension');
    reader.read('n');
    this.#clientNonce = reader.read('r');
    if (!isPrintableNonce(this.#clientNonce)) throw new AuthRefused('08P01', 'non-printable characters in SCRAM nonce');
    while (!reader.isAtEnd) reader.readAny();
    const { salt, iterations } = this.#options.verifier;
    this.#serverFirst = `r=${this.#clientNonce}${this.#nonce},s=${salt},i=${iterations}`;
    return this.#serverFirst;
  }

  /** Null: the proof is wrong. Throws AuthRefused for a malformed message. */
  finish(clientFinal: string): { readonly serverFinal: string; readonly keys: ScramKeys } | null {
    refuseEmptyOrNul(clientFinal);
    const reader = new AttributeReader(clientFinal);
    this.#checkBinding(reader.read('c'));
    const nonce = reader.read('r');
    let proofAt = 0;
    let attribute: { readonly name: string; readonly value: string };
    do {
      proofAt = reader.at - 1;
      attribute = reader.readAny();
    } while (attribute.name !== 'p');
    const { storedKey, serverKey, salt, iterations } = this.#options.verifier;
    const proof = decodeBase64(attribute.value);
    if (proof?.length !== storedKey.length) throw malformed('Malformed proof in client-final-message.');
    if (!reader.isAtEnd) throw malformed('Garbage found at the end of client-final-message.');
    if (!isSame(nonce, `${this.#clientNonce}${this.#nonce}`))
      throw new AuthRefused('08P01', 'invalid SCRAM response', 'Nonce does not match.');
    const text = `${this.#clientFirstBare},${this.#serverFirst},${clientFinal.slice(0, proofAt)}`;
    const authMessage = Buffer.from(text, 'latin1');
    const clientKey = xor(proof, hmac(storedKey, authMessage));
    const isProven = timingSafeEqual(sha256(clientKey), storedKey);
    if (!isProven || this.#options.isDoomed) return null;
    return {
      serverFinal: `v=${hmac(serverKey, authMessage).toString('base64')}`,
      keys: { salt, iterations, clientKey, serverKey },
    };
  }

  /** gs2-cbind-flag: n, the client has no binding; y, it has and believes that we have none; p, it binds. */
  #readBindingFlag(reader: AttributeReader): void {
    this.#flag = reader.peek;
    switch (this.#flag) {
      case 'n':
      case 'y':
        if (this.#isBound)
          throw malformed(
            'The client selected SCRAM-SHA-256-PLUS, but the SCRAM message does not include channel binding data.',
          );
        // We offered it: somebody between us has cut the list.
        if (this.#flag === 'y' && this.#options.serverEndPoint !== null)
          throw new AuthRefused(
            '28000',
            'SCRAM channel binding negotiation error',
            'The client supports SCRAM channel binding but thinks the server does not.  However, this server does support channel binding.',
          );
        reader.skip();
        if (reader.peek !== ',')
          throw malformed(`Comma expected, but found character "${showCharacter(reader.peek)}".`);
        reader.skip();
        return;
      case 'p': {
        if (!this.#isBound)
          throw malformed(
            'The client selected SCRAM-SHA-256 without channel binding, but the SCRAM message includes channel binding data.',
          );
        const type = reader.read('p');
        if (type !== BINDING_TYPE)
          throw new AuthRefused('08P01', `unsupported SCRAM channel-binding type "${showText(type)}"`);
        return;
      }
      default:
        throw malformed(`Unexpected channel-binding flag "${showCharacter(this.#flag)}".`);
    }
  }

  #checkBinding(given: string): void {
    if (this.#isBound) {
      const expected = makeBinding(`p=${BINDING_TYPE},,`, this.#options.serverEndPoint);
      if (!isSame(given, expected)) throw new AuthRefused('28000', 'SCRAM channel binding check failed');
    } else if (given !== makeBinding(`${this.#flag},,`, null)) {
      throw new AuthRefused('08P01', 'unexpected SCRAM channel-binding attribute in client-final-message');
    }
  }
}

function refuseEmptyOrNul(message: string): void {
  if (message === '') throw malformed('The message is empty.');
  if (message.includes('\0')) throw malformed('Message length does not match input length.');
}

function isSame(left: string, right: string): boolean {
  const [one, other] = [Buffer.from(left, 'latin1'), Buffer.from(right, 'latin1')];
  return one.length === other.length && timingSafeEqual(one, other);
}
