// The composition root: makes every part once, hands each what it needs, starts them in order and stops them in order.

import { setTimeout } from 'node:timers/promises';
import type { ControlPlane, TargetSummary } from './admin/control.ts';
import { openAdminListener, openHealthListener } from './admin/listeners.ts';
import { Recorder } from './audit/recorder.ts';
import { systemClock } from './base/clock.ts';
import { describeError } from './base/errors.ts';
import { DURATION_BOUNDS_SECONDS, Histogram } from './base/histogram.ts';
import { nameListenSetting } from './base/listen-error.ts';
import type { Log } from './base/log.ts';
import { LoopDelay } from './base/loop-delay.ts';
import { CertificateKeeper } from './config/certificate-keeper.ts';
import { RuleKeeper } from './config/rule-keeper.ts';
import { Secrets } from './config/secrets.ts';
import type { Endpoint, Settings } from './config/settings.ts';
import { TokenKeeper } from './config/token-keeper.ts';
import { LimitGate, systemScheduler } from './policy/limit-gate.ts';
import type { Ruleset } from './policy/ruleset.ts';
import { isSameTreatment } from './policy/verdict.ts';
import { SessionPool } from './pool/pool.ts';
import { PoolKeeper } from './pool/pool-keeper.ts';
import { Dialer } from './pool/server-connection.ts';
import { TransactionPool } from './pool/transaction-pool.ts';
import { UserLookup } from './pool/user-lookup.ts';
import { VersionProbe } from './pool/version-probe.ts';
import type { RelayContext } from './relay/context.ts';
import { makeRelayCounters } from './relay/counters.ts';
import { Listener } from './relay/listener.ts';
import type { ServerSide } from './relay/server-side.ts';
import { KillClock } from './relay/steps/kill.ts';
import { CancelKeys } from './session/cancel-keys.ts';
import { SpareReplies } from './session/owed.ts';
import { FactsCache } from './sql/facts-cache.ts';
import { loadParser } from './sql/parse.ts';

/** Facts are kept for so many texts, and for so many bytes of text. */
const FACTS_MAX_ENTRIES = 20_000;
const FACTS_MAX_BYTES = 32 << 20;

export interface RunningWeir {
  readonly ports: { readonly client: number; readonly admin: number; readonly health: number };
  readonly control: ControlPlane;
  /** SIGHUP: reads the rules, certificates, passwords and the admin token again. */
  reload(): Promise<void>;
  /** Resolves when it has stopped, whoever asked for that; rejects when stopping failed. */
  readonly ended: Promise<void>;
  /** Drains the clients and stops; resolves when all of it has ended. `deadlineMs` overrides limits.drain_ms. */
  stop(deadlineMs?: number): Promise<void>;
}

/**
 * Starts pgweir: reads the rules, then opens the ports of health, of the clients and of the admin API. Throws
 * RuleDocumentError for bad rules and ListenError for a port that is taken; what had been started is stopped again.
 */
