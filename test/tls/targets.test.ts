// TLS with servers: who is trusted, what is sent, how a hostile or a silent one is left, and that cancels go the same way.

import { createHash, X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer, TLSSocket } from 'node:tls';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { Settings } from '../../src/config/settings.ts';
import { Dialer } from '../../src/pool/server-connection.ts';
import { TlsConnector } from '../../src/tls/connector.ts';
import { CertificateFolder } from '../support/certificate-folder.ts';
import { type CertificateRequest, makeAuthority } from '../support/certificates.ts';
import { waitFor } from '../support/deadline.ts';
import * as frontend from '../support/frontend-messages.ts';
import { startPostgres, type TestPostgres } from '../support/postgres.ts';
import { readFields } from '../support/transcript.ts';
import { startTestWeir, type TestWeir, type WeirTargets } from '../support/weir.ts';
import { sendCancel, WireClient } from '../support/wire-client.ts';

type TargetsTls = Settings['targets']['tls'];

const folder = new CertificateFolder();
const CONNECT_TIMEOUT_MS = 1_500;
let postgres: TestPostgres;

beforeAll(async () => {
  const hbaLines = ['hostssl all app all cert'];
  postgres = await startPostgres({ ...folder.postgresTls(), hbaLines });
}, 60_000);

const stops: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const stop of stops.splice(0)) await stop();
});

afterAll(async () => {
  await postgres.stop();
  folder.remove();
});

async function startWeirTo(target: WeirTargets, tls: TargetsTls): Promise<TestWeir> {
  const weir = await startTestWeir({
    postgres: target,
    settings: { targets: { tls }, limits: { connectTimeoutMs: CONNECT_TIMEOUT_MS } },
  });
  stops.push(() => weir.stop());
  return weir;
}

/** A server of the test's own. */
async function serve(server: Server): Promise<{ host: string; port: number }> {
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  stops.push(async () => {
    for (const socket of sockets) socket.destroy();
    server.close();
    await once(server, 'close');
  });
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port given');
  return { host: '127.0.0.1', port: address.port };
}

/** Says the bytes to each SSLRequest. */
function answerWith(bytes: string | null): Server {
  return createServer((socket) => {
    socket.on('data', () => {
      if (bytes !== null) socket.write(bytes, 'latin1');
    });
  });
}

/** Agrees to TLS with a certificate, and lets everybody in. */
function trustingServer(request: CertificateRequest, seen: { servername?: unknown; alpn?: unknown } = {}): Server {
  const certified = folder.authority.issue(request);
  return createServer((socket) => {
    socket.once('data', () => {
      socket.pause();
      socket.write('S');
      const secured = new TLSSocket(socket, { isServer: true, ...certified, ALPNProtocols: ['postgresql'] });
      secured.on('error', () => undefined);
      secured.once('data', () => {
        seen.servername = Reflect.get(secured, 'servername');
        seen.alpn = secured.alpnProtocol;
        secured.write(Buffer.concat([AUTHENTICATION_OK, READY]));
      });
    });
  });
}

const AUTHENTICATION_OK = frontend.message('R', frontend.int32(0));
const READY = frontend.message('Z', Buffer.from('I'));

async function expectRefusal(weir: TestWeir, message: RegExp): Promise<void> {
  await expect(WireClient.login(weir)).rejects.toMatchObject({
    code: '08001',
    message: expect.stringMatching(message),
  });
  expect(weir.control.counters.leasesTaken).toBe(0);
}

