// Logins that lean on TLS: SCRAM bound to the certificate on either side, a bare password that nobody can read, and client
// certificates. Each with the twin that is refused.

import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { AuthQuery } from '../../src/config/settings.ts';
import { CertificateFolder } from '../support/certificate-folder.ts';
import * as frontend from '../support/frontend-messages.ts';
import { ROLES, startPostgres, type TestPostgres } from '../support/postgres.ts';
import type { ClientTls } from '../support/tls-client.ts';
import { transcribe } from '../support/transcript.ts';
import { tryLogin } from '../support/try-login.ts';
import { type SettingsOverrides, startTestWeir, type TestWeir } from '../support/weir.ts';
import { ConnectionEnded, type WireAddress, WireClient } from '../support/wire-client.ts';

const folder = new CertificateFolder();
/** Another one than the server's. */
const ownCertificate = folder.issue('own', { commonName: 'pgweir', dnsNames: ['localhost'], addresses: ['127.0.0.1'] });
const tls: ClientTls = { negotiation: 'require' };
const { scram, plain, application } = ROLES;
const query: AuthQuery = {
  user: 'weir',
  database: 'postgres',
  text: 'SELECT rolpassword FROM pg_authid WHERE rolname = $1',
  cacheMs: 1_000,
  maxCachedUsers: 100,
};
let postgres: TestPostgres;

beforeAll(async () => {
  postgres = await startPostgres(folder.postgresTls());
}, 60_000);

afterAll(async () => {
  folder.remove();
  await postgres.stop();
});

async function withWeir<T>(settings: SettingsOverrides, use: (weir: TestWeir) => Promise<T>): Promise<T> {
  const weir = await startTestWeir({ postgres, settings });
  try {
    return await use(weir);
  } finally {
    await weir.stop();
  }
}

/** As a driver that binds SCRAM to the certificate where it can: `in`, or SQLSTATE and words. */
async function tryBinding({ host, port }: WireAddress): Promise<string> {
  const client = new pg.Client({
    host,
    port,
    ...scram,
    database: 'weir',
    ssl: { rejectUnauthorized: false },
    enableChannelBinding: true,
    connectionTimeoutMillis: 10_000,
  });
  client.on('error', () => undefined);
  try {
    await client.connect();
    return 'in';
  } catch (error) {
    if (error instanceof pg.DatabaseError) return `${error.code} ${error.message}`;
    throw error;
  } finally {
    await client.end();
  }
}

/** What the server offers first. */
async function readOffer(address: WireAddress): Promise<string[]> {
  const client = await WireClient.connect(address);
  client.send(frontend.startupMessage({ user: scram.user, database: 'weir' }));
  const told = transcribe([await client.readMessage()]);
  client.destroy();
  return told;
}

const BOTH = ['Authentication SASL SCRAM-SHA-256-PLUS SCRAM-SHA-256'];
const ONE = ['Authentication SASL SCRAM-SHA-256'];

describe('where pgweir itself asks a client over TLS', () => {
  const settings: SettingsOverrides = {
    auth: { mode: 'scram', query },
    listen: { tls: folder.listenTls(ownCertificate) },
  };

  test('the login is bound to the certificate that the client sees', async () => {
    await withWeir(settings, async (weir) => {
      expect(await readOffer({ ...weir, tls })).toEqual(BOTH);
      expect(await readOffer(weir)).toEqual(ONE);
      expect(await tryBinding(weir)).toBe('in');
      expect(await tryLogin({ ...weir, tls }, scram)).toBe(`in as ${scram.user}`);
      expect(await tryLogin(weir, scram)).toBe(`in as ${scram.user}`);
    });
  });

  test.each([
    ['believes that it was not offered', 'SCRAM-SHA-256', 'y,,n=,r=abc', 'eSws'],
    ['chooses -PLUS and does not bind', 'SCRAM-SHA-256-PLUS', 'n,,n=,r=abc', 'biws'],
    ['chooses -PLUS and believes that it was not offered', 'SCRAM-SHA-256-PLUS', 'y,,n=,r=abc', 'eSws'],
    ['binds without -PLUS', 'SCRAM-SHA-256', 'p=tls-server-end-point,,n=,r=abc', 'biws'],
    ['binds to something else', 'SCRAM-SHA-256-PLUS', 'p=tls-unique,,n=,r=abc', 'biws'],
    ['binds to nothing', 'SCRAM-SHA-256-PLUS', 'p=tls-server-end-point,,n=,r=abc', 'cD10bHMtc2VydmVyLWVuZC1wb2ludCws'],
    [
      'binds to another certificate',
      'SCRAM-SHA-256-PLUS',
      'p=tls-server-end-point,,n=,r=abc',
      Buffer.from(`p=tls-server-end-point,,${'x'.repeat(32)}`).toString('base64'),
    ],
    ['forgets at the end that it binds', 'SCRAM-SHA-256-PLUS', 'p=tls-server-end-point,,n=,r=abc', 'biws'],
  ])('a client that %s gets what the bare server gives', async (_what, mechanism, first, binding) => {
    const converse = async (address: WireAddress): Promise<string[]> => {
      const client = await WireClient.connect(address);
      const told: string[] = [];
      try {
        client.send(frontend.startupMessage({ user: scram.user, database: 'weir' }));
        told.push(...transcribe([await client.readMessage()]));
        client.send(
          frontend.message('p', frontend.cstring(mechanism), frontend.int32(first.length), Buffer.from(first)),
        );
        const asked = await client.readMessage();
        told.push(...transcribe([asked]));
        const nonce = /r=([^,]*)/.exec(asked.body.toString('latin1'))?.[1];
        const proof = Buffer.alloc(32).toString('base64');
        client.send(frontend.message('p', Buffer.from(`c=${binding},r=${nonce},p=${proof}`)));
        told.push(...transcribe(await client.readUntilEnd()));
      } catch (error) {
        if (!(error instanceof ConnectionEnded)) throw error;
      }
      client.destroy();
      return told;
    };
    await withWeir(settings, async (weir) => {
      const direct = await converse({ host: postgres.host, port: postgres.port, tls });
      expect(direct.at(-1)).toMatch(/C="(08P01|28000)"/);
      expect(await converse({ ...weir, tls })).toEqual(direct);
    });
  });
});

