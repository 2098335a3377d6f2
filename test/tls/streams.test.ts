// What does not fit in memory flows through TLS on both sides as it does without: pgweir's memory does not follow it, and
// bytes arrive as they were sent.

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { bindLong, copyBothWays, floodBothWays, MEGABYTE, readOneRow, readSlowly } from '../relay/stream-loads.ts';
import { CertificateFolder } from '../support/certificate-folder.ts';
import { startPostgres, type TestPostgres } from '../support/postgres.ts';
import type { ClientTls } from '../support/tls-client.ts';
import { type SpawnedWeir, spawnWeir } from '../support/weir.ts';

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
