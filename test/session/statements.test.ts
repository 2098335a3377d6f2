// The namespace of prepared statements against a server: messages are sent ahead, answered later and in order, and when all
// is answered the session must know exactly what the server knows.

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  meaningsOf,
  Portals,
  type PreparedStatement,
  PreparedStatements,
  resolveStatements,
} from '../../src/session/statements.ts';
import type { StatementEffect, StatementFacts, TextFacts } from '../../src/sql/facts.ts';
import { NOT_PREPARED_FACTS } from '../../src/sql/unparsed.ts';

function factsOf(text: string, effect: StatementEffect | null = null): StatementFacts {
  return Object.freeze({ text, shape: NOT_PREPARED_FACTS.shape, tags: {}, effect });
}

const textOf = (facts: TextFacts): string => facts.map(({ text }) => text).join(' + ');

type Command =
  | { readonly type: 'parse'; readonly name: string; readonly isValid: boolean }
  | { readonly type: 'close'; readonly name: string }
  | { readonly type: 'fail' }
  | { readonly type: 'sync' }
  | { readonly type: 'deallocate'; readonly name: string | null };

/** PostgreSQL's own behaviour, without a proxy. */
class Server {
  readonly names = new Map<string, string>();
  isSkipping = false;

  /** Null: skipped, nothing is answered. */
  run(command: Command, text: string): 'ok' | 'error' | null {
    if (command.type === 'sync') {
      this.isSkipping = false;
      return 'ok';
    }
    if (this.isSkipping) return null;
    const isDone = this.#attempt(command, text);
    if (!isDone && command.type !== 'deallocate') this.isSkipping = true;
    return isDone ? 'ok' : 'error';
  }

  #attempt(command: Command, text: string): boolean {
    switch (command.type) {
      case 'parse':
        // The old unnamed statement goes before the new text is looked at.
        if (command.name === '') this.names.delete('');
        if (!command.isValid || this.names.has(command.name)) return false;
        this.names.set(command.name, text);
        return true;
      case 'close':
        this.names.delete(command.name);
        return true;
      case 'deallocate':
        // A simple query: it drops the unnamed statement whatever comes of it.
        this.names.delete('');
        if (command.name === null) this.names.clear();
        else return this.names.delete(command.name);
        return true;
      default:
        return command.type === 'sync';
    }
  }
}

/** A session as the relay leads it: names change when messages are sent, and are settled when they are answered. */
class Client {
  readonly statements = new PreparedStatements();
  readonly #server: Server;
  #sent: { command: Command; text: string; sequence: number; declared: PreparedStatement | null }[] = [];
  #sequence = 0;

  constructor(server: Server) {
    this.#server = server;
  }

  send(command: Command): void {
    const sequence = ++this.#sequence;
    const text = `text ${sequence}`;
    let declared: PreparedStatement | null = null;
    if (command.type === 'parse') declared = this.statements.declare(command.name, [factsOf(text)], sequence, null);
    this.#sent.push({ command, text, sequence, declared });
  }

  get owed(): number {
    return this.#sent.length;
  }

  /** The server's answer to the oldest message arrives. */
  receive(): void {
    const first = this.#sent.shift();
    if (first === undefined) return;
    const { command, text, sequence, declared } = first;
    const answer = this.#server.run(command, text);
    // A simple Query drops the unnamed statement, whatever comes of it.
    if (command.type === 'deallocate' && answer !== null) this.statements.forget('', sequence);
    if (answer === 'ok') {
      if (declared !== null) this.statements.confirm(declared);
      if (command.type === 'close' || command.type === 'deallocate') this.statements.forget(command.name, sequence);
    } else if (answer === 'error' && command.type !== 'deallocate') {
      this.#skipToSync(declared);
    } else if (answer === null && declared !== null) {
      this.statements.undo(declared, true);
    }
  }

