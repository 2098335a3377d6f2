// A prepared statement that the server would fail, had it been the client's own from the beginning. In the message's place
// goes one that the server must fail, as for a refusal (steps/refuse.ts); or in the statement's place one that fails when it
// is planned, for the server looks at the values before it plans. The error is worded as that server's.

import type { ErrorSubstitute } from '../../session/owed.ts';
import { Preparation } from '../../session/preparation.ts';
import { BACKEND } from '../../wire/codes.ts';
import { makeMessage, makeParse, makeQuery } from '../../wire/writer.ts';
import { makeStandInText, STAND_IN_NAME } from './refuse.ts';

const STAND_IN = makeStandInText('in the place of a statement that cannot be used any more');
export const FAILED_DESCRIBE = makeParse(STAND_IN_NAME, STAND_IN);
export const FAILED_QUERY = makeQuery(STAND_IN);
/** It can be prepared, with parameters of any types; the planner fails it with division_by_zero. */
export const UNPLANNABLE = new Preparation(Buffer.from('SELECT 1/0\0\0\0', 'latin1'), 'SELECT 1/0'.length + 1, null);
const PLAN_FAILURES: ReadonlySet<string> = new Set(['22012', '25P02']);

/** What RevalidateCachedQuery says; drivers know it by SQLSTATE and routine, and prepare anew. */
export const CHANGED_RESULT = makeError({
  S: 'ERROR',
  V: 'ERROR',
  C: '0A000',
  M: 'cached plan must not change result type',
  F: 'plancache.c',
  R: 'RevalidateCachedQuery',
});

/** The server connection that had it has gone to others, and another one would read it in another way. */
export const UNREADABLE_TEXT = makeError({
  S: 'ERROR',
  V: 'ERROR',
  C: '26000',
  M: 'prepared statement was made under another client_encoding or standard_conforming_strings',
  H: 'Prepare it again.',
});

/** For an entry of FAILED_DESCRIBE or FAILED_QUERY. */
export function failWith(error: Buffer): ErrorSubstitute {
  return { sqlstates: null, error };
}

/** For an entry of what uses UNPLANNABLE, or NOTHING in a failed transaction. */
export function failPlanWith(error: Buffer): ErrorSubstitute {
  return { sqlstates: PLAN_FAILURES, error };
}

/** ParameterDescription with that body. */
export function makeParameterDescription(parameters: Buffer): Buffer {
  return makeMessage(BACKEND.parameterDescription, parameters);
}

function makeError(fields: Readonly<Record<string, string>>): Buffer {
  const body = Object.entries(fields).map(([code, text]) => `${code}${text}\0`);
  return makeMessage(BACKEND.error, Buffer.from(`${body.join('')}\0`, 'latin1'));
}
