// Under which settings a text is read. The server reports changes of client_encoding and standard_conforming_strings only at the
// end of a unit of work. Until then a text whose meaning depends on them may mean something else than pgweir reads in it.

import { isReadAlike } from '../../session/preparation.ts';
import { READING_SETTINGS } from '../../session/session.ts';
import type { QueryClass, StatementFacts } from '../../sql/facts.ts';
import { isBuiltin } from '../../sql/traces.ts';
import type { Connection } from '../connection.ts';
import type { Run } from '../run.ts';
import { awaitAnswers } from './await-answers.ts';

/** Statements that change no setting, but by functions, and those are in the facts. */
const RUNS_NO_CODE: ReadonlySet<QueryClass> = new Set(['read', 'write', 'ddl', 'copy']);
const OPENS_TRANSACTION: ReadonlySet<string> = new Set(['begin', 'savepoint', 'release']);

/**
 * `certain`: they are as they were reported. `later`: not now, something is unanswered that may change them; the gate is closed
 * until it has been answered. `doubtful`: they may have changed in this unit of work, and no report comes before its end.
 */
export type Reading = 'certain' | 'later' | 'doubtful';

/** How the text in `buffer[start, end)` can be read now. */
export function readingOf(connection: Connection, buffer: Buffer, start: number, end: number): Reading {
  const { session, copyIn } = connection;
  if (isReadAlike(buffer, start, end)) return 'certain';
  if (session.isInUnit && session.isReadingInDoubt) return 'doubtful';
  if (session.isQuiet || copyIn.isRunning) return 'certain';
  if (!session.isReadingNew && !session.owed.some(mayChangeReading)) return 'certain';
  awaitAnswers(connection);
  return 'later';
}

/** It is a statement that may change how a text is read. What hides in code of the database could do anything itself. */
export function mayChangeReading({ facts }: Run): boolean {
  return facts.some(changesReading);
}

function changesReading({ effect, shape }: StatementFacts): boolean {
  const { queryClass, kinds, functions, tables } = shape;
  // Wherever it stands: CREATE TABLE AS and COPY run queries too.
  if (functions.some((name) => isBuiltin(name, 'set_config'))) return true;
  if (queryClass !== 'read' && tables.some((name) => isBuiltin(name, 'pg_settings'))) return true;
  switch (effect?.type) {
    case 'set':
      return effect.name === null || READING_SETTINGS.has(effect.name);
    case 'execute':
    case 'fetch':
    case 'discard_all':
      return true;
    case undefined:
      break;
    default:
      return false;
  }
  if (queryClass === 'transaction') return !OPENS_TRANSACTION.has(kinds[0] ?? '');
  return !RUNS_NO_CODE.has(queryClass);
}
