// What a Parse message says besides the name: the text of a statement and the types of its parameters. Equal ones are one
// object for all clients, as long as any of them needs it: whether a server connection has what a client means is one
// comparison then.

import type { TextFacts } from '../sql/facts.ts';
import type { StatementDescription } from '../wire/backend.ts';

/** What a text can mean besides what it says. Equal circumstances are one object. */
export interface Circumstances {
  /** Equal where all settings are equal by which the server reads literals. */
  readonly reading: string;
  /** No definition is known to have changed while it lasts. */
  readonly isMoment: boolean;
}

export class Preparation {
  /** The text, its NUL and the types, as they stand in the message. */
  readonly body: Buffer;
  /** Where in `body` the types begin. */
  readonly typesAt: number;
  /** client_encoding and standard_conforming_strings that it was judged under; null where it says the same under all of them. */
  readonly lexing: string | null;
  /** The description that a server gave last, and when: a further Parse then need not be followed by a Describe. */
  describedIn: Circumstances | null = null;
  description: StatementDescription | null = null;

  constructor(body: Buffer, typesAt: number, lexing: string | null) {
    this.body = body;
    this.typesAt = typesAt;
    this.lexing = lexing;
  }

  /**
   * The description that holds in these circumstances, where one is known.
   *
   * @param parameters types that it is prepared with, instead of those that the server finds out: body of
   * ParameterDescription; null for none
   */
  describedAt(circumstances: Circumstances | null, parameters: Buffer | null): StatementDescription | null {
    const { description } = this;
    if (description === null || circumstances?.isMoment !== true || this.describedIn !== circumstances) return null;
    if (parameters === null || parameters === description.parameters) return description;
    return parameters.equals(description.parameters) ? description : null;
  }

  learn(description: StatementDescription, circumstances: Circumstances | null): void {
    if (circumstances?.isMoment !== true) return;
    this.describedIn = circumstances;
    this.description = description;
  }
}

/** A text without types, as a Parse would have it. `text` ends with NUL. */
export function prepareText(text: Buffer, lexing: string): Preparation {
  const body = Buffer.concat([text, Buffer.alloc(2)]);
  return makePreparation(body, 0, text.length - 1, body.length, lexing);
}

/** The same text with types of its parameters given in so many ways is shared. */
const MAX_VARIANTS = 8;

const shared = new WeakMap<TextFacts, Preparation[]>();

/**
 * The preparation in `message[start, end)`, text first; `textEnd` is the offset of its NUL.
 *
 * @param facts of the text; those of a text that is kept are frozen, and their identity stands for it
 * @param lexing see `lexingOf`
 */
export function internPreparation(
  facts: TextFacts,
  message: Buffer,
  start: number,
  textEnd: number,
  end: number,
  lexing: string,
): Preparation {
  const variants = shared.get(facts) ?? (Object.isFrozen(facts) ? undefined : null);
  if (variants != null) {
    for (const variant of variants)
      if (isReadIn(variant, lexing) && isSame(variant, facts, message, start, textEnd, end)) return variant;
    if (variants.length >= MAX_VARIANTS) return makePreparation(message, start, textEnd, end, lexing);
  }
  const made = makePreparation(message, start, textEnd, end, lexing);
  if (variants === undefined) shared.set(facts, [made]);
  else variants?.push(made);
  return made;
}

/** The facts alone do not tell: texts of other bytes, or read under other settings, can come to the same statements. */
function isReadIn(variant: Preparation, lexing: string): boolean {
  return variant.lexing === null || variant.lexing === lexing;
}

/** Statements stand for their text; there is more than one text without any. */
function isSame(
  { body, typesAt }: Preparation,
  facts: TextFacts,
  message: Buffer,
  start: number,
  textEnd: number,
  end: number,
): boolean {
  if (body.length !== end - start || typesAt !== textEnd + 1 - start) return false;
  if (facts.length === 0) return body.compare(message, start, end) === 0;
  for (let at = typesAt; at < body.length; at++) if (body[at] !== message[start + at]) return false;
  return true;
}

/** The settings under which a text is read, as one string. Plain ASCII without backslashes does not depend on them. */
export function lexingOf(encoding: string, areStringsConforming: boolean): string {
  return areStringsConforming ? encoding : `${encoding} \\`;
}

function makePreparation(message: Buffer, start: number, textEnd: number, end: number, lexing: string): Preparation {
  const body = Buffer.from(message.subarray(start, end));
  const typesAt = textEnd + 1 - start;
  return new Preparation(body, typesAt, isReadAlike(body, 0, typesAt) ? null : lexing);
}

const BACKSLASH = 0x5c;

/** ASCII without backslashes says the same under every encoding and setting. */
export function isReadAlike(buffer: Buffer, start: number, end: number): boolean {
  for (let at = start; at < end; at++) {
    const byte = buffer[at] as number;
    if (byte >= 0x80 || byte === BACKSLASH) return false;
  }
  return true;
}
