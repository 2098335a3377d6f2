// The key behind salts of unknown users: the same after a restart where it can be kept, and never a reason not to start.

import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { createLog } from '../../src/base/log.ts';
import { keepMockKey } from '../../src/config/mock-key.ts';
import type { Settings } from '../../src/config/settings.ts';
import { makeTestSettings } from '../support/weir.ts';

const folder = mkdtempSync(join(tmpdir(), 'weir-mock-key-'));
const logged: string[] = [];
const log = createLog('debug', { write: (line) => logged.push(line) });

afterAll(() => rmSync(folder, { recursive: true, force: true }));

function settingsFor(stateDirectory: string | null, mode: Settings['auth']['mode'] = 'scram'): Settings {
  return { ...makeTestSettings({ host: '127.0.0.1', port: 1 }, undefined, { auth: { mode } }), stateDirectory };
}

test('it is kept for its owner alone, and found again', () => {
  const place = join(folder, 'state');
  const key = keepMockKey(settingsFor(place), log);
  expect(key).toHaveLength(32);
  expect(keepMockKey(settingsFor(place, 'md5'), log)).toEqual(key);
  expect(statSync(join(place, 'mock-key')).mode & 0o777).toBe(0o600);
  expect(readFileSync(join(place, 'mock-key'))).toEqual(key);
  expect(logged).toEqual([]);
});

test('without a state directory, or where nobody is asked, it is another one each time', () => {
  expect(keepMockKey(settingsFor(null), log)).not.toEqual(keepMockKey(settingsFor(null), log));
  const place = join(folder, 'unused');
  expect(keepMockKey(settingsFor(place, 'trust'), log)).not.toEqual(keepMockKey(settingsFor(place, 'trust'), log));
  expect(() => statSync(place)).toThrow('ENOENT');
});

test('one that cannot be kept or is broken is told in the log, and pgweir does without', () => {
  const blocked = join(folder, 'file');
  writeFileSync(blocked, 'short');
  expect(keepMockKey(settingsFor(blocked), log)).toHaveLength(32);
  const place = mkdtempSync(join(folder, 'broken-'));
  writeFileSync(join(place, 'mock-key'), 'short');
  expect(keepMockKey(settingsFor(place), log)).toHaveLength(32);
  expect(logged.join('')).toMatch(/EEXIST|ENOTDIR/);
  expect(logged.join('')).toContain('it does not hold 32 bytes');
});
