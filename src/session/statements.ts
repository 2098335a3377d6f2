// The names of a session: prepared statements (SQL PREPARE and protocol Parse share one namespace on the server) and
// portals (protocol Bind and SQL DECLARE share another). A name is taken over when its message goes out and given back
// when the server refuses it, so that what is pipelined behind it finds it.

import type { StatementEffect, StatementFacts, TextFacts } from '../sql/facts.ts';
import type { StatementDescription } from '../wire/backend.ts';
import { keepName, MAX_NAME_BYTES } from '../wire/reader.ts';
import type { ErrorSubstitute } from './owed.ts';
import type { Circumstances, Preparation } from './preparation.ts';

export class PreparedStatement {
  readonly name: string;
  readonly facts: TextFacts;
  /** Rank in the stream of the message that made it: a DEALLOCATE sent earlier does not end it. */
  readonly sequence: number;
  /** What prepared it, for another server connection; null where none is ever needed, or it cannot be repeated there. */
  preparation: Preparation | null;
  /** SQL PREPARE made it (`PreparedStatements.markSql`): `preparation` is the text of that. */
  isSql = false;
  /** What it was read under; null where that is not certain. */
  circumstances: Circumstances | null = null;
  /** Its parameters and result as of its Parse; a server fails each use when the result has changed since. Null while not known. */
  description: StatementDescription | null = null;
  /** Of an EXECUTE: the statement of that name at its Parse. */
  behind: PreparedStatement | null = null;
  /** What the name meant before, until the server confirms this one: if it refuses, the old meaning holds. */
  previous: PreparedStatement | null;
  /** The server has taken it: what comes later cannot undo it. */
  isConfirmed = false;

  constructor(
    name: string,
    facts: TextFacts,
    sequence: number,
    preparation: Preparation | null,
    previous: PreparedStatement | null,
  ) {
    this.name = name;
    this.facts = facts;
    this.sequence = sequence;
    this.preparation = preparation;
    this.previous = previous;
  }

  /** What the name may still mean: a taken name refuses a new Parse, but the unnamed statement gives way to it at once. */
  get shadowed(): PreparedStatement | null {
    return this.name === '' ? null : this.previous;
  }
}

/** Prepared statements by name; the unnamed one is ''. Bounded by what the server itself keeps for this session. */
export class PreparedStatements {
  readonly #byName = new Map<string, PreparedStatement>();
  #unnamed: PreparedStatement | null = null;
  /** What was found last; it has a name. */
  #last: PreparedStatement | null = null;
  #hasSql = false;

  get size(): number {
    return this.#byName.size + (this.#unnamed === null ? 0 : 1);
  }

  /** Some may be of SQL PREPARE. */
  get hasSql(): boolean {
    return this.#hasSql && this.#byName.size > 0;
  }

  find(name: string): PreparedStatement | null {
    if (name === '') return this.#unnamed;
    this.#last = this.#byName.get(name) ?? null;
    return this.#last;
  }

  /** The statement that `message[start, nul)` names, where that is the one that was found last; null: use `find`. */
  findAgain(message: Buffer, start: number, nul: number): PreparedStatement | null {
    const last = this.#last;
    if (last === null || last.name.length !== nul - start) return null;
    for (let at = start; at < nul; at++) if (message[at] !== last.name.charCodeAt(at - start)) return null;
    return last;
  }

  /** A message that makes `name` has been sent; pipelined messages behind it already mean this statement. */
  declare(name: string, facts: TextFacts, sequence: number, preparation: Preparation | null): PreparedStatement {
    const statement = new PreparedStatement(name, facts, sequence, preparation, this.find(name));
    this.#put(name, statement);
    return statement;
  }

  markSql(statement: PreparedStatement): void {
    statement.isSql = true;
    this.#hasSql = true;
  }

  /** The server took it. */
  confirm(statement: PreparedStatement): void {
    statement.isConfirmed = true;
    statement.previous = null;
  }

  /**
   * The server refused it, or skipped it without a look: the name means again what it meant before. The unnamed statement
   * is dropped by a Parse that fails, but not by one that is skipped.
   */
  undo(statement: PreparedStatement, isSkipped: boolean): void {
    if (statement.isConfirmed) return;
    const previous = statement.name === '' && !isSkipped ? null : statement.previous;
    let above = this.find(statement.name);
    if (above === statement) {
      this.#put(statement.name, previous);
      return;
    }
    while (above !== null && above.previous !== statement) above = above.previous;
    if (above !== null) above.previous = previous;
  }

  /**
   * CloseComplete, DEALLOCATE or (name null) DEALLOCATE ALL was answered: statements sent before it are gone. Of ALL the
   * unnamed one is none: DropAllPreparedStatements() leaves it.
   */
  forget(name: string | null, sequence: number): void {
    if (name === null) {
      for (const statement of this.#byName.values()) this.forget(statement.name, sequence);
      return;
    }
    let statement = this.find(name);
    if (statement === null) return;
    if (statement.sequence < sequence) {
      this.#put(name, null);
      return;
    }
    while (statement.previous !== null && statement.previous.sequence >= sequence) statement = statement.previous;
    statement.previous = null;
  }

  #put(name: string, statement: PreparedStatement | null): void {
    this.#last = null;
    if (name === '') this.#unnamed = statement;
    else if (statement === null) this.#byName.delete(name);
    else this.#byName.set(name, statement);
  }

