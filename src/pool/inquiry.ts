// A question of pgweir's own to a server connection at rest, as one simple Query, before anybody else may use it again.

import type { Socket } from 'node:net';
import { WeirError } from '../base/errors.ts';
import { settleWrites } from '../base/gathered-writes.ts';
import { type Inlet, keepBytes } from '../base/inlet.ts';
import { readErrorField, readParameterStatus } from '../wire/backend.ts';
import { BACKEND, BACKEND_TABLE, type MessageTable, TRANSACTION } from '../wire/codes.ts';
import { describeBroken, Framer, type FrameSink } from '../wire/framer.ts';
import { makeQuery } from '../wire/writer.ts';

export interface Inquiry {
  /** Of all statements of the Query, one after the other. */
  readonly rows: readonly (readonly (string | null)[])[];
  /** Of the first ErrorResponse; null where there was none. */
  readonly sqlstate: string | null;
  readonly message: string | null;
  /** ParameterStatus messages in the order they came. */
  readonly parameters: readonly { readonly name: string; readonly value: string }[];
  /** Notices and notifications as they came, whole messages: they are the client's that holds the connection. */
  readonly asides: Buffer;
}

/** What is asked; a lease and a pool's member both fit. */
export interface InquiryLine {
  readonly socket: Socket;
  readonly inlet: Inlet;
}

/** Far above the catalogs of any database; a server that never stops talking must not fill the memory. */
const MAX_ANSWER_BYTES = 64 * 1024 * 1024;
const NO_BYTES = Buffer.alloc(0);
const ROLLBACK = makeQuery('ROLLBACK');

/** Every message is put together before it is looked at. */
const WHOLE_TABLE: MessageTable = BACKEND_TABLE.map((rule) =>
  rule === undefined ? undefined : Object.freeze({ ...rule, reading: 'whole' as const }),
);

/**
 * Sends `sql` (ASCII: the connection may have any client_encoding) and resolves with all that comes up to ReadyForQuery. An
 * error of the server is an answer; an open or failed transaction block that it leaves behind is rolled back first. The
 * socket is left reading or paused as it was, and `inlet.receive` as it was.
 *
 * Rejects with WeirError target_gone (closed, FATAL, no answer in time) or target_protocol_violation: then the connection
 * is of no more use, and the caller ends it.
 *
 * @param status the connection's transaction status, which the answer must end with; nothing is rolled back unless it is idle
 */
export function inquire(
  line: InquiryLine,
  sql: string,
  timeoutMs: number,
  status: number = TRANSACTION.idle,
): Promise<Inquiry> {
  const { socket, inlet } = line;
  return new Promise((resolve, reject) => {
    const receiveBefore = inlet.receive;
    const wasPaused = socket.isPaused();
    const finish = (act: () => void): void => {
      clearTimeout(timer);
      socket.off('close', onClose);
      inlet.receive = receiveBefore;
      if (wasPaused) socket.pause();
      act();
    };
    const fail = (error: WeirError): void => finish(() => reject(error));
    const onClose = (): void => fail(new WeirError('target_gone'));
    const timer = setTimeout(() => fail(new WeirError('target_gone', `no answer within ${timeoutMs} ms`)), timeoutMs);
    if (socket.destroyed) {
      onClose();
      return;
    }
    const answer = new Answer(status, () => socket.write(ROLLBACK));
    inlet.receive = (buffer, length) => {
      const taken = answer.take(buffer, length);
      if (answer.failure !== null) {
        fail(answer.failure);
      } else if (answer.isComplete) {
        finish(() => resolve(answer.inquiry()));
        // What a server at rest says by itself may stand behind it: a copy, for the buffer is lent.
        if (taken < length) receiveBefore(Buffer.from(buffer.subarray(taken, length)), length - taken);
      }
    };
    socket.on('close', onClose);
    settleWrites();
    socket.write(makeQuery(sql));
    socket.resume();
  });
}

class Answer implements FrameSink {
  failure: WeirError | null = null;
  isComplete = false;
  readonly #framer = new Framer(WHOLE_TABLE, this, MAX_ANSWER_BYTES);
  readonly #status: number;
  readonly #rollBack: () => void;
  readonly #rows: (string | null)[][] = [];
  readonly #parameters: { name: string; value: string }[] = [];
  readonly #asides: Buffer[] = [];
  #sqlstate: string | null = null;
  #message: string | null = null;
  #hasRolledBack = false;
  #takenBytes = 0;

  constructor(status: number, rollBack: () => void) {
    this.#status = status;
    this.#rollBack = rollBack;
  }

  inquiry(): Inquiry {
    return {
      rows: this.#rows,
      sqlstate: this.#sqlstate,
      message: this.#message,
      parameters: this.#parameters,
      asides: this.#asides.length === 0 ? NO_BYTES : Buffer.concat(this.#asides),
    };
  }

  /** Returns the offset of the first byte that is not part of the answer. */
  take(buffer: Buffer, length: number): number {
    this.#takenBytes += length;
    if (this.#takenBytes > MAX_ANSWER_BYTES) this.#break('it says too much');
    const taken = this.#framer.consume(buffer, 0, length);
    const { broken } = this.#framer;
    if (broken !== null) this.#break(describeBroken(broken));
    return taken;
  }

  frame(type: number, buffer: Buffer, start: number, end: number): number {
    if (this.isComplete || this.failure !== null) return start;
    switch (type) {
      case BACKEND.dataRow:
        this.#rows.push(readRow(buffer, start, end));
        break;
      case BACKEND.error:
        this.#noteError(buffer, start, end);
        break;
      case BACKEND.parameterStatus: {
        const parameter = readParameterStatus(buffer, start, end);
        if (parameter !== null) this.#parameters.push(parameter);
        break;
      }
      case BACKEND.notice:
      case BACKEND.notification:
        this.#asides.push(keepBytes(buffer, start, end));
        break;
      case BACKEND.readyForQuery:
        this.#noteReady(buffer[start + 5] ?? 0);
        break;
      case BACKEND.copyInResponse:
      case BACKEND.copyBothResponse:
        this.#break('it waits for data');
        break;
      default:
    }
    return end;
  }

  rest(): void {
    this.#break('a message is too long');
  }

  #noteError(buffer: Buffer, start: number, end: number): void {
    const sqlstate = readErrorField(buffer, start, end, 'C');
    const message = readErrorField(buffer, start, end, 'M');
    const severity = readErrorField(buffer, start, end, 'V');
    if (severity === 'FATAL' || severity === 'PANIC') {
      this.failure ??= new WeirError('target_gone', `${sqlstate} ${message}`);
    }
    this.#sqlstate ??= sqlstate ?? 'XX000';
    this.#message ??= message;
  }

  #noteReady(status: number): void {
    if (status === this.#status) {
      this.isComplete = true;
    } else if (this.#hasRolledBack || this.#status !== TRANSACTION.idle) {
      this.#break('a transaction does not end');
    } else {
      this.#hasRolledBack = true;
      this.#rollBack();
    }
  }

  #break(detail: string): void {
    this.failure ??= new WeirError('target_protocol_violation', detail);
  }
}

/** The columns of a DataRow in text format. */
function readRow(buffer: Buffer, start: number, end: number): (string | null)[] {
  const row: (string | null)[] = [];
  const columns = buffer.readInt16BE(start + 5);
  let at = start + 7;
  for (let column = 0; column < columns && at + 4 <= end; column++) {
    const length = buffer.readInt32BE(at);
    at += 4;
    row.push(length < 0 ? null : buffer.toString('utf8', at, at + length));
    if (length > 0) at += length;
  }
  return row;
}
