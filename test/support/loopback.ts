// A server of a test's own on a free port of 127.0.0.1, and its end with all its connections.

import type { Server, Socket } from 'node:net';

export interface LoopbackPort {
  readonly host: string;
  readonly port: number;
  /** Destroys the sockets that are open then, and resolves when the server is closed. */
  stop(): Promise<void>;
}

/** `sockets`: those that are open, kept by whoever opens them. */
export async function listenOnLoopback(server: Server, sockets: ReadonlySet<Socket>): Promise<LoopbackPort> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject).listen(0, '127.0.0.1', resolve);
  });
  const address = server.address();
  return {
    host: '127.0.0.1',
    port: typeof address === 'object' && address !== null ? address.port : 0,
    async stop() {
      for (const socket of sockets) socket.destroy();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}
