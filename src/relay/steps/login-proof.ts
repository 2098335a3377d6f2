// How a client proves who it is where pgweir itself decides: by SCRAM or md5 against a verifier, by its certificate, or not
// at all. What is learned on the way, pgweir can log in to the server with.

import { randomBytes } from 'node:crypto';
import { AuthRefused, refusePassword } from '../../auth/auth-refused.ts';
import { isMd5Answer } from '../../auth/md5.ts';
import { listMechanisms, ScramServer } from '../../auth/scram-server.ts';
import type { LoginSecret, ScramVerifier, Verifier } from '../../auth/verifier.ts';
import type { Settings } from '../../config/settings.ts';
import { AUTHENTICATION } from '../../wire/codes.ts';
import { findNul } from '../../wire/reader.ts';
import type { StartupMessage } from '../../wire/startup.ts';
import { makeAuthentication } from '../../wire/writer.ts';
import type { Connection } from '../connection.ts';
import type { RelayContext } from '../context.ts';
import { LoginDialogue } from './login-dialogue.ts';

const SALT_BYTES = 4;

type Proven = Omit<ClientProof, 'isNegotiated'>;

export interface ClientProof {
  readonly secret: LoginSecret;
  /** AuthenticationSASLFinal, which goes out with AuthenticationOk; null where there was no SCRAM. */
  readonly final: Buffer | null;
  /** The client has been told which version the server speaks. */
  readonly isNegotiated: boolean;
}

/** Throws AuthRefused, ClientLeft, or WeirError where the verifier cannot be looked up. */
export async function proveClient(
  connection: Connection,
  context: RelayContext,
  startup: StartupMessage,
): Promise<ClientProof> {
  const { user } = connection.session.subject;
  const { auth } = context.settings;
  switch (auth.mode) {
    case 'passthrough':
    case 'trust':
      break;
    case 'certificate':
      checkCertificate(connection, auth.certificateUsers);
      break;
    case 'scram':
    case 'md5': {
      const dialogue = new LoginDialogue(connection);
      connection.login.dialogue = dialogue;
      try {
        const [verifier, negotiation] = await Promise.all([
          context.users.find(user),
          context.versions.ask(startup.minor, startup.parameters),
        ]);
        if (negotiation !== null) connection.client.outlet.write(negotiation);
        const isNegotiated = negotiation !== null;
        if (auth.mode === 'md5' && verifier?.type === 'md5')
          return { ...(await proveByMd5(dialogue, context, user, verifier.hash)), isNegotiated };
        return { ...(await proveByScram(dialogue, connection, context, verifier)), isNegotiated };
      } catch (error) {
        if (error instanceof AuthRefused) context.users.forget(user);
        throw error;
      } finally {
        connection.login.dialogue = null;
      }
    }
    default:
      auth.mode satisfies never;
  }
  return { secret: context.secrets.credentialFor(user), final: null, isNegotiated: false };
}

/** Without a map the certificate's CN is the user; with one, only what stands in it counts. As `cert` of pg_hba.conf. */
function checkCertificate(connection: Connection, map: Settings['auth']['certificateUsers']): void {
  const { peer } = connection.transport;
  if (peer === null) throw new AuthRefused('28000', 'connection requires a valid client certificate');
  const { user } = connection.session.subject;
  const { commonName } = peer;
  const isAllowed =
    commonName !== null &&
    commonName !== '' &&
    (map.length === 0
      ? commonName === user
      : map.some((entry) => entry.commonName === commonName && entry.user === user));
  if (!isAllowed) throw new AuthRefused('28000', `certificate authentication failed for user "${user}"`);
}

async function proveByMd5(dialogue: LoginDialogue, context: RelayContext, user: string, hash: string): Promise<Proven> {
  const salt = randomBytes(SALT_BYTES);
  const body = await dialogue.ask(makeAuthentication(AUTHENTICATION.md5, salt), 'password');
  const nul = findNul(body, 0, body.length);
  if (nul < 0 || nul !== body.length - 1) throw new AuthRefused('08P01', 'invalid password packet size');
  if (body.length === 1) throw new AuthRefused('28P01', 'empty password returned by client');
  if (!isMd5Answer(body.toString('latin1', 0, body.length - 1), hash, salt)) throw refusePassword(user);
  return { secret: { ...context.secrets.credentialFor(user), md5Hash: hash }, final: null };
}

async function proveByScram(
  dialogue: LoginDialogue,
  connection: Connection,
  context: RelayContext,
  known: Verifier | null,
): Promise<Proven> {
  const { user } = connection.session.subject;
  const { serverEndPoint } = connection.transport;
  const mechanisms = Buffer.from(`${listMechanisms(serverEndPoint).join('\0')}\0\0`);
  let body = await dialogue.ask(makeAuthentication(AUTHENTICATION.sasl, mechanisms), 'SASL');
  const verifier = await findScramVerifier(context, known);
  const { mechanism, response } = readInitialResponse(body);
  const scram = new ScramServer(mechanism, {
    verifier: verifier ?? context.users.mockOf(user),
    isDoomed: verifier === null,
    serverEndPoint,
  });
  let first = response();
  if (first === null) {
    const nothing = Buffer.alloc(0);
    first = (await dialogue.ask(makeAuthentication(AUTHENTICATION.saslContinue, nothing), 'SASL')).toString('latin1');
  }
  const serverFirst = Buffer.from(scram.begin(first), 'latin1');
  body = await dialogue.ask(makeAuthentication(AUTHENTICATION.saslContinue, serverFirst), 'SASL');
  const outcome = scram.finish(body.toString('latin1'));
  if (outcome === null) throw refusePassword(user);
  return {
    secret: { ...context.secrets.credentialFor(user), keys: outcome.keys },
    final: makeAuthentication(AUTHENTICATION.saslFinal, Buffer.from(outcome.serverFinal)),
  };
}

/** Null: SCRAM cannot succeed, as with an md5 verifier. */
async function findScramVerifier(context: RelayContext, known: Verifier | null): Promise<ScramVerifier | null> {
  if (known?.type === 'plain') return context.users.scramOf(known);
  return known?.type === 'scram' ? known : null;
}

/** SASLInitialResponse. The mechanism is looked at before the rest, as PostgreSQL does; `response`: null where there is none. */
function readInitialResponse(body: Buffer): { mechanism: string; response: () => string | null } {
  const nul = findNul(body, 0, body.length);
  if (nul < 0) throw new AuthRefused('08P01', 'invalid string in message');
  const response = (): string | null => {
    const at = nul + 5;
    const length = body.length < at ? Number.NaN : body.readInt32BE(nul + 1);
    if (!(length >= -1 && at + length <= body.length))
      throw new AuthRefused('08P01', 'insufficient data left in message');
    if (at + Math.max(length, 0) !== body.length) throw new AuthRefused('08P01', 'invalid message format');
    return length === -1 ? null : body.toString('latin1', at);
  };
  return { mechanism: body.toString('latin1', 0, nul), response };
}
