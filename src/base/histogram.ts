// A histogram of fixed buckets over plain numbers: cheap to feed on the road of a statement, read when scraped.

export interface HistogramReading {
  /** Upper bounds in seconds, rising; the last bucket, above all bounds, is `count` minus the last cumulative number. */
  readonly bounds: readonly number[];
  /** How many observations were at most the bound of the same index. */
  readonly cumulative: readonly number[];
  readonly count: number;
  readonly sumSeconds: number;
}

/** From 1 µs to 10 ms: what a judgement may cost. */
export const DECISION_BOUNDS_SECONDS = [1e-6, 2.5e-6, 5e-6, 1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 1e-3, 1e-2] as const;
/** From 0.5 ms to a minute: what a statement may take on a server, or wait in a queue. */
export const DURATION_BOUNDS_SECONDS = [
  0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1, 5, 10, 60,
] as const;

export class Histogram {
  readonly #bounds: readonly number[];
  readonly #counts: Float64Array;
  #sumSeconds = 0;

  /** @param bounds upper bounds in seconds, strictly rising; throws RangeError otherwise. */
  constructor(bounds: readonly number[]) {
    bounds.forEach((bound, index) => {
      const previous = bounds[index - 1];
      if (!Number.isFinite(bound) || (previous !== undefined && previous >= bound)) {
        throw new RangeError('histogram bounds must be finite and rising');
      }
    });
    this.#bounds = bounds;
    this.#counts = new Float64Array(bounds.length + 1);
  }

  /** Counts one value. A linear walk: the low buckets, which nearly all values fall into, cost one or two compares. */
  observe(seconds: number): void {
    const bounds = this.#bounds;
    let index = 0;
    while (index < bounds.length && seconds > (bounds[index] as number)) index += 1;
    this.#counts[index] = (this.#counts[index] as number) + 1;
    this.#sumSeconds += seconds;
  }

  read(): HistogramReading {
    let count = 0;
    const cumulative: number[] = [];
    this.#counts.forEach((inBucket, index) => {
      count += inBucket;
      if (index < this.#bounds.length) cumulative.push(count);
    });
    return { bounds: this.#bounds, cumulative, count, sumSeconds: this.#sumSeconds };
  }
}
