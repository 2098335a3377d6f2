// The attributes of a SCRAM message, read one by one with PostgreSQL's complaints. Source: RFC 5802 section 7, and
// read_attr_value() and read_any_attr() of auth-scram.c. Messages are strings of one character for each byte.

import { AuthRefused } from './auth-refused.ts';

export class AttributeReader {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  get at(): number {
    return this.#at;
  }

  get isAtEnd(): boolean {
    return this.#at >= this.#text.length;
  }

  /** The next character; '' at the end. */
  get peek(): string {
    return this.#text.charAt(this.#at);
  }

  get rest(): string {
    return this.#text.slice(this.#at);
  }

  skip(): void {
    this.#at++;
  }

  /** The value of the attribute that must come next. Throws AuthRefused. */
  read(name: string): string {
    if (this.peek !== name) throw malformed(`Expected attribute "${name}" but found "${showCharacter(this.peek)}".`);
    return this.#readValue(name);
  }

  /** The next attribute, whichever it is. Throws AuthRefused. */
  readAny(): { readonly name: string; readonly value: string } {
    const name = this.peek;
    if (name === '') throw malformed('Attribute expected, but found end of string.');
    if (!/[A-Za-z]/.test(name))
      throw malformed(`Attribute expected, but found invalid character "${showCharacter(name)}".`);
    return { name, value: this.#readValue(name) };
  }

  #readValue(name: string): string {
    this.#at++;
    if (this.peek !== '=') throw malformed(`Expected character "=" for attribute "${name}".`);
    const start = this.#at + 1;
    const comma = this.#text.indexOf(',', start);
    const end = comma < 0 ? this.#text.length : comma;
    this.#at = comma < 0 ? end : end + 1;
    return this.#text.slice(start, end);
  }
}

export function malformed(detail: string): AuthRefused {
  return new AuthRefused('08P01', 'malformed SCRAM message', detail);
}

/** Printable ASCII except the comma. */
export function isPrintableNonce(nonce: string): boolean {
  return /^[!-+\--~]*$/.test(nonce);
}

/** As PostgreSQL shows a character that it did not expect. */
export function showCharacter(character: string): string {
  if (/^[!-~]$/.test(character)) return `'${character}'`;
  const code = character === '' ? 0 : character.charCodeAt(0);
  return `0x${code.toString(16).padStart(2, '0')}`;
}

/** The first 30 characters, what cannot be printed as `?`. */
export function showText(text: string): string {
  return text.slice(0, 30).replace(/[^!-~]/g, '?');
}
