import { once } from 'node:events';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { settleWrites } from '../../src/base/gathered-writes.ts';
import { Inlet, keepBytes } from '../../src/base/inlet.ts';
import { SocketWriter } from '../../src/base/socket-writer.ts';
import { type Crowd, gatherCrowd } from '../support/crowd.ts';
import { waitFor, withDeadline } from '../support/deadline.ts';
import { makeSocketPair, type SocketPair } from '../support/socket-pair.ts';

const open: { destroy(): void }[] = [];
afterEach(() => {
  for (const one of open.splice(0)) one.destroy();
});

async function makePair(): Promise<SocketPair> {
  const pair = await makeSocketPair();
  open.push(pair.near, pair.far);
  return pair;
}

/** Bytes in a buffer that sockets are read into: the writer may not rely on them after the call. */
function lend(bytes: Buffer): Buffer {
  const { buffer } = new Inlet().onread;
  if (!Buffer.isBuffer(buffer)) throw new Error('sockets are not read into a buffer');
  bytes.copy(buffer);
  return buffer;
}

function numbered(length: number, seed: number): Buffer {
  return Buffer.from(Array.from({ length }, (_, index) => (index * 31 + seed) & 0xff));
}

describe.each(['alone', 'in a crowd'])('a socket writer %s', (company) => {
  let crowd: Crowd | null = null;
  beforeAll(async () => {
    if (company === 'in a crowd') crowd = await gatherCrowd();
  });
  afterAll(async () => {
    await crowd?.leave();
  });

  it('sends what stands in the shared read buffer before that is read into again', async () => {
    const { near, far } = await makePair();
    const writer = new SocketWriter(near, () => undefined);
    writer.write(lend(Buffer.from('first')), 0, 5);
    writer.write(lend(Buffer.from('other')), 1, 5);
    lend(Buffer.from('XXXXX'));
    far.resume();
    let seen = '';
    far.on('data', (chunk) => {
      seen += chunk;
    });
    await waitFor(
      async () => seen === 'firstther',
      5_000,
      () => seen,
    );
  });

  it('keeps all bytes in order where the peer reads late, and says when the socket takes bytes again', async () => {
    const { near, far } = await makePair();
    let drained = 0;
    const writer = new SocketWriter(near, () => {
      drained++;
    });
    const sent: Buffer[] = [];
    let wasCongested = false;
    for (let round = 0; round < 400; round++) {
      const bytes = numbered(round % 3 === 0 ? 60_000 : 700, round);
      const lent = round % 5 !== 0;
      sent.push(bytes);
      writer.write(lent ? lend(bytes) : keepBytes(bytes, 0, bytes.length), 0, bytes.length);
      wasCongested ||= writer.isCongested;
    }
    lend(numbered(65_536, 7));
    expect(wasCongested, 'the kernel took eight megabytes from nobody').toBe(true);
    const expected = Buffer.concat(sent);
    const received: Buffer[] = [];
    let length = 0;
    far.on('data', (chunk: Buffer) => {
      received.push(chunk);
      length += chunk.length;
    });
    far.resume();
    await waitFor(
      async () => length >= expected.length,
      10_000,
      () => `${length} of ${expected.length}`,
    );
    expect(Buffer.concat(received).equals(expected)).toBe(true);
    expect(drained).toBeGreaterThan(0);
    expect(writer.isCongested).toBe(false);
  });

  it('writes nothing to a socket that has been ended', async () => {
    const { near, far } = await makePair();
    const writer = new SocketWriter(near, () => undefined);
    writer.write(Buffer.from('last'), 0, 4);
    settleWrites();
    near.end();
    writer.write(Buffer.from('late'), 0, 4);
    let seen = '';
    far.on('data', (chunk) => {
      seen += chunk;
    });
    far.resume();
    await withDeadline(once(far, 'end'), 5_000, () => 'no end');
    expect(seen).toBe('last');
  });

  it('writes nothing to the connection that has got the file descriptor of a closed one', async () => {
    const { near, far } = await makePair();
    const writer = new SocketWriter(near, () => undefined);
    near.destroy();
    far.destroy();
    await Promise.all([near, far].map((socket) => (socket.closed ? null : once(socket, 'close'))));
    const others = await Promise.all(Array.from({ length: 4 }, makePair));
    let heard = 0;
    for (const { near: here, far: there } of others) {
      for (const socket of [here, there]) socket.on('data', (chunk: Buffer) => (heard += chunk.length)).resume();
    }
    for (let round = 0; round < 10; round++) writer.write(Buffer.from('a secret'), 0, 8);
    for (const { near: here } of others) here.write('.');
    await waitFor(
      async () => heard >= others.length,
      5_000,
      () => `${heard}`,
    );
    expect(heard).toBe(others.length);
  });

  it('hears what a peer said before it reset the connection, where it is to be read to its end', async () => {
    const { near, far } = await makePair();
    const writer = new SocketWriter(near, () => undefined, true);
    far.write('last words');
    far.resetAndDestroy();
    for (let round = 0; round < 3; round++) writer.write(Buffer.from('unheard'), 0, 7);
    let seen = '';
    near.on('data', (chunk) => {
      seen += chunk;
    });
    await withDeadline(once(near, 'end'), 5_000, () => 'no end');
    expect(seen).toBe('last words');
  });

  it('destroys the socket whose peer is gone, and nothing else', async () => {
    const { near, far } = await makePair();
    const writer = new SocketWriter(near, () => undefined);
    far.resetAndDestroy();
    const bytes = numbered(60_000, 1);
    await waitFor(
      async () => {
        writer.write(bytes, 0, bytes.length);
        return near.destroyed;
      },
      5_000,
      () => 'the socket lives on',
    );
  });
});
