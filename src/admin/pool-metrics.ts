// The rows of server connections and their pools. Summed over the pools of a target: how many databases and users there are
// is up to clients, so neither may be a label. Reasons of pins are a list of pgweir's own (sql/traces.ts).

import type { ControlPlane, PoolSummary } from './control.ts';
import { type NumberMetric, one, type Series } from './metric.ts';
import { CONNECTION_STATES, type PoolTotals, sumPools } from './pool-report.ts';

/** One series for each target of the settings, those without a pool too, so that none comes and goes. */
function perTarget(control: ControlPlane, read: (totals: PoolTotals, target: string) => Series[]): Series[] {
  const pools = control.pools();
  return control.targets().flatMap(({ name }) => read(sumPools(pools.filter((pool) => pool.target === name)), name));
}

function sumPerTarget(
  name: string,
  type: NumberMetric['type'],
  help: string,
  read: (totals: PoolTotals) => number,
): NumberMetric {
  return {
    name,
    type,
    help,
    labels: ['target'],
    read: (control) => perTarget(control, (totals, target) => [[[target], read(totals)]]),
  };
}

/** In mode session the leases are counted where they are taken, in mode transaction by the pools. */
const countLeases = (control: ControlPlane, ofSessions: number, ofPool: (pool: PoolSummary) => number): Series[] =>
  one(control.poolMode === 'session' ? ofSessions : control.pools().reduce((total, pool) => total + ofPool(pool), 0));

export const POOL_METRICS: readonly NumberMetric[] = [
  {
    name: 'server_connections',
    type: 'gauge',
    help: 'Server connections by target, in mode transaction also by state: reclaimable ones are kept for their client until somebody else needs them.',
    labels: ['target', 'state'],
    read: (control) =>
      control.poolMode === 'session'
        ? control.targets().map((target): Series => [[target.name, 'open'], target.connections])
        : perTarget(control, ({ connections }, target) =>
            CONNECTION_STATES.map((state): Series => [[target, state], connections[state]]),
          ),
  },
  {
    name: 'pool_acquires_total',
    type: 'counter',
    help: 'Leases of server connections taken; equals releases plus those held.',
    labels: [],
    read: (control) => countLeases(control, control.counters.leasesTaken, (pool) => pool.acquires),
  },
  {
    name: 'pool_releases_total',
    type: 'counter',
    help: 'Leases of server connections ended.',
    labels: [],
    read: (control) => countLeases(control, control.counters.leasesReturned, (pool) => pool.releases),
  },
  {
    name: 'pool_held_leases',
    type: 'gauge',
    help: 'Leases of server connections held.',
    labels: [],
    read: (control) =>
      countLeases(control, control.counters.leasesTaken - control.counters.leasesReturned, (pool) => pool.held),
  },
  sumPerTarget(
    'pool_waiting_clients',
    'gauge',
    'Clients that wait for a server connection.',
    (totals) => totals.waiting,
  ),
  sumPerTarget(
    'pool_wait_timeouts_total',
    'counter',
    'Statements and logins that waited longer than pool.query_wait_ms and failed with 53300.',
    (totals) => totals.waitTimeouts,
  ),
  sumPerTarget(
    'pool_handovers_total',
    'counter',
    'Times that a server connection was given the settings of its next client.',
    (totals) => totals.handovers,
  ),
  sumPerTarget(
    'pool_settlements_total',
    'counter',
    'Times that a server connection was asked what its client left behind.',
    (totals) => totals.settlements,
  ),
  sumPerTarget(
    'pool_connections_opened_total',
    'counter',
    'Server connections that pools opened.',
    (totals) => totals.opened,
  ),
  {
    name: 'pool_statements_total',
    type: 'counter',
    help: 'Statements by the connection they ran on: shared was free for others afterwards, pinned was not.',
    labels: ['target', 'connection'],
    read: (control) =>
      perTarget(control, ({ statements }, target) => [
        [[target, 'shared'], statements.shared],
        [[target, 'pinned'], statements.pinned],
      ]),
  },
  {
    name: 'pool_pins',
    type: 'gauge',
    help: 'Server connections that are pinned to a client, by reason; one may have several.',
    labels: ['reason'],
    read: (control) => sumPools(control.pools()).pins.map((pin): Series => [[pin.reason], pin.current]),
  },
  {
    name: 'pool_pinned_seconds_total',
    type: 'counter',
    help: 'Time that server connections were pinned to a client, by reason.',
    labels: ['reason'],
    read: (control) => sumPools(control.pools()).pins.map((pin): Series => [[pin.reason], pin.heldMs / 1000]),
  },
];
