// A server that answers in small pieces: carries bytes between pgweir and a real server, and cuts what the server says, so that
// messages arrive at pgweir split at every place.

import { connect, createServer, type Server, type Socket } from 'node:net';
import { listenOnLoopback } from '../support/loopback.ts';

export interface PiecemealTarget {
  readonly host: string;
  readonly port: number;
  stop(): Promise<void>;
}

/** What a connection says beyond so many pieces comes as it came. */
const MAX_PIECES = 3_000;

/** @param pieceBytes what the server sends comes in pieces of so many bytes, each in a write of its own */
export async function startPiecemealTarget(
  target: { readonly host: string; readonly port: number },
  pieceBytes: number,
): Promise<PiecemealTarget> {
  const sockets = new Set<Socket>();
  const server: Server = createServer({ noDelay: true, allowHalfOpen: true }, (near) => {
    const far = connect({ host: target.host, port: target.port, noDelay: true, allowHalfOpen: true });
    for (const socket of [near, far]) {
      sockets.add(socket);
      socket.on('error', () => undefined).on('close', () => sockets.delete(socket));
    }
    near.on('data', (chunk: Buffer) => far.write(chunk)).on('end', () => far.end());
    near.on('close', () => far.destroy());
    let sending: Promise<void> = Promise.resolve();
    let left = MAX_PIECES;
    far.on('data', (chunk: Buffer) => {
      const cutAt = Math.min(chunk.length, left * pieceBytes);
      left -= Math.ceil(cutAt / pieceBytes);
      sending = sending.then(() => sendInPieces(near, chunk.subarray(0, cutAt), pieceBytes));
      sending = sending.then(() => sendInPieces(near, chunk.subarray(cutAt), chunk.length));
    });
    // A server that dies with unread data in its socket resets the connection: then there is no 'end'.
    const endNear = (): void => {
      sending.then(
        () => near.end(),
        () => near.destroy(),
      );
    };
    far.on('end', endNear).on('close', endNear);
  });
  return listenOnLoopback(server, sockets);
}

async function sendInPieces(socket: Socket, bytes: Buffer, pieceBytes: number): Promise<void> {
  for (let offset = 0; offset < bytes.length && socket.writable; offset += pieceBytes) {
    socket.write(bytes.subarray(offset, offset + pieceBytes));
    await new Promise<void>((resolve) => setImmediate(resolve));
  }
}
