import { setImmediate as endOfTurn } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type GatheringWriter, gatherWrite, settleWrites } from '../../src/base/gathered-writes.ts';
import { type Crowd, gatherCrowd, isGathering } from '../support/crowd.ts';

/** What was written, in order, as `who:text`. */
function record(written: string[], who: string): GatheringWriter {
  return { writeGathered: (arena, start, end) => written.push(`${who}:${arena.toString('latin1', start, end)}`) };
}

function gather(writer: GatheringWriter, isToServer: boolean, text: string): boolean {
  const bytes = Buffer.from(text);
  const isTaken = gatherWrite(writer, isToServer, bytes, 0, bytes.length);
  bytes.fill('X');
  return isTaken;
}

describe('where few sockets have something to say', () => {
  it('nothing is put off', () => {
    for (let round = 0; round < 1_000; round++) expect(isGathering()).toBe(false);
  });
});

describe('in a crowd', () => {
  let crowd: Crowd;
  beforeAll(async () => {
    crowd = await gatherCrowd();
  });
  afterAll(async () => {
    await crowd.leave();
  });

  it('what is written goes out at the end of the turn, to clients first, in order', async () => {
    const written: string[] = [];
    const [client, server] = [record(written, 'client'), record(written, 'server')];
    expect(gather(server, true, 'one')).toBe(true);
    expect(gather(client, false, 'two')).toBe(true);
    expect(gather(server, true, 'three')).toBe(true);
    expect(gather(client, false, 'four')).toBe(true);
    expect(written).toEqual([]);
    await endOfTurn();
    await endOfTurn();
    expect(written).toEqual(['client:two', 'client:four', 'server:one', 'server:three']);
  });

  it('it goes out at once when somebody asks for it, and only once', async () => {
    const written: string[] = [];
    gather(record(written, 'client'), false, 'last words');
    settleWrites();
    expect(written).toEqual(['client:last words']);
    await endOfTurn();
    await endOfTurn();
    expect(written).toHaveLength(1);
  });

  it('a long write is not put off', () => {
    const written: string[] = [];
    expect(gather(record(written, 'client'), false, 'x'.repeat(4_097))).toBe(false);
    expect(gather(record(written, 'client'), false, 'x'.repeat(4_096))).toBe(true);
    settleWrites();
    expect(written).toHaveLength(1);
  });

  it('more than there is room for goes out in between, and nothing is lost or out of order', () => {
    const written: string[] = [];
    const writers = [record(written, 'a'), record(written, 'b'), record(written, 'c')];
    const expected = new Map<string, string[]>([
      ['a', []],
      ['b', []],
      ['c', []],
    ]);
    for (let round = 0; round < 5_000; round++) {
      const who = round % 3;
      const text = `${round} ${'.'.repeat((round * 37) % 900)}`;
      expect(gather(writers[who] as GatheringWriter, who === 2, text)).toBe(true);
      expected.get('abc'[who] as string)?.push(text);
    }
    settleWrites();
    for (const [who, texts] of expected) {
      const of = written.filter((line) => line.startsWith(`${who}:`)).map((line) => line.slice(2));
      expect(of).toEqual(texts);
    }
  });
});

describe('when the crowd has gone', () => {
  it('writes go out at once again', async () => {
    const crowd = await gatherCrowd();
    expect(isGathering()).toBe(true);
    await crowd.leave();
    expect(isGathering()).toBe(false);
  });
});
