// A prepared statement that a server of the client's own would fail by now, for its result has changed, say. The client gets
// the error that such a server gives. To have one to reword, a message that the server must fail goes in the place of the
// client's, as for a refusal (steps/refuse.ts); or a statement that fails when it is planned goes in the place of the
// statement, because a server looks at the values of the parameters before it plans.

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

/** The connection that had the statement has gone to others, and any other would now read its text differently. */
export const UNREADABLE_TEXT = makeError({
  S: 'ERROR',
  V: 'ERROR',
  C: '26000',
  M: 'prepared statement was made under another client_encoding or standard_conforming_strings',
  H: 'Prepare it again.',
});

/** It is pgweir's: no trial on the server has failed, and a transaction that has failed had done so before. */
export function isOwnWord(error: Buffer): boolean {
  return error === CHANGED_RESULT || error === UNREADABLE_TEXT;
}

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
