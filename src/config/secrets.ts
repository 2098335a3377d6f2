// Passwords and verifiers as they are now: those of the settings, and those of files that are read again when they change.
// A file that has become unreadable or broken leaves the old contents in force.

import { parseUsersFile } from '../auth/users-file.ts';
import { type LoginSecret, NO_SECRET, type Verifier } from '../auth/verifier.ts';
import type { Log } from '../base/log.ts';
import type { Settings } from './settings.ts';
import { FileWatcher } from './watch.ts';

/** A password file's text without the newline that editors leave at its end. */
export function trimSecret(text: string): string {
  return text.replace(/\r?\n$/, '');
}

export class Secrets {
  readonly #passwords = new Map<string, string | null>();
  readonly #watchers: FileWatcher[] = [];
  #users: ReadonlyMap<string, Verifier | null> = new Map();

  constructor({ auth }: Settings, log: Log) {
    for (const { user, password, passwordFile } of auth.credentials) {
      this.#passwords.set(user, password);
      if (passwordFile === undefined) continue;
      this.#watch(passwordFile, password ?? '', log, (text) => {
        const secret = trimSecret(text);
        if (secret === '') throw new Error('it is empty');
        const isNew = this.#passwords.get(user) !== secret;
        this.#passwords.set(user, secret);
        return isNew;
      });
    }
    if (auth.usersFile === null) return;
    const { path, text } = auth.usersFile;
    this.#users = parseUsersFile(text).users;
    this.#watch(path, text, log, (newText) => {
      const { users, problems } = parseUsersFile(newText);
      const [first] = problems;
      if (first !== undefined) throw new Error(`line ${first.line} ${first.message}`);
      this.#users = users;
      return true;
    });
  }

  /** From the users file: null for a user without a password, undefined for one who does not stand there. */
  listedUser(user: string): Verifier | null | undefined {
    return this.#users.get(user);
  }

  /** What pgweir itself has for logging in to a server as that user: auth.credentials first, then the users file. */
  credentialFor(user: string): LoginSecret {
    const password = this.#passwords.get(user) ?? null;
    if (password !== null) return { ...NO_SECRET, password };
    const listed = this.#users.get(user);
    if (listed?.type === 'plain') return { ...NO_SECRET, password: listed.password };
    if (listed?.type === 'md5') return { ...NO_SECRET, md5Hash: listed.hash };
    return NO_SECRET;
  }

  start(): void {
    for (const watcher of this.#watchers) watcher.start();
  }

  /** SIGHUP: reads the files again now, and tells of what cannot be read even where that was told before. */
  async reload(): Promise<void> {
    await Promise.all(this.#watchers.map((watcher) => watcher.check(true)));
  }

  stop(): void {
    for (const watcher of this.#watchers) watcher.stop();
  }

  #watch(file: string, knownText: string, log: Log, take: (text: string) => boolean): void {
    this.#watchers.push(
      new FileWatcher({
        file,
        knownText,
        onText: (text) => {
          if (take(text)) log.info({ file }, 'a file with passwords was read again');
        },
        onError: (reason) =>
          log.error({ file, reason }, 'a file with passwords was not read; the old one stays in force'),
      }),
    );
  }
}
