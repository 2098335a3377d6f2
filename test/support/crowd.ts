// A crowd of sockets that all have something to say in every turn of the event loop, so that writes are gathered.

import { gatherWrite } from '../../src/base/gathered-writes.ts';
import { SocketWriter } from '../../src/base/socket-writer.ts';
import { waitFor } from './deadline.ts';
import { makeSocketPair } from './socket-pair.ts';

const PAIRS = 24;

export interface Crowd {
  /** The crowd goes; resolves when writes go out at once again. */
  leave(): Promise<void>;
}

/** Would a write be put off right now? */
export function isGathering(): boolean {
  return gatherWrite({ writeGathered: () => undefined }, false, Buffer.alloc(1), 0, 1);
}

/** Resolves when writes are gathered. */
export async function gatherCrowd(): Promise<Crowd> {
  const pairs = await Promise.all(Array.from({ length: PAIRS }, makeSocketPair));
  const sockets = pairs.flatMap(({ near, far }) => [near, far]);
  for (const socket of sockets) {
    const writer = new SocketWriter(socket, () => undefined);
    socket.on('data', (chunk: Buffer) => writer.write(chunk, 0, chunk.length)).resume();
  }
  for (const { near } of pairs) near.write('to and fro');
  const leave = async (): Promise<void> => {
    for (const socket of sockets) socket.destroy();
    await waitFor(
      async () => !isGathering(),
      10_000,
      () => 'writes are still gathered',
      0,
    );
  };
  await waitFor(
    async () => isGathering(),
    10_000,
    () => 'no write is gathered',
    0,
  );
  return { leave };
}
