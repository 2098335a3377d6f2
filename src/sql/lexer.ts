// The slow road's scanner: every token class of PostgreSQL's scan.l, for a text that the grammar has accepted. Gives the
// normalised text and where the comments are. Also redacts text that nobody could read. Tests hold it against
// libpg-query's own scanner, which takes 2 µs a token.

export interface LexedText {
  /** Literals as `?`, no comments, white space folded, no semicolon around it. */
  readonly normalized: string;
  /** Start and end of each comment, in pairs of UTF-16 offsets. */
  readonly commentRanges: readonly number[];
  /** Where the first unquoted AS outside parentheses ends, or -1: what a PREPARE prepares begins there. */
  readonly asEnd: number;
}

const SPACES = /[ \t\n\r\f\v]+/y;
const LINE_COMMENT = /--[^\n\r]*/y;
const LINE_COMMENTS = /--[^\n\r]*/g;
const WORD = /[A-Za-z_\u0080-\uffff][A-Za-z0-9_$\u0080-\uffff]*/y;
const QUOTED_NAME = /(?:[uU]&)?"(?:[^"]|"")*"/y;
const PARAMETER = /\$[0-9]+/y;
const NUMBER =
  /0[xX](?:_?[0-9a-fA-F])+|0[oO](?:_?[0-7])+|0[bB](?:_?[01])+|(?:[0-9](?:_?[0-9])*(?:\.(?!\.)(?:[0-9](?:_?[0-9])*)?)?|\.[0-9](?:_?[0-9])*)(?:[eE][-+]?[0-9](?:_?[0-9])*)?/y;
const DOLLAR_TAG = /\$(?:[A-Za-z_\u0080-\uffff][A-Za-z0-9_\u0080-\uffff]*)?\$/y;
const STRING_START = /(?:[eEbBxXnN]|[uU]&)?'/y;
// A string goes on in the next line (scan.l: quotecontinue).
const CONTINUATION = /[ \t\f\v]*(?:--[^\n\r]*)?[\n\r](?:[ \t\n\r\f\v]|--[^\n\r]*[\n\r])*'/y;

/** Reads a text that the grammar has accepted. On others it never fails, but may misread what follows their fault. */
export function lexSql(text: string): LexedText {
  const commentRanges: number[] = [];
  let normalized = '';
  let isGap = false;
  let depth = 0;
  let asEnd = -1;
  let at = 0;
  let end = 0;
  const reaches = (pattern: RegExp): boolean => {
    pattern.lastIndex = at;
    if (!pattern.test(text)) return false;
    end = pattern.lastIndex;
    return true;
  };
  const emit = (piece: string): void => {
    if (isGap && normalized !== '') normalized += ' ';
    normalized += piece;
    isGap = false;
  };
  for (; at < text.length; at = end) {
    const character = text.charAt(at);
    if (reaches(SPACES)) {
      isGap = true;
    } else if (character === '-' && reaches(LINE_COMMENT)) {
      commentRanges.push(at, end);
      isGap = true;
    } else if (character === '/' && text.charCodeAt(at + 1) === 42) {
      end = blockCommentEnd(text, at);
      // One without an end is a fault, and no comment.
      if (end < 0) end = text.length;
      else commentRanges.push(at, end);
      isGap = true;
    } else if (reaches(STRING_START)) {
      end = stringEnd(text, end, character === 'e' || character === 'E', commentRanges);
      // N'' is the word N and a string to PostgreSQL's scanner.
      emit(character === 'n' || character === 'N' ? `${character}?` : '?');
    } else if (reaches(QUOTED_NAME) || reaches(PARAMETER)) {
      emit(text.slice(at, end));
    } else if (reaches(WORD)) {
      const word = text.slice(at, end);
      if (asEnd < 0 && depth === 0 && word.length === 2 && word.toLowerCase() === 'as') asEnd = end;
      emit(word);
    } else if (reaches(NUMBER)) {
      emit('?');
    } else if (reaches(DOLLAR_TAG)) {
      const close = text.indexOf(text.slice(at, end), end);
      end = close < 0 ? text.length : close + (end - at);
      emit('?');
    } else {
      if (character === '(') depth++;
      if (character === ')') depth--;
      end = at + 1;
      // A semicolon at the start is the end of an empty statement.
      if (character !== ';' || normalized !== '') emit(character);
    }
  }
  return { normalized: normalized.replace(/[ ;]+$/, ''), commentRanges, asEnd };
}