describe('a server is trusted', () => {
  const PEOPLE: [string, TargetsTls['mode'], CertificateRequest, Partial<TargetsTls>, boolean][] = [
    ['by its address', 'verify-full', { commonName: 'x', addresses: ['127.0.0.1'] }, {}, true],
    ['for another address', 'verify-full', { commonName: 'x', addresses: ['127.0.0.2'] }, {}, false],
    ['for another address', 'verify-ca', { commonName: 'x', addresses: ['127.0.0.2'] }, {}, true],
    ['by a name', 'verify-full', { commonName: null, dnsNames: ['db.example'] }, { serverName: 'db.example' }, true],
    ['for another name', 'verify-full', { commonName: null, dnsNames: ['db.example'] }, { serverName: 'x' }, false],
    ['that has expired', 'verify-ca', { commonName: 'x', notAfter: new Date(Date.now() - 60_000) }, {}, false],
    ['that has expired', 'require', { commonName: 'x', notAfter: new Date(Date.now() - 60_000) }, {}, true],
  ];
  test.each(PEOPLE)('with a certificate %s and mode %s (%j, %j): %s', async (_what, mode, request, tls, isIn) => {
    const target = await serve(trustingServer(request));
    const weir = await startWeirTo(target, folder.targetsTls(mode, tls));
    if (isIn) (await WireClient.login(weir)).destroy();
    else await expectRefusal(weir, /could not encrypt.*(certificate is for|certificate has expired)/);
  });

  test.each(['verify-ca', 'verify-full'] as const)('not by another authority, with mode %s', async (mode) => {
    const caFile = folder.writeText('stranger.crt', makeAuthority('stranger').cert);
    const weir = await startWeirTo(postgres, folder.targetsTls(mode, { caFile }));
    await expectRefusal(weir, /could not encrypt.*(unable|self-signed)/);
  });

  test('not by the public authorities where it is not known to them', async () => {
    const weir = await startWeirTo(postgres, folder.targetsTls('verify-full', { caFile: null }));
    await expectRefusal(weir, /could not encrypt.*(unable|self-signed)/);
  });
});

describe('a server hears', () => {
  test.each([
    ['the name that is set', 'db.example', 'db.example'],
    ['no name where the host is an address', null, false],
  ])('%s', async (_what, serverName, expected) => {
    const seen: { servername?: unknown; alpn?: unknown } = {};
    const target = await serve(trustingServer({ commonName: 'x' }, seen));
    const weir = await startWeirTo(target, folder.targetsTls('require', { serverName }));
    (await WireClient.login(weir)).destroy();
    expect(seen).toEqual({ servername: expected, alpn: 'postgresql' });
  });

  test('a certificate where it asks for one; without it, its own refusal comes through', async () => {
    const app = folder.issue('app', { commonName: 'app' });
    const known = await startWeirTo(postgres, folder.targetsTls('verify-full', app));
    const client = await WireClient.login(known, { user: 'app' });
    expect(await client.rows('SELECT current_user')).toEqual([['app']]);
    await client.end();
    const unknown = await startWeirTo(postgres, folder.targetsTls('verify-full'));
    await expect(WireClient.login(unknown, { user: 'app' })).rejects.toMatchObject({
      code: '28000',
      message: 'connection requires a valid client certificate',
    });
  });
});

test.each(['require', 'verify-ca', 'verify-full'] as const)(
  'the certificate that a connection of mode %s is bound to is the one that the server has shown',
  async (mode) => {
    const target = { name: 'primary', host: postgres.host, port: postgres.port };
    const tls = folder.targetsTls(mode);
    const material = tls.caFile === null ? {} : { ca: [folder.authority.cert] };
    const line = await new Dialer(CONNECT_TIMEOUT_MS, new TlsConnector(tls, material)).open(target);
    line.socket.destroy();
    const { raw } = new X509Certificate(folder.server.cert);
    expect(line.transport.serverEndPoint).toEqual(createHash('sha256').update(raw).digest());
  },
);

