// The metrics as Prometheus reads them: well formed, complete, bounded, and true to the counters.

import type { FastifyInstance } from 'fastify';
import { afterEach, expect, test } from 'vitest';
import { DURATION_METRICS, NUMBER_METRICS } from '../../src/admin/metrics.ts';
import { buildAdminServer } from '../../src/admin/server.ts';
import { makeHit, makeShape, makeSubject, makeVerdict } from '../audit/verdict-maker.ts';
import { makePool, StandIn } from './stand-in.ts';

let server: FastifyInstance | null = null;
afterEach(() => server?.close());

interface Sample {
  readonly name: string;
  readonly labels: Record<string, string>;
  readonly value: number;
}

/** A strict reader of the text format 0.0.4; throws at the first line that does not belong in it. */
function readSamples(text: string): { samples: Sample[]; types: Map<string, string> } {
  const samples: Sample[] = [];
  const types = new Map<string, string>();
  for (const line of text.split('\n')) {
    if (line === '' || line.startsWith('# HELP ')) continue;
    const type = /^# TYPE (\w+) (counter|gauge|histogram|summary)$/.exec(line);
    if (type !== null) {
      if (types.has(type[1] ?? '')) throw new Error(`two metrics are called ${type[1]}`);
      types.set(type[1] ?? '', type[2] ?? '');
      continue;
    }
    const sample = /^([a-z_]\w*)(?:\{(.*)\})? (\S+)$/i.exec(line);
    if (sample === null) throw new Error(`no sample: ${line}`);
    const labels: Record<string, string> = {};
    for (const [, name = '', value = ''] of (sample[2] ?? '').matchAll(/(\w+)="((?:[^"\\]|\\.)*)",?/g))
      labels[name] = value;
    const value = Number(sample[3]?.replace('+Inf', 'Infinity'));
    if (Number.isNaN(value) && sample[3] !== 'Nan') throw new Error(`no number: ${line}`);
    samples.push({ name: sample[1] ?? '', labels, value });
  }
  return { samples, types };
}

async function scrape(control: StandIn) {
  server ??= buildAdminServer(control, { admin: { host: '127.0.0.1', port: 0, token: null } });
  const answer = await server.inject('/metrics');
  expect(answer.headers['content-type']).toBe('text/plain; version=0.0.4; charset=utf-8');
  const read = readSamples(answer.body);
  const value = (name: string, labels: Record<string, string> = {}): number | undefined =>
    read.samples.find(
      (sample) =>
        sample.name === name && Object.entries(labels).every(([key, wanted]) => sample.labels[key] === wanted),
    )?.value;
  return { ...read, value };
}

afterEach(() => {
  server = null;
});

test('every metric of the table is there with its type, and the default process metrics too', async () => {
  const { types } = await scrape(new StandIn());
  for (const metric of NUMBER_METRICS)
    expect([metric.name, types.get(`pgweir_${metric.name}`)]).toEqual([metric.name, metric.type]);
  for (const metric of DURATION_METRICS) expect(types.get(`pgweir_${metric.name}`)).toBe('histogram');
  expect(types.get('pgweir_build_info')).toBe('gauge');
  expect(types.get('process_resident_memory_bytes')).toBe('gauge');
});

test('numbers are those of the counters at the time of the scrape, also the second time', async () => {
  const control = new StandIn();
  const rule = control.rules.active.rules.find((candidate) => candidate.name === 'from_dual');
  if (rule === undefined) throw new Error('no rule');
  const verdict = makeVerdict(control.rules.active, makeSubject(), [
    makeHit(rule, makeShape('aaaaaaaaaaaaaaaa'), 'deny'),
  ]);
  control.recorder.recordVerdict(verdict);
  control.counters.errors.set('42501', 3);
  control.counters.leasesTaken = 7;
  const first = await scrape(control);
  expect(first.value('pgweir_statements_total', { rule: 'from_dual', action: 'deny', mode: 'observe' })).toBe(1);
  expect(first.value('pgweir_rule_effects_total', { rule: 'from_dual', effect: 'would_refuse' })).toBe(1);
  expect(first.value('pgweir_errors_total', { code: '42501' })).toBe(3);
  expect(first.value('pgweir_pool_acquires_total')).toBe(7);
  expect(first.value('pgweir_client_connections', { state: 'idle' })).toBe(1);
  expect(first.value('pgweir_rules_info', { version: control.rules.version })).toBe(1);
  expect(first.value('pgweir_event_loop_delay_seconds')).toBe(0.0015);
  control.recorder.recordVerdict(verdict);
  control.rules.post('traffic_control: {}', 'test', { actor: 'test' });
  const second = await scrape(control);
  expect(second.value('pgweir_statements_total', { rule: 'from_dual' })).toBeUndefined();
  expect(second.samples.filter((sample) => sample.name === 'pgweir_rules_info')).toHaveLength(1);
  expect(second.value('pgweir_rules_swaps_total')).toBe(1);
});

