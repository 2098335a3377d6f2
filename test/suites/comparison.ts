// Two roads compared: which tests came out otherwise through pgweir than directly, and the table that says so.

import type { TestOutcome } from './suite.ts';

export interface SuiteComparison {
  readonly suite: string;
  readonly mode: string;
  readonly tests: number;
  readonly directOk: number;
  readonly throughOk: number;
  readonly differences: readonly Difference[];
}

export interface Difference {
  readonly test: string;
  readonly what: string;
  readonly place: string;
}

/** Stands for a run that broke off. */
export const THE_RUN = 'the run itself';

/** A test that fails both ways in the same words is no difference; one that ran only once is. */
export function compareOutcomes(
  suite: string,
  mode: string,
  direct: readonly TestOutcome[],
  through: readonly TestOutcome[],
): SuiteComparison {
  const crash = [...direct, ...through].find((outcome) => outcome.name === THE_RUN);
  if (crash !== undefined) {
    const differences = [{ test: THE_RUN, what: `came to nothing: ${crash.output}`, place: crash.place }];
    return { suite, mode, tests: direct.length, directOk: 0, throughOk: 0, differences };
  }
  const names = new Set([...direct, ...through].map((outcome) => outcome.name));
  const differences: Difference[] = [];
  for (const name of names) {
    const before = direct.find((outcome) => outcome.name === name);
    const after = through.find((outcome) => outcome.name === name);
    const place = after?.place || before?.place || '';
    if (before === undefined || after === undefined) {
      differences.push({ test: name, what: `ran only ${before === undefined ? 'through pgweir' : 'directly'}`, place });
    } else if (before.isOk !== after.isOk) {
      differences.push({ test: name, what: after.isOk ? 'fails directly only' : 'fails through pgweir only', place });
    } else if (before.output !== after.output) {
      differences.push({ test: name, what: 'fails both ways, differently', place });
    }
  }
  const countOk = (outcomes: readonly TestOutcome[]): number => outcomes.filter((outcome) => outcome.isOk).length;
  return {
    suite,
    mode,
    tests: names.size,
    directOk: countOk(direct),
    throughOk: countOk(through),
    differences,
  };
}

/** A Markdown table, one row for each suite and mode, and a line for each difference. */
export function formatComparisons(comparisons: readonly SuiteComparison[]): string {
  const lines = ['| suite | mode | tests | ok directly | ok through pgweir | differ |', '|---|---|---|---|---|---|'];
  for (const { suite, mode, tests, directOk, throughOk, differences } of comparisons) {
    lines.push(`| ${suite} | ${mode} | ${tests} | ${directOk} | ${throughOk} | ${differences.length} |`);
  }
  for (const { suite, mode, differences } of comparisons) {
    for (const { test, what, place } of differences) lines.push(`${suite}, ${mode}: ${test} ${what}; see ${place}`);
  }
  return `${lines.join('\n')}\n`;
}
