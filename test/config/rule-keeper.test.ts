// Where rules come from at a start, and what a restart finds: posts, file changes and damage, one after another.

import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { systemClock } from '../../src/base/clock.ts';
import { type Log, silentLog } from '../../src/base/log.ts';
import { loadSettings } from '../../src/config/load.ts';
import { RuleKeeper } from '../../src/config/rule-keeper.ts';
import { RuleStore } from '../../src/config/state.ts';
import { RuleDocumentError } from '../../src/policy/document.ts';

let folder = '';
let keepers: RuleKeeper[] = [];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'pgweir-keeper-'));
});
afterEach(() => {
  for (const keeper of keepers) keeper.stop();
  keepers = [];
  // What a keeper has taken it still stores a moment later.
  rmSync(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 20 });
});

const document = (rule: string): string =>
  `traffic_control:\n  rules:\n    - { name: ${rule}, match: { user: x }, action: deny }\n`;
const ruleFile = (): string => join(folder, 'rules.yaml');
const stateFolder = (): string => join(folder, 'state');

/** As a process that starts: reads the settings anew. */
function start(): RuleKeeper {
  const settings = loadSettings({ overrides: { 'rules.file': ruleFile(), state_directory: stateFolder() } });
  const keeper = new RuleKeeper(settings, silentLog, systemClock);
  keepers.push(keeper);
  return keeper;
}

const namesOf = (keeper: RuleKeeper): string[] => keeper.book.active.rules.map((rule) => rule.name);

async function post(keeper: RuleKeeper, rule: string): Promise<void> {
  const { version } = keeper.book.post(document(rule), 'test', { actor: 'test' });
  await waitForStored(version);
}

async function waitForStored(version: string): Promise<void> {
  await vi.waitFor(() => expect(new RuleStore(stateFolder()).load().rules?.version).toBe(version), 5000);
}

test('posted rules are there after a restart, until the file says something newer', async () => {
  writeFileSync(ruleFile(), document('from_file'));
  await post(start(), 'posted');
  expect(namesOf(start())).toEqual(['posted']);
  writeFileSync(ruleFile(), document('newer_file'));
  expect(namesOf(start())).toEqual(['newer_file']);
});

test('rules posted after the file has changed under a running pgweir win over that change', async () => {
  writeFileSync(ruleFile(), document('first'));
  const keeper = start();
  writeFileSync(ruleFile(), document('second'));
  await keeper.reload();
  expect(namesOf(keeper)).toEqual(['second']);
  await post(keeper, 'posted');
  expect(namesOf(start())).toEqual(['posted']);
});

test('rules are kept where the state directory can be written, and it is known where they are not', async () => {
  writeFileSync(ruleFile(), document('from_file'));
  const keeper = start();
  writeFileSync(stateFolder(), 'a file is in the way');
  keeper.book.post(document('lost'), 'test', { actor: 'test' });
  expect(await keeper.kept()).toBe(false);
  rmSync(stateFolder());
  keeper.book.post(document('posted'), 'test', { actor: 'test' });
  expect(await keeper.kept()).toBe(true);
  expect(namesOf(start())).toEqual(['posted']);
  const withoutFolder = new RuleKeeper(loadSettings({}), silentLog, systemClock);
  withoutFolder.book.post(document('posted'), 'test', { actor: 'test' });
  expect(await withoutFolder.kept()).toBe(false);
});

test('rules that could not be stored are, when they are posted again and there is room', async () => {
  writeFileSync(ruleFile(), document('from_file'));
  const keeper = start();
  writeFileSync(stateFolder(), 'a file is in the way');
  const post = () => keeper.book.post(document('posted'), 'test', { actor: 'test' });
  post();
  expect(await keeper.kept()).toBe(false);
  expect(namesOf(start())).toEqual(['from_file']);
  rmSync(stateFolder());
  expect(post().outcome).toBe('unchanged');
  expect(await keeper.kept()).toBe(true);
  expect(namesOf(start())).toEqual(['posted']);
});

test('SIGHUP brings the rules of the file back over posted ones', async () => {
  writeFileSync(ruleFile(), document('from_file'));
  const keeper = start();
  await post(keeper, 'posted');
  await keeper.reload();
  expect(namesOf(keeper)).toEqual(['from_file']);
  await waitForStored(keeper.book.version);
  expect(namesOf(start())).toEqual(['from_file']);
});

test('a bad file leaves the old rules in force and is seen in the state of the reload', async () => {
  writeFileSync(ruleFile(), document('good'));
  const keeper = start();
  writeFileSync(ruleFile(), 'traffic_control: { rulez: [] }');
  await keeper.reload();
  expect(namesOf(keeper)).toEqual(['good']);
  expect(keeper.book.lastReload).toMatchObject({ isSuccessful: false, error: expect.stringContaining('rulez') });
});

