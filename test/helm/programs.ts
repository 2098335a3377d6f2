// The programs that the chart's long tests run, by environment (HELM, KUBECONFORM) or by PATH. As vitest's global setup it ends
// the run where one is missing.

import { execFileSync } from 'node:child_process';

export const HELM = process.env.HELM ?? 'helm';
export const KUBECONFORM = process.env.KUBECONFORM ?? 'kubeconform';

/** Throws Error, which ends the run: what was not run has not passed. */
export default function findPrograms(): void {
  const missing = [
    [HELM, 'version', 'go install helm.sh/helm/v3/cmd/helm@latest'],
    [KUBECONFORM, '-v', 'go install github.com/yannh/kubeconform/cmd/kubeconform@latest'],
    ['go', 'version', 'the Go toolchain'],
  ].flatMap(([program = '', word = '', source = '']) => (canRun(program, word) ? [] : [`${program} (${source})`]));
  if (missing.length > 0) throw new Error(`not run: there is no ${missing.join(', no ')}`);
}

function canRun(program: string, word: string): boolean {
  try {
    execFileSync(program, [word], { stdio: 'ignore', timeout: 30_000 });
    return true;
  } catch {
    return false;
  }
}
