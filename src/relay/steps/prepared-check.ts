// Code that runs on the server may drop prepared statements without a word (DEALLOCATE inside a function, say). Where it may
// have done so, the server is asked for the names that it has.

import { readHex } from '../../pool/carried-text.ts';
import type { Inquiry } from '../../pool/inquiry.ts';
import type { ServerNames } from '../../session/server-names.ts';
import type { PreparedStatements } from '../../session/statements.ts';
import { TRACE } from '../../sql/traces.ts';
import { isAscii } from '../../wire/reader.ts';

/** Goes with the other questions of a settlement (pool/settlement.ts). */
const QUESTION = `;
SELECT 'prepared', pg_catalog.encode(pg_catalog.convert_to(name, pg_catalog.getdatabaseencoding()), 'hex'),
  CASE WHEN from_sql THEN 'sql' END FROM pg_catalog.pg_prepared_statement()`;

/** What to ask beside the rest; nothing where only statements ran whose doings are known. `traces` are bits of TRACE. */
export function questionOfNames(traces: number): string {
  return (traces & (TRACE.hidden | TRACE.preparedSql)) === 0 ? '' : QUESTION;
}

/**
 * What is not there any more is taken from the client's names, too. Nothing may be in flight. Returns TRACE.preparedSql where all that
 * SQL PREPARE has made can be made again elsewhere, and so need not pin the connection; else 0.
 */
export function settleNames(
  traces: number,
  rows: Inquiry['rows'],
  names: ServerNames,
  statements: PreparedStatements,
): number {
  if (questionOfNames(traces) === '') return 0;
  const there = new Set<string>();
  let carried: number = TRACE.preparedSql;
  for (const [kind, hexName, source] of rows) {
    if (kind !== 'prepared') continue;
    const name = readHex(hexName ?? '');
    there.add(name);
    if (source === 'sql' && !isCarried(name, names, statements)) carried = 0;
  }
  for (const slot of [...names.slots()]) {
    const { name, clientName } = slot;
    // The server has it in the database's encoding, the client sent it in its own.
    if (!slot.isThere || there.has(name) || !isAscii(name)) continue;
    if (clientName !== null) statements.forget(clientName, Number.POSITIVE_INFINITY);
    names.empty(slot, Number.POSITIVE_INFINITY);
  }
  return carried;
}

/** SQL PREPARE that is known can be done again elsewhere. */
function isCarried(name: string, names: ServerNames, statements: PreparedStatements): boolean {
  const statement = names.at(name)?.statement ?? null;
  if (statement === null || !isAscii(name) || statements.find(name) !== statement) return false;
  return statement.isSql && statement.preparation !== null && statement.description !== null;
}
