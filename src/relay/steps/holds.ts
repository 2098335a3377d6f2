// Whether a session can do without its server connection, and why it holds one, in the words of GET /sessions.

import type { Member } from '../../pool/member.ts';
import type { Session } from '../../session/session.ts';
import { nameTraces } from '../../sql/traces.ts';
import { TRANSACTION } from '../../wire/codes.ts';
import type { Connection } from '../connection.ts';
import type { Run } from '../run.ts';
import type { ServerSide } from '../server-side.ts';

/** Nothing of the client's is under way: what it has left behind is all that may keep the connection. */
export function isAtRest({ session, copyIn, isCancelling, client }: Connection): boolean {
  return (
    session.isQuiet &&
    !session.isUnitOpen &&
    !session.owed.isSkipping &&
    session.status === TRANSACTION.idle &&
    !copyIn.isRunning &&
    !isCancelling &&
    // The server would take what comes next for the rest of the message.
    !client.isMidMessage
  );
}

/** What comes now belongs to what the server is at: a unit of work that no Sync has ended, or the data of a COPY. */
export function isAmidUnit({ session, copyIn }: Connection): boolean {
  return session.isInUnit || copyIn.isRunning;
}

/** Empty where it holds none, and waits for none. */
export function listHolds(
  session: Session<Run>,
  member: Member<ServerSide> | null,
  isWaiting: boolean,
): readonly string[] {
  if (member === null) return isWaiting ? ['waiting'] : [];
  if (!session.isQuiet || session.isUnitOpen) return ['statement'];
  if (session.status !== TRANSACTION.idle) return ['transaction'];
  if (member.pins !== 0) return nameTraces(member.pins);
  return ['reclaimable'];
}