  *[Symbol.iterator](): IterableIterator<PreparedStatement> {
    if (this.#unnamed !== null) yield this.#unnamed;
    yield* this.#byName.values();
  }
}

export class Portal {
  readonly name: string;
  readonly facts: TextFacts;
  readonly sequence: number;
  /** Made by DECLARE … WITH HOLD: lives on after its transaction. */
  readonly isHeld: boolean;
  /** Of one that is held: its transaction has ended, and its rows are kept. The COMMIT has run the rest of its query. */
  isStored = false;
  /** It has been executed before: a further Execute resumes it and is not judged again. */
  hasRun = false;
  /** Server time that earlier Executes of it took, for kill_after_ms. */
  usedMs = 0;
  /** Null for DECLARE, and where nothing was prepared under the name. */
  statement: PreparedStatement | null = null;
  /** For the replies to its Executes. */
  substitute: ErrorSubstitute | null = null;
  /** The server has neither made it yet nor refused to. */
  isPending = true;
  /** While that is so: what the server is known to have under the name, for a Bind or DECLARE that fails leaves it there. */
  standing: Portal | null = null;
  /** The name meant something when it was sent: should it fail, something else runs. */
  isOverAnother = false;
  /** Made by the same message, before it. */
  beside: Portal | null = null;

  constructor(name: string, facts: TextFacts, sequence: number, isHeld: boolean) {
    this.name = name;
    this.facts = facts;
    this.sequence = sequence;
    this.isHeld = isHeld;
  }
}

const NO_PORTALS: readonly Portal[] = Object.freeze([]);

export class Portals {
  /** Null while no portal has a name, which is the rule. */
  #byName: Map<string, Portal> | null = null;
  #unnamed: Portal | null = null;

  find(name: string): Portal | null {
    return name === '' ? this.#unnamed : (this.#byName?.get(name) ?? null);
  }

  /** A message that makes it has been sent; what is pipelined behind it already means this one. */
  declare(name: string, facts: TextFacts, sequence: number, isHeld = false): Portal {
    const last = this.find(name);
    const portal = new Portal(name, facts, sequence, isHeld);
    if (last !== null) {
      portal.isOverAnother = true;
      portal.standing = last.isPending ? last.standing : last;
    }
    this.#put(name, portal);
    return portal;
  }

  /** The server has made it, and those beside it that nothing else is known of. */
  confirm(portal: Portal | null): void {
    for (let made = portal; made !== null; made = made.beside) this.confirmOne(made);
  }

  confirmOne(portal: Portal): void {
    if (!portal.isPending) return;
    portal.isPending = false;
    portal.standing = null;
    const last = this.find(portal.name);
    if (last?.isPending === true) last.standing = portal;
  }

  /**
   * The server refused the message that was to make it (and those beside it), or skipped that without a look: the name goes
   * on to mean what it meant. A Bind of the unnamed portal can have ended that before it failed; an Execute fails then.
   */
  undo(portal: Portal | null): void {
    for (let failed = portal; failed !== null; failed = failed.beside) {
      if (!failed.isPending) continue;
      failed.isPending = false;
      if (this.find(failed.name) === failed) this.#put(failed.name, failed.standing);
      failed.standing = null;
    }
  }

