import { expect, test } from 'vitest';
import {
  describeSelection,
  parseProcessorTime,
  type Round,
  readProcessorTime,
  runRounds,
  stolenShare,
} from './undisturbed-rounds.ts';

/** Rounds whose only sample is their number, with these shares in turn. */
function roundsOf(shares: readonly number[]): { run: (round: number) => Promise<Round<number>>; asked: number[] } {
  const asked: number[] = [];
  const run = async (round: number): Promise<Round<number>> => {
    asked.push(round);
    return { samples: [round], stolenShare: shares[round] ?? 0 };
  };
  return { run, asked };
}

test('rounds that nobody disturbed all count, and none is run again', async () => {
  const { run, asked } = roundsOf([0, 0.01, 0.005]);
  const selection = await runRounds(3, run);
  expect(asked).toEqual([0, 1, 2]);
  expect(selection.runCount).toBe(3);
  expect(describeSelection([selection])).toBe(
    'Of the 3 rounds that count, 0 lost more than 1 % of the processors to other machines (the worst 1 %); 0 more disturbed rounds were run and do not count.',
  );
});

test('a disturbed round is run again and does not count', async () => {
  const { run, asked } = roundsOf([0.002, 0.2, 0]);
  const selection = await runRounds(2, run);
  expect(asked).toEqual([0, 1, 2]);
  expect(selection.counted.flatMap(({ samples }) => samples)).toEqual([2, 0]);
});

test('a machine that is disturbed all the time ends after twice the rounds, with the least disturbed, and says so', async () => {
  const { run } = roundsOf([0.09, 0.03, 0.02, 0.08]);
  const selection = await runRounds(2, run);
  expect(selection).toEqual({
    runCount: 4,
    counted: [
      { samples: [2], stolenShare: 0.02 },
      { samples: [1], stolenShare: 0.03 },
    ],
  });
  expect(describeSelection([selection])).toBe(
    'Of the 2 rounds that count, 2 lost more than 1 % of the processors to other machines (the worst 3 %); 2 more disturbed rounds were run and do not count.',
  );
});

test('the stolen share is steal by all the time of the line cpu, guests not counted twice', () => {
  const before = parseProcessorTime('cpu  100 0 50 800 10 0 5 35 20 0\ncpu0 1 2 3 4 5 6 7 8 9 10\n');
  const after = parseProcessorTime('cpu  150 0 70 820 10 0 5 45 60 0\ncpu0 1 2 3 4 5 6 7 8 9 10\n');
  expect(before).toEqual({ stolen: 35, all: 1_000 });
  expect(stolenShare(before, after)).toBeCloseTo(0.1);
});

test('where the kernel counts nothing, or no time passed, nothing is stolen', () => {
  expect(parseProcessorTime('intr 1 2 3\n')).toEqual({ stolen: 0, all: 0 });
  const now = readProcessorTime();
  expect(stolenShare(now, now)).toBe(0);
});
