// Where a message about a prepared statement goes when that is not simply a name of the server's.

import { Preparation } from '../../session/preparation.ts';
import { Slot } from '../../session/server-names.ts';
import { PreparedStatement } from '../../session/statements.ts';
import type { StatementDescription } from '../../wire/backend.ts';

/** Names of pgweir's own begin so; a client that uses such a name has another one on the server. */
export const OWN_PREFIX = 'pgweir_';

/** No name has to be found or changed: the message goes as it was sent. */
export const AS_SENT = new Slot('');
/** A name that no server ever has. */
export const NOBODY = new Slot('pgweir_nobody');
/** Nowhere: no server can have it any more. */
export const FAILED = new Slot('');

/** The empty text without parameters: it can be prepared in any transaction status. */
export const NOTHING = new Preparation(Buffer.alloc(3), 1, null);

export const ONE_COLUMN = new Preparation(Buffer.from('SELECT 1\0\0\0', 'latin1'), 'SELECT 1'.length + 1, null);

/** Stands for what the client has and the server has not, where it only matters that the name is taken. */
export const TAKEN = 'pgweir_taken';
export const TAKEN_STATEMENT = new PreparedStatement(TAKEN, [], 0, NOTHING, null);
TAKEN_STATEMENT.isConfirmed = true;

/** Another text, with the parameters of that statement. */
export function makeStandIn(
  preparation: Preparation,
  { name }: PreparedStatement,
  description: StatementDescription | null,
): PreparedStatement {
  const standIn = new PreparedStatement(name, [], 0, preparation, null);
  standIn.description = description;
  standIn.isConfirmed = true;
  return standIn;
}
