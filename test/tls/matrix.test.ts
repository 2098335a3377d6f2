// Who is encrypted, and who is refused, for every way a client may connect, pgweir may listen, pgweir may connect, and a
// server may be set up: against a table of what PostgreSQL and libpq do in each place.

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Settings } from '../../src/config/settings.ts';
import { CertificateFolder } from '../support/certificate-folder.ts';
import { ROLES, startPostgres, type TestPostgres } from '../support/postgres.ts';
import { type ClientTls, TlsDeclined } from '../support/tls-client.ts';
import { startTestWeir, type TestWeir } from '../support/weir.ts';
import { ServerError, WireClient } from '../support/wire-client.ts';

const folder = new CertificateFolder();
const verifying = { ca: folder.authority.cert, rejectUnauthorized: true };

/** As libpq's sslmode, and sslnegotiation=direct. */
const CLIENTS: Readonly<Record<string, ClientTls | null>> = {
  plain: null,
  prefer: { negotiation: 'prefer' },
  require: { negotiation: 'require' },
  'verify-ca': { negotiation: 'require', options: { ...verifying, checkServerIdentity: () => undefined } },
  'verify-full': { negotiation: 'require', options: { ...verifying, host: 'localhost', servername: 'localhost' } },
  direct: { negotiation: 'direct', options: { ...verifying, servername: 'localhost' } },
};
const LISTEN_MODES = ['disable', 'allow', 'require'] as const;
const WAYS = ['disable', 'prefer', 'require', 'verify-ca', 'verify-full', 'direct'] as const;
const SERVERS = ['ssl on', 'ssl off', 'hostssl only'] as const;

type Way = (typeof WAYS)[number];
type ServerKind = (typeof SERVERS)[number];

/** Whether each side is encrypted, or why nobody gets in. */
type Outcome = { readonly client: boolean; readonly server: boolean } | { readonly refusal: string };

function predict(client: string, listen: (typeof LISTEN_MODES)[number], way: Way, server: ServerKind): Outcome {
  const isInsisting = client !== 'plain' && client !== 'prefer';
  if (listen === 'disable' && isInsisting) return { refusal: client === 'direct' ? 'closed' : 'declined' };
  const isClientEncrypted = client !== 'plain' && listen !== 'disable';
  if (listen === 'require' && !isClientEncrypted) return { refusal: '28000 pgweir takes connections over TLS only' };
  if (server === 'ssl off' && way === 'direct') return { refusal: '08001 could not encrypt' };
  if (server === 'ssl off' && way !== 'disable' && way !== 'prefer')
    return { refusal: '08001 the database does not offer TLS' };
  if (server === 'hostssl only' && way === 'disable') return { refusal: '28000 no encryption' };
  return { client: isClientEncrypted, server: server !== 'ssl off' && way !== 'disable' };
}

/** A refusal is compared by its code, and by words of its message. */
function matchOutcome(predicted: Outcome): unknown {
  if (!('refusal' in predicted)) return predicted;
  const [code = '', ...words] = predicted.refusal.split(' ');
  return { refusal: expect.stringMatching(new RegExp(`^${code}.*${words.join(' ')}`)) };
}

let withSsl: TestPostgres;
let withoutSsl: TestPostgres;

beforeAll(async () => {
  const strict = ROLES.application.user;
  const hbaLines = [`hostssl all ${strict} all trust`, `hostnossl all ${strict} all reject`];
  [withSsl, withoutSsl] = await Promise.all([startPostgres({ ...folder.postgresTls(), hbaLines }), startPostgres()]);
}, 60_000);

afterAll(async () => {
  folder.remove();
  await Promise.all([withSsl.stop(), withoutSsl.stop()]);
});

function makeTargetsTls(way: Way): Settings['targets']['tls'] {
  return way === 'direct' ? folder.targetsTls('verify-full', { negotiation: 'direct' }) : folder.targetsTls(way);
}

async function tryOut(weir: TestWeir, tls: ClientTls | null, user: string): Promise<Outcome> {
  let client: WireClient | null = null;
  try {
    const address = { host: weir.host, port: weir.port, ...(tls === null ? {} : { tls }) };
    client = await WireClient.login(address, { user });
    const [row] = await client.rows('SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()');
    const outcome = { client: 'encrypted' in client.socket, server: row?.[0] === 't' };
    await client.end();
    return outcome;
  } catch (error) {
    client?.destroy();
    if (error instanceof ServerError) return { refusal: `${error.code} ${error.message}` };
    if (error instanceof TlsDeclined) return { refusal: 'declined' };
    if (error instanceof Error && /closed|disconnected|ECONNRESET/.test(error.message)) return { refusal: 'closed' };
    throw error;
  }
}

describe.each(SERVERS)('with a server that has %s', (server) => {
  describe.each(WAYS)('reached by %s', (way) => {
    test.each(LISTEN_MODES)(
      'and listen.tls.mode %s, every client gets what it asks for or is refused',
      async (mode) => {
        const postgres = server === 'ssl off' ? withoutSsl : withSsl;
        const user = server === 'hostssl only' ? ROLES.application.user : ROLES.superuser.user;
        const weir = await startTestWeir({
          postgres,
          settings: {
            auth: { mode: 'passthrough' },
            listen: { tls: folder.listenTls({ mode }) },
            targets: { tls: makeTargetsTls(way) },
          },
        });
        try {
          const found: Record<string, Outcome> = {};
          const expected: Record<string, unknown> = {};
          for (const [name, tls] of Object.entries(CLIENTS)) {
            found[name] = await tryOut(weir, tls, user);
            expected[name] = matchOutcome(predict(name, mode, way, server));
          }
          expect(found).toEqual(expected);
        } finally {
          await weir.stop();
        }
      },
    );
  });
});

describe('every method of authentication that a server asks for', () => {
  const METHODS = [ROLES.scram, ROLES.md5, ROLES.plain];
  const ENDS = ['plain', 'require'].flatMap((client) =>
    (['disable', 'require'] as const).map((way) => [client, way] as const),
  );

  describe.each(ENDS)('from a client with %s, to a server with %s', (client, way) => {
    let weir: TestWeir;

    beforeAll(async () => {
      weir = await startTestWeir({
        postgres: withSsl,
        settings: {
          auth: { mode: 'passthrough' },
          listen: { tls: folder.listenTls() },
          targets: { tls: folder.targetsTls(way) },
        },
      });
    });

    afterAll(() => weir.stop());

    const address = (): { host: string; port: number; tls?: ClientTls } => {
      const tls = CLIENTS[client] ?? null;
      return { host: weir.host, port: weir.port, ...(tls === null ? {} : { tls }) };
    };

    test.each(METHODS)('$method: the right password gets in', async ({ user, password }) => {
      const session = await WireClient.login(address(), { user, password });
      expect(await session.rows('SELECT current_user')).toEqual([[user]]);
      await session.end();
    });

    test.each(METHODS)("$method: a wrong password gets the server's own error", async ({ user }) => {
      await expect(WireClient.login(address(), { user, password: 'wrong' })).rejects.toMatchObject({
        code: '28P01',
        message: `password authentication failed for user "${user}"`,
      });
    });
  });
});
