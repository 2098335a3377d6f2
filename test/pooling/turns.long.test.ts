// Limits and clients at random: whatever they are, nobody holds a server connection for long, so nobody waits for long.
// PGWEIR_TURNS says how many kinds of limits and clients are tried (30), two seconds each.

import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { PoolSettings } from '../../src/config/settings.ts';
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
  postgres = await startPostgres({ settings: { max_connections: '100' } });
  for (const user of USERS) await postgres.query(`CREATE ROLE ${user} LOGIN`);
});

afterAll(() => postgres?.stop());

test(`${ROUNDS} kinds of limits and clients: everybody has a turn soon`, { timeout: ROUNDS * 15_000 }, async () => {
  const dice = new Dice(chooseSeed('turns'));
  for (let round = 0; round < ROUNDS; round++) {
    const [pool, habits] = [rollLimits(dice), rollHabits(dice)];
    const about = JSON.stringify({ pool, habits });
    const { worst, pools } = await play(pool, habits, dice);
    expect(worst.ms, `${worst.what}: ${about}`).toBeLessThan(LONGEST_WAIT_MS);
    for (const { held, waiting, acquires, releases } of pools)
      expect({ held, waiting, lost: acquires - releases }, about).toEqual({ held: 0, waiting: 0, lost: 0 });
  }
});

function rollLimits(dice: Dice): Partial<PoolSettings> {
  const some = (most: number): number | null => (dice.chance(0.4) ? 1 + dice.below(most) : null);
  return {
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
async function play(pool: Partial<PoolSettings>, habits: Habits, dice: Dice) {
  const weir = await startTestWeir({ postgres, settings: { pool: { mode: 'transaction', ...pool } } });
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
        for (const sql of rollPiece(own, habits)) await timed(sql, wire.rows(sql));
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

/** What is done together: a statement, a transaction, or something that keeps the connection until it is undone. */
function rollPiece(dice: Dice, { workMs, pinning }: Habits): readonly string[] {
  const work = workMs === 0 ? 'SELECT 1' : `SELECT pg_sleep(${((dice.roll() * workMs) / 1_000).toFixed(4)})`;
  if (dice.chance(pinning))
    return dice.pick([
      ['CREATE TEMP TABLE turns (n int)', work, 'DROP TABLE turns'],
      ['SELECT pg_advisory_lock_shared(7)', work, 'SELECT pg_advisory_unlock_shared(7)'],
      ['LISTEN turns', work, 'UNLISTEN *'],
      ['DECLARE kept CURSOR WITH HOLD FOR SELECT 1', work, 'CLOSE kept'],
    ]);
  if (dice.chance(0.3)) return ['BEGIN', work, work, 'COMMIT'];
  return dice.chance(0.1) ? [`SET work_mem = '${1 + dice.below(4)}MB'`] : [work];
}
