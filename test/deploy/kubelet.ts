// The part of kubelet that a pod's life depends on: it mounts volumes, starts the container, asks its probes by their periods
// and thresholds, swaps ConfigMaps by the ..data symlink, and ends a pod by preStop, SIGTERM and, past the grace, SIGKILL.
// A pod's address is a loopback address of its own, so that two pods can have the same ports, as in a cluster.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { setWatchdog } from '../support/watchdog.ts';
import { readResidentBytes } from '../support/weir.ts';
import type { ContainerRoot } from './container-root.ts';
import type { Probe, RenderedPod } from './rendered-pod.ts';

export interface PodPlace {
  /** An address of 127.0.0.0/8 that no other pod has. */
  readonly address: string;
  /** Environment that stands for what a cluster has and this machine has not: names of services, addresses of pods. */
  readonly surroundings: Readonly<Record<string, string>>;
}

export interface PodEnd {
  readonly exitCode: number | null;
  readonly signal: NodeJS.Signals | null;
  /** From the deletion to the end of the process. */
  readonly tookMs: number;
}

const LOG_TAIL_CHARACTERS = 20_000;

export class Pod {
  readonly address: string;
  readonly #rendered: RenderedPod;
  readonly #volumes = new Map<string, string>();
  readonly #folder: string;
  readonly #child: ChildProcess;
  readonly #exited: Promise<[number | null, NodeJS.Signals | null]>;
  readonly #callOff: () => void;
  readonly #startedAtMs: number;
  #log = '';
  #isReady = false;
  #isDeleted = false;
  #isGone = false;
  #revision = 0;
  /** Liveness failures in a row at worst: kubelet restarts a container at the threshold. */
  worstLiveness = 0;

