// TLS with clients: how it begins and how it must not, who proves what, and how handshakes end that go nowhere.

import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { CertificateFolder } from '../support/certificate-folder.ts';
import { makeAuthority } from '../support/certificates.ts';
import { waitFor, withDeadline } from '../support/deadline.ts';
import * as frontend from '../support/frontend-messages.ts';
import { startPostgres, type TestPostgres } from '../support/postgres.ts';
import { shakeHands } from '../support/tls-client.ts';
import { readFields } from '../support/transcript.ts';
import { startTestWeir, type TestWeir } from '../support/weir.ts';
import { ServerError, sendCancel, WireClient } from '../support/wire-client.ts';

const folder = new CertificateFolder();
const startup = frontend.startupMessage({ user: 'weir', database: 'weir' });
const LOGIN_TIMEOUT_MS = 1_500;

let postgres: TestPostgres;
let weir: TestWeir;

beforeAll(async () => {
  postgres = await startPostgres(folder.postgresTls());
  weir = await startTestWeir({
    postgres,
    settings: {
      listen: { tls: folder.listenTls(), unixSocketDirectory: folder.path },
      limits: { loginTimeoutMs: LOGIN_TIMEOUT_MS },
    },
  });
}, 60_000);

afterAll(async () => {
  await weir.stop();
  await postgres.stop();
  folder.remove();
});

/** Everything that comes until the end. */
async function readToEnd(socket: Socket): Promise<Buffer> {
  const chunks: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  socket.on('error', () => undefined);
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
  await withDeadline(closed, 8_000, () => `no end after ${Buffer.concat(chunks).toString('latin1')}`);
  return Buffer.concat(chunks);
}

async function open(place: { host: string; port: number }): Promise<Socket> {
  const socket = connect(place.port, place.host);
  await once(socket, 'connect');
  return socket;
}

/** A handshake without SSLRequest. Rejects with its error. */
async function openDirect(place: { host: string; port: number }, alpn: readonly string[]): Promise<TLSSocket> {
  return shakeHands(await open(place), { ALPNProtocols: [...alpn] });
}

function errorOf(bytes: Buffer): Record<string, string> {
  expect(bytes.toString('latin1', 0, 1)).toBe('E');
  return { ...readFields(bytes.subarray(5)) };
}

/** The bare server is the measure. */
const PLACES = ['pgweir', 'the bare server'] as const;
const placeOf = (name: (typeof PLACES)[number]): { host: string; port: number } =>
  name === 'pgweir' ? weir : { host: postgres.host, port: postgres.port };

