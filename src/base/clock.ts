// Time as a value that is passed in, so that pure code stays pure and tests own the hands of the clock.

import { performance } from 'node:perf_hooks';

export interface Clock {
  /** Milliseconds since some fixed moment; never goes back. With fractions. */
  monotonicMs(): number;
  /** Milliseconds since 1970-01-01 UTC; may jump when the machine's clock is set. */
  wallMs(): number;
}

export const systemClock: Clock = {
  monotonicMs: () => performance.now(),
  wallMs: () => Date.now(),
};
