// The one writer of the active ruleset. A change is validated and compiled as a whole, then one pointer moves; whatever
// fails leaves the old rules in force. What ran before stays in a bounded history that can be rolled back to.

import { isDeepStrictEqual } from 'node:util';
import { parseDocument, stringify } from 'yaml';
import type { Clock } from '../base/clock.ts';
import { systemClock } from '../base/clock.ts';
import { loadRuleset } from './compile.ts';
import type { CompiledRuleset } from './compiled-ruleset.ts';
import { RuleDocumentError } from './document.ts';
import { findLint } from './lint.ts';
import { modeOf } from './live-rule.ts';
import type { RuleDocument, RuleMode } from './rule.ts';

const MAX_HISTORY = 50;

export interface ChangeRequest {
  /** Who asked; free text for the history. */
  readonly actor: string;
  readonly reason?: string | null;
  /** Says what would happen, changes nothing. */
  readonly isDryRun?: boolean;
}

/** Names of rules; `settings` names what changed besides them. */
export interface RulesDiff {
  readonly added: readonly string[];
  readonly removed: readonly string[];
  readonly changed: readonly string[];
  readonly unchanged: readonly string[];
  readonly settings: readonly string[];
}

export interface ChangeOutcome {
  /** `unchanged`: the document means what is active already; nothing was swapped. */
  readonly outcome: 'swapped' | 'unchanged' | 'dry_run';
  readonly version: string;
  readonly previousVersion: string;
  readonly epoch: number;
  readonly diff: RulesDiff;
  readonly lint: readonly string[];
}

export interface RuleVersion {
  readonly version: string;
  readonly epoch: number;
  readonly atMs: number;
  readonly actor: string;
  readonly reason: string | null;
  readonly source: string;
  /** The document as it was written. */
  readonly text: string;
}

/** Called after a swap, in the same turn. */
export type SwapListener = (current: RuleVersion, ruleset: CompiledRuleset) => void;

export class UnknownRuleError extends Error {
  override readonly name = 'UnknownRuleError';
  constructor(rule: string) {
    super(`there is no rule "${rule}"`);
  }
}

export class UnknownVersionError extends Error {
  override readonly name = 'UnknownVersionError';
  constructor(version: string | number) {
    super(
      typeof version === 'number'
        ? `the history does not go back ${version} versions`
        : `version ${version} is not in the history`,
    );
  }
}

export interface ReloadState {
  isSuccessful: boolean;
  /** Of the last attempt. */
  atMs: number;
  error: string | null;
}

export class RuleBook {
  /** The last attempt to bring in rules, dry runs left out. */
  readonly lastReload: ReloadState;
  swaps = 0;
  rejected = 0;
  readonly #clock: Clock;
  readonly #history: RuleVersion[];
  readonly #listeners = new Set<SwapListener>();
  #active: CompiledRuleset;

  /** Throws RuleDocumentError: without good rules there is no book. */
  constructor(text: string, source: string, clock: Clock = systemClock) {
    this.#clock = clock;
    this.#active = loadRuleset(text, source, { epoch: 1 });
    const atMs = clock.wallMs();
    this.lastReload = { isSuccessful: true, atMs, error: null };
    this.#history = [{ version: this.#active.version, epoch: 1, atMs, actor: 'start', reason: null, source, text }];
  }

  get active(): CompiledRuleset {
    return this.#active;
  }

  get version(): string {
    return this.#active.version;
  }

  /** The active document as it was written. */
  get current(): RuleVersion {
    return this.#history.at(-1) as RuleVersion;
  }

  /** Oldest first; the last is active. */
  get history(): readonly RuleVersion[] {
    return this.#history;
  }

