// A rendered manifest, read as kubelet reads it: the container called pgweir, what is mounted into it, its probes and ends.

import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { parseAllDocuments } from 'yaml';

const ROOT = resolve(import.meta.dirname, '../..');

export interface Probe {
  readonly path: string;
  readonly port: number;
  readonly periodMs: number;
  readonly timeoutMs: number;
  readonly failureThreshold: number;
}

export interface RenderedPod {
  /** The image's entrypoint and the manifest's args. */
  readonly command: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  readonly user: number;
  readonly isRootReadOnly: boolean;
  /** A file's text by its name, by where the ConfigMap is mounted. */
  readonly configurations: ReadonlyMap<string, Readonly<Record<string, string>>>;
  readonly writableFolders: readonly string[];
  readonly ports: ReadonlyMap<string, number>;
  readonly startup: Probe;
  readonly readiness: Probe;
  readonly liveness: Probe;
  readonly preStopMs: number;
  readonly graceMs: number;
}

export interface KubernetesObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string };
  readonly data?: Readonly<Record<string, string>>;
  readonly spec?: Readonly<Record<string, unknown>>;
}

interface ContainerSpec {
  readonly name: string;
  readonly args: readonly string[];
  readonly env?: readonly { readonly name: string; readonly value: string }[];
  readonly ports: readonly { readonly name: string; readonly containerPort: number }[];
  readonly startupProbe: ProbeSpec;
  readonly readinessProbe: ProbeSpec;
  readonly livenessProbe: ProbeSpec;
  readonly lifecycle: { readonly preStop: { readonly sleep: { readonly seconds: number } } };
  readonly securityContext: { readonly runAsUser: number; readonly readOnlyRootFilesystem: boolean };
  readonly volumeMounts: readonly { readonly name: string; readonly mountPath: string }[];
}

interface ProbeSpec {
  readonly httpGet: { readonly path: string; readonly port: string };
  readonly periodSeconds: number;
  readonly timeoutSeconds: number;
  readonly failureThreshold: number;
}

interface VolumeSpec {
  readonly name: string;
  readonly emptyDir?: object;
  readonly projected?: { readonly sources: readonly { readonly configMap: ConfigMapSource }[] };
}

interface ConfigMapSource {
  readonly name: string;
  readonly items: readonly { readonly key: string; readonly path: string }[];
}

interface PodSpec {
  readonly terminationGracePeriodSeconds: number;
  readonly initContainers?: readonly ContainerSpec[];
  readonly containers: readonly ContainerSpec[];
  readonly volumes: readonly VolumeSpec[];
}

/** Every object of a manifest in helm/manifests. Throws Error for text that is no YAML. */
export function readManifest(name: string): KubernetesObject[] {
  const documents = parseAllDocuments(readFileSync(resolve(ROOT, 'helm/manifests', name), 'utf8'));
  return documents.map((document) => document.toJS() as KubernetesObject | null).filter((value) => value !== null);
}

export function podSpecOf(objects: readonly KubernetesObject[]): PodSpec {
  const deployment = objects.find((object) => object.kind === 'Deployment');
  const spec = deployment?.spec as { readonly template: { readonly spec: PodSpec } } | undefined;
  if (spec === undefined) throw new Error('the manifest has no Deployment');
  return spec.template.spec;
}

export function readRenderedPod(name: string): RenderedPod {
  const objects = readManifest(name);
  const spec = podSpecOf(objects);
  const container = [...(spec.initContainers ?? []), ...spec.containers].find(({ name }) => name === 'pgweir');
  if (container === undefined) throw new Error(`${name} has no container called pgweir`);
  const ports = new Map(container.ports.map((port) => [port.name, port.containerPort]));
  const readProbe = (probe: ProbeSpec): Probe => {
    const port = ports.get(probe.httpGet.port);
    if (port === undefined) throw new Error(`a probe asks the port ${probe.httpGet.port}, which the container has not`);
    return {
      path: probe.httpGet.path,
      port,
      periodMs: probe.periodSeconds * 1000,
      timeoutMs: probe.timeoutSeconds * 1000,
      failureThreshold: probe.failureThreshold,
    };
  };
  const configurations = new Map<string, Record<string, string>>();
  const writableFolders: string[] = [];
  for (const { name: volumeName, mountPath } of container.volumeMounts) {
    const volume = spec.volumes.find((candidate) => candidate.name === volumeName);
    if (volume?.emptyDir !== undefined) writableFolders.push(mountPath);
    else if (volume?.projected !== undefined) {
      const files = volume.projected.sources.flatMap(({ configMap }) => readConfigMap(objects, configMap));
      configurations.set(mountPath, Object.fromEntries(files));
    } else throw new Error(`the mount ${volumeName} has no volume that this test can make`);
  }
  return {
    command: [...readEntrypoint(), ...container.args],
    environment: Object.fromEntries((container.env ?? []).map(({ name, value }) => [name, value])),
    user: container.securityContext.runAsUser,
    isRootReadOnly: container.securityContext.readOnlyRootFilesystem,
    configurations,
    writableFolders,
    ports,
    startup: readProbe(container.startupProbe),
    readiness: readProbe(container.readinessProbe),
    liveness: readProbe(container.livenessProbe),
    preStopMs: container.lifecycle.preStop.sleep.seconds * 1000,
    graceMs: spec.terminationGracePeriodSeconds * 1000,
  };
}

function readConfigMap(objects: readonly KubernetesObject[], source: ConfigMapSource): [string, string][] {
  const map = objects.find((object) => object.kind === 'ConfigMap' && object.metadata.name === source.name);
  return source.items.map(({ key, path }) => {
    const text = map?.data?.[key];
    if (text === undefined) throw new Error(`the ConfigMap ${source.name} has no key ${key}`);
    return [path, text];
  });
}

/** Of the image: what its Dockerfile says. */
function readEntrypoint(): string[] {
  const dockerfile = readFileSync(resolve(ROOT, 'Dockerfile'), 'utf8');
  const words = /^ENTRYPOINT (\[.*\])$/m.exec(dockerfile)?.[1];
  if (words === undefined) throw new Error('the Dockerfile has no ENTRYPOINT');
  return JSON.parse(words) as string[];
}
