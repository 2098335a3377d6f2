// The loads of test/relay/streams.test.ts at their full size, with the figures printed.

import { afterAll, beforeAll, expect, test } from 'vitest';
import { copyBothWays, type LoadResult, MEGABYTE, readOneRow, readSlowly } from '../relay/stream-loads.ts';
import { sharedPostgres } from '../support/shared-postgres.ts';
import { type SpawnedWeir, spawnWeir } from '../support/weir.ts';

const MAX_GROWTH_BYTES = 64 * MEGABYTE;
let weir: SpawnedWeir;

beforeAll(async () => {
  weir = await spawnWeir({ postgres: sharedPostgres() });
});

afterAll(() => weir.stop());

function show(what: string, { bytes, grownBytes, elapsedMs }: LoadResult): void {
  const grown = (grownBytes / MEGABYTE).toFixed(1);
  console.log(
    `${what}: ${(bytes / MEGABYTE).toFixed(0)} MB in ${(elapsedMs / 1000).toFixed(1)} s, memory grew by ${grown} MB`,
  );
}

test('a result of 600 MB to a client that reads 10 MB/s', async () => {
  const result = await readSlowly(weir, 600 * MEGABYTE, 10 * MEGABYTE);
  show('slow reader', result);
  expect(result.bytes).toBeGreaterThan(600 * MEGABYTE);
  expect(result.grownBytes).toBeLessThan(MAX_GROWTH_BYTES);
});

test('one row of 500 MB', async () => {
  const result = await readOneRow(weir, 500 * MEGABYTE);
  show('one row', result);
  expect(result.grownBytes).toBeLessThan(MAX_GROWTH_BYTES);
});

test('COPY of 200 MB in and out', async () => {
  const result = await copyBothWays(weir, 'copied_long', 200 * MEGABYTE);
  show('COPY', result);
  expect(result.received).toBe(result.sent);
  expect(result.grownBytes).toBeLessThan(MAX_GROWTH_BYTES);
});
