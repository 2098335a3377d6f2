// Patterns for names of tables, functions and columns, written as in SQL: folded to lower case unless in double quotes.
// A bare pattern is compared with the last part of a name (`payroll` catches `payroll` and `public.payroll`); one with a
// dot is compared with the whole name (`hr.payroll`, `hr.*`), so it cannot catch a name written without its schema.

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
  const wholeTests: TextTest[] = [];
  const list = typeof patterns === 'string' ? [patterns] : patterns;
  list.forEach((pattern, index) => {
    const folded = foldName(pattern);
    const glob = folded === null ? { problem: 'a double quote is not closed' } : compileGlob(folded.name);
    if ('problem' in glob || folded === null) {
      fail('problem' in glob ? glob.problem : '', typeof patterns === 'string' ? null : index);
    } else if (/[*\\]/.test(folded.name)) (folded.isQualified ? wholeTests : bareTests).push(glob.test);
    else (folded.isQualified ? wholeExact : bareExact).add(folded.name);
  });
  return (names) => {
    for (const name of names) {
      if (wholeExact.has(name)) return true;
      const bare = name.slice(name.lastIndexOf('.') + 1);
      if (bareExact.has(bare)) return true;
      // A quoted name may hold dots of its own; the bare pattern for it is the whole name.
      if (bareExact.has(name)) return true;
      if (bareTests.some((test) => test(bare)) || wholeTests.some((test) => test(name))) return true;
    }
    return false;
  };
}

/** Lower case outside double quotes, quotes removed; null where a quote is not closed. */
function foldName(pattern: string): { readonly name: string; readonly isQualified: boolean } | null {
  let name = '';
  let isQuoted = false;
  let isQualified = false;
  for (let at = 0; at < pattern.length; at += 1) {
    const char = pattern.charAt(at);
    if (char === '"') {
      if (isQuoted && pattern.charAt(at + 1) === '"') {
        name += '"';
        at += 1;
      } else isQuoted = !isQuoted;
    } else {
      if (char === '.' && !isQuoted) isQualified = true;
      name += isQuoted ? char : char.toLowerCase();
    }
  }
  return isQuoted ? null : { name, isQualified };
}
