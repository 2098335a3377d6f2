// A plain HTTP server with the bounds that both listeners have: the part that is up before anyone asks for anything.

import type { RequestListener } from 'node:http';
import { createServer } from 'node:http';

/** A slow or silent HTTP client holds a connection no longer than this. */
export const REQUEST_TIMEOUT_MS = 30_000;

export interface HttpDoor {
  /** Resolves with the port. Rejects with the system's error (EADDRINUSE …). */
  listen(address: { readonly host: string; readonly port: number }): Promise<number>;
  /** Ends requests too. Does nothing where it does not listen. */
  close(): Promise<void>;
}

export function openDoor(answer: RequestListener): HttpDoor {
  const server = createServer({ requestTimeout: REQUEST_TIMEOUT_MS }, answer);
  server.setTimeout(REQUEST_TIMEOUT_MS);
  return {
    listen: ({ host, port }) =>
      new Promise((resolve, reject) => {
        server.once('error', reject);
        server.listen({ host, port }, () => {
          server.off('error', reject);
          const address = server.address();
          resolve(typeof address === 'object' && address !== null ? address.port : port);
        });
      }),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
