// Whether a regular expression can tell one number from another. Where none of a document can, what the rules say to
// `… WHERE id = 4711` they say to `… WHERE id = 4712`.
//
// A pattern sees a number (a run of digits that touches no letter, digit or underscore) either through classes, and those
// hold all digits or none; or through digits of its own, and in front of those it wants a letter, a digit or an underscore,
// which no number has there. What cannot be seen at a glance counts as seeing.

/** Escapes that hold all digits or none, or are a character that is no digit. */
const ESCAPES = /[dDwWsSbBAzafnrtv]|[^A-Za-z0-9]/;
const COUNT = /^\{\d+(?:,\d*)?\}/;

/** `pattern`: one that RE2 has taken. True: all numbers of as many digits are the same to it. */
export function isNumberBlind(pattern: string): boolean {
  let isBehindWord = false;
  for (let at = 0; at < pattern.length; at++) {
    const character = pattern.charAt(at);
    if (character === '\\') {
      at++;
      if (!ESCAPES.test(pattern.charAt(at))) return false;
      isBehindWord = false;
    } else if (character === '[') {
      at = endOfClass(pattern, at);
      if (at < 0) return false;
      isBehindWord = false;
    } else if (character === '{') {
      at += (COUNT.exec(pattern.slice(at))?.[0].length ?? 1) - 1;
      isBehindWord = false;
    } else {
      if (/\d/.test(character) && !isBehindWord) return false;
      isBehindWord = /\w/.test(character);
    }
  }
  return true;
}

/** Where the `]` stands that ends the class at `start`; -1 where the class holds some digits, or may. */
function endOfClass(pattern: string, start: number): number {
  let at = start + 1;
  if (pattern.charAt(at) === '^') at++;
  if (pattern.charAt(at) === ']') at++;
  for (; at < pattern.length; at++) {
    const character = pattern.charAt(at);
    if (character === ']') return at;
    if (character === '\\') {
      at++;
      if (!ESCAPES.test(pattern.charAt(at))) return -1;
    } else if (pattern.startsWith('[:', at)) {
      const end = pattern.indexOf(':]', at);
      if (end < 0) return -1;
      at = end + 1;
    } else if (/\d/.test(character)) {
      if (!pattern.startsWith('0-9', at) || pattern.charAt(at - 1) === '-') return -1;
      at += 2;
    }
  }
  return -1;
}
