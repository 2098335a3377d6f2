// On a virtual machine the host gives the processors to others now and then, and the kernel counts that: steal, in
// /proc/stat. A round in which that was much says little of the paths. So rounds go on until enough of them were
// undisturbed, or twice as many were run; those least disturbed count. Which they are is decided by the kernel's count
// alone, never by what was measured.

import { readFileSync } from 'node:fs';

/** A round is disturbed where more than this share of the processors' time went to other machines. */
const DISTURBED_SHARE = 0.01;

/** Fields of the line `cpu` in /proc/stat, see proc(5); those behind steal are counted in user and nice already. */
const STEAL_FIELD = 7;

/** Processor time since the machine's start, in ticks of the kernel's clock. */
export interface ProcessorTime {
  readonly stolen: number;
  readonly all: number;
}

/** What was run between two readings, and the share of the processors' time that others had meanwhile, 0 to 1. */
export interface Round<Sample> {
  readonly samples: readonly Sample[];
  readonly stolenShare: number;
}

/** Of the rounds that were run for one load, those that count. */
export interface Selection<Sample> {
  readonly runCount: number;
  readonly counted: readonly Round<Sample>[];
}

/** What the kernel counts; where it has no such count (not Linux), nothing is known to be stolen. */
export function readProcessorTime(): ProcessorTime {
  try {
    return parseProcessorTime(readFileSync('/proc/stat', 'utf8'));
  } catch {
    return { stolen: 0, all: 0 };
  }
}

export function parseProcessorTime(stat: string): ProcessorTime {
  const line = /^cpu +(.*)$/m.exec(stat)?.[1] ?? '';
  const fields = line.split(' ', STEAL_FIELD + 1).map(Number);
  return { stolen: fields[STEAL_FIELD] ?? 0, all: fields.reduce((sum, field) => sum + field, 0) };
}

export function stolenShare(before: ProcessorTime, after: ProcessorTime): number {
  return after.all === before.all ? 0 : (after.stolen - before.stolen) / (after.all - before.all);
}

/** Runs rounds until `count` of them were undisturbed, at most twice `count`, and selects the `count` least disturbed. */
export async function runRounds<Sample>(
  count: number,
  run: (round: number) => Promise<Round<Sample>>,
): Promise<Selection<Sample>> {
  const rounds: Round<Sample>[] = [];
  let undisturbed = 0;
  while (undisturbed < count && rounds.length < 2 * count) {
    const round = await run(rounds.length);
    rounds.push(round);
    if (round.stolenShare <= DISTURBED_SHARE) undisturbed++;
  }
  const counted = [...rounds].sort((a, b) => a.stolenShare - b.stolenShare).slice(0, count);
  return { runCount: rounds.length, counted };
}

/** A sentence for the report: how many rounds were run again, and how disturbed the worst is that counts. */
export function describeSelection(selections: readonly Selection<unknown>[]): string {
  const counted = selections.flatMap((selection) => selection.counted);
  const again = selections.reduce((sum, selection) => sum + selection.runCount, 0) - counted.length;
  const worst = Math.max(0, ...counted.map((round) => round.stolenShare));
  const disturbed = counted.filter((round) => round.stolenShare > DISTURBED_SHARE).length;
  return (
    `Of the ${counted.length} rounds that count, ${disturbed} lost more than ${formatShare(DISTURBED_SHARE)} of the processors ` +
    `to other machines (the worst ${formatShare(worst)}); ${again} more disturbed rounds were run and do not count.`
  );
}

function formatShare(share: number): string {
  return `${(share * 100).toFixed(1).replace('.0', '')} %`;
}
