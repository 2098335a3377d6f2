// Names with `*` for any run of characters, none included. `\*` is a star itself, `\\` a backslash. Compared character by
// character, never turned into a regular expression, so no pattern can be slow.

export type TextTest = (text: string) => boolean;

/** The pattern as a test, or the reason why it is none. */
export function compileGlob(pattern: string): { readonly test: TextTest } | { readonly problem: string } {
  const parts = splitAtStars(pattern);
  if (typeof parts === 'string') return { problem: parts };
  const [first = '', ...rest] = parts;
  const last = rest.pop();
  if (last === undefined) return { test: (text) => text === first };
  if (rest.length === 0 && first === '' && last === '') return { test: () => true };
  if (rest.length === 0 && last === '') return { test: (text) => text.startsWith(first) };
  const minLength = first.length + last.length + rest.reduce((sum, part) => sum + part.length, 0);
  return {
    test: (text) => {
      if (text.length < minLength || !text.startsWith(first) || !text.endsWith(last)) return false;
      // Leftmost placement of each middle part leaves the most room for the next, so it never misses a match.
      let from = first.length;
      for (const part of rest) {
        const at = text.indexOf(part, from);
        if (at < 0) return false;
        from = at + part.length;
      }
      return from <= text.length - last.length;
    },
  };
}

/** The literal parts between the stars, or what is wrong. */
function splitAtStars(pattern: string): string[] | string {
  if (pattern === '') return 'an empty pattern matches nothing';
  const parts: string[] = [];
  let part = '';
  for (let at = 0; at < pattern.length; at += 1) {
    const char = pattern.charAt(at);
    if (char === '\0') return 'a name cannot hold a NUL character';
    if (char === '\\') {
      at += 1;
      const escaped = pattern.charAt(at);
      if (escaped !== '*' && escaped !== '\\') return 'a backslash must stand before * or before another backslash';
      part += escaped;
    } else if (char === '*') {
      if (pattern.charAt(at - 1) === '*' && part === '' && parts.length > 0) return '** means no more than *';
      parts.push(part);
      part = '';
    } else {
      part += char;
    }
  }
  parts.push(part);
  return parts;
}

/** A test that holds when any of the patterns does; exact names are looked up in a set. Problems go to `fail`. */
export function compileGlobs(
  patterns: string | readonly string[],
  fail: (problem: string, index: number | null) => void,
): TextTest {
  const exact = new Set<string>();
  const tests: TextTest[] = [];
  const list = typeof patterns === 'string' ? [patterns] : patterns;
  list.forEach((pattern, index) => {
    const glob = compileGlob(pattern);
    if ('problem' in glob) fail(glob.problem, typeof patterns === 'string' ? null : index);
    else if (/[*\\]/.test(pattern)) tests.push(glob.test);
    else exact.add(pattern);
  });
  if (tests.length === 0) {
    const [only] = exact;
    return exact.size === 1 ? (text) => text === only : (text) => exact.has(text);
  }
  return (text) => exact.has(text) || tests.some((test) => test(text));
}
