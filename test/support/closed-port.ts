// A port where nobody listens, for as long as a test needs one. A port that is merely free may be given to another
// process in the middle of the test; this one is taken: it is the near end of a connection.

import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

/** Connections to `port` of 127.0.0.1 are refused, and no one else gets it, until `use` is done. */
export async function withClosedPort<T>(use: (port: number) => Promise<T>): Promise<T> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const near = connect((server.address() as AddressInfo).port, '127.0.0.1');
  const accepted = once(server, 'connection');
  await once(near, 'connect');
  const [far] = (await accepted) as [Socket];
  try {
    const { port } = near.address() as AddressInfo;
    return await use(port);
  } finally {
    near.destroy();
    far.destroy();
    server.close();
  }
}
