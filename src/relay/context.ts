// What every connection of the relay shares: made once by app.ts, handed down, never global.

import type { Recorder } from '../audit/recorder.ts';
import type { Clock } from '../base/clock.ts';
import type { Log } from '../base/log.ts';
import type { Secrets } from '../config/secrets.ts';
import type { Settings } from '../config/settings.ts';
import type { LimitGate } from '../policy/limit-gate.ts';
import type { Ruleset } from '../policy/ruleset.ts';
import type { SessionPool } from '../pool/pool.ts';
import type { TransactionPool } from '../pool/transaction-pool.ts';
import type { UserLookup } from '../pool/user-lookup.ts';
import type { VersionProbe } from '../pool/version-probe.ts';
import type { CancelKeys } from '../session/cancel-keys.ts';
import type { SpareReplies } from '../session/owed.ts';
import type { FactsCache } from '../sql/facts-cache.ts';
import type { TlsAcceptor } from '../tls/acceptor.ts';
import type { Connection } from './connection.ts';
import type { RelayCounters } from './counters.ts';
import type { Run } from './run.ts';
import type { ServerSide } from './server-side.ts';
import type { KillClock } from './steps/kill.ts';

export interface RelayContext {
  readonly settings: Settings;
  /** The one pointer that a swap moves. */
  readonly rules: { readonly active: Ruleset };
  readonly facts: FactsCache;
  readonly admitter: LimitGate;
  readonly recorder: Recorder;
  readonly pool: SessionPool;
  /** Server connections that clients share; null where each client has its own. */
  readonly shared: TransactionPool<ServerSide> | null;
  /** Does TLS with clients; null where they are offered none. */
  readonly acceptor: TlsAcceptor | null;
  /** What pgweir can log in with. */
  readonly secrets: Secrets;
  /** What the primary says to versions and options that it does not know. */
  readonly versions: VersionProbe;
  /** What pgweir can check a client's password by. */
  readonly users: UserLookup;
  readonly cancelKeys: CancelKeys<Connection>;
  /** Entries of owed replies for all sessions. */
  readonly spareReplies: SpareReplies<Run>;
  readonly killClock: KillClock;
  readonly counters: RelayCounters;
  readonly clock: Clock;
  readonly log: Log;
}
