// The pools and their ledger as the API shows them: JSON, or tables for a terminal. Pools by target, database and user.

import { formatTextTable, type TextColumn } from '../base/text-table.ts';
import type { ControlPlane, PinSummary, PoolSummary } from './control.ts';

type ConnectionState = keyof PoolSummary['connections'];

export const CONNECTION_STATES = [
  'idle',
  'active',
  'reclaimable',
  'pinned',
  'opening',
] as const satisfies readonly ConnectionState[];

/** The sum over several pools. */
export interface PoolTotals {
  readonly connections: Readonly<Record<ConnectionState, number>>;
  readonly waiting: number;
  readonly acquires: number;
  readonly releases: number;
  readonly held: number;
  readonly handovers: number;
  readonly settlements: number;
  readonly opened: number;
  readonly closed: number;
  readonly waitTimeouts: number;
  readonly statements: { readonly shared: number; readonly pinned: number };
  /** One for each reason, by name. */
  readonly pins: readonly PinSummary[];
}

export function sumPools(pools: readonly PoolSummary[]): PoolTotals {
  const sum = (read: (pool: PoolSummary) => number): number => pools.reduce((total, pool) => total + read(pool), 0);
  return {
    connections: {
      idle: sum((pool) => pool.connections.idle),
      active: sum((pool) => pool.connections.active),
      reclaimable: sum((pool) => pool.connections.reclaimable),
      pinned: sum((pool) => pool.connections.pinned),
      opening: sum((pool) => pool.connections.opening),
    },
    waiting: sum((pool) => pool.waiting),
    acquires: sum((pool) => pool.acquires),
    releases: sum((pool) => pool.releases),
    held: sum((pool) => pool.held),
    handovers: sum((pool) => pool.handovers),
    settlements: sum((pool) => pool.settlements),
    opened: sum((pool) => pool.opened),
    closed: sum((pool) => pool.closed),
    waitTimeouts: sum((pool) => pool.waitTimeouts),
    statements: {
      shared: sum((pool) => pool.statements.shared),
      pinned: sum((pool) => pool.statements.pinned),
    },
    pins: sumPins(pools.flatMap((pool) => pool.pins)),
  };
}

function sumPins(pins: readonly PinSummary[]): PinSummary[] {
  const byReason = new Map<string, PinSummary>();
  for (const { reason, current, total, heldMs } of pins) {
    const before = byReason.get(reason);
    byReason.set(reason, {
      reason,
      current: current + (before?.current ?? 0),
      total: total + (before?.total ?? 0),
      heldMs: heldMs + (before?.heldMs ?? 0),
    });
  }
  return [...byReason.values()].sort((left, right) => compare(left.reason, right.reason));
}

/** The body of GET /pools. */
export function reportPools(mode: ControlPlane['poolMode'], pools: readonly PoolSummary[]): object {
  return { mode, totals: describeCounts(sumPools(pools)), pools: sortPools(pools).map(describePool) };
}

export function describePool(pool: PoolSummary): Record<string, unknown> {
  return {
    target: pool.target,
    database: pool.database,
    user: pool.user,
    is_paused: pool.isPaused,
    limit: pool.limit,
    longest_wait_seconds: pool.longestWaitMs / 1000,
    last_error: pool.lastError,
    ...describeCounts(pool),
  };
}

function describeCounts(counts: PoolTotals): Record<string, unknown> {
  return {
    connections: counts.connections,
    waiting: counts.waiting,
    acquires: counts.acquires,
    releases: counts.releases,
    held: counts.held,
    handovers: counts.handovers,
    settlements: counts.settlements,
    opened: counts.opened,
    closed: counts.closed,
    wait_timeouts: counts.waitTimeouts,
    statements: { ...counts.statements, shared_share: shareOf(counts.statements) },
    pins: counts.pins.map(({ reason, current, total, heldMs }) => ({
      reason,
      current,
      total,
      held_seconds: heldMs / 1000,
    })),
  };
}

const count = (title: string, read: (pool: PoolSummary) => number): TextColumn<PoolSummary> => ({
  title,
  isNumber: true,
  read: (pool) => String(read(pool)),
});
const word = (title: string, read: (pool: PoolSummary) => string): TextColumn<PoolSummary> => ({
  title,
  isNumber: false,
  read,
});

const POOL_COLUMNS: readonly TextColumn<PoolSummary>[] = [
  word('TARGET', (pool) => pool.target),
  word('DATABASE', (pool) => pool.database),
  word('USER', (pool) => pool.user),
  word('PAUSED', (pool) => (pool.isPaused ? 'yes' : 'no')),
  count('LIMIT', (pool) => pool.limit),
  ...CONNECTION_STATES.map((state) => count(state.toUpperCase(), (pool) => pool.connections[state])),
  count('WAITING', (pool) => pool.waiting),
  { title: 'LONGEST WAIT', isNumber: true, read: (pool) => formatSeconds(pool.longestWaitMs) },
  count('HELD', (pool) => pool.held),
  count('ACQUIRES', (pool) => pool.acquires),
  count('HANDOVERS', (pool) => pool.handovers),
  count('SETTLEMENTS', (pool) => pool.settlements),
  count('TIMEOUTS', (pool) => pool.waitTimeouts),
  { title: 'SHARED', isNumber: true, read: (pool) => formatShare(pool.statements) },
  word('LAST ERROR', (pool) => pool.lastError ?? ''),
];

const PIN_COLUMNS: readonly TextColumn<PinSummary>[] = [
  { title: 'PINNED BY', isNumber: false, read: (pin) => pin.reason },
  { title: 'NOW', isNumber: true, read: (pin) => String(pin.current) },
  { title: 'TOTAL', isNumber: true, read: (pin) => String(pin.total) },
  { title: 'HELD', isNumber: true, read: (pin) => formatSeconds(pin.heldMs) },
];

/** A line for each pool, then one for each reason that pins. */
export function formatPoolsText(mode: ControlPlane['poolMode'], pools: readonly PoolSummary[]): string {
  if (mode === 'session') return 'pool.mode is session: there are no pools\n';
  const tables = [formatTextTable(POOL_COLUMNS, sortPools(pools))];
  const { pins } = sumPools(pools);
  if (pins.length > 0) tables.push(formatTextTable(PIN_COLUMNS, pins));
  return `${tables.join('\n\n')}\n`;
}

function sortPools(pools: readonly PoolSummary[]): PoolSummary[] {
  return [...pools].sort(
    (left, right) =>
      compare(left.target, right.target) || compare(left.database, right.database) || compare(left.user, right.user),
  );
}

/** To four digits; null where nothing has run. */
function shareOf({ shared, pinned }: PoolSummary['statements']): number | null {
  const all = shared + pinned;
  return all === 0 ? null : Math.round((shared / all) * 10_000) / 10_000;
}

function formatShare(statements: PoolSummary['statements']): string {
  const share = shareOf(statements);
  return share === null ? '' : `${(share * 100).toFixed(1)}%`;
}

function formatSeconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}

function compare(left: string, right: string): number {
  return left < right ? -1 : left > right ? 1 : 0;
}
