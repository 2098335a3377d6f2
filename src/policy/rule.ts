// The rule language as types: the document as people write it, and a rule as it stands after compilation.

export type RuleAction = 'allow' | 'deny' | 'observe' | 'route' | 'rate_limit' | 'max_concurrent' | 'kill_after_ms';
export type RuleMode = 'enforce' | 'observe' | 'off';

/** One `match` block. Every key given must hold; a list holds when any of its elements does. */
export interface MatchDocument {
  user?: string | string[];
  database?: string | string[];
  application_name?: string | string[];
  client_ip?: string | string[];
  query_regex?: string | string[];
  fingerprint_regex?: string | string[];
  fingerprint?: string | string[];
  query_class?: string | string[];
  statement?: string | string[];
  tables?: string | string[];
  functions?: string | string[];
  columns?: string | string[];
  missing_where?: boolean;
  tags?: Record<string, string | string[]>;
  in_transaction?: boolean;
  not?: MatchDocument;
}

export interface RuleDocumentEntry {
  name: string;
  description?: string;
  priority?: number;
  mode?: RuleMode;
  observe_only?: boolean;
  match?: MatchDocument;
  /** `route_primary` and `route_replica` are aliases of `route` with that target. */
  action: RuleAction | 'route_primary' | 'route_replica';
  message?: string;
  hint?: string;
  sqlstate?: string;
  target?: 'primary' | 'replica';
  rate_per_sec?: number;
  burst?: number;
  per?: string | string[];
  wait_ms?: number;
  limit?: number;
  timeout_ms?: number;
}

export interface RuleDocument {
  traffic_control: {
    default_action?: 'allow' | 'deny';
    on_unparsed?: 'allow' | 'observe' | 'deny';
    rules?: RuleDocumentEntry[];
  };
}

/** A rule after compilation: frozen, with defaults filled in. Counters live with the rule and survive a swap that leaves it unchanged. */
export interface CompiledRule {
  readonly name: string;
  readonly description: string | null;
  readonly priority: number;
  readonly mode: RuleMode;
  readonly action: RuleAction;
  /** Hash of everything that gives the rule its meaning; two rules of one name with one definition share state. */
  readonly definition: string;
  readonly document: RuleDocumentEntry;
  readonly counters: RuleCounters;
}

/** Plain numbers, bumped on the road of a statement and read when scraped. */
export interface RuleCounters {
  /** Statements that matched, whatever came of it. */
  matched: number;
  /** Enforced: refused by deny or by a limit; routed; killed (the server's own 57014 was seen). */
  refused: number;
  routed: number;
  killed: number;
  /** The answer came before the cancel landed. */
  killRaced: number;
  /** Statements that had to wait for a limit and then passed. */
  waited: number;
  /** In observe mode: what enforcement would have done. */
  wouldRefuse: number;
  wouldRoute: number;
  wouldKill: number;
}
