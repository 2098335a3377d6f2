// The users file, in the format of PgBouncer's userlist.txt: `"user" "verifier"` on each line, `""` for a quote in either,
// `;` before a comment. Problems tell the line and never what stands in it.

import { parseVerifier, type Verifier } from './verifier.ts';

export interface UsersFile {
  /** Null: the user exists and has no password, so that nobody gets in by one. */
  readonly users: ReadonlyMap<string, Verifier | null>;
  readonly problems: readonly { readonly line: number; readonly message: string }[];
}

const LINE = /^\s*"((?:[^"]|"")*)"\s+"((?:[^"]|"")*)"/;

/** Reads the whole file; users of the lines that are right, problems of those that are not. */
export function parseUsersFile(text: string): UsersFile {
  const users = new Map<string, Verifier | null>();
  const problems: { line: number; message: string }[] = [];
  text.split(/\r?\n/).forEach((line, index) => {
    if (line.trim() === '' || line.trimStart().startsWith(';')) return;
    const complain = (message: string): void => {
      problems.push({ line: index + 1, message });
    };
    const parts = LINE.exec(line);
    if (parts === null) {
      complain('is not of the form "user" "verifier"');
      return;
    }
    const user = unquote(parts[1] ?? '');
    const secret = unquote(parts[2] ?? '');
    const verifier = secret === '' ? null : parseVerifier(secret);
    if (user === '') complain('names no user');
    else if (users.has(user)) complain('names a user for the second time');
    else if (verifier === null && secret !== '') complain('holds a SCRAM verifier that is not complete');
    else users.set(user, verifier);
  });
  return { users, problems };
}

function unquote(text: string): string {
  return text.replaceAll('""', '"');
}
