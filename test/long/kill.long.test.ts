// 2,000 statements that end near the deadline of a kill rule, from 8 clients, between others that no rule times.

import { expect, test } from 'vitest';
import { NEAR_DEADLINE_RULES, runNearDeadline } from '../relay/near-deadline.ts';
import { sharedPostgres } from '../support/shared-postgres.ts';
import { startTestWeir } from '../support/weir.ts';

const CLIENTS = 8;
const TIMED = 2_000;

test('of 2,000 statements near the deadline only those that were due are killed', async () => {
  const weir = await startTestWeir({
    postgres: sharedPostgres(),
    rules: NEAR_DEADLINE_RULES,
    settings: { observations: { maxDecisions: 10_000 } },
  });
  const seed = Math.floor(Math.random() * 2 ** 31);
  const startedAtMs = performance.now();
  const tally = await runNearDeadline(weir, { clients: CLIENTS, timedEach: TIMED / CLIENTS, seed });
  const [rule] = weir.control.rules.active.rules;
  const { killed, killRaced } = rule?.counters ?? { killed: -1, killRaced: -1 };
  console.info(
    `seed ${seed}: ${tally.timed} timed, ${tally.free} free, ${killed} killed, ${killRaced} raced, ` +
      `${((performance.now() - startedAtMs) / 1000).toFixed(1)} s`,
  );
  expect(tally.wrong, `seed ${seed}`).toEqual([]);
  expect(tally.timed).toBeGreaterThanOrEqual(TIMED);
  expect(killed).toBe(tally.killed);
  expect(killed).toBeGreaterThan(0);
  expect(killed).toBeLessThan(tally.timed);
  expect(killed + killRaced).toBe(weir.control.counters.cancelsFromRules);
  await weir.stop();
});
