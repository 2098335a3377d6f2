// What a statement may leave behind in its session when its transaction is over, from its facts and what is known of the
// database's objects. Zero must be right: the next statement on the connection may be another client's. More than zero may
// be too much: then the server is asked, or the session keeps its connection.

import { type BodyScan, scanBody, scanCoarsely, scanForeignBody } from './body-scan.ts';
import { readTokens } from './body-tokens.ts';
import { builtinTraces } from './builtin-traces.ts';
import type { CatalogKnowledge } from './catalog-knowledge.ts';
import type { StatementFacts, StatementShape } from './facts.ts';
import { isSpoken } from './spoken-functions.ts';
import { DISCARDED, MAY_RUN_ARGUMENT, RUNS_ARGUMENT, TRACE, UNASKABLE } from './trace-bits.ts';

export { DISCARDED, TRACE, UNASKABLE } from './trace-bits.ts';

const NAMES: readonly (readonly [number, string])[] = [
  [TRACE.settings, 'settings'],
  [TRACE.hidden, 'hidden'],
  [TRACE.temporary, 'temporary'],
  [TRACE.heldCursor, 'held_cursor'],
  [TRACE.advisoryLock, 'advisory_lock'],
  [TRACE.listen, 'listen'],
  [TRACE.preparedSql, 'prepared_sql'],
  [TRACE.sequence, 'sequence'],
  [TRACE.seed, 'seed'],
  [TRACE.library, 'library'],
  [TRACE.extension, 'extension'],
  [TRACE.opaqueSetting, 'opaque_setting'],
  [TRACE.definition, 'definition'],
];

/** The public names of the bits, as the ledger and the metrics have them. */
export function nameTraces(traces: number): string[] {
  return NAMES.filter(([bit]) => (traces & bit) !== 0).map(([, name]) => name);
}

/** All that can be asked for by name; what DISCARD ALL may have taken away. */
const ASKABLE: number =
  TRACE.settings | TRACE.temporary | TRACE.heldCursor | TRACE.advisoryLock | TRACE.listen | TRACE.preparedSql;

/** What kinds of statements leave by themselves. Those that read tables or call functions are not here. */
const BY_KIND: ReadonlyMap<string, number> = new Map([
  ...[
    ...['begin', 'commit', 'rollback', 'savepoint', 'release', 'rollback_to', 'prepare_transaction'],
    ...['commit_prepared', 'rollback_prepared', 'show', 'set_constraints', 'notify', 'lock', 'checkpoint'],
    ...['fetch', 'move', 'execute', 'alter_system'],
  ].map((kind): [string, number] => [kind, 0]),
  ['reset', TRACE.settings],
  ['listen', TRACE.listen],
  ['unlisten', TRACE.listen],
  ['close', TRACE.heldCursor],
  ['prepare', TRACE.preparedSql],
  ['deallocate', TRACE.preparedSql],
  ['load', TRACE.library],
]);

/** They run no code but that of tables and functions, which are looked at by themselves. */
const RUNS_RELATIONS = new Set([
  ...['select', 'insert', 'update', 'delete', 'merge', 'copy', 'truncate', 'explain', 'declare', 'call'],
  ...['vacuum', 'analyze', 'reindex', 'cluster'],
]);
/** Without a table they take all of them. */
const TAKES_ALL = new Set(['vacuum', 'analyze', 'reindex', 'cluster']);
/** Definitions that change nothing of what is known, and run no code but event triggers. */
const HARMLESS_DEFINITION = /^(?:comment|grant|revoke|security_label|(?:create|alter|drop)_(?:role|tablespace))$/;
/** Kinds, and words of bodies, that put rows into a table. */
const INSERTING: readonly string[] = ['insert', 'merge', 'copy'];
/** Definitions that evaluate what they define. */
const EVALUATES = /^(?:create_table_as|create_materialized_view|refresh_materialized_view)$/;

type TraceCache = WeakMap<StatementShape | StatementFacts, number>;

const RUNS_TEXT: number = RUNS_ARGUMENT | MAY_RUN_ARGUMENT;

/** Of a shape whose texts have to be read one by one. */
const BY_TEXT = -1;

const caches = new WeakMap<CatalogKnowledge, TraceCache>();
// One database is the rule: the last one's cache is at hand.
let lastCatalog: CatalogKnowledge | null = null;
let lastCache: TraceCache = new WeakMap();

