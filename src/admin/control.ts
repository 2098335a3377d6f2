// What the admin API may see and do: the only door between HTTP and the running proxy. app.ts implements it.

import type { Recorder } from '../audit/recorder.ts';
import type { Histogram } from '../base/histogram.ts';
import type { PoolSettings } from '../config/settings.ts';
import type { RuleBook } from '../policy/rule-book.ts';
import type { PinSummary, PoolFilter, PoolSummary } from '../pool/pool-summary.ts';
import type { RelayCounters } from '../relay/counters.ts';
import type { SessionSummary } from '../relay/summary.ts';

export type { PinSummary, PoolFilter, PoolSummary, RelayCounters, SessionSummary };

export interface TargetSummary {
  readonly name: string;
  readonly role: 'primary' | 'replica';
  readonly host: string;
  readonly port: number;
  readonly isHealthy: boolean;
  readonly lastError: string | null;
  readonly connections: number;
}

export interface ControlPlane {
  readonly rules: RuleBook;
  /** Whether the rules that were swapped in would survive a restart; resolves when that is known. */
  rulesKept(): Promise<boolean>;
  readonly recorder: Recorder;
  readonly counters: RelayCounters;
  sessions(): SessionSummary[];
  session(id: number): SessionSummary | null;
  /** A real CancelRequest for the statement that the session runs; false where it runs none. */
  cancelSession(id: number): Promise<boolean>;
  /** Ends the session with 57P01; false where there is no such session. */
  terminateSession(id: number): boolean;
  targets(): TargetSummary[];
  readonly poolMode: PoolSettings['mode'];
  /** Every pool since the start, those without connections too: their counters must not fall. Empty in mode session. */
  pools(): PoolSummary[];
  /** How long clients waited for a server connection. */
  poolWaits(): Histogram;
  /**
   * From now on the pools of the filter, and those that come to be, give out no server connection: clients wait. Resolves
   * when none of their connections is in use; a resume meanwhile resolves it too.
   */
  pausePools(filter: PoolFilter): Promise<void>;
  resumePools(filter: PoolFilter): void;
  /** Server connections of now are closed, each when it is next free. */
  reconnectPools(filter: PoolFilter): void;
  /** For ?check=upstream: does the primary answer? Null when it does, otherwise why not. */
  checkUpstream(): Promise<string | null>;
  /** `starting` until rules are compiled and the data port is bound; `draining` from SIGTERM on. */
  lifecycle(): 'starting' | 'ready' | 'draining';
  /** Begins what SIGTERM begins. */
  requestStop(): void;
  /** How late the event loop has come round lately, on average. */
  loopDelayMs(): number;
  /** Live prepared statements of all sessions, and how many of them the last swap has judged differently. */
  countRejudged?(): { readonly live: number; readonly rejudged: number };
}