describe.each(PLACES)('%s', (name) => {
  test('takes a handshake without SSLRequest whose client names the protocol', async () => {
    const client = await WireClient.login({ ...placeOf(name), tls: { negotiation: 'direct' } });
    expect(await client.rows('SELECT 1')).toEqual([['1']]);
    await client.end();
  });

  test('ends one whose client names none, without a word', async () => {
    const socket = await openDirect(placeOf(name), []);
    socket.write(startup);
    expect(await readToEnd(socket)).toEqual(Buffer.alloc(0));
  });

  test.each([
    ['direct', false],
    ['after SSLRequest', true],
  ])('fails a handshake, %s, whose client names another protocol only', async (_how, isAsked) => {
    const socket = await open(placeOf(name));
    if (isAsked) {
      socket.write(frontend.sslRequest());
      const [answer] = await once(socket, 'data');
      expect(String(answer)).toBe('S');
    }
    await expect(shakeHands(socket, { ALPNProtocols: ['h2'] })).rejects.toThrow(/no application protocol/);
  });

  test.each([
    ['none', []],
    ['several', ['h2', 'postgresql']],
  ])('after SSLRequest takes a client that names %s', async (_what, alpn) => {
    const options = { ALPNProtocols: alpn };
    const client = await WireClient.login({ ...placeOf(name), tls: { negotiation: 'require', options } });
    await client.end();
  });

  test('takes SSLRequest behind a GSSENCRequest that it declined', async () => {
    const socket = await open(placeOf(name));
    socket.write(frontend.gssencRequest());
    expect(String((await once(socket, 'data'))[0])).toBe('N');
    socket.write(frontend.sslRequest());
    expect(String((await once(socket, 'data'))[0])).toBe('S');
    socket.destroy();
  });

  test.each([
    ['SSLRequest', frontend.sslRequest(), '1234.5679'],
    ['GSSENCRequest', frontend.gssencRequest(), '1234.5680'],
  ])('takes no %s where TLS is up by SSLRequest', async (_what, request, version) => {
    const client = await WireClient.connect({ ...placeOf(name), tls: { negotiation: 'require' } });
    client.send(request);
    const [error] = await client.readUntilEnd();
    expect(readFields(error?.body ?? Buffer.alloc(0))).toMatchObject({
      S: 'FATAL',
      C: '0A000',
      M: expect.stringContaining(`${version}: server supports 3.0 to 3.2`),
    });
    client.destroy();
  });

  test('declines SSLRequest where TLS came without it, and goes on', async () => {
    const client = await WireClient.connect({ ...placeOf(name), tls: { negotiation: 'direct' } });
    client.send(frontend.sslRequest());
    expect(await client.readByte()).toBe('N');
    const messages = await client.startup();
    expect(messages.at(-1)?.type).toBe('Z');
    await client.end();
  });

  test('takes a startup packet in pieces over TLS', async () => {
    const client = await WireClient.connect({ ...placeOf(name), tls: { negotiation: 'require' } });
    await client.sendInPieces(startup, 3);
    expect((await client.readUntil('Z')).length).toBeGreaterThan(3);
    await client.end();
  });

  test('answers over TLS what a client asked before it closed its half', async () => {
    const raw = connect({ ...placeOf(name), allowHalfOpen: true });
    const secured = await shakeHands(raw, {});
    secured.write(Buffer.concat([startup, frontend.query('SELECT pg_sleep(0.2), 4711')]));
    secured.end();
    expect((await readToEnd(secured)).includes('4711')).toBe(true);
  });

  test('ends the connection over a record that is no handshake', async () => {
    const socket = await open(placeOf(name));
    socket.write(frontend.sslRequest());
    await once(socket, 'data');
    socket.write(startup);
    const rest = await readToEnd(socket);
    expect(rest[0] ?? 0x15).toBe(0x15);
  });

  test('on a Unix socket declines SSLRequest, and ends a handshake without a word', async () => {
    const path =
      name === 'pgweir'
        ? `${folder.path}/.s.PGSQL.${weir.port}`
        : `${postgres.socketDirectory}/.s.PGSQL.${postgres.port}`;
    const asking = connect(path);
    asking.write(frontend.sslRequest());
    expect(String((await once(asking, 'data'))[0])).toBe('N');
    asking.destroy();
    const handshaking = connect(path);
    handshaking.write(Buffer.from('160301020001000201fc0303', 'hex'));
    expect(await readToEnd(handshaking)).toEqual(Buffer.alloc(0));
  });
});

describe('unencrypted bytes behind SSLRequest', () => {
  test('are refused before the handshake, and nothing of them runs', async () => {
    const socket = await open(weir);
    socket.write(Buffer.concat([frontend.sslRequest(), startup]));
    expect(errorOf(await readToEnd(socket))).toMatchObject({ S: 'FATAL', C: '08P01' });
    expect(weir.control.counters.currentClients).toBe(0);
  });

  test('that come after S are taken for a handshake, and fail as one', async () => {
    const failed = weir.control.counters.clientTlsFailed;
    const socket = await open(weir);
    socket.write(frontend.sslRequest());
    await once(socket, 'data');
    socket.write(Buffer.concat([startup, frontend.query('SELECT 1')]));
    const rest = await readToEnd(socket);
    // At most a TLS alert, never a message.
    expect(rest[0] ?? 0x15).toBe(0x15);
    expect(weir.control.counters.clientTlsFailed).toBe(failed + 1);
  });
});

