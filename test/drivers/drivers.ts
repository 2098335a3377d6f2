// `npm run test:drivers`: every driver's program on the bare server and through pgweir, compared. README.md says how to
// read the table.

import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { ROLES, startPostgres, type TestPostgres } from '../support/postgres.ts';
import { type SpawnedWeir, spawnWeir } from '../support/weir.ts';
import { DRIVERS, type Driver } from './catalogue.ts';
import { type Report, readReports } from './checks.ts';
import { layGround, RULES } from './ground.ts';
import { compareReports } from './outcome.ts';
import { runDriverProgram } from './program.ts';
import { countCells, formatMatrix, formatRefusals, formatRemarks, type Row } from './table.ts';
import { installPackages, prepareToolchain, type Readiness, readVersion } from './toolchains.ts';

const USAGE = `npm run test:drivers -- [options]
  --only a,b        drivers, of ${DRIVERS.map((driver) => driver.name).join(', ')}
  --install         install missing toolchains with apt-get (root, Debian)
  --plain           without TLS
  --verbose         what every check reported, and what the programs wrote to stderr
  --write-readme    put the table into test/drivers/README.md
PGWEIR_CACHE: where toolchains are built (~/.cache/pgweir)`;

const README_START = '<!-- results: written by npm run test:drivers -- --write-readme -->';
const README_END = '<!-- end of results -->';
const PROGRAM_DEADLINE_MS = 90_000;

interface Options {
  readonly drivers: readonly Driver[];
  readonly isInstalling: boolean;
  readonly isPlain: boolean;
  readonly isVerbose: boolean;
  readonly isReadmeWritten: boolean;
}

interface Road {
  readonly host: string;
  readonly port: number;
}

function say(text: string): void {
  process.stderr.write(`${text}\n`);
}

function readOptions(): Options {
  const { values } = parseArgs({
    options: {
      only: { type: 'string' },
      install: { type: 'boolean', default: false },
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
  return {
    drivers: drivers ?? DRIVERS,
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
  const postgres = await startPostgres();
  let weir: SpawnedWeir | null = null;
  try {
    weir = await spawnWeir({ postgres, rules: RULES, configuration: { auth: { mode: 'passthrough' } } });
    const rows: Row[] = [];
    for (const driver of options.drivers) {
      const ready = readiness.get(driver.toolchain.folder);
      if (ready === undefined) continue;
      const row = ready.isReady
        ? await runDriver(driver, ready.folder, { postgres, weir }, options)
        : { driver: driver.name, version: null, isRun: false as const, reason: ready.reason };
      rows.push(row);
      say(formatRemarks([row]) || `- ${driver.name}: every cell ok`);
    }
    const tally = countCells(rows);
    const summary = `${tally.equal} cells equal, ${tally.noApi} without an API (–), ${tally.failed} failed, ${tally.notRun} not run.`;
    const carrier = options.isPlain ? 'without TLS' : 'TLS on both legs';
    const heading = `PostgreSQL ${postgres.version}, SCRAM-SHA-256 passed through, ${carrier}.`;
    const text = [heading, formatMatrix(rows), summary, formatRemarks(rows)].filter((part) => part !== '').join('\n\n');
    process.stdout.write(`${text}\n`);
    if (options.isReadmeWritten) await writeReadme(`${text}\n\n### How a refusal looks\n\n${formatRefusals(rows)}`);
    if (tally.failed > 0) process.exitCode = 1;
  } finally {
    await weir?.stop();
    await postgres.stop();
  }
}

async function runDriver(
  driver: Driver,
  folder: string,
  roads: { readonly postgres: TestPostgres; readonly weir: SpawnedWeir },
  options: Options,
): Promise<Row> {
  const reports: Report[][] = [];
  for (const road of [roads.postgres, roads.weir]) {
    await layGround(roads.postgres);
    reports.push(await runChecks(driver, folder, road, options));
  }
  const [direct = [], weir = []] = reports;
  const version = await readVersion(driver.version, folder);
  return { driver: driver.name, version, isRun: true, outcomes: compareReports(direct, weir) };
}

async function runChecks(driver: Driver, folder: string, road: Road, options: Options): Promise<Report[]> {
  const environment = { ...withoutPostgresVariables(), ...describeRoad(driver, road) };
  const result = await runDriverProgram(driver.command, folder, environment, PROGRAM_DEADLINE_MS);
  say(`${driver.name} on port ${road.port}: ${result.end}, ${result.seconds.toFixed(1)} s`);
  if (options.isVerbose) say(`${result.stdout}${result.stderr}`);
  else if (result.end !== 'exit 0') say(result.stderr.slice(-2_000));
  return readReports(result.stdout);
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
    PGSSLMODE: 'disable',
    LC_ALL: 'C.UTF-8',
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
