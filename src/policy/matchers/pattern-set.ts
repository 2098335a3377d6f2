// All regular expressions of a document as few RE2 sets: one pass over a text answers for all of them (measured: 25 to
// 100 patterns in 1 to 2 µs). RE2 is linear in the text for every pattern; there is no backtracking to exploit.

import { RE2JS, RE2JSException, RE2Set } from 're2js';
import { isNumberBlind } from './number-blind.ts';

/** A pattern of one document may not compile to more than this many instructions, all of them not to more than ten times. */
const MAX_PATTERN_INSTRUCTIONS = 10_000;
const MAX_SET_INSTRUCTIONS = 100_000;
const MAX_PATTERN_LENGTH = 10_000;
/** Bytes that the automaton of one set may use before it starts over; past that RE2 walks the pattern itself, still linear. */
const SET_MEMORY_BYTES = 8 * 1024 * 1024;
/** States after the probe texts from which on an automaton is called growing. The 25 word patterns of the bench make 41. */
const GROWING_STATES = 300;
const NONE: readonly number[] = Object.freeze([]);

/** The distinct patterns of one document, numbered in order of appearance. */
export class PatternTable {
  readonly #ids = new Map<string, number>();
  #instructions = 0;

  /** The pattern's id, or why it cannot be used. */
  add(pattern: string): number | string {
    const known = this.#ids.get(pattern);
    if (known !== undefined) return known;
    if (pattern.length > MAX_PATTERN_LENGTH) return `a pattern may have ${MAX_PATTERN_LENGTH} characters at most`;
    let size: number;
    try {
      size = RE2JS.compile(pattern).programSize();
    } catch (error) {
      if (error instanceof RE2JSException) return describeSyntax(error, pattern);
      throw error;
    }
    if (size > MAX_PATTERN_INSTRUCTIONS)
      return `the pattern is too large (${size} instructions, at most ${MAX_PATTERN_INSTRUCTIONS})`;
    this.#instructions += size;
    if (this.#instructions > MAX_SET_INSTRUCTIONS) return 'the patterns of this document are too large together';
    const id = this.#ids.size;
    this.#ids.set(pattern, id);
    return id;
  }

  get size(): number {
    return this.#ids.size;
  }

  /** None of the patterns tells one number from another of as many digits. */
  get isNumberBlind(): boolean {
    return [...this.#ids.keys()].every(isNumberBlind);
  }

  /** A set of these patterns only, or of all. Throws RE2JSException where RE2 refuses the set. */
  compileSet(ids: readonly number[] | null = null): PatternSet {
    const sources = [...this.#ids.keys()];
    const chosen = ids ?? sources.map((_, index) => index);
    return new PatternSet(
      chosen.map((id) => sources[id] ?? ''),
      chosen,
    );
  }
}

/** A compiled set; `match` answers ids of the table, in rising order. */
export class PatternSet {
  readonly #set: RE2Set;
  readonly #ids: readonly number[];
  #isGrowing: boolean | null = null;

  constructor(patterns: readonly string[], ids: readonly number[]) {
    this.#set = new RE2Set(RE2Set.UNANCHORED, 0, SET_MEMORY_BYTES);
    this.#ids = ids;
    for (const pattern of patterns) this.#set.add(pattern);
    this.#set.compile();
  }

  match(text: string): readonly number[] {
    if (this.#ids.length === 0) return NONE;
    const hits = this.#set.match(text);
    if (hits.length === 0) return NONE;
    for (let index = 0; index < hits.length; index += 1) hits[index] = this.#ids[hits[index] ?? 0] ?? 0;
    return hits;
  }

  /** Patterns such as `a.{200}b`, or many with `.*` inside, make more states than fit; each statement then pays for it. */
  isGrowing(): boolean {
    this.#isGrowing ??= makeProbeTexts().some((text) => {
      this.#set.match(text);
      return this.#set.dfa.stateCount > GROWING_STATES;
    });
    return this.#isGrowing;
  }
}

function describeSyntax(error: RE2JSException, pattern: string): string {
  const words = error.message.replace(/^error parsing regexp: /, '');
  const isPerl = /\(\?<?[=!]|\\[1-9]/.test(pattern);
  return isPerl ? `${words} (RE2 has no look-around and no back-references)` : `${words} (RE2 syntax)`;
}

/** Texts that look like SQL and do not repeat themselves, the same ones each time. */
function makeProbeTexts(): string[] {
  let seed = 12_345;
  const pick = (bound: number): number => {
    // Constants of the C standard's sample rand(): evenness is enough here.
    seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0;
    return (seed >>> 8) % bound;
  };
  return Array.from({ length: 8 }, (_, index) => {
    let text = `SELECT a.c${index}, b.x FROM t${index} a, u b WHERE a.id = ${pick(1e6)}`;
    while (text.length < 1_000) text += ` AND c${pick(997)} = '${pick(1e6).toString(36)} ${pick(1e6).toString(36)}'`;
    return text;
  });
}
