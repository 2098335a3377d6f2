// `pgweir explain`: how a statement of somebody would be judged, rule by rule, without a server.

import { readAs } from '../policy/cases.ts';
import { explain, formatExplanation } from '../policy/explain.ts';
import { complainOfClientAddress } from '../policy/matchers/address.ts';
import { PHYSICAL_DATABASE, type ReplicationMode } from '../session/replication-mode.ts';
import type { PortableSuggestion } from '../sql/portable.ts';
import type { CliIo, ExitCode, OutputFormat } from './io.ts';
import { CliError, EXIT, writeJson } from './io.ts';
import { compileSource, openFacts, readSource } from './sources.ts';

const PORTABLE_NOTE =
  'a suggestion: read and test it before use; comments and layout are lost, what is not listed here is unchanged';

export interface ExplainOptions {
  readonly output: OutputFormat;
  /** A rule document, or settings that hold or name one. */
  readonly rules: string;
  /** `-` reads it from stdin. */
  readonly sql: string;
  readonly user: string;
  readonly database: string;
  readonly applicationName: string;
  readonly clientIp: string;
  readonly inTransaction: boolean;
  readonly replication: ReplicationMode;
}

/** Throws CliError, RuleDocumentError and SettingsError. What the rules say does not change the exit code. */
export async function runExplain(io: CliIo, options: ExplainOptions): Promise<ExitCode> {
  if (options.rules === '-' && options.sql === '-')
    throw new CliError('only one of --rules and --sql can come from stdin');
  const complaint = complainOfClientAddress(options.clientIp);
  if (complaint !== null) throw new CliError(`--client-ip: ${complaint}`);
  const { ruleset } = compileSource(io, await readSource(io, options.rules));
  const facts = await openFacts();
  const text = options.sql === '-' ? await io.readStdin() : options.sql;
  const { statements, isBlock } = readAs(options.replication, text, facts);
  const { user, applicationName, clientIp } = options;
  const database = options.replication === 'physical' ? PHYSICAL_DATABASE : options.database;
  const explanation = explain(
    ruleset,
    { user, database, applicationName, clientIp },
    statements,
    isBlock || options.inTransaction,
  );
  // Imported here, so that no process that serves statements ever loads a second parser.
  const { suggestPortable } = await import('../sql/portable.ts');
  const portable = suggestPortable(text);
  if (options.output === 'json') {
    const { verdict: _, ...shown } = explanation;
    writeJson(io, { ...shown, portable: portable === null ? null : { ...portable, note: PORTABLE_NOTE } });
  } else {
    io.stdout.write(formatExplanation(explanation));
    if (portable !== null) io.stdout.write(formatPortable(portable));
  }
  return EXIT.ok;
}

function formatPortable({ text, changes }: PortableSuggestion): string {
  const lines = [`portable  ${text}`, ...changes.map((change) => `      ${change}`), `      ${PORTABLE_NOTE}`];
  return `${lines.join('\n')}\n`;
}
