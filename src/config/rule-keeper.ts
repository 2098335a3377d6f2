// Where the active rules come from and where they go: started from the settings or from what was posted before a restart,
// followed when their file changes, kept when they are swapped.

import { resolve } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import type { Clock } from '../base/clock.ts';
import { describeError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import { RuleBook, type RuleVersion } from '../policy/rule-book.ts';
import { readInlineRules } from './load.ts';
import type { Settings } from './settings.ts';
import { chooseStartingRules, hashSettingsRules, RuleStore } from './state.ts';
import { FileWatcher } from './watch.ts';

/** A disk may hang. */
const KEEP_MS = 5_000;
const NOT_RELOADED = 'rules were not reloaded; the old ones stay in force';

export class RuleKeeper {
  readonly book: RuleBook;
  readonly #store: RuleStore | null;
  readonly #watcher: FileWatcher | null;
  readonly #settingsFile: string | null;
  readonly #log: Log;
  /** The newest text of the settings' rules, good or bad: what is posted after it replaces it. */
  #settingsText: string;
  /** Where that text is no good. */
  #refusal: string | null = null;
  /** The rules in force could not be stored. */
  #isLost = false;

  /** Throws RuleDocumentError where neither the stored rules nor those of the settings are good. */
  constructor(settings: Settings, log: Log, clock: Clock) {
    const store = settings.stateDirectory === null ? null : new RuleStore(settings.stateDirectory);
    this.#store = store;
    this.#settingsText = settings.rules.text;
    this.#settingsFile = settings.rules.settingsFile ?? null;
    this.#log = log;
    this.book = openBook(settings, store, log, clock);
    if (store !== null) this.#keepSwaps(store, log);
    if (store !== null && settings.rules.onInvalidStart === 'last_good') this.#keepStart(store, log);
    this.#watcher =
      settings.rules.file === null ? null : this.#watch(resolve(settings.rules.file), settings.rules.text, log);
  }

  start(): void {
    this.#watcher?.start();
  }

  /** SIGHUP: reads the rules again, even where nothing seems to have changed, and always logs what came of it. */
  async reload(): Promise<void> {
    if (this.#watcher === null) this.#reloadInline();
    else await this.#watcher.check(true);
  }

  /**
   * Whether the rules that were swapped in would survive a restart; resolves when that is known, or took too long. Where they could
   * not be stored before it is tried again: who posts them once more changes nothing, but may have made room.
   */
  async kept(): Promise<boolean> {
    if (this.#store === null) return false;
    if (this.#isLost) this.#keep(this.book.current, this.#store, this.#log);
    const late = new AbortController();
    const deadline = setTimeout(KEEP_MS, false, { signal: late.signal }).catch(() => false);
    const isStored = await Promise.race([this.#store.settled, deadline]);
    late.abort();
    return isStored;
  }

  stop(): void {
    this.#watcher?.stop();
  }

  #watch(file: string, knownText: string, log: Log): FileWatcher {
    return new FileWatcher({
      file,
      knownText,
      onText: (text, isForced) => this.#take(text, file, isForced ? 'SIGHUP' : 'the rule file has changed'),
      onError: (reason) => this.#complain({ file, reason }),
      onBack: () => {
        this.book.noteReload(this.#refusal);
        log.info({ file }, 'the rule file is there again, as it was');
      },
    });
  }

  /** Settings that hold no rules take away none: theirs were posted, and allowing everything is nothing to slip into. */
  #reloadInline(): void {
    const file = this.#settingsFile;
    try {
      const text = file === null ? null : readInlineRules(file);
      const reason = file === null ? 'the settings stand in no file' : 'the settings hold no rules';
      if (file === null || text === null) this.#log.warn({ file, reason }, NOT_RELOADED);
      else this.#take(text, file, 'SIGHUP');
    } catch (error) {
      this.#complain({ file, reason: describeError(error) });
    }
  }

  #complain({ file, reason }: { readonly file: string | null; readonly reason: string }): void {
    this.book.noteReload(reason);
    this.#log.error({ file, reason }, NOT_RELOADED);
  }

  #take(text: string, file: string, reason: string): void {
    this.#settingsText = text;
    this.#refusal = 'the rules of the file are no good';
    const { version, outcome } = this.book.post(text, file, { actor: 'file', reason });
    this.#refusal = null;
    this.#log.info({ version, outcome, file }, 'rules were read from their file');
  }

  #keepSwaps(store: RuleStore, log: Log): void {
    this.book.subscribe((version) => this.#keep(version, store, log));
  }

  /** The rules of this start are the last good ones of the next. */
  #keepStart(store: RuleStore, log: Log): void {
    const { current } = this.book;
    if (current.text === this.#settingsText) this.#keep(current, store, log);
  }

  #keep({ text, version, actor, reason, atMs }: RuleVersion, store: RuleStore, log: Log): void {
    const replacesHash = hashSettingsRules(this.#settingsText);
    this.#isLost = false;
    store
      .save({ text, version, actor, reason: reason ?? '', savedAtMs: atMs, replacesHash })
      .catch((error: unknown) => {
        this.#isLost = true;
        log.error({ version, reason: describeError(error) }, 'rules could not be stored; a restart will not know them');
      });
  }
}

function openBook(settings: Settings, store: RuleStore | null, log: Log, clock: Clock): RuleBook {
  const loaded = store?.load() ?? { rules: null, problems: [] };
  for (const problem of loaded.problems) log.warn({ problem }, 'stored rules cannot be read');
  const { rules } = settings;
  const start = chooseStartingRules(rules, loaded.rules);
  try {
    const book = new RuleBook(start.text, start.source, clock);
    if (loaded.rules !== null && !start.isStored) {
      const { version, actor } = loaded.rules;
      log.info({ version, actor }, 'stored rules give way: those of the settings have changed since');
    }
    return book;
  } catch (error) {
    const reason = describeError(error);
    if (start.isStored) {
      log.error({ reason }, 'stored rules are not good any more; those of the settings are used');
      return new RuleBook(rules.text, rules.source, clock);
    }
    if (rules.onInvalidStart === 'exit' || loaded.rules === null) throw error;
    const { text, version } = loaded.rules;
    const book = new RuleBook(text, `state directory (version ${version})`, clock);
    log.error({ reason, version }, 'the rules are no good; the last good ones are used');
    noteRefusal(book, rules);
    return book;
  }
}

/** So that metrics and the history tell of the document that was refused before the book was open. */
function noteRefusal(book: RuleBook, { text, source }: Settings['rules']): void {
  try {
    book.post(text, source, { actor: 'start' });
  } catch {
    // It was refused once already, and the reason is in the log.
  }
}