test('histograms are cumulative, end in +Inf, and their sum and count fit', async () => {
  const control = new StandIn();
  const histogram = control.recorder.statementDuration('primary');
  for (const seconds of [0.0001, 0.02, 0.02, 100]) histogram.observe(seconds);
  const { samples, value } = await scrape(control);
  const name = 'pgweir_statement_duration_seconds';
  const buckets = samples.filter((sample) => sample.name === `${name}_bucket` && sample.labels.target === 'primary');
  expect(buckets.at(-1)?.labels.le).toBe('+Inf');
  const counts = buckets.map((bucket) => bucket.value);
  expect(counts).toEqual([...counts].sort((left, right) => left - right));
  expect([counts[0], counts.at(-2), counts.at(-1)]).toEqual([1, 3, 4]);
  expect(value(`${name}_count`, { target: 'primary' })).toBe(4);
  expect(value(`${name}_sum`, { target: 'primary' })).toBeCloseTo(100.0401);
});

test('series do not grow with fingerprints, applications or sessions', async () => {
  const control = new StandIn();
  const before = (await scrape(control)).samples.length;
  const rule = control.rules.active.rules[0];
  if (rule === undefined) throw new Error('no rule');
  for (let index = 0; index < 500; index += 1) {
    const subject = makeSubject({ applicationName: `app${index}`, user: `user${index}` });
    const verdict = makeVerdict(control.rules.active, subject, [makeHit(rule, makeShape(`${index}`))]);
    control.recorder.recordVerdict(verdict);
    control.summaries.push({ ...(control.summaries[0] ?? fail()), id: index + 10 });
  }
  const { samples, value } = await scrape(control);
  expect(samples.length).toBeLessThan(before + 20);
  expect(value('pgweir_observations_other_total')).toBeGreaterThan(0);
  expect(value('pgweir_client_connections', { state: 'idle' })).toBe(501);
});

test('in mode session server connections are those of the targets, and the leases those that were counted', async () => {
  const control = new StandIn();
  control.counters.leasesTaken = 7;
  control.counters.leasesReturned = 4;
  const { samples, value } = await scrape(control);
  expect(samples.filter((sample) => sample.name === 'pgweir_server_connections')).toEqual([
    { name: 'pgweir_server_connections', labels: { target: 'primary', state: 'open' }, value: 3 },
  ]);
  expect([value('pgweir_pool_releases_total'), value('pgweir_pool_held_leases')]).toEqual([4, 3]);
  expect(value('pgweir_pool_pins')).toBeUndefined();
});

test('in mode transaction they are those of the pools, summed over databases and users of a target', async () => {
  const control = new StandIn();
  control.poolMode = 'transaction';
  const before = await scrape(control);
  expect(before.value('pgweir_server_connections', { target: 'primary', state: 'idle' })).toBe(0);
  control.poolSummaries = [makePool(), makePool({ user: 'bob' }), makePool({ database: 'depot' })];
  control.counters.leasesTaken = 9_999;
  control.waits.observe(0.02);
  const { value, samples } = await scrape(control);
  const ofPrimary = (name: string, labels: Record<string, string> = {}) =>
    value(`pgweir_${name}`, { target: 'primary', ...labels });
  expect(
    ['idle', 'active', 'reclaimable', 'pinned', 'opening'].map((state) => ofPrimary('server_connections', { state })),
  ).toEqual([9, 6, 12, 3, 3]);
  expect(ofPrimary('server_connections', { state: 'open' })).toBeUndefined();
  expect([
    ofPrimary('pool_waiting_clients'),
    ofPrimary('pool_wait_timeouts_total'),
    ofPrimary('pool_handovers_total'),
    ofPrimary('pool_settlements_total'),
    ofPrimary('pool_connections_opened_total'),
    ofPrimary('pool_statements_total', { connection: 'shared' }),
    ofPrimary('pool_statements_total', { connection: 'pinned' }),
  ]).toEqual([15, 18, 120, 90, 36, 2_700, 300]);
  const [acquires = 0, releases = 0, held = 0] = ['acquires_total', 'releases_total', 'held_leases'].map((name) =>
    value(`pgweir_pool_${name}`),
  );
  expect([acquires, releases, held]).toEqual([321, 300, 21]);
  expect([
    value('pgweir_pool_pins', { reason: 'temporary' }),
    value('pgweir_pool_pinned_seconds_total', { reason: 'temporary' }),
    value('pgweir_pool_pinned_seconds_total', { reason: 'listen' }),
  ]).toEqual([3, 7.5, 1.5]);
  expect([
    value('pgweir_queue_wait_seconds_count', { cause: 'connection' }),
    value('pgweir_queue_wait_seconds_count', { cause: 'limit' }),
  ]).toEqual([1, 0]);
  expect(samples.some(({ labels }) => 'user' in labels || 'database' in labels)).toBe(false);
});

test('series do not grow with users and databases', async () => {
  const control = new StandIn();
  control.poolMode = 'transaction';
  control.poolSummaries = [makePool()];
  const before = (await scrape(control)).samples.length;
  for (let index = 0; index < 200; index += 1)
    control.poolSummaries.push(makePool({ user: `user${index}`, database: `db${index}` }));
  expect((await scrape(control)).samples.length).toBeLessThan(before + 20);
});

test('a rule name with quotes or a line break cannot forge a sample', async () => {
  const control = new StandIn();
  const name = 'a"} 1\npgweir_ready 0';
  try {
    control.rules.post(`traffic_control: { rules: [ { name: ${JSON.stringify(name)}, action: observe } ] }`, 'test', {
      actor: 'test',
    });
  } catch {
    // Refused by the schema of rules: then it cannot come here at all.
  }
  const { value } = await scrape(control);
  expect(value('pgweir_ready')).toBe(1);
});

function fail(): never {
  throw new Error('nothing there');
}
