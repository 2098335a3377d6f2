// PostgreSQL's own client programs, run over the road that is tested or directly, and checks made of them.

import { join } from 'node:path';
import { runProgram } from '../support/native-binaries.ts';
import type { TestOutcome, Workplace } from './suite.ts';

const DEADLINE_MS = 600_000;

/** Runs programs of the built tree for one suite. */
export class ToolRun {
  readonly workplace: Workplace;

  constructor(workplace: Workplace) {
    this.workplace = workplace;
  }

  /** What the program printed. Rejects with its own words where it fails. */
  run(program: string, args: readonly string[], way: 'road' | 'direct' = 'road'): Promise<string> {
    return this.#run(join(this.workplace.source.prefix, 'bin', program), args, way);
  }

  /** A line of bash; a pipeline fails with any of its programs. */
  shell(line: string, way: 'road' | 'direct' = 'road'): Promise<string> {
    return this.#run('bash', ['-c', `set -euo pipefail; ${line}`], way);
  }

  /** One value that the server itself tells, by a connection past pgweir. */
  async ask(sql: string, database = 'postgres'): Promise<string> {
    return (await this.run('psql', ['-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', database, '-c', sql], 'direct')).trimEnd();
  }

  async #run(program: string, args: readonly string[], way: 'road' | 'direct'): Promise<string> {
    const { road, source, account, folder } = this.workplace;
    const result = await runProgram(program, args, {
      account,
      cwd: folder,
      deadlineMs: DEADLINE_MS,
      env: {
        HOME: folder,
        PATH: `${join(source.prefix, 'bin')}:${process.env.PATH ?? ''}`,
        PGHOST: road.host,
        PGPORT: String(way === 'road' ? road.port : road.serverPort),
        PGUSER: road.user,
        PGDATABASE: 'postgres',
        ...road.environment,
      },
    });
    if (result.code === 0) return result.stdout;
    throw new Error(`${program} ${args.join(' ')}: exit ${result.code}\n${result.stderr.slice(-2_000)}`);
  }
}

/** Runs the checks in order; one that throws has failed, and those behind it run all the same. */
export async function runChecks(
  checks: readonly (readonly [name: string, check: () => Promise<void>])[],
): Promise<TestOutcome[]> {
  const outcomes: TestOutcome[] = [];
  for (const [name, check] of checks) {
    const failure = await check().then(
      () => null,
      (error: unknown) => (error instanceof Error ? error.message : String(error)),
    );
    if (failure !== null) process.stdout.write(`${name}: ${failure}\n`);
    outcomes.push({ name, isOk: failure === null, output: failure ?? '', place: '' });
  }
  return outcomes;
}

/** Throws with both values where they are not the same. */
export function demandSame(what: string, got: string, expected: string): void {
  if (got === expected) return;
  const show = (text: string): string =>
    text.length > 300 ? `${text.slice(0, 300)} … (${text.length} characters)` : text;
  throw new Error(`${what}: got ${show(got)}, expected ${show(expected)}`);
}
