// The one queue of replies that the server owes: an entry for each message sent that the server will answer, in order.
// It tells what an incoming message answers, whether it goes on to the client, and what must happen when it is there.
//
// How a server answers (PostgreSQL documentation, "Message Flow"): Parse, Bind, Close and Describe with one closing message
// each; Execute with CommandComplete, EmptyQueryResponse or PortalSuspended; Query and FunctionCall with anything, ended by
// ReadyForQuery; Sync with ReadyForQuery. After an error in an extended message everything up to the next Sync is skipped
// unanswered, Query and FunctionCall too. CopyDone and CopyFail are answered by nothing of their own: their entries
// only mark where in the stream the copy ended.

import type { Slot } from './server-names.ts';
import type { Portal, PreparedStatement } from './statements.ts';

export const OWED = {
  parse: 0,
  bind: 1,
  describe: 2,
  execute: 3,
  close: 4,
  /** A Flush that the server will refuse for its body; any other is answered by nothing of its own. */
  flush: 5,
  /** Bind, Describe (or not), Execute and Sync of the portal without a name, all in one (wire/usual-unit.ts). */
  unit: 6,
  sync: 7,
  query: 8,
  functionCall: 9,
  copyEnd: 10,
} as const;
export type OwedKind = (typeof OWED)[keyof typeof OWED];

/** An error that the server would have given, had it known what pgweir knows. */
export interface ErrorSubstitute {
  /** Null: any. */
  readonly sqlstates: ReadonlySet<string> | null;
  /** A whole ErrorResponse. */
  readonly error: Buffer;
}

/** Entries are kept for later up to so many: enough for what a thousand clients have under way at once. */
const MAX_SPARES = 8_192;

/** One owed reply. `Run` is what the relay keeps of a statement that runs. An entry that is answered is reused by any session: keep none. */
export class OwedReply<Run> {
  kind: OwedKind = OWED.sync;
  /** Rank of its message in the stream of the session. */
  sequence = 0;
  /** The message was pgweir's own: its answer does not go to the client. */
  isSwallowed = false;
  /** The statement that a Parse, or the statements that a Query or Execute of SQL PREPARE, will have made. */
  declared: PreparedStatement | readonly PreparedStatement[] | null = null;
  /** The portal that it will have made; the last of those that the DECLAREs of a Query make. */
  portal: Portal | null = null;
  /** Of a message about a prepared statement: what the server calls it; null where nothing depends on that. */
  slot: Slot | null = null;
  /** The client's name in such a message, where the server was sent another one. */
  clientName: string | null = null;
  /** Which errors of the server's the client hears in other words; null where none. */
  substitute: ErrorSubstitute | null = null;
  /** Name that a Close will end. */
  closedName = '';
  isPortal = false;
  /** Of a Sync or Flush: COPY data was sent before it, ahead of the server's word that it wants any. */
  isAmongData = false;
  /** Of a COPY: such a Sync stands among its data. Whether the server answers it depends on whether the COPY has failed by then. */
  hasUncertainSyncs = false;
  run: Run | null = null;
  /** The reply that is due after it. The queue's to change. */
  next: OwedReply<Run> | null = null;

  clear(): void {
    this.next = null;
    this.declared = null;
    this.portal = null;
    this.slot = null;
    this.clientName = null;
    this.substitute = null;
    this.run = null;
    this.isSwallowed = false;
    this.hasUncertainSyncs = false;
  }
}

/**
 * Entries that are in no queue. All sessions take from here, and get first what was given back last: the processor still has
 * that at hand, where an entry of each session's own would have gone from it.
 */
export class SpareReplies<Run> {
  #first: OwedReply<Run> | null = null;
  #count = 0;

  take(): OwedReply<Run> {
    const reply = this.#first;
    if (reply === null) return new OwedReply<Run>();
    this.#first = reply.next;
    this.#count--;
    reply.next = null;
    return reply;
  }

  giveBack(reply: OwedReply<Run>): void {
    reply.clear();
    if (this.#count >= MAX_SPARES) return;
    reply.next = this.#first;
    this.#first = reply;
    this.#count++;
  }
}

export class OwedQueue<Run> {
  readonly #spares: SpareReplies<Run>;
  #head: OwedReply<Run> | null = null;
  #last: OwedReply<Run> | null = null;
  #count = 0;
  /** ReadyForQuery messages still to come. */
  #readies = 0;
  #sequence = 0;
  #syncedUpTo = 0;
  /**
   * An extended message has failed, or must fail and is still owed, and no Sync was behind it: the server skips, unanswered,
   * whatever is sent before the next.
   */
  isSkipping = false;
  /** An extended message was sent that no Sync has followed: should it fail, the server skips all before that, Queries too. */
  isUnsynced = false;
  /** Since its last ReadyForQuery the server has done, or failed at, something that a Sync ends: anything but Close and Flush. */
  hasBegun = false;
  #hasDataAhead = false;

  constructor(spares: SpareReplies<Run> = new SpareReplies()) {
    this.#spares = spares;
  }

