// What a client asked for by the startup parameter `replication`. Source: PostgreSQL documentation, "Streaming Replication
// Protocol", and ProcessStartupPacket().

/**
 * `physical`: a stream of the whole cluster's log, base backups, no SQL. `logical`: replication commands and SQL in one
 * database. `none`: an ordinary client.
 */
export const REPLICATION_MODES = ['none', 'physical', 'logical'] as const;
export type ReplicationMode = (typeof REPLICATION_MODES)[number];

/** A physical replication connection is in no database: rules know it by pg_hba.conf's word. */
export const PHYSICAL_DATABASE = 'replication';

/** As parse_bool() takes them, by every beginning of a word that no other word has. */
const FALSE_WORD = /^(?:f|fa|fal|fals|false|n|no|of|off|0)$/i;

/** A value that PostgreSQL would refuse is counted as physical: the server ends that login. */
export function readReplicationMode(parameters: ReadonlyMap<string, string>): ReplicationMode {
  const value = parameters.get('replication');
  if (value === undefined || FALSE_WORD.test(value)) return 'none';
  return value === 'database' ? 'logical' : 'physical';
}
