// One client's socket: reads it while the gate is open, frames what it says, hands each message to the conduct, and keeps
// what has to wait.

import type { Socket } from 'node:net';
import { FRONTEND, FRONTEND_TABLE, LOGIN_TABLE } from '../wire/codes.ts';
import { Framer, type FrameSink } from '../wire/framer.ts';
import type { Connection } from './connection.ts';
import { GATE } from './gate.ts';
import { Outlet } from './outlet.ts';

const NOTHING = Buffer.alloc(0);

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
  #chunkOffset = 0;

  constructor(connection: Connection, socket: Socket, wholeLimitBytes: number) {
    this.socket = socket;
    this.outlet = new Outlet(socket);
    this.#connection = connection;
    this.#framer = new Framer(LOGIN_TABLE, this, wholeLimitBytes);
    socket.on('drain', () => connection.resumeServer());
  }

  /** The startup packet has been taken: from here on bytes are messages. */
  start(early: Buffer): void {
    if (early.length > 0) this.#backlog = early;
    this.socket.on('data', (chunk: Buffer) => this.#take(chunk));
    this.socket.on('end', () => this.#end());
  }

  /** The login is over: every message is legal now. */
  acceptStatements(): void {
    this.#framer.useTable(FRONTEND_TABLE);
  }

  /** Its socket is closed: it neither says nor hears anything any more. */
  get isGone(): boolean {
    return this.socket.destroyed;
  }

  /** All of the chunk that is being looked at, to see whether a unit of work is complete in it; empty for a split message. */
  get chunk(): Buffer {
    return this.#chunk;
  }

  /** Where the message that is being looked at begins in `chunk`. */
  get chunkOffset(): number {
    return this.#chunkOffset;
  }

  /** The gate is open, or the server takes bytes again: go on with what waits, then read. */
  proceed(): void {
    if (this.#isPumping || this.#connection.isClosing || this.isGone) return;
    if (this.#connection.gate === 0) {
      const backlog = this.#backlog ?? NOTHING;
      this.#backlog = null;
      this.#pump(backlog);
    }
    this.#updateReading();
  }

  #take(chunk: Buffer): void {
    this.#connection.countClientBytes(chunk.length);
    if (this.#connection.gate !== 0 || this.#backlog !== null) {
      this.#backlog = this.#backlog === null ? chunk : Buffer.concat([this.#backlog, chunk]);
    } else {
      this.#pump(chunk);
    }
    this.#updateReading();
  }

  #pump(chunk: Buffer): void {
    this.#isPumping = true;
    this.#chunk = chunk;
    const taken = this.#framer.consume(chunk, 0, chunk.length);
    this.#chunk = NOTHING;
    this.#isPumping = false;
    if (this.#framer.broken !== null) this.#connection.clientBroke(this.#framer.broken);
    else if (taken < chunk.length) this.#backlog = chunk.subarray(taken);
    this.#connection.endClientTurn();
    if (this.#hasEnded && this.#backlog === null && this.#connection.gate === 0) this.#connection.clientEnded();
  }

  /** The client is read while nothing waits and the server takes what comes. */
  #updateReading(): void {
    const isReading = this.#connection.gate === 0 && this.#backlog === null && !this.#connection.isServerCongested;
    if (isReading === this.#isReading) return;
    this.#isReading = isReading;
    if (isReading) this.socket.resume();
    else this.socket.pause();
  }

  #end(): void {
    this.#hasEnded = true;
    if (this.#connection.gate === 0 && this.#backlog === null) this.#connection.clientEnded();
    else this.#connection.clientEndedEarly();
  }

  rest(buffer: Buffer, start: number, end: number): void {
    this.#connection.conduct.rest?.append(buffer, start, end);
  }

  frame(type: number, buffer: Buffer, start: number, end: number, remaining: number): boolean {
    const { gate, conduct } = this.#connection;
    if (gate !== 0) {
      if (gate !== GATE.killingAfterSync) return false;
      if (type !== FRONTEND.sync && type !== FRONTEND.flush) {
        conduct.flushBeforeGate();
        return false;
      }
    }
    this.#chunkOffset = buffer === this.#chunk ? start : this.#chunk.length;
    // What the server skips is neither judged nor owed.
    if (this.#connection.session.owed.isSkipping && type !== FRONTEND.sync && type !== FRONTEND.terminate)
      return conduct.skip(buffer, start, end, remaining);
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
        return this.#connection.relayLogin(buffer, start, end, remaining);
      default:
        return conduct.copyData(buffer, start, end, remaining);
    }
  }
}
