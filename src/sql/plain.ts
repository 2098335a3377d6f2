// Most statements only read or write rows, and run no code but PostgreSQL's own: nothing of them has to be followed but
// that they run. Which ones those are is remembered by shape, so that the road of a statement asks once.

import type { CatalogKnowledge } from './catalog-knowledge.ts';
import type { StatementShape, TextFacts } from './facts.ts';
import { isBuiltin, readsText, traceOf } from './traces.ts';

/** The views of what is prepared, and the function behind them. */
const LOOKS_AT_PREPARED = /^(?:pg_catalog\.)?pg_prepared_statements?$/;

/** Of sessions whose server connections nobody else has: there it does not matter what is left behind. */
const ALONE = Object.freeze({});

const caches = new WeakMap<object, WeakMap<StatementShape, boolean>>();
// One database and few shapes at a time are the rule: the last ones are at hand.
let lastCatalog: object | null = null;
let cache = new WeakMap<StatementShape, boolean>();
let lastShape: StatementShape | null = null;
let wasPlain = false;

/**
 * One statement that leaves nothing behind, names no prepared statement, shows none, and takes no data from the client (COPY).
 *
 * @param catalog null where the server connection is the session's own, and may keep what is left behind
 */
export function isPlain(facts: TextFacts, catalog: CatalogKnowledge | null): boolean {
  const only = facts[0];
  if (only === undefined || facts.length !== 1 || only.effect !== null) return false;
  const { shape } = only;
  if ((catalog ?? ALONE) !== lastCatalog) turnTo(catalog ?? ALONE);
  if (shape === lastShape) return wasPlain;
  let answer = cache.get(shape);
  if (answer === undefined) {
    const { queryClass, kinds } = shape;
    const isOfRows = (queryClass === 'read' || queryClass === 'write') && kinds[0] !== 'copy' && !readsText(shape);
    // Written to, it sets what it shows.
    const isSetting = queryClass === 'write' && shape.tables.some((name) => isBuiltin(name, 'pg_settings'));
    answer = isOfRows && !isSetting && !looksAtPrepared(shape) && (catalog === null || traceOf(only, catalog) === 0);
    cache.set(shape, answer);
  }
  lastShape = shape;
  wasPlain = answer;
  return answer;
}

/** What is prepared shows in its result. */
export function looksAtPrepared({ tables, functions }: StatementShape): boolean {
  const isNamed = (name: string): boolean => LOOKS_AT_PREPARED.test(name);
  return tables.some(isNamed) || functions.some(isNamed);
}

function turnTo(catalog: object): void {
  lastCatalog = catalog;
  cache = caches.get(catalog) ?? new WeakMap();
  caches.set(catalog, cache);
  lastShape = null;
}
