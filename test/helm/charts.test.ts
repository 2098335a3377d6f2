// The charts as they are in the tree, without helm: schemas made from pgweir's own, manifests that pgweir itself can start by,
// alerts over metrics that exist. What needs helm and kubeconform is in charts.helm.ts (npm run test:helm).

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { Ajv } from 'ajv';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { MANIFESTS, makeGatewaySchema, makeSidecarSchema, SCHEMAS } from '../../helm/build.ts';
import { DURATION_METRICS, NUMBER_METRICS } from '../../src/admin/metrics.ts';
import { loadSettings } from '../../src/config/load.ts';
import { compileRuleset } from '../../src/policy/compile.ts';
import { parseRuleDocument } from '../../src/policy/document.ts';
import { type KubernetesObject, readManifest } from '../deploy/rendered-pod.ts';

const HELM = resolve(import.meta.dirname, '../../helm');
const readText = (file: string): string => readFileSync(join(HELM, file), 'utf8');
const nameOf = (file: string): string => file.replace('manifests/', '');
const compileSchema = (schema: object) => new Ajv({ allowUnionTypes: true, strict: false }).compile(schema);

interface PodTemplate {
  readonly metadata: { readonly labels: Readonly<Record<string, string>> };
  readonly spec: {
    readonly terminationGracePeriodSeconds: number;
    readonly initContainers?: readonly Container[];
    readonly containers: readonly Container[];
    readonly volumes: readonly { readonly name: string }[];
  };
}

interface Container {
  readonly name: string;
  readonly restartPolicy?: string;
  readonly lifecycle: { readonly preStop: { readonly sleep: { readonly seconds: number } } };
  readonly securityContext: object;
  readonly volumeMounts: readonly { readonly name: string }[];
  readonly ports: readonly { readonly name: string; readonly containerPort: number }[];
}

function readParts(file: string) {
  const objects = readManifest(nameOf(file));
  const template = (find(objects, 'Deployment')?.spec as { template: PodTemplate } | undefined)?.template;
  const config = objects.find((object) => object.data?.['pgweir.yaml'] !== undefined)?.data;
  const container = [...(template?.spec.initContainers ?? []), ...(template?.spec.containers ?? [])].find(
    ({ name }) => name === 'pgweir',
  );
  if (template === undefined || config === undefined || container === undefined)
    throw new Error(`${file} is not whole`);
  return { objects, template, config, container };
}

const find = (objects: readonly KubernetesObject[], kind: string): KubernetesObject | undefined =>
  objects.find((object) => object.kind === kind);

describe('values.schema.json', () => {
  test.each(SCHEMAS.map(([file, make]) => ({ file, make })))('$file is what npm run helm makes', ({ file, make }) => {
    expect(JSON.parse(readText(file))).toEqual(make());
  });

  test('takes the values of the charts, and of the example', () => {
    const [sidecar, gateway] = [compileSchema(makeSidecarSchema()), compileSchema(makeGatewaySchema())];
    for (const [validate, value] of [
      [sidecar, parse(readText('pgweir-sidecar/values.yaml'))],
      [sidecar, parse(readText('examples/shop/values.yaml')).pgweir],
      [sidecar, parse(readText('manifests/gateway-full.values.yaml')).pgweir],
      [gateway, parse(readText('pgweir/values.yaml'))],
      [gateway, parse(readText('manifests/gateway-full.values.yaml'))],
    ] as const) {
      expect([validate(value), validate.errors]).toEqual([true, null]);
    }
  });

  test.each([
    ['a key that it does not know', { imagee: {} }],
    ['a setting that pgweir does not know', { settings: { listen: { prot: 1 } } }],
    ['a rule without an action', { rules: { traffic_control: { rules: [{ name: 'x' }] } } }],
    ['no time to drain', { drainSeconds: 0 }],
    ['a digest of another form', { image: { digest: 'sha256:1' } }],
  ])('refuses %s', (_what, value) => {
    expect(compileSchema(makeSidecarSchema())(value)).toBe(false);
  });
});

