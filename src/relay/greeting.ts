// The packets that come before a session begins: requests for encryption, and the one that says what the client wants. What
// is done with that one is the listener's business.
//
// plain -> (SSLRequest, or a TLS handshake at once) -> encrypting -> encrypted; each side asks for encryption once. The
// greeting ends with a startup packet, a cancel, a refusal, or the end of the socket.

import type { Socket } from 'node:net';
import { ERRORS, type ErrorCode, type ErrorEntry, WeirError, wordError } from '../base/errors.ts';
import { adoptSocket, feedInlet, Inlet } from '../base/inlet.ts';
import { PLAIN_TRANSPORT, type Transport } from '../base/transport.ts';
import type { AcceptedTls, TlsAcceptor } from '../tls/acceptor.ts';
import { HANDSHAKE_RECORD } from '../tls/protocol.ts';
import { readStartupPacket, type StartupMessage, type StartupPacket } from '../wire/startup.ts';
import { makeErrorResponse, makeNegotiateProtocolVersion, makeOldErrorResponse } from '../wire/writer.ts';
import type { RelayContext } from './context.ts';
import { countError } from './counters.ts';

const ACCEPTED = Buffer.from('S');
const DECLINED = Buffer.from('N');
const NOTHING = Buffer.alloc(0);
const NEWEST_MINOR = 2;
const SUPPORTED = `server supports 3.0 to 3.${NEWEST_MINOR}`;

/** A client that has said what it wants: a session. Its socket is still read, into `inlet`. */
export interface Greeted {
  readonly socket: Socket;
  /** On the monotonic clock: the login's time runs from here. */
  readonly acceptedAtMs: number;
  readonly inlet: Inlet;
  readonly clientIp: string;
  readonly transport: Transport;
  readonly startup: StartupMessage;
  /** The startup message as it came. */
  readonly packet: Buffer;
  /** What came behind it already. */
  readonly rest: Buffer;
  refuse(code: ErrorCode, detail: string | null): void;
}

export interface GreetingOptions {
  readonly context: RelayContext;
  readonly clientIp: string;
  /** Null where this client is offered no TLS. */
  readonly acceptor: TlsAcceptor | null;
  onStartup(greeted: Greeted): void;
  /** `key` as in StartupPacket. The socket is to be closed when the cancel is done. */
  onCancel(key: string, socket: Socket): void;
  /** The greeting is over, one way or another. */
  onLeave(greeting: Greeting): void;
}

export class Greeting {
  readonly #options: GreetingOptions;
  readonly #timer: NodeJS.Timeout;
  readonly #acceptedAtMs: number;
  #socket: Socket;
  #inlet = new Inlet();
  #transport: Transport = PLAIN_TRANSPORT;
  #early: Buffer = NOTHING;
  #certificateProblem: string | null = null;
  #hasSaidAnything = false;
  #mayAskForTls = true;
  #mayAskForGss = true;
  #isEncrypting = false;
  /** It speaks a version from before 3.0, in which errors look different. */
  #isOldClient = false;
  #isOver = false;

  /** `accepted` must have been accepted paused. */
  constructor(accepted: Socket, options: GreetingOptions) {
    this.#options = options;
    this.#acceptedAtMs = options.context.clock.monotonicMs();
    this.#socket = adoptSocket(accepted, this.#inlet);
    this.#inlet.receive = (buffer, length) => this.#take(buffer, length);
    this.#timer = setTimeout(() => this.#endLate(), options.context.settings.limits.loginTimeoutMs);
    this.#socket.on('error', () => undefined);
    this.#watch();
    this.#socket.resume();
  }

  /** Ends it without a word. */
  destroy(): void {
    this.#leave();
    this.#socket.destroy();
  }

