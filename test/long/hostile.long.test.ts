// Clients that have not proved who they are and claim that a gigabyte is coming: what is kept of them is what they have sent,
// within what a startup packet may hold, whatever they claim.

import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { waitFor } from '../support/deadline.ts';
import * as frontend from '../support/frontend-messages.ts';
import { ROLES } from '../support/postgres.ts';
import { sharedPostgres } from '../support/shared-postgres.ts';
import { type SpawnedWeir, spawnWeir } from '../support/weir.ts';
import { WireClient } from '../support/wire-client.ts';

const CONNECTIONS = 1_000;
const MEGABYTE = 1 << 20;
const postgres = sharedPostgres();
let weir: SpawnedWeir;

beforeAll(async () => {
  weir = await spawnWeir({ postgres, configuration: { auth: { mode: 'passthrough' } } });
});

afterAll(() => weir.stop());

async function expectService(): Promise<void> {
  const client = await WireClient.login(weir);
  expect(await client.rows('SELECT 1')).toEqual([['1']]);
  await client.end();
}

/** Resident bytes that it took to have those clients, at the most. */
async function measure(provoke: () => Promise<readonly WireClient[]>): Promise<number> {
  await expectService();
  const before = weir.residentBytes();
  const clients = await provoke();
  await sleep(300);
  const grown = weir.residentBytes() - before;
  await expectService();
  for (const client of clients) client.destroy();
  return grown;
}

const inWaves = async (count: number, size: number, act: () => Promise<WireClient>): Promise<WireClient[]> => {
  const clients: WireClient[] = [];
  while (clients.length < count) clients.push(...(await Promise.all(Array.from({ length: size }, act))));
  return clients;
};

describe(`${CONNECTIONS} clients at once that are not logged in`, () => {
  test('and claim a startup packet of a gigabyte are gone at once', async () => {
    const clients: WireClient[] = [];
    const grown = await measure(async () => {
      clients.push(
        ...(await inWaves(CONNECTIONS, 50, async () => {
          const client = await WireClient.connect(weir);
          client.send(frontend.int32(1 << 30), Buffer.alloc(4_096));
          return client;
        })),
      );
      for (const client of clients) {
        await client.readUntilEnd();
        expect(client.received()).toHaveLength(0);
      }
      return clients;
    });
    console.log(`a gigabyte claimed ${CONNECTIONS} times: ${Math.round(grown / CONNECTIONS)} bytes each`);
    expect(grown / CONNECTIONS).toBeLessThan(MEGABYTE / 16);
  }, 120_000);

  test('and send all but the last byte of the longest startup packet cost little more than those bytes', async () => {
    const packet = frontend.int32(10_004);
    const grown = await measure(() =>
      inWaves(CONNECTIONS, 50, async () => {
        const client = await WireClient.connect(weir);
        client.send(packet, Buffer.alloc(9_999, 0x41));
        return client;
      }),
    );
    console.log(`10,003 bytes sent ${CONNECTIONS} times: ${Math.round(grown / CONNECTIONS)} bytes each`);
    expect(grown / CONNECTIONS).toBeLessThan(MEGABYTE / 8);
  }, 120_000);

  test('and claim a password of a gigabyte hear what the server says to that, and cost nothing that lasts', async () => {
    const { user } = ROLES.plain;
    const grown = await measure(async () => {
      // In waves that the server has room for.
      await inWaves(CONNECTIONS, 20, async () => {
        const client = await WireClient.connect(weir);
        client.send(frontend.startupMessage({ user, database: postgres.database }));
        expect((await client.readMessage()).type).toBe('R');
        client.send(frontend.messageWithLength('p', 1 << 30, Buffer.alloc(4_096)));
        await client.readUntilEnd();
        client.destroy();
        return client;
      });
      return [];
    });
    console.log(`a password of a gigabyte ${CONNECTIONS} times: ${Math.round(grown / CONNECTIONS)} bytes each`);
    expect(grown / CONNECTIONS).toBeLessThan(MEGABYTE / 16);
    await waitFor(
      async () => !/^pgweir_client_connections\{/m.test(await (await fetch(`${weir.adminUrl}/metrics`)).text()),
      10_000,
      () => 'clients are left',
    );
  }, 120_000);
});
