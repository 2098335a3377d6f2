// The end of a socket: what was written to it still goes out, as long as its peer takes it.

import type { Socket } from 'node:net';
import { settleWrites } from './gathered-writes.ts';

/** How long a peer may take nothing of the last words. */
const STALLED_MS = 10_000;

/** What Node keeps of the bytes that the kernel has not taken yet. */
interface HasQueue {
  readonly _handle?: { readonly writeQueueSize?: number } | null;
}

/**
 * As `destroySoon`, but not for ever: a peer that is stopped, or reads nothing for other reasons, would keep the socket and
 * what is to be written to it.
 */
export function endSocket(socket: Socket & HasQueue, stalledMs = STALLED_MS): void {
  settleWrites();
  socket.destroySoon();
  if (socket.destroyed) return;
  const countQueued = (): number => socket.writableLength + (socket._handle?.writeQueueSize ?? 0);
  let queued = countQueued();
  const timer = setInterval(() => {
    const before = queued;
    queued = countQueued();
    if (queued === before) socket.destroy();
  }, stalledMs);
  timer.unref();
  socket.once('close', () => clearInterval(timer));
}
