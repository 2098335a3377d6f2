// What the judge costs per statement under 100 rules: known text, new text of a known shape, and a new shape. Run with
// `node test/bench/policy-bench.ts`; prints one line per case and fails when the budget is missed.

import { compileRuleset, loadRuleset } from '../../src/policy/compile.ts';
import type { SubjectView } from '../../src/policy/ruleset.ts';
import type { StatementShape, TextFacts } from '../../src/sql/facts.ts';
import { makeHundredRules } from './hundred-rules.ts';

const SUBJECT = { user: 'app', database: 'bench', applicationName: 'pgbench', clientIp: '127.0.0.1' };
const KNOWN_BUDGET_US = 1;
const NEW_BUDGET_US = 5;

function makeShape(normalized: string): StatementShape {
  return {
    normalized,
    fingerprint: '1ebcb6b4bd06ba1d',
    queryClass: 'read',
    kinds: ['select'],
    tables: ['pgbench_accounts'],
    functions: [],
    columns: ['abalance', 'aid'],
    isMissingWhere: false,
    unparsed: null,
  };
}

function makeText(shape: StatementShape, text: string): TextFacts {
  return [{ text, shape, tags: {}, effect: null }];
}

/** Best of five runs, in µs per call: the machine is shared, the best run is the least disturbed. */
function measure(texts: readonly TextFacts[], makeView: () => SubjectView, isWarm: boolean): number {
  let best = Number.POSITIVE_INFINITY;
  for (let run = 0; run < 5; run += 1) {
    const view = makeView();
    const [first] = texts;
    if (first === undefined) throw new Error('nothing to measure');
    view.judge(first, false);
    if (isWarm) for (const text of texts) view.judge(text, false);
    const startedMs = performance.now();
    let refused = 0;
    for (const text of texts) if (view.judge(text, false).refusal !== null) refused += 1;
    const elapsedMs = performance.now() - startedMs;
    if (refused > 0) throw new Error('a rule of the bench document matched');
    best = Math.min(best, (elapsedMs / texts.length) * 1000);
  }
  return best;
}

/** As the facts cache hands out a text that it keeps. */
function keep(text: TextFacts): TextFacts {
  return Object.freeze([...text]);
}

function makeCases(): { name: string; texts: TextFacts[]; isWarm: boolean; budgetUs: number }[] {
  const shape = makeShape('SELECT abalance FROM pgbench_accounts WHERE aid = ?');
  const short = Array.from({ length: 20_000 }, (_, aid) =>
    makeText(shape, `SELECT abalance FROM pgbench_accounts WHERE aid = ${aid * 7919};`),
  );
  const columns = Array.from({ length: 6 }, (_, index) => `a.filler_${index}`).join(', ');
  const long = Array.from({ length: 20_000 }, (_, aid) =>
    makeText(
      shape,
      `SELECT ${columns}, b.bbalance FROM pgbench_accounts a JOIN pgbench_branches b ON b.bid = a.bid WHERE a.aid = ${aid} AND b.bbalance > 0`,
    ),
  );
  const shapes = Array.from({ length: 2_000 }, (_, index) =>
    makeText(
      makeShape(`SELECT c${index} FROM pgbench_accounts WHERE aid = ?`),
      `SELECT c${index} FROM pgbench_accounts WHERE aid = 1`,
    ),
  );
  return [
    { name: 'known text (pgbench -S prepared)', texts: short.map(keep), isWarm: true, budgetUs: KNOWN_BUDGET_US },
    { name: 'new text, known shape (pgbench -S simple)', texts: short, isWarm: false, budgetUs: NEW_BUDGET_US },
    { name: 'new text, known shape, 190 bytes', texts: long, isWarm: false, budgetUs: NEW_BUDGET_US },
    { name: 'new shape', texts: shapes, isWarm: false, budgetUs: Number.POSITIVE_INFINITY },
  ];
}

/** Prints the table; answers whether every budget was kept. */
export function runPolicyBench(print: (line: string) => void): boolean {
  const text = makeHundredRules();
  const ruleset = loadRuleset(text, 'hundred-rules', { epoch: 1 });
  const fresh = (): SubjectView => compileRuleset(ruleset.document, { epoch: 1 }).viewFor(SUBJECT);
  let isKept = true;
  for (const { name, texts, isWarm, budgetUs } of makeCases()) {
    const us = measure(texts, fresh, isWarm);
    if (us > budgetUs) isKept = false;
    const budget = Number.isFinite(budgetUs) ? ` (budget ${budgetUs} µs)` : '';
    print(`${name.padEnd(45)} ${us.toFixed(3)} µs${budget}`);
  }
  const startedMs = performance.now();
  for (let run = 0; run < 5; run += 1) loadRuleset(text, 'hundred-rules', { epoch: 1 });
  print(`${'load the 100-rule document'.padEnd(45)} ${((performance.now() - startedMs) / 5).toFixed(1)} ms`);
  return isKept;
}

if (import.meta.main) {
  const isKept = runPolicyBench((line) => console.log(line));
  if (!isKept) process.exitCode = 1;
}