const NAME = String.raw`(?:"[^"]*"|[\w$\u0080-\uffff]+)`;
/** SET of somebody's own setting, or the same in ALTER ROLE and its kin, up to the value. */
const OWN_SETTING = new RegExp(
  `^((?:alter (?:(?:role|user|database) ${NAME} (?:in database ${NAME} )?|system ))?set (?:(?:session|local) )?${NAME}(?: ?\\. ?${NAME})+(?: ?= ?| to ))(?!default$).+$`,
  'is',
);

const VALUE = String.raw`(?:[-+]? ?\?|${NAME})`;
const OF_ROUTINE = /^(?:alter|create(?: or replace)?) (?:function|procedure|routine) /i;
/** The same as a clause of a routine, where others may follow. */
const OWN_SETTING_OF_ROUTINE = new RegExp(
  `( set ${NAME}(?: ?\\. ?${NAME})+(?: ?= ?| to ))(?!default\\b)${VALUE}(?: ?, ?${VALUE})*`,
  'gi',
);

/** A value of a setting that PostgreSQL does not know may be written as a word, and be a secret all the same. */
export function hideOwnSetting(normalized: string): string {
  if (OF_ROUTINE.test(normalized)) return normalized.replace(OWN_SETTING_OF_ROUTINE, '$1?');
  return normalized.replace(OWN_SETTING, '$1?');
}

/** Text that nobody could read may show no literal: kept are words, operators and brackets before the first quote. */
export function redactSql(text: string): string {
  // In a text with a stray quote every later "outside" may be an inside, so nothing after the first one is shown.
  const cut = text
    .slice(0, MAX_REDACTED_CHARACTERS)
    .search(/['"\\$`{}\u0080-\uffff]|\/\*|--|[^\s\w()[\],.;:*+\-/<>=~!@#%^&|?]/);
  const isCut = cut >= 0 || text.length > MAX_REDACTED_CHARACTERS;
  const kept = text
    .slice(0, cut >= 0 ? cut : MAX_REDACTED_CHARACTERS)
    .replace(/(?<!\w)\.?[0-9][\w.]*/g, '?')
    .replace(/\s+/g, ' ')
    .trim();
  return hideOwnSetting(isCut ? `${kept} …`.trimStart() : kept);
}

const MAX_REDACTED_CHARACTERS = 1000;

function blockCommentEnd(text: string, start: number): number {
  let depth = 1;
  const mark = /\/\*|\*\//g;
  mark.lastIndex = start + 2;
  for (let found = mark.exec(text); found !== null; found = mark.exec(text)) {
    depth += found[0] === '/*' ? 1 : -1;
    if (depth === 0) return mark.lastIndex;
  }
  return -1;
}

/** Where the string ends whose body begins at `start`, continuation lines included; the comments between those are added. */
function stringEnd(text: string, start: number, hasEscapes: boolean, commentRanges: number[]): number {
  let at = start;
  for (;;) {
    const code = text.charCodeAt(at);
    if (Number.isNaN(code)) return text.length;
    if (code === 92 && hasEscapes) {
      at += 2;
    } else if (code !== 39) {
      at++;
    } else if (text.charCodeAt(at + 1) === 39) {
      at += 2;
    } else {
      CONTINUATION.lastIndex = at + 1;
      if (!CONTINUATION.test(text)) return at + 1;
      const next = CONTINUATION.lastIndex;
      for (const { index, 0: comment } of text.slice(at + 1, next).matchAll(LINE_COMMENTS))
        commentRanges.push(at + 1 + index, at + 1 + index + comment.length);
      at = next;
    }
  }
}
