// Who asks, as rules see it: application_name is the one that the server reports, however it was set or taken back, and
// client_ip tells a Unix socket from an address.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { sharedPostgres } from '../support/shared-postgres.ts';
import { readFields } from '../support/transcript.ts';
import { startTestWeir, type TestWeir } from '../support/weir.ts';
import { type LoginOptions, WireClient } from '../support/wire-client.ts';

const postgres = sharedPostgres();

/** Rules by name or address that refuse SELECT; other statements must stay possible, to change the name again. */
const BY_WHO = `
traffic_control:
  rules:
    - { name: no_reports, match: { application_name: [reports], statement: [select] }, action: deny }
    - { name: no_sockets, match: { client_ip: [unix], statement: [select] }, action: deny }
`;
const WITH_NAME: LoginOptions = { parameters: { application_name: 'reports' } };

describe.each(['passthrough', 'trust'] as const)('rules by who asks, with auth %s', (mode) => {
  let weir: TestWeir;
  let folder: string;

  beforeAll(async () => {
    await postgres.query('DROP ROLE IF EXISTS login_as_reports');
    await postgres.query('CREATE ROLE login_as_reports LOGIN');
    await postgres.query("ALTER ROLE login_as_reports SET application_name = 'reports'");
    folder = await mkdtemp(join(tmpdir(), 'weir-identity-'));
    weir = await startTestWeir({
      postgres: { host: postgres.host, port: postgres.primaryPort },
      rules: BY_WHO,
      settings: { auth: { mode }, listen: { unixSocketDirectory: folder } },
    });
  });

  afterAll(async () => {
    await weir.stop();
    await rm(folder, { recursive: true });
  });

  /** Whether a SELECT is refused with 42501 now. */
  async function isRefused(client: WireClient): Promise<boolean> {
    const [first] = await client.query('SELECT 1');
    if (first?.type !== 'E') return false;
    expect(readFields(first.body)).toMatchObject({ C: '42501' });
    return true;
  }

  test.each<[string, LoginOptions]>([
    ['application_name at startup', WITH_NAME],
    ['the options at startup', { parameters: { options: '-c application_name=reports' } }],
    ['the role`s own setting', { user: 'login_as_reports' }],
  ])('application_name by %s counts until it is changed', async (_name, options) => {
    const client = await WireClient.login(weir, options);
    expect(await isRefused(client)).toBe(true);
    await client.query("SET application_name = 'dashboards'");
    expect(await isRefused(client)).toBe(false);
    await client.query('RESET application_name');
    expect(await isRefused(client)).toBe(true);
    await client.end();
  });

  test('a name that only looks alike, or none, does not count', async () => {
    for (const name of ['', 'report', 'reports2', 'x reports']) {
      const client = await WireClient.login(weir, { parameters: { application_name: name } });
      expect(await isRefused(client)).toBe(false);
      await client.end();
    }
  });

  test.each([
    ['SET', "SET application_name = 'reports'"],
    ['set_config', "SELECT set_config('application_name', 'reports', false)"],
    ['DO', "DO $$ BEGIN PERFORM set_config('application_name', 'reports', false); END $$"],
    ['a committed transaction', "BEGIN; SET application_name = 'reports'; COMMIT"],
  ])('application_name by %s counts from then on', async (_name, sql) => {
    const client = await WireClient.login(weir);
    expect(await isRefused(client)).toBe(false);
    await client.query(sql);
    expect(client.parameters.get('application_name')).toBe('reports');
    expect(await isRefused(client)).toBe(true);
    await client.query('DISCARD ALL');
    expect(await isRefused(client)).toBe(false);
    await client.end();
  });

  test.each([
    ['SET LOCAL', "SET LOCAL application_name = 'reports'"],
    ['SET', "SET application_name = 'reports'"],
    ['set_config', "SELECT set_config('application_name', 'reports', true)"],
  ])('application_name by %s counts until the transaction is rolled back', async (_name, sql) => {
    const client = await WireClient.login(weir);
    await client.query('BEGIN');
    await client.query(sql);
    expect(await isRefused(client)).toBe(true);
    await client.query('ROLLBACK');
    expect(await isRefused(client)).toBe(false);
    await client.end();
  });

  test('the name is the one that the server reports, not the one that was sent', async () => {
    const client = await WireClient.login(weir, { parameters: { application_name: 'na\u00efve' } });
    expect(client.parameters.get('application_name')).toBe('na\\xc3\\xafve');
    expect(weir.control.sessions().map(({ applicationName }) => applicationName)).toEqual(['na\\xc3\\xafve']);
    await client.end();
  });

  test('client_ip of a client on the Unix socket is `unix`, of one on TCP its address', async () => {
    const near = await WireClient.login({ host: folder, port: weir.port });
    expect(await isRefused(near)).toBe(true);
    const far = await WireClient.login({ ...weir, localAddress: '127.0.7.1' });
    expect(await isRefused(far)).toBe(false);
    expect(weir.control.sessions().map(({ clientIp, clientPort }) => [clientIp, clientPort === null])).toEqual([
      ['unix', true],
      ['127.0.7.1', false],
    ]);
    await Promise.all([near.end(), far.end()]);
  });
});
