// Logs in to a server, on a client's behalf or to look a user up: pgweir's own conversation, never the clients' data path.
// It speaks the version and the options of the startup packet it is given, and keeps the server's words as they are.

import type { LoginSecret } from '../auth/verifier.ts';
import { describeError, WeirError } from '../base/errors.ts';
import { readBackendKey, readErrorField, readParameterStatus } from '../wire/backend.ts';
import { AUTHENTICATION, BACKEND } from '../wire/codes.ts';
import { BackendMessages } from './backend-messages.ts';
import { PasswordAnswers } from './password-answers.ts';
import { isUnixSocket, type Lease } from './server-connection.ts';

/** What a server told while it let us in. */
export interface Welcome {
  /** NegotiateProtocolVersion as it came; null where the server speaks what it was asked for. */
  readonly negotiation: Buffer | null;
  /** All that came behind AuthenticationOk, as it came: parameters, key, notices of a login trigger, ReadyForQuery. */
  readonly messages: Buffer;
  readonly parameters: ReadonlyMap<string, string>;
  /** Process id and secret, one to one as Latin-1; null where the server sends none. */
  readonly key: string | null;
}

/** The server said no, in its own words. */
export class LoginRefused extends Error {
  override readonly name = 'LoginRefused';
  /** Its ErrorResponse as it came, for the client to see. */
  readonly packet: Buffer;
  readonly sqlstate: string;
  readonly negotiation: Buffer | null;
  /** The credential was right, and something else was not: the database, a setting, the number of connections. */
  readonly isAuthenticated: boolean;
  /** All that it had said before, as it came: parameters, key, notices of a login trigger. */
  readonly messages: Buffer;

  constructor(packet: Buffer, { negotiation, messages }: Welcome, isAuthenticated: boolean) {
    super(readErrorField(packet, 0, packet.length, 'M') ?? 'no reason given');
    this.packet = packet;
    this.sqlstate = readErrorField(packet, 0, packet.length, 'C') ?? 'XX000';
    this.negotiation = negotiation;
    this.isAuthenticated = isAuthenticated;
    this.messages = messages;
  }
}

export interface LoginRequest {
  /** The StartupMessage, whole: the client's own, so that all its settings arrive. */
  readonly startup: Buffer;
  readonly user: string;
  readonly secret: LoginSecret;
  readonly timeoutMs: number;
  /** Gives the login up. */
  readonly signal: AbortSignal;
}

/**
 * Sends the startup message and answers what the server asks until its first ReadyForQuery. The lease's socket is left
 * paused and without listeners of ours. Throws LoginRefused with the server's error, or WeirError.
 */
export function logIn(lease: Lease, request: LoginRequest): Promise<Welcome> {
  const { socket, inlet } = lease;
  return new Promise((resolve, reject) => {
    const conversation = new Conversation(lease, request);
    const messages = new BackendMessages();
    let isDone = false;
    const finish = (act: () => void): void => {
      // The server's last words may stand right behind the login: by then the socket is somebody else's.
      if (isDone) return;
      isDone = true;
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
    const answerNext = async (message: Buffer): Promise<void> => {
      if (await conversation.answer(message)) finish(() => resolve(conversation.welcome()));
    };
    inlet.receive = (buffer, length) => {
      try {
        for (const message of messages.take(buffer.subarray(0, length)))
          answered = answered.then(() => answerNext(message));
      } catch (error) {
        fail(error);
      }
      answered.catch(fail);
    };
    const onError = (error: Error): void => fail(new WeirError('target_gone', error.message));
    // The server's last words may still be on their way through the chain.
    const onClose = (): void => {
      answered.then(() => fail(new WeirError('target_gone'))).catch(fail);
    };
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
  readonly #lease: Lease;
  readonly #answers: PasswordAnswers;
  readonly #parameters = new Map<string, string>();
  #negotiation: Buffer | null = null;
  #key: string | null = null;
  readonly #messages: Buffer[] = [];
  #isAuthenticated = false;

  constructor(lease: Lease, { user, secret }: LoginRequest) {
    this.#lease = lease;
    this.#answers = new PasswordAnswers(user, secret, lease.transport, isUnixSocket(lease.endpoint));
  }

  welcome(): Welcome {
    return {
      negotiation: this.#negotiation,
      messages: Buffer.concat(this.#messages),
      parameters: this.#parameters,
      key: this.#key,
    };
  }

  /** True once the server is ready for queries. */
  async answer(message: Buffer): Promise<boolean> {
    const type = message[0];
    switch (type) {
      case BACKEND.authentication:
        await this.#authenticate(message);
        return false;
      case BACKEND.error:
        throw new LoginRefused(message, this.welcome(), this.#isAuthenticated);
      case BACKEND.negotiateProtocolVersion:
        if (this.#negotiation !== null)
          throw new WeirError('target_protocol_violation', 'it negotiates the version for the second time');
        this.#negotiation = message;
        return false;
      case BACKEND.backendKeyData:
        this.#key = readBackendKey(message, 0, message.length);
        break;
      case BACKEND.parameterStatus: {
        const parameter = readParameterStatus(message, 0, message.length);
        if (parameter !== null) this.#parameters.set(parameter.name, parameter.value);
        break;
      }
      case BACKEND.notice:
        break;
      case BACKEND.readyForQuery:
        if (!this.#isAuthenticated) throw new WeirError('target_protocol_violation', 'it is ready before it let us in');
        break;
      default:
        throw new WeirError('target_protocol_violation', `message type ${type} during a login`);
    }
    this.#messages.push(message);
    return type === BACKEND.readyForQuery;
  }

  async #authenticate(message: Buffer): Promise<void> {
    if (message.length < 9)
      throw new WeirError('target_protocol_violation', 'an authentication request without a code');
    const code = message.readInt32BE(5);
    if (code !== AUTHENTICATION.ok) {
      const answer = await this.#answers.answer(code, message.subarray(9));
      if (answer !== null) this.#lease.socket.write(answer);
      return;
    }
    this.#answers.finish();
    this.#isAuthenticated = true;
  }
}
