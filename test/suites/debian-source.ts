// Programs built from Debian's source packages: the authors' own archive, checked by apt against Debian's signatures, from
// the mirror that this system is set up with; and what building takes, installed where it is missing and this is root.

import { existsSync } from 'node:fs';
import { access, constants, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { availableParallelism, homedir } from 'node:os';
import { join } from 'node:path';
import { type ProgramResult, runProgram } from '../support/native-binaries.ts';

/** The source or the tools to build it cannot be had here: what needs it does not run, which is not a failure of pgweir's. */
export class SourceUnavailable extends Error {}

export interface BuiltSource {
  readonly version: string;
  /** The folder with what was installed: `bin`, `lib` … */
  readonly prefix: string;
  /** The source tree, built in place. */
  readonly tree: string;
}

export interface Recipe {
  /** Debian's source package. */
  readonly packageName: string;
  /** The folder that its archive unpacks to; the first group is the version. */
  readonly folder: RegExp;
  /** Options of ./configure, but for the prefix. What was built with others is built again. */
  readonly configuration: readonly string[];
  /** Programs that building takes, each with the package that brings it. */
  readonly programs: Readonly<Record<string, string>>;
  readonly libraries: readonly string[];
  /** What must be there when all is done, below the prefix. */
  readonly product: string;
  /** Arguments of make, one run after another, behind ./configure. */
  readonly steps: readonly (readonly string[])[];
}

/** The Debian release that the sources come from, whichever this system is. */
const RELEASE = 'trixie';
const DOWNLOAD_MS = 300_000;
const BUILD_MS = 3_000_000;
const STAMP = 'complete.json';

/** PGWEIR_CACHE, or else the user's cache folder; root's home is closed to the account that servers run under. */
export function defaultCacheFolder(environment: NodeJS.ProcessEnv): string {
  if (environment.PGWEIR_CACHE !== undefined) return environment.PGWEIR_CACHE;
  return process.getuid?.() === 0 ? '/var/cache/pgweir' : join(homedir(), '.cache/pgweir');
}

/** The built tree, from the cache or made now: a stamp file says that one is complete. Throws SourceUnavailable. */
export async function provideBuilt(
  recipe: Recipe,
  cacheFolder: string,
  say: (line: string) => void,
): Promise<BuiltSource> {
  const folder = join(cacheFolder, recipe.packageName);
  const known = await readStamp(recipe, folder);
  if (known !== null) return known;
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  await provideTools(recipe, say);
  say(`fetching the source of ${recipe.packageName}`);
  const archive = await downloadSource(recipe.packageName, folder);
  await mustRun('tar', ['xf', archive, '--no-same-owner'], folder, DOWNLOAD_MS);
  const [found] = (await readdir(folder)).map((entry) => recipe.folder.exec(entry)).filter((match) => match !== null);
  if (found === undefined) throw new SourceUnavailable(`${archive} holds no folder like ${recipe.folder.source}`);
  const built = { version: found[1] ?? '', prefix: join(folder, 'inst'), tree: join(folder, found[0]) };
  say(`building ${found[0]} in ${folder}`);
  await mustRun('./configure', [`--prefix=${built.prefix}`, ...recipe.configuration], built.tree, BUILD_MS);
  const make = ['-n', '10', 'make', '-s', `-j${availableParallelism()}`];
  for (const step of recipe.steps) await mustRun('nice', [...make, ...step], built.tree, BUILD_MS);
  const { configuration } = recipe;
  await writeFile(join(folder, STAMP), `${JSON.stringify({ ...built, configuration })}\n`);
  return built;
}

/** Null where nothing complete is there, or where it was built by another recipe or in another place. */
async function readStamp({ configuration, product }: Recipe, folder: string): Promise<BuiltSource | null> {
  const text = await readFile(join(folder, STAMP), 'utf8').catch(() => null);
  if (text === null) return null;
  const { version, prefix, tree, ...stamp } = JSON.parse(text) as BuiltSource & { configuration: string[] };
  const isSame = stamp.configuration.join(' ') === configuration.join(' ') && prefix === join(folder, 'inst');
  return isSame && existsSync(join(prefix, product)) ? { version, prefix, tree } : null;
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

async function provideTools({ programs, libraries }: Recipe, say: (line: string) => void): Promise<void> {
  if (!(await hasProgram('apt-get'))) throw new SourceUnavailable('this needs Debian, or a system with its apt-get');
  const missing: string[] = [];
  for (const [program, packageName] of Object.entries(programs)) {
    if (!(await hasProgram(program))) missing.push(packageName);
  }
  for (const library of libraries) {
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

/** Fetches the authors' archive into the folder; the system's own package lists are left as they are. */
async function downloadSource(packageName: string, folder: string): Promise<string> {
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
  await mustRun('apt-get', [...options, 'source', '--download-only', packageName], folder, DOWNLOAD_MS);
  const [archive] = (await readdir(folder)).filter((name) => /\.orig\.tar\.(gz|bz2|xz)$/.test(name));
  if (archive === undefined) throw new SourceUnavailable(`the source package of ${packageName} has no .orig.tar`);
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