describe('a server that', () => {
  test.each([
    ['sends more than S', 'Sx', /unencrypted data after it agreed/],
    ['sends an error in place of an answer', 'EFATAL', /no proper answer/],
    ['sends more than N', 'NN', /no proper answer/],
    ['declines', 'N', /does not offer TLS/],
    ['agrees and then sends no TLS', 'S', /no handshake within/],
    ['says nothing', null, /no handshake within/],
  ])('%s is left', async (_what, bytes, message) => {
    const weir = await startWeirTo(await serve(answerWith(bytes)), folder.targetsTls('require'));
    const startedMs = performance.now();
    await expectRefusal(weir, message);
    expect(performance.now() - startedMs).toBeLessThan(CONNECT_TIMEOUT_MS * 3);
  });

  test('closes after SSLRequest is left', async () => {
    const weir = await startWeirTo(
      await serve(createServer((socket) => socket.once('data', () => socket.end()))),
      folder.targetsTls('require'),
    );
    await expectRefusal(weir, /closed the connection after the request/);
  });

  test('resets amid the handshake is left', async () => {
    const server = createServer((socket) => {
      socket.once('data', () => {
        socket.write('S');
        socket.once('data', () => socket.resetAndDestroy());
      });
    });
    const weir = await startWeirTo(await serve(server), folder.targetsTls('require'));
    await expectRefusal(weir, /could not encrypt/);
  });

  test('speaks TLS at once but takes no part in ALPN is left by direct negotiation', async () => {
    const weir = await startWeirTo(
      await serve(createTlsServer({ ...folder.server })),
      folder.targetsTls('require', { negotiation: 'direct' }),
    );
    await expectRefusal(weir, /ALPN/);
  });

  test('speaks too old a version is left', async () => {
    const old = createTlsServer({ ...folder.server, maxVersion: 'TLSv1.2', ALPNProtocols: ['postgresql'] });
    const weir = await startWeirTo(
      await serve(old),
      folder.targetsTls('require', { negotiation: 'direct', minVersion: 'TLSv1.3' }),
    );
    await expectRefusal(weir, /could not encrypt.*protocol version/);
  });

  test('is on a Unix socket is reached without TLS, as by libpq', async () => {
    const target = { host: postgres.socketDirectory, port: postgres.port };
    const weir = await startWeirTo(target, folder.targetsTls('verify-full'));
    const client = await WireClient.login(weir);
    expect(await client.rows('SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()')).toEqual([['f']]);
    await client.end();
  });
});

test.each(['postgres', 'direct'] as const)(
  'a cancel reaches a server that is spoken to by TLS (%s)',
  async (negotiation) => {
    const plainRequests: number[] = [];
    const spy = createServer((near) => {
      const far = connect(postgres.port, postgres.host);
      near.once('data', (first: Buffer) => plainRequests.push(first.length === 16 ? 1 : 0));
      for (const socket of [near, far]) socket.on('error', () => undefined);
      near.pipe(far);
      far.pipe(near);
    });
    const weir = await startWeirTo(await serve(spy), folder.targetsTls('verify-full', { negotiation }));
    const client = await WireClient.login(weir);
    client.send(frontend.query('SELECT pg_sleep(20)'));
    const running = "SELECT FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(20)' AND state = 'active'";
    await waitFor(
      async () => (await postgres.query(running)).rowCount === 1,
      5_000,
      () => 'the statement does not run',
    );
    await sendCancel(weir, client.processId, client.secretKey);
    const error = (await client.readUntilReady()).find(({ type }) => type === 'E');
    expect(readFields(error?.body ?? Buffer.alloc(0)).C).toBe('57014');
    await client.end();
    // The session and the cancel; neither began with a CancelRequest in the clear.
    expect(plainRequests).toEqual([0, 0]);
  },
);

test('readiness with check=upstream fails where the server cannot be trusted', async () => {
  const weir = await startWeirTo(postgres, folder.targetsTls('verify-full', { serverName: 'other.example' }));
  const response = await fetch(`${weir.healthUrl}/readiness?check=upstream`);
  expect(response.status).toBe(503);
  expect(await response.text()).toContain('not for "other.example"');
  const good = await startWeirTo(postgres, folder.targetsTls('verify-full'));
  expect((await fetch(`${good.healthUrl}/readiness?check=upstream`)).status).toBe(200);
});
