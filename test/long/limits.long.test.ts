// rate_limit 200/s for 10 s against faster clients, enforced and observed.

import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { hammer, sendInStep } from '../relay/pace.ts';
import { sharedPostgres } from '../support/shared-postgres.ts';
import { startTestWeir } from '../support/weir.ts';

const RATE = 200;
const BURST = 200;
const RULES = `
traffic_control:
  rules:
    - { name: enforced, match: { application_name: enforced }, action: rate_limit, rate_per_sec: ${RATE}, burst: ${BURST} }
    - name: observed
      mode: observe
      match: { application_name: observed }
      action: rate_limit
      rate_per_sec: ${RATE}
      burst: ${BURST}
`;

test('200 per second let 1,950 to 2,050 through in 10 s besides the burst', async () => {
  const weir = await startTestWeir({ postgres: sharedPostgres(), rules: RULES });
  const tally = await hammer(weir, { applicationName: 'enforced', clients: 8, durationMs: 10_500 });
  const inTenSeconds = (tally.empty.passed / tally.empty.elapsedMs) * 10_000;
  console.info(
    `${tally.passed} passed and ${tally.refused} refused in ${(tally.elapsedMs / 1000).toFixed(2)} s; ` +
      `${tally.empty.passed} in ${(tally.empty.elapsedMs / 1000).toFixed(2)} s after the burst: ${inTenSeconds.toFixed(0)} in 10 s`,
  );
  expect(tally.other).toEqual([]);
  expect(tally.refused).toBeGreaterThan(1_000);
  expect(tally.passed).toBeLessThanOrEqual(BURST + (RATE * tally.elapsedMs) / 1000 + 1);
  expect(tally.empty.elapsedMs).toBeGreaterThan(8_000);
  expect(inTenSeconds).toBeGreaterThanOrEqual(1_950);
  expect(inTenSeconds).toBeLessThanOrEqual(2_050);
  await weir.stop();
});

test('observe mode reports within 2 % what enforcement refuses of the same traffic', async () => {
  const weir = await startTestWeir({ postgres: sharedPostgres(), rules: RULES });
  await sleep(100);
  const [enforced, observed] = await sendInStep(weir, ['enforced', 'observed'], {
    tickMs: 10,
    perTick: 5,
    durationMs: 10_000,
  });
  const would = weir.control.rules.active.rules.find(({ name }) => name === 'observed')?.counters.wouldRefuse ?? -1;
  const refused = enforced?.refused ?? 0;
  console.info(`enforced: ${enforced?.passed} passed, ${refused} refused; observed: ${would} would be refused`);
  expect(observed).toMatchObject({ passed: 5_000, refused: 0, other: [] });
  expect(refused).toBeGreaterThan(1_000);
  expect(Math.abs(would - refused) / refused).toBeLessThan(0.02);
  await weir.stop();
});
