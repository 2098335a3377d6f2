// What one server connection has by name, and what its client calls it. Clients share server connections, so a name may be
// taken there by what another client left: then the client's statement has another name on the server, and every message
// about it is reworded. As long as the client stays, its name and the server's stand for each other: what is in flight
// succeeds, fails or is skipped under the one as it would under the other.
//
// A slot says what the server has as far as it has answered. Names that it may have, because a message that makes them is in
// flight, have a slot too: a name without one is surely free.

import { readDescription, type StatementDescription } from '../wire/backend.ts';
import { MAX_NAME_BYTES } from '../wire/reader.ts';
import type { Circumstances, Preparation } from './preparation.ts';
import type { PreparedStatement } from './statements.ts';

/** A name on the server, and what is there. */
export class Slot {
  readonly name: string;
  /** What the client calls it; null where no name of this client's stands for it. */
  clientName: string | null = null;
  /** It has been made, and has not been closed. */
  isThere = false;
  /** Whose Parse made it, or was repeated here. */
  statement: PreparedStatement | null = null;
  preparation: Preparation | null = null;
  circumstances: Circumstances | null = null;
  description: StatementDescription | null = null;
  /** Made by SQL PREPARE: it is its client's alone. */
  isSql = false;
  /** The types of its parameters are those that the server found out by itself. */
  hasOwnTypes = false;
  /** pgweir's own Parse is in flight. Should it be skipped or fail, the client's name does not stand for this slot. */
  isDoubtful = false;
  /** pgweir's own Close is in flight. */
  isClosing = false;
  /** It was made to see whether the statement still has its description. */
  isTrial = false;
  /** pgweir's own Parse of it may fail without a word to the client. */
  isSilent = false;
  /** Rank of the last message of this client's that makes or closes it. */
  lastSequence = 0;
  tenancy = 0;
  usedAt = 0;
  #bytes: Buffer | null = null;

  constructor(name: string) {
    this.name = name;
  }

  /** The name as it stands in a message, without its NUL. */
  get bytes(): Buffer {
    this.#bytes ??= Buffer.from(this.name, 'latin1');
    return this.#bytes;
  }

  /** What a Describe of it says would be news. */
  get isUndescribed(): boolean {
    return this.description === null && this.clientName !== null;
  }

  /** `message[start, end)` is that name, as the server cuts it. */
  isNamed(message: Buffer, start: number, end: number): boolean {
    const { name } = this;
    const length = Math.min(end - start, MAX_NAME_BYTES);
    if (length !== name.length) return false;
    for (let at = 0; at < length; at++) if (message[start + at] !== name.charCodeAt(at)) return false;
    return true;
  }

  /** Nobody's: any client that means the same may have it. */
  get isFree(): boolean {
    return this.isThere && this.clientName === null && !this.isClosing && !this.isSql;
  }
}

const NONE: readonly Slot[] = [];

/** Of a statement and a portal that nobody comes back to. */
export const PASSING = 'pgweir_run';

export class ServerNames {
  readonly unnamed = new Slot('');
  /** Of what pgweir runs by itself; closed behind it, but a failure leaves it there. */
  readonly passing = new Slot(PASSING);
  /** The client whose names these are. */
  owner: object | null = null;
  /** ParameterDescription of the Describe that is being answered: its body. */
  parameters: Buffer | null = null;
  #clock = 0;
  /** Ranks count from the beginning of each client's session. */
  #tenancy = 0;
  #aliases = 0;
  #closing = 0;
  readonly #slots = new Map<string, Slot>();
  /** Slots by the client's names; '' is not among them, it stands for `unnamed`. */
  #byClientName = new Map<string, Slot>();
  readonly #byPreparation = new Map<Preparation, Slot[]>();
  /** Slots of names that are not there, or not yet. */
  readonly #empty = new Set<Slot>();

  /** Names that the server has or may have, but for those that are on their way out. */
  get size(): number {
    return this.#slots.size - this.#closing;
  }

  /** The server has, and may have, nothing by name. */
  get isEmpty(): boolean {
    return this.#slots.size === 0;
  }

