// Files that commands are given: settings, rule documents or rule cases, told apart by what they hold; `-` is stdin.

import { readFileSync } from 'node:fs';
import { describeError } from '../base/errors.ts';
import { PositionedDocument } from '../base/yaml-document.ts';
import { loadSettings } from '../config/load.ts';
import type { Settings } from '../config/settings.ts';
import { compileRuleset } from '../policy/compile.ts';
import type { CompiledRuleset } from '../policy/compiled-ruleset.ts';
import { parseRuleDocument } from '../policy/document.ts';
import { FactsCache } from '../sql/facts-cache.ts';
import { loadParser } from '../sql/parse.ts';
import type { CliIo } from './io.ts';
import { CliError } from './io.ts';

export interface SourceText {
  /** As it is named in problems. */
  readonly name: string;
  /** Null for stdin. */
  readonly file: string | null;
  readonly text: string;
}

export type SourceKind = 'settings' | 'rules' | 'cases';

/** Throws CliError for a file that cannot be read. */
export async function readSource(io: CliIo, path: string): Promise<SourceText> {
  if (path === '-') return { name: '<stdin>', file: null, text: await io.readStdin() };
  try {
    return { name: path, file: path, text: readFileSync(path, 'utf8') };
  } catch (error) {
    throw new CliError(`${path}: cannot be read: ${describeError(error)}`);
  }
}

/** `cases` makes rule cases, `traffic_control` alone makes a rule document, anything else is taken for settings. */
export function guessKind(source: SourceText): SourceKind {
  let value: unknown;
  try {
    value = new PositionedDocument(source.text, source.name).value;
  } catch {
    return 'rules';
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return 'rules';
  if ('cases' in value) return 'cases';
  return Object.keys(value).some((key) => key !== 'traffic_control' && key !== '$schema') ? 'settings' : 'rules';
}

export interface CompiledSource {
  readonly kind: 'settings' | 'rules';
  readonly ruleset: CompiledRuleset;
  /** Null for a rule document by itself. */
  readonly settings: Settings | null;
}

/** The rules of a rule document or of settings. Throws RuleDocumentError and SettingsError. */
export function compileSource(io: CliIo, source: SourceText): CompiledSource {
  if (guessKind(source) !== 'settings') {
    return { kind: 'rules', ruleset: compileText(source.text, source.name), settings: null };
  }
  const settings = loadSettings({
    file: source.file ?? undefined,
    text: source.text,
    source: source.name,
    environment: io.environment,
  });
  return { kind: 'settings', ruleset: compileText(settings.rules.text, settings.rules.source), settings };
}

/** Throws RuleDocumentError. */
function compileText(text: string, source: string): CompiledRuleset {
  const { document, problemAt } = parseRuleDocument(text, source);
  return compileRuleset(document, { epoch: 1, source, problemAt });
}

/** Statements of a command line are few; the bound on their length is that of the default settings. */
export async function openFacts(): Promise<FactsCache> {
  await loadParser();
  return new FactsCache({ maxEntries: 1000, maxBytes: 16 * 1024 * 1024, maxAnalyzedBytes: 1024 * 1024 });
}
