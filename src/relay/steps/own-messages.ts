// What pgweir itself says about prepared statements on the active server, in front of the client's own messages. The answers
// go nowhere; an error of such a Parse is the client's, unless the slot says that it is silent.

import { OWED, type OwedKind, type OwedReply } from '../../session/owed.ts';
import type { Circumstances } from '../../session/preparation.ts';
import { PASSING, type ServerNames, type Slot } from '../../session/server-names.ts';
import type { PreparedStatement } from '../../session/statements.ts';
import { FRONTEND, NAMED } from '../../wire/codes.ts';
import { makeMessage, SYNC } from '../../wire/writer.ts';
import type { Connection } from '../connection.ts';
import { makeNamed, makeRepeatedParse } from '../renaming.ts';
import type { Run } from '../run.ts';

const PASSING_NAME = Buffer.from(PASSING, 'latin1');
const NO_TYPES = Buffer.alloc(2);
/** No formats, no values. */
const PASSING_BIND = makeMessage(
  FRONTEND.bind,
  Buffer.concat([PASSING_NAME, Buffer.alloc(1), PASSING_NAME, Buffer.alloc(7)]),
);
/** All rows. */
const PASSING_EXECUTE = makeMessage(FRONTEND.execute, Buffer.concat([PASSING_NAME, Buffer.alloc(5)]));

export class OwnMessages {
  readonly #connection: Connection;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  /**
   * A statement of the client's is prepared on this server, with the types of parameters that it has had from its
   * beginning. The statement must have a preparation.
   */
  parse(names: ServerNames, slot: Slot, statement: PreparedStatement, circumstances: Circumstances | null): void {
    const { preparation, description } = statement;
    if (preparation === null) return;
    const { body, typesAt } = preparation;
    const text = body.subarray(0, typesAt);
    const owed = statement.isSql
      ? this.#run(text, slot)
      : this.#send(
          makeRepeatedParse(slot.bytes, text, description?.parameters ?? body.subarray(typesAt)),
          OWED.parse,
          slot,
        );
    owed.declared = statement;
    names.rank(slot, owed.sequence);
    slot.circumstances = circumstances;
    slot.isDoubtful = true;
    slot.isTrial = false;
    slot.isSilent = false;
    names.touch(slot);
  }

  /** One statement without parameters or rows. */
  run(sql: string): void {
    this.#run(Buffer.from(`${sql}\0`, 'latin1'), null);
  }

  /** By the extended protocol, which neither ends a unit of work nor drops the statement without a name. */
  #run(text: Buffer, slot: Slot | null): OwedReply<Run> {
    const { passing } = this.#connection.active.names;
    // Of a run whose failure is still to be answered.
    this.#closePassing(null);
    passing.isThere = true;
    this.#send(makeRepeatedParse(PASSING_NAME, text, NO_TYPES), OWED.parse, slot);
    this.#send(PASSING_BIND, OWED.bind, slot);
    const owed = this.#send(PASSING_EXECUTE, OWED.execute, slot);
    this.#closePassing(passing);
    return owed;
  }

  /** Whoever looks at what is prepared does not find what a run has left. */
  hideRuns({ passing }: ServerNames): void {
    if (passing.isThere) this.#closePassing(passing);
  }

  /** @param passing null: what is behind it makes it anew */
  #closePassing(passing: Slot | null): void {
    this.#send(makeNamed(FRONTEND.close, PASSING_NAME, NAMED.portal), OWED.close, null).isPortal = true;
    this.#send(makeNamed(FRONTEND.close, PASSING_NAME), OWED.close, passing);
  }

  describe(slot: Slot): void {
    this.#send(makeNamed(FRONTEND.describe, slot.bytes), OWED.describe, slot);
  }

  close(names: ServerNames, slot: Slot): void {
    names.beginClosing(slot);
    names.rank(slot, this.#send(makeNamed(FRONTEND.close, slot.bytes), OWED.close, slot).sequence);
  }

  /** Only where the client has begun nothing, or the server skips what it has begun. */
  sync(): void {
    this.#connection.active.outlet.write(SYNC);
    this.#connection.session.owed.push(OWED.sync).isSwallowed = true;
  }

  #send(message: Buffer, kind: OwedKind, slot: Slot | null): OwedReply<Run> {
    const { active, session } = this.#connection;
    active.outlet.write(message);
    const owed = session.owed.push(kind);
    owed.isSwallowed = true;
    owed.closedName = '';
    owed.isPortal = false;
    owed.slot = slot;
    return owed;
  }
}