describe('a handshake that goes nowhere', () => {
  test.each<[string, (socket: Socket) => Promise<void>]>([
    [
      'never begins after S',
      async (socket) => {
        socket.write(frontend.sslRequest());
        await once(socket, 'data');
      },
    ],
    [
      'stops in its first record',
      async (socket) => {
        socket.write(Buffer.from([0x16, 3, 1, 2, 0, 1, 0]));
      },
    ],
  ])('because it %s ends at the login timeout', async (_how, begin) => {
    const socket = await open(weir);
    const startedMs = performance.now();
    await begin(socket);
    await readToEnd(socket);
    const elapsedMs = performance.now() - startedMs;
    expect(elapsedMs).toBeGreaterThan(LOGIN_TIMEOUT_MS * 0.8);
    expect(elapsedMs).toBeLessThan(LOGIN_TIMEOUT_MS * 3);
  });

  test('because its client resets the connection hurts nobody else', async () => {
    const bystander = await WireClient.login({ ...weir, tls: { negotiation: 'require' } });
    for (const bytes of [Buffer.alloc(0), Buffer.from([0x16, 3, 1, 2, 0, 1, 0]), Buffer.alloc(3_000, 0x16)]) {
      const socket = await open(weir);
      socket.on('error', () => undefined);
      socket.write(frontend.sslRequest());
      await once(socket, 'data');
      socket.write(bytes);
      socket.resetAndDestroy();
    }
    for (let count = 0; count < 20; count++) {
      const socket = await open(weir);
      const secured = await shakeHands(socket, {});
      secured.write(startup);
      // TLS is up and bytes are under way when the socket below goes.
      socket.resetAndDestroy();
    }
    expect(await bystander.rows('SELECT 1')).toEqual([['1']]);
    await bystander.end();
    await waitFor(
      () => weir.control.counters.currentClients === 0,
      5_000,
      () => `${weir.control.counters.currentClients} clients are left`,
    );
  });

  test('is forgotten where pgweir stops meanwhile', async () => {
    const other = await startTestWeir({ postgres, settings: { listen: { tls: folder.listenTls() } } });
    const socket = await open(other);
    socket.write(frontend.sslRequest());
    await once(socket, 'data');
    const ended = readToEnd(socket);
    await other.stop();
    await ended;
  });
});

describe('versions', () => {
  test.each([
    ['TLSv1.2', 'TLSv1.1', false],
    ['TLSv1.2', 'TLSv1.2', true],
    ['TLSv1.3', 'TLSv1.2', false],
    ['TLSv1.3', 'TLSv1.3', true],
  ] as const)('with min_version %s a client of %s: %s', async (minVersion, version, isIn) => {
    const strict = await startTestWeir({ postgres, settings: { listen: { tls: folder.listenTls({ minVersion }) } } });
    const options = { minVersion: version, maxVersion: version, ciphers: 'DEFAULT@SECLEVEL=0' };
    const login = WireClient.login({ ...strict, tls: { negotiation: 'require', options } });
    if (isIn) await (await login).end();
    else await expect(login).rejects.toThrow(/protocol version|unsupported protocol|no protocols/);
    await strict.stop();
  });
});

