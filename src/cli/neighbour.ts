// `pgweir wait` and `pgweir shutdown`: words with a pgweir that runs beside this process, by the settings that it runs by.
// For entrypoints, preStop hooks and jobs in images that have no curl.

import { request } from 'node:http';
import { text } from 'node:stream/consumers';
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
      const { status, body } = await ask(url, { timeoutMs: Math.min(leftMs, REQUEST_TIMEOUT_MS) });
      lastWord = `${status} ${body}`;
      if (status === 200) return EXIT.ok;
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
  const { status, body } = await ask(url, { method: 'POST', headers, timeoutMs: REQUEST_TIMEOUT_MS }).catch(
    (error: unknown) => {
      throw new CliError(`${url}: ${describeFailure(error)}`);
    },
  );
  if (status !== 200) throw new CliError(`${url}: ${status} ${body}`);
  return EXIT.ok;
}

interface Question {
  readonly method?: 'GET' | 'POST';
  readonly headers?: Readonly<Record<string, string>>;
  readonly timeoutMs: number;
}

/** Not by fetch, which calls no port that browsers have reason to shun, such as 6000 or 10080. */
function ask(url: string, question: Question): Promise<{ readonly status: number; readonly body: string }> {
  const { method = 'GET', headers = {}, timeoutMs } = question;
  const signal = AbortSignal.timeout(Math.ceil(timeoutMs));
  return new Promise((resolve, reject) => {
    const asked = request(url, { method, headers, signal, agent: false }, (answer) => {
      text(answer).then((body) => resolve({ status: answer.statusCode ?? 0, body: body.trim() }), reject);
    });
    asked.on('error', reject).end();
  });
}

/** Why a request came to nothing. Of one that was given up the cause says why. */
function describeFailure(error: unknown): string {
  const told = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  // Of several addresses that were tried in vain there is only a code.
  return told instanceof Error && told.message === '' && 'code' in told ? String(told.code) : describeError(told);
}

/** An address to call for one to listen on: every address means this machine too. */
function reachable(host: string): string {
  if (host === '0.0.0.0') return '127.0.0.1';
  if (host === '::') return '[::1]';
  return host.includes(':') ? `[${host}]` : host;
}
