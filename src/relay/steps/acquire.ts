// A server connection of a client's own, on which pgweir has logged in for it.

import type { Endpoint } from '../../config/settings.ts';
import type { Welcome } from '../../pool/login.ts';
import type { Lease } from '../../pool/server-connection.ts';
import type { Connection } from '../connection.ts';
import type { RelayContext } from '../context.ts';

/**
 * A connection to the endpoint that is logged in as the client. Throws LoginRefused or WeirError, the latter also as soon
 * as the client's connection closes: nobody waits any more then.
 */
export async function acquireFor(
  connection: Connection,
  context: RelayContext,
  endpoint: Endpoint,
  startup: Buffer,
): Promise<{ lease: Lease; welcome: Welcome }> {
  const { settings, pool, secrets } = context;
  const { user } = connection.session.subject;
  const pending = new AbortController();
  connection.login.pending = pending;
  try {
    return await pool.acquire(endpoint, {
      startup,
      user,
      secret: connection.login.secret ?? secrets.credentialFor(user),
      timeoutMs: settings.limits.loginTimeoutMs,
      signal: pending.signal,
    });
  } finally {
    connection.login.pending = null;
  }
}
