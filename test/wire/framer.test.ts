import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { BACKEND_TABLE, FRONTEND, FRONTEND_TABLE, LOGIN_TABLE, type MessageTable } from '../../src/wire/codes.ts';
import { type Broken, Framer, type FrameSink, HEAD_BYTES } from '../../src/wire/framer.ts';

const LIMIT = 40_000;

/** One message as the sink saw it: its bytes in full, and how many of them it was shown at first. */
interface SeenMessage {
  readonly type: number;
  readonly shown: number;
  readonly remaining: number;
  bytes: string;
}

/** Keeps what it is shown; says "not now" as often as `refusals` tells, message by message. */
class KeepingSink implements FrameSink {
  readonly seen: SeenMessage[] = [];
  offers = 0;
  readonly #refusals: number[];

  constructor(refusals: readonly number[] = []) {
    this.#refusals = [...refusals];
  }

  frame(type: number, buffer: Buffer, start: number, end: number, remaining: number): number {
    this.offers++;
    const left = this.#refusals[0] ?? 0;
    if (left > 0) {
      this.#refusals[0] = left - 1;
      return start;
    }
    this.#refusals.shift();
    this.seen.push({ type, shown: end - start, remaining, bytes: buffer.toString('latin1', start, end) });
    return end;
  }

  rest(buffer: Buffer, start: number, end: number): void {
    const last = this.seen.at(-1);
    if (last === undefined) throw new Error('rest without a message');
    last.bytes += buffer.toString('latin1', start, end);
  }
}

function makeMessage(type: number, bodyBytes: number, fill = type): Buffer {
  const message = Buffer.alloc(5 + bodyBytes, fill);
  message[0] = type;
  message.writeInt32BE(4 + bodyBytes, 1);
  return message;
}

/** No sink here puts one message off more often. */
const MAX_REFUSALS = 2;

/** Feeds pieces as a socket would; what the sink puts off is offered again before the next piece. */
function feed(framer: Framer, pieces: readonly Buffer[]): void {
  for (const piece of pieces) {
    let at = 0;
    for (let idle = 0; (at < piece.length || idle <= MAX_REFUSALS) && framer.broken === null; ) {
      const taken = framer.consume(piece, at, piece.length);
      idle = taken === at ? idle + 1 : 0;
      if (idle > MAX_REFUSALS + 1) throw new Error(`no progress at ${at} of ${piece.length}`);
      at = taken;
    }
  }
}

function cut(bytes: Buffer, offsets: readonly number[]): Buffer[] {
  const sorted = [...new Set(offsets.map((offset) => Math.min(offset, bytes.length)))].sort((a, b) => a - b);
  const pieces: Buffer[] = [];
  let from = 0;
  for (const to of [...sorted, bytes.length]) {
    // A copy: a socket never hands out two chunks that share memory.
    pieces.push(Buffer.from(bytes.subarray(from, to)));
    from = to;
  }
  return pieces;
}

function observe(table: MessageTable, pieces: readonly Buffer[], refusals: readonly number[] = []): KeepingSink {
  const sink = new KeepingSink(refusals);
  const framer = new Framer(table, sink, LIMIT);
  feed(framer, pieces);
  expect(framer.broken).toBeNull();
  return sink;
}

/** The messages in full; long ones by their hash, so that a failure can be read. */
const wholeOf = (sink: KeepingSink): string[] => sink.seen.map(({ bytes }) => shorten(bytes));

function shorten(bytes: string): string {
  if (bytes.length <= 300) return bytes;
  return `${bytes.slice(0, 10)}… ${bytes.length} bytes ${createHash('sha1').update(bytes, 'latin1').digest('hex')}`;
}

const frontendTypes = FRONTEND_TABLE.flatMap((rule, type) => (rule === undefined ? [] : [type]));
const backendTypes = BACKEND_TABLE.flatMap((rule, type) => (rule === undefined ? [] : [type]));

/** A body length that the table allows for that type. */
function bodyFor(table: MessageTable, type: number, wanted: number): number {
  const rule = table[type];
  if (rule === undefined) throw new Error(`type ${type} is not in the table`);
  return Math.min(Math.max(wanted, rule.minLength - 4), rule.maxLength - 4);
}

