// Cancels on connections that clients share: a race between many of them and the ends of the statements they are meant for, and
// the cases in which a careless pool hits somebody else. A statement sent after the cancel's connection was closed never sees
// 57014, nor does a client for whom nobody ever sends one.

import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import * as frontend from '../support/frontend-messages.ts';
import { sharedPostgres } from '../support/shared-postgres.ts';
import { type BackendMessage, readFields } from '../support/transcript.ts';
import { type SpawnedWeir, spawnWeir } from '../support/weir.ts';
import { sendCancel, WireClient } from '../support/wire-client.ts';
import { chooseSeed, Dice } from './dice.ts';

const CONNECTIONS = 4;
const CLIENTS = 16;
/** Of the clients, so many never see a cancel of their own. */
const BYSTANDERS = 4;
/** A session is closed after so many: what was said on it is kept as long as it lives. */
const RACES_PER_SESSION = 400;
const TEST_MS = 7_200_000;

interface Tally {
  races: number;
  cancelled: number;
  finished: number;
  /** Statements of clients that nobody cancels. */
  bystanding: number;
  /** How long a cancel takes now, so that statements can be made to end at about that time. */
  cancelMs: number;
}

export function codeOf(messages: readonly BackendMessage[]): string | null {
  const error = messages.find(({ type }) => type === 'E');
  return error === undefined ? null : (readFields(error.body).C ?? '');
}

/** One statement and a cancel at about its end, then two statements that nobody cancels. */
async function race(client: WireClient, weir: SpawnedWeir, dice: Dice, tally: Tally): Promise<void> {
  const waitMs = dice.roll() * 4;
  const runMs = dice.chance(0.25) ? 0 : dice.roll() * 2 * (waitMs + tally.cancelMs);
  const sql = runMs === 0 ? 'SELECT 1' : `SELECT pg_sleep(${runMs / 1_000})`;
  if (dice.chance(0.5)) client.send(frontend.query(sql));
  else client.send(frontend.extendedQuery(sql), frontend.sync());
  const running = client.readUntilReady();
  if (waitMs > 1) await sleep(waitMs);
  const sentAt = performance.now();
  await sendCancel(weir, client.processId, client.secretKey);
  tally.cancelMs += (performance.now() - sentAt - tally.cancelMs) / 50;
  const code = codeOf(await running);
  expect([null, '57014']).toContain(code);
  if (code === null) tally.finished++;
  else tally.cancelled++;
  expect(codeOf(await client.query('SELECT 2')), 'a stray cancel').toBeNull();
  expect(codeOf(await client.query('SELECT pg_sleep(0.001)')), 'a stray cancel').toBeNull();
  // In a transaction the connection is its own for longer, and a stray cancel would undo what was done.
  if (dice.chance(0.1)) expect(codeOf(await client.query('BEGIN; SELECT pg_sleep(0.001); COMMIT'))).toBeNull();
}

export function defineCancelTests(races: number): void {
  const postgres = sharedPostgres();
  let weir: SpawnedWeir;

  beforeAll(async () => {
    weir = await spawnWeir({ postgres, configuration: { pool: { mode: 'transaction', size: CONNECTIONS } } });
  });

  afterAll(() => weir.stop());

  test(
    `in ${races} races over ${CONNECTIONS} connections 57014 comes only to whom it was meant for`,
    async () => {
      const seed = chooseSeed('cancel races on shared connections');
      const tally: Tally = { races: 0, cancelled: 0, finished: 0, bystanding: 0, cancelMs: 3 };
      const startedAt = performance.now();
      const loop = async (dice: Dice, act: (client: WireClient, dice: Dice) => Promise<void>): Promise<void> => {
        while (tally.races < races) {
          const client = await WireClient.login(
            weir,
            dice.chance(0.25) ? { version: frontend.PROTOCOL_3_2 } : {},
            30_000,
          );
          for (let count = 0; count < RACES_PER_SESSION && tally.races < races; count++) await act(client, dice);
          await client.end();
        }
      };
      await Promise.all(
        Array.from({ length: CLIENTS }, (_, index) =>
          loop(new Dice(seed + index), async (client, dice) => {
            if (index < BYSTANDERS) {
              const answer = await client.query(`SELECT pg_sleep(${dice.roll() / 500})`);
              expect(codeOf(answer), 'a cancel for somebody else').toBeNull();
              tally.bystanding++;
            } else {
              tally.races++;
              await race(client, weir, dice, tally);
            }
          }),
        ),
      );
      const seconds = Math.round((performance.now() - startedAt) / 1_000);
      console.log(
        `${tally.races} races in ${seconds} s: ${tally.cancelled} cancelled, ${tally.finished} ended by themselves; ${tally.bystanding} statements of bystanders`,
      );
      expect(tally.cancelled + tally.finished).toBe(tally.races);
      expect(tally.cancelled).toBeGreaterThan(races / 50);
      expect(tally.finished).toBeGreaterThan(races / 50);
    },
    TEST_MS,
  );
}
