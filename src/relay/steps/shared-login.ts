// A client that has proved who it is comes in to server connections that are shared: what it is told then is what a server
// told, with a key for CancelRequests of its own.

import type { LoginSecret } from '../../auth/verifier.ts';
import type { Endpoint } from '../../config/settings.ts';
import { admit } from '../../pool/admission.ts';
import type { Welcome } from '../../pool/login.ts';
import type { LoginClass } from '../../pool/login-class.ts';
import type { TransactionPool } from '../../pool/transaction-pool.ts';
import { keepApplicationName } from '../../session/application-name.ts';
import { readParameterStatus } from '../../wire/backend.ts';
import { BACKEND } from '../../wire/codes.ts';
import type { StartupMessage } from '../../wire/startup.ts';
import { makeBackendKeyData, makeParameterStatus } from '../../wire/writer.ts';
import type { Connection } from '../connection.ts';
import type { RelayContext } from '../context.ts';
import type { ServerSide } from '../server-side.ts';
import { makeReplicaStartup } from './replica-startup.ts';
import { SharedServers } from './shared-servers.ts';
import { SharedTargets } from './shared-targets.ts';

/** Throws LoginRefused with the server's words, or WeirError. */
export async function joinPool(
  connection: Connection,
  context: RelayContext,
  pool: TransactionPool<ServerSide>,
  startup: StartupMessage,
  packet: Buffer,
  secret: LoginSecret,
): Promise<Welcome> {
  const { user, database } = connection.session.subject;
  const { minor, parameters } = startup;
  const { primary } = context.settings.targets;
  const loginClass = pool.classFor(primary, user, database, { packet, minor, parameters }, secret);
  let told: ReadonlyMap<string, string> = new Map();
  const classOf = (endpoint: Endpoint): LoginClass<ServerSide> =>
    pool.classFor(endpoint, user, database, { minor, ...makeReplicaStartup(packet, parameters, told) }, secret);
  const ownName = parameters.get('application_name') ?? null;
  let name = ownName ?? loginClass.defaultName ?? '';
  const servers = new SharedServers(
    connection,
    context,
    pool,
    new SharedTargets(connection, context, loginClass, classOf),
    () => name,
  );
  const pending = new AbortController();
  connection.login.pending = pending;
  try {
    const { welcome, isFresh } = await admit(pool, servers, loginClass, packet, ownName !== null, pending.signal);
    told = welcome.parameters;
    name = ownName === null ? (loginClass.defaultName ?? '') : keepApplicationName(ownName, welcome.parameters);
    if (connection.isClosing) {
      servers.leave(false);
      return welcome;
    }
    connection.useRouter(servers);
    const serverKey = servers.home?.welcome.key ?? welcome.key;
    const key = serverKey === null ? null : servers.makeCancelKey(serverKey);
    return wordWelcome(welcome, isFresh ? null : name, key);
  } catch (error) {
    loginClass.users--;
    throw error;
  } finally {
    connection.login.pending = null;
  }
}

/** `name`: application_name where the welcome was another client's; its notices then were for that one only. */
function wordWelcome(welcome: Welcome, name: string | null, key: string | null): Welcome {
  const parameters = new Map(welcome.parameters);
  if (name !== null && parameters.has('application_name')) parameters.set('application_name', name);
  const messages: Buffer[] = [];
  for (let at = 0; at < welcome.messages.length; ) {
    const end = at + 1 + welcome.messages.readInt32BE(at + 1);
    const message = welcome.messages.subarray(at, end);
    at = end;
    if (message[0] === BACKEND.backendKeyData) {
      if (key !== null) messages.push(makeBackendKeyData(key));
    } else if (message[0] === BACKEND.parameterStatus) {
      const shown = readParameterStatus(message, 0, message.length);
      const isName = name !== null && shown?.name === 'application_name';
      messages.push(isName ? makeParameterStatus('application_name', name) : message);
    } else if (message[0] !== BACKEND.notice || name === null) {
      messages.push(message);
    }
  }
  return { negotiation: welcome.negotiation, messages: Buffer.concat(messages), parameters, key };
}
