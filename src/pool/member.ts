// A server connection that many clients use in turn, and what it carries of the last one.
//
//   idle      free for anybody; the pool listens to it
//   changing  pgweir itself talks on it: it is cleaned, or made ready for the next client
//   held      one client has it
//   closed    gone, or going

import { WeirError } from '../base/errors.ts';
import { NO_BELONGINGS } from '../session/belongings.ts';
import { ReportedParameters } from '../session/reported-parameters.ts';
import { readParameterStatus } from '../wire/backend.ts';
import { BACKEND } from '../wire/codes.ts';
import { BackendMessages } from './backend-messages.ts';
import type { Guest } from './guest.ts';
import type { Welcome } from './login.ts';
import type { LoginClass } from './login-class.ts';
import type { Lease } from './server-connection.ts';

export type MemberState = 'idle' | 'changing' | 'held' | 'closed';

/** `Side` is what the relay makes of a server connection; it lasts as long as the connection. */
export class Member<Side> {
  readonly lease: Lease;
  readonly loginClass: LoginClass<Side>;
  readonly welcome: Welcome;
  readonly openedAtMs: number;
  /** Logins are renewed when what they depend on has changed: clients that came later want a later one. */
  readonly generation: number;
  /** application_name as it was in the startup packet: where RESET leads back to. */
  readonly startupName: string;
  state: MemberState = 'changing';
  guest: Guest<Side> | null = null;
  /** The client that used it last, and comes back to it while nobody else has taken it. */
  home: Guest<Side> | null = null;
  /** The client that had it last, whether it comes back or not: what it prepared is still known here. */
  lastGuest: Guest<Side> | null = null;
  /** Libraries may be loaded by clients that have left, or by pgweir's questions. */
  isMixed = false;
  side: Side | null = null;
  belongings = NO_BELONGINGS;
  readonly reported: ReportedParameters;
  /** Its client is quiet but has left traces: it can be asked to settle them and give the connection back. */
  isReclaimable = false;
  /** Bits of TRACE that keep it with its client. */
  pins = 0;
  /** While pinned it is not asked again before this time, on the monotonic clock. */
  askAgainAtMs = 0;
  idleSinceMs = 0;
  /** A cancel went out for what ran here: a round trip must follow before another client gets it. */
  wasCancelled = false;
  /** pgweir has said something here since a client had it: the statement without a name is gone. */
  wasAsked = false;
  /** It is closed when it is next free. */
  isRetiring = false;
  /** Temporary objects were used here. The server keeps their buffers as they were set up, so nobody else gets the connection. */
  isSpoiled = false;
  /** Hidden code ran here: it may have made settings whose names nobody knows. */
  ranHidden = false;
  /** Sequences were used here; currval() must not show that to the next client. */
  hasDrawn = false;
  #idleMessages: BackendMessages | null = null;
  #onEnd: () => void = () => undefined;

  constructor(lease: Lease, loginClass: LoginClass<Side>, welcome: Welcome, generation: number, nowMs: number) {
    this.lease = lease;
    this.loginClass = loginClass;
    this.welcome = welcome;
    this.generation = generation;
    this.openedAtMs = nowMs;
    this.reported = new ReportedParameters(welcome.parameters);
    this.startupName = welcome.parameters.get('application_name') ?? '';
  }

  /** Libraries may be loaded here that this client has not asked for. */
  isMixedFor(guest: Guest<Side>): boolean {
    return this.isMixed || (this.lastGuest !== null && this.lastGuest !== guest);
  }

  get applicationName(): string {
    return this.reported.applicationName ?? '';
  }

  /** `onEnd`: called when it can serve no more, while no client holds it. */
  watch(onEnd: () => void): void {
    const end = (): void => {
      if (this.state !== 'held') onEnd();
    };
    this.#onEnd = end;
    this.lease.socket.on('end', end).on('close', end);
  }

  /** Reads what the server says to nobody: changed settings count, notices do not. */
  listen(): void {
    const { inlet, socket } = this.lease;
    this.#idleMessages = null;
    inlet.receive = this.#receive;
    // Called often, and mostly the socket flows already.
    if (socket.readableFlowing !== true) socket.resume();
  }

  readonly #receive = (buffer: Buffer, length: number): void => {
    try {
      this.#idleMessages ??= new BackendMessages();
      for (const message of this.#idleMessages.take(buffer.subarray(0, length))) this.#hear(message);
    } catch {
      this.#onEnd();
    }
  };

  /** Nothing that it said is still unread. */
  get isAtMessageBoundary(): boolean {
    return this.#idleMessages?.isAtBoundary !== false;
  }

  #hear(message: Buffer): void {
    if (message[0] === BACKEND.parameterStatus) {
      const parameter = readParameterStatus(message, 0, message.length);
      if (parameter !== null) this.reported.set(parameter.name, parameter.value);
    } else if (message[0] !== BACKEND.notice && message[0] !== BACKEND.notification) {
      throw new WeirError('target_protocol_violation', `message type ${message[0]} on an idle connection`);
    }
  }
}
