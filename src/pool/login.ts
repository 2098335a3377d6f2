// Logs in to a server on a client's behalf, by pg-protocol: pgweir's own conversation, never the clients' data path.

import type { Socket } from 'node:net';
import { serialize } from 'pg-protocol';
import {
  AuthenticationMD5Password,
  BackendKeyDataMessage,
  type BackendMessage,
  DatabaseError,
  NoticeMessage,
  ParameterStatusMessage,
} from 'pg-protocol/dist/messages.js';
import { Parser } from 'pg-protocol/dist/parser.js';
import { makeMd5Answer } from '../auth/md5.ts';
import { SCRAM_SHA_256, ScramClient } from '../auth/scram.ts';
import { describeError, WeirError } from '../base/errors.ts';
import type { Inlet } from '../base/inlet.ts';
import { makeNoticeResponse } from '../wire/writer.ts';

/** A server that never stops talking while it lets us in must not fill the memory. */
const MAX_NOTICES = 100;

/** What a server told while it let us in. */
export interface Welcome {
  readonly parameters: ReadonlyMap<string, string>;
  /** Process id and secret, one to one as Latin-1; null where the server sends none. */
  readonly key: string | null;
  /** NoticeResponses, as of a login event trigger. */
  readonly notices: readonly Buffer[];
}

/** The server said no; `fields` are its own words, for the client to see. */
export class LoginRefused extends Error {
  override readonly name = 'LoginRefused';
  readonly fields: {
    readonly sqlstate: string;
    readonly message: string;
    readonly detail: string | null;
    readonly hint: string | null;
  };

  constructor(error: DatabaseError) {
    super(error.message);
    this.fields = {
      sqlstate: error.code ?? 'XX000',
      message: error.message,
      detail: error.detail ?? null,
      hint: error.hint ?? null,
    };
  }
}

export interface LoginRequest {
  /** The StartupMessage, whole: the client's own, so that all its settings arrive. */
  readonly startup: Buffer;
  readonly user: string;
  /** Null: only a server that asks for none lets us in. */
  readonly password: string | null;
  readonly timeoutMs: number;
  /** Gives the login up. */
  readonly signal: AbortSignal;
}

/**
 * Sends the startup message and answers what the server asks until its first ReadyForQuery. The socket is left paused and
 * without listeners of ours. Throws LoginRefused with the server's error, or WeirError.
 */
export function logIn(socket: Socket, inlet: Inlet, request: LoginRequest): Promise<Welcome> {
  return new Promise((resolve, reject) => {
    const conversation = new Conversation(socket, request);
    const parser = new Parser();
    const finish = (act: () => void): void => {
      clearTimeout(timer);
      socket.pause();
      inlet.receive = () => undefined;
      socket.off('error', onError).off('close', onClose);
      request.signal.removeEventListener('abort', onAbort);
      act();
    };
    const fail = (error: unknown): void => {
      const isKnown = error instanceof LoginRefused || error instanceof WeirError;
      finish(() => reject(isKnown ? error : new WeirError('target_login_failed', describeError(error))));
    };
    // One after the other: what a server sends behind its proof counts only once the proof has been checked.
    let answered: Promise<void> = Promise.resolve();
    const answerNext = async (message: BackendMessage): Promise<void> => {
      if (await conversation.answer(message)) finish(() => resolve(conversation.welcome()));
    };
    inlet.receive = (buffer, length) => {
      try {
        parser.parse(Buffer.from(buffer.subarray(0, length)), (message) => {
          answered = answered.then(() => answerNext(message));
        });
      } catch (error) {
        fail(error);
      }
      answered.catch(fail);
    };
    const onError = (error: Error): void => fail(new WeirError('target_login_failed', error.message));
    const onClose = (): void => fail(new WeirError('target_login_failed', 'the database closed the connection'));
    const onAbort = (): void => fail(new WeirError('target_login_failed', 'the client has left'));
    const timer = setTimeout(() => fail(new WeirError('target_login_failed', 'timeout')), request.timeoutMs);
    if (request.signal.aborted) {
      onAbort();
      return;
    }
    request.signal.addEventListener('abort', onAbort);
    socket.on('error', onError).on('close', onClose);
    socket.write(request.startup);
    socket.resume();
  });
}

