// The way of a client's message to the active server: its own bytes, or another message in its place, and the entry for the
// reply that is owed then.

import type { Clock } from '../base/clock.ts';
import { OWED, type OwedKind, type OwedReply } from '../session/owed.ts';
import type { Slot } from '../session/server-names.ts';
import { FRONTEND, NAMED } from '../wire/codes.ts';
import type { Connection } from './connection.ts';
import type { Outlet } from './outlet.ts';
import { makeNamed, makeRenamedHead } from './renaming.ts';
import type { Run } from './run.ts';
import { AS_SENT } from './steps/places.ts';

export class Sender {
  readonly #connection: Connection;
  readonly #clock: Clock;
  /** Where the rest of a message goes that is longer than what was shown; null: nowhere, it was refused. */
  rest: Pick<Outlet, 'append'> | null = null;

  constructor(connection: Connection, clock: Clock) {
    this.#connection = connection;
    this.#clock = clock;
  }

  /** The message goes on, and nothing is owed for it. */
  forward(buffer: Buffer, start: number, end: number, remaining: number): void {
    const { outlet } = this.#connection.active;
    outlet.append(buffer, start, end);
    this.rest = remaining > 0 ? outlet : null;
  }

  send(kind: OwedKind, buffer: Buffer, start: number, end: number, remaining: number): OwedReply<Run> {
    this.forward(buffer, start, end, remaining);
    const { session } = this.#connection;
    if (kind <= OWED.unit) session.isUnitOpen = true;
    return session.owed.push(kind);
  }

  /** A message that the server will refuse for its own layout: it goes on as it is. */
  sendUnread(kind: OwedKind, buffer: Buffer, start: number, end: number): true {
    this.send(kind, buffer, start, end, 0);
    return true;
  }

  /** A message about a prepared statement: the name in `buffer[nameStart, nameEnd)` gives way to the server's. */
  sendNamed(
    kind: OwedKind,
    buffer: Buffer,
    start: number,
    end: number,
    remaining: number,
    nameStart: number,
    nameEnd: number,
    slot: Slot,
  ): OwedReply<Run> {
    if (slot === AS_SENT || slot.isNamed(buffer, nameStart, nameEnd))
      return this.send(kind, buffer, start, end, remaining);
    this.#connection.active.outlet.write(makeRenamedHead(buffer, start, nameStart, nameEnd, slot.bytes));
    const owed = this.send(kind, buffer, nameEnd, end, remaining);
    owed.slot = slot;
    owed.clientName = buffer.toString('latin1', nameStart, nameEnd);
    return owed;
  }

  /** A portal that pgweir has made is closed, with its name in `buffer[start, end)`. */
  closePortal(buffer: Buffer, start: number, end: number): void {
    const { session, active } = this.#connection;
    active.outlet.write(makeNamed(FRONTEND.close, buffer.subarray(start, end), NAMED.portal));
    const owed = session.owed.push(OWED.close);
    owed.isSwallowed = true;
    owed.isPortal = true;
    owed.closedName = '';
  }

  /** The stand-in goes to the server in the message's place; its error will be worded as `run.refusal`. */
  replace(kind: OwedKind, standIn: Buffer, run: Run): OwedReply<Run> {
    this.#connection.active.outlet.write(standIn);
    this.rest = null;
    const { session, copyIn } = this.#connection;
    const owed = session.owed.push(kind);
    if (kind !== OWED.query && kind !== OWED.functionCall) {
      session.isUnitOpen = true;
      // It must fail, and what follows be skipped: that is neither judged nor owed. Syncs that a COPY keeps back go before it.
      session.owed.isSkipping ||= !copyIn.isRunning;
    }
    owed.run = run;
    run.sentAtMs = this.#clock.monotonicMs();
    return owed;
  }
}
