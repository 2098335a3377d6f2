// Rules that were posted over the API, kept in the state directory so that they survive a restart. Written beside and
// renamed, with fsync, so that a crash leaves the old or the new rules; the ones before them are kept too.

import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { copyFile, mkdir, open, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { describeError } from '../base/errors.ts';
import type { Settings } from './settings.ts';

/** What is kept of one version of the rules. */
export interface StoredRules {
  readonly text: string;
  readonly version: string;
  readonly actor: string;
  readonly reason: string;
  readonly savedAtMs: number;
  /** Of the text in the settings at that time (hashSettingsRules): when that text has changed since, the settings win. */
  readonly replacesHash: string;
}

export interface LoadedState {
  readonly rules: StoredRules | null;
  /** What could not be read, for the log; empty when all is well. */
  readonly problems: readonly string[];
}

const FORMAT = 1;
const CURRENT_FILE = 'rules.json';
const PREVIOUS_FILE = 'rules.previous.json';

export class RuleStore {
  readonly #directory: string;
  #lastSave: Promise<boolean> = Promise.resolve(true);

  constructor(directory: string) {
    this.#directory = directory;
  }

  /** The newest rules that can be read whole. Never throws: a broken state must not keep pgweir from starting. */
  load(): LoadedState {
    const problems: string[] = [];
    for (const name of [CURRENT_FILE, PREVIOUS_FILE]) {
      const file = join(this.#directory, name);
      try {
        return { rules: readStored(readFileSync(file, 'utf8')), problems };
      } catch (error) {
        if (!isMissing(error)) problems.push(`${file}: ${describeError(error)}`);
      }
    }
    return { rules: null, problems };
  }

  /** Saves run one after another, in the order of the calls. Rejects when the directory cannot be written. */
  save(rules: StoredRules): Promise<void> {
    const saved = this.#lastSave.then(() => this.#write(rules));
    this.#lastSave = saved.then(
      () => true,
      () => false,
    );
    return saved;
  }

  /** Resolves when nothing is left to be saved: whether the last one could be. */
  get settled(): Promise<boolean> {
    return this.#lastSave;
  }

  async #write(rules: StoredRules): Promise<void> {
    await mkdir(this.#directory, { recursive: true, mode: 0o700 });
    const current = join(this.#directory, CURRENT_FILE);
    const temporary = join(this.#directory, `.${CURRENT_FILE}.new`);
    await writeDurably(temporary, formatStored(rules));
    try {
      await copyFile(current, join(this.#directory, PREVIOUS_FILE));
    } catch (error) {
      if (!isMissing(error)) throw error;
    }
    await rename(temporary, current);
    await syncDirectory(this.#directory);
  }
}

/**
 * Identifies the text of the settings' rules. Those of a settings file come with blanks where the rest of it was, which are
 * more or fewer when another setting changes: they do not count, between the braces of JSON neither.
 */
export function hashSettingsRules(text: string): string {
  const rules = text.trim();
  const isJson = rules.startsWith('{') && rules.endsWith('}');
  return hashRuleText(isJson ? `{${rules.slice(1, -1).trim()}}` : rules);
}

function hashRuleText(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

/**
 * The rules to start with: the stored ones, as long as the settings still hold the text that those replaced; a text
 * that has changed since is the operator's newer word.
 */
export function chooseStartingRules(
  settings: Pick<Settings['rules'], 'text' | 'source'>,
  stored: StoredRules | null,
): { readonly text: string; readonly source: string; readonly isStored: boolean } {
  if (stored !== null && stored.replacesHash === hashSettingsRules(settings.text)) {
    return { text: stored.text, source: `state directory (version ${stored.version})`, isStored: true };
  }
  return { text: settings.text, source: settings.source, isStored: false };
}

function formatStored(rules: StoredRules): string {
  return `${JSON.stringify({ format: FORMAT, checksum: hashRuleText(rules.text), ...rules }, null, 2)}\n`;
}

/** Throws Error for anything but a whole file of this format. */
function readStored(content: string): StoredRules {
  const stored = JSON.parse(content) as Partial<StoredRules> & { format?: unknown; checksum?: unknown };
  const { text, version, actor, reason, savedAtMs, replacesHash } = stored;
  const isWhole =
    stored.format === FORMAT &&
    typeof text === 'string' &&
    typeof version === 'string' &&
    typeof actor === 'string' &&
    typeof reason === 'string' &&
    typeof savedAtMs === 'number' &&
    typeof replacesHash === 'string';
  if (!isWhole) throw new Error(`is no rule state of format ${FORMAT}`);
  if (stored.checksum !== hashRuleText(text)) throw new Error('the checksum does not fit the text');
  return { text, version, actor, reason, savedAtMs, replacesHash };
}

async function writeDurably(file: string, content: string): Promise<void> {
  const handle = await open(file, 'w', 0o600);
  try {
    await handle.writeFile(content);
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** A rename is on disk only once its directory is (fsync(2)). */
async function syncDirectory(directory: string): Promise<void> {
  const handle = await open(directory, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT';
}
