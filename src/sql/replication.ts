// Commands of the replication protocol: no SQL, and taken only on a connection that asked for `replication` when it
// started. Source: PostgreSQL documentation, "Streaming Replication Protocol"; first words as in repl_scanner.l.

import { decodeSql } from './encoding.ts';
import type { StatementFacts } from './facts.ts';
import { lexSql } from './lexer.ts';
import { NO_TAGS } from './tags.ts';

/** Kinds by which rules match them. SHOW is one too, and means what it means in SQL: the grammar reads it. */
export const REPLICATION_KINDS = [
  'identify_system',
  'read_replication_slot',
  'create_replication_slot',
  'alter_replication_slot',
  'drop_replication_slot',
  'start_replication',
  'timeline_history',
  'base_backup',
  'upload_manifest',
] as const;

const FIRST_WORD = new RegExp(
  `^[ \\t\\n\\r\\f\\v]*(${REPLICATION_KINDS.join('|')})(?![A-Za-z0-9_$\\u0080-\\uffff])`,
  'i',
);
/** Log positions: literals, though no SQL scanner would read them as one. */
const LOG_POSITION = /\b[0-9A-Fa-f]+\/[0-9A-Fa-f]+\b/g;
const NOTHING: readonly string[] = Object.freeze([]);

/**
 * The facts of a replication command, or null for any other text: the server reads that as SQL. The server wants the first
 * word in upper case; in lower case it is an error there, whichever way it is judged here.
 *
 * @param latin1 the text's bytes, one character each
 * @param encoding client_encoding as the server reports it
 */
export function readReplicationCommand(latin1: string, encoding: string): StatementFacts | null {
  const kind = FIRST_WORD.exec(latin1)?.[1]?.toLowerCase();
  if (kind === undefined) return null;
  const text = decodeSql(latin1, encoding) ?? latin1;
  return Object.freeze({
    text,
    shape: Object.freeze({
      normalized: lexSql(text.replace(LOG_POSITION, '?')).normalized,
      fingerprint: '',
      queryClass: 'replication',
      kinds: Object.freeze([kind]),
      tables: NOTHING,
      functions: NOTHING,
      columns: NOTHING,
      isMissingWhere: false,
      unparsed: null,
    }),
    tags: NO_TAGS,
    effect: null,
  });
}
