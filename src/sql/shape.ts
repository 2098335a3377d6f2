// The fast road: one pass over a text that gives the key of its shape, so that a known statement with new literals needs
// no parser. It reads plain statements only and gives up on anything that PostgreSQL's scanner might read differently.
//
// Two texts with one key are the same tokens to PostgreSQL, but for the values of strings and numbers: the key keeps
// everything else as written. Strings, integers and other numbers have different marks, because the grammar tells them
// apart. What the grammar does with a *value* (options of EXPLAIN, COPY, SET, the n of float(n)) is why only plain
// queries take this road. Bench: test/bench/sql-bench.ts.

/** Longer texts take the slow road. */
const MAX_SCANNED_CHARACTERS = 64 * 1024;
/** More than any tool adds; a text with more takes the slow road. */
const MAX_COMMENTS = 8;

// Marks stand outside ASCII, which the key never leaves otherwise.
const STRING_MARK = 0xa1;
const INTEGER_MARK = 0xa2;
const NUMBER_MARK = 0xa3;
const MARKS = /[\u00a1-\u00a3]/g;

const REFUSED = 0;
const SPACE = 1;
const LETTER = 2;
const DIGIT = 3;
const PLAIN = 4;
const QUOTE = 5;
const DOUBLE_QUOTE = 6;
const DASH = 7;
const SLASH = 8;
const DOLLAR = 9;
const SEMICOLON = 10;
const DOT = 11;

/** What an ASCII character may begin. Not listed and so refused: control characters, backslash, `?` (it is a literal's sign). */
const CHARACTER_CLASS = makeCharacterClasses();
const CLOCK_WORDS: ReadonlySet<string> = new Set(['current_time', 'current_timestamp', 'localtime', 'localtimestamp']);
const CLOCK_WORD_LENGTHS: ReadonlySet<number> = new Set([...CLOCK_WORDS].map(({ length }) => length));
/** Behind such a word: a bracket, or a comment that may stand before one. */
const NUMBER_AHEAD = /\s*(?:\(|--|\/\*)/y;
const FIRST_WORDS = ['select', 'insert', 'update', 'delete', 'values', 'merge', 'table', 'with'];

/** Reused for every text: read its fields before the next `scan`. Not re-entrant. */
export class ShapeScanner {
  /** The key of the shape. Turn it into the normalised text with `normalizedFromKey`. */
  key = '';
  literalCount = 0;
  /** Start and end of each comment, in pairs. */
  readonly commentRanges: number[] = [];
  /** A string or comment holds characters beyond ASCII: bytes would have to be decoded first. */
  hasNonAscii = false;

  readonly #out = Buffer.alloc(MAX_SCANNED_CHARACTERS);

  /** True: the fields describe the text. False: the text must be read by the grammar itself. */
  scan(text: string): boolean {
    const length = text.length;
    this.literalCount = 0;
    this.hasNonAscii = false;
    if (this.commentRanges.length > 0) this.commentRanges.length = 0;
    if (length > MAX_SCANNED_CHARACTERS) return false;
    const out = this.#out;
    let written = 0;
    let isSpacePending = false;
    let isEnded = false;
    let isAfterString = false;
    let at = 0;
    while (at < length) {
      const code = text.charCodeAt(at);
      const characterClass = code < 128 ? CHARACTER_CLASS[code] : REFUSED;
      if (characterClass === SPACE) {
        isSpacePending = true;
        at++;
        continue;
      }
      if (characterClass === DASH && text.charCodeAt(at + 1) === 45) {
        at = this.#skipLineComment(text, at);
        if (at < 0) return false;
        isSpacePending = true;
        continue;
      }
      if (characterClass === SLASH && text.charCodeAt(at + 1) === 42) {
        at = this.#skipBlockComment(text, at);
        if (at < 0) return false;
        isSpacePending = true;
        continue;
      }
      if (characterClass === SEMICOLON) {
        isEnded = true;
        at++;
        continue;
      }
      if (isEnded) return false;
      if (written === 0 && characterClass !== LETTER) return false;
      if (isSpacePending) {
        if (written > 0) out[written++] = 32;
        isSpacePending = false;
      }
      switch (characterClass) {
        case LETTER: {
          const start = at;
          do {
            out[written++] = text.charCodeAt(at++);
          } while (at < length && isWordCharacter(text.charCodeAt(at)));
          if (takesNumber(text, start, at)) return false;
          if (written === at - start && !isFirstWord(text, start, at)) return false;
          // E'', B'', X'', N'' and type names glued to a string.
          if (at < length && text.charCodeAt(at) === 39) return false;
          break;
        }
        case DIGIT: {
          const start = at;
          while (at < length && isDigit(text.charCodeAt(at))) at++;
          let mark = INTEGER_MARK;
          if (text.charCodeAt(at) === 46) {
            const fraction = ++at;
            while (at < length && isDigit(text.charCodeAt(at))) at++;
            if (at === fraction || text.charCodeAt(at) === 46) return false;
            mark = NUMBER_MARK;
          } else if (at - start > 9) {
            if (at - start > 10 && text.charCodeAt(start) === 48) return false;
            if (at - start > 10 || text.slice(start, at) > '2147483647') mark = NUMBER_MARK;
          }
          if (at < length && !isAfterNumber(text.charCodeAt(at))) return false;
          out[written++] = mark;
          this.literalCount++;
          break;
        }
        case QUOTE:
          // U&'', and a string that goes on after white space, which is one literal when a newline is in it.
          if (isAfterString || (at > 0 && text.charCodeAt(at - 1) === 38)) return false;
          at = this.#skipString(text, at);
          if (at < 0) return false;
          out[written++] = STRING_MARK;
          this.literalCount++;
          isAfterString = true;
          continue;
        case DOUBLE_QUOTE: {
          if (at > 0 && text.charCodeAt(at - 1) === 38) return false;
          out[written++] = 34;
          at++;
          // A doubled quote reads as two names that touch, which copies the same characters.
          for (;;) {
            if (at >= length) return false;
            const inside = text.charCodeAt(at++);
            if (inside < 32 || inside > 126) return false;
            out[written++] = inside;
            if (inside === 34) break;
          }
          break;
        }
        case DOLLAR: {
          const start = at;
          do {
            out[written++] = text.charCodeAt(at++);
          } while (at < length && isDigit(text.charCodeAt(at)));
          if (at === start + 1 || (at < length && !isAfterNumber(text.charCodeAt(at)))) return false;
          break;
        }
        case DOT:
          if (isDigit(text.charCodeAt(at + 1))) return false;
          out[written++] = code;
          at++;
          break;
        case PLAIN:
        case DASH:
        case SLASH:
          out[written++] = code;
          at++;
          break;
        default:
          return false;
      }
      isAfterString = false;
    }
    if (written === 0) return false;
    this.key = out.toString('latin1', 0, written);
    return true;
  }

  /** A plain string in which nothing but a doubled quote is special. Returns where it ends, or -1. */
  #skipString(text: string, start: number): number {
    for (let at = start + 1; at < text.length; at++) {
      const code = text.charCodeAt(at);
      if (code === 39) {
        if (text.charCodeAt(at + 1) !== 39) return at + 1;
        at++;
      } else if (code === 92 || code === 0) {
        return -1;
      } else if (code > 127) {
        this.hasNonAscii = true;
      }
    }
    return -1;
  }

  #skipLineComment(text: string, start: number): number {
    let at = start + 2;
    for (; at < text.length; at++) {
      const code = text.charCodeAt(at);
      if (code === 10 || code === 13) break;
      if (code === 0) return -1;
      if (code > 127) this.hasNonAscii = true;
    }
    return this.#keepComment(start, at);
  }

  /** Block comments nest (SQL:1999, and PostgreSQL's scan.l). */
  #skipBlockComment(text: string, start: number): number {
    let depth = 1;
    let at = start + 2;
    while (at < text.length) {
      const code = text.charCodeAt(at++);
      if (code === 42 && text.charCodeAt(at) === 47) {
        at++;
        if (--depth === 0) return this.#keepComment(start, at);
      } else if (code === 47 && text.charCodeAt(at) === 42) {
        at++;
        depth++;
      } else if (code === 0) {
        return -1;
      } else if (code > 127) {
        this.hasNonAscii = true;
      }
    }
    return -1;
  }

  #keepComment(start: number, end: number): number {
    if (this.commentRanges.length >= 2 * MAX_COMMENTS) return -1;
    this.commentRanges.push(start, end);
    return end;
  }
}

