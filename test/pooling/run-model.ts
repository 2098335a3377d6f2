// Runs a model of clients for so many steps, and tells a failure by its seed and by the shortest list of steps that shows it.

import { Dice } from './dice.ts';
import { Difference, Player } from './player.ts';
import { shrink } from './shrink.ts';
import type { Road, RoadKind, Stage } from './stage.ts';
import { describeStep, leaveOut, type SendStep, type Step } from './steps.ts';

export interface Model {
  /** Made from the statuses of the sessions as the bare server has them. */
  next(statusOf: (client: number) => string | null): Step;
  /** Told when a client's own step is through. */
  learn?(step: SendStep, isFailed: boolean): void;
}

export interface ModelRun {
  readonly stage: Stage;
  readonly kind: RoadKind;
  /** A new model with the same choices for the same dice. */
  readonly makeModel: (dice: Dice, poolSize: number | null) => Model;
  readonly steps: number;
  readonly seed: number;
  /** Applied to each line before it is compared. */
  readonly mask?: (line: string) => string;
  /** Takes out what cannot be compared once other steps have been left out. */
  readonly repair?: (steps: readonly Step[]) => Step[];
}

export interface ModelReport {
  readonly steps: number;
  readonly seconds: number;
  /** Of the servers themselves. */
  readonly crashes: number;
  readonly ledger: string;
}

/**
 * In error contexts PL/pgSQL names a function with its schema where that was needed when this server process compiled it, once
 * for all: under the search_path of whoever came first.
 */
const asCompiled = (line: string): string =>
  withoutOwnOids(line.replaceAll('PL/pgSQL function public.', 'PL/pgSQL function '));

/** Types of users have other OIDs on the other server. */
function withoutOwnOids(line: string): string {
  return /^(?:Row|Parameter)Description/.test(line) ? line.replace(/\b(?:1[6-9]\d{3}|[2-9]\d{4,6})\b/g, 'own') : line;
}

/** So many steps are kept for the search of a short failure. */
const KEPT_STEPS = 4_000;
const REPLAY_DEADLINE_MS = 4_000;
const DEFAULT_SHRINK_MS = 60_000;

const isError = (line: string): boolean => line.startsWith('ErrorResponse');

/**
 * Resolves where the road under test never differed and its ledger adds up in the end. Random programs crash PostgreSQL
 * itself now and then (18.4: an Execute in a failed transaction): what is said around that is left out, and the run goes on.
 */
export async function runModel(run: ModelRun): Promise<ModelReport> {
  const startedAt = performance.now();
  const dice = new Dice(run.seed);
  const report = { steps: 0, crashes: 0, ledger: '' };
  while (report.steps < run.steps) {
    const crashesBefore = run.stage.crashes;
    const played: Step[] = [];
    try {
      report.ledger = await playAct(run, dice, played, report);
    } catch (error) {
      if (await run.stage.hasCrashed(crashesBefore)) report.crashes++;
      else throw error instanceof Difference ? await explainFailure(run, played, error) : error;
    }
  }
  return { ...report, seconds: (performance.now() - startedAt) / 1_000 };
}

function maskOf({ mask }: ModelRun): (line: string) => string {
  return mask === undefined ? asCompiled : (line) => asCompiled(mask(line));
}

/** From a clean start to the last step; the pool's account of itself. */
async function playAct(run: ModelRun, dice: Dice, played: Step[], report: { steps: number }): Promise<string> {
  const road = await run.stage.openRoad(run.kind);
  const player = new Player(road.roads, { mask: maskOf(run) });
  const poolSize = typeof run.kind === 'string' ? 1 : run.kind.mode === 'transaction' ? (run.kind.size ?? null) : null;
  const model = run.makeModel(dice, poolSize);
  try {
    while (report.steps < run.steps) {
      const step = model.next((client) => player.status(client));
      played.push(step);
      if (played.length > KEPT_STEPS * 2) played.splice(0, KEPT_STEPS);
      report.steps += step.kind === 'meanwhile' ? 1 + step.others.length : 1;
      const answer = await player.play(step);
      const own = step.kind === 'meanwhile' ? step.waiter : step;
      if (own.kind === 'send') model.learn?.(own, answer?.lines.some(isError) ?? true);
    }
    await player.end();
    await road.checkLedger();
    const ledger = road.describe();
    await road.stop();
    return ledger;
  } catch (error) {
    player.destroy();
    await road.stop().catch(() => undefined);
    throw error;
  }
}

async function explainFailure(run: ModelRun, played: readonly Step[], error: Difference): Promise<Error> {
  const budgetMs = Number(process.env.PGWEIR_SHRINK_MS ?? DEFAULT_SHRINK_MS);
  const short = await shrink(played.slice(-KEPT_STEPS), (steps) => replay(run, steps, error), leaveOut, budgetMs);
  const list = (short.failure === null ? short.steps.slice(-40) : short.steps).map(describeStep);
  const heading =
    short.failure === null
      ? `the last steps, as no replay of ${short.replays} failed:`
      : `${list.length} steps show it (${short.replays} replays):`;
  return new Error(
    `seed ${run.seed}, road ${JSON.stringify(run.kind)}, after ${played.length} steps\n${error.message}\n\n${heading}\n${list.join('\n')}\n\nwhich end with:\n${short.failure ?? ''}`,
  );
}

/** What goes wrong, where that is what went wrong before. */
async function replay(run: ModelRun, steps: readonly Step[], wanted: Difference): Promise<string | null> {
  let road: Road | null = null;
  let player: Player | null = null;
  try {
    road = await run.stage.openRoad(run.kind);
    player = new Player(road.roads, {
      deadlineMs: REPLAY_DEADLINE_MS,
      mask: maskOf(run),
    });
    for (const step of run.repair?.(steps) ?? steps) await player.play(step);
    return null;
  } catch (error) {
    return error instanceof Difference && isAlike(run, error, wanted) ? error.message : null;
  } finally {
    player?.destroy();
    await road?.stop().catch(() => undefined);
  }
}

/** Another step that fails is another matter, and so is one that waits because what let it in was left out. */
function isAlike(run: ModelRun, found: Difference, wanted: Difference): boolean {
  if (describeStep(found.step) !== describeStep(wanted.step)) return false;
  if (found.othersInTransaction === null || wanted.othersInTransaction === null)
    return found.othersInTransaction === wanted.othersInTransaction;
  return typeof run.kind === 'string' || found.othersInTransaction < (run.kind.size ?? Number.POSITIVE_INFINITY);
}
