// One client's socket: reads it while the gate is open, frames what it says, hands each message to the conduct, and keeps
// what has to wait.

import type { Socket } from 'node:net';
import { describeError } from '../base/errors.ts';
import { type Inlet, keepBytes } from '../base/inlet.ts';
import { FRONTEND, FRONTEND_TABLE, LOGIN_TABLE } from '../wire/codes.ts';
import { Framer, type FrameSink } from '../wire/framer.ts';
import type { Connection } from './connection.ts';
import { GATE } from './gate.ts';
import { Outlet } from './outlet.ts';
import { endEarly } from './steps/end-input.ts';
import { takeLoginAnswer } from './steps/login.ts';

const NOTHING = Buffer.alloc(0);
const MAX_READ_AHEAD_BYTES = 65_536;
/** Messages that the server accepts while it takes COPY data. */
const COPY_COMPANIONS: ReadonlySet<number> = new Set([
  FRONTEND.copyData,
  FRONTEND.copyDone,
  FRONTEND.copyFail,
  FRONTEND.sync,
  FRONTEND.flush,
]);

export class ClientSide implements FrameSink {
  readonly socket: Socket;
  /** What goes to the client. */
  readonly outlet: Outlet;
  readonly #connection: Connection;
  readonly #framer: Framer;
  /** Bytes that came before the gate closed and have not been looked at. */
  #backlog: Buffer | null = null;
  #hasEnded = false;
  #isPumping = false;
  #isReading = true;
  #chunk: Buffer = NOTHING;
  #chunkEnd = 0;
  #chunkOffset = 0;
  #taken = 0;

  constructor(connection: Connection, socket: Socket, wholeLimitBytes: number) {
    this.socket = socket;
    this.outlet = new Outlet(socket, () => connection.resumeServer());
    this.#connection = connection;
    this.#framer = new Framer(LOGIN_TABLE, this, wholeLimitBytes);
  }

