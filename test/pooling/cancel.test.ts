// A short race (PGWEIR_CANCEL_RACES: 300), and one by one what a cancel must and must not do on shared connections.

import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { waitFor } from '../support/deadline.ts';
import * as frontend from '../support/frontend-messages.ts';
import { sharedPostgres } from '../support/shared-postgres.ts';
import { sendCancel } from '../support/wire-client.ts';
import { codeOf, defineCancelTests } from './cancel-suite.ts';
import { type PoolClient, type PoolGround, startPoolGround } from './pool-ground.ts';

defineCancelTests(Number(process.env.PGWEIR_CANCEL_RACES ?? 300));

describe('over one connection', () => {
  const postgres = sharedPostgres();
  let ground: PoolGround;
  let first: PoolClient;
  let second: PoolClient;

  beforeEach(async () => {
    ground = await startPoolGround(postgres, {});
    first = await ground.login();
    second = await ground.login();
  });

  afterEach(async () => {
    try {
      await ground.checkLedger();
    } finally {
      await ground.stop();
    }
  });

  const cancel = ({ wire }: PoolClient): Promise<void> => sendCancel(ground.weir, wire.processId, wire.secretKey);
  /** Resolves when the server itself runs it. */
  const isRunning = (mark: string): Promise<unknown> =>
    waitFor(
      async () => {
        const { rows } = await postgres.query(
          "SELECT count(*)::int AS n FROM pg_stat_activity WHERE state = 'active' AND query LIKE $1 AND pid <> pg_backend_pid()",
          [`%${mark}%`],
        );
        return rows[0]?.n === 1;
      },
      5_000,
      () => `${mark} does not run`,
    );

  test('a client that waits is answered with 57014 at once, and its connection lives', async () => {
    await first.wire.rows('BEGIN');
    second.wire.send(frontend.query('SELECT 1'));
    await ground.waitForQueue(1);
    await cancel(second);
    const answer = await second.wire.readUntilReady();
    expect(answer.map(({ type }) => type)).toEqual(['E', 'Z']);
    expect([codeOf(answer), second.wire.status]).toEqual(['57014', 'I']);
    expect(await first.wire.rows('SELECT 2')).toEqual([['2']]);
    await first.wire.rows('COMMIT');
    expect(await second.wire.rows('SELECT 3')).toEqual([['3']]);
  });

  test('a pipeline that waits is skipped up to its Sync, as after any error', async () => {
    await first.wire.rows('BEGIN');
    second.wire.send(frontend.extendedQuery('SELECT 1'), frontend.extendedQuery('SELECT 2'), frontend.sync());
    await ground.waitForQueue(1);
    await cancel(second);
    const answer = await second.wire.readUntilReady();
    expect(answer.map(({ type }) => type)).toEqual(['E', 'Z']);
    expect(codeOf(answer)).toBe('57014');
    await first.wire.rows('COMMIT');
    // The unnamed statement of the pipeline was never made.
    second.wire.send(frontend.bind(), frontend.execute(), frontend.sync());
    expect(codeOf(await second.wire.readUntilReady())).toBe('26000');
  });

  test('of several queries in one packet the cancel ends the one that waits, the next one waits again', async () => {
    await first.wire.rows('BEGIN');
    second.wire.send(frontend.query('SELECT 1'), frontend.query("SELECT 'still there'"));
    await ground.waitForQueue(1);
    await cancel(second);
    expect(codeOf(await second.wire.readUntilReady())).toBe('57014');
    await ground.waitForQueue(1);
    await first.wire.rows('COMMIT');
    expect((await second.wire.readUntilReady()).map(({ type }) => type)).toEqual(['T', 'D', 'C', 'Z']);
  });

  test('a cancel of a client that runs nothing does not hit who has its connection now', async () => {
    expect(await first.wire.rows('SELECT 1')).toEqual([['1']]);
    second.wire.send(frontend.query('SELECT pg_sleep(0.4) /* not to be hit */'));
    await isRunning('not to be hit');
    await cancel(first);
    expect(codeOf(await second.wire.readUntilReady())).toBeNull();
  });

  test('a cancel of who runs something hits just that', async () => {
    await second.wire.rows('SELECT 1');
    first.wire.send(frontend.query('SELECT pg_sleep(30) /* to be hit */'));
    await isRunning('to be hit');
    second.wire.send(frontend.query('SELECT 2'));
    await ground.waitForQueue(1);
    await cancel(first);
    expect(codeOf(await first.wire.readUntilReady())).toBe('57014');
    expect(codeOf(await second.wire.readUntilReady())).toBeNull();
  });

  test('a cancel with a wrong key hits nobody, neither who runs nor who waits', async () => {
    first.wire.send(frontend.query('SELECT pg_sleep(0.4) /* with a key */'));
    await isRunning('with a key');
    second.wire.send(frontend.query('SELECT 2'));
    await ground.waitForQueue(1);
    for (const { wire } of [first, second]) {
      const wrong = Buffer.from(wire.secretKey.map((byte) => byte ^ 0x55));
      await sendCancel(ground.weir, wire.processId, wrong);
    }
    expect(codeOf(await first.wire.readUntilReady())).toBeNull();
    expect(codeOf(await second.wire.readUntilReady())).toBeNull();
  });

  test("a cancel never hits pgweir's own statements between two clients", async () => {
    // Settings to be carried over at every change of hands, and a cancel for each client at any moment of it.
    await first.wire.rows("SET work_mem = '5MB'; SET app.carried = 'of the first'; SET ROLE app");
    await second.wire.rows("SET work_mem = '6MB'; SET app.carried = 'of the second'");
    for (let round = 0; round < 60; round++) {
      const cancels = [cancel(first), cancel(second)];
      const answers = [first, second].map(async ({ wire }) => codeOf(await wire.query('SELECT 1')));
      await Promise.all(cancels);
      for (const code of await Promise.all(answers)) expect([null, '57014']).toContain(code);
      expect(
        await first.wire.rows("SELECT current_setting('app.carried'), current_setting('work_mem'), current_user"),
      ).toEqual([['of the first', '5MB', 'app']]);
      expect(
        await second.wire.rows("SELECT current_setting('app.carried'), current_setting('work_mem'), current_user"),
      ).toEqual([['of the second', '6MB', 'weir']]);
    }
  });
});