  constructor(rendered: RenderedPod, root: ContainerRoot, place: PodPlace) {
    this.address = place.address;
    this.#rendered = rendered;
    this.#folder = mkdtempSync(join(tmpdir(), 'pgweir-pod-'));
    for (const [path, files] of rendered.configurations) {
      const outside = this.#makeVolume(path);
      this.#writeRevision(outside, files);
    }
    for (const path of rendered.writableFolders) chownSync(this.#makeVolume(path), rendered.user, rendered.user);
    const [program = '', ...words] = root.enter(rendered.command, rendered.user, this.#volumes);
    this.#startedAtMs = performance.now();
    this.#child = spawn(program, words, {
      env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', ...rendered.environment, ...place.surroundings },
      cwd: '/',
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#callOff = setWatchdog('kill -9 "$1"; rm -rf "$2"', [String(this.#child.pid ?? ''), this.#folder]);
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream?.setEncoding('utf8').on('data', (chunk: string) => {
        this.#log = (this.#log + chunk).slice(-LOG_TAIL_CHARACTERS);
      });
    }
    this.#exited = once(this.#child, 'exit') as Promise<[number | null, NodeJS.Signals | null]>;
    this.#child.once('exit', () => {
      this.#isGone = true;
      this.#isReady = false;
    });
  }

  /** As a Service's endpoints have it. */
  get isReady(): boolean {
    return this.#isReady && !this.#isDeleted;
  }

  get isGone(): boolean {
    return this.#isGone;
  }

  log(): string {
    return this.#log;
  }

  residentBytes(): number {
    return readResidentBytes(this.#child.pid ?? 0);
  }

  /** Processor time of all its threads so far; Linux only, in steps of 10 ms (proc_pid_stat(5): utime, stime). */
  processorMs(): number {
    const fields = readFileSync(`/proc/${this.#child.pid}/stat`, 'utf8')
      .replace(/^.*\) /, '')
      .split(' ');
    return (Number(fields[11]) + Number(fields[12])) * 10;
  }

  port(name: string): number {
    const port = this.#rendered.ports.get(name);
    if (port === undefined) throw new Error(`the pod has no port ${name}`);
    return port;
  }

  /** Asks the startup probe as kubelet does, then starts the other two. Resolves with the time to the first good answer. */
  async start(pollMs = this.#rendered.startup.periodMs): Promise<number> {
    const { startup } = this.#rendered;
    const endsAtMs = this.#startedAtMs + startup.periodMs * startup.failureThreshold;
    while (!(await this.#ask(startup))) {
      if (this.#isGone) throw new Error(`the container has ended\n${this.#log}`);
      if (performance.now() > endsAtMs)
        throw new Error(`the startup probe has failed ${startup.failureThreshold} times\n${this.#log}`);
      await sleep(pollMs);
    }
    const tookMs = performance.now() - this.#startedAtMs;
    this.#isReady = await this.#ask(this.#rendered.readiness);
    void this.#watchReadiness();
    void this.#watchLiveness();
    return tookMs;
  }

  /** Asks a path of the health port, outside the probes. */
  async fetchText(path: string): Promise<string> {
    const url = `http://${this.address}:${this.port('pgweir-metrics')}${path}`;
    return await (await fetch(url, { signal: AbortSignal.timeout(5_000) })).text();
  }

  /** A new revision of a mounted ConfigMap: written beside, then brought in by renaming the symlink, and the old one removed. */
  swapConfiguration(mountPath: string, changes: Readonly<Record<string, string>>): void {
    const outside = this.#volumes.get(mountPath);
    const files = this.#rendered.configurations.get(mountPath);
    if (outside === undefined || files === undefined) throw new Error(`no ConfigMap is mounted at ${mountPath}`);
    this.#writeRevision(outside, { ...files, ...changes });
  }

  /**
   * Ends the pod as its deletion does: out of the endpoints after `endpointLagMs`, preStop, SIGTERM, and SIGKILL when the grace
   * is over.
   */
  async delete(endpointLagMs = 0): Promise<PodEnd> {
    const deletedAtMs = performance.now();
    const { preStopMs, graceMs } = this.#rendered;
    const leaveEndpoints = setTimeout(() => {
      this.#isDeleted = true;
    }, endpointLagMs);
    await sleep(preStopMs);
    this.#child.kill('SIGTERM');
    const execution = setTimeout(() => this.#child.kill('SIGKILL'), graceMs - preStopMs);
    const [exitCode, signal] = await this.#exited;
    clearTimeout(execution);
    clearTimeout(leaveEndpoints);
    return { exitCode, signal, tookMs: performance.now() - deletedAtMs };
  }

  /** For the end of a test: whatever state it is in. */
  async destroy(): Promise<void> {
    if (!this.#isGone) this.#child.kill('SIGKILL');
    if (!this.#isGone) await this.#exited;
    this.#callOff();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  async #watchReadiness(): Promise<void> {
    const { readiness } = this.#rendered;
    let failures = 0;
    while (!this.#isGone) {
      failures = (await this.#ask(readiness)) ? 0 : failures + 1;
      this.#isReady = failures === 0 || (this.#isReady && failures < readiness.failureThreshold);
      await sleep(readiness.periodMs, undefined, { ref: false });
    }
  }

  async #watchLiveness(): Promise<void> {
    const { liveness } = this.#rendered;
    let failures = 0;
    while (!this.#isGone) {
      const isGood = await this.#ask(liveness);
      if (this.#isGone) return;
      failures = isGood ? 0 : failures + 1;
      this.worstLiveness = Math.max(this.worstLiveness, failures);
      await sleep(liveness.periodMs, undefined, { ref: false });
    }
  }

  /** As kubelet: any status from 200 up to 399 is success; no answer within the timeout is failure. */
  async #ask(probe: Probe): Promise<boolean> {
    try {
      const url = `http://${this.address}:${probe.port}${probe.path}`;
      const answer = await fetch(url, { signal: AbortSignal.timeout(probe.timeoutMs), redirect: 'manual' });
      await answer.arrayBuffer();
      return answer.status >= 200 && answer.status < 400;
    } catch {
      return false;
    }
  }

  #makeVolume(path: string): string {
    const outside = join(this.#folder, String(this.#volumes.size));
    mkdirSync(outside, { recursive: true });
    this.#volumes.set(path, outside);
    return outside;
  }

  /** AtomicWriter of Kubernetes: a folder for each revision, ..data points to it, each name points through ..data. */
  #writeRevision(volume: string, files: Readonly<Record<string, string>>): void {
    this.#revision += 1;
    const revision = `..2026_01_01_00_00_00.${this.#revision}`;
    const pointer = join(volume, '..data');
    const old = existsSync(pointer) ? readlinkSync(pointer) : null;
    mkdirSync(join(volume, revision));
    for (const [name, text] of Object.entries(files)) writeFileSync(join(volume, revision, name), text);
    symlinkSync(revision, join(volume, '..data_tmp'));
    renameSync(join(volume, '..data_tmp'), pointer);
    for (const name of Object.keys(files)) {
      if (!existsSync(join(volume, name))) symlinkSync(join('..data', name), join(volume, name));
    }
    if (old !== null) rmSync(join(volume, old), { recursive: true });
  }
}
