import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, test } from 'vitest';
import { endSocket } from '../../src/base/end-socket.ts';
import { waitFor, withDeadline } from '../support/deadline.ts';
import { makeSocketPair, type SocketPair } from '../support/socket-pair.ts';

const STALLED_MS = 200;
const LAST_WORDS = Buffer.alloc(32 << 20, 'x');

const open: { destroy(): void }[] = [];
afterEach(() => {
  for (const one of open.splice(0)) one.destroy();
});

async function makePair(): Promise<SocketPair> {
  const pair = await makeSocketPair();
  open.push(pair.near, pair.far);
  return pair;
}

describe('a socket that is ended', () => {
  test('is closed at once where everything has been said', async () => {
    const { near } = await makePair();
    endSocket(near, 60_000);
    await withDeadline(once(near, 'close'), 1_000, () => 'it is open');
  });

  test('is closed though its peer never takes the last words', async () => {
    const { near } = await makePair();
    near.write(LAST_WORDS);
    endSocket(near, STALLED_MS);
    await withDeadline(once(near, 'close'), 5_000, () => 'it is open');
  });

  test('stays open as long as its peer takes some of them, until it has all', async () => {
    const { near, far } = await makePair();
    near.write(LAST_WORDS);
    let seen = 0;
    far.on('data', (chunk) => {
      seen += chunk.length;
      if (seen % (4 << 20) < chunk.length) {
        far.pause();
        void sleep(STALLED_MS / 2).then(() => far.resume());
      }
    });
    far.resume();
    endSocket(near, STALLED_MS);
    await waitFor(
      () => seen === LAST_WORDS.length,
      10_000,
      () => `${seen} bytes have come`,
    );
    expect(near.destroyed).toBe(true);
  });
});
