// Getting in: both modes, every way a server may ask for a password, TCP and Unix sockets on both sides, and everything
// that may go wrong before the first ReadyForQuery. Where the server has something to say, the client hears it as it was.

import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createLog } from '../../src/base/log.ts';
import { withClosedPort } from '../support/closed-port.ts';
import * as frontend from '../support/frontend-messages.ts';
import { ROLES } from '../support/postgres.ts';
import { findFreePort } from '../support/server-process.ts';
import { sharedPostgres } from '../support/shared-postgres.ts';
import { readFields, transcribe } from '../support/transcript.ts';
import {
  type SettingsOverrides,
  startTestWeir,
  type TestWeir,
  type TestWeirOptions,
  type WeirTargets,
} from '../support/weir.ts';
import { type LoginOptions, type WireAddress, WireClient } from '../support/wire-client.ts';

const MODES = ['passthrough', 'trust'] as const;
const TRANSPORTS = ['tcp', 'unix'] as const;
type Mode = (typeof MODES)[number];

const postgres = sharedPostgres();
const bare: WireAddress = { host: postgres.host, port: postgres.primaryPort };
const target: WeirTargets = { host: postgres.host, port: postgres.primaryPort };
const targetBySocket: WeirTargets = { host: postgres.socketDirectory, port: postgres.primaryPort };
const credentials = Object.values(ROLES).flatMap(({ user, password }) => (password === null ? [] : { user, password }));
const wrongCredentials = credentials.map(({ user }) => ({ user, password: 'not the one' }));
const askedRoles = Object.values(ROLES).filter(({ password }) => password !== null);
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'weir-login-'));
});

afterAll(() => rm(folder, { recursive: true, force: true }));

/** All that a login was told, without the questions and answers of authentication, which differ between the modes. */
async function tellLogin(address: WireAddress, options: LoginOptions = {}): Promise<string[]> {
  const client = await WireClient.connect(address);
  try {
    return transcribe(await client.startup(options)).filter((line) => !/^Authentication (?!Ok)/.test(line));
  } finally {
    client.destroy();
  }
}

/** Sends bytes on a fresh connection; the fields of the error that ends it. */
async function readRefusal(address: WireAddress, bytes: Buffer): Promise<Record<string, string>> {
  const client = await WireClient.connect(address);
  try {
    client.send(bytes);
    const messages = await client.readUntilEnd();
    expect(messages.map(({ type }) => type)).toEqual(['E']);
    return readFields(messages[0]?.body ?? Buffer.alloc(0));
  } finally {
    client.destroy();
  }
}

async function withWeir<T>(options: TestWeirOptions, use: (weir: TestWeir) => Promise<T>): Promise<T> {
  const weir = await startTestWeir(options);
  try {
    return await use(weir);
  } finally {
    await weir.stop();
  }
}

/** A target of a few lines: what it does with each connection. */
async function withTarget<T>(serve: (socket: Socket) => void, use: (target: WeirTargets) => Promise<T>): Promise<T> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket.on('error', () => undefined));
    serve(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  try {
    return await use({ host: '127.0.0.1', port: (server.address() as AddressInfo).port });
  } finally {
    for (const socket of sockets) socket.destroy();
    server.close();
  }
}

function settingsFor(mode: Mode, limits: SettingsOverrides['limits'] = {}): SettingsOverrides {
  return { auth: { mode, credentials }, listen: { unixSocketDirectory: folder }, limits };
}