describe('frames do not depend on how the stream is cut', () => {
  test.each([
    ['client', FRONTEND_TABLE, frontendTypes],
    ['server', BACKEND_TABLE, backendTypes],
  ] as const)('every message of a %s, cut in two at every offset, and byte by byte', (_side, table, types) => {
    const messages = types.map((type) => makeMessage(type, bodyFor(table, type, 23)));
    const stream = Buffer.concat(messages);
    const expected = messages.map((message) => message.toString('latin1'));
    for (let offset = 0; offset <= stream.length; offset++) {
      expect(wholeOf(observe(table, cut(stream, [offset]))), `cut at ${offset}`).toEqual(expected);
    }
    const everywhere = Array.from({ length: stream.length }, (_, index) => index);
    expect(wholeOf(observe(table, cut(stream, everywhere)))).toEqual(expected);
  });

  test('messages of any length, in any pieces, with a sink that puts them off', () => {
    const messageOf = fc.record({
      type: fc.constantFrom(...frontendTypes),
      bodyBytes: fc.oneof(fc.nat(40), fc.nat(300), fc.constantFrom(HEAD_BYTES - 6, HEAD_BYTES - 5, HEAD_BYTES, LIMIT)),
    });
    fc.assert(
      fc.property(
        fc.array(messageOf, { maxLength: 8 }),
        fc.array(fc.nat(3_000), { maxLength: 20 }),
        fc.array(fc.nat(70_000), { maxLength: 6 }),
        fc.array(fc.nat(MAX_REFUSALS), { maxLength: 8 }),
        (list, nearCuts, farCuts, refusals) => {
          const messages = list.map(({ type, bodyBytes }, index) =>
            makeMessage(type, bodyFor(FRONTEND_TABLE, type, bodyBytes), 32 + (index % 64)),
          );
          const sink = observe(FRONTEND_TABLE, cut(Buffer.concat(messages), [...nearCuts, ...farCuts]), refusals);
          expect(wholeOf(sink)).toEqual(messages.map((message) => shorten(message.toString('latin1'))));
          for (const { type, shown, remaining, bytes } of sink.seen) {
            expect(shown + remaining).toBe(bytes.length);
            const reading = FRONTEND_TABLE[type]?.reading;
            if (reading === 'whole' && bytes.length <= LIMIT) expect(remaining).toBe(0);
            else if (reading === 'head') expect(shown).toBeGreaterThanOrEqual(Math.min(bytes.length, HEAD_BYTES));
            else expect(shown).toBeGreaterThanOrEqual(5);
          }
        },
      ),
      { numRuns: 300 },
    );
  });
});

describe('how much of a message is shown', () => {
  test('a whole message under the limit is shown at once, one over it by its head only', () => {
    const short = makeMessage(FRONTEND.query, LIMIT - 5);
    const long = makeMessage(FRONTEND.query, LIMIT - 4);
    expect(observe(FRONTEND_TABLE, cut(short, [3, 9_000])).seen).toMatchObject([{ shown: LIMIT, remaining: 0 }]);
    expect(observe(FRONTEND_TABLE, cut(long, [3, 9_000])).seen).toMatchObject([
      { shown: HEAD_BYTES, remaining: LIMIT + 1 - HEAD_BYTES },
    ]);
  });

  test('a streamed message is shown as soon as its header is there', () => {
    const sink = new KeepingSink();
    const framer = new Framer(FRONTEND_TABLE, sink, LIMIT);
    const message = makeMessage(FRONTEND.copyData, 1_000);
    framer.consume(message, 0, 5);
    expect(sink.seen).toMatchObject([{ shown: 5, remaining: 1_000 }]);
    expect(framer.isAtBoundary).toBe(false);
    framer.consume(message, 5, 1_005);
    expect(framer.isAtBoundary).toBe(true);
  });

  test('a whole message is not shown while a byte of it is missing', () => {
    const sink = new KeepingSink();
    const framer = new Framer(FRONTEND_TABLE, sink, LIMIT);
    const message = makeMessage(FRONTEND.query, 100);
    framer.consume(message, 0, 104);
    expect(sink.offers).toBe(0);
    framer.consume(message, 104, 105);
    expect(sink.seen).toHaveLength(1);
  });

  test('a message that was put off is offered again with the same bytes, and nothing behind it meanwhile', () => {
    const stream = Buffer.concat([makeMessage(FRONTEND.query, 10), makeMessage(FRONTEND.sync, 0)]);
    const sink = new KeepingSink([3]);
    const framer = new Framer(FRONTEND_TABLE, sink, LIMIT);
    for (let round = 0; round < 3; round++) expect(framer.consume(stream, 0, stream.length)).toBe(0);
    expect(sink.seen).toEqual([]);
    expect(framer.consume(stream, 0, stream.length)).toBe(stream.length);
    expect(wholeOf(sink).join('')).toBe(stream.toString('latin1'));
  });

  test('a split message that was put off waits inside, and no new byte is needed for it', () => {
    const message = makeMessage(FRONTEND.query, 10);
    const sink = new KeepingSink([1]);
    const framer = new Framer(FRONTEND_TABLE, sink, LIMIT);
    framer.consume(message, 0, 4);
    expect(framer.consume(message, 4, 15)).toBe(15);
    expect(sink.seen).toEqual([]);
    framer.consume(Buffer.alloc(0), 0, 0);
    expect(wholeOf(sink)).toEqual([message.toString('latin1')]);
  });
});

