// What the admin API may see and do: the only door between HTTP and the running proxy. app.ts implements it.

import type { Recorder } from '../audit/recorder.ts';
import type { RuleBook } from '../policy/rule-book.ts';

export interface SessionSummary {
  readonly id: number;
  readonly user: string;
  readonly database: string;
  readonly applicationName: string;
  readonly clientIp: string;
  readonly clientPort: number | null;
  readonly connectedAtMs: number;
  /** `login`, `idle`, `active`, `idle_in_transaction`, `failed_transaction`, `waiting` (held by a limit), `closing`. */
  readonly state: string;
  readonly stateSinceMs: number;
  /** The target that runs its statements now. */
  readonly target: string;
  readonly serverPid: number | null;
  /** Literal-free text of the statement that runs, or ran last. */
  readonly statement: string | null;
  readonly fingerprint: string | null;
}

export interface TargetSummary {
  readonly name: string;
  readonly role: 'primary' | 'replica';
  readonly host: string;
  readonly port: number;
  readonly isHealthy: boolean;
  readonly lastError: string | null;
  readonly connections: number;
}

/** Plain numbers of the relay; read when scraped. Every one only rises, but those named `current`. */
export interface RelayCounters {
  statements: number;
  refused: number;
  clientsAccepted: number;
  clientsRefused: number;
  currentClients: number;
  currentServerConnections: number;
  leasesTaken: number;
  leasesReturned: number;
  cancelsFromClients: number;
  cancelsFromRules: number;
  cancelsFromAdmin: number;
  cancelsFailed: number;
  unroutable: number;
  bytesFromClients: number;
  bytesFromServers: number;
  /** By SQLSTATE, of errors that pgweir itself said. Bounded by the error registry. */
  readonly errors: Map<string, number>;
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
  /** Event loop round trip in ms. */
  loopDelayMs(): number;
}
