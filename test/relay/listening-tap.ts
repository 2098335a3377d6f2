// Stands between pgweir and a real server, hands everything on as it comes, and writes down what pgweir said.

import { connect, createServer, type Socket } from 'node:net';
import { listenOnLoopback } from '../support/loopback.ts';

/** A message to the server, behind its connection's startup packet. */
export interface HeardMessage {
  /** The type byte as a character. */
  readonly type: string;
  readonly body: Buffer;
}

export interface ListeningTap {
  readonly host: string;
  readonly port: number;
  /** Messages of that type on all connections, in the order in which they were complete. */
  heard(type: string): readonly HeardMessage[];
  /** Names of the statements in all Parse messages so far. */
  parsedNames(): string[];
  /** Forgets what was heard so far. */
  reset(): void;
  stop(): Promise<void>;
}

export async function startListeningTap(target: {
  readonly host: string;
  readonly port: number;
}): Promise<ListeningTap> {
  const sockets = new Set<Socket>();
  let heard: HeardMessage[] = [];
  const server = createServer({ noDelay: true, allowHalfOpen: true }, (near) => {
    const far = connect({ host: target.host, port: target.port, noDelay: true, allowHalfOpen: true });
    for (const socket of [near, far]) {
      sockets.add(socket);
      socket.on('error', () => undefined).on('close', () => sockets.delete(socket));
    }
    let pending = Buffer.alloc(0);
    let hasStarted = false;
    near.on('data', (chunk: Buffer) => {
      far.write(chunk);
      pending = Buffer.concat([pending, chunk]);
      for (;;) {
        const typeBytes = hasStarted ? 1 : 0;
        if (pending.length < typeBytes + 4) return;
        const end = typeBytes + pending.readInt32BE(typeBytes);
        if (pending.length < end) return;
        if (hasStarted)
          heard.push({ type: pending.toString('latin1', 0, 1), body: Buffer.from(pending.subarray(5, end)) });
        hasStarted = true;
        pending = pending.subarray(end);
      }
    });
    far.on('data', (chunk: Buffer) => near.write(chunk));
    near.on('end', () => far.end()).on('close', () => far.destroy());
    far.on('end', () => near.end()).on('close', () => near.destroy());
  });
  return {
    ...(await listenOnLoopback(server, sockets)),
    heard: (type) => heard.filter((message) => message.type === type),
    parsedNames: () =>
      heard.filter(({ type }) => type === 'P').map(({ body }) => body.toString('latin1', 0, body.indexOf(0))),
    reset() {
      heard = [];
    },
  };
}
