// What reading a statement costs: known text, known but for its numbers, new text of a known shape, new shape. Run with `node test/bench/sql-bench.ts`;
// prints one line per case and fails when the budget (new text 5 µs, known text 1 µs) is missed.

import { FactsCache } from '../../src/sql/facts-cache.ts';
import { loadParser } from '../../src/sql/parse.ts';

const TEXTS = 50_000;
const KNOWN_BUDGET_US = 1;
const NEW_BUDGET_US = 5;

interface Case {
  readonly name: string;
  readonly makeText: (n: number) => string;
  readonly count: number;
  readonly budgetUs: number | null;
  /** What is known but for its numbers will do, as for a Query under rules that cannot tell numbers apart. */
  readonly mayBeTwin?: boolean;
}

const join = (id: number): string =>
  'SELECT u.id, u.name, o.total, o.created_at FROM users u JOIN orders o ON o.user_id = u.id LEFT JOIN items i ' +
  `ON i.order_id = o.id WHERE u.id = ${id} AND o.status = 'paid' ORDER BY o.created_at LIMIT 10`;
const pgbench = (aid: number | string): string => `SELECT abalance FROM pgbench_accounts WHERE aid = ${aid};`;

const CASES: readonly Case[] = [
  { name: 'known text, pgbench -S prepared', makeText: () => pgbench('$1'), count: TEXTS, budgetUs: KNOWN_BUDGET_US },
  { name: 'known text, 190-byte join', makeText: () => join(42), count: TEXTS, budgetUs: KNOWN_BUDGET_US },
  {
    name: 'known but for its number, pgbench -S',
    makeText: pgbench,
    count: TEXTS,
    budgetUs: KNOWN_BUDGET_US,
    mayBeTwin: true,
  },
  {
    name: 'known but for its number, join',
    makeText: join,
    count: TEXTS,
    budgetUs: KNOWN_BUDGET_US,
    mayBeTwin: true,
  },
  { name: 'new text of a known shape, pgbench -S', makeText: pgbench, count: TEXTS, budgetUs: NEW_BUDGET_US },
  { name: 'new text of a known shape, join', makeText: join, count: TEXTS, budgetUs: NEW_BUDGET_US },
  {
    name: 'new text of a known shape, with a trace comment',
    makeText: (n) => `${pgbench(n)} /*traceparent='00-${n}-01',route='%2Faccounts'*/`,
    count: TEXTS,
    budgetUs: NEW_BUDGET_US,
  },
  { name: 'exotic text, E string', makeText: (n) => `select E'${n}\\n'`, count: 5000, budgetUs: null },
  { name: 'new shape, short', makeText: (n) => `SELECT c${n} FROM t WHERE a = 1`, count: 5000, budgetUs: null },
  { name: 'new shape, join', makeText: (n) => `${join(1)} OFFSET c${n}`, count: 5000, budgetUs: null },
  { name: 'syntax error', makeText: (n) => `selec c${n} FROM t WHERE a = 1`, count: 5000, budgetUs: null },
];

/** Best of five, in µs per text, from its bytes on, as they come from a socket. */
function measure({ makeText, count, mayBeTwin = false }: Case): number {
  let best = Number.POSITIVE_INFINITY;
  for (let run = 0; run < 5; run++) {
    const cache = new FactsCache({ maxEntries: 20_000, maxBytes: 64 << 20, maxAnalyzedBytes: 1 << 20 });
    const bytes = Array.from({ length: count }, (_, n) => Buffer.from(makeText(n)));
    cache.read(makeText(-1).replace('-1', '1'), 'UTF8', true);
    const startedMs = performance.now();
    for (const text of bytes) cache.readBytes(text, 0, text.length, 'UTF8', true, mayBeTwin);
    best = Math.min(best, ((performance.now() - startedMs) * 1000) / count);
  }
  return best;
}

await loadParser();
let isOverBudget = false;
for (const one of CASES) {
  const us = measure(one);
  const isOver = one.budgetUs !== null && us > one.budgetUs;
  isOverBudget ||= isOver;
  const budget = one.budgetUs === null ? '' : `  (budget ${one.budgetUs} µs${isOver ? ', MISSED' : ''})`;
  console.log(`${one.name.padEnd(50)} ${us.toFixed(2).padStart(8)} µs${budget}`);
}
if (isOverBudget) process.exitCode = 1;
