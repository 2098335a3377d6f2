// What is counted of statements that a client sends without waiting for answers: each by itself, and only what ran.

import { afterEach, expect, test } from 'vitest';
import * as frontend from '../support/frontend-messages.ts';
import { sharedPostgres } from '../support/shared-postgres.ts';
import { transcribe } from '../support/transcript.ts';
import { startTestWeir, type TestWeir } from '../support/weir.ts';
import { WireClient } from '../support/wire-client.ts';

const postgres = sharedPostgres();
const LATE_MS = 300;
const SLOW = `SELECT pg_sleep(${(LATE_MS * 2) / 1000})`;
const QUICK = 'SELECT 1 /* quick */';
const OBSERVED_KILL = `
traffic_control:
  rules:
    - { name: quick, match: { query_regex: quick }, action: kill_after_ms, timeout_ms: ${LATE_MS}, mode: observe }
`;

let weir: TestWeir;
afterEach(() => weir.stop());

const MODES = ['session', 'transaction'] as const;
const startIn = async (mode: (typeof MODES)[number], rules: string): Promise<WireClient> => {
  weir = await startTestWeir({ postgres, rules, settings: { pool: { mode } } });
  return WireClient.login(weir);
};
const readDurations = () => weir.control.recorder.statementDuration('primary').read();

test.each(
  MODES.flatMap((mode) => [
    [mode, 'a second Query', [frontend.query(SLOW), frontend.query(QUICK)]] as const,
    [
      mode,
      'the same unit of work',
      [frontend.extendedQuery(SLOW), frontend.extendedQuery(QUICK), frontend.sync()],
    ] as const,
    [
      mode,
      'another unit of work',
      [frontend.extendedQuery(SLOW), frontend.sync(), frontend.extendedQuery(QUICK), frontend.sync()],
    ] as const,
  ]),
)('in mode %s what waits behind a slow statement, as %s, is not slow itself', async (mode, _how, messages) => {
  const client = await startIn(mode, OBSERVED_KILL);
  client.send(...messages);
  await client.readUntilReady(messages.filter((bytes) => 'QS'.includes(String.fromCharCode(bytes[0] ?? 0))).length);
  expect(weir.control.rules.active.rules[0]?.counters).toMatchObject({ matched: 1, wouldKill: 0 });
  const { count, sumSeconds } = readDurations();
  expect(count).toBe(2);
  expect(sumSeconds).toBeGreaterThanOrEqual((LATE_MS * 2) / 1000);
  expect(sumSeconds).toBeLessThan((LATE_MS * 3.8) / 1000);
  await client.end();
});

test.each(MODES)('in mode %s what the server skips behind an error has run for no time', async (mode) => {
  const client = await startIn(mode, OBSERVED_KILL);
  const failing = 'SELECT 1 / (random() * 0)::int';
  client.send(frontend.extendedQuery(failing), frontend.extendedQuery(QUICK), frontend.sync());
  expect(transcribe(await client.readUntilReady()).join(' ')).toContain('22012');
  expect(readDurations().count).toBe(1);
  await client.end();
});
