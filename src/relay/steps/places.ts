// Where a message about a prepared statement goes when that is not simply a name of the server's.

import { Preparation } from '../../session/preparation.ts';
import { Slot } from '../../session/server-names.ts';
import { PreparedStatement } from '../../session/statements.ts';
import type { ColumnDescription, StatementDescription } from '../../wire/backend.ts';
import { isAscii, MAX_NAME_BYTES } from '../../wire/reader.ts';

/** Names of pgweir's own begin so; a client that uses such a name has another one on the server. */
const OWN_PREFIX = 'pgweir_';

/**
 * It can be used on the server as it is: it is no name of pgweir's own, and was not cut in the middle of a character, which
 * the server would not take.
 */
export function mayStand(name: string): boolean {
  return !name.startsWith(OWN_PREFIX) && (name.length < MAX_NAME_BYTES || isAscii(name));
}

/** No name has to be found or changed: the message goes as it was sent. */
export const AS_SENT = new Slot('');
/** A name that no server ever has. */
export const NOBODY = new Slot('pgweir_nobody');
/** Nowhere: no server can have it any more. */
export const FAILED = new Slot('');

/** The empty text without parameters: it can be prepared in any transaction status. */
export const NOTHING = new Preparation(Buffer.alloc(3), 1, null);

/** Stands for what the client has and the server has not, where it only matters that the name is taken. */
export const TAKEN = 'pgweir_taken';
export const TAKEN_STATEMENT = new PreparedStatement(TAKEN, [], 0, NOTHING, null);
TAKEN_STATEMENT.isConfirmed = true;

/** A query with such a result, but for type modifiers: each column is a parameter. */
export function makeResult(columns: readonly ColumnDescription[]): Preparation {
  const list = columns.map(({ name }, index) => `$${index + 1} AS "${name.replaceAll('"', '""')}"`);
  const text = Buffer.from(`SELECT ${list.join(', ')}\0`, 'latin1');
  const types = Buffer.alloc(2 + 4 * columns.length);
  types.writeUInt16BE(columns.length, 0);
  for (const [index, { type }] of columns.entries()) types.writeInt32BE(type, 2 + 4 * index);
  return new Preparation(Buffer.concat([text, types]), text.length, null);
}

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
