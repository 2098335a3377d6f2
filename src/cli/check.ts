// `pgweir check FILE…`: what serve would refuse of these settings or rules before it opens a socket, and lint. Flags of serve
// and rules in its state directory are not looked at. Of rule cases only the form is checked.

import type { DocumentProblem } from '../base/yaml-document.ts';
import { formatProblem } from '../base/yaml-document.ts';
import { SettingsError } from '../config/load.ts';
import type { Settings } from '../config/settings.ts';
import { parseCases } from '../policy/cases.ts';
import type { CompiledRuleset } from '../policy/compiled-ruleset.ts';
import { RuleDocumentError } from '../policy/document.ts';
import { findLint } from '../policy/lint.ts';
import type { CliIo, ExitCode, OutputFormat } from './io.ts';
import { EXIT, paint, writeJson } from './io.ts';
import type { SourceKind, SourceText } from './sources.ts';
import { compileSource, guessKind, readSource } from './sources.ts';

export interface CheckOptions {
  readonly output: OutputFormat;
  /** Lint is an error. */
  readonly lint: boolean;
}

interface CheckResult {
  readonly file: string;
  readonly kind: SourceKind;
  readonly ok: boolean;
  readonly version: string | null;
  readonly rules: number;
  readonly problems: readonly DocumentProblem[];
  readonly lint: readonly string[];
}

export async function runCheck(io: CliIo, paths: readonly string[], options: CheckOptions): Promise<ExitCode> {
  const results: CheckResult[] = [];
  for (const path of paths) results.push(checkSource(io, await readSource(io, path)));
  const hasProblems = results.some((result) => !result.ok);
  const hasLint = results.some((result) => result.lint.length > 0);
  if (options.output === 'json') writeJson(io, { ok: !hasProblems, files: results });
  else for (const result of results) writeText(io, result);
  if (hasProblems) return EXIT.error;
  return hasLint && options.lint ? EXIT.lint : EXIT.ok;
}

function checkSource(io: CliIo, source: SourceText): CheckResult {
  const base = { file: source.name, ok: true, version: null, rules: 0, problems: [], lint: [] };
  const kind = guessKind(source);
  try {
    if (kind === 'cases') {
      parseCases(source.text, source.name);
      return { ...base, kind };
    }
    const { ruleset, settings } = compileSource(io, source);
    const lint = [...findLint(ruleset), ...(settings === null ? [] : findRouteLint(ruleset, settings))];
    return { ...base, kind, version: ruleset.version, rules: ruleset.rules.length, lint };
  } catch (error) {
    if (!(error instanceof RuleDocumentError) && !(error instanceof SettingsError)) throw error;
    return { ...base, kind, ok: false, problems: error.problems };
  }
}

/** Rules that route to where these settings never let a statement go. */
function findRouteLint(ruleset: CompiledRuleset, { targets, auth }: Settings): string[] {
  let reason = '';
  if (targets.replicas.length === 0) reason = 'targets.replicas names none';
  else if (auth.mode === 'passthrough') reason = 'auth.mode passthrough cannot log in there';
  if (reason === '') return [];
  return ruleset.rules
    .filter((rule) => rule.mode !== 'off' && rule.target === 'replica')
    .map((rule) => `rule "${rule.name}": routes to a replica, but ${reason}; its statements run on the primary`);
}

function writeText(io: CliIo, result: CheckResult): void {
  for (const problem of result.problems) io.stderr.write(`${formatProblem(problem)}\n`);
  for (const hint of result.lint) io.stderr.write(`${result.file}: lint: ${hint}\n`);
  const what = result.kind === 'cases' ? 'cases' : `${result.kind}, version ${result.version}, ${result.rules} rules`;
  const verdict = result.ok
    ? `${paint(io, io.stdout, 'ok', 'green')} (${what})`
    : paint(io, io.stdout, `${result.problems.length} problem${result.problems.length === 1 ? '' : 's'}`, 'red');
  io.stdout.write(`${result.file}: ${verdict}\n`);
}
