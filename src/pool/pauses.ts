// Which pools an administrator has paused, those that are still to come included.

import type { PoolFilter } from './pool-summary.ts';

interface Order {
  readonly filter: PoolFilter;
  readonly isPause: boolean;
}

/** PAUSE and RESUME as they were given: of those that mean a pool the last one counts. */
export class Pauses {
  #orders: readonly Order[] = [];

  give(filter: PoolFilter, isPause: boolean): void {
    const orders = this.#orders.filter((order) => !covers(filter, order.filter));
    orders.push({ filter, isPause });
    // A RESUME only takes back what was paused before it.
    const first = orders.findIndex((order) => order.isPause);
    this.#orders = first < 0 ? [] : orders.slice(first);
  }

  isPaused(pool: { readonly database: string; readonly user: string }): boolean {
    return this.#orders.findLast(({ filter }) => covers(filter, pool))?.isPause === true;
  }
}

/** `wide` means all that `narrow` does. */
export function covers(wide: PoolFilter, narrow: PoolFilter): boolean {
  return (wide.database ?? narrow.database) === narrow.database && (wide.user ?? narrow.user) === narrow.user;
}
