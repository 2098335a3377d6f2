// Asks a client for its password, where pgweir itself decides: one question, one answer, one after the other. What may
// go wrong on the way is answered as PostgreSQL answers it (CheckSASLAuth, recv_password_packet).

import { AuthRefused, refusePassword } from '../../auth/auth-refused.ts';
import { HEADER_BYTES } from '../../wire/codes.ts';
import type { Broken } from '../../wire/framer.ts';
import type { Connection } from '../connection.ts';
import { GATE } from '../gate.ts';

/** PG_MAX_SASL_MESSAGE_LENGTH, which like the length word counts that word itself. */
const MAX_SASL_LENGTH = 1024;

export type AnswerKind = 'SASL' | 'password';

/** The client went away, or sent what PostgreSQL only closes the connection for. */
export class ClientLeft extends Error {
  override readonly name = 'ClientLeft';
}

interface Question {
  readonly kind: AnswerKind;
  readonly resolve: (body: Buffer) => void;
  readonly reject: (error: Error) => void;
}

export class LoginDialogue {
  readonly #connection: Connection;
  #question: Question | null = null;
  #parts: Buffer[] = [];
  #missingBytes = 0;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  /** Sends the question; gives the body of the client's answer. Throws AuthRefused or ClientLeft. */
  ask(question: Buffer, kind: AnswerKind): Promise<Buffer> {
    const { client, gate, isClosing } = this.#connection;
    return new Promise<Buffer>((resolve, reject) => {
      if (isClosing) {
        reject(new ClientLeft());
        return;
      }
      this.#question = { kind, resolve, reject };
      client.outlet.write(question);
      client.outlet.flush();
      gate.open(GATE.login);
    });
  }

  /** The client's answer, or its beginning: `remaining` bytes come through `append`. */
  take(buffer: Buffer, start: number, end: number, remaining: number): void {
    const { gate, conduct, session } = this.#connection;
    gate.close(GATE.login);
    if (this.#question?.kind === 'SASL' && end - start + remaining - 1 > MAX_SASL_LENGTH) {
      this.#refuse(refusePassword(session.subject.user));
      return;
    }
    conduct.rest = remaining > 0 ? this : null;
    this.#parts = [];
    this.#missingBytes = end - start - HEADER_BYTES + remaining;
    this.append(buffer, start + HEADER_BYTES, end);
  }

  append(buffer: Buffer, start: number, end: number): void {
    this.#parts.push(Buffer.from(buffer.subarray(start, end)));
    this.#missingBytes -= end - start;
    this.#complete();
  }

  /** Framing is lost: some other message, or a length that no answer has. */
  breakOff({ reason, type }: Broken): void {
    const question = this.#question;
    if (question === null) this.#connection.close();
    else if (reason === 'unknown_type')
      this.#refuse(new AuthRefused('08P01', `expected ${question.kind} response, got message type ${type}`));
    else if (question.kind === 'SASL') this.#refuse(refusePassword(this.#connection.session.subject.user));
    else this.#refuse(new ClientLeft());
  }

  /** The connection closes. */
  abandon(): void {
    this.#refuse(new ClientLeft());
  }

  #complete(): void {
    const question = this.#question;
    if (this.#missingBytes > 0 || question === null) return;
    this.#question = null;
    question.resolve(Buffer.concat(this.#parts));
    this.#parts = [];
  }

  #refuse(error: Error): void {
    const question = this.#question;
    this.#question = null;
    question?.reject(error);
  }
}
