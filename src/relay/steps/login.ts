// How a client gets in. `passthrough`: the server asks and the client answers, pgweir only carries the words and no
// credential. Else pgweir finds out itself who the client is (login-proof.ts), logs in for it, and tells it what the server
// told.

import { AuthRefused } from '../../auth/auth-refused.ts';
import { SCRAM_SHA_256_PLUS } from '../../auth/scram.ts';
import { WeirError } from '../../base/errors.ts';
import { LoginRefused, type Welcome } from '../../pool/login.ts';
import type { Lease } from '../../pool/server-connection.ts';
import { readReplicationMode } from '../../session/replication-mode.ts';
import { readBackendKey } from '../../wire/backend.ts';
import { AUTHENTICATION, BACKEND } from '../../wire/codes.ts';
import type { StartupMessage } from '../../wire/startup.ts';
import { AUTHENTICATION_OK, makeAuthentication, makeErrorResponse } from '../../wire/writer.ts';
import type { Connection } from '../connection.ts';
import type { RelayContext } from '../context.ts';
import { GATE } from '../gate.ts';
import type { ServerSide } from '../server-side.ts';
import { acquireFor } from './acquire.ts';
import { ClientLeft } from './login-dialogue.ts';
import { proveClient } from './login-proof.ts';
import { makeReplicaStartup } from './replica-startup.ts';
import { joinPool } from './shared-login.ts';

const INVALID_PASSWORD = '28P01';

/** Begins the session: reaches the primary and starts or does the login there. Ends the connection where that fails. */
export async function beginLogin(
  connection: Connection,
  context: RelayContext,
  startup: StartupMessage,
  packet: Buffer,
): Promise<void> {
  // The greeting has refused whoever names no user.
  const user = startup.parameters.get('user') ?? '';
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
      if (releaseIfGone(connection, lease)) return;
      const server = connection.attach(lease, true);
      connection.ownServers.usePrimary(server);
      server.outlet.write(packet);
      server.outlet.flush();
      server.resume();
    } else {
      await logInForClient(connection, context, startup, packet);
    }
  } catch (error) {
    if (error instanceof ClientLeft) connection.close();
    else if (error instanceof AuthRefused) refuseClient(connection, context, error);
    else if (error instanceof WeirError) connection.fail(error.code, error.detail);
    else throw error;
  }
}

async function logInForClient(
  connection: Connection,
  context: RelayContext,
  startup: StartupMessage,
  packet: Buffer,
): Promise<void> {
  const { settings, cancelKeys, users, shared } = context;
  const { user } = connection.session.subject;
  const { secret, final, isNegotiated } = await proveClient(connection, context, startup);
  if (connection.isClosing) return;
  connection.login.secret = secret;
  let lease: Lease | null = null;
  let welcome: Welcome;
  try {
    if (shared !== null && !connection.session.isReplication) {
      welcome = await joinPool(connection, context, shared, startup, packet, secret);
    } else {
      ({ lease, welcome } = await acquireFor(connection, context, settings.targets.primary, packet));
    }
  } catch (error) {
    const isSecretWrong = error instanceof LoginRefused ? error.sqlstate === INVALID_PASSWORD : true;
    if (isSecretWrong) users.forget(user);
    if (!(error instanceof LoginRefused)) throw error;
    refuseLogin(connection, context, error, { final, negotiation: isNegotiated ? null : error.negotiation });
    return;
  }
  if (releaseIfGone(connection, lease)) return;
  const server = lease === null ? null : connection.attach(lease, true);
  if (server !== null) {
    connection.ownServers.usePrimary(server);
    connection.ownServers.startup = makeReplicaStartup(packet, startup.parameters, welcome.parameters).packet;
    if (welcome.key !== null) cancelKeys.register(welcome.key, connection);
  }
  // Only a later login to a replica needs it.
  if (server === null || settings.targets.replicas.length === 0) connection.login.secret = null;
  for (const [name, value] of welcome.parameters) connection.session.setParameter(name, value);
  const { outlet } = connection.client;
  writeAuthenticated(connection, { final, negotiation: isNegotiated ? null : welcome.negotiation });
  outlet.write(welcome.messages);
  outlet.flush();
  connection.becomeReady();
  server?.resume();
}

