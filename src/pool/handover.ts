// Turning a server connection that carries one client's belongings into one that carries another's, by one Query.

import type { Belongings } from '../session/belongings.ts';
import { TRACE } from '../sql/traces.ts';
import { identifierOf, literalOf } from './carried-text.ts';

const NONE: ReadonlyMap<string, string> = new Map();
/** A SELECT list may have 1,664 columns (MaxTupleAttributeNumber). */
const MAX_COLUMNS = 1_000;

/**
 * Statements that turn a connection carrying `from` into one carrying `to`, as one Query text; null where there is nothing to
 * do. Settings are written as the login user without any role, then user and role on top, as they were taken off before.
 *
 * @param isThorough nothing may stay of `from` but what `to` has, settings of unknown names included: hidden code ran
 */
export function makeHandover(from: Belongings, to: Belongings, isThorough = false): string | null {
  if (from === to && !isThorough) return null;
  const resets: string[] = [];
  const sets: string[] = [];
  if (isThorough) resets.push('RESET ALL');
  collectChanges(isThorough ? NONE : from.settings, to.settings, resets, sets);
  collectChanges(isThorough ? NONE : from.custom, to.custom, resets, sets);
  const statements: string[] = [];
  const wasOther = from.role !== null || from.sessionUser !== null;
  if (wasOther) statements.push('RESET SESSION AUTHORIZATION', 'RESET ROLE');
  if (resets.length + sets.length > 0) statements.push('SET LOCAL ROLE NONE', ...resets);
  for (let at = 0; at < sets.length; at += MAX_COLUMNS) {
    statements.push(`SELECT ${sets.slice(at, at + MAX_COLUMNS).join(', ')}`);
  }
  if (to.sessionUser !== null) statements.push(`SELECT ${setConfig('session_authorization', to.sessionUser)}`);
  if (to.role !== null) statements.push(`SELECT ${setConfig('role', to.role)}`);
  if (statements.length === 0) return null;
  if (from.settings.has('statement_timeout')) statements.unshift('SET LOCAL statement_timeout = 0');
  // A snapshot under the defaults of `from` could wait for others, or be refused by a standby.
  return ['SET TRANSACTION ISOLATION LEVEL READ COMMITTED, NOT DEFERRABLE', ...statements].join('; ');
}

function collectChanges(
  from: ReadonlyMap<string, string>,
  to: ReadonlyMap<string, string>,
  resets: string[],
  sets: string[],
): void {
  for (const name of from.keys()) if (!to.has(name)) resets.push(reset(name));
  for (const [name, value] of to) if (from.get(name) !== value) sets.push(setConfig(name, value));
}

function reset(name: string): string {
  const identifier = identifierOf(name);
  // Only a placeholder can have such a name; NULL is what RESET gives.
  return identifier === null ? `SELECT pg_catalog.set_config(${literalOf(name)}, NULL, false)` : `RESET ${identifier}`;
}

function setConfig(name: string, value: string): string {
  return `pg_catalog.set_config(${literalOf(name)}, ${literalOf(value)}, false)`;
}

/**
 * True where placeholder settings of `from` would show in `to` as '' instead of being unknown: nothing but the end of the
 * connection takes a placeholder away.
 */
export function isTainted(from: Belongings, to: Belongings): boolean {
  for (const name of from.custom.keys()) if (!to.custom.has(name) && !to.settings.has(name)) return true;
  return false;
}

/** What DISCARD ALL does not undo: it keeps the seed, libraries and what extensions hold, and empties placeholders only. */
const BEYOND_CLEANING = TRACE.temporary | TRACE.seed | TRACE.library | TRACE.extension | TRACE.opaqueSetting;

/**
 * What cleans a connection whose client has gone with `traces` (bits of TRACE): DISCARD ALL, or null where only closing
 * does. Placeholders stay as '' (isTainted), and prepared statements of the protocol are gone as well.
 */
export function makeCleaning(traces: number): string | null {
  return (traces & BEYOND_CLEANING) === 0 ? 'DISCARD ALL' : null;
}
