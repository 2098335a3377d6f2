// `pgweir wait` and `pgweir shutdown`: words with a pgweir that runs beside this process, by the settings that it runs by.
// For entrypoints, preStop hooks and jobs in images that have no curl.

import { setTimeout as sleep } from 'node:timers/promises';
import { describeError } from '../base/errors.ts';
import type { CliIo, ExitCode } from './io.ts';
import { CliError, EXIT } from './io.ts';
import type { ServeOptions } from './serve.ts';
import { readSettings } from './serve.ts';

const POLL_MS = 100;
/** One request takes no longer; its sender and receiver are on the same machine. */
const REQUEST_TIMEOUT_MS = 5000;

export interface NeighbourOptions extends ServeOptions {
  readonly timeoutSeconds: number;
}

/** Ends with 0 once /startup answers 200. Throws CliError at the deadline and SettingsError. */
export async function runWait(io: CliIo, options: NeighbourOptions): Promise<ExitCode> {
  const { health } = await readSettings(io, options);
  const url = `http://${reachable(health.host)}:${health.port}/startup`;
  const endsAtMs = performance.now() + options.timeoutSeconds * 1000;
  let lastWord = 'no answer';
  for (;;) {
    const leftMs = endsAtMs - performance.now();
    if (leftMs <= 0) throw new CliError(`not ready after ${options.timeoutSeconds} s: ${url}: ${lastWord}`);
    try {
      const answer = await fetch(url, { signal: AbortSignal.timeout(Math.ceil(Math.min(leftMs, REQUEST_TIMEOUT_MS))) });
      lastWord = `${answer.status} ${(await answer.text()).trim()}`;
      if (answer.ok) return EXIT.ok;
    } catch (error) {
      lastWord = describeFailure(error);
    }
    await sleep(POLL_MS);
  }
}

/** Ends with 0 once the other has promised to stop. Throws CliError where it does not, and SettingsError. */
export async function runShutdown(io: CliIo, options: ServeOptions): Promise<ExitCode> {
  const { admin } = await readSettings(io, options);
  const url = `http://${reachable(admin.host)}:${admin.port}/quitquitquit`;
  const headers = admin.token === null ? {} : { authorization: `Bearer ${admin.token}` };
  let answer: Response;
  try {
    answer = await fetch(url, { method: 'POST', headers, signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS) });
  } catch (error) {
    throw new CliError(`${url}: ${describeFailure(error)}`);
  }
  const text = await answer.text();
  if (!answer.ok) throw new CliError(`${url}: ${answer.status} ${text.trim()}`);
  return EXIT.ok;
}

/** Why a request came to nothing. fetch itself says only that it failed. */
function describeFailure(error: unknown): string {
  const cause = error instanceof Error ? error.cause : undefined;
  if (!(cause instanceof Error)) return describeError(error);
  // Of several addresses that were tried in vain there is only a code.
  return cause.message === '' && 'code' in cause ? String(cause.code) : cause.message;
}

/** An address to call for one to listen on: every address means this machine too. */
function reachable(host: string): string {
  if (host === '0.0.0.0') return '127.0.0.1';
  if (host === '::') return '[::1]';
  return host.includes(':') ? `[${host}]` : host;
}
