// The life of pgweir's pod without a cluster: command, arguments, environment, mounted files, probes and ends come from the
// rendered manifest; the process runs in a root that holds Node and the bundle only. Needs root (chroot, mount).

import { availableParallelism, loadavg } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { waitFor, withDeadline } from '../support/deadline.ts';
import { sharedPostgres } from '../support/shared-postgres.ts';
import { WireClient } from '../support/wire-client.ts';
import { BUSY_TABLE, keepBusy } from './busy-clients.ts';
import { buildContainerRoot, type ContainerRoot } from './container-root.ts';
import { Pod } from './kubelet.ts';
import { readRenderedPod } from './rendered-pod.ts';

const STARTS = 7;
const MAX_START_MS = 300;
const MAX_IDLE_BYTES = 100 << 20;
const CLIENTS = 64;
/** Endpoints hear of the end of a pod with such a delay. */
const ENDPOINT_LAG_MS = 1_000;

const postgres = sharedPostgres();
let root: ContainerRoot;
let pods: Pod[] = [];

beforeAll(async () => {
  root = await buildContainerRoot();
});
afterEach(async () => {
  for (const pod of pods) await pod.destroy();
  pods = [];
});
afterAll(() => root?.remove());

/** A pod of the manifest; what a cluster's network and DNS would give it comes in by environment. */
function makePod(manifest: string, address: string): Pod {
  const rendered = readRenderedPod(manifest);
  const pod = new Pod(rendered, root, {
    address,
    surroundings: {
      PGWEIR_LISTEN_HOST: address,
      PGWEIR_HEALTH_HOST: address,
      PGWEIR_ADMIN_HOST: address,
      PGWEIR_TARGETS_PRIMARY_HOST: postgres.host,
      PGWEIR_TARGETS_PRIMARY_PORT: String(postgres.primaryPort),
    },
  });
  pods.push(pod);
  return pod;
}

const revisionOf = async (pod: Pod): Promise<string> =>
  /^pgweir_rules_info\{version="([^"]+)"\} 1$/m.exec(await pod.fetchText('/metrics'))?.[1] ?? '';

test.each(['gateway.yaml', 'sidecar.yaml'])('%s starts by its probes, serves, and ends with 0', async (manifest) => {
  const pod = makePod(manifest, '127.0.71.1');
  await pod.start();
  expect(pod.isReady).toBe(true);
  const client = await WireClient.login({ ...postgres, host: pod.address, port: pod.port('pgweir-pg') });
  expect(await client.rows('SELECT 1')).toEqual([['1']]);
  await client.end();
  const end = await pod.delete();
  expect(end).toMatchObject({ exitCode: 0, signal: null });
});

test('a configuration that is no good ends the container before it is ready, with the reason in its log', async () => {
  const rendered = readRenderedPod('gateway.yaml');
  const configurations = new Map([['/etc/pgweir', { 'pgweir.yaml': 'listen: { prot: 1 }\n', 'rules.yaml': '' }]]);
  const pod = new Pod({ ...rendered, configurations }, root, { address: '127.0.71.1', surroundings: {} });
  pods.push(pod);
  await expect(pod.start()).rejects.toThrow(/the container has ended[\s\S]*listen/);
});

test('a swapped ConfigMap brings its rules in, seen in the metrics; a bad one leaves them and says so', async () => {
  const pod = makePod('gateway.yaml', '127.0.71.1');
  await pod.start();
  const before = await revisionOf(pod);
  const client = await WireClient.login({ ...postgres, host: pod.address, port: pod.port('pgweir-pg') });
  const rules = 'traffic_control: { rules: [{ name: no_ones, match: { query_regex: "select 1$" }, action: deny }] }\n';
  pod.swapConfiguration('/etc/pgweir', { 'rules.yaml': rules });
  const after = await waitFor(
    async () => {
      const now = await revisionOf(pod);
      return now !== before && now;
    },
    10_000,
    () => `the revision stays\n${pod.log()}`,
  );
  expect((await client.query('select 1'))[0]?.type).toBe('E');
  pod.swapConfiguration('/etc/pgweir', { 'rules.yaml': 'traffic_control: { rules: [{ name: broken }] }\n' });
  await waitFor(
    async () => (await pod.fetchText('/metrics')).includes('pgweir_rules_last_reload_successful 0'),
    10_000,
    () => pod.log(),
  );
  expect(await revisionOf(pod)).toBe(after);
  expect((await client.query('select 1'))[0]?.type).toBe('E');
  client.destroy();
});

