// Server connections that die under a crowd: by kill -9, by pg_terminate_backend, by a restart of the server. Who ran something
// on one of them gets one error; who did not, notices nothing and has all its settings.

import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { waitFor, withDeadline } from '../support/deadline.ts';
import * as frontend from '../support/frontend-messages.ts';
import { startPostgres, type TestPostgres } from '../support/postgres.ts';
import { readFields } from '../support/transcript.ts';
import { startTestWeir, type TestWeir } from '../support/weir.ts';
import { ConnectionEnded, WireClient } from '../support/wire-client.ts';

const SIZE = 6;
const WORKERS = 24;
const IDLERS = 12;
/** What a client may be told when its server connection dies: by the server itself, or by pgweir where that said nothing. */
const LOST = ['57P01', '57P02', '57P03', '08006', '08001', '08004'];

interface Worker {
  readonly done: number;
  /** SQLSTATEs, one list for each connection that was lost. */
  readonly losses: readonly (readonly string[])[];
}

let postgres: TestPostgres;
let weir: TestWeir;
let idlers: WireClient[];

beforeEach(async () => {
  postgres = await startPostgres();
  weir = await startTestWeir({
    postgres,
    settings: { pool: { mode: 'transaction', size: SIZE, loginRetryMs: 100 } },
  });
  idlers = [];
  for (let index = 0; index < IDLERS; index++) {
    const idler = await WireClient.login(weir);
    await idler.rows(`SET app.idler = 'number ${index}'; SET work_mem = '${1_000 + index}kB'`);
    idlers.push(idler);
  }
});

afterEach(async () => {
  for (const idler of idlers) idler.destroy();
  try {
    await weir.stop();
  } finally {
    await postgres.stop();
  }
});

/** Short statements one after another; who loses its connection logs in again, as long as it takes. */
async function work(isOver: () => boolean, log: { done: number; losses: string[][] }): Promise<void> {
  while (!isOver()) {
    const client = await WireClient.login(weir, {}, 20_000).catch(() => null);
    if (client === null) {
      await sleep(50);
      continue;
    }
    const seen: string[] = [];
    try {
      while (!isOver()) {
        client.send(frontend.query('SELECT pg_sleep(0.02)'));
        for (;;) {
          const message = await client.readMessage();
          if (message.type === 'E') seen.push(readFields(message.body).C ?? '');
          if (message.type === 'Z') break;
        }
        if (seen.length > 0) {
          log.losses.push(seen.splice(0));
        } else log.done++;
      }
      await client.end();
    } catch (error) {
      client.destroy();
      if (!(error instanceof ConnectionEnded)) throw error;
      log.losses.push(seen);
    }
  }
}

/** A crowd at work, `disturb` in the middle of it, and some more work after that. */
async function runWith(disturb: () => Promise<void>): Promise<Worker> {
  const log = { done: 0, losses: [] as string[][] };
  let isOver = false;
  const crowd = Promise.all(Array.from({ length: WORKERS }, () => work(() => isOver, log)));
  crowd.catch(() => undefined);
  const reach = (count: number): Promise<unknown> =>
    waitFor(
      () => log.done >= count,
      30_000,
      () => `the crowd stands still after ${log.done} statements: ${JSON.stringify(weir.control.pools())}`,
    );
  try {
    await reach(100);
    await disturb();
    await reach(log.done + 200);
  } finally {
    isOver = true;
  }
  await withDeadline(crowd, 20_000, () => `the crowd does not end: ${JSON.stringify(weir.control.pools())}`);
  return log;
}

async function backendPids(): Promise<readonly number[]> {
  const { rows } = await postgres.query(
    "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND application_name <> 'test support' ORDER BY pid",
  );
  return rows.map(({ pid }) => Number(pid));
}

async function expectIdlersUnharmed(): Promise<void> {
  for (const [index, idler] of idlers.entries()) {
    expect(await idler.rows("SELECT current_setting('app.idler'), current_setting('work_mem')")).toEqual([
      [`number ${index}`, `${1_000 + index}kB`],
    ]);
  }
  await waitFor(
    () => weir.control.pools().every(({ held, acquires, releases }) => acquires === releases + held && held === 0),
    5_000,
    () => `the ledger: ${JSON.stringify(weir.control.pools())}`,
  );
}

test('pg_terminate_backend of some connections costs those who ran on them one error each', async () => {
  const { losses } = await runWith(async () => {
    const doomed = (await backendPids()).slice(0, 3);
    for (const pid of doomed) await postgres.query('SELECT pg_terminate_backend($1)', [pid]);
  });
  console.log(`terminated: ${JSON.stringify(losses)}`);
  expect(losses.length).toBeLessThanOrEqual(3);
  for (const codes of losses) expect(codes).toEqual(['57P01']);
  await expectIdlersUnharmed();
}, 90_000);

test('connections that die while nobody runs on them are missed by nobody', async () => {
  // What a client set just now is asked for a moment later; until then the connection's death is the session's.
  await waitFor(
    () => weir.control.pools().every(({ held }) => held === 0),
    5_000,
    () => 'nobody asks what the clients have left',
  );
  await postgres.query(
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'client backend' AND application_name <> 'test support'",
  );
  await expectIdlersUnharmed();
}, 60_000);

test('kill -9 of a server process costs those in flight one error each', async () => {
  const { losses } = await runWith(async () => {
    const [pid] = await backendPids();
    if (pid === undefined) throw new Error('there is no server process');
    process.kill(pid, 'SIGKILL');
  });
  console.log(`killed: ${JSON.stringify(losses)}`);
  expect(losses.length).toBeGreaterThan(0);
  for (const codes of losses) {
    expect(codes).toHaveLength(1);
    expect(LOST).toContain(codes[0]);
  }
  await expectIdlersUnharmed();
}, 90_000);

test('a restart of the server costs those in flight one error each', async () => {
  const { losses } = await runWith(async () => {
    await postgres.shutDown('fast');
    await postgres.boot();
  });
  console.log(`restarted: ${JSON.stringify(losses)}`);
  expect(losses.length).toBeGreaterThan(0);
  for (const codes of losses) {
    expect(codes).toHaveLength(1);
    expect(LOST).toContain(codes[0]);
  }
  await expectIdlersUnharmed();
}, 90_000);
