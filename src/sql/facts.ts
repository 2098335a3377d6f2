// What is known of a statement from its text alone: the vocabulary that rules match on. Facts are frozen values, made
// once for a text and shared by every session that sends it. "Unreadable" is a fact, never an exception.

/** What a statement may do, at the strongest: a hidden write makes a SELECT a `write`, hidden code makes it `unknown`. */
export const QUERY_CLASSES = [
  'read',
  'write',
  'ddl',
  'transaction',
  'session',
  'copy',
  'utility',
  'replication',
  'unknown',
] as const;
export type QueryClass = (typeof QUERY_CLASSES)[number];

/**
 * Why a text could not be read. `not_prepared` is the EXECUTE (or Bind) of a name that this session never prepared; `unsettled`
 * stands beside what a text says under settings that may just have changed.
 */
export type UnparsedReason =
  | 'syntax'
  | 'too_long'
  | 'too_deep'
  | 'nul_byte'
  | 'encoding'
  | 'function_call'
  | 'not_prepared'
  | 'unsettled';

/** What a statement does to the names of its session, or which name it runs. Names are as the server sees them. */
export type StatementEffect =
  | { readonly type: 'prepare'; readonly name: string; readonly inner: StatementFacts }
  | { readonly type: 'execute'; readonly name: string }
  | { readonly type: 'deallocate'; readonly name: string | null }
  | { readonly type: 'discard_all' }
  /** `isHeld`: WITH HOLD, it outlives its transaction. */
  | { readonly type: 'declare'; readonly name: string; readonly isHeld: boolean }
  | { readonly type: 'fetch'; readonly name: string }
  | { readonly type: 'close_cursor'; readonly name: string | null }
  /** SET or RESET of one setting (`name`, lower case), or RESET ALL (`null`). `isLocal` ends with the transaction. */
  | { readonly type: 'set'; readonly name: string | null; readonly isLocal: boolean }
  /** Makes a temporary table, view or sequence: only this session on this server has it. */
  | { readonly type: 'create_temporary' };

/** All that does not depend on a statement's literals and comments: shared by every text of the same shape. */
export interface StatementShape {
  /** The text with literals as `?`, without comments, white space folded. Safe to log. */
  readonly normalized: string;
  /** The public pg_query fingerprint: 16 hex digits; empty when the text could not be read. */
  readonly fingerprint: string;
  readonly queryClass: QueryClass;
  /** Kind of the statement itself first, then of the statements that run inside it (CTE writes, EXPLAIN ANALYZE …). */
  readonly kinds: readonly string[];
  /** Names as the tree has them (folded to lower case unless quoted), `schema.name` or bare, no duplicates. */
  readonly tables: readonly string[];
  readonly functions: readonly string[];
  /** `column`, `alias.column` or `*`, as the tree has them. */
  readonly columns: readonly string[];
  /** An UPDATE or DELETE that would run, at any depth, has no WHERE. */
  readonly isMissingWhere: boolean;
  readonly unparsed: UnparsedReason | null;
}

export interface StatementFacts {
  /** The statement's own raw text, without its neighbours in a message of several statements. */
  readonly text: string;
  readonly shape: StatementShape;
  /** sqlcommenter tags, from comments before or after the statement. */
  readonly tags: Readonly<Record<string, string>>;
  readonly effect: StatementEffect | null;
}

/**
 * The statements of one message's text. Empty for an empty query; one element with `unparsed` for unreadable text. The
 * array of a text that is kept is frozen and its identity stable, so verdicts can be remembered by it; a text that is not
 * kept, such as one with a new literal, gets an array of its own that is not frozen.
 */
export type TextFacts = readonly StatementFacts[];

/** Facts of an empty text, or of none. */
export const NO_STATEMENTS: TextFacts = Object.freeze([]);