describe('where a client`s login is relayed', () => {
  const relay = (
    near: boolean,
    far: boolean,
    certificate = ownCertificate,
    mode: 'require' | 'verify-ca' | 'verify-full' = 'require',
  ): SettingsOverrides => ({
    auth: { mode: 'passthrough' },
    ...(near ? { listen: { tls: folder.listenTls(certificate) } } : {}),
    ...(far ? { targets: { tls: folder.targetsTls(mode) } } : {}),
  });

  test('a binding that could not hold is not offered, and the login goes without', async () => {
    for (const [near, far] of [
      [true, true],
      [true, false],
      [false, true],
    ] as const) {
      await withWeir(relay(near, far), async (weir) => {
        const address = near ? { ...weir, tls } : weir;
        expect(await readOffer(address)).toEqual(ONE);
        expect(await tryLogin(address, scram)).toBe(`in as ${scram.user}`);
        expect(await tryLogin(address, { ...scram, password: 'no' })).toMatch(/^28P01/);
      });
    }
    expect(await readOffer({ host: postgres.host, port: postgres.port, tls })).toEqual(BOTH);
  });

  test('a driver that binds where it can is told by the server that somebody stands between them', async () => {
    await withWeir(relay(true, false), async (weir) => expect(await tryBinding(weir)).toBe('in'));
    await withWeir(relay(true, true), async (weir) => {
      expect(await tryBinding(weir)).toBe('28000 SCRAM channel binding negotiation error');
    });
  });

  test.each(['require', 'verify-ca', 'verify-full'] as const)(
    'a binding holds where pgweir shows the server`s own certificate, and %s it',
    async (mode) => {
      const certificate = folder.write('server', folder.server);
      await withWeir(relay(true, true, certificate, mode), async (weir) => {
        expect(await readOffer({ ...weir, tls })).toEqual(BOTH);
        expect(await tryBinding(weir)).toBe('in');
      });
    },
  );
});

describe('where pgweir logs in to a server', () => {
  const credentials = Object.values(ROLES).map(({ user, password }) => ({ user, password }));

  test.each(Object.values(ROLES).filter(({ password }) => password !== null))(
    'over TLS, $method works',
    async (role) => {
      const targets = { tls: folder.targetsTls('verify-full') };
      await withWeir({ auth: { mode: 'trust', credentials }, targets }, async (weir) => {
        expect(await tryLogin(weir, { user: role.user })).toBe(`in as ${role.user}`);
      });
      const wrong = credentials.map(({ user }) => ({ user, password: 'no' }));
      await withWeir({ auth: { mode: 'trust', credentials: wrong }, targets }, async (weir) => {
        expect(await tryLogin(weir, { user: role.user })).toBe(
          `28P01 password authentication failed for user "${role.user}"`,
        );
      });
    },
  );

  test('the bare password is not sent without TLS', async () => {
    await withWeir({ auth: { mode: 'trust', credentials } }, async (weir) => {
      expect(await tryLogin(weir, { user: plain.user })).toMatch(
        /^28000 .* the bare password over a connection without TLS$/,
      );
    });
  });

  test('the keys of a client`s login serve over TLS too', async () => {
    const settings = { auth: { mode: 'scram', query }, targets: { tls: folder.targetsTls('verify-full') } } as const;
    await withWeir(settings, async (weir) => {
      expect(await tryLogin(weir, scram)).toBe(`in as ${scram.user}`);
      expect(await tryLogin(weir, { ...scram, password: 'no' })).toMatch(/^28P01/);
    });
  });
});

