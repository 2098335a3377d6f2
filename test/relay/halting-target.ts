// A server that is slow in the middle of a message: carries bytes between pgweir and a real server, and where what the server
// says holds a mark, it says the beginning of that, and the rest of it later.

import { connect, createServer, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { listenOnLoopback } from '../support/loopback.ts';

export interface HaltingTarget {
  readonly host: string;
  readonly port: number;
  /** From now on: what holds the mark halts behind so many bytes, for so long. */
  haltAt(bytes: number, haltMs: number): void;
  stop(): Promise<void>;
}

export async function startHaltingTarget(
  target: { readonly host: string; readonly port: number },
  mark: string,
): Promise<HaltingTarget> {
  const sockets = new Set<Socket>();
  let halt = { bytes: 0, haltMs: 0 };
  const server = createServer({ noDelay: true }, (near) => {
    const far = connect({ host: target.host, port: target.port, noDelay: true });
    for (const socket of [near, far]) {
      sockets.add(socket);
      socket.on('error', () => undefined).on('close', () => sockets.delete(socket));
    }
    near.on('data', (chunk: Buffer) => far.write(chunk)).on('close', () => far.destroy());
    let saying: Promise<unknown> = Promise.resolve();
    far.on('data', (chunk: Buffer) => {
      saying = saying.then(async () => {
        const { bytes, haltMs } = halt;
        if (!chunk.includes(mark)) return near.write(chunk);
        near.write(chunk.subarray(0, bytes));
        await sleep(haltMs);
        return near.write(chunk.subarray(bytes));
      });
    });
    far.on('close', () => void saying.then(() => near.destroy()));
  });
  return {
    ...(await listenOnLoopback(server, sockets)),
    haltAt(bytes, haltMs) {
      halt = { bytes, haltMs };
    },
  };
}
