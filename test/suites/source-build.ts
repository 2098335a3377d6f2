// PostgreSQL 17 with its regression tools, built from Debian's source package (the authors' own archive in it, without
// Debian's patches) into a cache folder outside the repository. Made once: a stamp file says that it is complete.

import { existsSync } from 'node:fs';
import { access, constants, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { availableParallelism, homedir } from 'node:os';
import { join } from 'node:path';
import { type ProgramResult, runProgram } from '../support/native-binaries.ts';

export interface BuiltSource {
  readonly version: string;
  /** The folder with `bin`, `lib` and `share`. */
  readonly prefix: string;
  /** The source tree, built in place: `src/test/regress`, `contrib` … */
  readonly tree: string;
}

/** The source or the tools to build it cannot be had here: the suites do not run, which is not a failure of pgweir's. */
export class SourceUnavailable extends Error {}

const PACKAGE = 'postgresql-17';
/** The Debian release that has it. */
const RELEASE = 'trixie';
const CONFIGURATION = ['--without-icu', '--with-openssl', '--with-lz4', 'CFLAGS=-O1'];
/** What the build needs: a program to look for, and the package that brings it. */
const PROGRAMS = {
  gcc: 'gcc',
  make: 'make',
  bison: 'bison',
  flex: 'flex',
  perl: 'perl',
  tar: 'tar',
  bzip2: 'bzip2',
  openssl: 'openssl',
  'dpkg-source': 'dpkg-dev',
};
const LIBRARIES = ['libc6-dev', 'libssl-dev', 'liblz4-dev', 'libreadline-dev', 'zlib1g-dev'];
const DOWNLOAD_MS = 300_000;
const BUILD_MS = 3_000_000;

/** PGWEIR_CACHE, or else the user's cache folder; root's home is closed to the account that servers run under. */
export function defaultCacheFolder(environment: NodeJS.ProcessEnv): string {
  if (environment.PGWEIR_CACHE !== undefined) return environment.PGWEIR_CACHE;
  return process.getuid?.() === 0 ? '/var/cache/pgweir' : join(homedir(), '.cache/pgweir');
}

/** The built tree, from the cache or made now (3 to 5 minutes on two cores). Throws SourceUnavailable. */
export async function provideSource(cacheFolder: string, say: (line: string) => void): Promise<BuiltSource> {
  const folder = join(cacheFolder, PACKAGE);
  const known = await readStamp(folder);
  if (known !== null) return known;
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  await provideTools(say);
  say(`fetching the source of ${PACKAGE}`);
  const archive = await downloadSource(folder);
  await mustRun('tar', ['xjf', archive, '--no-same-owner'], folder, DOWNLOAD_MS);
  const [name] = (await readdir(folder)).filter((entry) => /^postgresql-[\d.]+$/.test(entry));
  if (name === undefined) throw new SourceUnavailable(`${archive} holds no postgresql-<version> folder`);
  const built = { version: name.slice('postgresql-'.length), prefix: join(folder, 'inst'), tree: join(folder, name) };
  say(`building PostgreSQL ${built.version} in ${built.tree}`);
  await build(built);
  await writeFile(stampPath(folder), `${JSON.stringify({ ...built, configuration: CONFIGURATION })}\n`);
  return built;
}

function stampPath(folder: string): string {
  return join(folder, 'complete.json');
}

/** Null where nothing complete is there, or where it was built by another recipe or in another place. */
async function readStamp(folder: string): Promise<BuiltSource | null> {
  const text = await readFile(stampPath(folder), 'utf8').catch(() => null);
  if (text === null) return null;
  const { version, prefix, tree, configuration } = JSON.parse(text) as BuiltSource & { configuration: string[] };
  const isSame = configuration.join(' ') === CONFIGURATION.join(' ') && prefix === join(folder, 'inst');
  return isSame && existsSync(join(prefix, 'bin/postgres')) ? { version, prefix, tree } : null;
}

async function mustRun(
  command: string,
  args: readonly string[],
  cwd: string,
  deadlineMs: number,
): Promise<ProgramResult> {
  const result = await runProgram(command, args, { cwd, deadlineMs }).catch((error: unknown) => {
    throw new SourceUnavailable(
      `${command} ${args[0] ?? ''}: ${error instanceof Error ? error.message : String(error)}`,
    );
  });
  if (result.code === 0) return result;
  const words = `${result.stdout}\n${result.stderr}`.trim().slice(-1_500);
  throw new SourceUnavailable(`${command} ${args.join(' ')}: exit ${result.code}\n${words}`);
}

async function provideTools(say: (line: string) => void): Promise<void> {
  if (!(await hasProgram('apt-get'))) throw new SourceUnavailable('this needs Debian, or a system with its apt-get');
  const missing: string[] = [];
  for (const [program, packageName] of Object.entries(PROGRAMS)) {
    if (!(await hasProgram(program))) missing.push(packageName);
  }
  for (const library of LIBRARIES) {
    const state = await runProgram('dpkg-query', ['--status', library]).catch(() => null);
    if (state === null || !/^Status: .* installed$/m.test(state.stdout)) missing.push(library);
  }
  if (missing.length === 0) return;
  if (process.getuid?.() !== 0) throw new SourceUnavailable(`install first: ${missing.join(' ')}`);
  say(`installing ${missing.join(' ')}`);
  await mustRun('apt-get', ['update'], '/', DOWNLOAD_MS);
  const install = ['install', '--yes', '--no-install-recommends', '-o', 'DPkg::Lock::Timeout=120', ...missing];
  await mustRun('apt-get', install, '/', DOWNLOAD_MS);
}

async function hasProgram(name: string): Promise<boolean> {
  for (const folder of (process.env.PATH ?? '').split(':')) {
    const isThere = await access(join(folder, name), constants.X_OK).then(
      () => true,
      () => false,
    );
    if (isThere) return true;
  }
  return false;
}

/**
 * The authors' archive, checked by apt against Debian's signatures, from the mirror that this system is set up with. The
 * system's own package lists are left as they are.
 */
async function downloadSource(folder: string): Promise<string> {
  const apt = join(folder, 'apt');
  for (const name of ['lists/partial', 'cache/archives/partial']) await mkdir(join(apt, name), { recursive: true });
  const keyring = '/usr/share/keyrings/debian-archive-keyring.gpg';
  const signed = existsSync(keyring) ? `[signed-by=${keyring}] ` : '';
  await writeFile(join(apt, 'sources.list'), `deb-src ${signed}${await findMirror()} ${RELEASE} main\n`);
  const options = [
    `Dir::Etc::SourceList=${join(apt, 'sources.list')}`,
    'Dir::Etc::SourceParts=-',
    `Dir::State::Lists=${join(apt, 'lists')}`,
    `Dir::Cache=${join(apt, 'cache')}`,
    'Acquire::Languages=none',
    'Acquire::Retries=2',
    'APT::Sandbox::User=root',
  ].flatMap((option) => ['-o', option]);
  await mustRun('apt-get', [...options, 'update'], folder, DOWNLOAD_MS);
  await mustRun('apt-get', [...options, 'source', '--download-only', PACKAGE], folder, DOWNLOAD_MS);
  const [archive] = (await readdir(folder)).filter((name) => /\.orig\.tar\.bz2$/.test(name));
  if (archive === undefined) throw new SourceUnavailable(`the source package of ${PACKAGE} has no .orig.tar.bz2`);
  return archive;
}

/** The address of Debian's main archive as this system has it: of its own release, not of updates or security. */
async function findMirror(): Promise<string> {
  const format = '$(REPO_URI)|$(RELEASE)';
  // Without release information: images often come with their package lists removed.
  const args = ['indextargets', '--no-release-info', '--format', format, 'Created-By: Packages'];
  const { stdout } = await mustRun('apt-get', args, '/', 20_000);
  const osRelease = await readFile('/etc/os-release', 'utf8').catch(() => '');
  const codename = /^VERSION_CODENAME="?([a-z]+)"?$/m.exec(osRelease)?.[1] ?? RELEASE;
  const targets = stdout.split('\n').map((line) => line.split('|'));
  const found = targets.find(([, release]) => release === codename || release === RELEASE || release === 'stable');
  if (found?.[0] === undefined) throw new SourceUnavailable(`apt knows no archive of Debian ${codename}`);
  return found[0];
}

async function build({ prefix, tree }: BuiltSource): Promise<void> {
  const make = ['-n', '10', 'make', '-s', `-j${availableParallelism()}`];
  await mustRun('./configure', ['--quiet', `--prefix=${prefix}`, ...CONFIGURATION], tree, BUILD_MS);
  await mustRun('nice', make, tree, BUILD_MS);
  await mustRun('nice', [...make, '-C', 'contrib'], tree, BUILD_MS);
  await mustRun('make', ['-s', 'install'], tree, BUILD_MS);
  await mustRun('make', ['-s', '-C', 'contrib', 'install'], tree, BUILD_MS);
  await mustRun('nice', [...make, '-C', 'src/test/regress'], tree, BUILD_MS);
  await mustRun('nice', [...make, '-C', 'src/test/isolation'], tree, BUILD_MS);
}
