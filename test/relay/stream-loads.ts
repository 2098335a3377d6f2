// Loads that do not fit in a proxy's memory, in sizes that the quick suite and the long one choose: each says how much the
// proxy's resident memory grew over them.

import { createHash, type Hash } from 'node:crypto';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import * as frontend from '../support/frontend-messages.ts';
import type { SpawnedWeir } from '../support/weir.ts';
import { WireClient } from '../support/wire-client.ts';

export const MEGABYTE = 1_000_000;
const DEADLINE_MS = 240_000;

export interface LoadResult {
  readonly bytes: number;
  readonly grownBytes: number;
  readonly elapsedMs: number;
}

/** The highest resident memory over the start, looked at every 50 ms while `act` runs. */
async function watchMemory(weir: SpawnedWeir, act: () => Promise<number>): Promise<LoadResult> {
  const before = weir.residentBytes();
  let highest = before;
  const timer = setInterval(() => {
    highest = Math.max(highest, weir.residentBytes());
  }, 50);
  const startedMs = performance.now();
  try {
    const bytes = await act();
    return { bytes, grownBytes: highest - before, elapsedMs: performance.now() - startedMs };
  } finally {
    clearInterval(timer);
  }
}

/** Takes the socket over from the client, which would keep every byte. `take` sees each chunk. */
function readRaw(client: WireClient, take: (chunk: Buffer) => void): Socket {
  client.socket.removeAllListeners('data');
  client.socket.on('data', take);
  return client.socket;
}

/** ReadyForQuery, idle: the last bytes of an answer. */
const END = Buffer.from([0x5a, 0, 0, 0, 5, 0x49]);

/** Reads until the answer ends; `pace` may wait between chunks. Answers the count of bytes. */
async function readToEnd(
  client: WireClient,
  pace: ((bytes: number) => number) | null,
  hash: Hash | null = null,
): Promise<number> {
  let bytes = 0;
  let tail: Buffer = Buffer.alloc(0);
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  const timer = setTimeout(() => reject(new Error(`no end of the answer after ${bytes} bytes`)), DEADLINE_MS);
  const socket = readRaw(client, (chunk) => {
    bytes += chunk.length;
    hash?.update(chunk);
    tail = Buffer.concat([tail, chunk]).subarray(-END.length);
    if (tail.equals(END)) resolve(bytes);
    const waitMs = pace?.(bytes) ?? 0;
    if (waitMs > 0) {
      socket.pause();
      setTimeout(() => socket.resume(), waitMs);
    }
  });
  socket.on('close', () => reject(new Error(`connection ended after ${bytes} bytes`)));
  return promise.finally(() => clearTimeout(timer));
}

/** A result of so many bytes to a client that reads `bytesPerSecond`. */
export async function readSlowly(weir: SpawnedWeir, bytes: number, bytesPerSecond: number): Promise<LoadResult> {
  const client = await WireClient.login(weir);
  await client.query("SELECT repeat('x', 10000) FROM generate_series(1, 500)");
  return watchMemory(weir, async () => {
    const startedMs = performance.now();
    client.send(frontend.query(`SELECT repeat('x', 10000) FROM generate_series(1, ${Math.ceil(bytes / 10_000)})`));
    return readToEnd(client, (read) => (read / bytesPerSecond) * 1000 - (performance.now() - startedMs));
  }).finally(() => client.destroy());
}

/** One row of so many bytes. */
export async function readOneRow(weir: SpawnedWeir, bytes: number): Promise<LoadResult> {
  const client = await WireClient.login(weir);
  return watchMemory(weir, async () => {
    client.send(frontend.query(`SELECT repeat('x', ${bytes})`));
    return readToEnd(client, null);
  }).finally(() => client.destroy());
}

/** One parameter of so many bytes; the server tells its length. */
export async function bindLong(weir: SpawnedWeir, bytes: number): Promise<LoadResult & { readonly length: number }> {
  const client = await WireClient.login(weir, {}, DEADLINE_MS);
  let length = 0;
  const result = await watchMemory(weir, async () => {
    const value = Buffer.alloc(bytes, 'y');
    client.send(
      frontend.parse('SELECT octet_length($1::text)'),
      frontend.bind({ values: [value] }),
      frontend.execute(),
      frontend.sync(),
    );
    const messages = await client.readUntilReady();
    length = Number(messages.find((message) => message.type === 'D')?.body.toString('latin1', 6));
    return bytes;
  }).finally(() => client.destroy());
  return { ...result, length };
}

/** COPY in of so many bytes of lines, COPY out again; the hashes of what went in and what came out. */
export async function copyBothWays(
  weir: SpawnedWeir,
  table: string,
  bytes: number,
): Promise<LoadResult & { readonly sent: string; readonly received: string }> {
  const client = await WireClient.login(weir, {}, DEADLINE_MS);
  await client.rows(`DROP TABLE IF EXISTS ${table}`);
  await client.rows(`CREATE UNLOGGED TABLE ${table} (line text)`);
  const sent = createHash('sha256');
  const received = createHash('sha256');
  const result = await watchMemory(weir, async () => {
    client.send(frontend.query(`COPY ${table} FROM STDIN`));
    await client.readUntil('G');
    let number = 0;
    for (let done = 0; done < bytes; ) {
      const lines = Buffer.from(Array.from({ length: 600 }, () => `${number++} ${'abcdefghij'.repeat(9)}\n`).join(''));
      sent.update(lines);
      done += lines.length;
      if (!client.socket.write(frontend.copyData(lines))) await once(client.socket, 'drain');
    }
    client.send(frontend.copyDone());
    await client.readUntilReady();
    return bytes;
  });
  client.destroy();
  const reader = await WireClient.login(weir, {}, DEADLINE_MS);
  reader.send(frontend.query(`COPY ${table} TO STDOUT`));
  for (;;) {
    const message = await reader.readMessage();
    if (message.type === 'd') received.update(message.body);
    if (message.type === 'Z') break;
  }
  await reader.rows(`DROP TABLE ${table}`);
  reader.destroy();
  return { ...result, sent: sent.digest('hex'), received: received.digest('hex') };
}

/** So many parameters of 100 KB sent at once and read back at the same time: both directions are full. */
export async function floodBothWays(weir: SpawnedWeir, count: number): Promise<LoadResult> {
  const client = await WireClient.login(weir);
  const value = Buffer.alloc(100_000, 'z');
  client.send(frontend.parse('SELECT $1::text', 'echo'), frontend.sync());
  await client.readUntilReady();
  return watchMemory(weir, async () => {
    let seen = 0;
    const answers = readToEnd(client, (bytes) => {
      seen = bytes;
      return 0;
    });
    const unit = Buffer.concat([frontend.bind({ statement: 'echo', values: [value] }), frontend.execute()]);
    for (let sent = 0; sent < count; sent++) {
      if (!client.socket.write(unit)) await once(client.socket, 'drain');
    }
    client.send(frontend.sync());
    await answers;
    return seen;
  }).finally(() => client.destroy());
}
