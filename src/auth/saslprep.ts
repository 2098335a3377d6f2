// SASLprep (RFC 4013) as PostgreSQL does it, so that a password typed here gives the verifier that the server made of it.
// saslprep-tables.json holds the ranges of RFC 3454 for Unicode 3.2, each table as gaps and lengths in base 36.

import tables from './saslprep-tables.json' with { type: 'json' };

type TableName = keyof typeof tables;

/** Flat list: first and last code point of each range, ascending. */
function readRanges(name: TableName): Int32Array {
  const words = tables[name].join(' ').split(' ');
  const ranges = new Int32Array(words.length);
  let next = 0;
  for (let at = 0; at < words.length; at += 2) {
    const first = next + Number.parseInt(words[at] ?? '', 36);
    const last = first + Number.parseInt(words[at + 1] ?? '', 36);
    ranges[at] = first;
    ranges[at + 1] = last;
    next = last + 1;
  }
  return ranges;
}

const read = new Map<TableName, Int32Array>();

function isIn(name: TableName, code: number): boolean {
  let ranges = read.get(name);
  if (ranges === undefined) {
    ranges = readRanges(name);
    read.set(name, ranges);
  }
  let low = 0;
  let high = ranges.length / 2;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (code > (ranges[middle * 2 + 1] ?? 0)) low = middle + 1;
    else high = middle;
  }
  return code >= (ranges[low * 2] ?? Number.POSITIVE_INFINITY);
}

/**
 * The password that is hashed. One that SASLprep forbids is used as it is, as PostgreSQL does. Like PostgreSQL, the checks
 * look at the characters before normalisation.
 */
export function preparePassword(password: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: every ASCII character passes.
  if (/^[\u0000-\u007F]*$/.test(password)) return password;
  const codes: number[] = [];
  for (const character of password) {
    const code = character.codePointAt(0) ?? 0;
    if (isIn('nonAsciiSpace', code)) codes.push(0x20);
    else if (!isIn('mappedToNothing', code)) codes.push(code);
  }
  if (codes.length === 0 || codes.some((code) => isIn('prohibited', code) || isIn('unassigned', code))) return password;
  if (!isDirectionClear(codes)) return password;
  return String.fromCodePoint(...codes).normalize('NFKC');
}

/** RFC 3454, section 6: right-to-left text stands alone, from the first character to the last. */
function isDirectionClear(codes: readonly number[]): boolean {
  const isRightToLeft = (code: number | undefined): boolean => code !== undefined && isIn('rightToLeft', code);
  if (!codes.some(isRightToLeft)) return true;
  return !codes.some((code) => isIn('leftToRight', code)) && isRightToLeft(codes[0]) && isRightToLeft(codes.at(-1));
}
