// The admin token's file under a running pgweir: a new token counts, a bad file does not.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { silentLog } from '../../src/base/log.ts';
import { loadSettings } from '../../src/config/load.ts';
import { TokenKeeper } from '../../src/config/token-keeper.ts';

let folder = '';
let keeper: TokenKeeper | null = null;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'pgweir-token-'));
});
afterEach(() => {
  keeper?.stop();
  rmSync(folder, { recursive: true, force: true });
});

function keep(): { keeper: TokenKeeper; file: string; complaints: unknown[] } {
  const file = join(folder, 'token');
  writeFileSync(file, 'first-token-of-them-all\n');
  const settings = loadSettings({ overrides: { 'admin.token_file': file } });
  const complaints: unknown[] = [];
  keeper = new TokenKeeper(settings, { ...silentLog, error: ({ reason }) => complaints.push(reason) });
  keeper.start();
  return { keeper, file, complaints };
}

test('a changed file brings a new token without a signal', async () => {
  const { keeper, file } = keep();
  expect(keeper.token).toBe('first-token-of-them-all');
  writeFileSync(file, 'second-token-of-them-all\n');
  await vi.waitFor(() => expect(keeper.token).toBe('second-token-of-them-all'), 8000);
});

test('a token that is too short or has blanks and a file that is gone leave the old one, and say so', async () => {
  const { keeper, file, complaints } = keep();
  writeFileSync(file, 'short\n');
  await keeper.reload();
  expect(keeper.token).toBe('first-token-of-them-all');
  writeFileSync(file, 'second token of them all\n');
  await keeper.reload();
  rmSync(file);
  await keeper.reload();
  expect(keeper.token).toBe('first-token-of-them-all');
  // Where the change of the file is noticed before the reload, both say so.
  expect([...new Set(complaints)]).toEqual([
    'it has fewer than 16 characters',
    'it has blanks or other characters than those of ASCII',
    expect.stringContaining('ENOENT'),
  ]);
});

test('each reload says again that the file is gone', async () => {
  const { keeper, file, complaints } = keep();
  rmSync(file);
  await keeper.reload();
  await keeper.reload();
  expect(complaints).toEqual(Array(2).fill(expect.stringContaining('ENOENT')));
});

test('without a token there is none to read again', async () => {
  const keeper = new TokenKeeper(loadSettings({}), silentLog);
  await keeper.reload();
  expect(keeper.token).toBeNull();
});
