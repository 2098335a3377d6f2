// The process itself, its standard output being a device that is always full, or a pipe that nobody reads.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { collectOutput } from '../support/native-binaries.ts';

const ROOT = join(import.meta.dirname, '../..');
const MAIN = join(ROOT, 'src/main.ts');
const DEADLINE = { timeout: 20_000 } as const;

test
  .runIf(process.platform === 'linux')
  .for([
    ['--version'],
    ['check', 'rules/example.yaml'],
    ['explain', '--rules', 'rules/example.yaml', '--sql', 'select 1'],
  ])('%j whose output cannot be written says so and exits with 1', async (words) => {
  const full = await open('/dev/full', 'w');
  try {
    const child = spawn(process.execPath, [MAIN, ...words], {
      ...DEADLINE,
      cwd: ROOT,
      stdio: ['ignore', full.fd, 'pipe'],
    });
    const output = collectOutput(child);
    expect(await once(child, 'close')).toEqual([1, null]);
    expect(output.stderr).toMatch(/cannot write the output: ENOSPC/);
  } finally {
    await full.close();
  }
});

test('a reader that has gone away is no failure', async () => {
  const words = ['explain', '--rules', 'rules/example.yaml', '--sql', 'select 1'];
  const child = spawn(process.execPath, [MAIN, ...words], {
    ...DEADLINE,
    cwd: ROOT,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  child.stdout.destroy();
  const output = collectOutput(child);
  expect(await once(child, 'close')).toEqual([0, null]);
  expect(output.stderr).not.toMatch(/cannot write/);
});
