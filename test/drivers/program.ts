// Runs one driver's program. What it printed before it hung or died counts: the check that it stopped in is then known.

import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { collectOutput } from '../support/native-binaries.ts';
import { setWatchdog } from '../support/watchdog.ts';
import type { Command } from './catalogue.ts';

export interface ProgramRun {
  /** "exit 0", "signal SIGSEGV", "still ran after 120 s", or why it could not be started. */
  readonly end: string;
  readonly stdout: string;
  readonly stderr: string;
  readonly seconds: number;
}

/** Runs `command` in `folder` until its end or the deadline, when it and what it started are killed. Never rejects. */
export function runDriverProgram(
  command: Command,
  folder: string,
  environment: NodeJS.ProcessEnv,
  deadlineMs: number,
): Promise<ProgramRun> {
  const [program, ...args] = command;
  const startedAt = performance.now();
  // A group of its own: psql's checks are a shell with children.
  const child = spawn(resolveProgram(program, folder), args, {
    cwd: folder,
    env: { ...process.env, ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  });
  const callOffWatchdog = setWatchdog('kill -KILL -- "-$1"', [String(child.pid ?? 0)]);
  const output = collectOutput(child);
  return new Promise((settle) => {
    let end = '';
    const timer = setTimeout(() => {
      end = `still ran after ${deadlineMs / 1000} s`;
      killGroup(child);
    }, deadlineMs);
    const finish = (reason: string): void => {
      clearTimeout(timer);
      callOffWatchdog();
      settle({ end: end === '' ? reason : end, ...output, seconds: (performance.now() - startedAt) / 1000 });
    };
    child.once('error', (error) => finish(error.message));
    child.once('close', (code, signal) => finish(code === null ? `signal ${signal}` : `exit ${code}`));
  });
}

/** A name with a slash is meant inside `folder`; spawn would look for it from this process's own folder. */
export function resolveProgram(program: string, folder: string): string {
  return program.includes('/') && !program.startsWith('/') ? join(folder, program) : program;
}

function killGroup(child: ChildProcess): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, 'SIGKILL');
  } catch {
    // It ended by itself in this moment.
  }
}
