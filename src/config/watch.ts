// Watches a file that is read again when it changes: rules, passwords, users, certificates, the admin token. Kubernetes
// swaps a symlink beside it, after which a watch on the file itself is deaf: so the folder is watched, events are gathered,
// contents compared, and a slow poll catches what no event told.

import type { FSWatcher } from 'node:fs';
import { watch } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { describeError } from '../base/errors.ts';

export interface FileWatcherOptions {
  /** Absolute path. */
  readonly file: string;
  /** The text that is in force already: only another one is news. */
  readonly knownText: string;
  /** Called with each new text, and after a forced check with the known one too. What it throws goes to onError. */
  onText(text: string, isForced: boolean): void;
  /** The file cannot be read. Told once for each new reason, not at each poll; by a forced check always. */
  onError(message: string): void;
  /** After it could not be read the file is there again, with the text that is known. */
  onBack?(): void;
  /** Events closer together than this are one; default 100 ms. */
  readonly debounceMs?: number;
  /** Default 5,000 ms. */
  readonly pollMs?: number;
}

export class FileWatcher {
  readonly #options: FileWatcherOptions;
  #knownText: string;
  #watcher: FSWatcher | null = null;
  #debounce: NodeJS.Timeout | null = null;
  #poll: NodeJS.Timeout | null = null;
  #isStopped = false;
  #isMissing = false;
  #lastError = '';
  #reading: Promise<void> = Promise.resolve();

  constructor(options: FileWatcherOptions) {
    this.#options = options;
    this.#knownText = options.knownText;
  }

  start(): void {
    const { pollMs = 5000 } = this.#options;
    this.#openWatcher();
    this.#poll = setInterval(() => {
      if (this.#watcher === null) this.#openWatcher();
      void this.check();
    }, pollMs);
    this.#poll.unref();
  }

  /**
   * Reads the file now. Resolves when its text, if new, has been handed over. `isForced` (SIGHUP) hands it over even
   * when it is the known one, so that an operator can bring the file's rules back after posting others, and tells again
   * what is still wrong.
   */
  check(isForced = false): Promise<void> {
    this.#reading = this.#reading.then(() => this.#read(isForced));
    return this.#reading;
  }

  stop(): void {
    this.#isStopped = true;
    this.#watcher?.close();
    this.#watcher = null;
    if (this.#debounce !== null) clearTimeout(this.#debounce);
    if (this.#poll !== null) clearInterval(this.#poll);
  }

  /** Where that fails, as at the system's limit of watches, the poll does without. */
  #openWatcher(): void {
    try {
      this.#watcher = watch(dirname(this.#options.file), { persistent: false }, () => this.#schedule());
      this.#watcher.on('error', () => {
        this.#watcher?.close();
        this.#watcher = null;
      });
    } catch {
      this.#watcher = null;
    }
  }

  #schedule(): void {
    if (this.#isStopped || this.#debounce !== null) return;
    this.#debounce = setTimeout(() => {
      this.#debounce = null;
      void this.check();
    }, this.#options.debounceMs ?? 100);
    this.#debounce.unref();
  }

  async #read(isForced: boolean): Promise<void> {
    if (this.#isStopped) return;
    let text: string;
    try {
      text = await readFile(this.#options.file, 'utf8');
    } catch (error) {
      this.#isMissing = true;
      if (isForced) this.#lastError = '';
      this.#tell(describeError(error));
      return;
    }
    const isBack = this.#isMissing;
    this.#isMissing = false;
    this.#lastError = '';
    if (this.#isStopped) return;
    if (text === this.#knownText && !isForced) {
      if (isBack) this.#options.onBack?.();
      return;
    }
    this.#knownText = text;
    try {
      this.#options.onText(text, isForced);
    } catch (error) {
      this.#tell(describeError(error));
    }
  }

  #tell(message: string): void {
    if (this.#isStopped || message === this.#lastError) return;
    this.#lastError = message;
    this.#options.onError(message);
  }
}
