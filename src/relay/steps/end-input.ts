// Nothing more comes from the client. What it has sent is still answered, so only the servers' input ends, not the connection.

import { settleWrites } from '../../base/gathered-writes.ts';
import type { Broken } from '../../wire/framer.ts';
import { makeBrokenHead, TERMINATE } from '../../wire/writer.ts';
import type { Connection } from '../connection.ts';
import { GATE } from '../gate.ts';

/**
 * The client's last words go to the server that is at work; another is told goodbye. A shared one goes on working for
 * others: it hears nothing of a goodbye.
 */
export function endInput(connection: Connection, lastWords: Buffer | null): void {
  if (!connection.hasServer || isDoneWithShared(connection)) {
    closeAnswered(connection);
    return;
  }
  if (connection.router.isShared && (lastWords === null || lastWords === TERMINATE)) return;
  connection.router.eachServer((server) => {
    if (server !== connection.active) server.outlet.write(TERMINATE);
    else if (lastWords !== null) server.outlet.write(lastWords);
    server.outlet.flush();
    settleWrites();
    server.lease.socket.end();
  });
}

/**
 * Framing of the client is lost. The server hears of it as it would without pgweir, and says what it says then: nothing, or
 * that it knows no such type, and in its turn, behind the answers to what came before. Of a message of unknown type it
 * gets the type alone: whatever that type may mean to it, nothing of it can run. In the place of a shared server, which others use
 * too, pgweir says it. Returns the last words to the server.
 */
export function breakInput(connection: Connection, broken: Broken): Buffer | null {
  if (!connection.router.isShared) return makeBrokenHead(broken);
  if (broken.reason === 'unknown_type') connection.brokenType = broken.type;
  return null;
}

/** All that the client has sent is answered. */
export function closeAnswered(connection: Connection): void {
  const { brokenType } = connection;
  if (brokenType === null) connection.close();
  else connection.fail('unknown_message_type', String(brokenType));
}

/**
 * The end came while the gate is closed. A login that pgweir does is given up, unless more was sent behind it, and so is a statement
 * that waits: nobody is there for the outcome. Otherwise the end is told when what was sent before it has been looked at.
 */
export function endEarly(connection: Connection, hasMore: boolean): void {
  const { login, gate, conduct, router, client } = connection;
  if (login.pending !== null && gate.has(GATE.login) && !hasMore) {
    connection.close();
  } else if (conduct.isWaiting || router.isWaiting) {
    settleWrites();
    client.socket.destroy();
  }
}

/**
 * Nobody is there to hear the answers. Statements that the server has still run: those under a kill rule or with a place
 * under max_concurrent are seen to their end.
 */
export function loseClient(connection: Connection): void {
  if (connection.isClosing) return;
  connection.conduct.giveUp();
  if (!connection.session.owed.some((run) => run.kill !== null || run.hold !== null)) {
    connection.close();
    return;
  }
  connection.clientEnded();
  connection.resumeServer();
}

/** Of a client that says nothing more: its shared server owes it no ReadyForQuery, so it waits for nothing that may still come. */
export function isDoneWithShared({ router, session, copyIn }: Connection): boolean {
  return router.isShared && (session.owed.owedReadies === 0 || copyIn.isRunning);
}