  /** CloseComplete or CLOSE (name null: of all that have one) was answered: what was made before it is gone. */
  forget(name: string | null, sequence: number): void {
    if (name === null) {
      for (const key of this.#byName?.keys() ?? []) this.forget(key, sequence);
      return;
    }
    const last = this.find(name);
    if (last === null) return;
    if (last.sequence < sequence) this.#put(name, null);
    else if (last.standing !== null && last.standing.sequence < sequence) last.standing = null;
  }

  /** A transaction ended at the message of that rank: portals made up to it are gone, but the held ones. */
  endTransaction(sequence: number): void {
    if (this.#unnamed !== null) this.#endIn(this.#unnamed, sequence);
    if (this.#byName === null) return;
    for (const portal of this.#byName.values()) this.#endIn(portal, sequence);
  }

  #endIn(portal: Portal, sequence: number): void {
    if (portal.sequence > sequence) {
      if (portal.standing?.isHeld === false) portal.standing = null;
    } else if (portal.isHeld) portal.isStored = true;
    else this.#put(portal.name, null);
  }

  /** Those whose query a COMMIT now would run to its end. */
  listUnstored(): readonly Portal[] {
    if (this.#byName === null) return NO_PORTALS;
    return [...this.#byName.values()].filter(({ isHeld, isStored }) => isHeld && !isStored);
  }

  #put(name: string, portal: Portal | null): void {
    if (name === '') this.#unnamed = portal;
    else if (portal !== null) {
      this.#byName ??= new Map();
      this.#byName.set(name, portal);
    } else if (this.#byName?.delete(name) === true && this.#byName.size === 0) this.#byName = null;
  }
}

/**
 * What would run under the name of `portal`, or of one that `facts` fetch from, depends on an answer that is still to come: if
 * the newest of that name fails, it is another one. What is sent before the next Sync is skipped with it, and so in no doubt.
 *
 * @param syncedUpTo rank of the last message behind which the server goes on in any case
 */
export function isInDoubt(portal: Portal | null, facts: TextFacts, portals: Portals, syncedUpTo: number): boolean {
  if (portal !== null && mayBeAnother(portal, syncedUpTo)) return true;
  for (const { effect } of facts) {
    if (effect === null || effect.type !== 'fetch') continue;
    const source = findByText(portals, effect.name);
    if (source !== null && mayBeAnother(source, syncedUpTo)) return true;
  }
  return false;
}

function mayBeAnother({ isPending, isOverAnother, sequence }: Portal, syncedUpTo: number): boolean {
  return isPending && isOverAnother && sequence <= syncedUpTo;
}

/** By a name in a text. Messages have the client's bytes: UTF-8, or as the text where that came in Latin-1. */
export function findByText<T>(names: { find(name: string): T | null }, name: string): T | null {
  const kept = keepName(name);
  return names.find(kept) ?? (kept === name ? null : names.find(name.slice(0, MAX_NAME_BYTES)));
}

/**
 * What a message really runs: its statements, and with each EXECUTE or FETCH the statement behind the name, with each PREPARE
 * the statement it prepares, with a COMMIT the cursors WITH HOLD whose rows it stores. Text without such indirection comes back
 * as it is, so its identity stays known to the judge.
 */
export function resolveStatements(
  facts: TextFacts,
  statements: PreparedStatements,
  portals: Portals,
  unknown: StatementFacts,
): TextFacts {
  const unstored = portals.listUnstored();
  if (unstored.length === 0 && !facts.some(isIndirect)) return facts;
  const preparedHere = new Map<string, TextFacts>();
  /** Cursors that the message itself declares: their queries stand among its statements. */
  const declaredHere = new Set<string>();
  const behind: StatementFacts[] = [];
  const add = (effect: StatementEffect | null): void => {
    if (effect === null) return;
    if (effect.type === 'prepare') {
      preparedHere.set(keepName(effect.name), [effect.inner]);
      behind.push(effect.inner);
    } else if (effect.type === 'execute') {
      const here = preparedHere.get(keepName(effect.name));
      behind.push(...(here ?? meaningsOf(findByText(statements, effect.name), unknown)));
    } else if (effect.type === 'declare') {
      declaredHere.add(keepName(effect.name));
    } else if (effect.type === 'close_cursor') {
      if (effect.name === null) declaredHere.clear();
      else declaredHere.delete(keepName(effect.name));
    } else if (effect.type === 'fetch' && !declaredHere.has(keepName(effect.name))) {
      behind.push(...(findByText(portals, effect.name)?.facts ?? [unknown]));
    }
  };
  for (const { effect, shape } of facts) {
    add(effect);
    if (shape.kinds[0] === 'commit') for (const portal of unstored) behind.push(...portal.facts);
  }
  if (behind.length === 0) return facts;
  if (!behind.some(isIndirect)) return joinFacts(facts, behind);
  // By way of a Parse an EXECUTE can run another one, or itself.
  const seen = new Set<StatementFacts>(facts);
  for (const statement of behind) {
    if (!isIndirect(statement) || seen.has(statement)) continue;
    seen.add(statement);
    add(statement.effect);
  }
  return joinFacts(facts, behind);
}

/** All that a name may mean while the server has not confirmed its newest meaning. */
export function meaningsOf(statement: PreparedStatement | null, unknown: StatementFacts): TextFacts {
  if (statement === null) return [unknown];
  if (statement.shadowed === null) return statement.facts;
  return [...statement.facts, ...meaningsOf(statement.shadowed, unknown)];
}

function isIndirect({ effect }: StatementFacts): boolean {
  return effect !== null && (effect.type === 'prepare' || effect.type === 'execute' || effect.type === 'fetch');
}

/** The joined array of one pair is made once, so that the judge knows it again: EXECUTE of one statement is the common case. */
function joinFacts(facts: TextFacts, behind: TextFacts): TextFacts {
  const only = behind.length === 1 ? behind[0] : undefined;
  if (only === undefined) return Object.freeze([...facts, ...behind]);
  let byFacts = joinedWith.get(only);
  if (byFacts === undefined) {
    byFacts = new WeakMap();
    joinedWith.set(only, byFacts);
  }
  let joined = byFacts.get(facts);
  if (joined === undefined) {
    joined = Object.freeze([...facts, only]);
    byFacts.set(facts, joined);
  }
  return joined;
}

const joinedWith = new WeakMap<StatementFacts, WeakMap<TextFacts, TextFacts>>();
