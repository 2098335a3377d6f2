// Texts by their bytes, as they came last: what is known is found before anything is made of it, and costs a comparison.
//
// Mostly a client sends the same texts again, or the same but for the numbers in them: `… WHERE id = 4711`, `… WHERE id =
// 4712`. Such twins are one statement with another value, so the facts of the one stand for the other. A number is a run
// of digits that touches no letter and no underscore. One of up to nine digits is an integer to PostgreSQL, whatever the
// digits are (or with a point a number, as it was before). Texts with parameters or quoted names have no twins.

import type { TextFacts } from './facts.ts';

/** A power of two. */
const SLOTS = 2_048;
const MAX_KEPT_BYTES = 512;
const MAX_NUMBER_DIGITS = 9;
/** Where texts of one length mostly differ: in the words behind SELECT, UPDATE, INSERT. */
const SAMPLED = [7, 9, 12, 16] as const;
/** So many texts in vain until one that has been of use gives way. */
const MAX_CREDIT = 8;
/** A dollar sign, a quoted name, or the name of a setting: there a run of digits can be more than a number. */
const NUMBERED_NAME = /[$"]|[A-Za-z_]\.\d/;

const DIGIT = 1;
const WORD = 2;
const KINDS = new Uint8Array(256);
for (const character of '0123456789') KINDS[character.charCodeAt(0)] = DIGIT | WORD;
for (const character of 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_') KINDS[character.charCodeAt(0)] = WORD;

/** How two texts are related. */
export const KIN = { none: 0, twins: 1, same: 2 } as const;
export type Kin = (typeof KIN)[keyof typeof KIN];

interface RecentText {
  readonly bytes: Buffer;
  readonly facts: TextFacts;
  readonly mayHaveTwins: boolean;
  credit: number;
}

export class RecentTexts {
  /** How the text that was found last is related to what was asked for. */
  kin: Kin = KIN.none;
  readonly #texts = new Array<RecentText | undefined>(SLOTS).fill(undefined);
  readonly #scratch = Buffer.alloc(MAX_KEPT_BYTES);

  /**
   * The facts of the text at `buffer[start, end)`, frozen; null where none is known.
   *
   * @param mayBeTwin those of a twin will do
   */
  find(buffer: Buffer, start: number, end: number, mayBeTwin: boolean): TextFacts | null {
    const recent = this.#texts[slotOf(buffer, start, end)];
    if (recent === undefined) return null;
    const kin = compare(recent.bytes, buffer, start, end);
    if (kin === KIN.none || (kin === KIN.twins && !(mayBeTwin && recent.mayHaveTwins))) return null;
    this.kin = kin;
    if (recent.credit === 0) Object.freeze(recent.facts);
    if (recent.credit < MAX_CREDIT) recent.credit++;
    return recent.facts;
  }

  /** A text has been read: ASCII without backslashes. `isQuery`: a plain query without comments, in which numbers are values. */
  keep(text: string, facts: TextFacts, isQuery: boolean): void {
    const { length } = text;
    if (length > MAX_KEPT_BYTES) return;
    const scratch = this.#scratch;
    scratch.write(text, 'latin1');
    const slot = slotOf(scratch, 0, length);
    const there = this.#texts[slot];
    if (there !== undefined && there.credit > 0) {
      there.credit--;
      return;
    }
    const bytes = Buffer.from(scratch.subarray(0, length));
    this.#texts[slot] = { bytes, facts, mayHaveTwins: isQuery && !NUMBERED_NAME.test(text), credit: 0 };
  }
}

/** Digits count alike: twins share a slot. */
function slotOf(buffer: Buffer, start: number, end: number): number {
  let slot = end - start;
  for (const at of SAMPLED) {
    const byte = start + at < end ? (buffer[start + at] as number) : 0;
    slot = slot * 31 + (isDigit(byte) ? 0 : byte);
  }
  return slot & (SLOTS - 1);
}

function compare(one: Buffer, buffer: Buffer, start: number, end: number): Kin {
  const { length } = one;
  if (length !== end - start) return KIN.none;
  let kin: Kin = KIN.same;
  for (let at = 0; at < length; at++) {
    if (one[at] === buffer[start + at]) continue;
    kin = KIN.twins;
    let first = at;
    while (first > 0 && isDigit(one[first - 1] as number)) first--;
    while (at < length && isDigit(one[at] as number) && isDigit(buffer[start + at] as number)) at++;
    const isNumber = at > first && at - first <= MAX_NUMBER_DIGITS && !isWordAt(one, first - 1) && !isWordAt(one, at);
    if (!isNumber || (at < length && one[at] !== buffer[start + at])) return KIN.none;
  }
  return kin;
}

function isWordAt(bytes: Buffer, at: number): boolean {
  return at >= 0 && at < bytes.length && ((KINDS[bytes[at] as number] as number) & WORD) !== 0;
}

function isDigit(byte: number): boolean {
  return ((KINDS[byte] as number) & DIGIT) !== 0;
}