describe.each(MODES)('with auth %s', (mode) => {
  const weirs = new Map<string, TestWeir>();

  function addressOf(near: string, far = 'tcp'): WireAddress {
    const weir = weirs.get(far);
    if (weir === undefined) throw new Error(`no pgweir before ${far}`);
    return near === 'unix' ? { host: folder, port: weir.port } : weir;
  }

  beforeAll(async () => {
    weirs.set('tcp', await startTestWeir({ postgres: target, settings: settingsFor(mode) }));
    weirs.set('unix', await startTestWeir({ postgres: targetBySocket, settings: settingsFor(mode) }));
  });

  afterAll(async () => {
    for (const weir of weirs.values()) await weir.stop();
  });

  /** Where pgweir itself would have to send a password that anybody on the way could read. */
  const isBareOnTcp = (user: string, far: string): boolean =>
    mode === 'trust' && far === 'tcp' && user === ROLES.plain.user;

  describe.each(TRANSPORTS.flatMap((near) => TRANSPORTS.map((far): [string, string] => [near, far])))(
    'a client over %s and a server over %s',
    (near, far) => {
      test.each([ROLES.superuser, ...askedRoles])(
        'whom the server asks for $method gets in and is told what the bare server tells',
        async ({ user, password }) => {
          const direct = far === 'tcp' ? bare : { host: postgres.socketDirectory, port: postgres.primaryPort };
          const told = await tellLogin(addressOf(near, far), { user, password });
          if (isBareOnTcp(user, far)) {
            expect(told).toEqual([expect.stringContaining('the bare password over a connection without TLS')]);
            return;
          }
          expect(told).toEqual(await tellLogin(direct, { user, password }));
          expect(told.at(-1)).toBe('ReadyForQuery I');
          const client = await WireClient.login(addressOf(near, far), { user, password });
          expect(await client.rows('SELECT session_user')).toEqual([[user]]);
          await client.end();
        },
      );

      test.each(askedRoles)('a wrong password for $method is refused in the server`s words', async (role) => {
        const told = await withWeir(
          {
            postgres: far === 'tcp' ? target : targetBySocket,
            settings: { ...settingsFor(mode), auth: { mode, credentials: wrongCredentials } },
          },
          (weir) =>
            tellLogin(near === 'tcp' ? weir : { host: folder, port: weir.port }, {
              user: role.user,
              password: 'not the one',
            }),
        );
        if (isBareOnTcp(role.user, far)) return;
        expect(told).toEqual(await tellLogin(bare, { user: role.user, password: 'not the one' }));
        expect(told).toEqual([expect.stringContaining('C="28P01"')]);
      });
    },
  );

  test.each<[string, string, LoginOptions]>([
    ['an unknown database', '3D000', { database: 'no_such_database' }],
    ['an unknown role', '28000', { user: 'no_such_role' }],
    ['a role that pg_hba.conf rejects', '28000', { user: ROLES.rejected.user }],
    ['a setting with a bad value', '22023', { parameters: { DateStyle: 'nonsense' } }],
    ['a setting that does not exist', '42704', { parameters: { no_such_setting: '1' } }],
    ['a role without a place left', '53300', { user: 'login_without_place' }],
  ])('%s is refused in the server`s words, %s', async (_name, sqlstate, options) => {
    await postgres.query('DROP ROLE IF EXISTS login_without_place');
    await postgres.query('CREATE ROLE login_without_place LOGIN CONNECTION LIMIT 0');
    const told = await tellLogin(addressOf('tcp'), options);
    expect(told).toEqual(await tellLogin(bare, options));
    expect(told.at(-1)).toContain(`S="FATAL" V="FATAL" C="${sqlstate}"`);
  });

  test('a client above max_clients is refused, and there is room again when one has left', async () => {
    await withWeir({ postgres: target, settings: settingsFor(mode, { maxClients: 2 }) }, async (weir) => {
      const [first, second] = [await WireClient.login(weir), await WireClient.login(weir)];
      const startup = frontend.startupMessage({ user: 'weir', database: 'weir' });
      expect(await readRefusal(weir, startup)).toMatchObject({ S: 'FATAL', C: '53300' });
      expect(await first.rows('SELECT 1')).toEqual([['1']]);
      await first.end();
      const third = await WireClient.login(weir);
      expect(await third.rows('SELECT 2')).toEqual([['2']]);
      await Promise.all([second.end(), third.end()]);
    });
  });

  const startup = frontend.startupMessage({ user: 'weir', database: 'weir' });

  test('a target that is down is told as such', () =>
    withClosedPort(async (port) => {
      const place = `127.0.0.1:${port}`;
      await withWeir({ postgres: { host: '127.0.0.1', port }, settings: settingsFor(mode) }, async (weir) => {
        const fields = await readRefusal(weir, startup);
        expect(fields).toMatchObject({ S: 'FATAL', V: 'FATAL', C: '08001' });
        expect(fields.M).toBe(`pgweir cannot reach the database: primary at ${place}: connect ECONNREFUSED ${place}`);
        expect(await weir.control.checkUpstream()).toContain('ECONNREFUSED');
      });
    }));

  test('a target whose Unix socket is not there is told as such', async () => {
    await withWeir({ postgres: { host: folder, port: 1 }, settings: settingsFor(mode) }, async (weir) => {
      const fields = await readRefusal(weir, startup);
      expect(fields).toMatchObject({ S: 'FATAL', C: '08001', M: expect.stringContaining('ENOENT') });
    });
  });

  test.each<[string, (socket: Socket) => void, RegExp]>([
    ['says nothing', () => undefined, /^08006 login took too long$/],
    ['hangs up', (socket) => socket.end(), /^(08006|28000) .*the database closed the connection$/],
    ['sends zeroes', (socket) => socket.write(Buffer.alloc(100)), /^08P01 the database broke the protocol/],
    [
      'sends a message of no known type',
      (socket) => socket.write(frontend.message('?', Buffer.from('what'))),
      /^08P01 the database broke the protocol/,
    ],
    [
      'sends a message with a negative length',
      (socket) => socket.write(frontend.messageWithLength('R', -7)),
      /^(08P01 the database broke the protocol|08006 login took too long)/,
    ],
  ])('of a target that %s the client hears an error in time', async (_name, serve, words) => {
    const LOGIN_TIMEOUT_MS = 250;
    const limits = { loginTimeoutMs: LOGIN_TIMEOUT_MS };
    await withTarget(serve, (silent) =>
      withWeir({ postgres: silent, settings: settingsFor(mode, limits) }, async (weir) => {
        const startedAt = performance.now();
        const fields = await readRefusal(weir, startup);
        expect(performance.now() - startedAt).toBeLessThan(LOGIN_TIMEOUT_MS + 2_000);
        expect(fields).toMatchObject({ S: 'FATAL', V: 'FATAL' });
        expect(`${fields.C} ${fields.M}`).toMatch(words);
      }),
    );
  });

  test('a client that says nothing is sent home in time, one that logs in stays', async () => {
    await withWeir({ postgres: target, settings: settingsFor(mode, { loginTimeoutMs: 300 }) }, async (weir) => {
      const quick = await WireClient.login(weir);
      expect(await readRefusal(weir, startup.subarray(0, 20))).toMatchObject({ S: 'FATAL', C: '08006' });
      expect(await quick.rows('SELECT 1')).toEqual([['1']]);
      await quick.end();
    });
  });

  test('a startup packet that comes byte by byte is the same packet', async () => {
    const client = await WireClient.connect(addressOf('tcp'));
    await client.sendInPieces(startup, 1);
    const told = transcribe(await client.readUntilReady());
    expect(told).toEqual(await tellLogin(bare));
    await client.end();
  });

  test.each([
    ['TLS, then GSSAPI', [frontend.sslRequest(), frontend.gssencRequest()]],
    ['GSSAPI, then TLS', [frontend.gssencRequest(), frontend.sslRequest()]],
    ['TLS only', [frontend.sslRequest()]],
    ['GSSAPI only', [frontend.gssencRequest()]],
  ])('a client that asks for encryption by %s hears N and may log in', async (_name, requests) => {
    const client = await WireClient.connect(addressOf('tcp'));
    for (const request of requests) {
      await client.sendInPieces(request, 3);
      expect(await client.readByte()).toBe('N');
    }
    expect((await client.startup()).at(-1)?.type).toBe('Z');
    await client.end();
  });

  test('a second request for the same encryption is no protocol that is known', async () => {
    const client = await WireClient.connect(addressOf('tcp'));
    client.send(frontend.sslRequest());
    expect(await client.readByte()).toBe('N');
    client.send(frontend.sslRequest());
    const [error] = await client.readUntilEnd();
    expect(readFields(error?.body ?? Buffer.alloc(0))).toMatchObject({ S: 'FATAL', C: '0A000' });
    client.destroy();
  });

  test.each([
    ['an SSLRequest', frontend.sslRequest()],
    ['a GSSENCRequest', frontend.gssencRequest()],
  ])('plaintext behind %s is refused', async (_name, request) => {
    const client = await WireClient.connect(addressOf('tcp'));
    client.send(request, startup);
    expect(await client.readByte()).toBe('N');
    const [error, ...more] = await client.readUntilEnd();
    expect(readFields(error?.body ?? Buffer.alloc(0))).toMatchObject({
      S: 'FATAL',
      C: '08P01',
      M: expect.stringContaining('unencrypted data'),
    });
    expect(more).toEqual([]);
    client.destroy();
  });

  test.each([4, 5])('protocol %i.0 is refused', async (major) => {
    const packet = frontend.startupMessage({ user: 'weir' }, major << 16);
    const fields = await readRefusal(addressOf('tcp'), packet);
    expect(fields).toMatchObject({ S: 'FATAL', V: 'FATAL', C: '0A000' });
    expect(fields.M).toContain(`${major}.0: server supports 3.0 to 3.2`);
  });

  test.each([
    ['no user name', frontend.startupMessage({ database: 'weir' })],
    ['an empty user name', frontend.startupMessage({ user: '', database: 'weir' })],
  ])('%s is refused as the bare server does', async (_name, packet) => {
    const { S, V, C, M } = await readRefusal(addressOf('tcp'), packet);
    const fields = await readRefusal(bare, packet);
    expect({ S, V, C, M }).toEqual({ S: fields.S, V: fields.V, C: '28000', M: fields.M });
  });

  test.each<[string, LoginOptions]>([
    ['3.0', {}],
    ['3.2', { version: frontend.PROTOCOL_3_2 }],
    ['3.9999', { version: (3 << 16) | 9999 }],
    ['3.0 with unknown options', { parameters: { '_pq_.one': '1', '_pq_.two': 'x' } }],
    ['3.2 with an unknown option', { version: frontend.PROTOCOL_3_2, parameters: { '_pq_.one': '1' } }],
    ['3.9999 with an unknown option', { version: (3 << 16) | 9999, parameters: { '_pq_.one': '1' } }],
  ])('protocol %s is negotiated once, and no more than needed', async (name, options) => {
    const told = await tellLogin(addressOf('tcp'), options);
    const direct = await tellLogin(bare, options);
    expect(told).toEqual(direct);
    const negotiations = told.filter((line) => line.startsWith('NegotiateProtocolVersion'));
    expect(negotiations).toHaveLength(name === '3.0' || name === '3.2' ? 0 : 1);
    expect(told).toContain(`BackendKeyData key of ${options.version === undefined ? 4 : 32} bytes`);
    expect(told.at(-1)).toBe('ReadyForQuery I');
  });

  test('no credential is ever logged', async () => {
    const lines: string[] = [];
    const log = createLog('debug', { write: (line) => lines.push(line) });
    const offered: LoginOptions[] = [...credentials, ...wrongCredentials];
    await withWeir({ postgres: target, settings: settingsFor(mode), log }, async (weir) => {
      for (const options of offered) await tellLogin(weir, options);
    });
    const settings = { ...settingsFor(mode), auth: { mode, credentials: wrongCredentials } };
    await withWeir({ postgres: target, settings, log }, async (weir) => {
      for (const options of offered) await tellLogin(weir, options);
    });
    await withClosedPort((port) =>
      withWeir({ postgres: { host: '127.0.0.1', port }, settings, log }, async (weir) => {
        for (const options of offered) await tellLogin(weir, options);
      }),
    );
    const logged = lines.join('');
    expect(logged).toContain('pgweir is ready');
    expect(logged).toContain('pgweir cannot reach the database');
    for (const { password } of [...credentials, ...wrongCredentials]) expect(logged).not.toContain(password);
    expect(logged).not.toMatch(/SCRAM-SHA-256\$|\bmd5[0-9a-f]{32}/);
  });
});

