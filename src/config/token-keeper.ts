// The admin API's bearer token as it is now: that of the settings, or that of a file which is read again when it changes.
// A file that has become unreadable, or whose token cannot serve, leaves the old token in force.

import type { Log } from '../base/log.ts';
import { trimSecret } from './secrets.ts';
import type { Settings } from './settings.ts';
import { FileWatcher } from './watch.ts';

const MIN_TOKEN_CHARACTERS = 16;

/** Null for a token that may serve. A header could not carry other characters as they are, so nobody would be let in. */
export function complainOfToken(token: string): string | null {
  if (token.length < MIN_TOKEN_CHARACTERS) return `it has fewer than ${MIN_TOKEN_CHARACTERS} characters`;
  return /^[!-~]+$/.test(token) ? null : 'it has blanks or other characters than those of ASCII';
}

export class TokenKeeper {
  readonly #watcher: FileWatcher | null;
  #token: string | null;

  constructor({ admin }: Pick<Settings, 'admin'>, log: Log) {
    this.#token = admin.token;
    this.#watcher = admin.tokenFile === undefined ? null : this.#watch(admin.tokenFile, log);
  }

  /** Null where no token is demanded. */
  get token(): string | null {
    return this.#token;
  }

  start(): void {
    this.#watcher?.start();
  }

  /** SIGHUP: reads the file again now, and tells of it where it cannot even where that was told before. */
  async reload(): Promise<void> {
    await this.#watcher?.check(true);
  }

  stop(): void {
    this.#watcher?.stop();
  }

  #watch(file: string, log: Log): FileWatcher {
    return new FileWatcher({
      file,
      knownText: this.#token ?? '',
      onText: (text) => {
        const token = trimSecret(text);
        const complaint = complainOfToken(token);
        if (complaint !== null) throw new Error(complaint);
        if (token === this.#token) return;
        this.#token = token;
        log.info({ file }, 'the admin token was read again');
      },
      onError: (reason) => log.error({ file, reason }, 'the admin token was not read; the old one stays in force'),
    });
  }
}
