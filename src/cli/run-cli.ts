// The command line: which commands and options there are, and what their ends mean. Touches the world only through CliIo.

import { Command, CommanderError, Option } from 'commander';
import manifest from '../../package.json' with { type: 'json' };
import { ListenError } from '../base/listen-error.ts';
import { formatProblem } from '../base/yaml-document.ts';
import { SettingsError } from '../config/load.ts';
import { RuleDocumentError } from '../policy/document.ts';
import { REPLICATION_MODES, type ReplicationMode } from '../session/replication-mode.ts';
import { runCheck } from './check.ts';
import { runExplain } from './explain.ts';
import type { CliIo, OutputFormat } from './io.ts';
import { CliError, EXIT, paint, writeJson } from './io.ts';
import { runShutdown, runWait } from './neighbour.ts';
import type { StartWeir } from './serve.ts';
import { runServe } from './serve.ts';
import { runTests } from './test-rules.ts';

const VERSION_LINE = `pgweir ${manifest.version} (node ${process.version})`;

interface ServeFlags {
  readonly set: readonly string[];
  readonly listen?: string;
  readonly target?: string;
  readonly admin?: string;
  readonly health?: string;
  readonly rules?: string;
  readonly stateDirectory?: string;
  readonly logLevel?: string;
}

interface ExplainFlags {
  readonly rules: string;
  readonly sql: string;
  readonly user: string;
  readonly database: string;
  readonly applicationName: string;
  readonly clientIp: string;
  readonly inTransaction?: boolean;
  readonly replication: ReplicationMode;
  readonly output: OutputFormat;
}

/** @param argv the words behind the program's name. Answers the exit code; never throws for a mistake of the user. */
export async function runCli(argv: readonly string[], io: CliIo, startWeir: StartWeir): Promise<number> {
  let exitCode: number = EXIT.ok;
  const program = buildProgram(io, startWeir, (code) => {
    exitCode = code;
  });
  try {
    await program.parseAsync(argv, { from: 'user' });
    return exitCode;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.error;
    const complaint = wordComplaint(error);
    if (complaint === null) throw error;
    io.stderr.write(`${paint(io, io.stderr, 'pgweir:', 'red')} ${complaint}\n`);
    return error instanceof CliError ? error.exitCode : EXIT.error;
  }
}

function buildProgram(io: CliIo, startWeir: StartWeir, end: (code: number) => void): Command {
  const program = new Command('pgweir')
    .description(manifest.description)
    .version(VERSION_LINE, '-V, --version', 'print the version')
    .exitOverride()
    .configureOutput({ writeOut: (text) => io.stdout.write(text), writeErr: (text) => io.stderr.write(text) })
    .showHelpAfterError('(see pgweir --help)');
  program.addHelpText(
    'after',
    '\nExit codes: 0 ok, 1 load or usage error, 2 failed rule cases, 3 lint (check --lint).\n"-" in place of a file is stdin.',
  );
  addServe(program, io, startWeir, end);

  addNeighbour(program, io, end);

  program
    .command('check')
    .description('compile settings, rule documents or rule cases without opening a socket')
    .argument('<file...>')
    .option('--lint', 'exit 3 when there is lint', false)
    .addOption(outputOption())
    .action(async (files: string[], flags: { lint: boolean; output: OutputFormat }) =>
      end(await runCheck(io, files, flags)),
    );

  program
    .command('test')
    .description('run rule cases: statements and what the rules must do with them')
    .argument('[path...]', 'case files, or folders that hold some', ['rules'])
    .option('--rules <file>', 'run them against these rules, whatever the cases name')
    .addOption(outputOption())
    .action(async (paths: string[], flags: { rules?: string; output: OutputFormat }) =>
      end(await runTests(io, paths, flags)),
    );

  program
    .command('explain')
    .description('tell how a statement would be judged, rule by rule')
    .requiredOption('--rules <file>', 'rule document, or settings that hold or name one')
    .requiredOption('--sql <text>', 'the text of one message')
    .option('--user <name>', '', 'app')
    .option('--database <name>', '', 'app')
    .option('--application-name <name>', '', '')
    .option('--client-ip <address>', 'an address, or "unix"', '127.0.0.1')
    .option('--in-transaction', 'as inside a transaction block')
    .addOption(
      new Option('--replication <mode>', 'as on a replication connection').choices(REPLICATION_MODES).default('none'),
    )
    .addOption(outputOption())
    .action(async (flags: ExplainFlags) =>
      end(await runExplain(io, { ...flags, inTransaction: flags.inTransaction === true })),
    );

  program
    .command('version')
    .description('print the version')
    .addOption(outputOption())
    .action((flags: { output: OutputFormat }) => {
      if (flags.output === 'json') writeJson(io, { version: manifest.version, node: process.version });
      else io.stdout.write(`${VERSION_LINE}\n`);
    });
  return program;
}

