// Random races between a cancel and the end of its statement, over two pgweir processes in front of one server: a statement that
// nobody cancelled, sent after the cancel's connection was closed, never sees 57014. Sessions are relayed (passthrough), logged
// in by pgweir (trust), and under kill rules that do not come due; cancels go through either process. PGWEIR_CANCEL_RACES says how
// many (5,000), PGWEIR_TEST_SEED repeats the choices.

import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { sharedPostgres } from '../support/shared-postgres.ts';
import { readFields } from '../support/transcript.ts';
import { type SpawnedWeir, spawnWeir } from '../support/weir.ts';
import { sendCancel, WireClient } from '../support/wire-client.ts';

const RACES = Number(process.env.PGWEIR_CANCEL_RACES ?? 5_000);
const SESSIONS = 12;
/** A session is closed after so many: what was said on it is kept as long as it lives. */
const RACES_PER_SESSION = 500;
const KILL_ALL = 'traffic_control: { rules: [{ name: all, match: {}, action: kill_after_ms, timeout_ms: 60000 }] }\n';
const postgres = sharedPostgres();
let weirs: readonly SpawnedWeir[];

beforeAll(async () => {
  weirs = await Promise.all([
    spawnWeir({ postgres, rules: KILL_ALL }),
    spawnWeir({ postgres, configuration: { auth: { mode: 'passthrough' } } }),
  ]);
});

afterAll(() => Promise.all(weirs.map((weir) => weir.stop())));

/** Numbers from 0 to 1 that a seed repeats (mulberry32). */
function randomFrom(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

interface Tally {
  cancelled: number;
  finished: number;
  strangers: number;
  /** How long a cancel takes right now, so that statements can be made to end at about that time. */
  cancelMs: number;
}

function codeOf(messages: readonly { readonly type: string; readonly body: Buffer }[]): string | null {
  const error = messages.find(({ type }) => type === 'E');
  return error === undefined ? null : (readFields(error.body).C ?? '');
}

/** One race, then two statements that nobody cancels. */
async function race(client: WireClient, through: SpawnedWeir, random: () => number, tally: Tally): Promise<void> {
  const waitMs = random() * 4;
  const runMs = random() < 0.25 ? 0 : random() * 2 * (waitMs + tally.cancelMs);
  const running = client.query(runMs === 0 ? 'SELECT 1' : `SELECT pg_sleep(${runMs / 1_000})`);
  if (waitMs > 1) await sleep(waitMs);
  const sentAt = performance.now();
  await sendCancel(through, client.processId, client.secretKey);
  tally.cancelMs += (performance.now() - sentAt - tally.cancelMs) / 50;
  const code = codeOf(await running);
  if (code === null) tally.finished++;
  else {
    expect(code).toBe('57014');
    tally.cancelled++;
  }
  expect(codeOf(await client.query('SELECT 2')), 'a stray cancel').toBeNull();
  expect(codeOf(await client.query('SELECT pg_sleep(0.001)')), 'a stray cancel').toBeNull();
}

test(`in ${RACES} races over two processes 57014 comes only to whom it was meant for`, async () => {
  const seed = Number(process.env.PGWEIR_TEST_SEED ?? Date.now() % 2 ** 31);
  console.log(`cancel races: seed ${seed}`);
  const tally: Tally = { cancelled: 0, finished: 0, strangers: 0, cancelMs: 3 };
  let left = RACES;
  const startedAt = performance.now();
  const work = async (index: number): Promise<void> => {
    const random = randomFrom(seed + index);
    const home = weirs[index % 2];
    const other = weirs[(index + 1) % 2];
    if (home === undefined || other === undefined) throw new Error('no two processes');
    // Of every four sessions one speaks 3.2, with its long key.
    const version = index % 4 === 3 ? (3 << 16) | 2 : undefined;
    while (left > 0) {
      const client = await WireClient.login(home, version === undefined ? {} : { version }, 20_000);
      for (let count = 0; count < RACES_PER_SESSION && left > 0; count++) {
        left--;
        const isStranger = random() < 0.3;
        if (isStranger) tally.strangers++;
        await race(client, isStranger ? other : home, random, tally);
      }
      await client.end();
    }
  };
  await Promise.all(Array.from({ length: SESSIONS }, (_, index) => work(index)));
  const seconds = (performance.now() - startedAt) / 1_000;
  console.log(
    `${RACES} races in ${Math.round(seconds)} s: ${tally.cancelled} cancelled, ${tally.finished} ended by themselves, ${tally.strangers} cancels by way of the other process`,
  );
  expect(tally.cancelled + tally.finished).toBe(RACES);
  expect(tally.cancelled).toBeGreaterThan(RACES / 50);
  expect(tally.finished).toBeGreaterThan(RACES / 50);
}, 7_200_000);