describe('a client certificate', () => {
  const stranger = makeAuthority('stranger');
  const HOUR_MS = 3_600_000;
  const good = folder.authority.issue({ commonName: 'app', organization: 'Shop' });
  const foreign = stranger.issue({ commonName: 'app' });
  const expired = folder.authority.issue({
    commonName: 'app',
    notBefore: new Date(Date.now() - 3 * HOUR_MS),
    notAfter: new Date(Date.now() - HOUR_MS),
  });

  describe.each(['optional', 'require'] as const)('with client_certificate %s', (clientCertificate) => {
    let strict: TestWeir;

    beforeAll(async () => {
      const tls = folder.listenTls({ mode: 'require', clientCaFile: `${folder.path}/ca.crt`, clientCertificate });
      strict = await startTestWeir({ postgres, settings: { listen: { tls } } });
    });

    afterAll(() => strict.stop());

    const login = (certificate: object): Promise<WireClient> =>
      WireClient.login({ ...strict, tls: { negotiation: 'require', options: certificate } });

    test('by the authority gets in', async () => {
      await (await login(good)).end();
    });

    test.each([
      ['by another authority', foreign],
      ['that has expired', expired],
    ])('%s is refused', async (_what, certificate) => {
      await expect(login(certificate)).rejects.toMatchObject({
        code: '28000',
        message: expect.stringMatching(/^connection requires a valid client certificate: .*cannot be verified/),
      });
    });

    test(`none is ${clientCertificate === 'require' ? 'refused' : 'enough'}`, async () => {
      if (clientCertificate === 'optional') await (await login({})).end();
      else await expect(login({})).rejects.toBeInstanceOf(ServerError);
    });
  });

  test('is not even asked for where the settings say none', async () => {
    await (await WireClient.login({ ...weir, tls: { negotiation: 'require', options: foreign } })).end();
  });
});

describe('a CancelRequest', () => {
  test.each([
    ['over TLS', { negotiation: 'require' } as const],
    ['over direct TLS', { negotiation: 'direct' } as const],
    ['without TLS', undefined],
  ])('%s cancels, one with a wrong key does not', async (_how, tls) => {
    const client = await WireClient.login({ ...weir, tls: { negotiation: 'require' } });
    const address = { host: weir.host, port: weir.port, ...(tls === undefined ? {} : { tls }) };
    const wrongKey = Buffer.from(client.secretKey.map((byte) => byte ^ 1));
    client.send(frontend.query('SELECT pg_sleep(0.3)'));
    await sendCancel(address, client.processId, wrongKey);
    expect((await client.readUntilReady()).some(({ type }) => type === 'E')).toBe(false);
    client.send(frontend.query('SELECT pg_sleep(20)'));
    await waitFor(
      async () =>
        (await postgres.query("SELECT FROM pg_stat_activity WHERE query LIKE '%pg_sleep(20)' AND state = 'active'"))
          .rowCount === 1,
      5_000,
      () => 'the statement does not run',
    );
    await sendCancel(address, client.processId, client.secretKey);
    const error = (await client.readUntilReady()).find(({ type }) => type === 'E');
    expect(readFields(error?.body ?? Buffer.alloc(0)).C).toBe('57014');
    await client.end();
  });
});

describe('records to clients', () => {
  test('hold 8 KB at most, which libpq needs', async () => {
    const lengths: number[] = [];
    const recorder = await startRecorder(weir, lengths);
    const client = await WireClient.login({ ...recorder, tls: { negotiation: 'direct' } });
    const rows = await client.rows("SELECT repeat('x', 300000)");
    expect(rows[0]?.[0]).toHaveLength(300_000);
    await client.end();
    recorder.stop();
    expect(Math.max(...lengths)).toBeGreaterThan(8_000);
    // And a content type, a tag of the cipher, some padding.
    expect(Math.max(...lengths)).toBeLessThanOrEqual(8_192 + 64);
  });
});

/** Passes one connection on, and notes how long the TLS records are that come back: their headers are in the clear. */
async function startRecorder(
  target: { host: string; port: number },
  lengths: number[],
): Promise<{ host: string; port: number; stop(): void }> {
  const server = createServer((near) => {
    const far = connect(target.port, target.host);
    let pending: Buffer = Buffer.alloc(0);
    far.on('data', (chunk: Buffer) => {
      pending = Buffer.concat([pending, chunk]);
      while (pending.length >= 5 && pending.length >= 5 + pending.readUInt16BE(3)) {
        const length = pending.readUInt16BE(3);
        lengths.push(length);
        pending = pending.subarray(5 + length);
      }
    });
    for (const socket of [near, far]) socket.on('error', () => undefined);
    near.pipe(far);
    far.pipe(near);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port given');
  return { host: '127.0.0.1', port: address.port, stop: () => server.close() };
}
