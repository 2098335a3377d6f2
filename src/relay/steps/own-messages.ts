// What pgweir itself says about prepared statements on the active server, in front of the client's own messages. The answers
// go nowhere; an error of such a Parse is the client's, unless the slot says that it is silent.

import { OWED, type OwedKind, type OwedReply } from '../../session/owed.ts';
import type { Circumstances } from '../../session/preparation.ts';
import type { ServerNames, Slot } from '../../session/server-names.ts';
import type { PreparedStatement } from '../../session/statements.ts';
import { FRONTEND } from '../../wire/codes.ts';
import { FLUSH, SYNC } from '../../wire/writer.ts';
import type { Connection } from '../connection.ts';
import { makeNamed, makeRepeatedParse } from '../renaming.ts';
import type { Run } from '../run.ts';

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
    const types = description?.parameters ?? body.subarray(typesAt);
    const owed = this.#send(makeRepeatedParse(slot.bytes, body.subarray(0, typesAt), types), OWED.parse, slot);
    owed.declared = statement;
    names.rank(slot, owed.sequence);
    slot.circumstances = circumstances;
    slot.isDoubtful = true;
    slot.isTrial = false;
    slot.isSilent = false;
    names.touch(slot);
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

  /** What was sent is answered now. */
  flush(): void {
    this.#connection.active.outlet.write(FLUSH);
  }

  #send(message: Buffer, kind: OwedKind, slot: Slot): OwedReply<Run> {
    const { active, session } = this.#connection;
    active.outlet.write(message);
    const owed = session.owed.push(kind);
    owed.isSwallowed = true;
    owed.closedName = '';
    owed.slot = slot;
    return owed;
  }
}
