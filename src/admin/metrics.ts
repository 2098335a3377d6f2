// Every metric in one table. The rooms keep plain numbers; they are read here, when someone scrapes. No label is unbounded:
// rules are bounded by the document, targets by the settings, error codes by what pgweir, rules and servers use; never a label
// per fingerprint.

import { Counter, collectDefaultMetrics, Gauge, Histogram as PromHistogram, Registry } from 'prom-client';
import type { CompiledRule, RuleCounters } from '../policy/rule.ts';
import type { ControlPlane } from './control.ts';
import { type DurationMetric, type NumberMetric, one, type Series } from './metric.ts';
import { POOL_METRICS } from './pool-metrics.ts';

const RULE_EFFECTS: readonly (readonly [name: string, field: keyof RuleCounters])[] = [
  ['refused', 'refused'],
  ['would_refuse', 'wouldRefuse'],
  ['routed', 'routed'],
  ['would_route', 'wouldRoute'],
  ['killed', 'killed'],
  ['kill_raced', 'killRaced'],
  ['would_kill', 'wouldKill'],
  ['waited', 'waited'],
];

export const NUMBER_METRICS: readonly NumberMetric[] = [
  {
    name: 'statements_total',
    type: 'counter',
    help: 'Statements that a rule of the active ruleset matched. rule="" stands for messages that no rule matched.',
    labels: ['rule', 'action', 'mode'],
    read: ({ rules, recorder }) => [
      [['', 'none', 'none'], recorder.unmatched],
      ...rules.active.rules.map((rule): Series => [[rule.name, rule.action, rule.mode], rule.counters.matched]),
    ],
  },
  {
    name: 'rule_effects_total',
    type: 'counter',
    help:
      'What rules did to statements, or in observe mode would have done (would_*). What is routed to a replica and stays ' +
      'on the primary after all is counted here, too, and by unroutable_total.',
    labels: ['rule', 'effect'],
    read: ({ rules }) => rules.active.rules.flatMap(listEffects),
  },
  {
    name: 'messages_judged_total',
    type: 'counter',
    help: 'Messages with statements that were judged.',
    labels: [],
    read: ({ recorder }) => one(recorder.judged),
  },
  {
    name: 'messages_unparsed_total',
    type: 'counter',
    help: 'Messages of which a part could not be read, whatever on_unparsed then said.',
    labels: [],
    read: ({ recorder }) => one(recorder.unparsed),
  },
  {
    name: 'ruleless_refusals_total',
    type: 'counter',
    help: 'Refusals in which no rule spoke, by what did.',
    labels: ['cause'],
    read: ({ recorder }) => [...recorder.rulelessRefusals()].map(([cause, count]): Series => [[cause], count]),
  },
  {
    name: 'decisions_total',
    type: 'counter',
    help: 'Refusals, limits and kills that were given a decision id.',
    labels: [],
    read: ({ recorder }) => one(recorder.decisions.count),
  },
  {
    name: 'client_connections',
    type: 'gauge',
    help: 'Client connections by state.',
    labels: ['state'],
    read: (control) => countBy(control.sessions().map((session) => session.state)),
  },
  {
    name: 'clients_accepted_total',
    type: 'counter',
    help: 'Client connections accepted.',
    labels: [],
    read: ({ counters }) => one(counters.clientsAccepted),
  },
  {
    name: 'clients_refused_total',
    type: 'counter',
    help: 'Client connections refused before their login began, with an error, as for max_clients.',
    labels: [],
    read: ({ counters }) => one(counters.clientsRefused),
  },
  {
    name: 'client_tls_handshakes_total',
    type: 'counter',
    help: 'TLS handshakes with clients, by how they ended.',
    labels: ['outcome'],
    read: ({ counters }) => [
      [['accepted'], counters.clientTlsAccepted],
      [['failed'], counters.clientTlsFailed],
    ],
  },
  {
    name: 'target_healthy',
    type: 'gauge',
    help: '1 where the last word from a target was good.',
    labels: ['target', 'role'],
    read: (control) =>
      control.targets().map((target): Series => [[target.name, target.role], target.isHealthy ? 1 : 0]),
  },
  ...POOL_METRICS,
  {
    name: 'unroutable_total',
    type: 'counter',
    help: 'Statements that a rule routed to a target that could not take them.',
    labels: [],
    read: ({ counters }) => one(counters.unroutable),
  },
  {
    name: 'cancels_total',
    type: 'counter',
    help: 'CancelRequests sent to servers, by who asked; origin="any" outcome="failed" counts those that did not get through.',
    labels: ['origin', 'outcome'],
    read: ({ counters }) => [
      [['client', 'sent'], counters.cancelsFromClients],
      [['rule', 'sent'], counters.cancelsFromRules],
      [['admin', 'sent'], counters.cancelsFromAdmin],
      [['any', 'failed'], counters.cancelsFailed],
    ],
  },
  {
    name: 'errors_total',
    type: 'counter',
    help: 'Errors that pgweir itself said to clients, by SQLSTATE.',
    labels: ['code'],
    read: ({ counters }) => [...counters.errors].map(([code, count]): Series => [[code], count]),
  },
  {
    name: 'client_bytes_total',
    type: 'counter',
    help: 'Bytes received from clients.',
    labels: [],
    read: ({ counters }) => one(counters.bytesFromClients),
  },
  {
    name: 'server_bytes_total',
    type: 'counter',
    help: 'Bytes received from servers.',
    labels: [],
    read: ({ counters }) => one(counters.bytesFromServers),
  },
  {
    name: 'rules_info',
    type: 'gauge',
    help: 'Always 1; the label is the active version.',
    labels: ['version'],
    read: ({ rules }) => [[[rules.version], 1]],
  },
  {
    name: 'rules_swaps_total',
    type: 'counter',
    help: 'Changes of the active ruleset.',
    labels: [],
    read: ({ rules }) => one(rules.swaps),
  },
  {
    name: 'rules_rejected_total',
    type: 'counter',
    help: 'Rule documents that were refused.',
    labels: [],
    read: ({ rules }) => one(rules.rejected),
  },
  {
    name: 'rules_last_reload_successful',
    type: 'gauge',
    help: '0 where the last attempt to bring in rules failed.',
    labels: [],
    read: ({ rules }) => one(rules.lastReload.isSuccessful ? 1 : 0),
  },
  {
    name: 'rules_last_reload_timestamp_seconds',
    type: 'gauge',
    help: 'When rules were last brought in, or tried to.',
    labels: [],
    read: ({ rules }) => one(rules.lastReload.atMs / 1000),
  },
  {
    name: 'observation_cells',
    type: 'gauge',
    help: 'Cells of the observation matrix in use.',
    labels: [],
    read: ({ recorder }) => one(recorder.matrix.cellCount),
  },
  {
    name: 'observations_other_total',
    type: 'counter',
    help: 'Matches that are counted in totals but have no cell of their own any more.',
    labels: [],
    read: ({ recorder }) => one(recorder.matrix.otherMatches()),
  },
  {
    name: 'event_loop_delay_seconds',
    type: 'gauge',
    help: 'How late the event loop came round, on average since it was read before (10 s at least).',
    labels: [],
    read: (control) => one(control.loopDelayMs() / 1000),
  },
  {
    name: 'ready',
    type: 'gauge',
    help: '1 while new clients are welcome.',
    labels: [],
    read: (control) => one(control.lifecycle() === 'ready' ? 1 : 0),
  },
];

