// PgBouncer for the benchmark: the system's, or where that is too old for prepared statements in transaction mode, one built
// from Debian's source package.

import { join } from 'node:path';
import { defaultCacheFolder, provideBuilt, type Recipe, SourceUnavailable } from '../suites/debian-source.ts';
import { runProgram } from '../support/native-binaries.ts';
import { findProgram } from './pgbench.ts';

const PGBOUNCER: Recipe = {
  packageName: 'pgbouncer',
  folder: /^pgbouncer-([\d.]+)$/,
  configuration: ['--quiet', '--without-cares', 'CFLAGS=-O2'],
  programs: { gcc: 'gcc', make: 'make', 'pkg-config': 'pkg-config', tar: 'tar', 'dpkg-source': 'dpkg-dev' },
  libraries: ['libc6-dev', 'libevent-dev', 'libssl-dev'],
  product: 'bin/pgbouncer',
  steps: [[], ['install']],
};
/** The first that keeps prepared statements in transaction mode (max_prepared_statements): 1.21. */
const FIRST_MINOR = 21;

/** The system's PgBouncer, or null. */
export function findPgBouncer(): Promise<string | null> {
  return findProgram('pgbouncer');
}

/** One that can do prepared statements in transaction mode; built where the system has none. Null with a word where neither is. */
export async function providePoolingPgBouncer(say: (line: string) => void): Promise<string | null> {
  const found = await findPgBouncer();
  if (found !== null && (await readMinor(found)) >= FIRST_MINOR) return found;
  try {
    const { prefix } = await provideBuilt(PGBOUNCER, defaultCacheFolder(process.env), say);
    return join(prefix, PGBOUNCER.product);
  } catch (error) {
    if (!(error instanceof SourceUnavailable)) throw error;
    say(error.message);
    return null;
  }
}

async function readMinor(program: string): Promise<number> {
  const { stdout } = await runProgram(program, ['--version']);
  return Number(/^PgBouncer 1\.(\d+)/.exec(stdout)?.[1] ?? 0);
}