/** The normalised text of a shape's key: every kind of literal as `?`. */
export function normalizedFromKey(key: string): string {
  return key.replace(MARKS, '?');
}

function isDigit(code: number): boolean {
  return code >= 48 && code <= 57;
}

function isWordCharacter(code: number): boolean {
  if (code >= 128) return false;
  const characterClass = CHARACTER_CLASS[code];
  return characterClass === LETTER || characterClass === DIGIT || characterClass === DOLLAR;
}

/** Not a letter (exponent, 0x, junk), digit, dollar, quote or anything refused. */
function isAfterNumber(code: number): boolean {
  if (code >= 128) return false;
  const characterClass = CHARACTER_CLASS[code];
  return (
    characterClass === SPACE ||
    characterClass === PLAIN ||
    characterClass === DASH ||
    characterClass === SLASH ||
    characterClass === SEMICOLON
  );
}

/** `float`: the grammar refuses some n of float(n). And `current_time` and its kin, where n is no literal but one of their own. */
function takesNumber(text: string, start: number, end: number): boolean {
  const first = text.charCodeAt(start) | 32;
  if (first === 102) return end - start === 5 && text.slice(start, end).toLowerCase() === 'float';
  if (first !== 99 && first !== 108) return false;
  if (!CLOCK_WORD_LENGTHS.has(end - start) || !CLOCK_WORDS.has(text.slice(start, end).toLowerCase())) return false;
  NUMBER_AHEAD.lastIndex = end;
  return NUMBER_AHEAD.test(text);
}

function isFirstWord(text: string, start: number, end: number): boolean {
  for (const word of FIRST_WORDS) {
    if (word.length !== end - start) continue;
    let at = 0;
    while (at < word.length && (text.charCodeAt(start + at) | 32) === word.charCodeAt(at)) at++;
    if (at === word.length) return true;
  }
  return false;
}

function makeCharacterClasses(): Uint8Array {
  const classes = new Uint8Array(128);
  const give = (characters: string, characterClass: number): void => {
    for (const character of characters) classes[character.charCodeAt(0)] = characterClass;
  };
  // scan.l: space is [ \t\n\r\f\v].
  give(' \t\n\r\f\v', SPACE);
  give('abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_', LETTER);
  give('0123456789', DIGIT);
  give('()[],:*+<>=~!@#%^&|`', PLAIN);
  give("'", QUOTE);
  give('"', DOUBLE_QUOTE);
  give('-', DASH);
  give('/', SLASH);
  give('$', DOLLAR);
  give(';', SEMICOLON);
  give('.', DOT);
  return classes;
}
