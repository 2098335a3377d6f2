// Small writes, put off to the end of the event loop's turn where a turn has many of them. A write wakes the process at the
// other end of the socket, and on a busy machine that process often runs at once, in the place of this one. All in one go, first
// those to clients, then those to servers, they cost pgweir and everybody else less; where there are few, putting them off
// costs more than it saves (test/bench). What goes to one socket stays in order. Whoever writes to a socket past its
// SocketWriter, or ends it, calls `settleWrites` first.

import { performance } from 'node:perf_hooks';

/** Sockets that have something to say in one turn of the event loop, on average, from which it is worth while. */
const CROWD = 6;
/** The average is taken anew after so many writes. */
const WRITES_PER_CENSUS = 256;
const ARENA_BYTES = 65_536;
const MAX_WRITES = 1_024;
/** A longer one is not worth a copy. */
const MAX_WRITE_BYTES = 4_096;

export interface GatheringWriter {
  /** Writes `arena[start, end)`; the bytes are only valid during the call. */
  writeGathered(arena: Buffer, start: number, end: number): void;
}

/** What goes to one kind of peers. */
class Gathering {
  #arena: Buffer | null = null;
  readonly #writers = new Array<GatheringWriter | null>(MAX_WRITES).fill(null);
  /** Where in the arena each write ends; it begins where the one before it does. */
  readonly #ends = new Int32Array(MAX_WRITES);
  #count = 0;

  add(writer: GatheringWriter, buffer: Buffer, start: number, end: number): void {
    const from = this.#count === 0 ? 0 : (this.#ends[this.#count - 1] as number);
    this.#arena ??= Buffer.allocUnsafeSlow(ARENA_BYTES);
    buffer.copy(this.#arena, from, start, end);
    this.#writers[this.#count] = writer;
    this.#ends[this.#count] = from + end - start;
    this.#count++;
  }

  hasRoomFor(bytes: number): boolean {
    if (this.#count === 0) return true;
    return this.#count < MAX_WRITES && (this.#ends[this.#count - 1] as number) + bytes <= ARENA_BYTES;
  }

  settle(): void {
    const arena = this.#arena;
    if (arena === null) return;
    let start = 0;
    for (let index = 0; index < this.#count; index++) {
      const end = this.#ends[index] as number;
      this.#writers[index]?.writeGathered(arena, start, end);
      this.#writers[index] = null;
      start = end;
    }
    this.#count = 0;
  }
}

const toClients = new Gathering();
const toServers = new Gathering();
let isCrowded = false;
let isDue = false;
let uncounted = 0;
let census = performance.nodeTiming.uvMetricsInfo;

/** Takes `buffer[start, end)`, to be written at the end of this turn. False where it had better be written at once. */
export function gatherWrite(
  writer: GatheringWriter,
  isToServer: boolean,
  buffer: Buffer,
  start: number,
  end: number,
): boolean {
  uncounted++;
  if (uncounted === WRITES_PER_CENSUS) takeCensus();
  const bytes = end - start;
  if (!isCrowded || bytes > MAX_WRITE_BYTES) return false;
  const gathering = isToServer ? toServers : toClients;
  if (!gathering.hasRoomFor(bytes)) settleWrites();
  gathering.add(writer, buffer, start, end);
  if (!isDue) {
    isDue = true;
    setImmediate(endTurn);
  }
  return true;
}

/** Writes what has been gathered. */
export function settleWrites(): void {
  toClients.settle();
  toServers.settle();
}

function endTurn(): void {
  isDue = false;
  settleWrites();
}

function takeCensus(): void {
  uncounted = 0;
  const now = performance.nodeTiming.uvMetricsInfo;
  const turns = now.loopCount - census.loopCount;
  if (turns === 0) return;
  isCrowded = now.events - census.events >= CROWD * turns;
  census = now;
}
