// The names of a session: prepared statements (SQL PREPARE and protocol Parse share one namespace on the server) and
// portals (protocol Bind and SQL DECLARE share another). A name is taken over when its message goes out and given back
// when the server refuses it, so that what is pipelined behind it finds it.

import type { StatementFacts, TextFacts } from '../sql/facts.ts';
import type { StatementDescription } from '../wire/backend.ts';
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
  /** What it was at its Parse: where that is not so any more, the server says so at each use. Null where nobody knows. */
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
  /** Has a name. */
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

  /** The one that is named in `message[start, nul)`, where it is the one that was found so last; null: ask by name. */
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
  readonly facts: TextFacts;
  readonly sequence: number;
  /** Made by DECLARE … WITH HOLD: lives on after its transaction. */
  readonly isHeld: boolean;
  /** It has been executed before: a further Execute resumes it and is not judged again. */
  hasRun = false;
  /** Server time that earlier Executes of it took, for kill_after_ms. */
  usedMs = 0;
  /** Null for DECLARE, and where nothing was prepared under the name. */
  statement: PreparedStatement | null = null;
  /** For the replies to its Executes. */
  substitute: ErrorSubstitute | null = null;

  constructor(facts: TextFacts, sequence: number, isHeld: boolean) {
    this.facts = facts;
    this.sequence = sequence;
    this.isHeld = isHeld;
  }
}

export class Portals {
  /** Null where none has a name, which is the rule. */
  #byName: Map<string, Portal> | null = null;
  #unnamed: Portal | null = null;

  find(name: string): Portal | null {
    return name === '' ? this.#unnamed : (this.#byName?.get(name) ?? null);
  }

  declare(name: string, facts: TextFacts, sequence: number, isHeld = false): Portal {
    const portal = new Portal(facts, sequence, isHeld);
    if (name === '') this.#unnamed = portal;
    else {
      this.#byName ??= new Map();
      this.#byName.set(name, portal);
    }
    return portal;
  }

  forget(name: string | null, sequence: number): void {
    if (name === null) {
      for (const key of this.#byName?.keys() ?? []) this.forget(key, sequence);
    } else if (name === '') {
      this.#unnamed = null;
    } else if ((this.#byName?.get(name)?.sequence ?? sequence) < sequence) {
      this.#byName?.delete(name);
    }
  }

  /** A transaction ended at the message of that rank: portals made before it are gone, but the held ones. */
  endTransaction(sequence: number): void {
    if (this.#unnamed !== null && this.#unnamed.sequence < sequence) this.#unnamed = null;
    if (this.#byName === null) return;
    for (const [name, portal] of this.#byName) {
      if (!portal.isHeld && portal.sequence < sequence) this.#byName.delete(name);
    }
    if (this.#byName.size === 0) this.#byName = null;
  }
}

/**
 * What a message really runs: its statements, and with each EXECUTE or FETCH the statement behind the name, with each PREPARE
 * the statement it prepares. Text without such indirection comes back as it is, so its identity stays known to the judge.
 */
export function resolveStatements(
  facts: TextFacts,
  statements: PreparedStatements,
  portals: Portals,
  unknown: StatementFacts,
): TextFacts {
  if (!facts.some(isIndirect)) return facts;
  const preparedHere = new Map<string, TextFacts>();
  const behind: StatementFacts[] = [];
  for (const { effect } of facts) {
    if (effect === null) continue;
    if (effect.type === 'prepare') {
      preparedHere.set(effect.name, [effect.inner]);
      behind.push(effect.inner);
    } else if (effect.type === 'execute') {
      behind.push(...(preparedHere.get(effect.name) ?? meaningsOf(statements.find(effect.name), unknown)));
    } else if (effect.type === 'fetch') {
      behind.push(...(portals.find(effect.name)?.facts ?? [unknown]));
    }
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
