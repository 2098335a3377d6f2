// The small parts: clock, histogram, log.

import { setTimeout as delay } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { systemClock } from '../../src/base/clock.ts';
import { Histogram } from '../../src/base/histogram.ts';
import { createLog } from '../../src/base/log.ts';
import { LoopDelay } from '../../src/base/loop-delay.ts';

test('a histogram counts a value into the first bucket that holds it, bounds included', () => {
  const histogram = new Histogram([1, 2, 5]);
  for (const value of [0, 1, 1.5, 2, 5, 5.1]) histogram.observe(value);
  expect(histogram.read()).toMatchObject({ bounds: [1, 2, 5], cumulative: [2, 4, 5], count: 6 });
  expect(histogram.read().sumSeconds).toBeCloseTo(14.6);
});

test('bounds that do not rise are refused', () => {
  expect(() => new Histogram([1, 1])).toThrow(RangeError);
  expect(() => new Histogram([2, 1])).toThrow(RangeError);
  expect(() => new Histogram([Number.NaN])).toThrow(RangeError);
});

test('the monotonic clock does not go back and the wall clock is the date', () => {
  const first = systemClock.monotonicMs();
  expect(systemClock.monotonicMs()).toBeGreaterThanOrEqual(first);
  expect(Math.abs(systemClock.wallMs() - Date.now())).toBeLessThan(1000);
});

test('the delay of the event loop is that of lately: a stall shows, and is over when it is over', async () => {
  const loopDelay = new LoopDelay(systemClock, 100);
  loopDelay.start();
  await delay(60);
  const endsAtMs = performance.now() + 2000;
  while (performance.now() < endsAtMs);
  // The first is due before the loop has looked at the clock again.
  await delay(1);
  await delay(40);
  const stalled = loopDelay.read();
  expect(stalled).toBeGreaterThan(100);
  expect(loopDelay.read()).toBe(stalled);
  await delay(200);
  expect(loopDelay.read()).toBeLessThan(stalled / 10);
  loopDelay.stop();
});

test('a log line is one JSON object with its level, and credentials are struck out at the top and one level down', () => {
  const lines: string[] = [];
  const log = createLog('info', { write: (line) => lines.push(line) }).with({ session: 4 });
  log.info({ token: 'abc', credential: { user: 'ana', password: 'xyz' }, list: [{ password: 'xyz' }] }, 'hello');
  log.debug({}, 'not at this level');
  expect(lines).toHaveLength(1);
  expect(lines[0]).not.toMatch(/abc|xyz/);
  expect(JSON.parse(lines[0] ?? '')).toMatchObject({
    level: 'info',
    msg: 'hello',
    session: 4,
    credential: { user: 'ana' },
  });
});

test('a silent log says nothing', () => {
  const lines: string[] = [];
  createLog('silent', { write: (line) => lines.push(line) }).error({}, 'x');
  expect(lines).toEqual([]);
});
