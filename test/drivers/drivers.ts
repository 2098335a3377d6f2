// `npm run test:drivers`: every driver's program on the bare server and through pgweir, compared. README.md says how to
// read the table.

import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { findLedgerFaults, formatLedger, type Ledger, readRestingLedger } from '../suites/ledger.ts';
import { CertificateFolder } from '../support/certificate-folder.ts';
import { ROLES } from '../support/postgres.ts';
import { DRIVERS, type Driver } from './catalogue.ts';
import { type Report, readReports } from './checks.ts';
import { type Ground, isPooled, layGround, startGround, WAY_TEXTS, WAYS, type Way } from './ground.ts';
import { compareReports } from './outcome.ts';
import { runDriverProgram } from './program.ts';
import { countCells, formatMatrix, formatRefusals, formatRemarks, type Row } from './table.ts';
import { installPackages, prepareToolchain, type Readiness, readVersion } from './toolchains.ts';

const USAGE = `npm run test:drivers -- [options]
  --only a,b        drivers, of ${DRIVERS.map((driver) => driver.name).join(', ')}
  --install         install missing toolchains with apt-get (root, Debian)
  --ways a,b        how pgweir is logged in to, of ${WAYS.join(', ')}
  --plain           without TLS
  --verbose         what every check reported, and what the programs wrote to stderr
  --write-readme    put the table into test/drivers/README.md
PGWEIR_CACHE: where toolchains are built (~/.cache/pgweir)`;

const README_START = '<!-- results: written by npm run test:drivers -- --write-readme -->';
const README_END = '<!-- end of results -->';
const PROGRAM_DEADLINE_MS = 90_000;
/** Exit code where nothing failed but a driver could not be run: neither passed nor failed. */
const NOT_RUN = 75;

interface Options {
  readonly drivers: readonly Driver[];
  readonly ways: readonly Way[];
  readonly isInstalling: boolean;
  readonly isPlain: boolean;
  readonly isVerbose: boolean;
  readonly isReadmeWritten: boolean;
}

interface Road {
  readonly host: string;
  readonly port: number;
  /** The authority that the programs verify the other side with; null without TLS. */
  readonly authorityFile: string | null;
  readonly isPooled: boolean;
}

/**
 * SQL that marks a session, and SQL that shows the same in this session only. Without a pool it is the server's process itself;
 * with one, a setting: it must follow the client from one process to the next.
 */
const OWN_SERVER_MARK = {
  SESSION_MARK: 'SELECT pg_backend_pid()::text',
  SESSION_SEEN: 'SELECT pg_backend_pid()::text',
};
const SETTING_MARK = {
  SESSION_MARK: "SELECT set_config('geqo_seed', '0.25', false)",
  SESSION_SEEN: "SELECT current_setting('geqo_seed')",
};

function say(text: string): void {
  process.stderr.write(`${text}\n`);
}

