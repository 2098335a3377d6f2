// Limits, rules and clients at random: whatever they are, nobody holds a server connection or a place for long, so nobody
// waits for long. PGWEIR_TURNS says how many kinds of them are tried (30), two seconds each.

import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { PoolSettings } from '../../src/config/settings.ts';
import * as frontend from '../support/frontend-messages.ts';
import { startPostgres, type TestPostgres } from '../support/postgres.ts';
import { startTestWeir } from '../support/weir.ts';
import { WireClient } from '../support/wire-client.ts';
import { chooseSeed, Dice } from './dice.ts';

const ROUNDS = Number(process.env.PGWEIR_TURNS ?? 30);
const ROUND_MS = 2_000;
/** Of anything that a client asks for. A turn comes after half a second; the longest transaction takes 60 ms. */
const LONGEST_WAIT_MS = 6_000;
const USERS = ['turns_a', 'turns_b', 'turns_c', 'turns_d', 'turns_e'];

interface Habits {
  readonly users: number;
  /** Startup packets that do not share connections. */
  readonly classes: number;
  readonly clients: number;
  readonly thinkMs: number;
  readonly workMs: number;
  /** Share of what they do that keeps a connection for a while. */
  readonly pinning: number;
  /** Share of what they do after which they leave, and come again. */
  readonly leaving: number;
}

let postgres: TestPostgres;

beforeAll(async () => {
  postgres = await startPostgres({ standbys: 1, settings: { max_connections: '100' } });
  await postgres.query(
    'CREATE TABLE turns AS SELECT generate_series(1, 50) AS n; GRANT SELECT, INSERT, UPDATE ON turns TO PUBLIC',
  );
  for (const user of USERS) await postgres.query(`CREATE ROLE ${user} LOGIN`);
});

afterAll(() => postgres?.stop());

test(`${ROUNDS} kinds of limits, rules and clients: everybody has a turn soon`, {
  timeout: ROUNDS * 15_000,
}, async () => {
  const dice = new Dice(chooseSeed('turns'));
  for (let round = 0; round < ROUNDS; round++) {
    const [pool, rules, habits] = [rollLimits(dice), rollRules(dice), rollHabits(dice)];
    const about = JSON.stringify({ pool, rules, habits });
    const { worst, pools } = await play(pool, rules, habits, dice);
    expect(worst.ms, `${worst.what}: ${about}`).toBeLessThan(LONGEST_WAIT_MS);
    for (const { held, waiting, acquires, releases } of pools)
      expect({ held, waiting, lost: acquires - releases }, about).toEqual({ held: 0, waiting: 0, lost: 0 });
  }
});

function rollLimits(dice: Dice): Partial<PoolSettings> {
  const some = (most: number): number | null => (dice.chance(0.4) ? 1 + dice.below(most) : null);
  return {
    mode: dice.chance(0.8) ? 'transaction' : 'session',
    size: 1 + dice.below(5),
    maxPerTarget: some(6),
    maxPerDatabase: some(5),
    maxPerUser: some(4),
    reserveSize: dice.pick([0, 0, 2]),
    reserveAfterMs: dice.pick([50, 500]),
    logins: dice.pick(['shared', 'own']),
    affinity: dice.pick(['prefer', 'prefer', 'avoid']),
    serverLifetimeMs: dice.pick([3_600_000, 200, 1_000]),
    serverIdleMs: dice.pick([600_000, 100]),
    minIdle: dice.pick([0, 0, 1, 2]),
  };
}

/** None of them refuses or kills anything. */
function rollRules(dice: Dice): readonly object[] {
  const rules = Array.from({ length: dice.below(5) }, (_, at) => ({
    name: `rule_${at}`,
    match: dice.pick<object>([
      { query_class: 'read' },
      { query_class: 'write' },
      { query_class: 'session' },
      { tables: 'turns' },
      { functions: 'pg_sleep' },
      { in_transaction: true },
      { statement: ['prepare', 'execute'] },
      { user: USERS[0] },
    ]),
    ...dice.pick<() => object>([
      () => ({ action: 'max_concurrent', limit: 1 + dice.below(4), wait_ms: 600_000 }),
      () => ({ action: 'max_concurrent', limit: 1 + dice.below(4), wait_ms: 600_000, per: ['fingerprint'] }),
      () => ({ action: 'rate_limit', rate_per_sec: 500, burst: 1 + dice.below(50), wait_ms: 600_000, per: ['user'] }),
      () => ({ action: 'kill_after_ms', timeout_ms: 60_000 }),
    ])(),
  }));
  const route = { name: 'route', match: { query_class: 'read' }, action: 'route_replica' };
  return dice.chance(0.5) ? [...rules, route] : rules;
}

function rollHabits(dice: Dice): Habits {
  return {
    users: 1 + dice.below(USERS.length),
    classes: 1 + dice.below(3),
    clients: 2 + dice.below(24),
    thinkMs: dice.pick([0, 0, 5, 50]),
    workMs: dice.pick([0, 5, 20]),
    pinning: dice.pick([0, 0.02, 0.1]),
    leaving: dice.pick([0, 0.02, 0.1]),
  };
}

