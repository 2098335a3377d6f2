// How a message is refused: replaced, not dropped. In its place goes one that the server itself must fail, so that the
// transaction, the savepoints, the skipping up to Sync and everything pipelined behind it behave as after any error; the
// server's error is then given our words.
//
// The stand-in is `VALUES (1), (1, 2)`: grammatically right, refused by parse analysis with 42601 whatever the catalogs
// hold, and, like any statement, by 25P02 where the transaction has failed before. Sent as a Parse under the refused name it
// leaves prepared statements exactly as a failing Parse of the client's own would. On a replication connection it is refused
// for another reason, where there is no database or no extended protocol.

import { ERRORS, type ErrorCode } from '../../base/errors.ts';
import type { Refusal } from '../../policy/verdict.ts';
import { makeErrorResponse, makeParse, makeQuery } from '../../wire/writer.ts';

/** Stands for Execute too: a Parse under this name fails before it could be stored, and touches no other name. */
export const STAND_IN_NAME = 'pgweir_refused';

/**
 * What the server says to the stand-ins: syntax_error by parse analysis; undefined_function for the function call; and of a
 * walsender, feature_not_supported (SQL without a database) and protocol_violation (Parse, FunctionCall).
 */
const STAND_IN_ERRORS: ReadonlySet<string> = new Set(['42601', '42883', '0A000', '08P01']);

export function isStandInError(sqlstate: string): boolean {
  return STAND_IN_ERRORS.has(sqlstate);
}

/** @param note for who reads the server's log; must not end the comment that it stands in */
export function makeStandInText(note: string): string {
  return `VALUES (1), (1, 2) /* ${note} */`;
}

function standInText(refusal: Refusal, decisionId: string): string {
  const rule = refusal.rule.replace(/[^\w .:-]/g, '_');
  return makeStandInText(`refused by pgweir: rule ${rule}, decision ${decisionId}`);
}

export function makeRefusedQuery(refusal: Refusal, decisionId: string): Buffer {
  return makeQuery(standInText(refusal, decisionId));
}

export function makeRefusedParse(name: string, refusal: Refusal, decisionId: string): Buffer {
  return makeParse(name, standInText(refusal, decisionId));
}

export function makeRefusedExecute(refusal: Refusal, decisionId: string): Buffer {
  return makeParse(STAND_IN_NAME, standInText(refusal, decisionId));
}

/**
 * The error that the client sees. `decisionId`: empty for what is no decision of the rules. `isUtf8`: the client's encoding can
 * show any character; others get `?` for what is not ASCII.
 */
export function wordRefusal(refusal: Refusal, decisionId: string, isUtf8: boolean): Buffer {
  const detail: Record<string, string | number> = { rule: refusal.rule };
  if (decisionId !== '') detail.decision_id = decisionId;
  if (refusal.retryAfterMs !== null) detail.retry_after_ms = Math.ceil(refusal.retryAfterMs);
  const show = (text: string): string => (isUtf8 ? text : text.replace(/[^\x20-\x7e\n\t]/g, '?'));
  return makeErrorResponse({
    severity: 'ERROR',
    sqlstate: refusal.sqlstate,
    message: show(refusal.message),
    detail: show(JSON.stringify(detail)),
    hint: refusal.hint === null ? null : show(refusal.hint),
  });
}

/** A refusal in which no rule spoke, from the error registry. */
export function refusalOf(code: ErrorCode, rule: string, hint: string | null): Refusal {
  const { sqlstate, text } = ERRORS[code];
  return { rule, sqlstate, message: text, hint, retryAfterMs: null };
}