/** What the client hears before AuthenticationOk: NegotiateProtocolVersion as the server said it, once; AuthenticationSASLFinal. */
interface Prelude {
  readonly negotiation: Buffer | null;
  readonly final: Buffer | null;
}

function writeAuthenticated(connection: Connection, { negotiation, final }: Prelude): void {
  const { outlet } = connection.client;
  if (negotiation !== null) outlet.write(negotiation);
  if (final !== null) outlet.write(final);
  outlet.write(AUTHENTICATION_OK);
}

/** Where the client left while the server was being reached, gives the lease back. True where it did. */
function releaseIfGone(connection: Connection, lease: Lease | null): boolean {
  if (connection.isClosing) lease?.release();
  return connection.isClosing;
}

/** The server's own words. */
function refuseLogin(connection: Connection, context: RelayContext, refused: LoginRefused, prelude: Prelude): void {
  if (connection.isClosing) return;
  const { packet, sqlstate, isAuthenticated, messages } = refused;
  const { id, subject } = connection.session;
  context.log.info({ session: id, user: subject.user, sqlstate }, 'the database refused a login');
  if (isAuthenticated) writeAuthenticated(connection, prelude);
  else if (prelude.negotiation !== null) connection.client.outlet.write(prelude.negotiation);
  connection.client.outlet.write(messages);
  connection.client.outlet.write(packet);
  connection.countError(sqlstate);
  connection.close();
}

/** pgweir's own refusal, in PostgreSQL's words. The log tells no more than the client hears. */
function refuseClient(connection: Connection, context: RelayContext, refused: AuthRefused): void {
  if (connection.isClosing) return;
  const { sqlstate, message, detail } = refused;
  const { id, subject } = connection.session;
  context.log.info({ session: id, user: subject.user, clientIp: subject.clientIp, sqlstate }, 'a login was refused');
  connection.client.outlet.write(makeErrorResponse({ severity: 'FATAL', sqlstate, message, detail }));
  connection.countError(sqlstate);
  connection.close();
}

/** The client answers a question, the server's or pgweir's own; the next message waits for the next one. */
export function takeLoginAnswer(
  connection: Connection,
  buffer: Buffer,
  start: number,
  end: number,
  remaining: number,
): boolean {
  const { dialogue } = connection.login;
  if (dialogue !== null) {
    dialogue.take(buffer, start, end, remaining);
    return true;
  }
  const { outlet } = connection.active;
  outlet.append(buffer, start, end);
  connection.conduct.rest = remaining > 0 ? outlet : null;
  connection.gate.close(GATE.login);
  return true;
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
    return true;
  }
  if (connection.session.phase !== 'login') return true;
  const code = buffer.readInt32BE(start + 5);
  // To AuthenticationOk and AuthenticationSASLFinal the client sends no answer.
  if (code !== AUTHENTICATION.ok && code !== AUTHENTICATION.saslFinal) connection.gate.open(GATE.login);
  if (code !== AUTHENTICATION.sasl || isBindingPossible(connection, server)) return true;
  const offered = buffer.toString('latin1', start + 9, end).split('\0');
  const kept = offered.filter((mechanism) => mechanism !== SCRAM_SHA_256_PLUS);
  if (kept.length === offered.length) return true;
  if (connection.transport.isEncrypted) warnOfBinding(context);
  connection.client.outlet.write(makeAuthentication(AUTHENTICATION.sasl, Buffer.from(kept.join('\0'), 'latin1')));
  return false;
}

/** Once is enough: it is the same for every client, until the certificates change. */
function warnOfBinding(context: RelayContext): void {
  if (warnedOfBinding.has(context)) return;
  warnedOfBinding.add(context);
  context.log.warn(
    {},
    'TLS ends at pgweir with another certificate than the server has, so channel binding is not offered; over TLS the server ' +
      'refuses clients that take this for an attack (libpq, unless channel_binding=disable): give pgweir the certificate of ' +
      'the server, use auth.mode scram, or set targets.tls.mode to disable',
  );
}

const warnedOfBinding = new WeakSet<RelayContext>();

/**
 * A client binds its login to the certificate that it sees, and the server checks it against its own. Where TLS ends at pgweir
 * those are two, unless pgweir shows the server's.
 */
function isBindingPossible({ transport }: Connection, { lease }: ServerSide): boolean {
  const [near, far] = [transport.serverEndPoint, lease.transport.serverEndPoint];
  return near !== null && far !== null && near.equals(far);
}