/** The rule file as a whole: nobody reads a part of it. */
function moveIn(text: string): void {
  writeFileSync(join(folder, 'new'), text);
  renameSync(join(folder, 'new'), ruleFile());
}

test('a rule file that cannot be read is a failed reload until it is there again, and posted rules stay in force', async () => {
  writeFileSync(ruleFile(), document('from_file'));
  const keeper = start();
  await post(keeper, 'posted');
  keeper.start();
  rmSync(ruleFile());
  await vi.waitFor(() => expect(keeper.book.lastReload).toMatchObject({ isSuccessful: false }), 8000);
  expect(keeper.book.lastReload.error).toContain('ENOENT');
  moveIn(document('from_file'));
  await vi.waitFor(() => expect(keeper.book.lastReload).toMatchObject({ isSuccessful: true, error: null }), 8000);
  expect(namesOf(keeper)).toEqual(['posted']);
});

test('a bad rule file that goes and comes back is still a failed reload', async () => {
  writeFileSync(ruleFile(), document('good'));
  const keeper = start();
  writeFileSync(ruleFile(), 'traffic_control: { rulez: [] }');
  await keeper.reload();
  keeper.start();
  rmSync(ruleFile());
  await vi.waitFor(() => expect(keeper.book.lastReload.error).toContain('ENOENT'), 8000);
  moveIn('traffic_control: { rulez: [] }');
  await vi.waitFor(() => expect(keeper.book.lastReload.error).not.toContain('ENOENT'), 8000);
  expect(keeper.book.lastReload.isSuccessful).toBe(false);
});

test('stored rules that are no longer valid give way to those of the file', async () => {
  writeFileSync(ruleFile(), document('from_file'));
  const keeper = start();
  await post(keeper, 'posted');
  const stored = new RuleStore(stateFolder()).load().rules;
  if (stored === null) throw new Error('nothing stored');
  await new RuleStore(stateFolder()).save({ ...stored, text: 'traffic_control: { rulez: [] }' });
  expect(namesOf(start())).toEqual(['from_file']);
});

test('bad rules at the start, with nothing stored, are an error', () => {
  writeFileSync(ruleFile(), 'traffic_control: { rulez: [] }');
  expect(start).toThrow(RuleDocumentError);
});

/** As `start`, by settings that say `rules.on_invalid_start: last_good`. */
function startLenient(): RuleKeeper {
  const overrides = {
    'rules.file': ruleFile(),
    state_directory: stateFolder(),
    'rules.on_invalid_start': 'last_good',
  };
  const keeper = new RuleKeeper(loadSettings({ overrides }), silentLog, systemClock);
  keepers.push(keeper);
  return keeper;
}

test('last_good starts by the last good rules when the file is no good, tells of it, and takes the mended file', async () => {
  writeFileSync(ruleFile(), document('good'));
  await waitForStored(startLenient().book.version);
  writeFileSync(ruleFile(), 'traffic_control: { rules: [{ name: broken }] }');
  const keeper = startLenient();
  expect(namesOf(keeper)).toEqual(['good']);
  expect([keeper.book.lastReload.isSuccessful, keeper.book.rejected]).toEqual([false, 1]);
  writeFileSync(ruleFile(), document('mended'));
  await keeper.reload();
  expect(namesOf(keeper)).toEqual(['mended']);
  expect(keeper.book.lastReload.isSuccessful).toBe(true);
});

test('last_good without any good rules yet does not start, and neither does exit with some', async () => {
  writeFileSync(ruleFile(), 'traffic_control: { rules: [{ name: broken }] }');
  expect(startLenient).toThrow(RuleDocumentError);
  writeFileSync(ruleFile(), document('good'));
  await waitForStored(startLenient().book.version);
  writeFileSync(ruleFile(), 'traffic_control: { rules: [{ name: broken }] }');
  expect(start).toThrow(RuleDocumentError);
});

/** A log that gathers what it is told. */
function listen(): { log: Log; lines: { level: string; words: string; reason: unknown }[] } {
  const lines: { level: string; words: string; reason: unknown }[] = [];
  const note =
    (level: string) =>
    (fields: object, words: string): void => {
      lines.push({ level, words, reason: 'reason' in fields ? fields.reason : null });
    };
  const log: Log = {
    debug: note('debug'),
    info: note('info'),
    warn: note('warn'),
    error: note('error'),
    with: () => log,
  };
  return { log, lines };
}

const settingsFile = (): string => join(folder, 'pgweir.yaml');

