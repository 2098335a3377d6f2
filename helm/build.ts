// `npm run helm`: writes what in this folder is made from something else: each chart's values.schema.json (out of pgweir's own
// schemas, so that a wrong setting or rule is refused before it reaches a cluster), and the manifests for copy and paste.

import { execFileSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

const HERE = import.meta.dirname;
/** Of Kubernetes, as the manifests are rendered for it. */
const RENDER_VERSION = '1.34.0';

type Schema = Readonly<Record<string, unknown>>;

const text = (description: string, more: Schema = {}): Schema => ({ description, type: 'string', ...more });
const open = (description: string): Schema => ({ description, type: 'object' });
const words = (description: string): Schema => ({
  description,
  type: 'object',
  additionalProperties: { type: 'string' },
});
const list = (description: string, items: Schema = { type: 'object' }): Schema => ({ description, type: 'array', items });
const count = (minimum: number, maximum = 1_000_000): Schema => ({ type: 'integer', minimum, maximum });
const flag: Schema = { type: 'boolean' };
const closed = (properties: Schema, more: Schema = {}): Schema => ({
  type: 'object',
  additionalProperties: false,
  properties,
  ...more,
});

function readSchema(name: string): Record<string, unknown> {
  return JSON.parse(readFileSync(resolve(HERE, '../schemas', name), 'utf8')) as Record<string, unknown>;
}

/** What stands under `pgweir:`. Helm adds `global` to the values of every dependency. */
function describePgweir(): Schema {
  const secret = text('Name of a Secret; empty for none.', { pattern: '^([a-z0-9]([-a-z0-9.]*[a-z0-9])?)?$' });
  return closed({
    global: open('Helm puts this here.'),
    name: text('Name of the container and prefix of the volumes.', { pattern: '^[a-z]([-a-z0-9]{0,30}[a-z0-9])?$' }),
    image: closed({
      repository: text('Without a tag.', { minLength: 1 }),
      tag: text("Empty: the chart's appVersion."),
      digest: text('sha256:…', { pattern: '^(sha256:[0-9a-f]{64})?$' }),
      pullPolicy: { enum: ['Always', 'IfNotPresent', 'Never'] },
    }),
    settings: { $ref: '#/definitions/settings' },
    rules: { $ref: '#/definitions/rules' },
    existingRulesConfigMap: text('A ConfigMap with the key rules.yaml, in place of rules.'),
    drainSeconds: { description: 'How long clients may finish their transactions.', ...count(1, 3600) },
    secrets: closed({ tls: secret, targetCa: secret, credentials: secret, adminToken: secret }),
    env: list('As in a container.', { type: 'object', required: ['name'] }),
    resources: open('As in a container.'),
    probes: closed({
      startupSeconds: count(1, 3600),
      readinessPeriodSeconds: count(1, 300),
      livenessPeriodSeconds: count(1, 300),
    }),
    monitoring: closed({
      podMonitor: closed({ enabled: flag, labels: words('Of the object.'), interval: text('As 30s.') }),
      prometheusRule: closed({
        enabled: flag,
        labels: words('Of the object.'),
        runbookBaseUrl: text('Where you keep helm/RUNBOOKS.md.'),
      }),
      dashboard: closed({ enabled: flag, labels: words('Of the ConfigMap.') }),
    }),
  });
}

/** The values.schema.json of the library chart. */
export function makeSidecarSchema(): Schema {
  const rules = readSchema('rules.schema.json');
  const definitions = rules.definitions as Schema;
  const settings = readSchema('settings.schema.json');
  for (const schema of [rules, settings]) delete schema.$schema;
  delete rules.definitions;
  return {
    $schema: 'http://json-schema.org/draft-07/schema#',
    title: 'Values of pgweir-sidecar',
    ...describePgweir(),
    definitions: { ...definitions, settings: withoutDefaults(settings), rules },
  };
}

/** The values.schema.json of the gateway. What is under `pgweir` Helm checks by the library's. */
export function makeGatewaySchema(): Schema {
  const peers = list('NetworkPolicyPeers.');
  return {
    $schema: 'http://json-schema.org/draft-07/schema#',
    title: 'Values of the pgweir gateway',
    ...closed({
      global: open('Helm puts this here.'),
      pgweir: open('See ../pgweir-sidecar/values.schema.json.'),
      replicas: count(0, 1000),
      service: closed({
        type: { enum: ['ClusterIP', 'LoadBalancer', 'NodePort'] },
        port: count(1, 65535),
        annotations: words('Of the Service.'),
      }),
      podDisruptionBudget: closed({
        enabled: flag,
        maxUnavailable: { type: ['integer', 'string'], minimum: 0, pattern: '^[0-9]+%$' },
      }),
      autoscaling: closed({
        enabled: flag,
        minReplicas: count(1, 1000),
        maxReplicas: count(1, 1000),
        targetCPUUtilizationPercentage: count(1, 1000),
      }),
      networkPolicy: closed({
        enabled: flag,
        clients: peers,
        monitoring: peers,
        databases: peers,
        databasePorts: list('Of the servers.', count(1, 65535)),
      }),
      serviceAccountName: text('Empty: the default one.'),
      imagePullSecrets: list('As in a pod.'),
      podAnnotations: words('Of the pods.'),
      podLabels: words('Of the pods.'),
      nodeSelector: words('As in a pod.'),
      tolerations: list('As in a pod.'),
      affinity: open('As in a pod.'),
      topologySpreadConstraints: list('As in a pod.'),
      priorityClassName: text('As in a pod.'),
    }),
  };
}

/** A default says what pgweir will do, not what the chart does: left in, it would be read as the chart's. */
function withoutDefaults(schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(withoutDefaults);
  if (typeof schema !== 'object' || schema === null) return schema;
  return Object.fromEntries(
    Object.entries(schema).flatMap(([key, value]) => (key === 'default' ? [] : [[key, withoutDefaults(value)]])),
  );
}

export const SCHEMAS: readonly (readonly [file: string, make: () => Schema])[] = [
  ['pgweir-sidecar/values.schema.json', makeSidecarSchema],
  ['pgweir/values.schema.json', makeGatewaySchema],
];

/** What helm/manifests holds: a release each. `values` is a path in this folder. */
export const MANIFESTS: readonly {
  readonly file: string;
  readonly chart: string;
  readonly release: string;
  readonly values: string | null;
}[] = [
  { file: 'manifests/gateway.yaml', chart: 'pgweir', release: 'pgweir', values: null },
  { file: 'manifests/gateway-full.yaml', chart: 'pgweir', release: 'pgweir', values: 'manifests/gateway-full.values.yaml' },
  { file: 'manifests/sidecar.yaml', chart: 'examples/shop', release: 'shop', values: null },
];

/** A copy of this folder in which the charts have their dependencies; this one stays as it is. The caller removes it. */
export function stageCharts(helm: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'pgweir-helm-'));
  cpSync(HERE, folder, { recursive: true });
  for (const chart of new Set(MANIFESTS.map((manifest) => manifest.chart))) {
    execFileSync(helm, ['dependency', 'build', join(folder, chart)], { stdio: 'pipe', timeout: 60_000 });
  }
  return folder;
}

