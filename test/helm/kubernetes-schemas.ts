// JSON Schemas of Kubernetes and of the Prometheus operator, made from what their Go modules carry (the OpenAPI description
// and the CRDs), in the layout that kubeconform reads. Strict: a key that the API does not know is an error.

import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parse } from 'yaml';

const OPERATOR = 'github.com/prometheus-operator/prometheus-operator@v0.85.0';
const OPERATOR_CRDS = 'example/prometheus-operator-crd';
const INT_OR_STRING = 'io.k8s.apimachinery.pkg.util.intstr.IntOrString';
const QUANTITY = 'io.k8s.apimachinery.pkg.api.resource.Quantity';

type Schema = Readonly<Record<string, unknown>>;

interface GroupVersionKind {
  readonly group: string;
  readonly version: string;
  readonly kind: string;
}

/** For kubeconform's -schema-location. */
export const LOCATION = '{{.ResourceKind}}{{.KindSuffix}}.json';

/** Writes a file for each kind of that version of Kubernetes, and for the operator's. Throws where a module cannot be had. */
export function writeSchemas(folder: string, kubernetesVersion: string): void {
  mkdirSync(folder, { recursive: true });
  const swagger = JSON.parse(
    readFileSync(join(fetchModule(`k8s.io/kubernetes@v${kubernetesVersion}`), 'api/openapi-spec/swagger.json'), 'utf8'),
  ) as { definitions: Record<string, Schema> };
  const definitions = Object.fromEntries(
    Object.entries(swagger.definitions).map(([name, schema]) => [name, close(schema)] as const),
  );
  definitions[INT_OR_STRING] = { type: ['integer', 'string'] };
  definitions[QUANTITY] = { type: ['number', 'string'] };
  for (const [name, schema] of Object.entries(swagger.definitions)) {
    const kinds = (schema['x-kubernetes-group-version-kind'] ?? []) as readonly GroupVersionKind[];
    const [only] = kinds;
    if (only === undefined || kinds.length > 1) continue;
    const needed = Object.fromEntries([...reach(name, definitions)].map((key) => [key, definitions[key]]));
    writeSchema(folder, only, { $ref: `#/definitions/${name}`, definitions: needed });
  }
  const crds = join(fetchModule(OPERATOR), OPERATOR_CRDS);
  for (const file of readdirSync(crds).filter((name) => name.endsWith('.yaml'))) {
    const { spec } = parse(readFileSync(join(crds, file), 'utf8')) as {
      spec: {
        group: string;
        names: { kind: string };
        versions: { name: string; schema: { openAPIV3Schema: Schema } }[];
      };
    };
    for (const { name, schema } of spec.versions) {
      const kind = { group: spec.group, version: name, kind: spec.names.kind };
      const closed = close(schema.openAPIV3Schema);
      const properties = { ...(closed.properties as Schema), metadata: { type: 'object' } };
      writeSchema(folder, kind, { ...closed, properties });
    }
  }
}

function writeSchema(folder: string, { group, version, kind }: GroupVersionKind, schema: Schema): void {
  const words = [kind, group.split('.')[0] ?? '', version].filter((word) => word !== '');
  writeFileSync(join(folder, `${words.join('-').toLowerCase()}.json`), JSON.stringify(schema));
}

/** Where the module is unpacked. */
function fetchModule(module: string): string {
  const answer = execFileSync('go', ['mod', 'download', '-json', module], {
    cwd: tmpdir(),
    encoding: 'utf8',
    timeout: 600_000,
    env: { ...process.env, GOFLAGS: '-mod=mod', GO111MODULE: 'on' },
  });
  return (JSON.parse(answer) as { Dir: string }).Dir;
}

/** An object with named properties has no others, unless it says so. */
function close(schema: Schema): Schema {
  const closed = Object.fromEntries(Object.entries(schema).map(([key, value]) => [key, closeValue(key, value)]));
  const isOpen =
    closed.properties === undefined ||
    closed.additionalProperties !== undefined ||
    closed['x-kubernetes-preserve-unknown-fields'] === true;
  if (closed['x-kubernetes-int-or-string'] === true) return { type: ['integer', 'string'] };
  // What Go formats so (int32, date-time …) is for clients; formats that are not known would be errors.
  delete closed.format;
  return isOpen ? closed : { ...closed, additionalProperties: false };
}

function closeValue(key: string, value: unknown): unknown {
  if (key === 'properties' || key === 'definitions') {
    return Object.fromEntries(
      Object.entries(value as Record<string, Schema>).map(([name, part]) => [name, close(part)]),
    );
  }
  if ((key === 'items' || key === 'additionalProperties') && typeof value === 'object') return close(value as Schema);
  return value;
}

/** The names of the definitions that one needs, itself among them. */
function reach(name: string, definitions: Readonly<Record<string, Schema>>): Set<string> {
  const found = new Set([name]);
  for (const next of found) {
    const text = JSON.stringify(definitions[next] ?? {});
    for (const [, target = ''] of text.matchAll(/"\$ref":"#\/definitions\/([^"]+)"/g)) found.add(target);
  }
  return found;
}