function startByInline(log: Log): RuleKeeper {
  const keeper = new RuleKeeper(loadSettings({ file: settingsFile() }), log, systemClock);
  keepers.push(keeper);
  return keeper;
}

test('SIGHUP brings in the rules that stand in the settings file itself, and says so', async () => {
  writeFileSync(settingsFile(), `state_directory: state\n${document('first')}`);
  const { log, lines } = listen();
  const keeper = startByInline(log);
  writeFileSync(settingsFile(), `state_directory: state\n${document('second')}`);
  await keeper.reload();
  expect(namesOf(keeper)).toEqual(['second']);
  expect(lines).toEqual([{ level: 'info', words: 'rules were read from their file', reason: null }]);
  await waitForStored(keeper.book.version);
  expect(namesOf(startByInline(log))).toEqual(['second']);
});

test('posted rules outlive a change of other settings in the file that holds the rules, but not one of its rules', async () => {
  writeFileSync(settingsFile(), `state_directory: state\n${document('first')}`);
  await post(startByInline(silentLog), 'posted');
  const { log, lines } = listen();
  writeFileSync(settingsFile(), `state_directory: state\nlog: { level: warn }\n${document('first')}limits: {}\n`);
  expect(namesOf(startByInline(log))).toEqual(['posted']);
  expect(lines).toEqual([]);
  writeFileSync(settingsFile(), `state_directory: state\n${document('second')}`);
  expect(namesOf(startByInline(log))).toEqual(['second']);
  expect(lines).toEqual([{ level: 'info', words: expect.stringContaining('stored rules give way'), reason: null }]);
});

test('the same of settings in JSON, however that is indented', async () => {
  const write = (name: string, more: object): void => {
    const traffic_control = { rules: [{ name, match: { user: 'nobody' }, action: 'deny' }] };
    const settings = { state_directory: 'state', ...more, traffic_control, limits: {} };
    writeFileSync(settingsFile(), JSON.stringify(settings, null, '\t'));
  };
  write('first', {});
  const keeper = startByInline(silentLog);
  expect(namesOf(keeper)).toEqual(['first']);
  expect(JSON.parse(keeper.book.current.text)).toMatchObject({ traffic_control: { rules: [{ name: 'first' }] } });
  await post(keeper, 'posted');
  write('first', { log: { level: 'warn' } });
  expect(namesOf(startByInline(silentLog))).toEqual(['posted']);
  write('second', {});
  expect(namesOf(startByInline(silentLog))).toEqual(['second']);
});

test.each([
  ['rules that are no good', 'traffic_control: { rulez: [] }', 'error', expect.stringContaining('pgweir.yaml:1:20')],
  ['what is no YAML', 'traffic_control: {', 'error', expect.stringContaining('pgweir.yaml:1:')],
  ['settings without rules', 'listen: { port: 7000 }', 'warn', 'the settings hold no rules'],
])('SIGHUP does not take %s from the settings file, and says why', async (_name, text, level, reason) => {
  writeFileSync(settingsFile(), document('good'));
  const { log, lines } = listen();
  const keeper = startByInline(log);
  writeFileSync(settingsFile(), text);
  await keeper.reload();
  expect(namesOf(keeper)).toEqual(['good']);
  expect(keeper.book.lastReload.isSuccessful).toBe(level === 'warn');
  expect(lines).toEqual([{ level, words: expect.stringContaining('not reloaded'), reason }]);
});

test('SIGHUP cannot read rules again that came with the settings from stdin, and says why', async () => {
  const { log, lines } = listen();
  const keeper = new RuleKeeper(loadSettings({ text: document('good') }), log, systemClock);
  keepers.push(keeper);
  await keeper.reload();
  expect(namesOf(keeper)).toEqual(['good']);
  const words = expect.stringContaining('not reloaded');
  expect(lines).toEqual([{ level: 'warn', words, reason: 'the settings stand in no file' }]);
});

test('SIGHUP leaves posted rules in force where the settings hold none', async () => {
  writeFileSync(settingsFile(), 'listen: { port: 7000 }');
  const keeper = startByInline(silentLog);
  keeper.book.post(document('posted'), 'test', { actor: 'test' });
  await keeper.reload();
  expect(namesOf(keeper)).toEqual(['posted']);
});

test('each SIGHUP says again that the rule file is missing', async () => {
  writeFileSync(ruleFile(), document('good'));
  const { log, lines } = listen();
  const settings = loadSettings({ overrides: { 'rules.file': ruleFile() } });
  const keeper = new RuleKeeper(settings, log, systemClock);
  keepers.push(keeper);
  rmSync(ruleFile());
  await keeper.reload();
  await keeper.reload();
  expect(lines.map((line) => line.words)).toEqual(Array(2).fill('rules were not reloaded; the old ones stay in force'));
});