describe('with client certificates', () => {
  const clientTls = (commonName: string | null): ClientTls => {
    const { cert, key } = folder.authority.issue({ commonName });
    return { negotiation: 'require', options: { cert, key } };
  };
  const listen = {
    tls: folder.listenTls({ clientCaFile: `${folder.path}/ca.crt`, clientCertificate: 'optional' }),
  } as const;
  const refused = `28000 certificate authentication failed for user "${application.user}"`;

  test('the CN says who may be whom', async () => {
    await withWeir({ auth: { mode: 'certificate' }, listen }, async (weir) => {
      const attempt = (given: ClientTls): Promise<string> => tryLogin({ ...weir, tls: given }, application);
      expect(await attempt(clientTls(application.user))).toBe(`in as ${application.user}`);
      for (const commonName of ['weir', `${application.user} `, application.user.toUpperCase(), '', null])
        expect(await attempt(clientTls(commonName))).toBe(refused);
      expect(await attempt(tls)).toBe('28000 connection requires a valid client certificate');
      expect(await tryLogin(weir, application)).toBe('28000 connection requires a valid client certificate');
    });
  });

  test('a map says it where there is one, and then alone', async () => {
    const certificateUsers = [{ commonName: 'service 7', user: application.user }];
    await withWeir({ auth: { mode: 'certificate', certificateUsers }, listen }, async (weir) => {
      const attempt = (commonName: string, user: string): Promise<string> =>
        tryLogin({ ...weir, tls: clientTls(commonName) }, { user });
      expect(await attempt('service 7', application.user)).toBe(`in as ${application.user}`);
      expect(await attempt('service 7', 'weir')).toBe('28000 certificate authentication failed for user "weir"');
      expect(await attempt(application.user, application.user)).toBe(refused);
    });
  });

  test('the server`s own certificate says it for pgweir', async () => {
    // Nothing to do but to accept AuthenticationOk; that a certificate is shown, test/tls shows.
    await withWeir({ auth: { mode: 'trust' }, targets: { tls: folder.targetsTls('verify-full') } }, async (weir) => {
      expect(await tryLogin(weir, application)).toBe(`in as ${application.user}`);
    });
  });
});

/** Every way in, over every kind of connection on both sides: with the right proof, and with a wrong one. */
describe.each(['trust', 'scram', 'md5', 'certificate'] as const)('with auth %s', (mode) => {
  const NEAR: Readonly<Record<string, ClientTls['negotiation'] | null>> = {
    plain: null,
    require: 'require',
    direct: 'direct',
  };
  const FAR = ['disable', 'prefer', 'require', 'verify-ca', 'verify-full'] as const;
  const role = mode === 'md5' ? ROLES.md5 : scram;
  const credential = { user: role.user, password: role.password };
  const wrong = { user: role.user, password: 'wrong' };
  const certificate = folder.authority.issue({ commonName: role.user });
  const wrongCertificate = folder.authority.issue({ commonName: application.user });

  function settingsFor(far: (typeof FAR)[number], isRight: boolean): SettingsOverrides {
    const isAsking = mode === 'scram' || mode === 'md5';
    const listenTls = folder.listenTls({
      ...ownCertificate,
      clientCaFile: `${folder.path}/ca.crt`,
      clientCertificate: 'optional',
    });
    const credentials = isAsking ? [] : [isRight ? credential : wrong];
    return {
      auth: { mode, credentials, query: isAsking ? query : null },
      listen: { tls: listenTls },
      targets: { tls: folder.targetsTls(far) },
    };
  }

  test.each(Object.keys(NEAR).flatMap((near) => FAR.map((far) => [near, far] as const)))(
    'a client by %s, a server by %s',
    async (near, far) => {
      const negotiation = NEAR[near] ?? null;
      const isCertificateLess = mode === 'certificate' && negotiation === null;
      const words = `password authentication failed for user "${role.user}"`;
      const attempt = (weir: TestWeir, isRight: boolean): Promise<string> => {
        const { cert, key } = isRight ? certificate : wrongCertificate;
        const address = negotiation === null ? weir : { ...weir, tls: { negotiation, options: { cert, key } } };
        return tryLogin(address, isRight ? credential : wrong);
      };
      await withWeir(settingsFor(far, true), async (weir) => {
        const expected = isCertificateLess
          ? '28000 connection requires a valid client certificate'
          : `in as ${role.user}`;
        expect(await attempt(weir, true)).toBe(expected);
        if (mode === 'certificate' && !isCertificateLess)
          expect(await attempt(weir, false)).toBe(`28000 certificate authentication failed for user "${role.user}"`);
        if (mode === 'scram' || mode === 'md5') expect(await attempt(weir, false)).toBe(`28P01 ${words}`);
      });
      if (isCertificateLess || mode === 'scram' || mode === 'md5') return;
      // Whom pgweir believes, the server may still refuse.
      await withWeir(settingsFor(far, false), async (weir) => expect(await attempt(weir, true)).toBe(`28P01 ${words}`));
    },
  );
});
