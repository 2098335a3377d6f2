// The modes that the suites run in: how clients are let in, and whether they share server connections.

/**
 * `trust`: pgweir lets the client in and logs in itself. `passthrough`: SCRAM-SHA-256 between client and server.
 * `passthrough-tls`: the same, with TLS between client and pgweir and between pgweir and server, and no way without.
 */
export const LOGINS = ['trust', 'passthrough', 'passthrough-tls'] as const;
export type Login = (typeof LOGINS)[number];

/** What one is told where a mode's name is none. */
export const MODE_NAMES = [...LOGINS, 'transaction-<size>', 'transaction-<size>-avoid'].join(', ');

export interface Mode {
  readonly name: string;
  /** Modes of one login have the direct run in common: without pgweir they are the same. */
  readonly login: Login;
  /** Of pool.mode transaction; null where each client has a server connection of its own. */
  readonly pool: { readonly size: number; readonly affinity: 'prefer' | 'avoid'; readonly logins: 'own' } | null;
}

/**
 * `transaction-20`: clients are let in as in `trust` and share 20 server connections of each pool. With `-avoid` a client gets
 * another connection after each transaction, where it can. Null for a name of nothing.
 */
export function readMode(name: string): Mode | null {
  const login = LOGINS.find((candidate) => candidate === name);
  if (login !== undefined) return { name, login, pool: null };
  const [, size, avoid] = /^transaction-([1-9]\d{0,4})(-avoid)?$/.exec(name) ?? [];
  if (size === undefined) return null;
  return {
    name,
    login: 'trust',
    pool: { size: Number(size), affinity: avoid === undefined ? 'prefer' : 'avoid', logins: 'own' },
  };
}
