// Statements that a client sends again with another number in the same place: `… WHERE id = 4711`, `… WHERE id = 4712`. They
// are one statement but for those digits, so the facts of the first stand for the others, without a look at their words.
//
// A number is a run of digits that touches no letter and no underscore. One of up to nine digits is an integer to PostgreSQL,
// whatever the digits are (or with a point a number, as it was before). Texts with parameters or quoted names have no twins.

import type { TextFacts } from './facts.ts';

/** A power of two. */
const SLOTS = 1_024;
const MAX_TWIN_BYTES = 512;
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

interface Twin {
  readonly bytes: Buffer;
  readonly facts: TextFacts;
  credit: number;
}

export class TwinCache {
  readonly #twins = new Array<Twin | undefined>(SLOTS).fill(undefined);

  /** The facts of a text that differs from `buffer[start, end)` in numbers at the most; frozen. Null where none is known. */
  find(buffer: Buffer, start: number, end: number): TextFacts | null {
    const twin = this.#twins[slotOf(buffer, start, end)];
    if (twin === undefined || !areTwins(twin.bytes, buffer, start, end)) return null;
    if (twin.credit === 0) Object.freeze(twin.facts);
    if (twin.credit < MAX_CREDIT) twin.credit++;
    return twin.facts;
  }

  /** `text` has been read: ASCII without backslashes or comments. */
  keep(text: string, facts: TextFacts): void {
    if (text.length > MAX_TWIN_BYTES || NUMBERED_NAME.test(text)) return;
    const bytes = Buffer.from(text, 'latin1');
    const slot = slotOf(bytes, 0, bytes.length);
    const there = this.#twins[slot];
    if (there !== undefined && there.credit > 0) there.credit--;
    else this.#twins[slot] = { bytes, facts, credit: 0 };
  }
}

/** The same for all twins: digits count alike. */
function slotOf(buffer: Buffer, start: number, end: number): number {
  let slot = end - start;
  for (const at of SAMPLED) {
    const byte = start + at < end ? (buffer[start + at] as number) : 0;
    slot = slot * 31 + (isDigit(byte) ? 0 : byte);
  }
  return slot & (SLOTS - 1);
}

/** They differ in the digits of numbers at the most. */
function areTwins(one: Buffer, buffer: Buffer, start: number, end: number): boolean {
  const { length } = one;
  if (length !== end - start) return false;
  for (let at = 0; at < length; at++) {
    if (one[at] === buffer[start + at]) continue;
    let first = at;
    while (first > 0 && isDigit(one[first - 1] as number)) first--;
    while (at < length && isDigit(one[at] as number) && isDigit(buffer[start + at] as number)) at++;
    const isNumber = at > first && at - first <= MAX_NUMBER_DIGITS && !isWordAt(one, first - 1) && !isWordAt(one, at);
    if (!isNumber || (at < length && one[at] !== buffer[start + at])) return false;
  }
  return true;
}

function isWordAt(bytes: Buffer, at: number): boolean {
  return at >= 0 && at < bytes.length && ((KINDS[bytes[at] as number] as number) & WORD) !== 0;
}

function isDigit(byte: number): boolean {
  return ((KINDS[byte] as number) & DIGIT) !== 0;
}
