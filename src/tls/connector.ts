// TLS with servers: asks for it as PostgreSQL's protocol has it, does the handshake, and verifies the server as the settings say.

import { constants, type X509Certificate } from 'node:crypto';
import { isIP, type Socket } from 'node:net';
import { connect, createSecureContext, type SecureContext, type TLSSocket } from 'node:tls';
import { describeError, WeirError } from '../base/errors.ts';
import { feedInlet, Inlet } from '../base/inlet.ts';
import type { Transport } from '../base/transport.ts';
import { describeTlsError } from './acceptor.ts';
import { hashServerEndPoint } from './certificate.ts';
import { findNameMismatch } from './host-names.ts';
import { ALPN_PROTOCOL, makeSslRequest } from './protocol.ts';
import type { TargetsTls } from './settings.ts';
import { forNode, type TlsMaterial } from './tls-files.ts';

/** A socket to a server on which the protocol can begin: paused, and what it says goes to `inlet`. */
export interface ServerLine {
  readonly socket: Socket;
  readonly inlet: Inlet;
  readonly transport: Transport;
}

const ACCEPTED = 0x53;
const DECLINED = 0x4e;

export class TlsConnector {
  readonly #settings: TargetsTls;
  #context: SecureContext | null = null;
  #material: TlsMaterial;

  constructor(settings: TargetsTls, material: TlsMaterial) {
    this.#settings = settings;
    this.#material = material;
  }

  /** Handshakes that begin from now on use these. */
  useMaterial(material: TlsMaterial): void {
    this.#material = material;
    this.#context = null;
  }

  /**
   * Encrypts a line to `host` as the settings ask, or returns it as it is: in mode `disable`, for a Unix socket (an absolute
   * path), and in mode `prefer` where the server declines. The socket must be paused, with nothing said on it yet. Throws
   * WeirError target_tls_failed, also when the socket is closed meanwhile; the caller destroys it then.
   */
  async encrypt(line: ServerLine, host: string): Promise<ServerLine> {
    const { mode, negotiation } = this.#settings;
    if (mode === 'disable' || host.startsWith('/')) return line;
    if (negotiation === 'postgres' && !(await askForTls(line))) {
      if (mode === 'prefer') return line;
      throw new WeirError('target_tls_failed', 'the database does not offer TLS');
    }
    return this.#shakeHands(line.socket, host);
  }

  #shakeHands(plain: Socket, host: string): Promise<ServerLine> {
    const { mode, negotiation, serverName } = this.#settings;
    const name = serverName ?? host;
    return new Promise((resolve, reject) => {
      // Node hands a lone certificate out once only: asked again, it says that there is none.
      let shown: X509Certificate | undefined;
      const readCertificate = (): X509Certificate | undefined => {
        shown ??= socket.getPeerX509Certificate();
        return shown;
      };
      const socket: TLSSocket = connect({
        socket: plain,
        secureContext: this.#useContext(),
        ...(isIP(name) === 0 ? { servername: name } : {}),
        ALPNProtocols: [ALPN_PROTOCOL],
        rejectUnauthorized: mode === 'verify-ca' || mode === 'verify-full',
        checkServerIdentity: () => (mode === 'verify-full' ? checkName(name, readCertificate()) : undefined),
      });
      const fail = (reason: string): void => {
        finish();
        reject(new WeirError('target_tls_failed', reason));
      };
      const onError = (error: Error): void => fail(describeTlsError(error));
      const onClose = (): void => fail('the database closed the connection');
      const finish = (): void => {
        socket.off('error', onError).off('close', onClose);
        // Whoever holds the socket hears of its end by 'close'.
        socket.on('error', () => undefined);
      };
      socket.on('error', onError).on('close', onClose);
      socket.on('secureConnect', () => {
        if (negotiation === 'direct' && socket.alpnProtocol !== ALPN_PROTOCOL) {
          fail('the database does not take part in protocol negotiation (ALPN), which direct TLS needs');
          socket.destroy();
          return;
        }
        finish();
        const inlet = new Inlet();
        feedInlet(socket, inlet);
        const certificate = readCertificate();
        const serverEndPoint = certificate === undefined ? null : hashServerEndPoint(certificate);
        resolve({ socket, inlet, transport: { isEncrypted: true, peer: null, serverEndPoint } });
      });
    });
  }

  /** Made when it is first needed: the public authorities take some time to load. */
  #useContext(): SecureContext {
    this.#context ??= createSecureContext({
      ...forNode(this.#material),
      minVersion: this.#settings.minVersion,
      secureOptions: constants.SSL_OP_NO_RENEGOTIATION,
    });
    return this.#context;
  }
}

/** Sends SSLRequest; true where the server is about to begin a handshake. The socket is left paused. */
function askForTls({ socket, inlet }: ServerLine): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const finish = (act: () => void): void => {
      socket.pause();
      socket.off('close', onClose).off('end', onClose);
      inlet.receive = () => undefined;
      act();
    };
    const fail = (reason: string): void => finish(() => reject(new WeirError('target_tls_failed', reason)));
    const onClose = (): void => fail('the database closed the connection after the request for encryption');
    inlet.receive = (buffer, length) => {
      const answer = buffer[0];
      // Whoever sits between could have put them there, to be read as if they had come encrypted (CVE-2021-23222).
      if (answer === ACCEPTED && length > 1) fail('the database sent unencrypted data after it agreed to encrypt');
      else if (answer === ACCEPTED || (answer === DECLINED && length === 1)) finish(() => resolve(answer === ACCEPTED));
      else fail('the database gave no proper answer to the request for encryption');
    };
    socket.on('close', onClose).on('end', onClose);
    socket.write(makeSslRequest());
    socket.resume();
  });
}

function checkName(name: string, certificate: X509Certificate | undefined): Error | undefined {
  if (certificate === undefined) return new Error('the database has shown no certificate');
  try {
    const mismatch = findNameMismatch(name, certificate);
    return mismatch === null ? undefined : new Error(mismatch);
  } catch (error) {
    return new Error(`the names of the database's certificate cannot be read: ${describeError(error)}`);
  }
}
