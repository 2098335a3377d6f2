// Makes a driver's program ready to run: the toolchain is looked for, its program copied into the cache and built there.

import { cp, mkdir } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { type ProgramResult, runProgram } from '../support/native-binaries.ts';
import type { Command, Toolchain } from './catalogue.ts';
import { resolveProgram } from './program.ts';

/** Where a program stands ready, or why it does not. */
export type Readiness =
  | { readonly isReady: true; readonly folder: string }
  | { readonly isReady: false; readonly reason: string };

const PROBE_DEADLINE_MS = 30_000;
const STEP_DEADLINE_MS = 900_000;
const INSTALL_DEADLINE_MS = 900_000;

/** PGWEIR_CACHE, or ~/.cache/pgweir; the drivers' part of it. */
export function findCacheFolder(): string {
  return join(process.env.PGWEIR_CACHE ?? join(homedir(), '.cache/pgweir'), 'drivers');
}

/** Looks for the toolchain and builds; a missing toolchain and a failed build are answers, not errors. */
export async function prepareToolchain(toolchain: Toolchain): Promise<Readiness> {
  const missing = await findMissing(toolchain);
  if (missing !== null) {
    const names = toolchain.packages.join(' ');
    return { isReady: false, reason: `${missing} is missing${names === '' ? '' : ` (Debian: ${names})`}` };
  }
  const folder = join(findCacheFolder(), toolchain.folder);
  await mkdir(folder, { recursive: true });
  await cp(join(import.meta.dirname, 'programs', toolchain.folder), folder, { recursive: true });
  for (const step of toolchain.steps) {
    const result = await runStep(step, folder, STEP_DEADLINE_MS);
    if (result.code !== 0) {
      return { isReady: false, reason: `${step.join(' ')}: exit ${result.code}\n${tailOf(result)}` };
    }
  }
  return { isReady: true, folder };
}

/**
 * Installs the Debian packages of those toolchains that are missing. For root only.
 * @throws when apt-get fails, with the end of what it said.
 */
export async function installPackages(toolchains: readonly Toolchain[]): Promise<void> {
  const names: string[] = [];
  for (const toolchain of toolchains) {
    if ((await findMissing(toolchain)) !== null) names.push(...toolchain.packages);
  }
  if (names.length === 0) return;
  if (process.getuid?.() !== 0) throw new Error(`only root can install ${names.join(' ')}`);
  const environment = { DEBIAN_FRONTEND: 'noninteractive' };
  for (const command of [
    ['apt-get', 'update'],
    ['apt-get', 'install', '--yes', '--no-install-recommends', ...names],
  ] as const) {
    const result = await runStep(command, '/', INSTALL_DEADLINE_MS, environment);
    if (result.code !== 0) throw new Error(`${command.join(' ')}: exit ${result.code}\n${tailOf(result)}`);
  }
}

/** What the driver says its version is, or null. */
export async function readVersion(command: Command, folder: string): Promise<string | null> {
  const { stdout } = await runStep(command, folder, PROBE_DEADLINE_MS);
  return /\d+(\.\d+)*/.exec(stdout)?.[0] ?? null;
}

async function findMissing(toolchain: Toolchain): Promise<string | null> {
  for (const probe of toolchain.probes) {
    const result = await runStep(probe, '/', PROBE_DEADLINE_MS);
    if (result.code !== 0) return probe.slice(0, 2).join(' ');
  }
  return null;
}

/** A command that cannot be started ends with code null. */
async function runStep(
  [program, ...args]: Command,
  folder: string,
  deadlineMs: number,
  env: NodeJS.ProcessEnv = {},
): Promise<ProgramResult> {
  try {
    return await runProgram(resolveProgram(program, folder), args, { cwd: folder, deadlineMs, env });
  } catch (error) {
    return { code: null, stdout: '', stderr: error instanceof Error ? error.message : String(error) };
  }
}

function tailOf(result: ProgramResult): string {
  return `${result.stdout}${result.stderr}`.trim().split('\n').slice(-15).join('\n');
}
