// What the relay counts, on the road of a statement. Most of it becomes metrics when they are scraped (admin/metrics); what
// does not is there for tests that count along.

/** Plain numbers. Every one only rises, but those named `current`. */
export interface RelayCounters {
  statements: number;
  refused: number;
  clientsAccepted: number;
  clientsRefused: number;
  clientTlsAccepted: number;
  clientTlsFailed: number;
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
  /** By SQLSTATE: errors of pgweir's own and of rules, and those with which a server refused a login that pgweir did. */
  readonly errors: Map<string, number>;
}

/** An error that `errors` tells of goes to a client. */
export function countError({ errors }: Pick<RelayCounters, 'errors'>, sqlstate: string): void {
  errors.set(sqlstate, (errors.get(sqlstate) ?? 0) + 1);
}

export function makeRelayCounters(): RelayCounters {
  return {
    statements: 0,
    refused: 0,
    clientsAccepted: 0,
    clientsRefused: 0,
    clientTlsAccepted: 0,
    clientTlsFailed: 0,
    currentClients: 0,
    currentServerConnections: 0,
    leasesTaken: 0,
    leasesReturned: 0,
    cancelsFromClients: 0,
    cancelsFromRules: 0,
    cancelsFromAdmin: 0,
    cancelsFailed: 0,
    unroutable: 0,
    bytesFromClients: 0,
    bytesFromServers: 0,
    errors: new Map(),
  };
}
