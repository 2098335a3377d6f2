// Waiting with a deadline: no test may hang, and one that waited in vain says what for.

import { setTimeout as sleep } from 'node:timers/promises';

/** Rejects with `explain()` in its message when `promise` has not settled after `deadlineMs`. The promise itself goes on. */
export async function withDeadline<T>(promise: Promise<T>, deadlineMs: number, explain: () => string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`after ${deadlineMs} ms: ${explain()}`)), deadlineMs);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/**
 * Asks `probe` again and again until it gives something other than null, false or undefined, and returns that. A probe
 * that throws counts as "not yet"; its last error is told when the deadline passes.
 */
export async function waitFor<T>(
  probe: () => T | Promise<T>,
  deadlineMs: number,
  explain: () => string,
  pauseMs = 20,
): Promise<NonNullable<T>> {
  const endsAt = performance.now() + deadlineMs;
  let lastError = '';
  for (;;) {
    try {
      const remainingMs = Math.max(1, endsAt - performance.now());
      const found = await withDeadline(Promise.resolve(probe()), remainingMs, () => 'the probe itself did not answer');
      if (found !== null && found !== undefined && found !== false) return found;
    } catch (error) {
      lastError = `; last error: ${error instanceof Error ? error.message : String(error)}`;
    }
    if (performance.now() >= endsAt) throw new Error(`after ${deadlineMs} ms: ${explain()}${lastError}`);
    await sleep(pauseMs);
  }
}