export async function startWeir(settings: Settings, log: Log): Promise<RunningWeir> {
  await loadParser();
  const clock = systemClock;
  const counters = makeRelayCounters();
  const keeper = new RuleKeeper(settings, log, clock);
  const rules = keeper.book;
  const certificates = new CertificateKeeper(settings, log);
  const dialer = new Dialer(settings.limits.connectTimeoutMs, certificates.connector);
  const { maxCells, maxDecisions } = settings.observations;
  const recorder = new Recorder({ clock, maxCells, maxDecisions });
  const facts = new FactsCache({
    maxEntries: FACTS_MAX_ENTRIES,
    maxBytes: FACTS_MAX_BYTES,
    maxAnalyzedBytes: settings.limits.maxAnalyzedBytes,
  });
  const secrets = new Secrets(settings, log);
  const pool = new SessionPool(dialer, counters, clock);
  const poolWaits = new Histogram(DURATION_BOUNDS_SECONDS);
  const shared: TransactionPool<ServerSide> | null =
    settings.pool.mode === 'session'
      ? null
      : new TransactionPool({
          settings: settings.pool,
          loginTimeoutMs: settings.limits.loginTimeoutMs,
          dialing: pool,
          clock,
          log,
          queueWaits: poolWaits,
        });
  const poolKeeper = shared === null ? null : new PoolKeeper(shared, clock);
  const context: RelayContext = {
    settings,
    rules,
    facts,
    admitter: new LimitGate(systemScheduler, (verdict, hit, outcome) => recorder.recordLimit(verdict, hit, outcome)),
    recorder,
    pool,
    shared,
    acceptor: certificates.acceptor,
    secrets,
    users: new UserLookup(settings, secrets, pool, clock, log),
    versions: new VersionProbe(pool, settings.targets.primary, settings.limits.loginTimeoutMs, clock),
    cancelKeys: new CancelKeys(),
    spareReplies: new SpareReplies(),
    killClock: new KillClock(clock),
    counters,
    clock,
    log,
  };
  const listener = new Listener(context);
  let replaced: Ruleset = rules.active;
  let current: Ruleset = rules.active;
  rules.subscribe(({ version, actor, reason, source }, ruleset) => {
    replaced = current;
    current = ruleset;
    recorder.matrix.follow(ruleset);
    log.info({ version, replaces: replaced.version, actor, reason, source }, 'rules were swapped');
  });
  const loopDelay = new LoopDelay(clock);
  let lifecycle: 'starting' | 'ready' | 'draining' = 'starting';
  const control: ControlPlane = {
    rules,
    rulesKept: () => keeper.kept(),
    recorder,
    counters,
    sessions: () => [...listener.connections.values()].map((connection) => connection.summarize()),
    session: (id) => listener.connections.get(id)?.summarize() ?? null,
    cancelSession: async (id) => (await listener.connections.get(id)?.cancel('admin')) ?? false,
    terminateSession: (id) => {
      const connection = listener.connections.get(id);
      connection?.terminate();
      return connection !== undefined;
    },
    targets: () => listTargets(settings, context.pool),
    poolMode: settings.pool.mode,
    pools: () => poolKeeper?.summarize() ?? [],
    poolWaits: () => poolWaits,
    pausePools: async (filter) => await poolKeeper?.pause(filter),
    resumePools: (filter) => poolKeeper?.resume(filter),
    reconnectPools: (filter) => poolKeeper?.reconnect(filter),
    checkUpstream: () => checkTarget(dialer, settings.targets.primary),
    lifecycle: () => lifecycle,
    requestStop: () => void stop(),
    loopDelayMs: () => loopDelay.read(),
    countRejudged: () => countRejudged(listener, replaced, rules.active),
  };
  const health = openHealthListener(control, log);
  const token = new TokenKeeper(settings, log);
  const admin = openAdminListener(control, settings, log, () => token.token);
  const stopAll = async (): Promise<void> => {
    loopDelay.stop();
    keeper.stop();
    certificates.stop();
    secrets.stop();
    token.stop();
    listener.stopAccepting();
    await Promise.all([health.close(), admin.close(), poolKeeper?.stop(), keeper.kept()]);
  };
  const drainAndClose = async (deadlineMs: number): Promise<void> => {
    lifecycle = 'draining';
    await setTimeout(settings.limits.minSigtermDelayMs);
    listener.stopAccepting();
    await listener.drain(deadlineMs);
    await stopAll();
    log.info({}, 'pgweir has stopped');
  };
  const ended = Promise.withResolvers<void>();
  let isStopping = false;
  const stop = (deadlineMs = settings.limits.drainMs): Promise<void> => {
    if (!isStopping) drainAndClose(deadlineMs).then(ended.resolve, ended.reject);
    isStopping = true;
    return ended.promise;
  };
  try {
    loopDelay.start();
    const healthPort = await nameListenSetting('health', health.listen(settings.health));
    const clientPort = await listener.listen();
    const adminPort = await nameListenSetting('admin', admin.listen(settings.admin));
    keeper.start();
    poolKeeper?.start();
    certificates.start();
    secrets.start();
    token.start();
    lifecycle = 'ready';
    const ports = { client: clientPort, admin: adminPort, health: healthPort };
    log.info({ ...ports, rules: rules.version }, 'pgweir is ready');
    return {
      ports,
      control,
      reload: async () => {
        await Promise.all([keeper.reload(), secrets.reload(), certificates.reload(), token.reload()]);
      },
      ended: ended.promise,
      stop,
    };
  } catch (error) {
    await stopAll();
    throw error;
  }
}

/** Prepared statements of all sessions, and how many of them the new rules treat differently than the old ones did. */
function countRejudged(listener: Listener, before: Ruleset, after: Ruleset): { live: number; rejudged: number } {
  let live = 0;
  let rejudged = 0;
  for (const { session } of listener.connections.values()) {
    for (const { facts } of session.statements) {
      live++;
      const [was, is] = [before, after].map((ruleset) => ruleset.viewFor(session.subject).judge(facts, false));
      if (was !== undefined && is !== undefined && !isSameTreatment(was, is)) rejudged++;
    }
  }
  return { live, rejudged };
}

function listTargets(settings: Settings, pool: SessionPool): TargetSummary[] {
  const summarize = (endpoint: Endpoint, role: 'primary' | 'replica'): TargetSummary => ({
    name: endpoint.name,
    role,
    host: endpoint.host,
    port: endpoint.port,
    isHealthy: pool.lastError(endpoint) === null,
    lastError: pool.lastError(endpoint),
    connections: pool.held(endpoint),
  });
  return [
    summarize(settings.targets.primary, 'primary'),
    ...settings.targets.replicas.map((replica) => summarize(replica, 'replica')),
  ];
}

async function checkTarget(dialer: Dialer, endpoint: Endpoint): Promise<string | null> {
  try {
    const { socket } = await dialer.open(endpoint);
    socket.destroy();
    return null;
  } catch (error) {
    return describeError(error);
  }
}
