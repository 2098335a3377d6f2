// The portals of a session against a server: messages are sent ahead, answered later and in order. What a message runs must be
// what was judged, and when all is answered the session must know what the server knows.

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { isInDoubt, type Portal, Portals } from '../../src/session/statements.ts';
import type { StatementFacts, TextFacts } from '../../src/sql/facts.ts';
import { NOT_PREPARED_FACTS } from '../../src/sql/unparsed.ts';

function factsOf(text: string): StatementFacts {
  return Object.freeze({ text, shape: NOT_PREPARED_FACTS.shape, tags: {}, effect: null });
}

const textOf = (facts: TextFacts): string => facts.map(({ text }) => text).join(' + ');

describe('portals', () => {
  test('end with their transaction, but those WITH HOLD and those made later', () => {
    const portals = new Portals();
    portals.declare('plain', [factsOf('p')], 1);
    portals.declare('held', [factsOf('h')], 2, true);
    portals.declare('later', [factsOf('l')], 9);
    portals.endTransaction(5);
    expect(['plain', 'held', 'later'].map((name) => portals.find(name)?.facts[0]?.text)).toEqual([undefined, 'h', 'l']);
  });

  test('a closed portal is gone, one of the same name made after the Close was sent is not', () => {
    const portals = new Portals();
    portals.declare('c', [factsOf('old')], 1);
    portals.declare('c', [factsOf('new')], 3);
    portals.forget('c', 2);
    expect(textOf(portals.find('c')?.facts ?? [])).toBe('new');
    portals.forget('c', 4);
    expect(portals.find('c')).toBeNull();
  });

  test('CLOSE ALL ends every named one', () => {
    const portals = new Portals();
    portals.declare('c', [factsOf('c')], 1);
    portals.declare('d', [factsOf('d')], 2);
    portals.forget(null, 5);
    expect([portals.find('c'), portals.find('d')]).toEqual([null, null]);
  });
});

/** What a session sends about one portal, and what PostgreSQL makes of it inside of a transaction. */
type PortalCommand =
  | { readonly type: 'bind'; readonly name: string; readonly isValid: boolean }
  | { readonly type: 'close'; readonly name: string }
  | { readonly type: 'run'; readonly name: string }
  | { readonly type: 'fail' }
  | { readonly type: 'sync' };

class PortalServer {
  readonly names = new Map<string, string>();
  isSkipping = false;

  run(command: PortalCommand, text: string): 'ok' | 'error' | null {
    if (command.type === 'sync') this.isSkipping = false;
    if (this.isSkipping) return null;
    const isDone = this.#attempt(command, text);
    this.isSkipping = !isDone;
    return isDone ? 'ok' : 'error';
  }

  #attempt(command: PortalCommand, text: string): boolean {
    if (command.type === 'fail') return false;
    if (command.type === 'bind') {
      if (!command.isValid || (command.name !== '' && this.names.has(command.name))) return false;
      this.names.set(command.name, text);
    }
    if (command.type === 'close') this.names.delete(command.name);
    return command.type !== 'run' || this.names.has(command.name);
  }
}

/** A session that waits, as the relay does, where it is in doubt what a name means. */
class PortalClient {
  readonly portals = new Portals();
  readonly #server = new PortalServer();
  #sent: { command: PortalCommand; text: string; sequence: number; portal: Portal | null; judged: string | null }[] =
    [];
  #sequence = 0;
  #syncedUpTo = 0;

  send(command: PortalCommand): void {
    let judged: string | null = null;
    if (command.type === 'run') {
      while (isInDoubt(this.portals.find(command.name), [], this.portals, this.#syncedUpTo)) this.receive();
      judged = textOf(this.portals.find(command.name)?.facts ?? []);
    }
    const sequence = ++this.#sequence;
    const text = `text ${sequence}`;
    const portal = command.type === 'bind' ? this.portals.declare(command.name, [factsOf(text)], sequence) : null;
    if (command.type === 'sync') this.#syncedUpTo = sequence;
    this.#sent.push({ command, text, sequence, portal, judged });
  }

  receive(): void {
    const first = this.#sent.shift();
    if (first === undefined) return;
    const { command, text, sequence, portal, judged } = first;
    const answer = this.#server.run(command, text);
    if (answer !== 'ok') {
      this.portals.undo(portal);
      return;
    }
    if (command.type === 'run') expect(judged, 'what ran').toBe(this.#server.names.get(command.name));
    if (command.type === 'close') this.portals.forget(command.name, sequence);
    this.portals.confirm(portal);
  }

  expectKnown(): void {
    while (this.#sent.length > 0) this.receive();
    for (const name of ['a', '']) {
      expect(this.portals.find(name)?.facts[0]?.text, `name "${name}"`).toBe(this.#server.names.get(name));
    }
  }
}

const portalName = fc.constantFrom('a', '');
const portalCommandOf: fc.Arbitrary<PortalCommand> = fc.oneof(
  { weight: 5, arbitrary: fc.record({ type: fc.constant('bind' as const), name: portalName, isValid: fc.boolean() }) },
  { weight: 2, arbitrary: fc.record({ type: fc.constant('close' as const), name: portalName }) },
  { weight: 4, arbitrary: fc.record({ type: fc.constant('run' as const), name: portalName }) },
  { weight: 1, arbitrary: fc.constant({ type: 'fail' as const }) },
  { weight: 4, arbitrary: fc.constant({ type: 'sync' as const }) },
);

/** How many answers have arrived before the next message is sent. */
const lagOf = fc.nat(3);

describe('portals of a transaction', () => {
  test('what runs is what was judged, however far messages are sent ahead of their answers', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(portalCommandOf, lagOf), { maxLength: 40 }), (steps) => {
        const client = new PortalClient();
        for (const [command, answers] of steps) {
          client.send(command);
          for (let count = answers; count > 0; count--) client.receive();
        }
        client.send({ type: 'sync' });
        client.expectKnown();
      }),
      { numRuns: 3_000 },
    );
  });

  test('the end of a Close is not that of a portal without a name that was bound behind it', () => {
    const portals = new Portals();
    portals.confirm(portals.declare('', [factsOf('old')], 1));
    portals.declare('', [factsOf('new')], 3);
    portals.forget('', 2);
    expect(textOf(portals.find('')?.facts ?? [])).toBe('new');
  });

  test('what a transaction leaves is not found again when the Bind behind its end fails', () => {
    const portals = new Portals();
    portals.confirm(portals.declare('', [factsOf('old')], 1));
    const behind = portals.declare('', [factsOf('new')], 3);
    portals.endTransaction(2);
    portals.undo(behind);
    expect(portals.find('')).toBeNull();
  });

  test('nothing is in doubt that is skipped with its Bind, nor what has no other meaning', () => {
    const portals = new Portals();
    const only = portals.declare('', [factsOf('old')], 1);
    expect(isInDoubt(only, [], portals, 2)).toBe(false);
    const next = portals.declare('', [factsOf('new')], 3);
    expect([isInDoubt(next, [], portals, 2), isInDoubt(next, [], portals, 4)]).toEqual([false, true]);
    portals.confirm(only);
    portals.confirm(next);
    expect(isInDoubt(next, [], portals, 4)).toBe(false);
  });
});
