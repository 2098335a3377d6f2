// TLS of a test's client: asks as libpq does, or begins with the handshake.

import type { Socket } from 'node:net';
import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls';
import { withDeadline } from './deadline.ts';
import * as frontend from './frontend-messages.ts';

export interface ClientTls {
  /** `prefer` goes on without TLS where it is declined. */
  readonly negotiation: 'prefer' | 'require' | 'direct';
  /** ALPN is `postgresql` unless given; nothing is verified unless `rejectUnauthorized` says so. */
  readonly options?: ConnectionOptions;
}

/** The other side answered SSLRequest with something else than S. */
export class TlsDeclined extends Error {
  override readonly name = 'TlsDeclined';
}

/** Encrypts a connected socket on which nothing has been said. Rejects with the handshake's own error. */
export async function encryptSocket(socket: Socket, tls: ClientTls | undefined, deadlineMs = 10_000): Promise<Socket> {
  if (tls === undefined) return socket;
  try {
    if (tls.negotiation !== 'direct') {
      const answer = await askForTls(socket, deadlineMs);
      if (answer === 'N' && tls.negotiation === 'prefer') return socket.resume();
      if (answer !== 'S') throw new TlsDeclined(`SSLRequest was answered ${JSON.stringify(answer)}`);
    }
    return await shakeHands(socket, tls.options ?? {}, deadlineMs);
  } catch (error) {
    socket.destroy();
    throw error;
  }
}

async function askForTls(socket: Socket, deadlineMs: number): Promise<string> {
  const answer = new Promise<Buffer>((resolve, reject) => {
    socket.once('data', (chunk: Buffer) => {
      socket.pause();
      resolve(chunk);
    });
    socket.once('error', reject);
    socket.once('close', () => reject(new Error('closed after SSLRequest')));
  });
  socket.write(frontend.sslRequest());
  return (await withDeadline(answer, deadlineMs, () => 'no answer to SSLRequest')).toString('latin1');
}

export async function shakeHands(socket: Socket, options: ConnectionOptions, deadlineMs = 10_000): Promise<TLSSocket> {
  const secured = connect({ rejectUnauthorized: false, ALPNProtocols: ['postgresql'], ...options, socket });
  const done = new Promise<void>((resolve, reject) => {
    secured.once('secureConnect', resolve);
    secured.once('error', reject);
    secured.once('close', () => reject(new Error('closed amid the handshake')));
  });
  await withDeadline(done, deadlineMs, () => 'the handshake does not end');
  secured.on('error', () => undefined);
  return secured;
}