export const DURATION_METRICS: readonly DurationMetric[] = [
  {
    name: 'decision_duration_seconds',
    help: 'Time to judge one message, where it is measured.',
    labels: [],
    read: ({ recorder }) => [[[], recorder.decisionDuration.read()]],
  },
  {
    name: 'statement_duration_seconds',
    help: 'Time a message ran on a target.',
    labels: ['target'],
    read: ({ recorder }) =>
      [...recorder.statementDurations()].map(([target, histogram]) => [[target], histogram.read()] as const),
  },
  {
    name: 'queue_wait_seconds',
    help: 'Time a message was held back, by what: a limit, or a server connection that was not free.',
    labels: ['cause'],
    read: (control) => [
      [['limit'], control.recorder.queueWait.read()],
      [['connection'], control.poolWaits().read()],
    ],
  },
];

const PREFIX = 'pgweir_';

/** A registry of its own, with Node's and the process's default metrics. Read it with `registry.metrics()`. */
export function buildMetricsRegistry(control: ControlPlane, version: string): Registry {
  const registry = new Registry();
  for (const metric of NUMBER_METRICS) addNumberMetric(registry, control, metric);
  for (const metric of DURATION_METRICS) registry.registerMetric(new HistogramView(control, metric));
  addNumberMetric(registry, control, {
    name: 'build_info',
    type: 'gauge',
    help: 'Always 1; the labels say what runs.',
    labels: ['version', 'node'],
    read: () => [[[version, process.version], 1]],
  });
  collectDefaultMetrics({ register: registry });
  return registry;
}

