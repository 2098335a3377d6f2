// TLS with clients: takes over a socket whose client asked for it, and tells who the client has proved to be. The
// certificate in use can be replaced while connections are up; those keep the one that they began with.

import { constants } from 'node:crypto';
import type { Socket } from 'node:net';
import { createServer, type Server, type TLSSocket } from 'node:tls';
import { WeirError } from '../base/errors.ts';
import type { Transport } from '../base/transport.ts';
import { describePeer, hashServerEndPoint } from './certificate.ts';
import { ALPN_PROTOCOL, MAX_RECORD_BYTES } from './protocol.ts';
import type { ListenTls } from './settings.ts';
import { forNode, type TlsMaterial } from './tls-files.ts';

export interface AcceptedTls {
  readonly socket: TLSSocket;
  readonly transport: Transport;
  /** The client named the protocol that it wants to speak, and it is PostgreSQL's. */
  readonly hasAlpn: boolean;
  /** Why the client may not log in, or null. */
  readonly certificateProblem: string | null;
}

/** As PostgreSQL: no session outlives its connection, and no client makes the server negotiate twice. */
const SECURE_OPTIONS = constants.SSL_OP_NO_TICKET | constants.SSL_OP_NO_RENEGOTIATION;

interface Waiting {
  readonly settle: (socket: TLSSocket) => void;
  reason: string;
}

export class TlsAcceptor {
  readonly isRequired: boolean;
  readonly #settings: ListenTls;
  /** Never listens: sockets are handed to it. */
  readonly #server: Server;
  /** Handshakes under way, by the peer's address: the server does not say which socket its TLS sockets came from. */
  readonly #waiting = new Map<string, Waiting>();

  constructor(settings: ListenTls, material: TlsMaterial) {
    this.isRequired = settings.mode === 'require';
    this.#settings = settings;
    this.#server = createServer({
      ...this.#contextOptions(material),
      ALPNProtocols: [ALPN_PROTOCOL],
      requestCert: settings.clientCertificate !== 'none',
      // Who shows a bad certificate is refused in words, at the login.
      rejectUnauthorized: false,
    });
    this.#server.on('secureConnection', (socket) => {
      const waiting = this.#waiting.get(nameOf(socket));
      if (waiting === undefined) socket.destroy();
      else waiting.settle(socket);
    });
    this.#server.on('tlsClientError', (error, socket) => {
      const waiting = this.#waiting.get(nameOf(socket));
      if (waiting !== undefined) waiting.reason = describeTlsError(error);
    });
  }

  /** Handshakes that begin from now on use these. */
  useMaterial(material: TlsMaterial): void {
    this.#server.setSecureContext(this.#contextOptions(material));
  }

  /**
   * Does the handshake on a paused socket; bytes of it that were read already must have been put back (`unshift`). The
   * returned socket is paused too. Throws WeirError tls_handshake_failed, also when the socket is closed meanwhile.
   */
  accept(socket: Socket): Promise<AcceptedTls> {
    const name = nameOf(socket);
    return new Promise((resolve, reject) => {
      const finish = (act: () => void): void => {
        if (this.#waiting.get(name) === waiting) this.#waiting.delete(name);
        socket.off('close', onClose);
        act();
      };
      const onClose = (): void => finish(() => reject(new WeirError('tls_handshake_failed', waiting.reason)));
      const settle = (secured: TLSSocket): void => finish(() => resolve(this.#describe(secured)));
      const waiting: Waiting = { settle, reason: 'the client closed the connection' };
      if (socket.destroyed) {
        onClose();
        return;
      }
      this.#waiting.set(name, waiting);
      socket.on('close', onClose);
      this.#server.emit('connection', socket);
    });
  }

  #contextOptions(material: TlsMaterial): object {
    return { ...forNode(material), minVersion: this.#settings.minVersion, secureOptions: SECURE_OPTIONS };
  }

  #describe(socket: TLSSocket): AcceptedTls {
    // Whoever uses the socket hears of its end by 'close'; an error without a listener would end the process.
    socket.on('error', () => undefined);
    socket.pause();
    socket.setMaxSendFragment(MAX_RECORD_BYTES);
    const shown = socket.getPeerX509Certificate();
    const own = socket.getX509Certificate();
    const peer = shown !== undefined && socket.authorized ? describePeer(shown) : null;
    const serverEndPoint = own === undefined ? null : hashServerEndPoint(own);
    let certificateProblem: string | null = null;
    if (shown !== undefined && !socket.authorized)
      certificateProblem = `the client certificate cannot be verified: ${String(socket.authorizationError)}`;
    else if (shown === undefined && this.#settings.clientCertificate === 'require')
      certificateProblem = 'the client has shown none';
    return {
      socket,
      transport: { isEncrypted: true, peer, serverEndPoint },
      hasAlpn: socket.alpnProtocol === ALPN_PROTOCOL,
      certificateProblem,
    };
  }
}

/** As long as one of the two is open, no other connection has the same ends. */
function nameOf(socket: Socket): string {
  return `${socket.remoteAddress} ${socket.remotePort} ${socket.localAddress} ${socket.localPort}`;
}

/** OpenSSL's own reason without the place in its source, as `no application protocol`. */
export function describeTlsError(error: Error): string {
  if ('reason' in error && typeof error.reason === 'string') return error.reason;
  return error.message;
}
