// One decision: what was decided about one message, by which rules of which version. Free of literals.

export type DecisionOutcome = 'allowed' | 'refused' | 'limited' | 'killed' | 'kill_raced' | 'routed' | 'observed';

export interface Decision {
  /** Unique in this process: `<process start in base 36>-<count>`. The client sees it in the error's DETAIL. */
  readonly id: string;
  readonly atMs: number;
  readonly rulesVersion: string;
  /** The deciding rule, or null where only default_action spoke. */
  readonly rule: string | null;
  readonly outcome: DecisionOutcome;
  readonly fingerprint: string;
  readonly queryClass: string;
  readonly normalized: string;
  readonly user: string;
  readonly database: string;
  readonly applicationName: string;
  readonly clientIp: string;
  readonly sessionId: number;
  readonly isInTransaction: boolean;
}
