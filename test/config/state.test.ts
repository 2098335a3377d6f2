// Posted rules survive a restart, and no damage to the files keeps pgweir from starting.

import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { StoredRules } from '../../src/config/state.ts';
import { chooseStartingRules, hashSettingsRules, RuleStore } from '../../src/config/state.ts';

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'pgweir-state-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const settingsText = 'traffic_control: {}\n';

function makeRules(version: string): StoredRules {
  const text = `# ${version}\ntraffic_control: {}\n`;
  return { text, version, actor: 'ana', reason: 'test', savedAtMs: 1, replacesHash: hashSettingsRules(settingsText) };
}

test('saved rules are loaded by the next process, an empty directory holds none', async () => {
  expect(new RuleStore(folder).load()).toEqual({ rules: null, problems: [] });
  const store = new RuleStore(join(folder, 'made', 'when needed'));
  await store.save(makeRules('v1'));
  expect(new RuleStore(join(folder, 'made', 'when needed')).load()).toEqual({ rules: makeRules('v1'), problems: [] });
});

test('saves that overlap end with the last one, and leave no temporary file', async () => {
  const store = new RuleStore(folder);
  await Promise.all(['v1', 'v2', 'v3', 'v4'].map((version) => store.save(makeRules(version))));
  expect(store.load().rules?.version).toBe('v4');
  expect(readdirSync(folder).sort()).toEqual(['rules.json', 'rules.previous.json']);
});

test.each([
  ['cut short', (content: string) => content.slice(0, content.length / 2)],
  ['changed by hand', (content: string) => content.replace('# v2', '# v9')],
  ['of another format', (content: string) => content.replace('"format": 1', '"format": 2')],
  ['empty', () => ''],
])('a state file that is %s gives way to the rules before it, and says so', async (_name, damage) => {
  const store = new RuleStore(folder);
  await store.save(makeRules('v1'));
  await store.save(makeRules('v2'));
  const file = join(folder, 'rules.json');
  writeFileSync(file, damage(readFileSync(file, 'utf8')));
  const loaded = store.load();
  expect(loaded.rules?.version).toBe('v1');
  expect(loaded.problems).toHaveLength(1);
  expect(loaded.problems[0]).toContain('rules.json: ');
});

test('a directory that cannot be written rejects the save, and the next save is tried all the same', async () => {
  const blocked = join(folder, 'file');
  writeFileSync(blocked, '');
  const store = new RuleStore(join(blocked, 'state'));
  await expect(store.save(makeRules('v1'))).rejects.toThrow();
  rmSync(blocked);
  await store.save(makeRules('v2'));
  expect(store.load().rules?.version).toBe('v2');
});

test('stored rules start as long as the settings hold the text that they replaced, no longer', () => {
  const settings = { file: null, text: settingsText, source: 'rules.yaml' };
  const stored = makeRules('v1');
  expect(chooseStartingRules(settings, stored)).toMatchObject({ text: stored.text, isStored: true });
  const changed = { ...settings, text: `${settingsText}# newer` };
  expect(chooseStartingRules(changed, stored)).toEqual({ text: changed.text, source: 'rules.yaml', isStored: false });
  expect(chooseStartingRules(settings, null)).toMatchObject({ text: settingsText, isStored: false });
});

test('rules with long stretches of blanks are told apart in linear time', () => {
  const startedAt = performance.now();
  hashSettingsRules(`{ "a": ${' '.repeat(100_000)} 1 }`);
  expect(performance.now() - startedAt).toBeLessThan(1_000);
});
