// How pgweir answers a server that asks who it is: SCRAM-SHA-256 and -PLUS, md5, and the bare password where nobody can
// listen. Source: PostgreSQL documentation, "Message Formats", Authentication…; RFC 5802 for SCRAM.

import { serialize } from 'pg-protocol';
import { hashMd5Password, makeMd5Answer } from '../auth/md5.ts';
import { SCRAM_SHA_256, SCRAM_SHA_256_PLUS, ScramClient } from '../auth/scram.ts';
import type { LoginSecret } from '../auth/verifier.ts';
import { WeirError } from '../base/errors.ts';
import type { Transport } from '../base/transport.ts';
import { AUTHENTICATION } from '../wire/codes.ts';

export class PasswordAnswers {
  readonly #user: string;
  readonly #secret: LoginSecret;
  readonly #transport: Transport;
  readonly #isUnixSocket: boolean;
  #scram: ScramClient | null = null;

  constructor(user: string, secret: LoginSecret, transport: Transport, isUnixSocket: boolean) {
    this.#user = user;
    this.#secret = secret;
    this.#transport = transport;
    this.#isUnixSocket = isUnixSocket;
  }

  /**
   * The answer to the authentication request of that code, or null where it needs none. `body`: what stands behind the code.
   * Throws WeirError target_login_failed, or ScramError.
   */
  async answer(code: number, body: Buffer): Promise<Buffer | null> {
    switch (code) {
      case AUTHENTICATION.cleartext:
        return serialize.password(this.#cleartext());
      case AUTHENTICATION.md5:
        return serialize.password(makeMd5Answer(this.#md5Hash(), body.subarray(0, 4)));
      case AUTHENTICATION.sasl:
        return this.#beginScram(body.toString('latin1').split('\0'));
      case AUTHENTICATION.saslContinue:
        return serialize.sendSCRAMClientFinalMessage(await this.#begunScram().final(body.toString('latin1')));
      case AUTHENTICATION.saslFinal:
        this.#begunScram().verify(body.toString('latin1'));
        return null;
      default:
        throw fail(`the database asks for authentication ${code}, which pgweir does not know`);
    }
  }

  /** The server lets us in. Throws where it owes the proof that it knows the password. */
  finish(): void {
    if (this.#scram?.isVerified === false) throw fail('the database did not prove that it knows the password');
  }

  #beginScram(mechanisms: readonly string[]): Buffer {
    const { serverEndPoint, isEncrypted } = this.#transport;
    const { password, keys } = this.#secret;
    if (password === null && keys === null) throw this.#hasNone();
    const isPlus = serverEndPoint !== null && mechanisms.includes(SCRAM_SHA_256_PLUS);
    if (!isPlus && !mechanisms.includes(SCRAM_SHA_256))
      throw fail('the database offers no SASL mechanism that pgweir knows');
    this.#scram = new ScramClient({
      password,
      keys,
      serverEndPoint: isPlus ? serverEndPoint : null,
      isPlusMissed: isEncrypted && serverEndPoint !== null && !isPlus,
    });
    return serialize.sendSASLInitialResponseMessage(this.#scram.mechanism, this.#scram.first());
  }

  #begunScram(): ScramClient {
    if (this.#scram === null) throw fail('the database answered a SASL exchange that was not begun');
    return this.#scram;
  }

  #md5Hash(): string {
    const { password, md5Hash } = this.#secret;
    const hash = password === null ? md5Hash : hashMd5Password(this.#user, password);
    if (hash === null) throw this.#hasNone();
    return hash;
  }

  #cleartext(): string {
    const { password } = this.#secret;
    if (!this.#transport.isEncrypted && !this.#isUnixSocket)
      throw fail('the database asks for the bare password over a connection without TLS');
    if (password === null) throw this.#hasNone();
    return password;
  }

  #hasNone(): WeirError {
    return fail(`the database asks for a password, and pgweir has none for user "${this.#user}"`);
  }
}

function fail(detail: string): WeirError {
  return new WeirError('target_login_failed', detail);
}