function readOptions(): Options {
  const { values } = parseArgs({
    options: {
      only: { type: 'string' },
      install: { type: 'boolean', default: false },
      ways: { type: 'string', default: WAYS.join(',') },
      plain: { type: 'boolean', default: false },
      verbose: { type: 'boolean', default: false },
      'write-readme': { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    say(USAGE);
    process.exit(0);
  }
  const drivers = values.only?.split(',').map((name) => {
    const driver = DRIVERS.find((candidate) => candidate.name === name);
    if (driver === undefined) throw new RangeError(`--only ${name}: no such driver\n${USAGE}`);
    return driver;
  });
  const ways = values.ways.split(',').map((name) => {
    const way = WAYS.find((candidate) => candidate === name);
    if (way === undefined) throw new RangeError(`--ways ${name}: no such way\n${USAGE}`);
    return way;
  });
  return {
    drivers: drivers ?? DRIVERS,
    ways,
    isInstalling: values.install,
    isPlain: values.plain,
    isVerbose: values.verbose,
    isReadmeWritten: values['write-readme'],
  };
}

async function run(options: Options): Promise<void> {
  const toolchains = [...new Set(options.drivers.map((driver) => driver.toolchain))];
  if (options.isInstalling) await installPackages(toolchains);
  const readiness = new Map<string, Readiness>();
  for (const toolchain of toolchains) {
    say(`preparing ${toolchain.folder} …`);
    readiness.set(toolchain.folder, await prepareToolchain(toolchain));
  }
  const certificates = options.isPlain ? null : new CertificateFolder();
  const ground = await startGround(options.ways, certificates);
  try {
    const rows: Row[] = [];
    for (const driver of options.drivers) {
      const ready = readiness.get(driver.toolchain.folder) ?? { isReady: false, reason: 'not prepared' };
      const added = ready.isReady
        ? await runDriver(driver, ready.folder, ground, options)
        : options.ways.map((way) => ({ driver: driver.name, way, version: null, isRun: false as const, ...ready }));
      rows.push(...added);
      say(formatRemarks(added) || `- ${driver.name}: every cell ok`);
    }
    const text = describeResults(rows, ground, options, await describeLedgers(ground));
    process.stdout.write(`${text}\n`);
    if (options.isReadmeWritten) await writeReadme(`${text}\n\n### How a refusal looks\n\n${formatRefusals(rows)}`);
    const { failed, notRun } = countCells(rows);
    if (failed > 0) process.exitCode = 1;
    else if (notRun > 0) process.exitCode = NOT_RUN;
  } finally {
    await ground.stop();
    certificates?.remove();
  }
}

/** What was entered on the roads with a pool: a line, and a fault where it does not add up. */
async function describeLedgers(ground: Ground): Promise<string> {
  const lines: string[] = [];
  for (const [way, weir] of ground.weirs) {
    if (!isPooled(way)) continue;
    const ledger: Ledger = await readRestingLedger(weir.adminUrl);
    lines.push(`${way}: ${formatLedger(ledger)}`);
    for (const fault of findLedgerFaults(ledger)) {
      lines.push(`${way}: the ledger does not add up: ${fault}`);
      process.exitCode = 1;
    }
  }
  return lines.join('\n\n');
}

function describeResults(rows: readonly Row[], ground: Ground, options: Options, ledgers: string): string {
  const tables = options.ways.map((way) => {
    const heading = options.isPlain ? `${way}, without TLS:` : `${WAY_TEXTS[way]}:`;
    return `${heading}\n\n${formatMatrix(rows.filter((row) => row.way === way))}`;
  });
  const { equal, noApi, failed, notRun } = countCells(rows);
  const sum = `${equal} cells equal, ${noApi} without an API (–), ${failed} failed, ${notRun} not run.`;
  return [`PostgreSQL ${ground.postgres.version}.`, ...tables, sum, ledgers, formatRemarks(rows)]
    .filter((part) => part !== '')
    .join('\n\n');
}

/** One row for each way, compared with a run on the bare server in which the program was told the same. */
async function runDriver(driver: Driver, folder: string, ground: Ground, options: Options): Promise<Row[]> {
  const version = await readVersion(driver.version, folder);
  const run = async ({ host, port }: { host: string; port: number }, way: Way): Promise<Report[]> => {
    await layGround(ground.postgres);
    const road = { host, port, authorityFile: ground.authorityFile, isPooled: isPooled(way) };
    return runChecks(driver, folder, road, options);
  };
  const directRuns = new Map<boolean, Report[]>();
  const rows: Row[] = [];
  for (const [way, weir] of ground.weirs) {
    const direct = directRuns.get(isPooled(way)) ?? (await run(ground.postgres, way));
    directRuns.set(isPooled(way), direct);
    const outcomes = compareReports(direct, await run(weir, way));
    rows.push({ driver: driver.name, way, version, isRun: true, outcomes });
  }
  return rows;
}

async function runChecks(driver: Driver, folder: string, road: Road, options: Options): Promise<Report[]> {
  const environment = { ...withoutPostgresVariables(), ...describeRoad(driver, road) };
  const result = await runDriverProgram(driver.command, folder, environment, PROGRAM_DEADLINE_MS);
  say(`${driver.name} on port ${road.port}: ${result.end}, ${result.seconds.toFixed(1)} s`);
  if (options.isVerbose) say(`${result.stdout}${result.stderr}`);
  else if (result.end !== 'exit 0') say(result.stderr.slice(-2_000));
  try {
    return readReports(result.stdout);
  } catch (error) {
    say(`${driver.name}: ${error instanceof Error ? error.message : String(error)}`);
    return [];
  }
}

/** What libpq's own programs read from the environment; the other programs read the same. */
function describeRoad(driver: Driver, road: Road): NodeJS.ProcessEnv {
  return {
    PGHOST: road.host,
    PGPORT: String(road.port),
    PGUSER: ROLES.scram.user,
    PGPASSWORD: ROLES.scram.password,
    PGDATABASE: 'weir',
    PGAPPNAME: `checks of ${driver.name}`,
    ...(road.authorityFile === null
      ? { PGSSLMODE: 'disable' }
      : { PGSSLMODE: 'verify-full', PGSSLROOTCERT: road.authorityFile }),
    LC_ALL: 'C.UTF-8',
    CHECKS_POOLED: road.isPooled ? '1' : '0',
    ...(road.isPooled ? SETTING_MARK : OWN_SERVER_MARK),
  };
}

/** Settings of this shell that would change what a program does. */
function withoutPostgresVariables(): NodeJS.ProcessEnv {
  const names = Object.keys(process.env).filter((name) => name.startsWith('PG'));
  return Object.fromEntries(names.map((name) => [name, undefined]));
}

async function writeReadme(text: string): Promise<void> {
  const path = join(import.meta.dirname, 'README.md');
  const readme = await readFile(path, 'utf8');
  const start = readme.indexOf(README_START);
  const end = readme.indexOf(README_END);
  if (start < 0 || end < start) throw new Error('README.md has no place for results');
  await writeFile(path, `${readme.slice(0, start + README_START.length)}\n\n${text}\n\n${readme.slice(end)}`);
}

try {
  await run(readOptions());
} catch (error) {
  say(error instanceof Error ? (error.stack ?? error.message) : String(error));
  process.exitCode = 1;
}