class Conversation {
  readonly #socket: Socket;
  readonly #request: LoginRequest;
  readonly #parameters = new Map<string, string>();
  #key: string | null = null;
  readonly #notices: Buffer[] = [];
  #scram: ScramClient | null = null;

  constructor(socket: Socket, request: LoginRequest) {
    this.#socket = socket;
    this.#request = request;
  }

  welcome(): Welcome {
    return { parameters: this.#parameters, key: this.#key, notices: this.#notices };
  }

  /** True once the server is ready for queries. */
  async answer(message: BackendMessage): Promise<boolean> {
    if (message instanceof DatabaseError) {
      // Every error of a server has a code; without one it is the parser's own, of bytes that it cannot read.
      if (message.code === undefined) throw new WeirError('target_protocol_violation', message.message);
      throw new LoginRefused(message);
    }
    if (message.name === 'authenticationOk' && this.#scram?.isVerified === false)
      throw new WeirError('target_login_failed', 'the database did not prove that it knows the password');
    if (message instanceof ParameterStatusMessage) this.#parameters.set(message.parameterName, message.parameterValue);
    else if (message instanceof BackendKeyDataMessage) this.#key = packKey(message.processID, message.secretKey);
    else if (message instanceof NoticeMessage) this.#keepNotice(message);
    else if (message instanceof AuthenticationMD5Password) {
      this.#socket.write(serialize.password(makeMd5Answer(this.#request.user, this.#password(), message.salt)));
    } else if (message.name === 'authenticationCleartextPassword')
      this.#socket.write(serialize.password(this.#password()));
    else if (message.name.startsWith('authenticationSASL')) await this.#answerSasl(message);
    return message.name === 'readyForQuery';
  }

  async #answerSasl(message: BackendMessage): Promise<void> {
    if ('mechanisms' in message && Array.isArray(message.mechanisms)) {
      if (!message.mechanisms.includes(SCRAM_SHA_256))
        throw new WeirError('target_login_failed', 'the database offers no SASL mechanism that pgweir knows');
      this.#scram = new ScramClient(this.#password());
      this.#socket.write(serialize.sendSASLInitialResponseMessage(SCRAM_SHA_256, this.#scram.first()));
      return;
    }
    const text = 'data' in message && typeof message.data === 'string' ? message.data : '';
    if (this.#scram === null)
      throw new WeirError('target_login_failed', 'the database answered a SASL exchange that was not begun');
    if (message.name === 'authenticationSASLContinue') {
      this.#socket.write(serialize.sendSCRAMClientFinalMessage(await this.#scram.final(text)));
    } else {
      this.#scram.verify(text);
    }
  }

  #keepNotice(notice: NoticeMessage): void {
    if (this.#notices.length >= MAX_NOTICES) return;
    const { severity, code, message, detail, hint, where, schema, table, column, dataType, constraint } = notice;
    const fields: [string, string | undefined][] = [
      ['S', severity],
      ['V', severity],
      ['C', code],
      ['M', message],
      ['D', detail],
      ['H', hint],
      ['W', where],
      ['s', schema],
      ['t', table],
      ['c', column],
      ['d', dataType],
      ['n', constraint],
      ['F', notice.file],
      ['L', notice.line],
      ['R', notice.routine],
    ];
    this.#notices.push(makeNoticeResponse(new Map(fields)));
  }

  #password(): string {
    if (this.#request.password === null) {
      throw new WeirError(
        'target_login_failed',
        `the database asks for a password, and pgweir has none for user "${this.#request.user}"`,
      );
    }
    return this.#request.password;
  }
}

function packKey(processId: number, secret: number): string {
  const key = Buffer.allocUnsafe(8);
  key.writeInt32BE(processId | 0, 0);
  key.writeInt32BE(secret | 0, 4);
  return key.toString('latin1');
}