  #skipToSync(failed: PreparedStatement | null): void {
    const skipped: PreparedStatement[] = [];
    while (this.#sent.length > 0 && this.#sent[0]?.command.type !== 'sync') {
      const next = this.#sent.shift();
      if (next === undefined) break;
      this.#server.run(next.command, next.text);
      if (next.declared !== null) skipped.push(next.declared);
    }
    for (const statement of skipped.toReversed()) this.statements.undo(statement, true);
    if (failed !== null) this.statements.undo(failed, false);
  }
}

const nameOf = fc.constantFrom('a', 'b', '');
const commandOf: fc.Arbitrary<Command> = fc.oneof(
  { weight: 5, arbitrary: fc.record({ type: fc.constant('parse' as const), name: nameOf, isValid: fc.boolean() }) },
  { weight: 2, arbitrary: fc.record({ type: fc.constant('close' as const), name: nameOf }) },
  {
    weight: 1,
    arbitrary: fc.record({ type: fc.constant('deallocate' as const), name: fc.constantFrom('a', 'b', null) }),
  },
  { weight: 1, arbitrary: fc.constant({ type: 'fail' as const }) },
  { weight: 3, arbitrary: fc.constant({ type: 'sync' as const }) },
);

/** How many answers have arrived before the next message is sent. */
const lagOf = fc.nat(3);

describe('prepared statements', () => {
  test('are known as the server knows them, however far messages are sent ahead of their answers', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(commandOf, lagOf), { maxLength: 40 }), (steps) => {
        const server = new Server();
        const client = new Client(server);
        for (const [command, answers] of steps) {
          client.send(command);
          for (let count = answers; count > 0; count--) client.receive();
        }
        client.send({ type: 'sync' });
        while (client.owed > 0) client.receive();
        for (const name of ['a', 'b', '']) {
          const known = client.statements.find(name);
          expect(known === null ? undefined : textOf(meaningsOf(known, NOT_PREPARED_FACTS)), `name "${name}"`).toBe(
            server.names.get(name),
          );
        }
        expect(client.statements.size).toBe(server.names.size);
      }),
      { numRuns: 3_000 },
    );
  });

  test('a DEALLOCATE ends what was made before it, not what is sent behind it', () => {
    const statements = new PreparedStatements();
    statements.confirm(statements.declare('a', [factsOf('old')], 1, null));
    statements.declare('a', [factsOf('new')], 3, null);
    statements.forget('a', 2);
    expect(textOf(meaningsOf(statements.find('a'), NOT_PREPARED_FACTS))).toBe('new');
    statements.forget('a', 4);
    expect(statements.find('a')).toBeNull();
  });

  test('DEALLOCATE ALL ends the named ones, not the unnamed one', () => {
    const statements = new PreparedStatements();
    for (const [index, name] of ['a', 'b', ''].entries()) {
      statements.confirm(statements.declare(name, [factsOf(name)], index + 1, null));
    }
    expect(statements.size).toBe(3);
    statements.forget(null, 10);
    expect([...statements].map(({ name }) => name)).toEqual(['']);
  });

  test('while its newest meaning is not confirmed, a name means the old one too', () => {
    const statements = new PreparedStatements();
    statements.confirm(statements.declare('a', [factsOf('old')], 1, null));
    const pending = statements.declare('a', [factsOf('new')], 2, null);
    expect(textOf(meaningsOf(statements.find('a'), NOT_PREPARED_FACTS))).toBe('new + old');
    statements.confirm(pending);
    expect(textOf(meaningsOf(statements.find('a'), NOT_PREPARED_FACTS))).toBe('new');
  });

  test('a name that nobody made is unreadable, not harmless', () => {
    const statements = new PreparedStatements();
    expect(meaningsOf(statements.find('a'), NOT_PREPARED_FACTS)).toEqual([NOT_PREPARED_FACTS]);
  });
});

