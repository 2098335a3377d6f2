// Nothing more comes from the client. What it has sent is still answered, so only the servers' input ends, not the connection.

import { TERMINATE } from '../../wire/writer.ts';
import type { Connection } from '../connection.ts';

/** The client's last words go to the server that is at work; another is told goodbye. */
export function endInput(connection: Connection, lastWords: Buffer | null): void {
  connection.router.eachServer((server) => {
    if (server !== connection.active) server.outlet.write(TERMINATE);
    else if (lastWords !== null) server.outlet.write(lastWords);
    server.outlet.flush();
    server.lease.socket.end();
  });
}
