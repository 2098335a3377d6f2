// The line of those who wait for a server connection, against a list: whoever goes, the others keep their order.

import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type Standing, WaitingLine } from '../../src/pool/waiting-line.ts';

class Someone implements Standing<Someone> {
  before: Someone | null = null;
  behind: Someone | null = null;
  isInLine = false;
}

function inOrder(line: WaitingLine<Someone>): Someone[] {
  const seen: Someone[] = [];
  for (let one = line.first; one !== null; one = one.behind) {
    expect(one.before).toBe(seen.at(-1) ?? null);
    seen.push(one);
  }
  return seen;
}

test('who comes goes to the end or to the front, and who goes leaves the others as they stand', () => {
  const step = fc.tuple(fc.constantFrom('add', 'addFirst', 'delete'), fc.nat(12));
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const line = new WaitingLine<Someone>();
      const list: Someone[] = [];
      for (const [what, at] of steps) {
        if (what === 'delete') {
          const [gone] = list.splice(at % Math.max(list.length, 1), 1);
          if (gone === undefined) continue;
          line.delete(gone);
          line.delete(gone);
        } else {
          const one = new Someone();
          if (what === 'add') {
            line.add(one);
            list.push(one);
          } else {
            line.addFirst(one);
            list.unshift(one);
          }
        }
        expect(inOrder(line).every((one, index) => one === list[index])).toBe(true);
        expect([line.size, line.first]).toEqual([list.length, list[0] ?? null]);
      }
    }),
  );
});