  /** Brings in a whole document. Throws RuleDocumentError; then nothing has changed. */
  post(text: string, source: string, request: ChangeRequest): ChangeOutcome {
    const previous = this.#active;
    const next = this.#compile(text, source, request);
    const outcome = {
      version: next.version,
      previousVersion: previous.version,
      diff: diffRulesets(previous, next),
      lint: findLint(next),
    };
    if (request.isDryRun === true) return { ...outcome, outcome: 'dry_run', epoch: previous.epoch };
    this.noteReload(null);
    if (next.version === previous.version) return { ...outcome, outcome: 'unchanged', epoch: previous.epoch };
    const version: RuleVersion = {
      version: next.version,
      epoch: next.epoch,
      atMs: this.#clock.wallMs(),
      actor: request.actor,
      reason: request.reason ?? null,
      source,
      text,
    };
    this.#active = next;
    this.#history.push(version);
    if (this.#history.length > MAX_HISTORY) this.#history.shift();
    this.swaps += 1;
    for (const listener of this.#listeners) listener(version, next);
    return { ...outcome, outcome: 'swapped', epoch: next.epoch };
  }

  /** Changes the mode of one rule as a new version; the document keeps its comments. Throws UnknownRuleError and as post. */
  patchMode(name: string, mode: RuleMode, request: ChangeRequest): ChangeOutcome {
    const { text, source } = this.current;
    const index = (this.#active.document.traffic_control.rules ?? []).findIndex((rule) => rule.name === name);
    const rule = this.#active.document.traffic_control.rules?.[index];
    if (rule === undefined) throw new UnknownRuleError(name);
    if (modeOf(rule) === mode) return this.post(text, source, request);
    const changed = writeMode(text, this.#active.document, index, mode);
    const reason = request.reason ?? `${name}: mode ${mode}`;
    return this.post(changed, source, { ...request, reason });
  }

  /** Back to a version of the history, or by so many versions. Throws UnknownVersionError and as post. */
  rollback(to: string | number, request: ChangeRequest): ChangeOutcome {
    const found =
      typeof to === 'number' ? this.#history.at(-1 - to) : this.#history.findLast((version) => version.version === to);
    if (found === undefined || (typeof to === 'number' && (to < 1 || !Number.isInteger(to))))
      throw new UnknownVersionError(to);
    const reason = request.reason ?? `rollback to ${found.version}`;
    return this.post(found.text, found.source, { ...request, reason });
  }

  /** The answer ends the subscription. A listener must not throw. */
  subscribe(listener: SwapListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** How the last attempt to bring in rules has ended, also where there was no document to read; null where all is well. */
  noteReload(error: string | null): void {
    this.lastReload.isSuccessful = error === null;
    this.lastReload.atMs = this.#clock.wallMs();
    this.lastReload.error = error;
  }

  #compile(text: string, source: string, request: ChangeRequest): CompiledRuleset {
    try {
      return loadRuleset(text, source, { epoch: this.#active.epoch + 1, previous: this.#active });
    } catch (error) {
      if (request.isDryRun !== true && error instanceof RuleDocumentError) {
        this.rejected += 1;
        this.noteReload(error.message);
      }
      throw error;
    }
  }
}

/** The document's text with another mode for one rule: comments stay, and JSON stays JSON. */
function writeMode(text: string, active: RuleDocument, index: number, mode: RuleMode): string {
  const wanted = structuredClone(active);
  const { observe_only: _, ...rule } = wanted.traffic_control.rules?.[index] ?? { name: '', action: 'observe' };
  wanted.traffic_control.rules?.splice(index, 1, { ...rule, mode });
  if (isJson(text)) return `${JSON.stringify(wanted, null, 2)}\n`;
  return editMode(text, index, mode, wanted) ?? stringify(wanted);
}

/** Null where the edit says something else than what is wanted: an alias or a merge key may share what it touches. */
function editMode(text: string, index: number, mode: RuleMode, wanted: RuleDocument): string | null {
  const document = parseDocument(text);
  const path = ['traffic_control', 'rules', index];
  try {
    document.deleteIn([...path, 'observe_only']);
    document.setIn([...path, 'mode'], mode);
    return isDeepStrictEqual(document.toJS(), wanted) ? document.toString({ lineWidth: 0 }) : null;
  } catch {
    // An alias in the way, or one whose anchor stood in what was deleted.
    return null;
  }
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

/** By rule name; a rule that only moved among its equals in priority counts as unchanged. */
function diffRulesets(previous: CompiledRuleset, next: CompiledRuleset): RulesDiff {
  const before = new Map(previous.rules.map((rule) => [rule.name, rule.definition]));
  const after = new Set(next.rules.map((rule) => rule.name));
  const settings: string[] = [];
  if (previous.defaultAction !== next.defaultAction) settings.push('default_action');
  if (previous.onUnparsed !== next.onUnparsed) settings.push('on_unparsed');
  const names = (keep: (name: string, definition: string) => boolean): string[] =>
    next.rules.filter((rule) => keep(rule.name, rule.definition)).map((rule) => rule.name);
  return {
    added: names((name) => !before.has(name)),
    removed: previous.rules.filter((rule) => !after.has(rule.name)).map((rule) => rule.name),
    changed: names((name, definition) => before.has(name) && before.get(name) !== definition),
    unchanged: names((name, definition) => before.get(name) === definition),
    settings,
  };
}
