// `npm run test:regress`: PostgreSQL's own suites, each directly and through pgweir, and a table of what came out otherwise.
// Ends with 1 where something did, with 75 where the suites could not run at all.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { findServerAccount } from '../support/native-binaries.ts';
import { compareOutcomes, formatComparisons, type SuiteComparison, THE_RUN } from './comparison.ts';
import { defaultCacheFolder, SourceUnavailable } from './debian-source.ts';
import { DUMP_SUITE } from './dump-suite.ts';
import { formatLedger, type Ledger, subtractLedger } from './ledger.ts';
import { type Login, MODE_NAMES, type Mode, readMode } from './modes.ts';
import { listRegressSuites } from './regress-suites.ts';
import { REPLICATION_SUITE } from './replication-suite.ts';
import { provideSource } from './source-build.ts';
import { makeOwned, Theatre, type Way } from './stage.ts';
import type { Suite, TestOutcome } from './suite.ts';

const NOT_RUN = 75;
const USAGE = `npm run test:regress -- [--suites core,isolation,contrib/*] [--modes a,b] [--keep]
modes: ${MODE_NAMES}`;

interface Options {
  readonly suites: readonly string[];
  readonly modes: readonly Mode[];
  readonly mustKeep: boolean;
}

function readOptions(args: readonly string[]): Options {
  const { values } = parseArgs({
    args: [...args],
    options: { suites: { type: 'string' }, modes: { type: 'string' }, keep: { type: 'boolean' } },
  });
  const modes = (values.modes ?? 'trust,passthrough-tls').split(',').map((name) => {
    const mode = readMode(name);
    if (mode === null) throw new Error(`no mode ${name}\n${USAGE}`);
    return mode;
  });
  return { suites: (values.suites ?? '*').split(','), modes, mustKeep: values.keep === true };
}

/** `contrib/*` stands for every name that begins so. */
function isWanted(name: string, patterns: readonly string[]): boolean {
  return patterns.some((pattern) =>
    pattern.endsWith('*') ? name.startsWith(pattern.slice(0, -1)) : name === pattern || name === `${pattern} isolation`,
  );
}

function groupByConfiguration(suites: readonly Suite[]): Suite[][] {
  const groups = new Map<string, Suite[]>();
  for (const suite of suites) {
    // The core suite counts what is in the whole cluster: it has one to itself.
    const key = suite.name === 'core' ? 'core' : JSON.stringify(suite.configuration);
    groups.set(key, [...(groups.get(key) ?? []), suite]);
  }
  return [...groups.values()];
}

/** What a suite came to over one road, and what pgweir's pools entered meanwhile. */
interface SuiteRun {
  readonly outcomes: readonly TestOutcome[];
  readonly ledger: Ledger | null;
}

type GroupRun = ReadonlyMap<string, SuiteRun>;

/** Runs a group of suites over one road, on a fresh server. */
async function runGroup(theatre: Theatre, group: readonly Suite[], mode: Mode, way: Way): Promise<GroupRun> {
  const runs = new Map<string, SuiteRun>();
  const stage = await theatre.open(mode, way, group[0]?.configuration ?? {});
  try {
    let before = await stage.readLedger();
    for (const suite of group) {
      const parent = `out-${mode.name}-${way}`;
      await makeOwned(join(theatre.folder, parent), theatre.account);
      const folder = join(theatre.folder, parent, suite.name.replaceAll(/[^\w]+/g, '-'));
      await makeOwned(folder, theatre.account);
      const startedAt = performance.now();
      const { source, account } = theatre;
      const results = await suite.run({ source, account, folder, road: stage.road });
      const okCount = results.filter((result) => result.isOk).length;
      const seconds = ((performance.now() - startedAt) / 1000).toFixed(0);
      process.stdout.write(`${stage.road.name}: ${suite.name}: ${okCount} of ${results.length} in ${seconds} s\n`);
      const after = await stage.readLedger();
      const ledger = after === null || before === null ? null : subtractLedger(after, before);
      if (ledger !== null) process.stdout.write(`  ${formatLedger(ledger)}\n`);
      before = after;
      runs.set(suite.name, { outcomes: results, ledger });
    }
  } finally {
    await stage.close();
  }
  return runs;
}

/** A group that cannot be staged is a failure of each suite in it; what else has run keeps its place in the table. */
async function runGroupOrTell(theatre: Theatre, group: readonly Suite[], mode: Mode, way: Way): Promise<GroupRun> {
  try {
    return await runGroup(theatre, group, mode, way);
  } catch (error) {
    const output = error instanceof Error ? error.message : String(error);
    const outcome = { name: THE_RUN, isOk: false, output, place: theatre.folder };
    return new Map(group.map(({ name }) => [name, { outcomes: [outcome], ledger: null }]));
  }
}

/** All modes of a group. Without pgweir modes of one login are one, and run once. */
async function compareGroup(theatre: Theatre, group: readonly Suite[], options: Options): Promise<SuiteComparison[]> {
  const directRuns = new Map<Login, GroupRun>();
  const comparisons: SuiteComparison[] = [];
  for (const mode of options.modes) {
    const suites = group.filter((suite) => mode.pool === null || mode.pool.size >= suite.minPoolSize);
    for (const { name, minPoolSize } of group.filter((suite) => !suites.includes(suite)))
      process.stdout.write(`${mode.name}: ${name} is left out, it needs ${minPoolSize} server connections\n`);
    if (suites.length === 0) continue;
    const direct = directRuns.get(mode.login) ?? (await runGroupOrTell(theatre, group, mode, 'direct'));
    directRuns.set(mode.login, direct);
    const through = await runGroupOrTell(theatre, suites, mode, 'pgweir');
    for (const { name } of suites) {
      const { outcomes = [], ledger = null } = through.get(name) ?? {};
      comparisons.push(compareOutcomes(name, mode.name, direct.get(name)?.outcomes ?? [], outcomes, ledger));
    }
  }
  return comparisons;
}

async function runSuites(options: Options): Promise<number> {
  const say = (line: string): void => {
    process.stdout.write(`${line}\n`);
  };
  const source = await provideSource(defaultCacheFolder(process.env), say);
  const all = [...(await listRegressSuites(source)), REPLICATION_SUITE, DUMP_SUITE];
  const suites = all.filter((suite) => isWanted(suite.name, options.suites));
  if (suites.length === 0) throw new Error(`no suite of that name\n${USAGE}`);
  const folder = await mkdtemp(join(tmpdir(), 'weir-suites-'));
  const theatre = new Theatre(source, folder, await findServerAccount());
  const comparisons: SuiteComparison[] = [];
  try {
    await theatre.prepare();
    for (const group of groupByConfiguration(suites))
      comparisons.push(...(await compareGroup(theatre, group, options)));
  } finally {
    const hasDifference = comparisons.some((comparison) => comparison.differences.length > 0);
    if (options.mustKeep || hasDifference) say(`outputs are in ${folder}`);
    else await rm(folder, { recursive: true, force: true });
  }
  say(`\nPostgreSQL ${source.version}\n\n${formatComparisons(comparisons)}`);
  return comparisons.some((comparison) => comparison.differences.length > 0) ? 1 : 0;
}

try {
  process.exitCode = await runSuites(readOptions(process.argv.slice(2)));
} catch (error) {
  if (error instanceof SourceUnavailable) process.stdout.write(`not run: ${error.message}\n`);
  else process.stderr.write(`${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
  process.exitCode = error instanceof SourceUnavailable ? NOT_RUN : 1;
}