  get count(): number {
    return this.#count;
  }

  /** How many ReadyForQuery the server still owes. */
  get owedReadies(): number {
    return this.#readies;
  }

  /** Something is owed that runs statements or ends a transaction: anything but Parse, Bind, Describe, Close and Flush. */
  get hasWork(): boolean {
    for (let reply = this.#head; reply !== null; reply = reply.next) {
      const { kind } = reply;
      if (kind === OWED.execute || kind > OWED.flush) return true;
    }
    return false;
  }

  /** Is there a run among what is owed that `isWanted`? */
  some(isWanted: (run: Run) => boolean): boolean {
    for (let reply = this.#head; reply !== null; reply = reply.next)
      if (reply.run !== null && isWanted(reply.run)) return true;
    return false;
  }

  /** A message of the client's stands behind the head, and would be skipped with it. */
  get isClientBehind(): boolean {
    for (let reply = this.#head?.next ?? null; reply !== null; reply = reply.next) {
      if (reply.kind === OWED.sync) return false;
      if (!reply.isSwallowed) return true;
    }
    return false;
  }

  /** Rank of the message that was entered last. */
  get sequence(): number {
    return this.#sequence;
  }

  /** Rank of the last message that ReadyForQuery answers: behind it the server goes on, whatever has failed before. */
  get syncedUpTo(): number {
    return this.#syncedUpTo;
  }

  /** The reply that is due next. */
  get head(): OwedReply<Run> | null {
    return this.#head;
  }

  /** Enters a message of that kind; the caller fills in what else is known of it. */
  push(kind: OwedKind): OwedReply<Run> {
    const reply = this.#spares.take();
    if (this.#last === null) this.#head = reply;
    else this.#last.next = reply;
    this.#last = reply;
    this.#count++;
    this.#sequence++;
    reply.kind = kind;
    reply.sequence = this.#sequence;
    if (endsWithReady(kind)) {
      this.#readies++;
      this.#syncedUpTo = this.#sequence;
    }
    reply.isAmongData = isPassedOver(kind) && this.#hasDataAhead;
    if (kind <= OWED.sync) this.isUnsynced = kind < OWED.unit;
    if (kind === OWED.sync) this.isSkipping = false;
    if (!isPassedOver(kind)) this.#hasDataAhead = false;
    return reply;
  }

  /** COPY data is sent before the server has said that it wants any. */
  noteDataAhead(): void {
    this.#hasDataAhead = true;
  }

  /** The head has been answered in full. Marks of ended copies that stand behind it go with it. */
  shift(): void {
    let head = this.#head;
    if (head === null) return;
    do head = this.#drop(head);
    while (head?.kind === OWED.copyEnd);
    this.#head = head;
    if (head === null) this.#last = null;
  }

  /** The connection closes: drops all entries. `leave` is called with each run among them. */
  clear(leave: (run: Run) => void): void {
    for (let head = this.#head; head !== null; head = this.#head) {
      if (head.run !== null) leave(head.run);
      this.shift();
    }
  }

  /**
   * The head has begun to take COPY data: the server ignores every Sync and Flush between it and the end of the copy, so those are not
   * owed. (At any other message before that end the server closes the connection.) True when the end of the copy has been sent
   * already; its mark is used up, for a second COPY of the same Query has an end of its own.
   */
  beginCopyIn(): boolean {
    const head = this.#head;
    if (head === null) return false;
    let behind = head.next;
    let hasSync = false;
    while (behind !== null && isPassedOver(behind.kind)) {
      head.hasUncertainSyncs ||= behind.isAmongData;
      hasSync ||= behind.kind === OWED.sync;
      behind = this.#drop(behind);
    }
    const hasEnded = behind?.kind === OWED.copyEnd;
    if (hasEnded && behind !== null) behind = this.#drop(behind);
    head.next = behind;
    if (behind === null) this.#last = head;
    if (hasSync && head.kind === OWED.execute) this.isUnsynced ||= !hasUnit(behind);
    return hasEnded;
  }

  /** Returns what stood behind it. */
  #drop(reply: OwedReply<Run>): OwedReply<Run> | null {
    const { next } = reply;
    if (endsWithReady(reply.kind)) this.#readies--;
    if (reply.kind < OWED.close) this.hasBegun = true;
    this.#count--;
    this.#spares.giveBack(reply);
    return next;
  }
}

/** An extended message or a Sync is among these: the last of them tells whether a unit of work is open. */
function hasUnit<Run>(replies: OwedReply<Run> | null): boolean {
  for (let reply = replies; reply !== null; reply = reply.next) if (reply.kind <= OWED.sync) return true;
  return false;
}

/** A server that takes COPY data ignores such a message. */
function isPassedOver(kind: OwedKind): boolean {
  return kind === OWED.sync || kind === OWED.flush;
}

/** The last answer to such a message is ReadyForQuery. */
export function endsWithReady(kind: OwedKind): boolean {
  return kind === OWED.sync || kind === OWED.query || kind === OWED.functionCall || kind === OWED.unit;
}