function addNeighbour(program: Command, io: CliIo, end: (code: number) => void): void {
  program
    .command('wait')
    .description('wait until the pgweir that serves by these settings is ready')
    .argument('[config]', 'its settings file; else PGWEIR_CONFIG')
    .option('--timeout <seconds>', 'exit 1 after that', '60')
    .option('--set <path=value>', 'any setting, as health.port=9090 (repeatable)', gather, [])
    .action(async (config: string | undefined, flags: { timeout: string; set: readonly string[] }) => {
      const timeoutSeconds = Number(flags.timeout);
      if (!(timeoutSeconds > 0)) throw new CliError(`--timeout ${flags.timeout}: give it as a number of seconds`);
      end(await runWait(io, { config, overrides: readOverrides(flags), timeoutSeconds }));
    });

  program
    .command('shutdown')
    .description('ask the pgweir that serves by these settings to drain and stop')
    .argument('[config]', 'its settings file; else PGWEIR_CONFIG')
    .option('--set <path=value>', 'any setting, as admin.port=9091 (repeatable)', gather, [])
    .action(async (config: string | undefined, flags: { set: readonly string[] }) =>
      end(await runShutdown(io, { config, overrides: readOverrides(flags) })),
    );
}

function addServe(program: Command, io: CliIo, startWeir: StartWeir, end: (code: number) => void): void {
  program
    .command('serve')
    .description('run the proxy until SIGTERM')
    .argument('[config]', 'settings file; else PGWEIR_CONFIG; else defaults, environment and flags alone')
    .option('--listen <host:port>', 'where clients connect')
    .option('--target <host:port>', 'the primary')
    .option('--admin <host:port>', 'where the admin API listens')
    .option('--health <host:port>', 'where probes and metrics are served')
    .option('--rules <file>', 'the rule document')
    .option('--state-directory <folder>', 'where posted rules survive a restart')
    .option('--log-level <level>', 'debug, info, warn, error or silent')
    .option('--set <path=value>', 'any setting, as limits.max_clients=50 (repeatable)', gather, [])
    .action(async (config: string | undefined, flags: ServeFlags) => {
      end(await runServe(io, { config, overrides: readOverrides(flags) }, startWeir));
    });
}

function gather(word: string, words: readonly string[]): string[] {
  return [...words, word];
}

function outputOption(): Option {
  return new Option('--output <format>', 'what stdout is for').choices(['text', 'json']).default('text');
}

/** Throws CliError for a flag of the wrong form; whether the values fit is the settings schema's to say. */
function readOverrides(flags: ServeFlags): Record<string, string> {
  const overrides: Record<string, string> = {};
  const sections = { listen: 'listen', target: 'targets.primary', admin: 'admin', health: 'health' } as const;
  for (const [flag, section] of Object.entries(sections) as [keyof typeof sections, string][]) {
    const word = flags[flag];
    if (word === undefined) continue;
    const [, host, port] = /^(.*):(\d+)$/.exec(word) ?? [];
    if (host === undefined || port === undefined) throw new CliError(`--${flag} ${word}: give it as host:port`);
    if (host !== '') overrides[`${section}.host`] = host.replace(/^\[(.*)\]$/, '$1');
    overrides[`${section}.port`] = port;
  }
  if (flags.rules !== undefined) overrides['rules.file'] = flags.rules;
  if (flags.stateDirectory !== undefined) overrides.state_directory = flags.stateDirectory;
  if (flags.logLevel !== undefined) overrides['log.level'] = flags.logLevel;
  for (const word of flags.set) {
    const at = word.indexOf('=');
    if (at <= 0) throw new CliError(`--set ${word}: give it as path=value`);
    overrides[word.slice(0, at)] = word.slice(at + 1);
  }
  return overrides;
}

/** Null for what is no complaint about input but a fault of ours. */
function wordComplaint(error: unknown): string | null {
  if (error instanceof SettingsError || error instanceof RuleDocumentError) {
    return ['the configuration cannot be used', ...error.problems.map(formatProblem)].join('\n');
  }
  if (error instanceof CliError || error instanceof ListenError) return error.message;
  return error instanceof Error && 'syscall' in error ? error.message : null;
}