/** The longest that anything took, and the pools when all have left. */
async function play(pool: Partial<PoolSettings>, rules: readonly object[], habits: Habits, dice: Dice) {
  const weir = await startTestWeir({
    postgres,
    rules: JSON.stringify({ traffic_control: { rules } }),
    settings: { pool },
  });
  const worst = { ms: 0, what: '' };
  const timed = async <T>(what: string, doing: Promise<T>): Promise<T> => {
    const startedAt = performance.now();
    const result = await doing;
    const ms = performance.now() - startedAt;
    if (ms > worst.ms) Object.assign(worst, { ms, what });
    return result;
  };
  const endsAt = performance.now() + ROUND_MS;
  const isOver = (): boolean => performance.now() >= endsAt;
  const live = async (at: number, own: Dice): Promise<void> => {
    const user = USERS[at % habits.users] ?? '';
    const kind = at % habits.classes;
    const parameters = {
      ...(kind === 0 ? {} : { extra_float_digits: String(kind) }),
      ...(at % 3 === 0 ? {} : { application_name: `turns ${at % 5}` }),
    };
    while (!isOver()) {
      const wire = await timed('login', WireClient.login(weir, { user, parameters }));
      do {
        if (habits.thinkMs > 0) await sleep(own.roll() * habits.thinkMs);
        for (const step of rollPiece(own, habits)) await timed(step.what, say(wire, step));
      } while (!isOver() && !own.chance(habits.leaving));
      if (own.chance(0.5)) await wire.end();
      else wire.destroy();
    }
  };
  try {
    const all = Array.from({ length: habits.clients }, (_, at) => live(at, new Dice(dice.below(2 ** 31))));
    await Promise.all(all);
    await sleep(200);
    return { worst, pools: weir.control.pools() };
  } finally {
    await weir.stop();
  }
}

/** Messages that go out one by one, some a little later than the others; afterwards so many times ReadyForQuery. */
interface Step {
  readonly what: string;
  readonly parts: readonly Buffer[];
  readonly readies: number;
  readonly pauseMs: number;
}

/** Errors are no matter here: a transaction that was refused something is rolled back like any other. */
async function say(wire: WireClient, { parts, readies, pauseMs }: Step): Promise<void> {
  for (const part of parts) {
    wire.send(part);
    if (pauseMs > 0) await sleep(pauseMs);
  }
  for (let ready = 0; ready < readies; ready++) await wire.readUntilReady();
}

function ask(sql: string): Step {
  return { what: sql, parts: [frontend.query(sql)], readies: 1, pauseMs: 0 };
}

/** What is done together: a statement, a transaction, a pipeline, or something that keeps the connection until it is undone. */
function rollPiece(dice: Dice, { workMs, pinning }: Habits): readonly Step[] {
  const sleeping = `SELECT pg_sleep(${((dice.roll() * workMs) / 1_000).toFixed(4)})`;
  const work = dice.pick(['SELECT count(*) FROM turns', 'UPDATE turns SET n = n WHERE n = 0', sleeping]);
  if (dice.chance(pinning))
    return dice
      .pick([
        ['CREATE TEMP TABLE passing (n int)', work, 'DROP TABLE passing'],
        ['SELECT pg_advisory_lock_shared(7)', work, 'SELECT pg_advisory_unlock_shared(7)'],
        ['LISTEN turns', work, 'UNLISTEN *'],
        ['BEGIN', 'DECLARE kept CURSOR WITH HOLD FOR SELECT n FROM turns', 'COMMIT', work, 'CLOSE kept'],
      ])
      .map(ask);
  return dice.weighted<() => readonly Step[]>([
    [5, () => [ask(work)]],
    [2, () => ['BEGIN', work, work, 'COMMIT'].map(ask)],
    [1, () => [ask(`SET work_mem = '${1 + dice.below(4)}MB'`)]],
    [1, () => ['DEALLOCATE ALL', `PREPARE turn AS ${work}`, 'EXECUTE turn'].map(ask)],
    [1, () => [{ what: 'two Queries', parts: [work, 'SELECT 1'].map(frontend.query), readies: 2, pauseMs: 0 }]],
    [
      1,
      () => [
        { what: 'COPY', parts: [frontend.query('COPY turns FROM STDIN'), frontend.copyDone()], readies: 1, pauseMs: 0 },
      ],
    ],
    [2, () => [rollPipeline(dice, work)]],
    [1, () => rollPortal(work)],
  ])();
}

function rollPipeline(dice: Dice, work: string): Step {
  const parts: Buffer[] = [];
  for (let count = 1 + dice.below(4); count > 0; count--)
    parts.push(
      frontend.parse(dice.chance(0.5) ? work : 'SELECT count(*) FROM turns'),
      frontend.bind(),
      frontend.execute(),
    );
  return { what: 'pipeline', parts: [...parts, frontend.sync()], readies: 1, pauseMs: dice.pick([0, 0, 1]) };
}

/** In two parts, with something between them. */
function rollPortal(work: string): readonly Step[] {
  const first = [
    frontend.parse('SELECT n FROM turns'),
    frontend.bind({ portal: 'part' }),
    frontend.execute('part', 10),
  ];
  const more = [frontend.execute('part', 10), frontend.execute('part')];
  return [
    ask('BEGIN'),
    { what: 'first part', parts: [...first, frontend.sync()], readies: 1, pauseMs: 0 },
    ask(work),
    { what: 'more parts', parts: [...more, frontend.sync()], readies: 1, pauseMs: 0 },
    ask('COMMIT'),
  ];
}