describe('with auth trust', () => {
  test('a user without a credential is told so where the server asks for one, and gets in where it does not', async () => {
    await withWeir({ postgres: target }, async (weir) => {
      for (const { user } of askedRoles.filter(({ method }) => method !== 'password')) {
        const packet = frontend.startupMessage({ user, database: 'weir' });
        const fields = await readRefusal(weir, packet);
        expect(fields).toMatchObject({ S: 'FATAL', C: '28000', M: expect.stringContaining(`none for user "${user}"`) });
      }
      expect((await tellLogin(weir, { user: ROLES.application.user })).at(-1)).toBe('ReadyForQuery I');
    });
  });
});

describe('the Unix socket of the listener', () => {
  const socketPath = (port: number): string => join(folder, `.s.PGSQL.${port}`);
  const start = (port: number): Promise<TestWeir> =>
    startTestWeir({
      postgres: target,
      settings: { listen: { host: '127.0.0.1', port, unixSocketDirectory: folder } },
    });

  test('that a dead process left is replaced, and goes with pgweir', async () => {
    const port = await findFreePort();
    const leave = `require('node:net').createServer().listen(${JSON.stringify(socketPath(port))}, () => process.kill(process.pid, 'SIGKILL'))`;
    expect(spawnSync(process.execPath, ['-e', leave], { timeout: 10_000 }).signal).toBe('SIGKILL');
    expect(existsSync(socketPath(port))).toBe(true);
    const weir = await start(port);
    expect((await tellLogin({ host: folder, port })).at(-1)).toBe('ReadyForQuery I');
    await weir.stop();
    expect(existsSync(socketPath(port))).toBe(false);
  });

  test('that is no socket at all is left where it is, and the start refused', async () => {
    const port = await findFreePort();
    await writeFile(socketPath(port), 'kept');
    await expect(start(port)).rejects.toThrow(`${socketPath(port)} is no socket`);
    expect(await readFile(socketPath(port), 'utf8')).toBe('kept');
  });

  test('that another process serves is left to it, and the start refused', async () => {
    const port = await findFreePort();
    const owner = createServer((socket) => socket.on('error', () => undefined).end('mine'));
    await new Promise<void>((resolve) => owner.listen(socketPath(port), resolve));
    await expect(start(port)).rejects.toThrow(`another process listens on ${socketPath(port)}`);
    const client = await WireClient.connect({ host: folder, port });
    expect(await client.readByte()).toBe('m');
    client.destroy();
    await new Promise((resolve) => owner.close(resolve));
    const weir = await start(port);
    await weir.stop();
  });
});
