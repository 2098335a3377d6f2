// A changed rule file is found in every way that it can change, and an unchanged one is not news.

import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { FileWatcher } from '../../src/config/watch.ts';
import { findServerAccount } from '../support/native-binaries.ts';

let folder = '';
let watcher: FileWatcher | null = null;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'pgweir-watch-'));
});
afterEach(() => {
  watcher?.stop();
  rmSync(folder, { recursive: true, force: true });
});

function watchFile(file: string, knownText: string, pollMs = 60_000): { texts: string[]; errors: string[] } {
  const texts: string[] = [];
  const errors: string[] = [];
  watcher = new FileWatcher({
    file,
    knownText,
    onText: (text) => texts.push(text),
    onError: (message) => errors.push(message),
    debounceMs: 20,
    pollMs,
  });
  watcher.start();
  return { texts, errors };
}

const soon = { timeout: 5000, interval: 10 };

test('a file that is written again is handed over once, the same content never', async () => {
  const file = join(folder, 'rules.yaml');
  writeFileSync(file, 'one');
  const { texts } = watchFile(file, 'one');
  writeFileSync(file, 'one');
  writeFileSync(join(folder, 'neighbour'), 'x');
  await delay(150);
  expect(texts).toEqual([]);
  writeFileSync(file, 'two');
  await vi.waitFor(() => expect(texts).toEqual(['two']), soon);
});

test("a ConfigMap's symlink swap is seen, twice in a row", async () => {
  const publish = (version: string, text: string): void => {
    mkdirSync(join(folder, version));
    writeFileSync(join(folder, version, 'rules.yaml'), text);
    symlinkSync(version, join(folder, '..data_tmp'));
    renameSync(join(folder, '..data_tmp'), join(folder, '..data'));
  };
  publish('..v1', 'one');
  symlinkSync('..data/rules.yaml', join(folder, 'rules.yaml'));
  const { texts, errors } = watchFile(join(folder, 'rules.yaml'), 'one');
  publish('..v2', 'two');
  await vi.waitFor(() => expect(texts).toEqual(['two']), soon);
  publish('..v3', 'three');
  rmSync(join(folder, '..v2'), { recursive: true });
  await vi.waitFor(() => expect(texts).toEqual(['two', 'three']), soon);
  expect(errors).toEqual([]);
});

test('the poll finds what no event told: a file behind a link out of the folder', async () => {
  mkdirSync(join(folder, 'watched'));
  writeFileSync(join(folder, 'elsewhere.yaml'), 'one');
  symlinkSync('../elsewhere.yaml', join(folder, 'watched', 'rules.yaml'));
  const { texts } = watchFile(join(folder, 'watched', 'rules.yaml'), 'one', 50);
  writeFileSync(join(folder, 'elsewhere.yaml'), 'two');
  await vi.waitFor(() => expect(texts).toEqual(['two']), soon);
});

test('where the folder cannot be watched the poll does it all, and nothing is told as if the file could not be read', async () => {
  const file = join(folder, 'rules.yaml');
  writeFileSync(file, 'one');
  // Files in it can be read by name, but a watch needs to read the folder (inotify_add_watch(2)); root may do both.
  chmodSync(folder, 0o311);
  const account = await findServerAccount();
  if (account !== null) process.seteuid?.(account.uid);
  try {
    expect(() => readdirSync(folder)).toThrow('EACCES');
    const { texts, errors } = watchFile(file, 'none yet', 20);
    await vi.waitFor(() => expect(texts).toEqual(['one']), soon);
    await delay(100);
    expect(errors).toEqual([]);
  } finally {
    if (account !== null) process.seteuid?.(0);
    chmodSync(folder, 0o700);
  }
});

test('a file that goes missing is told once and is picked up when it is back', async () => {
  const file = join(folder, 'rules.yaml');
  writeFileSync(file, 'one');
  const { texts, errors } = watchFile(file, 'one', 30);
  rmSync(file);
  await vi.waitFor(() => expect(errors).toHaveLength(1), soon);
  await delay(150);
  expect(errors).toHaveLength(1);
  writeFileSync(file, 'two');
  await vi.waitFor(() => expect(texts).toEqual(['two']), soon);
});

test('a forced check hands over the known text too, an unforced one does not', async () => {
  const file = join(folder, 'rules.yaml');
  writeFileSync(file, 'one');
  const { texts } = watchFile(file, 'one');
  await watcher?.check();
  expect(texts).toEqual([]);
  await watcher?.check(true);
  expect(texts).toEqual(['one']);
});

test('after stop nothing is handed over', async () => {
  const file = join(folder, 'rules.yaml');
  writeFileSync(file, 'one');
  const { texts } = watchFile(file, 'one', 20);
  watcher?.stop();
  writeFileSync(file, 'two');
  await delay(150);
  await watcher?.check(true);
  expect(texts).toEqual([]);
});

test('a receiver that throws does not end the watch', async () => {
  const file = join(folder, 'rules.yaml');
  writeFileSync(file, 'one');
  const seen: string[] = [];
  const errors: string[] = [];
  watcher = new FileWatcher({
    file,
    knownText: 'one',
    onText: (text) => {
      seen.push(text);
      if (text === 'bad') throw new Error('no good');
    },
    onError: (message) => errors.push(message),
  });
  writeFileSync(file, 'bad');
  await watcher.check();
  writeFileSync(file, 'good');
  await watcher.check();
  expect([seen, errors]).toEqual([['bad', 'good'], ['no good']]);
});