/** Bits of TRACE that the statement may leave; zero where it surely leaves nothing. About 10 ns for a known shape. */
export function traceOf(statement: StatementFacts, catalog: CatalogKnowledge): number {
  if (catalog !== lastCatalog) {
    lastCatalog = catalog;
    lastCache = caches.get(catalog) ?? new WeakMap();
    caches.set(catalog, lastCache);
  }
  const known = lastCache.get(statement.shape);
  return known !== undefined && known !== BY_TEXT ? known : judge(statement, catalog, lastCache, known === BY_TEXT);
}

function judge(statement: StatementFacts, catalog: CatalogKnowledge, cache: TraceCache, isByText: boolean): number {
  const { shape } = statement;
  if (!isByText && !readsText(shape)) {
    const traces = shapeTraces(statement, catalog);
    // Only what the shape shows; a text that hidden code may run is another matter.
    if ((traces & RUNS_TEXT) === 0) {
      cache.set(shape, traces);
      return traces;
    }
  }
  cache.set(shape, BY_TEXT);
  const known = cache.get(statement);
  if (known !== undefined) return known;
  const traces = textTraces(statement, catalog) & ~RUNS_TEXT;
  cache.set(statement, traces);
  return traces;
}

/** What it leaves depends on its text, not on its shape alone. */
export function readsText({ unparsed, kinds, functions }: StatementShape): boolean {
  if (unparsed === 'function_call' || unparsed === 'not_prepared') return false;
  return unparsed !== null || kinds[0] === 'do' || functions.some((name) => isBuiltin(name, 'set_config'));
}

function textTraces(statement: StatementFacts, catalog: CatalogKnowledge): number {
  const { shape, text } = statement;
  if (shape.unparsed !== null) return scanCoarsely(text).traces | (catalog.hiddenTraces & UNASKABLE);
  if (shape.kinds[0] === 'do') return doTraces(text, catalog);
  const scan = scanBody(text);
  let traces = shapeTraces(statement, catalog);
  const isCertain = (traces & RUNS_ARGUMENT) !== 0;
  if ((isCertain || readsText(shape)) && runsFunctions(shape)) {
    traces |= scan.traces & (TRACE.settings | TRACE.opaqueSetting | TRACE.seed);
  }
  if ((traces & RUNS_TEXT) === 0 || scan.strings === null) return traces;
  const run = scanTraces(scan.strings, catalog);
  return traces | (isCertain ? run : run & ~UNASKABLE);
}

/** DO: its code is a string of the text, in the language that it names. */
function doTraces(text: string, catalog: CatalogKnowledge): number {
  const tokens = readTokens(text);
  const languageAt = tokens.findIndex(({ kind, text: word }) => kind === 'word' && word === 'language');
  const language = languageAt < 0 ? 'plpgsql' : (tokens[languageAt + 1]?.text ?? '');
  if (language !== 'plpgsql') return scanForeignBody(text, language).traces;
  let traces = 0;
  for (const [index, token] of tokens.entries()) {
    if (token.kind === 'unreadable') traces |= TRACE.hidden | UNASKABLE;
    if (token.kind === 'string' && index !== languageAt + 1) traces |= scanTraces(scanBody(token.text), catalog);
  }
  return traces;
}

/** What code may leave, with all that its words may mean in this database. */
function scanTraces(scan: BodyScan, catalog: CatalogKnowledge): number {
  let traces = scan.traces | catalog.operatorTraces;
  const isInserting = INSERTING.some((word) => scan.words.has(word));
  for (const word of scan.words) {
    traces |= catalog.tracesOfWord(word);
    if (isInserting && catalog.drawsSequence(word)) traces |= TRACE.sequence;
  }
  return (traces & RUNS_ARGUMENT) === 0 || scan.strings === null ? traces : traces | scanTraces(scan.strings, catalog);
}

function shapeTraces(statement: StatementFacts, catalog: CatalogKnowledge): number {
  const { shape } = statement;
  const [kind] = shape.kinds;
  if (kind === undefined || shape.unparsed !== null) return TRACE.hidden;
  if (shape.queryClass === 'ddl') return definitionTraces(statement, kind, catalog);
  let traces = ownTraces(statement, kind);
  if (kind === 'prepare') return traces;
  // What EXECUTE runs is judged by itself; its arguments are here.
  const hasArguments = kind === 'execute' && shape.normalized.includes('(');
  if (hasArguments || shape.kinds.some((each) => RUNS_RELATIONS.has(each))) traces |= codeTraces(shape, catalog);
  // Event triggers on DDL see it, though it defines nothing.
  return kind === 'reindex' ? traces | catalog.definitionTraces : traces;
}

