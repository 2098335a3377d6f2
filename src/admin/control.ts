// What the admin API may see and do: the only door between HTTP and the running proxy. app.ts implements it.

import type { Recorder } from '../audit/recorder.ts';
import type { RuleBook } from '../policy/rule-book.ts';
import type { RelayCounters } from '../relay/counters.ts';
import type { SessionSummary } from '../relay/summary.ts';

export type { RelayCounters, SessionSummary };

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
  readonly recorder: Recorder;
  readonly counters: RelayCounters;
  sessions(): SessionSummary[];
  session(id: number): SessionSummary | null;
  /** A real CancelRequest for the statement that the session runs; false where it runs none. */
  cancelSession(id: number): Promise<boolean>;
  /** Ends the session with 57P01; false where there is no such session. */
  terminateSession(id: number): boolean;
  targets(): TargetSummary[];
  /** For ?check=upstream: does the primary answer? Null when it does, otherwise why not. */
  checkUpstream(): Promise<string | null>;
  /** `starting` until rules are compiled and the data port is bound; `draining` from SIGTERM on. */
  lifecycle(): 'starting' | 'ready' | 'draining';
  /** Begins what SIGTERM begins. */
  requestStop(): void;
  /** Event loop round trip in ms. */
  loopDelayMs(): number;
  /** Live prepared statements of all sessions, and how many of them the last swap has judged differently. */
  countRejudged?(): { readonly live: number; readonly rejudged: number };
}
