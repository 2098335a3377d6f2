// `npm run test:helm`: the charts by the real helm, against the schemas of Kubernetes. Where helm and kubeconform are not
// installed they are built from their Go modules into the cache folder. Ends with 75 where they cannot be had: not run.

import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { defaultCacheFolder } from '../suites/source-build.ts';
import { runProgram } from '../support/native-binaries.ts';
import { HELM, KUBECONFORM } from './programs.ts';

const NOT_RUN = 75;
const BUILD_DEADLINE_MS = 900_000;
const SUITE_DEADLINE_MS = 600_000;
const MODULES = [
  { variable: 'HELM', program: HELM, word: 'version', module: 'helm.sh/helm/v3/cmd/helm@v3.22.0', name: 'helm' },
  {
    variable: 'KUBECONFORM',
    program: KUBECONFORM,
    word: '-v',
    module: 'github.com/yannh/kubeconform/cmd/kubeconform@v0.8.0',
    name: 'kubeconform',
  },
] as const;

/** Whether a program can be started and says that all is well. */
async function canRun(program: string, word: string): Promise<boolean> {
  const result = await runProgram(program, [word], { deadlineMs: 30_000 }).catch(() => null);
  return result?.code === 0;
}

/** Where each program is, by the name of its variable; a text says why one cannot be had. */
async function providePrograms(): Promise<Record<string, string> | string> {
  const found: Record<string, string> = {};
  const folder = join(defaultCacheFolder(process.env), 'go-bin');
  // The suite itself takes the schemas of Kubernetes from a Go module.
  if (!(await canRun('go', 'version'))) return 'there is no Go toolchain (Debian: apt-get install golang-go)';
  for (const { variable, program, word, module, name } of MODULES) {
    const built = join(folder, name);
    if (await canRun(program, word)) {
      found[variable] = program;
      continue;
    }
    if (!existsSync(built)) {
      process.stderr.write(`building ${module} …\n`);
      await mkdir(folder, { recursive: true });
      const env = { GOBIN: folder, GOFLAGS: '-mod=mod', GOTOOLCHAIN: process.env.GOTOOLCHAIN ?? 'auto' };
      const result = await runProgram('go', ['install', module], { deadlineMs: BUILD_DEADLINE_MS, env });
      if (result.code !== 0) return `${module} cannot be built:\n${result.stderr.trim().slice(-1_000)}`;
    }
    found[variable] = built;
  }
  return found;
}

const programs = await providePrograms();
if (typeof programs === 'string') {
  process.stderr.write(`not run: ${programs}\n`);
  process.exitCode = NOT_RUN;
} else {
  const root = join(import.meta.dirname, '../..');
  const result = await runProgram(
    join(root, 'node_modules/.bin/vitest'),
    ['run', '--config', 'vitest.helm.config.ts'],
    {
      cwd: root,
      deadlineMs: SUITE_DEADLINE_MS,
      env: programs,
    },
  );
  process.stdout.write(result.stdout);
  process.stderr.write(result.stderr);
  process.exitCode = result.code ?? 1;
}
