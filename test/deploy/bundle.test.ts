// The bundle in a folder of its own, with nothing beside it: it says what the sources say, though its schemas were compiled
// beforehand and its parser's WebAssembly is packed inside.

import { execFileSync } from 'node:child_process';
import { cpSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { makeBundle } from '../../bundle.ts';

const ROOT = resolve(import.meta.dirname, '../..');
let folder = '';

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'pgweir-bundle-'));
  await makeBundle(join(folder, 'pgweir.mjs'));
  cpSync(join(ROOT, 'rules'), join(folder, 'rules'), { recursive: true });
  writeFileSync(
    join(folder, 'settings.yaml'),
    'listen: { prot: 1 }\nlimits: { max_clients: 0 }\nauth: { mode: none }\ntraffic_control: { rules: [] }\n',
  );
  writeFileSync(
    join(folder, 'rules.yaml'),
    'traffic_control: { rules: [{ name: a }, { name: b, action: rate_limit }] }\n',
  );
  writeFileSync(join(folder, 'cases.yaml'), 'cases: [{ sql: 1 }]\n');
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Exit code and all that was said, by the bundle or by the sources, run in the bundle's folder. */
function run(program: 'pgweir.mjs' | 'src/main.ts', words: readonly string[]): { code: number; said: string } {
  const script = program === 'pgweir.mjs' ? join(folder, program) : join(ROOT, program);
  try {
    const options = { cwd: folder, env: {}, encoding: 'utf8', stdio: 'pipe', timeout: 20_000 } as const;
    return { code: 0, said: execFileSync(process.execPath, [script, ...words], options) };
  } catch (error) {
    if (!(error instanceof Error) || !('status' in error && 'stdout' in error && 'stderr' in error)) throw error;
    return { code: Number(error.status), said: `${error.stdout}${error.stderr}` };
  }
}

test('is one file', () => {
  expect(readdirSync(folder).filter((name) => !name.endsWith('.yaml') && name !== 'rules')).toEqual(['pgweir.mjs']);
});

test.each([
  [0, ['version']],
  [0, ['test', 'rules']],
  [0, ['explain', '--rules', 'rules/guardrails.yaml', '--sql', 'DELETE FROM t']],
  [1, ['check', 'settings.yaml', 'rules.yaml', 'cases.yaml']],
  [1, ['serve', 'settings.yaml']],
] as const)('ends with %i and says what the sources say: %j', (code, words) => {
  const bundled = run('pgweir.mjs', words);
  expect(bundled).toEqual(run('src/main.ts', words));
  expect(bundled.code).toBe(code);
  expect(bundled.said).not.toBe('');
});