describe('hostile frames', () => {
  const breakWith = (table: MessageTable, bytes: Buffer, isSplit: boolean): Broken | null => {
    const sink = new KeepingSink();
    const framer = new Framer(table, sink, LIMIT);
    for (const piece of isSplit ? cut(bytes, [1, 2, 3, 4, 5]) : [bytes]) framer.consume(piece, 0, piece.length);
    expect(sink.offers).toBe(0);
    return framer.broken;
  };

  const header = (type: number, length: number): Buffer => {
    const bytes = Buffer.alloc(25);
    bytes[0] = type;
    bytes.writeInt32BE(length, 1);
    return bytes;
  };

  test.each([-2147483648, -1, 0, 1, 3, 0x3fffffff, 0x7fffffff])('a length of %i breaks every type', (length) => {
    for (const type of frontendTypes) {
      for (const isSplit of [false, true]) {
        expect(breakWith(FRONTEND_TABLE, header(type, length), isSplit)).toEqual({
          reason: 'bad_length',
          type,
          length,
        });
      }
    }
  });

  test('a length of 4 is legal for an empty message, and 10,001 is too long for a small one', () => {
    const sync = makeMessage(FRONTEND.sync, 0);
    expect(wholeOf(observe(FRONTEND_TABLE, [sync]))).toEqual([sync.toString('latin1')]);
    expect(breakWith(FRONTEND_TABLE, header(FRONTEND.sync, 10_001), false)).toMatchObject({ reason: 'bad_length' });
  });

  test('every byte that is no message type of a client breaks framing', () => {
    for (let type = 0; type < 256; type++) {
      if (frontendTypes.includes(type)) continue;
      expect(breakWith(FRONTEND_TABLE, header(type, 4), type % 2 === 0)).toMatchObject({
        reason: 'unknown_type',
        type,
      });
    }
  });

  test('such a byte needs no length behind it to be none', () => {
    const sink = new KeepingSink();
    const framer = new Framer(FRONTEND_TABLE, sink, LIMIT);
    const stream = Buffer.concat([makeMessage(FRONTEND.sync, 0), Buffer.from('?')]);
    expect(framer.consume(stream, 0, stream.length)).toBe(5);
    expect(sink.seen).toHaveLength(1);
    expect(framer.broken).toMatchObject({ reason: 'unknown_type', type: 0x3f });
  });

  test('before the login is over only the answer to its questions is a message', () => {
    expect(breakWith(LOGIN_TABLE, header(FRONTEND.query, 10), false)).toMatchObject({ reason: 'unknown_type' });
    expect(breakWith(LOGIN_TABLE, header(FRONTEND.authentication, 70_000), false)).toMatchObject({
      reason: 'bad_length',
    });
    expect(observe(LOGIN_TABLE, [makeMessage(FRONTEND.authentication, 20)]).seen).toHaveLength(1);
  });

  test('once broken, no byte is taken any more, and what came before was seen', () => {
    const sink = new KeepingSink();
    const framer = new Framer(FRONTEND_TABLE, sink, LIMIT);
    const stream = Buffer.concat([makeMessage(FRONTEND.sync, 0), header(FRONTEND.query, -5)]);
    expect(framer.consume(stream, 0, stream.length)).toBe(5);
    expect(sink.seen).toHaveLength(1);
    const more = makeMessage(FRONTEND.sync, 0);
    expect(framer.consume(more, 0, more.length)).toBe(0);
    expect(sink.offers).toBe(1);
  });

  test('a claim of 1 GB costs no memory before the bytes are there', () => {
    const before = process.memoryUsage().arrayBuffers;
    const framers = Array.from({ length: 50 }, () => new Framer(FRONTEND_TABLE, new KeepingSink(), 0x3fffffff));
    for (const framer of framers) framer.consume(header(FRONTEND.query, 0x3ffffffe), 0, 25);
    expect(framers.every(({ broken }) => broken === null)).toBe(true);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(1_000_000);
  });

  test('a stream of random bytes is cut the same way however it arrives, or broken at the same place', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.array(fc.nat(200), { maxLength: 5 }), (bytes, cuts) => {
        const run = (pieces: readonly Buffer[]): { seen: string[]; broken: Broken | null } => {
          const sink = new KeepingSink();
          const framer = new Framer(FRONTEND_TABLE, sink, LIMIT);
          for (const piece of pieces) {
            if (framer.broken === null) framer.consume(piece, 0, piece.length);
          }
          return { seen: wholeOf(sink), broken: framer.broken };
        };
        const stream = Buffer.from(bytes);
        expect(run(cut(stream, cuts))).toEqual(run([stream]));
      }),
      { numRuns: 500 },
    );
  });
});