test(`SIGTERM under ${CLIENTS} busy clients cuts no transaction, and who reconnects finds the second pod`, async () => {
  const [first, second] = [makePod('gateway.yaml', '127.0.71.1'), makePod('gateway.yaml', '127.0.71.2')];
  await first.start();
  await postgres.query(BUSY_TABLE);
  try {
    let isOver = false;
    let turn = 0;
    const working = keepBusy({
      clients: CLIENTS,
      database: postgres.database,
      user: postgres.user,
      port: first.port('pgweir-pg'),
      choose: () => {
        const ready = [first, second].filter((pod) => pod.isReady);
        return (ready[turn++ % ready.length] ?? first).address;
      },
      isOver: () => isOver,
    });
    // The second comes when all are busy on the first, as in a rolling update.
    await sleep(1_000);
    await second.start();
    await sleep(500);
    const atDeletion = await openSessions(first);
    const end = await withDeadline(first.delete(ENDPOINT_LAG_MS), 60_000, () => first.log());
    await sleep(1_000);
    isOver = true;
    const tally = await withDeadline(working, 30_000, () => 'the clients do not end');
    const [{ kept } = { kept: 0 }] = (await postgres.query('SELECT count(*)::int AS kept FROM busy')).rows;
    console.log(
      `${tally.committed} transactions; ${atDeletion} sessions on the pod when it was deleted; ${tally.reconnected} reconnections; ` +
        `the pod ended ${(end.tookMs / 1000).toFixed(1)} s after its deletion, of ${readRenderedPod('gateway.yaml').graceMs / 1000} s`,
    );
    expect(atDeletion).toBe(CLIENTS);
    expect(tally.reconnected).toBeGreaterThanOrEqual(atDeletion);
    expect([tally.cut, tally.refused]).toEqual([[], []]);
    expect(kept).toBe(tally.committed);
    expect(end).toMatchObject({ exitCode: 0, signal: null });
    expect([first.worstLiveness, second.worstLiveness]).toEqual([0, 0]);
  } finally {
    await postgres.query('DROP TABLE busy');
  }
});

async function openSessions(pod: Pod): Promise<number> {
  const lines = (await pod.fetchText('/metrics')).matchAll(/^pgweir_client_connections\{[^}]*\} (\d+)$/gm);
  return [...lines].reduce((sum, [, count]) => sum + Number(count), 0);
}

test(`the bundle is ready after under ${MAX_START_MS} ms of work, and idle keeps under ${MAX_IDLE_BYTES >> 20} MiB`, async () => {
  const startsMs: number[] = [];
  const workMs: number[] = [];
  const residents: number[] = [];
  for (let round = 0; round < STARTS; round++) {
    const pod = makePod('sidecar.yaml', '127.0.71.3');
    startsMs.push(await pod.start(2));
    workMs.push(pod.processorMs());
    await sleep(1_500);
    residents.push(pod.residentBytes());
    await pod.destroy();
  }
  const residentBytes = Math.max(...residents);
  console.log(
    `ready after ${medianOf(startsMs).toFixed(0)} ms (median of ${STARTS}; fastest ${Math.min(...startsMs).toFixed(0)} ms), with ` +
      `${medianOf(workMs)} ms of processor time, at a load of ${(loadavg()[0] ?? 0).toFixed(1)} on ${availableParallelism()} processors; ` +
      `idle ${(residentBytes / (1 << 20)).toFixed(1)} MiB`,
  );
  expect(residentBytes).toBeLessThan(MAX_IDLE_BYTES);
  // Processor time, not the clock's: on a machine that does nothing else the two are the same, on a busy one the clock tells
  // of the others.
  expect(medianOf(workMs)).toBeLessThan(MAX_START_MS);
});

function medianOf(numbers: readonly number[]): number {
  return numbers.toSorted((left, right) => left - right)[numbers.length >> 1] ?? Number.POSITIVE_INFINITY;
}
