// The queue of owed replies against a plain array: the same entries, in the same order, under any sequence of steps.

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { OWED, type OwedKind, OwedQueue, SpareReplies } from '../../src/session/owed.ts';

const KINDS = Object.values(OWED);
const ENDS_WITH_READY: readonly OwedKind[] = [OWED.unit, OWED.sync, OWED.query, OWED.functionCall];

interface ModelEntry {
  readonly kind: OwedKind;
  readonly sequence: number;
  readonly run: string | null;
}

/** What the queue should hold, by the words of its own documentation. */
class Model {
  entries: ModelEntry[] = [];
  sequence = 0;

  push(kind: OwedKind): string {
    this.sequence++;
    const run = `run ${this.sequence}`;
    this.entries.push({ kind, sequence: this.sequence, run });
    return run;
  }

  shift(): void {
    do this.entries.shift();
    while (this.entries[0]?.kind === OWED.copyEnd);
  }

  beginCopyIn(): boolean {
    const [head, ...behind] = this.entries;
    if (head === undefined) return false;
    while (behind[0]?.kind === OWED.sync || behind[0]?.kind === OWED.flush) behind.shift();
    const hasEnded = behind[0]?.kind === OWED.copyEnd;
    if (hasEnded) behind.shift();
    this.entries = [head, ...behind];
    return hasEnded;
  }

  get readies(): number {
    return this.entries.filter(({ kind }) => ENDS_WITH_READY.includes(kind)).length;
  }
}

type Step = { readonly type: 'push'; readonly kind: OwedKind } | { readonly type: 'shift' } | { readonly type: 'copy' };

const stepOf: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ type: fc.constant('push' as const), kind: fc.constantFrom(...KINDS) }) },
  { weight: 4, arbitrary: fc.constant({ type: 'shift' as const }) },
  { weight: 1, arbitrary: fc.constant({ type: 'copy' as const }) },
);

function expectEqual(queue: OwedQueue<string>, model: Model): void {
  expect(queue.count).toBe(model.entries.length);
  expect(queue.owedReadies).toBe(model.readies);
  expect(queue.sequence).toBe(model.sequence);
  let reply = queue.head;
  for (const entry of model.entries) {
    expect(reply).toMatchObject({ kind: entry.kind, sequence: entry.sequence, run: entry.run });
    reply = reply?.next ?? null;
  }
  expect(reply).toBeNull();
}

describe('the queue of owed replies', () => {
  test('is a plain FIFO to whoever looks, whatever was done before in it and in those that it shares entries with', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(2), stepOf), { maxLength: 200 }), (steps) => {
        const spares = new SpareReplies<string>();
        const pairs = [0, 1, 2].map(() => ({ queue: new OwedQueue(spares), model: new Model() }));
        for (const [which, step] of steps) {
          const { queue, model } = pairs[which] as (typeof pairs)[number];
          if (step.type === 'push') queue.push(step.kind).run = model.push(step.kind);
          else if (step.type === 'copy') expect(queue.beginCopyIn()).toBe(model.beginCopyIn());
          else if (model.entries.length > 0) {
            queue.shift();
            model.shift();
          }
          for (const pair of pairs) expectEqual(pair.queue, pair.model);
        }
      }),
      { numRuns: 300 },
    );
  });

  test('keeps ten thousand entries in order while it is drained and filled', () => {
    const queue = new OwedQueue<string>();
    const model = new Model();
    for (let index = 0; index < 10_000; index++) queue.push(OWED.bind).run = model.push(OWED.bind);
    for (let index = 0; index < 9_000; index++) {
      queue.shift();
      model.shift();
      if (index % 3 === 0) queue.push(OWED.sync).run = model.push(OWED.sync);
    }
    expectEqual(queue, model);
  });

  test('an entry that is used again remembers nothing of the one before', () => {
    const queue = new OwedQueue<string>();
    for (let round = 0; round < 40; round++) {
      const entry = queue.push(OWED.close);
      expect(entry).toMatchObject({ run: null, declared: null, isSwallowed: false });
      entry.run = 'something';
      entry.isSwallowed = true;
      entry.declared = [];
      queue.shift();
    }
  });

  test('a Flush that would be refused is not owed either where a copy passes it over', () => {
    const queue = new OwedQueue<string>();
    for (const kind of [OWED.execute, OWED.flush, OWED.sync, OWED.flush, OWED.copyEnd, OWED.flush]) queue.push(kind);
    expect(queue.beginCopyIn()).toBe(true);
    queue.shift();
    expect(queue.head?.kind).toBe(OWED.flush);
    expect([queue.count, queue.hasWork]).toEqual([1, false]);
  });

  test('syncs sent before the end of a copy are not owed, those behind it are', () => {
    const queue = new OwedQueue<string>();
    for (const kind of [OWED.execute, OWED.sync, OWED.copyEnd, OWED.sync]) queue.push(kind);
    expect(queue.owedReadies).toBe(2);
    expect(queue.beginCopyIn()).toBe(true);
    expect(queue.owedReadies).toBe(1);
    queue.shift();
    expect(queue.head?.kind).toBe(OWED.sync);
  });

  test('of two copies sent ahead in one query each has an end of its own', () => {
    const queue = new OwedQueue<string>();
    for (const kind of [OWED.query, OWED.copyEnd, OWED.copyEnd]) queue.push(kind);
    expect([queue.beginCopyIn(), queue.beginCopyIn(), queue.beginCopyIn()]).toEqual([true, true, false]);
    expect(queue.count).toBe(1);
  });

  test('a Sync sent ahead among the data makes the copy uncertain, one before the data does not', () => {
    const queue = new OwedQueue<string>();
    queue.push(OWED.execute);
    queue.push(OWED.sync);
    queue.noteDataAhead();
    queue.beginCopyIn();
    expect(queue.head?.hasUncertainSyncs).toBe(false);
    queue.shift();
    queue.push(OWED.execute);
    queue.noteDataAhead();
    queue.push(OWED.sync);
    queue.beginCopyIn();
    expect(queue.head?.hasUncertainSyncs).toBe(true);
    queue.shift();
    expect(queue.push(OWED.execute).hasUncertainSyncs).toBe(false);
  });

  test('a copy whose end was not sent yet goes on', () => {
    const queue = new OwedQueue<string>();
    for (const kind of [OWED.execute, OWED.sync]) queue.push(kind);
    expect(queue.beginCopyIn()).toBe(false);
    expect(queue.count).toBe(1);
  });
});
