// Both ends of one TCP connection on loopback, for tests of what writes to sockets, and ends them.

import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { withDeadline } from './deadline.ts';

export interface SocketPair {
  readonly near: Socket;
  /** It is not read. */
  readonly far: Socket;
}

/** Both are open; errors of theirs are nobody's. */
export async function makeSocketPair(): Promise<SocketPair> {
  const server = createServer({ pauseOnConnect: true });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  const near = connect(typeof address === 'object' && address !== null ? address.port : 0, '127.0.0.1');
  const [far] = (await withDeadline(once(server, 'connection'), 5_000, () => 'no connection')) as [Socket];
  server.close();
  for (const socket of [near, far]) socket.on('error', () => undefined);
  if (near.connecting) await once(near, 'connect');
  return { near, far };
}
