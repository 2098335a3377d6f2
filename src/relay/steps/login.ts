// How a client gets in. `passthrough`: the server asks and the client answers, pgweir only carries the words and no
// credential. `trust`: pgweir logs in with its own credential and tells the client what the server told it.

import { WeirError } from '../../base/errors.ts';
import type { Endpoint, Settings } from '../../config/settings.ts';
import { LoginRefused, type Welcome } from '../../pool/login.ts';
import type { Lease } from '../../pool/server-connection.ts';
import { readReplicationMode } from '../../session/replication-mode.ts';
import { readBackendKey } from '../../wire/backend.ts';
import { BACKEND, TRANSACTION } from '../../wire/codes.ts';
import type { StartupPacket } from '../../wire/startup.ts';
import {
  makeAuthenticationOk,
  makeBackendKeyData,
  makeErrorResponse,
  makeNegotiateProtocolVersion,
  makeParameterStatus,
  makeReadyForQuery,
} from '../../wire/writer.ts';
import type { Connection } from '../connection.ts';
import type { RelayContext } from '../context.ts';
import { GATE } from '../gate.ts';
import type { ServerSide } from '../server-side.ts';

/** Authentication requests to which the client sends no answer: AuthenticationOk and AuthenticationSASLFinal. */
const UNANSWERED: ReadonlySet<number> = new Set([0, 12]);
const PROTOCOL_3_0 = 3 << 16;

type Startup = Extract<StartupPacket, { type: 'startup' }>;

/** The password that pgweir has for a user, or null. */
function credentialFor(settings: Settings, user: string): string | null {
  return settings.auth.credentials.find((credential) => credential.user === user)?.password ?? null;
}

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
  const { settings, pool } = context;
  const { user } = connection.session.subject;
  const pending = new AbortController();
  connection.pendingLogin = pending;
  try {
    return await pool.acquire(endpoint, {
      startup,
      user,
      password: credentialFor(settings, user),
      timeoutMs: settings.limits.loginTimeoutMs,
      signal: pending.signal,
    });
  } finally {
    connection.pendingLogin = null;
  }
}

/** Begins the session: reaches the primary and starts or does the login there. Ends the connection where that fails. */
export async function beginLogin(
  connection: Connection,
  context: RelayContext,
  startup: Startup,
  packet: Buffer,
): Promise<void> {
  const user = startup.parameters.get('user') ?? '';
  if (user === '') {
    connection.fail('no_user', null);
    return;
  }
  connection.session.identify(
    user,
    startup.parameters.get('database') ?? user,
    startup.parameters.get('application_name') ?? '',
    readReplicationMode(startup.parameters),
  );
  connection.session.enter('login');
  const { primary } = context.settings.targets;
  try {
    if (context.settings.auth.mode === 'passthrough') {
      const lease = await context.pool.open(primary);
      if (isGone(connection, lease)) return;
      const server = connection.attach(lease, true);
      connection.router.usePrimary(server);
      server.outlet.write(packet);
      server.outlet.flush();
      server.resume();
    } else {
      await logInForClient(connection, context, startup, packet);
    }
  } catch (error) {
    if (error instanceof LoginRefused) refuseLogin(connection, error);
    else if (error instanceof WeirError) connection.fail(error.code, error.detail);
    else throw error;
  }
}

async function logInForClient(
  connection: Connection,
  context: RelayContext,
  startup: Startup,
  packet: Buffer,
): Promise<void> {
  const { settings, cancelKeys } = context;
  const asProtocol30 = makeProtocol30(startup, packet);
  const { lease, welcome } = await acquireFor(connection, context, settings.targets.primary, asProtocol30);
  if (isGone(connection, lease)) return;
  const server = connection.attach(lease, true);
  connection.router.startup = asProtocol30;
  connection.router.usePrimary(server);
  const { outlet } = connection.client;
  const unknownOptions = [...startup.parameters.keys()].filter((name) => name.startsWith('_pq_.'));
  if (startup.minor > 0 || unknownOptions.length > 0) outlet.write(makeNegotiateProtocolVersion(0, unknownOptions));
  outlet.write(makeAuthenticationOk());
  for (const [name, value] of welcome.parameters) {
    connection.session.setParameter(name, value);
    outlet.write(makeParameterStatus(name, value));
  }
  if (welcome.key !== null) {
    cancelKeys.register(welcome.key, connection);
    outlet.write(makeBackendKeyData(welcome.key));
  }
  for (const notice of welcome.notices) outlet.write(notice);
  outlet.write(makeReadyForQuery(TRANSACTION.idle));
  outlet.flush();
  connection.becomeReady();
  server.resume();
}

/** The client left while the server was being reached. */
function isGone(connection: Connection, lease: Lease): boolean {
  if (connection.isClosing) lease.release();
  return connection.isClosing;
}

/** The server's own words. */
function refuseLogin(connection: Connection, refused: LoginRefused): void {
  connection.client.outlet.write(makeErrorResponse({ severity: 'FATAL', ...refused.fields }));
  connection.countError(refused.fields.sqlstate);
  connection.close();
}

/** pgweir's own logins speak 3.0, without protocol options: the client is told so. */
function makeProtocol30(startup: Startup, packet: Buffer): Buffer {
  const hasOptions = [...startup.parameters.keys()].some((name) => name.startsWith('_pq_.'));
  if (startup.minor === 0 && !hasOptions) return packet;
  const kept = [...startup.parameters].filter(([name]) => !name.startsWith('_pq_.'));
  const body = Buffer.from(`${kept.map(([name, value]) => `${name}\0${value}\0`).join('')}\0`, 'utf8');
  const head = Buffer.alloc(8);
  head.writeInt32BE(8 + body.length, 0);
  head.writeInt32BE(PROTOCOL_3_0, 4);
  return Buffer.concat([head, body]);
}

/** A server message of the login that concerns pgweir too. True where it goes on to the client. */
export function answerLoginMessage(
  connection: Connection,
  context: RelayContext,
  server: ServerSide,
  type: number,
  buffer: Buffer,
  start: number,
  end: number,
): boolean {
  if (type === BACKEND.backendKeyData) {
    const key = readBackendKey(buffer, start, end);
    server.lease.key = key;
    context.cancelKeys.register(key, connection);
  } else if (connection.session.phase === 'login' && !UNANSWERED.has(buffer.readInt32BE(start + 5))) {
    connection.gate.open(GATE.login);
  }
  return true;
}
