// Makes a failing list of steps short: first how far back it must reach, then what can be left out of it.

/** Plays the steps from a clean start; what went wrong, or null. */
export type Replay<Step> = (steps: readonly Step[]) => Promise<string | null>;

export interface Shrunk<Step> {
  readonly steps: readonly Step[];
  /** What goes wrong with these; null where no replay failed at all, so that the steps are all that were given. */
  readonly failure: string | null;
  readonly replays: number;
}

/** Tries until `budgetMs` is over. */
export async function shrink<Step>(
  steps: readonly Step[],
  replay: Replay<Step>,
  /** The steps without those from `start` to `end`, as far as they can be without them. */
  leaveOut: (steps: readonly Step[], start: number, end: number) => readonly Step[],
  budgetMs: number,
): Promise<Shrunk<Step>> {
  const endsAt = performance.now() + budgetMs;
  let best: readonly Step[] = steps;
  let failure: string | null = null;
  let replays = 0;
  const fails = async (candidate: readonly Step[]): Promise<boolean> => {
    replays++;
    const found = await replay(candidate);
    if (found === null) return false;
    best = candidate;
    failure = found;
    return true;
  };
  for (let length = 8; length < steps.length * 4 && performance.now() < endsAt; length *= 4) {
    if (await fails(steps.slice(-length))) break;
  }
  if (failure === null) return { steps, failure, replays };
  for (let size = Math.ceil(best.length / 2); size >= 1; ) {
    let isShorter = false;
    // The last step is the one that shows the failure, so it stays.
    for (let from = best.length - 1 - size; from > -size && performance.now() < endsAt; from -= size) {
      const start = Math.max(0, from);
      const candidate = leaveOut(best, start, Math.min(from + size, best.length - 1));
      if (candidate.length < best.length && (await fails(candidate))) isShorter = true;
    }
    if (performance.now() >= endsAt) break;
    if (size === 1 && !isShorter) break;
    size = size === 1 ? 1 : Math.ceil(size / 2);
  }
  return { steps: best, failure, replays };
}
