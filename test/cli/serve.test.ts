// serve: settings from all their sources, signals in every order, and starts that fail.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import type { StartWeir } from '../../src/cli/serve.ts';
import type { Settings } from '../../src/config/settings.ts';
import { RuleDocumentError } from '../../src/policy/document.ts';
import { HandIo, run } from './hand-io.ts';

let folder = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'pgweir-serve-'));
  writeFileSync(join(folder, 'pgweir.yaml'), 'listen: { port: 7001 }\nhealth: { port: 7002 }\nlog: { level: info }\n');
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** A start that records what it was given, and a pgweir that stops when told to. */
function makeWeir() {
  const seen: { settings: Settings | null; reloads: number; stops: number } = { settings: null, reloads: 0, stops: 0 };
  const stopped = Promise.withResolvers<void>();
  const start: StartWeir = async (settings, log) => {
    seen.settings = settings;
    log.info({ password: 'hunter2' }, 'started');
    return {
      ended: stopped.promise,
      reload: async () => {
        seen.reloads += 1;
      },
      stop: () => {
        seen.stops += 1;
        return stopped.promise;
      },
    };
  };
  return { seen, start, finishStop: stopped.resolve, failStop: stopped.reject };
}

const started = (seen: { settings: Settings | null }) => vi.waitFor(() => expect(seen.settings).not.toBeNull(), 5000);

test('SIGTERM drains and ends with 0, and no listener is left behind', async () => {
  const io = new HandIo();
  const { seen, start, finishStop } = makeWeir();
  const ended = run(['serve', join(folder, 'pgweir.yaml')], io, start);
  await started(seen);
  expect(seen.settings?.listen.port).toBe(7001);
  await nextTurn();
  io.raise('SIGTERM');
  await nextTurn();
  expect(seen.stops).toBe(1);
  expect(io.listeners).not.toEqual([]);
  finishStop();
  expect((await ended).code).toBe(0);
  expect(io.listeners).toEqual([]);
});

test('a second signal ends at once while the first still drains', async () => {
  const io = new HandIo();
  const { seen, start } = makeWeir();
  const ended = run(['serve'], io, start);
  await started(seen);
  await nextTurn();
  io.raise('SIGINT');
  io.raise('SIGTERM');
  expect((await ended).code).toBe(0);
  expect(seen.stops).toBe(1);
});

test('a signal that comes during the start stops as soon as it has started', async () => {
  const io = new HandIo();
  const { seen, start, finishStop } = makeWeir();
  const gate = Promise.withResolvers<void>();
  const ended = run(['serve'], io, async (settings, log) => {
    await gate.promise;
    return start(settings, log);
  });
  await vi.waitFor(() => expect(io.listeners).toHaveLength(3), 5000);
  io.raise('SIGTERM');
  expect(seen.stops).toBe(0);
  gate.resolve();
  finishStop();
  expect((await ended).code).toBe(0);
  expect(seen.stops).toBe(1);
});

test('SIGHUP reloads and does not stop', async () => {
  const io = new HandIo();
  const { seen, start, finishStop } = makeWeir();
  const ended = run(['serve'], io, start);
  await started(seen);
  await nextTurn();
  io.raise('SIGHUP');
  io.raise('SIGHUP');
  expect([seen.reloads, seen.stops]).toEqual([2, 0]);
  io.raise('SIGTERM');
  finishStop();
  await ended;
});

test('the log goes to stderr as JSON without credentials, stdout stays empty', async () => {
  const io = new HandIo();
  io.environment = { PGWEIR_LISTN_PORT: '1', PGWEIR_CONFIG: join(folder, 'pgweir.yaml') };
  const { seen, start, finishStop } = makeWeir();
  const ended = run(['serve'], io, start);
  await started(seen);
  await nextTurn();
  io.raise('SIGTERM');
  finishStop();
  const { out, err } = await ended;
  expect(out).toBe('');
  const lines = err
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
  expect(lines).toMatchObject([
    { level: 'warn', variables: ['PGWEIR_LISTN_PORT'] },
    { level: 'info', msg: 'started', password: '[redacted]' },
  ]);
  expect(seen.settings?.listen.port).toBe(7001);
});

test('flags win over the environment and the file', async () => {
  const io = new HandIo();
  io.environment = { PGWEIR_HEALTH_PORT: '7102', PGWEIR_LISTEN_PORT: '7101' };
  const { seen, start, finishStop } = makeWeir();
  const flags = [
    '--listen',
    ':7201',
    '--target',
    '[::1]:5433',
    '--log-level',
    'silent',
    '--set',
    'limits.max_clients=5',
  ];
  const ended = run(['serve', join(folder, 'pgweir.yaml'), ...flags], io, start);
  await started(seen);
  await nextTurn();
  io.raise('SIGTERM');
  finishStop();
  await ended;
  const { settings } = seen;
  expect([settings?.listen.port, settings?.health.port, settings?.limits.maxClients]).toEqual([7201, 7102, 5]);
  expect(settings?.targets.primary).toEqual({ name: 'primary', host: '::1', port: 5433 });
});

test.each([
  ['a settings file that is not there', ['serve', '/nowhere.yaml'], '/nowhere.yaml:1:1: cannot be read'],
  ['a flag of the wrong form', ['serve', '--listen', 'here'], '--listen here: give it as host:port'],
  ['a setting that does not exist', ['serve', '--set', 'listen.prot=1'], 'listen.prot: there is no such setting'],
  ['a setting without a value', ['serve', '--set', 'listen.port'], 'give it as path=value'],
  ['an open door', ['serve', '--listen', '0.0.0.0:1', '--set', 'auth.mode=trust'], 'trust would let anyone'],
])('%s is 1 before anything starts', async (_name, argv, complaint) => {
  expect(await run(argv)).toMatchObject({ code: 1, err: expect.stringContaining(complaint) });
});

test('rules that cannot be used are 1 with their reason, a fault of ours is thrown', async () => {
  const bad = new RuleDocumentError([
    { message: 'no good', path: 'traffic_control', line: 3, column: 4, source: 'r.yaml' },
  ]);
  expect(await run(['serve'], new HandIo(), () => Promise.reject(bad))).toMatchObject({
    code: 1,
    err: expect.stringContaining('r.yaml:3:4: traffic_control: no good'),
  });
  await expect(run(['serve'], new HandIo(), () => Promise.reject(new TypeError('a bug')))).rejects.toThrow('a bug');
});

test('a stop that fails is not reported as a good end', async () => {
  const io = new HandIo();
  const { seen, start, failStop } = makeWeir();
  const ended = run(['serve'], io, start);
  const outcome = expect(ended).rejects.toThrow('stuck');
  await started(seen);
  await nextTurn();
  io.raise('SIGTERM');
  failStop(new Error('stuck'));
  await outcome;
});
