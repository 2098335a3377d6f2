// `pgweir test [PATH…]`: runs rule cases, as YAML files or folders of them, against the rule documents that they name.

import { readdirSync, statSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { describeError } from '../base/errors.ts';
import { formatProblem } from '../base/yaml-document.ts';
import type { CaseDocument, CaseResult } from '../policy/cases.ts';
import { parseCases, runCases } from '../policy/cases.ts';
import type { CompiledRuleset } from '../policy/compiled-ruleset.ts';
import { RuleDocumentError } from '../policy/document.ts';
import type { FactsCache } from '../sql/facts-cache.ts';
import type { CliIo, ExitCode, OutputFormat } from './io.ts';
import { CliError, EXIT, paint, writeJson } from './io.ts';
import type { SourceText } from './sources.ts';
import { compileSource, guessKind, openFacts, readSource } from './sources.ts';

export interface TestOptions {
  readonly output: OutputFormat;
  /** Rule document to run all of them against, whatever they name. */
  readonly rules?: string | undefined;
}

/** Throws CliError where there is nothing to run, RuleDocumentError for documents that cannot be used. */
export async function runTests(io: CliIo, paths: readonly string[], options: TestOptions): Promise<ExitCode> {
  const sources = await gatherSources(io, paths);
  if (sources.length === 0) throw new CliError(`${paths.join(', ')}: no rule cases there`);
  const facts = await openFacts();
  const results: CaseResult[] = [];
  for (const source of sources) results.push(...(await runSource(io, source, options, facts)));
  const failed = results.filter((result) => !result.isPassed);
  if (options.output === 'json') {
    const cases = results.map(({ name, source, line, isPassed, complaints }) => ({
      name,
      source,
      line,
      ok: isPassed,
      complaints,
    }));
    writeJson(io, { ok: failed.length === 0, total: results.length, failed: failed.length, cases });
  } else {
    writeText(io, sources, results);
  }
  return failed.length === 0 ? EXIT.ok : EXIT.failed;
}

/** A folder's YAML and JSON files that hold cases; a file given by name must hold some. */
async function gatherSources(io: CliIo, paths: readonly string[]): Promise<SourceText[]> {
  const sources: SourceText[] = [];
  for (const path of paths) {
    if (path !== '-' && isFolder(path)) {
      const names = readdirSync(path, { recursive: true, encoding: 'utf8' }).filter((name) =>
        /\.(ya?ml|json)$/.test(name),
      );
      for (const name of names.sort()) {
        const source = await readSource(io, join(path, name));
        if (guessKind(source) === 'cases') sources.push(source);
      }
    } else {
      sources.push(await readSource(io, path));
    }
  }
  return sources;
}

function isFolder(path: string): boolean {
  try {
    return statSync(path).isDirectory();
  } catch (error) {
    throw new CliError(`${path}: cannot be read: ${describeError(error)}`);
  }
}

async function runSource(
  io: CliIo,
  source: SourceText,
  options: TestOptions,
  facts: FactsCache,
): Promise<CaseResult[]> {
  const document = parseCases(source.text, source.name);
  return runCases(document, await compileRules(io, source, document, options), facts);
}

async function compileRules(
  io: CliIo,
  source: SourceText,
  document: CaseDocument,
  options: TestOptions,
): Promise<CompiledRuleset> {
  const named = document.rules === null ? undefined : resolve(dirname(source.file ?? '.'), document.rules);
  const path = options.rules ?? named;
  if (path === undefined) throw new CliError(`${source.name}: names no rules; give them by --rules`);
  try {
    return compileSource(io, await readSource(io, path)).ruleset;
  } catch (error) {
    if (!(error instanceof RuleDocumentError)) throw error;
    throw new CliError(`${source.name}: the rules cannot be used\n${error.problems.map(formatProblem).join('\n')}`);
  }
}

function writeText(io: CliIo, sources: readonly SourceText[], results: readonly CaseResult[]): void {
  for (const source of sources) {
    const own = results.filter((result) => result.source === source.name);
    const failed = own.filter((result) => !result.isPassed);
    const word = failed.length === 0 ? paint(io, io.stdout, 'ok', 'green') : paint(io, io.stdout, 'FAILED', 'red');
    io.stdout.write(`${word} ${source.name}: ${own.length - failed.length} of ${own.length} cases\n`);
    for (const result of failed) {
      io.stdout.write(`  ${result.source}:${result.line}: ${result.name}\n`);
      for (const complaint of result.complaints) io.stdout.write(`    ${complaint}\n`);
    }
  }
}
