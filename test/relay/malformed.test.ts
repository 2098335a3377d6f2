// Malformed frames in every state: the same words and the same end as by the bare server, whatever stood before them.

import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { waitFor } from '../support/deadline.ts';
import { ROLES } from '../support/postgres.ts';
import { sharedPostgres } from '../support/shared-postgres.ts';
import { startTestWeir, type TestWeir } from '../support/weir.ts';
import { type WireAddress, WireClient } from '../support/wire-client.ts';
import {
  ANSWERS,
  BODIES,
  type Ending,
  FRAMES,
  type Frame,
  GOES_ON,
  HALF_CLOSE,
  provoke,
  provokeLogin,
  STATES,
  type State,
} from './malformed.ts';

const KILL_ALL = `traffic_control: { rules: [{ name: all, match: {}, action: kill_after_ms, timeout_ms: 60000 }] }`;
const postgres = sharedPostgres();
const bare: WireAddress = { host: postgres.host, port: postgres.primaryPort };
let weirs: readonly TestWeir[];
let bystanders: readonly WireClient[];

beforeAll(async () => {
  await postgres.query('DROP TABLE IF EXISTS malformed; CREATE TABLE malformed (a int)');
  weirs = [
    await startTestWeir({ postgres }),
    await startTestWeir({ postgres, settings: { auth: { mode: 'passthrough' } } }),
    await startTestWeir({ postgres, rules: KILL_ALL }),
  ];
  bystanders = await Promise.all(weirs.map((weir) => WireClient.login(weir)));
});

afterEach(async () => {
  for (const bystander of bystanders) expect(await bystander.rows('SELECT 1')).toEqual([['1']]);
  for (const weir of weirs) {
    await waitFor(
      () => weir.control.counters.currentClients === 1,
      5_000,
      () => `${weir.control.counters.currentClients} clients are left`,
    );
    expect(weir.control.counters.errors.get('XX000')).toBeUndefined();
  }
});

afterAll(async () => {
  for (const bystander of bystanders) await bystander.end();
  for (const weir of weirs) await weir.stop();
});

/** Each frame on the bare server and through the proxies in turn, every second time in pieces; some at a time. */
async function compare(state: State, frames: readonly Frame[], ending: Ending): Promise<void> {
  const turns = [...frames.entries()].filter(([index]) => state.isLong !== true || index % 5 === 0);
  const differences: unknown[] = [];
  const work = async (): Promise<void> => {
    for (let turn = turns.shift(); turn !== undefined; turn = turns.shift()) {
      const [index, frame] = turn;
      const which = (index + STATES.indexOf(state)) % weirs.length;
      const expected = await provoke(bare, state, frame, ending);
      const pieceBytes = index % 2 === 0 ? 3 : undefined;
      const said = await provoke(weirs[which] ?? bare, state, frame, ending, pieceBytes);
      if (JSON.stringify(said) !== JSON.stringify(expected)) {
        const frameAndProxy = `${frame.name}, proxy ${which}, pieces ${pieceBytes}`;
        differences.push({ frameAndProxy, expected: expected.slice(-4), said: said.slice(-4) });
      }
    }
  };
  await Promise.all(Array.from({ length: 4 }, work));
  expect(differences.slice(0, 5)).toEqual([]);
}

describe.each(STATES)('$name', (state) => {
  test('frames that are none get the same words and the same end as by the bare server', async () => {
    await compare(state, FRAMES, HALF_CLOSE);
  });

  test('messages that are wrong inside are answered, and the session goes on or ends, as by the bare server', async () => {
    await compare(state, BODIES, GOES_ON);
  });
});

describe.each([ROLES.plain, ROLES.md5, ROLES.scram])('while $user is asked for a password', ({ user }) => {
  test.each(ANSWERS)('$name gets the same words and the same end as by the bare server', async (answer) => {
    const [, relaying] = weirs;
    if (relaying === undefined) throw new Error('no proxy relays logins');
    expect(await provokeLogin(relaying, user, answer)).toEqual(await provokeLogin(bare, user, answer));
  });
});
