import { afterEach, describe, expect, test } from 'vitest';
import * as frontend from './frontend-messages.ts';
import { sharedPostgres } from './shared-postgres.ts';
import { transcribe } from './transcript.ts';
import { type SpawnedWeir, spawnWeir, startTestWeir, type TestWeir } from './weir.ts';
import { WireClient } from './wire-client.ts';

const DENY_LITERAL_7 = `
traffic_control:
  rules:
    - { name: no_seven, match: { query_regex: '\\b7\\b' }, action: deny, message: seven is not allowed }
`;

const shared = sharedPostgres();

describe('a proxy in this process', () => {
  let weir: TestWeir;
  afterEach(() => weir.stop());

  test('answers as the server does, and refuses what its rules deny', async () => {
    weir = await startTestWeir({ postgres: shared, rules: DENY_LITERAL_7 });
    const client = await WireClient.login(weir);
    expect(await client.rows('SELECT 6')).toEqual([['6']]);
    await expect(client.rows('SELECT 7')).rejects.toMatchObject({ code: '42501', message: 'seven is not allowed' });
    client.send(frontend.extendedQuery('SELECT 6'), frontend.sync());
    expect(transcribe(await client.readUntilReady())).toContain('DataRow ["6"]');
    await client.end();
  });

  test('takes settings that differ from the usual ones', async () => {
    weir = await startTestWeir({ postgres: shared, settings: { limits: { maxClients: 1 } } });
    const client = await WireClient.login(weir);
    await expect(WireClient.login(weir)).rejects.toMatchObject({ code: '53300' });
    await client.end();
  });
});

describe('a proxy as a child process', () => {
  let weir: SpawnedWeir | null = null;
  afterEach(() => weir?.stop());

  test('serves, tells its memory, and ends 0 on SIGTERM', async () => {
    weir = await spawnWeir({ postgres: shared, rules: DENY_LITERAL_7 });
    const client = await WireClient.login(weir);
    await expect(client.rows('SELECT 7')).rejects.toMatchObject({ code: '42501' });
    await client.end();
    expect(weir.residentBytes()).toBeGreaterThan(20e6);
    weir.signal('SIGTERM');
    expect(await weir.exit()).toBe(0);
  });

  test('that ends at its start says why', async () => {
    await expect(
      spawnWeir({ postgres: shared, rules: 'traffic_control: { rules: [ { name: x, action: dance } ] }' }),
    ).rejects.toThrow(/pgweir ended at its start: 1[\s\S]*dance|pgweir ended at its start: 1[\s\S]*action/);
  });
});