function ownTraces({ shape, effect }: StatementFacts, kind: string): number {
  if (effect?.type === 'set' && kind === 'set') return settingTraces(effect.name ?? '', effect.isLocal);
  if (effect?.type === 'declare') return effect.isHeld ? TRACE.heldCursor : 0;
  if (kind === 'discard') {
    if (effect?.type === 'discard_all') return ASKABLE;
    if (/\btemp(?:orary)?\b/i.test(shape.normalized)) return TRACE.temporary;
    // Asking again finds that nothing was drawn since.
    return discardedBy({ shape, effect }) === 0 ? 0 : TRACE.hidden;
  }
  const own = BY_KIND.get(kind);
  if (own !== undefined) return own;
  if (TAKES_ALL.has(kind)) return shape.tables.length === 0 ? TRACE.hidden : 0;
  if (kind === 'truncate') return /\bcascade\b/i.test(shape.normalized) ? TRACE.hidden : 0;
  return RUNS_RELATIONS.has(kind) ? 0 : TRACE.hidden;
}

function settingTraces(name: string, isLocal: boolean): number {
  if (name === 'seed') return TRACE.seed;
  // A placeholder stays as '' when its local value is gone.
  return isLocal && !name.includes('.') ? 0 : TRACE.settings;
}

function definitionTraces({ shape, effect }: StatementFacts, kind: string, catalog: CatalogKnowledge): number {
  if (kind === 'alter_system') return 0;
  let traces = catalog.definitionTraces;
  if (HARMLESS_DEFINITION.test(kind)) return traces;
  if (effect?.type === 'create_temporary') traces |= TRACE.temporary;
  else traces |= TRACE.definition | TRACE.hidden;
  const fills = kind === 'alter_table' && /\badd\b|\busing\b/i.test(shape.normalized);
  if (fills && /\b(?:big|small)?serial[248]?\b|\bidentity\b/i.test(shape.normalized)) traces |= TRACE.sequence;
  if (fills || shape.kinds.some((each) => EVALUATES.test(each))) traces |= codeTraces(shape, catalog);
  return traces;
}

/** What the relations, functions and operators of a statement leave. */
function codeTraces(shape: StatementShape, catalog: CatalogKnowledge): number {
  const isPlanned = !runsFunctions(shape);
  let traces = catalog.operatorTraces;
  for (const name of shape.tables) traces |= catalog.tracesOfRelation(name);
  for (const name of shape.functions) traces |= functionTraces(name, isPlanned, catalog);
  if (catalog.attributeFunctions.size > 0) traces |= attributeTraces(shape, catalog);
  if (!isPlanned && drawsSequence(shape, catalog)) traces |= TRACE.sequence;
  if (shape.tables.some((name) => isBuiltin(name, 'pg_settings')) && shape.queryClass !== 'read') {
    traces |= TRACE.settings;
  }
  return traces;
}

/** `row.name` calls a function that takes a row; to the grammar it is a column, however its name is spelled. */
function attributeTraces({ columns, normalized }: StatementShape, catalog: CatalogKnowledge): number {
  const text = normalized.toLowerCase();
  let traces = 0;
  for (const [name, behind] of catalog.attributeFunctions)
    if (text.includes(name.toLowerCase()) || columns.some((column) => column.endsWith(`.${name}`))) traces |= behind;
  return traces;
}

/** EXPLAIN without ANALYZE only plans: nothing volatile runs. */
function runsFunctions({ kinds }: StatementShape): boolean {
  return kinds[0] !== 'explain' || kinds.length > 1;
}

function functionTraces(name: string, isPlanned: boolean, catalog: CatalogKnowledge): number {
  if (isSpoken(name)) return 0;
  const isQualified = name.startsWith('pg_catalog.');
  const bare = isQualified ? name.slice('pg_catalog.'.length) : name;
  const behind = catalog.tracesOfFunction(name);
  const builtin = builtinTraces(bare);
  if (builtin === null) return behind ?? TRACE.hidden | MAY_RUN_ARGUMENT;
  // Calls of set_config are read in the text.
  const isPassing = isPlanned || bare === 'set_config';
  return (isPassing ? 0 : builtin) | (behind ?? 0);
}

