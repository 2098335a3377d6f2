// PostgreSQL's own suites, run by its own drivers (pg_regress, pg_isolation_regress) as `make installcheck` runs them: stock
// tests, stock expected files, and each database created over the road that is tested.

import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { runProgram } from '../support/native-binaries.ts';
import { THE_RUN } from './comparison.ts';
import type { BuiltSource } from './debian-source.ts';
import type { Suite, TestOutcome, Workplace } from './suite.ts';

type Driver = 'regress' | 'isolation';

const CORE_MS = 1_200_000;
/** One line of pg_regress: `ok 12 + name 30 ms`, with `+` for a test that ran beside others. */
const TEST_LINE = /^(ok|not ok) +\d+ +[-+] (\S+)/;
/** pg_regress runs tests that end by themselves; isolationtester holds all sessions of a test open, and looks who waits for whom. */
const MIN_POOL_SIZES: Readonly<Record<Driver, number>> = { regress: 1, isolation: 20 };
/** The core suite has two tests of prepared transactions. */
const STOCK = { max_prepared_transactions: '2' };

/** All suites of the source tree: the core, isolation, plpgsql, and every contrib module that was built and has tests. */
export async function listRegressSuites(source: BuiltSource): Promise<Suite[]> {
  const { tree } = source;
  const regress = join(tree, 'src/test/regress');
  const isolation = join(tree, 'src/test/isolation');
  const core = ['--dlpath=.', '--max-concurrent-tests=20', '--schedule=./parallel_schedule'];
  const isolated = ['--schedule=./isolation_schedule', '--dbname=isolation_regression'];
  const suites = [
    makeSuite('core', 'regress', regress, core, [], STOCK),
    makeSuite('isolation', 'isolation', isolation, isolated, [], STOCK),
  ];
  const places: [name: string, folder: string][] = [['plpgsql', join(tree, 'src/pl/plpgsql/src')]];
  for (const module of await showVariables(join(tree, 'contrib'), ['SUBDIRS']).then(([first]) => first ?? [])) {
    places.push([`contrib/${module}`, join(tree, 'contrib', module)]);
  }
  for (const [name, folder] of places) suites.push(...(await listModuleSuites(name, folder)));
  return suites;
}

async function listModuleSuites(name: string, folder: string): Promise<Suite[]> {
  const [tests = [], options = [], specs = [], specOptions = []] = await showVariables(folder, [
    'REGRESS',
    'REGRESS_OPTS',
    'ISOLATION',
    'ISOLATION_OPTS',
  ]);
  const suites: Suite[] = [];
  if (tests.length > 0) {
    const { kept, configuration } = await splitOptions(folder, options);
    suites.push(makeSuite(name, 'regress', folder, kept, tests, configuration));
  }
  if (specs.length > 0) {
    const { kept, configuration } = await splitOptions(folder, specOptions);
    suites.push(makeSuite(`${name} isolation`, 'isolation', folder, kept, specs, configuration));
  }
  return suites;
}

/** The words of Makefile variables, as make itself expands them. */
async function showVariables(folder: string, names: readonly string[]): Promise<string[][]> {
  const recipe = `pgweir-show: ; @${names.map((name) => `echo '$(${name})'`).join('; ')}`;
  const args = ['-s', '--no-print-directory', '-C', folder, `--eval=${recipe}`, 'pgweir-show'];
  const shown = await runProgram('make', args);
  if (shown.code !== 0) throw new Error(`make in ${folder}: exit ${shown.code}\n${shown.stderr}`);
  return shown.stdout.split('\n').map((line) => line.split(/\s+/).filter((word) => word !== ''));
}

/** `--temp-config FILE` is for a server that pg_regress starts; ours gets its lines. */
async function splitOptions(
  folder: string,
  options: readonly string[],
): Promise<{ kept: string[]; configuration: Record<string, string> }> {
  const kept: string[] = [];
  const configuration: Record<string, string> = { ...STOCK };
  for (let index = 0; index < options.length; index++) {
    const option = options[index] ?? '';
    if (!option.startsWith('--temp-config')) {
      kept.push(option);
      continue;
    }
    const path = option.includes('=') ? option.slice(option.indexOf('=') + 1) : (options[++index] ?? '');
    for (const line of (await readFile(resolve(folder, path), 'utf8')).split('\n')) {
      const [, name, value] = /^\s*([\w.]+)\s*=\s*'?([^']*?)'?\s*$/.exec(line) ?? [];
      if (name !== undefined && value !== undefined) configuration[name] = value;
    }
  }
  return { kept, configuration };
}

function makeSuite(
  name: string,
  driver: Driver,
  folder: string,
  options: readonly string[],
  tests: readonly string[],
  configuration: Readonly<Record<string, string>>,
): Suite {
  return {
    name,
    configuration,
    minPoolSize: MIN_POOL_SIZES[driver],
    run: (workplace) => runDriver(driver, folder, [...options, ...tests], workplace),
  };
}

async function runDriver(
  driver: Driver,
  folder: string,
  args: readonly string[],
  { source, road, folder: output, account }: Workplace,
): Promise<TestOutcome[]> {
  const program = driver === 'regress' ? 'src/test/regress/pg_regress' : 'src/test/isolation/pg_isolation_regress';
  const common = [
    '--inputdir=.',
    `--outputdir=${output}`,
    `--bindir=${join(source.prefix, 'bin')}`,
    `--host=${road.host}`,
    `--port=${road.port}`,
    `--user=${road.user}`,
  ];
  const result = await runProgram(join(source.tree, program), [...common, ...args], {
    account,
    cwd: folder,
    deadlineMs: CORE_MS,
    env: { HOME: output, PATH: `${join(source.prefix, 'bin')}:${process.env.PATH ?? ''}`, ...road.environment },
  });
  const outcomes: TestOutcome[] = [];
  for (const line of result.stdout.split('\n')) {
    const [, verdict, name] = TEST_LINE.exec(line) ?? [];
    if (name === undefined) continue;
    const isOk = verdict === 'ok';
    const text = isOk ? '' : await readFile(join(output, 'results', `${name}.out`), 'utf8').catch(() => '');
    outcomes.push({ name, isOk, output: text, place: isOk ? '' : join(output, 'regression.diffs') });
  }
  if (outcomes.length === 0 || (result.code !== 0 && outcomes.every((outcome) => outcome.isOk))) {
    const words = `exit ${result.code}\n${result.stdout.slice(-2_000)}${result.stderr.slice(-2_000)}`;
    outcomes.push({ name: THE_RUN, isOk: false, output: words, place: output });
  }
  return outcomes;
}
