// One decision: what was done about one message, by which rule of which version. Free of literals. Only interventions
// are decisions (what merely matched is counted in the observation matrix), so the journal is not washed out by traffic.

export const DECISION_OUTCOMES = ['refused', 'limited', 'killed', 'kill_raced'] as const;
export type DecisionOutcome = (typeof DECISION_OUTCOMES)[number];

export interface Decision {
  /** Unique in this process: `<process start in base 36>-<count>`. The client sees it in the error's DETAIL. */
  readonly id: string;
  readonly atMs: number;
  readonly rulesVersion: string;
  /** The deciding rule, or `default_action`, `on_unparsed`, `max_statement_bytes` where no rule spoke. */
  readonly rule: string;
  readonly outcome: DecisionOutcome;
  readonly fingerprint: string;
  readonly queryClass: string;
  /** Its beginning, where it is long. */
  readonly normalized: string;
  readonly user: string;
  readonly database: string;
  readonly applicationName: string;
  readonly clientIp: string;
  readonly sessionId: number;
  readonly isInTransaction: boolean;
}
