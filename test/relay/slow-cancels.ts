// Stands between pgweir and a real server, hands everything on as it comes, but CancelRequests late: as a network does on which
// new connections take their time.

import { connect, createServer, type Socket } from 'node:net';
import { CANCEL_REQUEST_CODE } from '../support/frontend-messages.ts';
import { listenOnLoopback } from '../support/loopback.ts';

export interface SlowCancels {
  readonly host: string;
  readonly port: number;
  /** CancelRequests that have come, delivered or not. */
  readonly count: () => number;
  stop(): Promise<void>;
}

export async function startSlowCancels(
  target: { readonly host: string; readonly port: number },
  delayMs: number,
): Promise<SlowCancels> {
  const sockets = new Set<Socket>();
  let count = 0;
  const server = createServer({ noDelay: true, allowHalfOpen: true }, (near) => {
    const far = connect({ host: target.host, port: target.port, noDelay: true, allowHalfOpen: true });
    for (const socket of [near, far]) {
      sockets.add(socket);
      socket.on('error', () => undefined).on('close', () => sockets.delete(socket));
    }
    near.once('data', (first: Buffer) => {
      const isCancel = first.length >= 8 && first.readInt32BE(4) === CANCEL_REQUEST_CODE;
      if (isCancel) {
        count++;
        setTimeout(() => far.write(first), delayMs);
        return;
      }
      far.write(first);
      near
        .on('data', (chunk: Buffer) => far.write(chunk))
        .on('end', () => far.end())
        .on('close', () => far.destroy());
    });
    far
      .on('data', (chunk: Buffer) => near.write(chunk))
      .on('end', () => near.end())
      .on('close', () => near.destroy());
  });
  return {
    ...(await listenOnLoopback(server, sockets)),
    count: () => count,
  };
}
