// Runs a program's checks in order and prints one line of JSON for each (see ../../checks.ts).

import { readFileSync } from 'node:fs';

/** The driver has no way to do this; the message says what is missing. */
export class NoApi extends Error {}

export async function runChecks(checks) {
  for (const [check, perform] of Object.entries(checks)) {
    const print = (ok, detail) => console.log(JSON.stringify({ check, ok, detail }));
    try {
      print(true, await perform());
    } catch (error) {
      if (error instanceof NoApi) print(null, error.message);
      else print(false, `${error}`);
      if (!(error instanceof NoApi)) console.error(check, error);
    }
  }
}

export function expect(actual, wanted) {
  if (JSON.stringify(actual) !== JSON.stringify(wanted)) {
    throw new Error(`${JSON.stringify(actual)}, not ${JSON.stringify(wanted)}`);
  }
}

export async function failureOf(promise) {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  throw new Error('no failure');
}

/** Options for node's TLS that verify the server, or false. */
export function readTlsOptions() {
  return process.env.PGSSLMODE === 'disable' ? false : { ca: readFileSync(process.env.PGSSLROOTCERT, 'utf8') };
}

/** Server connections are shared: a session is served by another process with each transaction. */
export const isPooled = process.env.CHECKS_POOLED === '1';

/** SQL that marks a session, and that shows the same value in this very session only. */
export const { SESSION_MARK, SESSION_SEEN } = process.env;

export const describe = (error) => `${error.code} ${error.message} / ${error.detail} / ${error.hint}`;