  #watch(): void {
    this.#socket.on('close', this.#onGone);
    this.#socket.on('end', this.#onEnd);
  }

  readonly #onGone = (): void => this.#leave();
  readonly #onEnd = (): void => this.destroy();

  #leave(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    clearTimeout(this.#timer);
    this.#inlet.receive = () => undefined;
    this.#socket.off('close', this.#onGone).off('end', this.#onEnd);
    this.#options.onLeave(this);
  }

  #endLate(): void {
    // Amid a handshake there is no way to say it.
    if (this.#isEncrypting) this.destroy();
    else this.#refuse('login_timeout', null);
  }

  readonly #refuse = (code: ErrorCode, detail: string | null): void => {
    this.#leave();
    const { counters } = this.#options.context;
    counters.clientsRefused++;
    const { severity, sqlstate, more }: ErrorEntry = ERRORS[code];
    countError(counters, sqlstate);
    const message = wordError(code, detail);
    this.#socket.end(
      this.#isOldClient
        ? makeOldErrorResponse(message)
        : makeErrorResponse({ severity, sqlstate, message, detail: more ?? null }),
    );
    this.#socket.destroySoon();
  };

  #take(buffer: Buffer, length: number): void {
    const isFirst = !this.#hasSaidAnything;
    this.#hasSaidAnything = true;
    if (isFirst && buffer[0] === HANDSHAKE_RECORD) {
      this.#beginDirectTls(Buffer.from(buffer.subarray(0, length)));
      return;
    }
    this.#early = Buffer.concat([this.#early, buffer.subarray(0, length)]);
    const answer = readStartupPacket(this.#early, this.#early.length);
    if (answer.status === 'broken') {
      if (answer.isTold) this.#refuse('bad_startup_layout', null);
      else this.destroy();
    } else if (answer.status === 'ok') this.#answer(answer.packet, answer.end);
  }

  #answer(packet: StartupPacket, end: number): void {
    switch (packet.type) {
      case 'ssl_request':
        this.#answerSslRequest(end);
        return;
      case 'gssenc_request':
        if (!this.#mayAskForGss) this.#refuse('unsupported_protocol', `1234.5680: ${SUPPORTED}`);
        else {
          this.#mayAskForGss = false;
          this.#decline(end, 'plaintext_after_gssenc_request');
        }
        return;
      case 'cancel':
        this.#leave();
        this.#options.onCancel(packet.key, this.#socket);
        return;
      case 'startup':
        this.#admit(packet, end);
        return;
      default:
        packet satisfies never;
    }
  }

  #answerSslRequest(end: number): void {
    const { acceptor } = this.#options;
    if (!this.#mayAskForTls) {
      this.#refuse('unsupported_protocol', `1234.5679: ${SUPPORTED}`);
      return;
    }
    this.#mayAskForTls = false;
    if (acceptor === null || this.#transport.isEncrypted) {
      this.#decline(end, 'plaintext_after_ssl_request');
      return;
    }
    // Whoever sits between could have put them there, to be read as if they had come encrypted (CVE-2021-23222).
    if (this.#early.length > end) {
      this.#refuse('plaintext_after_ssl_request', null);
      return;
    }
    this.#mayAskForGss = false;
    this.#early = NOTHING;
    this.#socket.pause();
    this.#socket.write(ACCEPTED);
    this.#encrypt(acceptor, false);
  }

  #decline(end: number, crowded: ErrorCode): void {
    const isCrowded = this.#early.length > end;
    this.#early = NOTHING;
    this.#socket.write(DECLINED);
    if (isCrowded) this.#refuse(crowded, null);
  }

  /** No startup packet is so long: the client begins with a handshake, as libpq does with sslnegotiation=direct. */
  #beginDirectTls(bytes: Buffer): void {
    const { acceptor } = this.#options;
    if (acceptor === null) {
      this.destroy();
      return;
    }
    this.#socket.pause();
    this.#socket.unshift(bytes);
    this.#encrypt(acceptor, true);
  }

  #encrypt(acceptor: TlsAcceptor, isDirect: boolean): void {
    this.#isEncrypting = true;
    this.#inlet.receive = () => undefined;
    this.#socket.off('end', this.#onEnd);
    acceptor.accept(this.#socket).then(
      (accepted) => this.#useTls(accepted, isDirect),
      (error: unknown) => this.#noteFailure(error),
    );
  }

  #noteFailure(error: unknown): void {
    const { context, clientIp } = this.#options;
    context.counters.clientTlsFailed++;
    const reason = error instanceof WeirError ? error.detail : String(error);
    context.log.info({ clientIp, reason }, 'TLS handshake of a client failed');
    this.destroy();
  }

  #useTls({ socket, transport, hasAlpn, certificateProblem }: AcceptedTls, isDirect: boolean): void {
    if (this.#isOver) {
      socket.destroy();
      return;
    }
    if (isDirect && !hasAlpn) {
      socket.destroy();
      this.#noteFailure(new WeirError('tls_handshake_failed', 'direct TLS without ALPN'));
      return;
    }
    this.#options.context.counters.clientTlsAccepted++;
    this.#isEncrypting = false;
    this.#socket.off('close', this.#onGone);
    this.#socket = socket;
    this.#transport = transport;
    this.#certificateProblem = certificateProblem;
    this.#inlet = new Inlet();
    this.#inlet.receive = (buffer, length) => this.#take(buffer, length);
    feedInlet(socket, this.#inlet);
    this.#watch();
    socket.resume();
  }

  #admit(startup: StartupMessage, end: number): void {
    const { acceptor, clientIp, onStartup } = this.#options;
    const { major, minor, parameters } = startup;
    if (major !== 3) {
      this.#isOldClient = major === 1 || major === 2;
      this.#refuse('unsupported_protocol', `${major}.${minor}: ${SUPPORTED}`);
      return;
    }
    if ((parameters.get('user') ?? '') === '') {
      // In this order, as the server would.
      const negotiation = negotiate(startup);
      if (negotiation !== null) this.#socket.write(negotiation);
      this.#refuse('no_user', null);
      return;
    }
    if (this.#certificateProblem !== null) {
      this.#refuse('client_certificate_invalid', this.#certificateProblem);
      return;
    }
    if (acceptor?.isRequired === true && !this.#transport.isEncrypted) {
      this.#refuse('tls_required', null);
      return;
    }
    this.#leave();
    onStartup({
      socket: this.#socket,
      acceptedAtMs: this.#acceptedAtMs,
      inlet: this.#inlet,
      clientIp,
      transport: this.#transport,
      startup,
      packet: this.#early.subarray(0, end),
      rest: this.#early.subarray(end),
      refuse: this.#refuse,
    });
  }
}

/** What a server tells a client that wants more than 3.2 has, or null. */
function negotiate({ minor, parameters }: StartupMessage): Buffer | null {
  const unknownOptions = [...parameters.keys()].filter((name) => name.startsWith('_pq_.'));
  if (minor <= NEWEST_MINOR && unknownOptions.length === 0) return null;
  return makeNegotiateProtocolVersion(Math.min(minor, NEWEST_MINOR), unknownOptions);
}
