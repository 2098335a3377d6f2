// Patterns for names of tables, functions and columns, written as in SQL: folded to lower case unless in double quotes, and
// cut as PostgreSQL cuts them. A bare pattern is compared with the last part of a name (`payroll` catches `payroll` and
// `public.payroll`); one with a dot is compared with the whole name (`hr.payroll`, `hr.*`), so it cannot catch a name written
// without its schema.

import { MAX_NAME_BYTES } from '../../wire/reader.ts';
import type { TextTest } from './glob.ts';
import { compileGlob } from './glob.ts';

export type NamesTest = (names: readonly string[]) => boolean;

/** A test that holds when any of the names fits any of the patterns. Problems go to `fail`. */
export function compileNamePatterns(
  patterns: string | readonly string[],
  fail: (problem: string, index: number | null) => void,
): NamesTest {
  const bareExact = new Set<string>();
  const wholeExact = new Set<string>();
  const bareTests: TextTest[] = [];
  /** For names that hold dots of their own. */
  const dottedTests: TextTest[] = [];
  const wholeTests: TextTest[] = [];
  const list = typeof patterns === 'string' ? [patterns] : patterns;
  list.forEach((pattern, index) => {
    const parts = foldName(pattern);
    const glob = parts === null ? { problem: 'a double quote is not closed' } : compileGlob(parts.join('.'));
    if ('problem' in glob || parts === null) {
      fail('problem' in glob ? glob.problem : '', typeof patterns === 'string' ? null : index);
    } else if (/[*\\]/.test(pattern)) {
      if (parts.length > 1) wholeTests.push(glob.test);
      else (parts[0]?.includes('.') ? dottedTests : bareTests).push(glob.test);
    } else (parts.length > 1 ? wholeExact : bareExact).add(parts.map(cutName).join('.'));
  });
  return (names) => {
    for (const name of names) {
      if (wholeExact.has(name)) return true;
      const bare = name.slice(name.lastIndexOf('.') + 1);
      if (bareExact.has(bare)) return true;
      // A quoted name may hold dots of its own; where it begins nobody knows then.
      for (let rest = name; rest !== bare; rest = rest.slice(rest.indexOf('.') + 1))
        if (bareExact.has(rest) || dottedTests.some((test) => test(rest))) return true;
      if (bareTests.some((test) => test(bare)) || wholeTests.some((test) => test(name))) return true;
    }
    return false;
  };
}

/**
 * The parts, in lower case outside double quotes, quotes removed; null where a quote is not closed. Only ASCII is folded, as
 * the server does in encodings of several bytes, and the grammar used here in all (downcase_identifier, scansup.c).
 */
function foldName(pattern: string): string[] | null {
  const parts = [''];
  let isQuoted = false;
  for (let at = 0; at < pattern.length; at += 1) {
    const char = pattern.charAt(at);
    const last = parts.length - 1;
    if (char === '"') {
      if (isQuoted && pattern.charAt(at + 1) === '"') {
        parts[last] += '"';
        at += 1;
      } else isQuoted = !isQuoted;
    } else if (char === '.' && !isQuoted) parts.push('');
    else parts[last] += isQuoted ? char : char.replace(/[A-Z]/, (letter) => letter.toLowerCase());
  }
  return isQuoted ? null : parts;
}

/** Whole characters of at most 63 bytes, which is what the server keeps of a longer name. */
function cutName(name: string): string {
  if (Buffer.byteLength(name) <= MAX_NAME_BYTES) return name;
  let kept = '';
  for (const character of name) {
    if (Buffer.byteLength(kept + character) > MAX_NAME_BYTES) break;
    kept += character;
  }
  return kept;
}
