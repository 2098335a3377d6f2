// A control plane around a real rule book and a real recorder; only the relay and the pools behind it are made up.

import type { ControlPlane, PoolFilter, PoolSummary, SessionSummary, TargetSummary } from '../../src/admin/control.ts';
import { Recorder } from '../../src/audit/recorder.ts';
import { DURATION_BOUNDS_SECONDS, Histogram } from '../../src/base/histogram.ts';
import { RuleBook } from '../../src/policy/rule-book.ts';
import { makeRelayCounters } from '../../src/relay/counters.ts';
import { HandClock } from '../audit/verdict-maker.ts';

export const START_RULES = `# rules of the shop
traffic_control:
  default_action: allow
  rules:
    - name: from_dual   # Oracle
      priority: 100
      observe_only: true
      match: { query_regex: '(?i)\\bfrom\\s+dual\\b' }
      action: deny
    - name: legacy_limit
      match: { application_name: legacy }
      action: rate_limit
      rate_per_sec: 200
`;

export class StandIn implements ControlPlane {
  readonly clock = new HandClock();
  readonly rules = new RuleBook(START_RULES, 'rules.yaml', this.clock);
  readonly recorder = new Recorder({ clock: this.clock, maxCells: 100, maxDecisions: 100 });
  readonly counters = makeRelayCounters();
  readonly terminated: number[] = [];
  readonly cancelled: number[] = [];
  state: 'starting' | 'ready' | 'draining' = 'ready';
  isDiskGood = true;
  upstream: () => Promise<string | null> = async () => null;
  summaries: SessionSummary[] = [makeSummary(1, 'idle'), makeSummary(2, 'active')];
  poolMode: ControlPlane['poolMode'] = 'session';
  poolSummaries: PoolSummary[] = [];
  readonly waits = new Histogram(DURATION_BOUNDS_SECONDS);
  /** What the pools were told, in order. */
  readonly poolOrders: (readonly ['pause' | 'resume' | 'reconnect', PoolFilter])[] = [];
  /** When a pause comes to rest. */
  rest: Promise<void> = Promise.resolve();

  sessions(): SessionSummary[] {
    return [...this.summaries];
  }

  session(id: number): SessionSummary | null {
    return this.summaries.find((summary) => summary.id === id) ?? null;
  }

  async cancelSession(id: number): Promise<boolean> {
    if (this.session(id)?.state !== 'active') return false;
    this.cancelled.push(id);
    return true;
  }

  terminateSession(id: number): boolean {
    if (this.session(id) === null) return false;
    this.terminated.push(id);
    return true;
  }

  targets(): TargetSummary[] {
    const [host, port] = ['127.0.0.1', 5432];
    return [{ name: 'primary', role: 'primary', host, port, isHealthy: true, lastError: null, connections: 3 }];
  }

  pools(): PoolSummary[] {
    return [...this.poolSummaries];
  }

  poolWaits(): Histogram {
    return this.waits;
  }

  pausePools(filter: PoolFilter): Promise<void> {
    this.poolOrders.push(['pause', filter]);
    return this.rest;
  }

  resumePools(filter: PoolFilter): void {
    this.poolOrders.push(['resume', filter]);
  }

  reconnectPools(filter: PoolFilter): void {
    this.poolOrders.push(['reconnect', filter]);
  }

  checkUpstream(): Promise<string | null> {
    return this.upstream();
  }

  lifecycle(): 'starting' | 'ready' | 'draining' {
    return this.state;
  }

  requestStop(): void {
    this.state = 'draining';
  }

  async rulesKept(): Promise<boolean> {
    return this.isDiskGood;
  }

  loopDelayMs(): number {
    return 1.5;
  }

  countRejudged(): { live: number; rejudged: number } {
    return { live: 12, rejudged: 5 };
  }
}

function makeSummary(id: number, state: string): SessionSummary {
  return {
    id,
    user: 'ana',
    database: 'shop',
    applicationName: 'web',
    clientIp: '10.1.2.3',
    clientPort: 40_000 + id,
    connectedAtMs: 1_700_000_000_000 + id,
    state,
    stateSinceMs: 1_700_000_000_500,
    target: 'primary',
    serverPid: 100 + id,
    holds: state === 'idle' ? ['temporary'] : ['statement', 'transaction'],
    statement: 'select ?',
    fingerprint: '50fde20626009aba',
  };
}

/** A pool in which somebody waits and somebody is pinned; its ledger balances. */
export function makePool(parts: Partial<PoolSummary> = {}): PoolSummary {
  return {
    target: 'primary',
    database: 'shop',
    user: 'ana',
    isPaused: false,
    limit: 20,
    connections: { idle: 3, active: 2, reclaimable: 4, pinned: 1, opening: 1 },
    waiting: 5,
    longestWaitMs: 1_500,
    acquires: 107,
    releases: 100,
    held: 7,
    handovers: 40,
    settlements: 30,
    opened: 12,
    closed: 2,
    waitTimeouts: 6,
    statements: { shared: 900, pinned: 100 },
    pins: [
      { reason: 'temporary', current: 1, total: 8, heldMs: 2_500 },
      { reason: 'listen', current: 0, total: 2, heldMs: 500 },
    ],
    lastError: null,
    ...parts,
  };
}
