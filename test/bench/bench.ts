// `npm run bench`: pgbench -S against the server, PgBouncer and pgweir in turn, then the micro-benchmarks. README.md says
// how to read it.

import { existsSync } from 'node:fs';
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { makeAuthority } from '../support/certificates.ts';
import { runProgram } from '../support/native-binaries.ts';
import { startPostgres, type TestPostgres } from '../support/postgres.ts';
import {
  type Contender,
  PATHS,
  type Path,
  type Pooling,
  startBareRelay,
  startDirect,
  startPgBouncer,
  startPgweir,
  type TlsFiles,
} from './contenders.ts';
import { fillTables, findProgram, findServerBinaries, MODES, type Mode } from './pgbench.ts';
import { formatTable, type Row, summarize } from './report.ts';
import { measure } from './rounds.ts';
import { describeSelection } from './undisturbed-rounds.ts';

/** Of both poolers in transaction mode: PgBouncer's default. */
const POOL_SIZE = 20;
const POOL_CLIENTS = [8, 32, 256];
const POOL_PATHS: readonly Path[] = ['pgbouncer', 'pgweir+rules'];
const USAGE = `npm run bench -- [options]
  --seconds N         length of one run (1)
  --rounds N          rounds that count; every path runs once in each (16)
  --clients 1,8,32    numbers of pgbench clients
  --modes a,b         of ${MODES.join(', ')}
  --paths a,b         of ${PATHS.join(', ')}
  --scale N           pgbench scale (10)
  --pool transaction  PgBouncer and pgweir in transaction mode, ${POOL_SIZE} server connections each; clients ${POOL_CLIENTS.join(',')}, and
                      of the paths ${POOL_PATHS.join(', ')}, unless others are named
  --tls               pgbench speaks TLS with every path; what stands behind the proxies stays unencrypted
  --quick             one round of 2 s, 8 clients, simple and prepared
  --output json       figures as JSON on stdout, talk on stderr
  --write-readme      put the table into test/bench/README.md
  --no-micro          without the micro-benchmarks`;

const README_END = '<!-- end of results -->';
/** For the direct path, where it is asked for: 256 clients are as many server connections there. */
const POOL_MAX_CONNECTIONS = '400';
const NO_RULES = 'traffic_control:\n  default_action: allow\n  rules: []\n';

/** Where the results go; what is over TLS or in transaction mode has a place of its own. */
function readmeStart({ isTls, pooling }: Options): string {
  const flags = `${pooling === null ? '' : '--pool transaction '}${isTls ? '--tls ' : ''}`;
  return `<!-- results: written by npm run bench -- ${flags}--write-readme -->`;
}

interface Options {
  readonly seconds: number;
  readonly rounds: number;
  readonly clients: readonly number[];
  readonly modes: readonly Mode[];
  readonly paths: readonly Path[];
  readonly scale: number;
  readonly isJson: boolean;
  readonly isReadmeWritten: boolean;
  readonly isMicroRun: boolean;
  readonly isTls: boolean;
  readonly pooling: Pooling;
}

/** Talk goes to stderr, so that stdout is the result and nothing else. */
function say(line: string): void {
  process.stderr.write(`${line}\n`);
}