describe('what a message really runs', () => {
  const inner = factsOf('DELETE FROM t');
  const execute = factsOf('EXECUTE a', { type: 'execute', name: 'a' });
  const fetch = factsOf('FETCH c', { type: 'fetch', name: 'c' });
  const make = (): { statements: PreparedStatements; portals: Portals } => ({
    statements: new PreparedStatements(),
    portals: new Portals(),
  });

  test('text without indirection is the same array, so that the judge knows it again', () => {
    const { statements, portals } = make();
    const facts = [factsOf('SELECT 1')];
    expect(resolveStatements(facts, statements, portals, NOT_PREPARED_FACTS)).toBe(facts);
  });

  test('EXECUTE runs what its name means, and each time gives the same array', () => {
    const { statements, portals } = make();
    const facts = [execute];
    statements.confirm(statements.declare('a', [inner], 1, null));
    const resolved = resolveStatements(facts, statements, portals, NOT_PREPARED_FACTS);
    expect(resolved).toEqual([execute, inner]);
    expect(resolveStatements(facts, statements, portals, NOT_PREPARED_FACTS)).toBe(resolved);
  });

  test('EXECUTE of an unknown name and FETCH of an unknown cursor are unreadable', () => {
    const { statements, portals } = make();
    expect(resolveStatements([execute, fetch], statements, portals, NOT_PREPARED_FACTS)).toEqual([
      execute,
      fetch,
      NOT_PREPARED_FACTS,
      NOT_PREPARED_FACTS,
    ]);
  });

  test('EXECUTE of an EXECUTE or FETCH runs what that runs, and one of itself is read once', () => {
    const { statements, portals } = make();
    const outer = factsOf('EXECUTE b', { type: 'execute', name: 'b' });
    statements.confirm(statements.declare('a', [inner], 1, null));
    statements.confirm(statements.declare('b', [execute, fetch, outer], 2, null));
    portals.confirm(portals.declare('c', [inner], 3));
    expect(resolveStatements([outer], statements, portals, NOT_PREPARED_FACTS)).toEqual([
      outer,
      execute,
      fetch,
      outer,
      inner,
      inner,
    ]);
  });

  test('FETCH runs what its cursor was declared for', () => {
    const { statements, portals } = make();
    portals.declare('c', [inner], 1);
    expect(resolveStatements([fetch], statements, portals, NOT_PREPARED_FACTS)).toEqual([fetch, inner]);
  });

  test('FETCH of a cursor that the same message declares runs nothing else, until that is closed', () => {
    const { statements, portals } = make();
    portals.declare('c', [inner], 1);
    const declare = factsOf('DECLARE c CURSOR FOR SELECT 1', { type: 'declare', name: 'c', isHeld: false });
    const close = factsOf('CLOSE c', { type: 'close_cursor', name: 'c' });
    const resolve = (facts: TextFacts): TextFacts => resolveStatements(facts, statements, portals, NOT_PREPARED_FACTS);
    const plain = [declare, fetch];
    expect(resolve(plain)).toBe(plain);
    expect(resolve([fetch, close, declare])).toEqual([fetch, close, declare, inner]);
    expect(resolve([declare, close, fetch])).toEqual([declare, close, fetch, inner]);
  });

  test('COMMIT runs what cursors WITH HOLD of its transaction were declared for, once', () => {
    const { statements, portals } = make();
    const commit: StatementFacts = { ...factsOf('COMMIT'), shape: { ...NOT_PREPARED_FACTS.shape, kinds: ['commit'] } };
    const resolve = (): TextFacts => resolveStatements([commit], statements, portals, NOT_PREPARED_FACTS);
    portals.declare('c', [fetch], 1);
    expect(resolve()).toEqual([commit]);
    portals.declare('h', [inner], 2, true);
    expect(resolve()).toEqual([commit, inner]);
    portals.endTransaction(3);
    expect(resolve()).toEqual([commit]);
  });

  test('PREPARE counts as what it prepares, and an EXECUTE behind it in the same message as that', () => {
    const { statements, portals } = make();
    const prepare = factsOf('PREPARE a AS DELETE FROM t', { type: 'prepare', name: 'a', inner });
    expect(resolveStatements([prepare, execute], statements, portals, NOT_PREPARED_FACTS)).toEqual([
      prepare,
      execute,
      inner,
      inner,
    ]);
  });
});
