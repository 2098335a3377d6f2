// The charts by the real helm: linted, rendered with default and with full values, every object against the schemas of two
// versions of Kubernetes, and wrong values refused with words that say what is wrong.

import { execFileSync } from 'node:child_process';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { MANIFESTS, renderChart, renderManifest, stageCharts } from '../../helm/build.ts';
import { LOCATION, writeSchemas } from './kubernetes-schemas.ts';
import { HELM, KUBECONFORM } from './programs.ts';

const TREE = resolve(import.meta.dirname, '../../helm');
const KUBERNETES = ['1.34.4', '1.36.3'];
let folder = '';

beforeAll(() => {
  folder = stageCharts(HELM);
  for (const version of KUBERNETES) writeSchemas(join(folder, 'schemas', version), version);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function attempt(run: () => string): string {
  try {
    return `went well: ${run().slice(0, 200)}`;
  } catch (error) {
    return error instanceof Error && 'stderr' in error ? String(error.stderr) : String(error);
  }
}

function checkObjects(file: string, version: string): string {
  const words = [
    '-strict',
    '-summary',
    '-verbose',
    '-schema-location',
    join(folder, 'schemas', version, LOCATION),
    file,
  ];
  return execFileSync(KUBECONFORM, words, { encoding: 'utf8', timeout: 60_000 });
}

test.each(['pgweir', 'pgweir-sidecar', 'examples/shop'])('helm lint --strict has nothing against %s', (chart) => {
  const said = execFileSync(HELM, ['lint', '--strict', '--kube-version', '1.34.0', join(folder, chart)], {
    encoding: 'utf8',
  });
  expect(said).toContain('0 chart(s) failed');
});

describe.each(MANIFESTS)('$file', (manifest) => {
  test('is what helm renders', () => {
    expect(readFileSync(join(TREE, manifest.file), 'utf8')).toBe(renderManifest(HELM, folder, manifest));
  });

  test.each(KUBERNETES)('holds objects of Kubernetes %s only', (version) => {
    const said = checkObjects(join(TREE, manifest.file), version);
    expect(said).toMatch(/Summary: \d+ resources found in 1 file - Valid: [1-9]\d*, Invalid: 0, Errors: 0, Skipped: 0/);
  });
});

test.each(KUBERNETES)('the policy in front of the database is an object of Kubernetes %s', (version) => {
  expect(checkObjects(join(TREE, 'manifests/database-network-policy.yaml'), version)).toContain('Valid: 1, Invalid: 0');
});

test('the check of objects sees a key that Kubernetes does not know', () => {
  const file = join(folder, 'wrong.yaml');
  const text = readFileSync(join(TREE, 'manifests/gateway.yaml'), 'utf8');
  writeFileSync(file, text.replace('terminationGracePeriodSeconds', 'terminationGraceSeconds'));
  for (const version of KUBERNETES) expect(() => checkObjects(file, version)).toThrow();
});

test.each([
  ['a value that there is not', ['--set', 'replica=2'], /additional properties 'replica' not allowed/],
  ['a setting that there is not', ['--set', 'pgweir.settings.listen.prot=1'], /settings\/listen.*'prot' not allowed/],
  ['a rule without an action', ['--set', 'pgweir.rules.traffic_control.rules[0].name=x'], /missing propert.*'action'/],
  [
    'drain times that do not fit',
    ['--set', 'pgweir.settings.limits.drain_ms=90000'],
    /set pgweir.drainSeconds instead/,
  ],
  [
    'rules among the settings',
    ['--set', 'pgweir.settings.traffic_control.default_action=deny'],
    /rules stand under pgweir.rules/,
  ],
  [
    'alerts without runbooks',
    ['--set', 'pgweir.monitoring.prometheusRule.enabled=true'],
    /prometheusRule.runbookBaseUrl: say where/,
  ],
  ['an old Kubernetes', ['--kube-version', '1.28.0'], /incompatible with Kubernetes/],
])('%s is refused, and helm says why', (_what, more, complaint) => {
  expect(attempt(() => renderChart(HELM, folder, 'pgweir', 'pgweir', more))).toMatch(complaint);
});

test('all times of the end follow drainSeconds', () => {
  const rendered = renderChart(HELM, folder, 'pgweir', 'pgweir', ['--set', 'pgweir.drainSeconds=100']);
  expect(rendered).toMatch(/drain_ms: 100000\n\s+min_sigterm_delay_ms: 10000\n/);
  expect(rendered).toContain('terminationGracePeriodSeconds: 125');
  expect(rendered).toContain('sleep: { seconds: 10 }');
});