/** `helm template`. Throws the error of helm, with what it said in `stderr`. */
export function renderChart(helm: string, folder: string, chart: string, release: string, more: readonly string[]): string {
  return execFileSync(
    helm,
    ['template', release, join(folder, chart), '--namespace', 'default', '--kube-version', RENDER_VERSION, ...more],
    { encoding: 'utf8', stdio: 'pipe', timeout: 60_000 },
  );
}

export function renderManifest(helm: string, folder: string, manifest: (typeof MANIFESTS)[number]): string {
  const more = manifest.values === null ? [] : ['--values', join(folder, manifest.values)];
  const rendered = renderChart(helm, folder, manifest.chart, manifest.release, more);
  return `# Made by "npm run helm" from the chart ${manifest.chart}: do not edit.\n${rendered}`;
}

if (import.meta.main) {
  for (const [file, make] of SCHEMAS) writeFileSync(join(HERE, file), `${JSON.stringify(make(), null, 2)}\n`);
  renderManifests(process.env.HELM ?? 'helm');
}

function renderManifests(helm: string): void {
  let folder: string;
  try {
    folder = stageCharts(helm);
  } catch (error) {
    console.error(`the schemas are written, the manifests are not: ${helm} cannot be run (${String(error)})`);
    process.exitCode = 1;
    return;
  }
  try {
    for (const manifest of MANIFESTS) writeFileSync(join(HERE, manifest.file), renderManifest(helm, folder, manifest));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
