// The tokens of SQL and PL/pgSQL code that PostgreSQL keeps as a string: bodies of functions and of DO. Good enough to know
// every word in it; what it cannot read it calls unreadable, never something else.

export interface BodyToken {
  /** `unreadable`: a name or string with Unicode escapes, or one that does not end. */
  readonly kind: 'word' | 'quoted' | 'string' | 'sign' | 'unreadable';
  /** Words in lower case, names and strings without their quotes, names cut as the server cuts them. */
  readonly text: string;
}

const MAX_NAME_BYTES = 63;

const SPACE = /[ \t\n\r\f\v]+/y;
const LINE_COMMENT = /--[^\n\r]*/y;
const NUMBER = /\.?[0-9][0-9A-Za-z_.]*|\$[0-9]+/y;
const WORD = /[A-Za-z_\u0080-\uffff][A-Za-z0-9_$\u0080-\uffff]*/y;
const QUOTED = /"((?:[^"]|"")*)"/y;
const PLAIN_STRING = /'((?:[^']|'')*)'/y;
const ESCAPE_STRING = /[eE]'((?:[^'\\]|''|\\[\s\S])*)'/y;
const UNICODE = /[uU]&["']/y;
const DOLLAR_TAG = /\$(?:[A-Za-z_\u0080-\uffff][A-Za-z0-9_\u0080-\uffff]*)?\$/y;

/** Reads a whole text. Operators come one character at a time. */
export function readTokens(text: string): BodyToken[] {
  const tokens: BodyToken[] = [];
  let at = 0;
  let end = 0;
  let match: RegExpExecArray | null = null;
  const reaches = (pattern: RegExp): boolean => {
    pattern.lastIndex = at;
    match = pattern.exec(text);
    if (match !== null) end = pattern.lastIndex;
    return match !== null;
  };
  const group = (): string => match?.[1] ?? '';
  for (; at < text.length; at = end) {
    if (reaches(SPACE) || reaches(LINE_COMMENT)) continue;
    const character = text.charAt(at);
    if (character === '/' && text.charAt(at + 1) === '*') end = commentEnd(text, at);
    else if (reaches(UNICODE)) {
      tokens.push({ kind: 'unreadable', text: '' });
      end = Math.max(text.indexOf(text.charAt(at + 2), end) + 1, end);
    } else if (reaches(ESCAPE_STRING)) tokens.push(escapeString(group()));
    else if (reaches(WORD)) tokens.push({ kind: 'word', text: cutName(lowerAscii(text.slice(at, end))) });
    else if (reaches(QUOTED)) tokens.push({ kind: 'quoted', text: cutName(group().replaceAll('""', '"')) });
    else if (reaches(PLAIN_STRING)) tokens.push({ kind: 'string', text: group().replaceAll("''", "'") });
    else if (character === '$' && reaches(DOLLAR_TAG)) {
      const tag = text.slice(at, end);
      const close = text.indexOf(tag, end);
      tokens.push(close < 0 ? { kind: 'unreadable', text: '' } : { kind: 'string', text: text.slice(end, close) });
      end = close < 0 ? text.length : close + tag.length;
    } else if (reaches(NUMBER)) tokens.push({ kind: 'sign', text: '0' });
    else {
      tokens.push(character === '"' || character === "'" ? { kind: 'unreadable', text: '' } : sign(character));
      end = at + 1;
    }
  }
  return tokens;
}

function sign(text: string): BodyToken {
  return { kind: 'sign', text };
}

function escapeString(content: string): BodyToken {
  // Octal, hex and Unicode escapes may spell anything.
  if (/\\[0-7xuU]/.test(content)) return { kind: 'unreadable', text: '' };
  return { kind: 'string', text: content.replace(/''|\\([\s\S])/g, (all, escaped) => escaped ?? all.charAt(0)) };
}

/** Block comments nest. */
function commentEnd(text: string, start: number): number {
  let depth = 0;
  for (let at = start; at < text.length; ) {
    if (text.startsWith('/*', at)) {
      depth++;
      at += 2;
    } else if (text.startsWith('*/', at)) {
      at += 2;
      if (--depth === 0) return at;
    } else {
      at++;
    }
  }
  return text.length;
}

function lowerAscii(text: string): string {
  return text.replace(/[A-Z]+/g, (letters) => letters.toLowerCase());
}

function cutName(name: string): string {
  if (name.length * 3 <= MAX_NAME_BYTES || Buffer.byteLength(name) <= MAX_NAME_BYTES) return name;
  return Buffer.from(name)
    .subarray(0, MAX_NAME_BYTES)
    .toString('utf8')
    .replace(/\ufffd+$/, '');
}