  /** The slot of that name on the server. */
  at(name: string): Slot | null {
    return this.#slots.get(name) ?? null;
  }

  /** The slot that the client's name stands for. */
  of(clientName: string): Slot | undefined {
    if (clientName !== '') return this.#byClientName.get(clientName);
    return this.unnamed.clientName === null ? undefined : this.unnamed;
  }

  /** Slots with that text and types, the free ones and the others. */
  with(preparation: Preparation): readonly Slot[] {
    return this.#byPreparation.get(preparation) ?? NONE;
  }

  slots(): IterableIterator<Slot> {
    return this.#slots.values();
  }

  touch(slot: Slot): void {
    slot.usedAt = ++this.#clock;
  }

  /** A message of that rank makes or closes it. */
  rank(slot: Slot, sequence: number): void {
    slot.lastSequence = sequence;
    slot.tenancy = this.#tenancy;
  }

  /** A name that the server does not have, for a Parse. */
  add(name: string): Slot {
    const slot = new Slot(name);
    this.#slots.set(name, slot);
    this.#empty.add(slot);
    return slot;
  }

  /** The same under a name of pgweir's own. */
  addAlias(): Slot {
    let name: string;
    do name = `pgweir_s${++this.#aliases}`;
    while (this.#slots.has(name));
    return this.add(name);
  }

  /** From here on the client's name stands for it. Only '' stands for the unnamed one, and for no other. */
  bind(clientName: string, slot: Slot): void {
    if (slot !== this.unnamed) this.#byClientName.set(clientName, slot);
    slot.clientName = clientName;
    this.touch(slot);
  }

  unbind(slot: Slot): void {
    const { clientName } = slot;
    if (clientName !== null && this.#byClientName.get(clientName) === slot) this.#byClientName.delete(clientName);
    slot.clientName = null;
    slot.isDoubtful = false;
  }

  /** Another client comes, or one that has been elsewhere meanwhile. Nothing is in flight. */
  changeOwner(owner: object): void {
    this.owner = owner;
    this.#tenancy++;
    this.unnamed.clientName = null;
    this.unnamed.isDoubtful = false;
    if (this.#byClientName.size > 0) {
      for (const slot of this.#byClientName.values()) {
        slot.clientName = null;
        slot.isDoubtful = false;
      }
      this.#byClientName = new Map();
    }
    if (this.#empty.size === 0) return;
    for (const slot of this.#empty) this.#remove(slot);
  }

  /** ParseComplete. */
  fill(slot: Slot, statement: PreparedStatement, circumstances: Circumstances | null): void {
    const { preparation } = statement;
    slot.isThere = true;
    slot.isDoubtful = false;
    slot.statement = statement;
    slot.isSql = statement.isSql;
    slot.circumstances = circumstances;
    const parameters = statement.description?.parameters ?? null;
    slot.hasOwnTypes = parameters === null || statement.circumstances === circumstances;
    slot.description = preparation?.describedAt(circumstances, parameters) ?? null;
    statement.description ??= slot.description;
    if (slot.name === '') {
      slot.preparation = preparation;
      return;
    }
    this.#empty.delete(slot);
    this.#file(slot, preparation);
  }

  /** SQL PREPARE has been completed. */
  fillBySql(statement: PreparedStatement, sequence: number): void {
    const slot = this.#slots.get(statement.name) ?? this.add(statement.name);
    this.rank(slot, sequence);
    this.fill(slot, statement, statement.circumstances);
    this.bind(statement.name, slot);
  }

  /** The first answer to a Describe. */
  takeParameters(slot: Slot | null, buffer: Buffer, start: number, end: number): void {
    if (slot !== null && slot.description === null) this.parameters = Buffer.from(buffer.subarray(start + 5, end));
  }

  /** RowDescription or NoData, the second one. */
  takeColumns(slot: Slot | null, buffer: Buffer, start: number, end: number): void {
    if (slot === null || this.parameters === null) return;
    const description = readDescription(this.parameters, buffer, start, end);
    this.parameters = null;
    if (description !== null) this.describe(slot, description);
  }

  /** A Describe of it has been answered. */
  describe(slot: Slot, description: StatementDescription): void {
    slot.description = description;
    const { statement, preparation } = slot;
    if (statement !== null) statement.description ??= description;
    if (slot.hasOwnTypes) preparation?.learn(description, slot.circumstances);
  }

  /** It has been closed by the message of that rank; what was sent later may make it anew. */
  empty(slot: Slot, sequence: number): void {
    if (slot === this.passing) slot.isThere = false;
    if (slot !== this.unnamed && this.#slots.get(slot.name) !== slot) return;
    slot.isThere = false;
    slot.isSql = false;
    slot.statement = null;
    slot.description = null;
    this.stopClosing(slot);
    if (slot.name === '') {
      slot.preparation = null;
      slot.isDoubtful = false;
      return;
    }
    this.#file(slot, null);
    this.#empty.add(slot);
    if (!this.#isAfter(slot, sequence)) this.#remove(slot);
  }

  /** The same by the name that the server knows it by; null: all that have a name. */
  emptyNamed(name: string | null, sequence: number): void {
    if (name === null) {
      for (const slot of this.#slots.values()) this.empty(slot, sequence);
      return;
    }
    const slot = this.#slots.get(name);
    if (slot !== undefined) this.empty(slot, sequence);
    // The client has it no more, though its statement stood under another name, and the one dropped here was only lent the name.
    const bound = this.#byClientName.get(name);
    if (bound !== undefined && bound !== slot && !this.#isAfter(bound, sequence)) this.unbind(bound);
  }

  /** pgweir is about to close it. */
  beginClosing(slot: Slot): void {
    this.unbind(slot);
    if (slot.isClosing || slot.name === '') return;
    slot.isClosing = true;
    this.#closing++;
  }

  /** That Close was skipped. */
  stopClosing(slot: Slot): void {
    if (slot.isClosing) this.#closing--;
    slot.isClosing = false;
  }

  /** The unnamed statement is gone by pgweir's own doing: what the client has of it is not here. */
  loseUnnamed(): void {
    this.unbind(this.unnamed);
    this.empty(this.unnamed, 0);
  }

  /** Messages up to that rank have been answered, or skipped: what they were to make and is not there will not come. */
  sweep(answered: number): void {
    const { unnamed } = this;
    if (unnamed.isDoubtful && !this.#isAfter(unnamed, answered)) this.unbind(unnamed);
    for (const slot of this.#empty) if (!this.#isAfter(slot, answered)) this.#remove(slot);
  }

  /** The slot that was used longest ago, but for those of names that are needed now. */
  oldest(needed: Pick<ReadonlySet<string>, 'has'>): Slot | null {
    let oldest: Slot | null = null;
    for (const slot of this.#slots.values()) {
      if (!slot.isThere || slot.isClosing || slot.isSql || needed.has(slot.name)) continue;
      if (oldest === null || slot.usedAt < oldest.usedAt) oldest = slot;
    }
    return oldest;
  }

  /** The server has nothing by name any more. */
  clear(): void {
    this.#slots.clear();
    this.#byPreparation.clear();
    this.#byClientName = new Map();
    this.#empty.clear();
    this.#closing = 0;
    this.loseUnnamed();
    this.owner = null;
  }

  #isAfter(slot: Slot, sequence: number): boolean {
    return slot.tenancy === this.#tenancy && slot.lastSequence > sequence;
  }

  #remove(slot: Slot): void {
    this.#empty.delete(slot);
    this.stopClosing(slot);
    if (this.#slots.get(slot.name) === slot) this.#slots.delete(slot.name);
    this.unbind(slot);
  }

  /** Keeps the look-up by preparation. */
  #file(slot: Slot, preparation: Preparation | null): void {
    if (slot.preparation === preparation) return;
    if (slot.preparation !== null) {
      const others = this.with(slot.preparation).filter((other) => other !== slot);
      if (others.length === 0) this.#byPreparation.delete(slot.preparation);
      else this.#byPreparation.set(slot.preparation, others);
    }
    slot.preparation = preparation;
    if (preparation !== null) this.#byPreparation.set(preparation, [...this.with(preparation), slot]);
  }
}
