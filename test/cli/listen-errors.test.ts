// serve where it cannot listen: one line that names the setting, and 1.

import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startWeir } from '../../src/app.ts';
import { HandIo, run } from './hand-io.ts';

let folder = '';
let neighbour: Server;
let takenPort = 0;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'pgweir-listen-'));
  neighbour = createServer();
  await new Promise<void>((resolve) => neighbour.listen(0, '127.0.0.1', resolve));
  const address = neighbour.address();
  takenPort = typeof address === 'object' && address !== null ? address.port : 0;
});
afterAll(() => {
  neighbour.close();
  rmSync(folder, { recursive: true, force: true });
});

/** Each port one that is free, but for what `given` says. */
async function serve(given: Readonly<Record<string, string | number>>) {
  const settings = { 'listen.port': 0, 'health.port': 0, 'admin.port': 0, 'log.level': 'silent', ...given };
  const flags = Object.entries(settings).flatMap(([path, value]) => ['--set', `${path}=${value}`]);
  const { code, err } = await run(['serve', ...flags], new HandIo(), startWeir);
  return { code, lines: err.trimEnd().split('\n') };
}

test.each(['listen', 'health', 'admin'])('a taken port of %s', async (section) => {
  expect(await serve({ [`${section}.port`]: takenPort })).toEqual({
    code: 1,
    lines: [expect.stringMatching(new RegExp(`^pgweir: ${section}\\.port: .*EADDRINUSE.*:${takenPort}`))],
  });
});

test('a host that does not resolve', async () => {
  expect(await serve({ 'listen.host': 'nowhere.invalid' })).toEqual({
    code: 1,
    lines: [expect.stringMatching(/^pgweir: listen\.host: .*nowhere\.invalid/)],
  });
});

test('a Unix socket on which another process listens, which goes on listening', async () => {
  const free = createServer();
  await new Promise<void>((resolve) => free.listen(0, '127.0.0.1', resolve));
  const address = free.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  await new Promise((resolve) => free.close(resolve));
  const path = join(folder, `.s.PGSQL.${port}`);
  const other = createServer();
  await new Promise<void>((resolve) => other.listen(path, resolve));
  expect(await serve({ 'listen.port': port, 'listen.unix_socket_directory': folder })).toEqual({
    code: 1,
    lines: [`pgweir: listen.unix_socket_directory: another process listens on ${path}`],
  });
  expect(other.listening).toBe(true);
  await new Promise((resolve) => other.close(resolve));
});

test('a folder for the Unix socket that does not exist', async () => {
  const missing = join(folder, 'missing');
  expect(await serve({ 'listen.unix_socket_directory': missing })).toEqual({
    code: 1,
    lines: [expect.stringMatching(/^pgweir: listen\.unix_socket_directory: ENOENT: .*missing/)],
  });
});