function readOptions(): Options {
  const { values } = parseArgs({
    options: {
      seconds: { type: 'string' },
      rounds: { type: 'string' },
      clients: { type: 'string' },
      modes: { type: 'string' },
      paths: { type: 'string' },
      scale: { type: 'string' },
      pool: { type: 'string', default: 'session' },
      tls: { type: 'boolean', default: false },
      quick: { type: 'boolean', default: false },
      output: { type: 'string', default: 'text' },
      'write-readme': { type: 'boolean', default: false },
      'no-micro': { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    process.stdout.write(`${USAGE}\n`);
    process.exit(0);
  }
  if (values.output !== 'text' && values.output !== 'json')
    throw new RangeError(`--output ${values.output}: text or json`);
  if (values.pool !== 'session' && values.pool !== 'transaction')
    throw new RangeError(`--pool ${values.pool}: session or transaction`);
  const isPooled = values.pool === 'transaction';
  const usualClients = values.quick ? [8] : isPooled ? POOL_CLIENTS : [1, 8, 32];
  return {
    seconds: readCount('--seconds', values.seconds, values.quick ? 2 : 1),
    rounds: readCount('--rounds', values.rounds, values.quick ? 1 : 16),
    clients: values.clients?.split(',').map((text) => readCount('--clients', text, 0)) ?? usualClients,
    modes: readNames('--modes', values.modes, MODES) ?? (values.quick ? ['simple', 'prepared'] : MODES),
    // The bare relay copies bytes and knows nothing of TLS.
    paths: (readNames('--paths', values.paths, PATHS) ?? (isPooled ? POOL_PATHS : PATHS)).filter(
      (path) => !values.tls || path !== 'bare relay',
    ),
    scale: readCount('--scale', values.scale, 10),
    isJson: values.output === 'json',
    isReadmeWritten: values['write-readme'],
    isMicroRun: !values['no-micro'] && !values.tls && !isPooled,
    isTls: values.tls,
    pooling: isPooled ? { size: POOL_SIZE } : null,
  };
}

function readCount(option: string, text: string | undefined, fallback: number): number {
  if (text === undefined) return fallback;
  const count = Number(text);
  if (!Number.isInteger(count) || count < 1) throw new RangeError(`${option} ${text}: not a positive whole number`);
  return count;
}

function readNames<Name extends string>(
  option: string,
  text: string | undefined,
  known: readonly Name[],
): readonly Name[] | null {
  if (text === undefined) return null;
  return text.split(',').map((name) => {
    const found = known.find((candidate) => candidate === name);
    if (found === undefined) throw new RangeError(`${option} ${name}: one of ${known.join(', ')}`);
    return found;
  });
}

async function startContenders(
  postgres: TestPostgres,
  { paths, pooling }: Options,
  tls: TlsFiles | null,
  started: Contender[],
): Promise<void> {
  for (const path of paths) {
    switch (path) {
      case 'direct':
        started.push(startDirect(postgres));
        break;
      case 'pgbouncer': {
        const bouncer = await startPgBouncer(postgres, tls, pooling, say);
        if (bouncer === null) say('PgBouncer is not installed (apt-get install pgbouncer): its rows are left out.');
        else started.push(bouncer);
        break;
      }
      case 'bare relay':
        started.push(await startBareRelay(postgres));
        break;
      case 'pgweir':
        started.push(await startPgweir(path, postgres, NO_RULES, tls, pooling));
        break;
      case 'pgweir+rules': {
        const { makeHundredRules } = await import('./hundred-rules.ts');
        started.push(await startPgweir(path, postgres, makeHundredRules(), tls, pooling));
        break;
      }
      default:
        throw new Error(`unknown path ${path satisfies never}`);
    }
  }
}

/** Certificate and key as files that whoever runs PgBouncer may read. */
async function writeTlsFiles(folder: string, cert: string, key: string): Promise<TlsFiles> {
  const files = { certificateFile: join(folder, 'server.crt'), keyFile: join(folder, 'server.key') };
  await chmod(folder, 0o755);
  await writeFile(files.certificateFile, cert);
  await writeFile(files.keyFile, key);
  return files;
}

/** What the micro-benchmarks print, by their names. Each is a program of its own, so that one cannot warm up the other. */
async function runMicroBenchmarks(): Promise<Record<string, string>> {
  const outputs: Record<string, string> = {};
  for (const name of ['sql-bench', 'policy-bench']) {
    const file = join(import.meta.dirname, `${name}.ts`);
    if (!existsSync(file)) continue;
    say(`${name} …`);
    const result = await runProgram(process.execPath, [file], {
      deadlineMs: 300_000,
      cwd: join(import.meta.dirname, '../..'),
    });
    if (result.code !== 0) throw new Error(`${name}: exit ${result.code}\n${result.stderr}`);
    outputs[name] = result.stdout.trim();
  }
  return outputs;
}

function describeMachine(postgres: TestPostgres, contenders: readonly Contender[], options: Options): string {
  const model = cpus()[0]?.model.trim() ?? 'unknown processor';
  const server = `PostgreSQL ${postgres.version}`;
  const versions = [...new Set([server, ...contenders.map((contender) => contender.version)])].join(', ');
  return [
    `${cpus().length} × ${model}; ${versions}.`,
    `pgbench -S over TCP${options.isTls ? ' and TLS' : ''} on loopback, scale ${options.scale}; medians of ${options.rounds} rounds of ${options.seconds} s.`,
    ...(options.pooling === null
      ? []
      : [`Transaction mode, ${options.pooling.size} server connections behind each pooler.`]),
  ].join('\n');
}

async function writeReadme(text: string, options: Options): Promise<void> {
  const path = join(import.meta.dirname, 'README.md');
  const readme = await readFile(path, 'utf8');
  const mark = readmeStart(options);
  const start = readme.indexOf(mark);
  const end = readme.indexOf(README_END, start);
  if (start < 0 || end < start) throw new Error('README.md has no place for results');
  await writeFile(path, `${readme.slice(0, start + mark.length)}\n\n${text}\n\n${readme.slice(end)}`);
}

function formatResults(
  machine: string,
  rows: readonly Row[],
  pools: readonly string[],
  micro: Readonly<Record<string, string>>,
): string {
  const microText = Object.entries(micro).map(([name, output]) => `\`${name}.ts\`:\n\n\`\`\`\n${output}\n\`\`\``);
  return [machine, formatTable(rows), ...pools, ...microText].join('\n\n');
}

async function run(options: Options): Promise<void> {
  const pgbench = await findProgram('pgbench');
  if (pgbench === null) {
    throw new Error('pgbench is not installed: it comes with PostgreSQL (Debian: apt-get install postgresql-contrib)');
  }
  const binaries = await findServerBinaries();
  say(binaries === null ? 'Server: the embedded PostgreSQL of npm.' : 'Server: the PostgreSQL of the system.');
  const { cert, key } = makeAuthority('pgweir bench').issue({ commonName: 'localhost', dnsNames: ['localhost'] });
  const tlsFolder = await mkdtemp(join(tmpdir(), 'weir-bench-tls-'));
  const tls = options.isTls ? await writeTlsFiles(tlsFolder, cert, key) : null;
  const postgres = await startPostgres({
    settings: {
      shared_buffers: '256MB',
      ...(options.pooling === null ? {} : { max_connections: POOL_MAX_CONNECTIONS }),
      ...(tls === null ? {} : { ssl: 'on' }),
    },
    ...(tls === null ? {} : { files: { 'server.crt': cert, 'server.key': key } }),
    ...(binaries === null ? {} : { binaries }),
  });
  const contenders: Contender[] = [];
  try {
    await fillTables(pgbench, { ...postgres, isTls: options.isTls }, options.scale);
    await startContenders(postgres, options, tls, contenders);
    const rounds = await measure({ pgbench, postgres, isTls: options.isTls, say }, contenders, options);
    const machine = `${describeMachine(postgres, contenders, options)}\n${describeSelection(rounds)}`;
    const samples = rounds.flatMap((selection) => selection.counted.flatMap((round) => round.samples));
    const pools: string[] = [];
    for (const contender of contenders) {
      const text = await contender.describePool();
      if (text !== null) pools.push(`${contender.path}: ${text}.`);
    }
    for (const contender of contenders.splice(0)) await contender.stop();
    const rows = summarize(samples);
    const micro = options.isMicroRun ? await runMicroBenchmarks() : {};
    const text = formatResults(machine, rows, pools, micro);
    process.stdout.write(
      options.isJson ? `${JSON.stringify({ machine, rows, samples, pools, micro }, null, 2)}\n` : `${text}\n`,
    );
    if (options.isReadmeWritten) await writeReadme(text, options);
  } finally {
    for (const contender of contenders) await contender.stop().catch((error: unknown) => say(String(error)));
    await postgres.stop();
    await rm(tlsFolder, { recursive: true, force: true });
  }
}

try {
  await run(readOptions());
} catch (error) {
  for (let cause: unknown = error; cause !== undefined; cause = cause instanceof Error ? cause.cause : undefined) {
    say(cause instanceof Error ? cause.message : String(cause));
  }
  process.exitCode = 1;
}
