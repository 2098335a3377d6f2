// What a server says while it lets a client in, such as the NOTICE of a login event trigger, reaches the client in
// both ways of logging in.

import { afterAll, beforeAll, expect, test } from 'vitest';
import * as frontend from '../support/frontend-messages.ts';
import { ROLES } from '../support/postgres.ts';
import { sharedPostgres } from '../support/shared-postgres.ts';
import { transcribe } from '../support/transcript.ts';
import { type SettingsOverrides, startTestWeir } from '../support/weir.ts';
import { WireClient } from '../support/wire-client.ts';
import { describeFully } from './differential.ts';

const postgres = sharedPostgres();
const DATABASE = 'with_login_trigger';

async function startupNotices(address: { host: string; port: number }, database: string): Promise<string[]> {
  const client = await WireClient.connect(address);
  const lines = transcribe(await client.startup({ database }));
  await client.end();
  return lines.filter((line) => /^(NoticeResponse|ReadyForQuery|BackendKeyData)/.test(line));
}

beforeAll(async () => {
  await postgres.query(`DROP DATABASE IF EXISTS ${DATABASE}`);
  await postgres.query(`CREATE DATABASE ${DATABASE}`);
  const client = await WireClient.login({ host: postgres.host, port: postgres.primaryPort }, { database: DATABASE });
  await client.rows(`CREATE FUNCTION greet() RETURNS event_trigger LANGUAGE plpgsql AS
    'BEGIN RAISE NOTICE ''welcome'' USING HINT = ''and stay'';
     IF session_user = ''${ROLES.application.user}'' THEN RAISE EXCEPTION ''not you''; END IF; END'`);
  await client.rows('CREATE EVENT TRIGGER greet ON login EXECUTE FUNCTION greet()');
  await client.end();
});

afterAll(() => postgres.query(`DROP DATABASE ${DATABASE} WITH (FORCE)`));

test.each(['trust', 'passthrough'] as const)('with auth %s the notice of a login is the server`s own', async (mode) => {
  const weir = await startTestWeir({ postgres, settings: { auth: { mode } } });
  try {
    const direct = await startupNotices({ host: postgres.host, port: postgres.primaryPort }, DATABASE);
    expect(direct).toHaveLength(3);
    expect(await startupNotices(weir, DATABASE)).toEqual(direct);
    expect(await startupNotices(weir, postgres.database)).toEqual(direct.filter((line) => !line.startsWith('Notice')));
  } finally {
    await weir.stop();
  }
});

test.each<[string, SettingsOverrides]>([
  ['passthrough', { auth: { mode: 'passthrough' } }],
  ['trust', {}],
  ['trust, in pools', { pool: { mode: 'transaction' } }],
])('with auth %s a login that the server refuses hears all that the server says before', async (_what, settings) => {
  const turnAway = async (address: { host: string; port: number }): Promise<string[]> => {
    const client = await WireClient.connect(address);
    client.send(frontend.startupMessage({ user: ROLES.application.user, database: DATABASE }));
    return describeFully(await client.readUntilEnd(), []);
  };
  const direct = await turnAway({ host: postgres.host, port: postgres.primaryPort });
  expect(direct.filter((line) => /welcome|not you/.test(line))).toHaveLength(2);
  const weir = await startTestWeir({ postgres, settings });
  try {
    expect(await turnAway(weir)).toEqual(direct);
  } finally {
    await weir.stop();
  }
});
