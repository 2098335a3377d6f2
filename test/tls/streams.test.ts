// What does not fit in memory flows through TLS on both sides as it does without: pgweir's memory does not follow it, and
// bytes arrive as they were sent.

import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { setTimeout } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { bindLong, copyBothWays, floodBothWays, MEGABYTE, readOneRow, readSlowly } from '../relay/stream-loads.ts';
import { CertificateFolder } from '../support/certificate-folder.ts';
import { startPostgres, type TestPostgres } from '../support/postgres.ts';
import type { ClientTls } from '../support/tls-client.ts';
import { type SpawnedWeir, spawnWeir } from '../support/weir.ts';
import { WireClient } from '../support/wire-client.ts';

const MAX_GROWTH_BYTES = 64 * MEGABYTE;
const folder = new CertificateFolder();
let postgres: TestPostgres;

beforeAll(async () => {
  postgres = await startPostgres(folder.postgresTls());
}, 60_000);

afterAll(async () => {
  await postgres.stop();
  folder.remove();
});

describe('before a login', () => {
  const CLIENTS = 200;
  /** The start of a ClientHello that claims to be as long as can be. */
  const endlessHello = Buffer.alloc(16_389);
  endlessHello.set([0x16, 3, 1, 0x40, 0, 1, 0, 0xff, 0xff]);

  test('a client takes no more memory than its handshake needs, however long it claims to be', async () => {
    const weir = await spawnWeir({
      postgres,
      configuration: {
        listen: {
          tls: {
            mode: 'require',
            certificate_file: `${folder.path}/server.crt`,
            key_file: `${folder.path}/server.key`,
          },
        },
      },
    });
    const sockets: Socket[] = [];
    try {
      (await WireClient.login({ host: weir.host, port: weir.port, tls: { negotiation: 'require' } })).destroy();
      const before = weir.residentBytes();
      for (let count = 0; count < CLIENTS; count++) {
        const socket = connect(weir.port, weir.host);
        sockets.push(socket);
        await once(socket, 'connect');
        socket.write(endlessHello);
      }
      await setTimeout(500);
      expect((weir.residentBytes() - before) / CLIENTS).toBeLessThan(300_000);
    } finally {
      for (const socket of sockets) socket.destroy();
      await weir.stop();
    }
  });
});

describe.each([
  ['on both sides', true, true],
  ['with clients only', true, false],
  ['with the server only', false, true],
])('with TLS %s, memory does not follow what flows by', (_where, isDoor, isWay) => {
  let spawned: SpawnedWeir;
  let weir: SpawnedWeir & { tls?: ClientTls };

  beforeAll(async () => {
    spawned = await spawnWeir({
      postgres,
      configuration: {
        listen: {
          tls: {
            mode: isDoor ? 'require' : 'disable',
            certificate_file: `${folder.path}/server.crt`,
            key_file: `${folder.path}/server.key`,
          },
        },
        targets: { tls: { mode: isWay ? 'require' : 'disable' } },
      },
    });
    weir = isDoor ? { ...spawned, tls: { negotiation: 'require' } } : spawned;
    // What TLS itself needs once is not growth.
    await readOneRow(weir, 5 * MEGABYTE);
  });

  afterAll(() => spawned.stop());

  test('of a result that its client reads slowly', async () => {
    const { bytes, grownBytes, elapsedMs } = await readSlowly(weir, 60 * MEGABYTE, 30 * MEGABYTE);
    expect(bytes).toBeGreaterThan(60 * MEGABYTE);
    expect(elapsedMs).toBeGreaterThan(1_000);
    expect(grownBytes).toBeLessThan(MAX_GROWTH_BYTES);
  });

  // Of messages that long once is enough: with TLS on both sides every part takes part.
  const testBoth = isDoor && isWay ? test : null;

  testBoth?.('of one row', async () => {
    const { bytes, grownBytes } = await readOneRow(weir, 100 * MEGABYTE);
    expect(bytes).toBeGreaterThan(100 * MEGABYTE);
    expect(grownBytes).toBeLessThan(MAX_GROWTH_BYTES);
  });

  testBoth?.('of one parameter', async () => {
    const { length, grownBytes } = await bindLong(weir, 100 * MEGABYTE);
    expect(length).toBe(100 * MEGABYTE);
    expect(grownBytes).toBeLessThan(MAX_GROWTH_BYTES);
  });

  testBoth?.('of COPY in and out, which are equal byte by byte', async () => {
    const { sent, received, grownBytes } = await copyBothWays(weir, 'copied_tls', 20 * MEGABYTE);
    expect(received).toBe(sent);
    expect(grownBytes).toBeLessThan(MAX_GROWTH_BYTES);
  });

  test('of both directions flooded at once, which come to an end', async () => {
    const { bytes, grownBytes } = await floodBothWays(weir, 300);
    expect(bytes).toBeGreaterThan(30 * MEGABYTE);
    expect(grownBytes).toBeLessThan(MAX_GROWTH_BYTES);
  });
});