function addNumberMetric(registry: Registry, control: ControlPlane, metric: NumberMetric): void {
  const options = {
    name: PREFIX + metric.name,
    help: metric.help,
    labelNames: [...metric.labels],
    registers: [registry],
  };
  if (metric.type === 'gauge') {
    new Gauge({
      ...options,
      collect() {
        this.reset();
        for (const [values, value] of metric.read(control)) this.set(nameLabels(metric.labels, values), value);
      },
    });
  } else {
    new Counter({
      ...options,
      collect() {
        this.reset();
        for (const [values, value] of metric.read(control)) this.inc(nameLabels(metric.labels, values), value);
      },
    });
  }
}

interface SampleLine {
  readonly metricName: string;
  readonly labels: Record<string, string | number>;
  readonly value: number;
}

/** A prom-client histogram whose numbers are kept elsewhere. */
class HistogramView extends PromHistogram<string> {
  readonly #control: ControlPlane;
  readonly #metric: DurationMetric;
  readonly #name: string;

  constructor(control: ControlPlane, metric: DurationMetric) {
    const name = PREFIX + metric.name;
    super({ name, help: metric.help, labelNames: [...metric.labels], registers: [] });
    this.#control = control;
    this.#metric = metric;
    this.#name = name;
  }

  /** What prom-client's own `get` and its text writer both read; its type declarations leave it out. */
  async getForPromString(): Promise<object> {
    return {
      name: this.#name,
      help: this.#metric.help,
      type: 'histogram',
      aggregator: 'sum',
      values: this.#listSamples(),
    };
  }

  #listSamples(): SampleLine[] {
    return this.#metric.read(this.#control).flatMap(([values, reading]) => {
      const labels = nameLabels(this.#metric.labels, values);
      const buckets = reading.bounds.map((bound, index) => ({
        metricName: `${this.#name}_bucket`,
        labels: { ...labels, le: bound },
        value: reading.cumulative[index] ?? 0,
      }));
      return [
        ...buckets,
        { metricName: `${this.#name}_bucket`, labels: { ...labels, le: '+Inf' }, value: reading.count },
        { metricName: `${this.#name}_sum`, labels, value: reading.sumSeconds },
        { metricName: `${this.#name}_count`, labels, value: reading.count },
      ];
    });
  }
}

function listEffects(rule: CompiledRule): Series[] {
  return RULE_EFFECTS.map(([effect, field]) => [[rule.name, effect], rule.counters[field]]);
}

function nameLabels(names: readonly string[], values: readonly string[]): Record<string, string> {
  return Object.fromEntries(names.map((name, index) => [name, values[index] ?? '']));
}

function countBy(words: readonly string[]): Series[] {
  const counts = new Map<string, number>();
  for (const word of words) counts.set(word, (counts.get(word) ?? 0) + 1);
  return [...counts].map(([word, count]) => [[word], count]);
}
