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

const ALLOW_LIST = `
traffic_control:
  default_action: deny
  on_unparsed: deny
  rules:
    - { name: harmless, match: { functions: 'to_hex' }, action: allow }
    - { name: refused, match: { query_regex: refused }, action: deny }
`;

/** Each refused by the first of its messages, but for what follows its Sync. */
const REFUSED_UNITS = [
  ['with a name', frontend.parse('SELECT 1 /* refused */', 's'), frontend.bind({ statement: 's' }), frontend.execute()],
  ['without a name', frontend.parse('SELECT 1 /* refused */'), frontend.bind(), frontend.execute()],
  [
    'with a second statement',
    frontend.parse('SELECT 1 /* refused */', 's'),
    frontend.extendedQuery('SELECT to_hex(1)'),
  ],
  ['with a Query', frontend.parse('SELECT 1 /* refused */', 's'), frontend.query('SELECT to_hex(1)')],
  ['with a Flush', frontend.parse('SELECT 1 /* refused */'), frontend.flush(), frontend.bind(), frontend.execute()],
] as const;

test.each(MODES.flatMap((mode) => REFUSED_UNITS.map(([how, ...messages]) => ({ mode, how, messages }))))(
  'in mode $mode a refused statement $how is one decision, and what is skipped behind it is none',
  async ({ mode, messages }) => {
    const client = await startIn(mode, ALLOW_LIST);
    client.send(...messages, frontend.sync(), frontend.extendedQuery("SELECT to_hex(255), 'ran'"), frontend.sync());
    const [refusal, ...rest] = transcribe(await client.readUntilReady(2));
    expect(refusal).toContain('refused');
    expect(rest.join(' ')).toContain('ff');
    expect(rest.filter((line) => line.startsWith('ReadyForQuery'))).toHaveLength(2);
    const { recorder } = weir.control;
    expect(recorder.decisions.list(10).map(({ rule }) => rule)).toEqual(['refused']);
    expect([recorder.judged, recorder.unparsed, readDurations().count]).toEqual([2, 0, 1]);
    expect([...recorder.rulelessRefusals()]).toEqual([]);
    await client.end();
  },
);

const BEFORE_REFUSED = [
  ['a Query', frontend.query('SELECT to_hex(1)')],
  ['an error', frontend.extendedQuery('SELECT to_hex(1 / 0)'), frontend.sync()],
] as const;

test.each(MODES.flatMap((mode) => BEFORE_REFUSED.map(([what, ...before]) => ({ mode, what, before }))))(
  'in mode $mode $what before a refused statement ends no skipping behind that',
  async ({ mode, before }) => {
    const client = await startIn(mode, ALLOW_LIST.replace("'to_hex'", '[to_hex, pg_sleep]'));
    client.send(...before, frontend.query(SLOW), frontend.parse('SELECT 1 /* refused */', 's'));
    await client.readUntilReady();
    client.send(frontend.bind({ statement: 's' }), frontend.execute(), frontend.sync(), frontend.query(QUICK));
    expect(transcribe(await client.readUntilReady(3)).join(' ')).toContain('refused');
    expect(weir.control.recorder.decisions.list(10).map(({ rule }) => rule)).toEqual(['default_action', 'refused']);
    await client.end();
  },
);

test('behind a COPY that fails a refused Parse leaves nobody waiting', async () => {
  const client = await startIn('session', ALLOW_LIST.replace('deny\n  on_unparsed: deny', 'allow'));
  await client.query('CREATE TEMP TABLE copied (a int)');
  client.send(frontend.query('COPY copied FROM STDIN'));
  await client.readUntil('G');
  const refused = frontend.parse('SELECT 1 /* refused */', 's');
  const bad = frontend.copyData(Buffer.from('no number\n'));
  client.send(bad, refused, frontend.bind({ statement: 's' }), frontend.sync(), frontend.query('SELECT 2'));
  const heard = transcribe(await client.readUntilReady(3)).join(' ');
  expect(heard).toMatch(/22P02.*refused.*SELECT 1/);
  await client.end();
});
