// A relay that only copies bytes, through the same sockets as pgweir's: what a hop in Node costs before anything is read,
// judged or counted. Run as a program: host and port of the server as arguments; it prints its own port.

import { createServer, type Socket } from 'node:net';
import { adoptSocket, Inlet } from '../../src/base/inlet.ts';
import { SocketWriter } from '../../src/base/socket-writer.ts';
import { openSocket } from '../../src/pool/server-connection.ts';

const [host = '127.0.0.1', port = '5432'] = process.argv.slice(2);
const endpoint = { name: 'server', host, port: Number(port) };

function join(from: Inlet, source: Socket, target: Socket): void {
  const writer = new SocketWriter(target, () => source.resume());
  from.receive = (buffer, length) => {
    writer.write(buffer, 0, length);
    if (writer.isCongested) source.pause();
  };
  source.on('end', () => target.end());
  source.on('close', () => target.destroySoon());
}

const server = createServer({ allowHalfOpen: true, noDelay: true, pauseOnConnect: true }, (accepted) => {
  const fromClient = new Inlet();
  const fromServer = new Inlet();
  const client = adoptSocket(accepted, fromClient);
  client.on('error', () => undefined);
  // An adopted socket reads at once.
  client.pause();
  openSocket(endpoint, 5_000, fromServer).then(
    (target) => {
      target.on('error', () => undefined);
      join(fromClient, client, target);
      join(fromServer, target, client);
      client.resume();
      target.resume();
    },
    () => client.destroy(),
  );
});
server.listen(0, '127.0.0.1', () => {
  const address = server.address();
  process.stdout.write(`${typeof address === 'object' && address !== null ? address.port : 0}\n`);
});
process.on('SIGTERM', () => process.exit(0));