/** The target of an INSERT, MERGE or COPY comes first among the tables; inside other statements it may be any. */
function drawsSequence(shape: StatementShape, catalog: CatalogKnowledge): boolean {
  const { kinds, tables, normalized } = shape;
  const writing = kinds.filter((kind) => INSERTING.includes(kind));
  if (kinds[0] === 'merge' && kinds.length === 1 && !/\binsert\b/i.test(normalized)) return false;
  const isDefault = kinds.includes('update') && /\bdefault\b/i.test(normalized);
  if (isDefault) return tables.some((name) => catalog.drawsSequence(name));
  if (writing.length === 0 || (writing[0] === 'copy' && shape.queryClass !== 'write')) return false;
  const isFirst = writing.length === 1 && kinds[0] === writing[0];
  return (isFirst ? tables.slice(0, 1) : tables).some((name) => catalog.drawsSequence(name));
}

/** `name`, as a shape has it, is that of PostgreSQL's own function, table or view. */
export function isBuiltin(name: string, builtin: string): boolean {
  return name === builtin || name === `pg_catalog.${builtin}`;
}

const NO_NAMES: readonly string[] = Object.freeze([]);
const namesByStatement = new WeakMap<StatementFacts, readonly string[]>();

/** Dotted setting names that the text sets, in lower case: SET, SET LOCAL, RESET, and set_config with a literal name. */
export function customSettingsIn(statement: StatementFacts): readonly string[] {
  const { effect, shape, text } = statement;
  if (effect?.type === 'set') return effect.name?.includes('.') === true ? [effect.name] : NO_NAMES;
  const isRead =
    shape.unparsed !== null || shape.kinds[0] === 'do' || shape.functions.some((name) => isBuiltin(name, 'set_config'));
  if (!isRead) return NO_NAMES;
  let names = namesByStatement.get(statement);
  if (names === undefined) {
    names = (shape.unparsed === null ? scanBody(text) : scanCoarsely(text)).customNames;
    namesByStatement.set(statement, names);
  }
  return names;
}

/** Of what no question finds, the bits that end when the statement has been done: DISCARD ALL and DISCARD SEQUENCES. */
export function discardedBy({ shape, effect }: Pick<StatementFacts, 'shape' | 'effect'>): number {
  if (effect?.type === 'discard_all') return DISCARDED;
  return shape.kinds[0] === 'discard' && /\bsequences\b/i.test(shape.normalized) ? DISCARDED : 0;
}

/** What no question finds and a statement's definitions mention, until the catalogs have been read again. */
export function definedTraces({ shape, text }: StatementFacts): number {
  if (shape.queryClass !== 'ddl' && shape.unparsed === null) return 0;
  return scanCoarsely(text).traces & UNASKABLE;
}

/** Custom settings that a statement's definitions mention: code that it makes may set them. */
export function definedSettings({ shape, text }: StatementFacts): readonly string[] {
  return shape.queryClass !== 'ddl' && shape.unparsed === null ? NO_NAMES : scanCoarsely(text).customNames;
}

/** First parts of setting names that PostgreSQL's own languages and modules claim for themselves once they are loaded. */
const CLAIMED_PREFIXES = new Set(
  `plpgsql plperl plpython pltcl auto_explain pg_stat_statements pg_trgm pg_prewarm pg_overexplain postgres_fdw dblink isn
  passwordcheck auth_delay basebackup_to_shell basic_archive sepgsql`.split(/\s+/),
);

/**
 * True where it shows what others have done on the connection that never goes away again: libraries that are loaded (LOAD,
 * settings of a library by name), and buffers for temporary tables, which keep their number once one was used, though that
 * table was gone with its transaction. Only a new connection answers such a statement as a new session would.
 */
export function showsOthersUse(statement: StatementFacts): boolean {
  const { effect, shape } = statement;
  if (shape.kinds[0] === 'load' || (effect?.type === 'set' && effect.name === 'temp_buffers')) return true;
  return customSettingsIn(statement).some((name) => CLAIMED_PREFIXES.has(name.slice(0, name.indexOf('.'))));
}