describe.each(MANIFESTS.map(({ file }) => file))('%s', (file) => {
  const { objects, template, config, container } = readParts(file);

  test('holds rules that compile, and settings that are settings', () => {
    const { document, problemAt } = parseRuleDocument(config['rules.yaml'] ?? '', 'rules.yaml');
    expect(compileRuleset(document, { epoch: 1, source: 'rules.yaml', problemAt }).rules.length).toBeGreaterThanOrEqual(
      0,
    );
    const schema = JSON.parse(readFileSync(join(HELM, '../schemas/settings.schema.json'), 'utf8')) as object;
    expect(compileSchema(schema)(parse(config['pgweir.yaml'] ?? ''))).toBe(true);
  });

  test('gives the whole end less time than the grace period, and has preStop', () => {
    const { limits } = parse(config['pgweir.yaml'] ?? '') as {
      limits: { drain_ms: number; min_sigterm_delay_ms: number };
    };
    const preStopMs = container.lifecycle.preStop.sleep.seconds * 1000;
    expect(preStopMs).toBeGreaterThan(0);
    expect(preStopMs + limits.min_sigterm_delay_ms + limits.drain_ms).toBeLessThan(
      template.spec.terminationGracePeriodSeconds * 1000,
    );
  });

  test('meets the restricted pod security standard, with a read-only root', () => {
    expect(container.securityContext).toEqual({
      runAsNonRoot: true,
      runAsUser: 65532,
      runAsGroup: 65532,
      readOnlyRootFilesystem: true,
      allowPrivilegeEscalation: false,
      capabilities: { drop: ['ALL'] },
      seccompProfile: { type: 'RuntimeDefault' },
    });
  });

  test('mounts only volumes that there are, and selects only pods that there are', () => {
    const volumes = template.spec.volumes.map(({ name }) => name);
    for (const { name } of container.volumeMounts) expect(volumes).toContain(name);
    for (const kind of ['Service', 'PodDisruptionBudget', 'NetworkPolicy', 'PodMonitor', 'Deployment']) {
      const spec = find(objects, kind)?.spec as { selector?: Selector; podSelector?: Selector } | undefined;
      const selector = spec?.selector ?? spec?.podSelector;
      if (selector === undefined) continue;
      const labels = isLabelSelector(selector) ? selector.matchLabels : selector;
      expect(template.metadata.labels).toMatchObject(labels);
    }
    expect(container.ports.map(({ name }) => name)).toEqual(['pgweir-pg', 'pgweir-metrics']);
  });
});

type Labels = Readonly<Record<string, string>>;
interface LabelSelector {
  readonly matchLabels: Labels;
}
type Selector = Labels | LabelSelector;

/** A Service's selector is bare labels. */
function isLabelSelector(selector: Selector): selector is LabelSelector {
  return typeof selector.matchLabels === 'object';
}

interface AlertGroup {
  readonly rules: readonly {
    readonly alert: string;
    readonly expr: string;
    readonly annotations: { readonly runbook_url: string };
  }[];
}

test('pgweir loads the settings of the default manifests; the sidecar listens on loopback only', () => {
  for (const [file, host] of [
    ['manifests/gateway.yaml', '0.0.0.0'],
    ['manifests/sidecar.yaml', '127.0.0.1'],
  ] as const) {
    const folder = mkdtempSync(join(tmpdir(), 'pgweir-chart-'));
    try {
      const { config } = readParts(file);
      for (const [name, text] of Object.entries(config)) writeFileSync(join(folder, name), text);
      const settings = loadSettings({ file: join(folder, 'pgweir.yaml') });
      expect([settings.listen.host, settings.admin.host, settings.health.host]).toEqual([host, '127.0.0.1', '0.0.0.0']);
      expect(settings.rules.onInvalidStart).toBe('last_good');
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  }
});

test('the sidecar is a native one: an init container that restarts', () => {
  const { template } = readParts('manifests/sidecar.yaml');
  expect(template.spec.initContainers?.map(({ name, restartPolicy }) => [name, restartPolicy])).toEqual([
    ['pgweir', 'Always'],
  ]);
});

describe('alerts and dashboard', () => {
  const { objects } = readParts('manifests/gateway-full.yaml');
  const rule = find(objects, 'PrometheusRule')?.spec as { groups: readonly AlertGroup[] } | undefined;
  const alerts = rule?.groups.flatMap((group) => group.rules) ?? [];
  const dashboard = objects.find((object) => object.data?.['pgweir.json'] !== undefined)?.data?.['pgweir.json'] ?? '';
  const known = new Set([
    ...NUMBER_METRICS.map(({ name }) => `pgweir_${name}`),
    ...DURATION_METRICS.map(({ name }) => `pgweir_${name}_bucket`),
    'pgweir_build_info',
  ]);

  test('speak of metrics that there are', () => {
    const used = [...alerts.map(({ expr }) => expr), dashboard].join('\n').match(/\bpgweir_[a-z_]+/g) ?? [];
    expect(used.length).toBeGreaterThan(alerts.length);
    expect(used.filter((name) => !known.has(name))).toEqual([]);
  });

  test('each alert has its runbook', () => {
    const headings = [...readText('RUNBOOKS.md').matchAll(/^## (\w+)$/gm)].map(([, name]) => name);
    expect(alerts).not.toEqual([]);
    expect(headings).toEqual(alerts.map(({ alert }) => alert));
    for (const { alert, annotations } of alerts) {
      expect(annotations.runbook_url).toMatch(new RegExp(`RUNBOOKS\\.md#${alert.toLowerCase()}$`));
    }
  });

  test('the dashboard is JSON with panels that ask Prometheus something', () => {
    const { panels } = JSON.parse(dashboard) as { panels: { id: number; targets: { expr: string }[] }[] };
    expect(panels.length).toBeGreaterThan(8);
    expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length);
    for (const { targets } of panels) expect(targets[0]?.expr).toMatch(/pgweir_/);
  });
});
