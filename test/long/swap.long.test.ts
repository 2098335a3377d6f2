// 8 clients of the real pgbench for 20 s, in each of its protocols, with 100 posts of rules meanwhile.

import { expect, test } from 'vitest';
import { fillTables, findProgram, MODES } from '../bench/pgbench.ts';
import { makeDocument, storm } from '../relay/swap-storm.ts';
import { runProgram } from '../support/native-binaries.ts';
import { sharedPostgres } from '../support/shared-postgres.ts';
import { startTestWeir } from '../support/weir.ts';

const SECONDS = 20;

test.each(MODES)('no transaction of pgbench -M %s fails while rules are swapped', async (mode) => {
  const postgres = sharedPostgres();
  const pgbench = await findProgram('pgbench');
  if (pgbench === null) throw new Error('this test needs pgbench: install postgresql-contrib or put it on PATH');
  await postgres.query('CREATE DATABASE swap_storm');
  const weir = await startTestWeir({ postgres, rules: makeDocument(0) });
  try {
    const { user, host } = postgres;
    await fillTables(pgbench, { host, port: postgres.primaryPort, user, database: 'swap_storm', isTls: false }, 1);
    const running = runProgram(
      pgbench,
      [
        ...['-n', '-M', mode, '-c', '8', '-j', '2', '-T', String(SECONDS)],
        ...['-h', weir.host, '-p', String(weir.port), '-U', user, 'swap_storm'],
      ],
      { deadlineMs: (SECONDS + 60) * 1_000 },
    );
    const record = await storm(weir.adminUrl, { posts: 100, pauseMs: (SECONDS * 1_000) / 110, badEvery: 10 });
    const result = await running;
    const processed = Number(/^number of transactions actually processed: (\d+)/m.exec(result.stdout)?.[1]);
    const failed = Number(/^number of failed transactions: (\d+)/m.exec(result.stdout)?.[1]);
    console.info(
      `${mode}: ${processed} transactions, ${failed} failed, ${record.spans.length - 1} swaps, ${record.bad} bad`,
    );
    expect(result.code, result.stderr).toBe(0);
    expect(record.wrong).toEqual([]);
    expect(record).toMatchObject({ bad: 10 });
    expect(record.spans).toHaveLength(91);
    expect(failed).toBe(0);
    expect(processed).toBeGreaterThan(1_000);
    expect(result.stderr).not.toMatch(/error|aborted/i);
    // Each transaction is BEGIN, five statements and COMMIT: what was committed is in the history table.
    const committed = weir.control.counters.statements;
    expect(committed).toBeGreaterThanOrEqual(processed * 7);
  } finally {
    await weir.stop();
    await postgres.query('DROP DATABASE swap_storm WITH (FORCE)');
  }
});