  /** The startup packet has been taken: from here on bytes are messages. `early`: what came behind it already. */
  start(early: Buffer, inlet: Inlet): void {
    if (early.length > 0) this.#backlog = early;
    inlet.receive = (buffer, length) => this.#take(buffer, length);
    this.socket.on('end', () => this.#end());
  }

  /** The login is over: every message is legal now. */
  acceptStatements(): void {
    this.#framer.useTable(FRONTEND_TABLE);
  }

  /** Part of a message has gone on to the server, and the rest of it has not come. */
  get isMidMessage(): boolean {
    return this.#framer.isMidMessage;
  }

  /** Type of a message that has begun to come, of which nothing has gone on yet: too little of it is there. Null where there is none. */
  get heldType(): number | null {
    return this.#framer.heldType;
  }

  /** Its socket is closed: it neither says nor hears anything any more. */
  get isGone(): boolean {
    // `writable` first: it is asked for often, and mostly settles it.
    return !this.socket.writable && this.socket.destroyed;
  }

  /** The chunk that is being looked at, up to `chunkEnd`, to see whether a unit of work is complete in it. */
  get chunk(): Buffer {
    return this.#chunk;
  }

  get chunkEnd(): number {
    return this.#chunkEnd;
  }

  /** Where the message that is being looked at begins in `chunk`; `chunkEnd` for one that was put together of several chunks. */
  get chunkOffset(): number {
    return this.#chunkOffset;
  }

  /** The gate is open, or the server takes bytes again: go on with what waits, then read. */
  proceed(): void {
    if (this.#isPumping || this.#connection.isClosing || this.isGone) return;
    if (this.#isOpen()) {
      const backlog = this.#backlog ?? NOTHING;
      this.#backlog = null;
      this.#pump(backlog, backlog.length);
    }
    this.#updateReading();
  }

  #take(buffer: Buffer, length: number): void {
    // Until its last words are out a closed connection's socket is still read.
    if (this.#connection.isClosing) return;
    this.#connection.countClientBytes(length);
    if (!this.#isOpen() || this.#backlog !== null) {
      this.#backlog =
        this.#backlog === null
          ? keepBytes(buffer, 0, length)
          : Buffer.concat([this.#backlog, buffer.subarray(0, length)]);
    } else {
      this.#pump(buffer, length);
    }
    this.#updateReading();
  }

  /** A mistake of pgweir's own ends this connection, not the process with all the others. */
  #pump(chunk: Buffer, end: number): void {
    try {
      this.#pumpChunk(chunk, end);
    } catch (error) {
      this.#connection.fail('internal', describeError(error));
    }
  }

  #pumpChunk(chunk: Buffer, end: number): void {
    this.#isPumping = true;
    this.#chunk = chunk;
    this.#chunkEnd = end;
    const taken = this.#framer.consume(chunk, 0, end);
    this.#chunk = NOTHING;
    this.#isPumping = false;
    this.#connection.endClientTurn();
    if (this.#framer.broken !== null) this.#connection.clientBroke(this.#framer.broken);
    else if (taken < end) this.#backlog = keepBytes(chunk, taken, end);
    if (this.#hasEnded && this.#backlog === null && this.#isOpen()) this.#connection.clientEnded();
  }

  /**
   * Bytes are looked at while the gate is open; while the Sync or Flush that must still pass may be among them; and while
   * they belong to the message that closed it.
   */
  #isOpen(): boolean {
    const { gate } = this.#connection;
    return gate.isOpen || gate.hasOnly(GATE.killingAfterSync) || this.#framer.isMidMessage;
  }

  /** The client is read while nothing waits and the server takes what comes. */
  #updateReading(): void {
    const isReading =
      (this.#isOpen() ? this.#backlog === null : this.#mayReadAhead()) && !this.#connection.isServerCongested;
    if (isReading === this.#isReading) return;
    this.#isReading = isReading;
    if (isReading) this.socket.resume();
    else this.socket.pause();
  }

  /**
   * A client that waits for a shared server is read on for a while: mostly nothing comes, and to stop and start reading costs more
   * than a whole transaction's reads and writes. One that waits for a limit is read on too: only a read shows that it has gone.
   */
  #mayReadAhead(): boolean {
    const { gate } = this.#connection;
    const isWaiting = gate.hasOnly(GATE.seat) || gate.hasOnly(GATE.limit);
    return isWaiting && (this.#backlog?.length ?? 0) < MAX_READ_AHEAD_BYTES;
  }

  #end(): void {
    this.#hasEnded = true;
    if (this.#isOpen() && this.#backlog === null) this.#connection.clientEnded();
    else endEarly(this.#connection, this.#backlog !== null);
  }

  rest(buffer: Buffer, start: number, end: number): void {
    this.#connection.conduct.rest?.append(buffer, start, end);
  }

  /** How many of its messages have been taken: one that waits is offered again under the same number. */
  get taken(): number {
    return this.#taken;
  }

  frame(type: number, buffer: Buffer, start: number, end: number, remaining: number): number {
    const next = this.#offer(type, buffer, start, end, remaining);
    if (next !== start) this.#taken++;
    return next;
  }

  #offer(type: number, buffer: Buffer, start: number, end: number, remaining: number): number {
    const isTaken = this.#anticipate(type, buffer, start, end, remaining);
    if (isTaken !== null) return isTaken ? end : start;
    if (type === FRONTEND.bind && buffer === this.#chunk) {
      const unitEnd = this.#connection.conduct.unit(buffer, start, end, this.#chunkEnd);
      if (unitEnd > 0) return unitEnd;
    }
    return this.#dispatch(type, buffer, start, end, remaining) ? end : start;
  }

  /** Deals with a message that what came before has settled, whatever it says: true, it was taken; false, not now. Null: look at it. */
  #anticipate(type: number, buffer: Buffer, start: number, end: number, remaining: number): boolean | null {
    const { gate, conduct, isClosing, isClientDone } = this.#connection;
    if (isClosing) return false;
    if (isClientDone) {
      conduct.rest = null;
      return true;
    }
    if (!gate.isOpen) {
      if (!gate.hasOnly(GATE.killingAfterSync)) return false;
      if (type !== FRONTEND.sync && type !== FRONTEND.flush) {
        conduct.flushBeforeGate();
        return false;
      }
    }
    this.#chunkOffset = buffer === this.#chunk ? start : this.#chunkEnd;
    if (!this.#connection.hasServer && this.#connection.router.isShared) {
      const isTaken = conduct.arrive(type, end - start);
      if (isTaken !== null) return isTaken;
    }
    // What the server skips is neither judged nor owed.
    if (this.#connection.session.owed.isSkipping && type !== FRONTEND.sync && type !== FRONTEND.terminate)
      return conduct.skip(buffer, start, end, remaining);
    if (this.#connection.copyIn.keptSyncs > 0 && !COPY_COMPANIONS.has(type)) conduct.sendKeptSyncs();
    return null;
  }

  #dispatch(type: number, buffer: Buffer, start: number, end: number, remaining: number): boolean {
    const { conduct } = this.#connection;
    switch (type) {
      case FRONTEND.query:
        return conduct.query(buffer, start, end, remaining);
      case FRONTEND.parse:
        return conduct.parse(buffer, start, end, remaining);
      case FRONTEND.bind:
        return conduct.bind(buffer, start, end, remaining);
      case FRONTEND.describe:
        return conduct.describe(buffer, start, end);
      case FRONTEND.execute:
        return conduct.execute(buffer, start, end);
      case FRONTEND.close:
        return conduct.close(buffer, start, end);
      case FRONTEND.sync:
        return conduct.sync(buffer, start, end);
      case FRONTEND.flush:
        return conduct.flush(buffer, start, end);
      case FRONTEND.functionCall:
        return conduct.functionCall(buffer, start, end, remaining);
      case FRONTEND.copyDone:
      case FRONTEND.copyFail:
        return conduct.copyEnd(buffer, start, end);
      case FRONTEND.terminate:
        this.#connection.clientQuit();
        return true;
      case FRONTEND.authentication:
        return takeLoginAnswer(this.#connection, buffer, start, end, remaining);
      default:
        return conduct.copyData(buffer, start, end, remaining);
    }
  }
}
