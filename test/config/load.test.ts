// Settings from file, environment and flags: what they become, and how each wrong one is told.

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { isLoopbackHost } from '../../src/config/contradictions.ts';
import type { SettingsSources } from '../../src/config/load.ts';
import { listUnknownVariables, loadSettings } from '../../src/config/load.ts';
import { NO_LISTEN_TLS, NO_TARGETS_TLS } from '../support/weir.ts';
import { problemsOf } from './problems-of.ts';

let folder = '';

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'pgweir-settings-'));
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

test('without a file, the defaults of the schema hold', () => {
  expect(loadSettings({})).toEqual({
    listen: { host: '127.0.0.1', port: 6432, unixSocketDirectory: null, tls: NO_LISTEN_TLS },
    targets: { primary: { name: 'primary', host: '127.0.0.1', port: 5432 }, replicas: [], tls: NO_TARGETS_TLS },
    auth: {
      mode: 'passthrough',
      isRemoteTrustAllowed: false,
      credentials: [],
      usersFile: null,
      query: null,
      certificateUsers: [],
    },
    limits: {
      maxClients: 1000,
      maxStatementBytes: 16_777_216,
      maxAnalyzedBytes: 1_048_576,
      loginTimeoutMs: 10_000,
      connectTimeoutMs: 5_000,
      drainMs: 25_000,
      minSigtermDelayMs: 0,
    },
    pool: {
      mode: 'session',
      size: 20,
      minIdle: 0,
      reserveSize: 0,
      reserveAfterMs: 5_000,
      maxPerDatabase: null,
      maxPerUser: null,
      maxPerTarget: null,
      queryWaitMs: 120_000,
      serverLifetimeMs: 3_600_000,
      serverIdleMs: 600_000,
      idleInTransactionMs: 0,
      loginRetryMs: 15_000,
      maxPreparedStatements: 200,
      sequences: 'keep',
      logins: 'shared',
      affinity: 'prefer',
    },
    admin: { host: '127.0.0.1', port: 9091, token: null },
    health: { host: '0.0.0.0', port: 9090 },
    rules: { file: null, text: 'traffic_control: {}\n', source: 'no rules', onInvalidStart: 'exit' },
    observations: { maxCells: 10_000, maxDecisions: 10_000 },
    stateDirectory: null,
    log: { level: 'info' },
  });
});

test('a full file is read, secrets and rules come from files relative to it', () => {
  const place = join(folder, 'full');
  mkdirSync(place);
  writeFileSync(join(place, 'rules.yaml'), 'traffic_control:\n  rules: []\n');
  writeFileSync(join(place, 'password'), 'app secret\n');
  writeFileSync(join(place, 'token'), '0123456789abcdef');
  const file = join(place, 'pgweir.yaml');
  writeFileSync(
    file,
    `listen: { host: 0.0.0.0, port: 6433, unix_socket_directory: /run/pgweir }
targets:
  primary: { host: db.internal, port: 5433 }
  replicas: [ { host: r1 }, { name: far, host: /var/run/postgresql, port: 5434 } ]
auth:
  mode: trust
  allow_remote_trust: true
  credentials: [ { user: app, password_file: password }, { user: bi, password: x }, { user: local } ]
admin: { host: 10.0.0.1, token_file: token }
rules: { file: rules.yaml }
state_directory: state
`,
  );
  const settings = loadSettings({ file });
  expect(settings.targets.replicas).toEqual([
    { name: 'replica1', host: 'r1', port: 5432 },
    { name: 'far', host: '/var/run/postgresql', port: 5434 },
  ]);
  expect(settings.auth.credentials).toEqual([
    { user: 'app', password: 'app secret', passwordFile: join(place, 'password') },
    { user: 'bi', password: 'x' },
    { user: 'local', password: null },
  ]);
  expect(settings.admin.token).toBe('0123456789abcdef');
  expect(settings.rules).toEqual({
    file: join(place, 'rules.yaml'),
    text: 'traffic_control:\n  rules: []\n',
    source: join(place, 'rules.yaml'),
    onInvalidStart: 'exit',
  });
  expect(settings.stateDirectory).toBe(join(place, 'state'));
});

test('a flag wins over the environment, the environment over the file, the file over the default', () => {
  const text = 'listen: { port: 1 }\nhealth: { port: 2 }\nlimits: { max_clients: 3 }\n';
  const environment = { PGWEIR_LISTEN_PORT: '11', PGWEIR_HEALTH_PORT: '12', PGWEIR_AUTH_ALLOW_REMOTE_TRUST: 'true' };
  const settings = loadSettings({ text, environment, overrides: { 'listen.port': '21' } });
  expect([settings.listen.port, settings.health.port, settings.limits.maxClients, settings.admin.port]).toEqual([
    21, 12, 3, 9091,
  ]);
  expect(settings.auth.isRemoteTrustAllowed).toBe(true);
});

test('a secret may come from the environment or from the file that the environment names', () => {
  const file = join(folder, 'token');
  writeFileSync(file, 'from-a-file-0123456789\n');
  expect(loadSettings({ environment: { PGWEIR_ADMIN_TOKEN: 'from-the-environment' } }).admin.token).toBe(
    'from-the-environment',
  );
  expect(loadSettings({ environment: { PGWEIR_ADMIN_TOKEN_FILE: file } }).admin.token).toBe('from-a-file-0123456789');
  expect(problemsOf({ environment: { PGWEIR_ADMIN_TOKEN_FILE: join(folder, 'none') } })[0]).toMatch(
    /^PGWEIR_ADMIN_TOKEN_FILE:1:1 admin.token_file cannot be read: ENOENT/,
  );
});

test.each([
  ['is too short', 'short\n', 'it has fewer than 16 characters'],
  ['ends in two line breaks', 'from-a-file-0123456789\n\n', 'it has blanks or other characters than those of ASCII'],
  ['is not of ASCII', 'aus-der-Datei-für-alle\n', 'it has blanks or other characters than those of ASCII'],
])("a token's file whose token %s is refused at the start, and the token is not told", (_what, text, complaint) => {
  const file = join(folder, 'token');
  writeFileSync(file, text);
  expect(problemsOf({ overrides: { 'admin.token_file': file } })).toEqual([
    `flag for admin.token_file:1:1 admin.token_file ${complaint}`,
  ]);
});

test('inline rules keep their line and column, whatever stands around them', () => {
  const text = 'listen: { port: 7 }\n\ntraffic_control:\n  rules:\n    - name: x\nlog: { level: debug }\n';
  const { rules } = loadSettings({ text, source: 'pgweir.yaml' });
  expect(rules.file).toBeNull();
  expect(rules.source).toBe('pgweir.yaml');
  expect(rules.text.split('\n')[4]).toBe('    - name: x');
  expect(rules.text).not.toContain('listen');
  expect(rules.text).not.toContain('debug');
});

test('a file of comments only is a file of defaults', () => {
  expect(loadSettings({ text: '# nothing yet\n' }).listen.port).toBe(6432);
});

test.each<[string, SettingsSources, string]>([
  ['no YAML', { text: 'listen: [\n' }, 'settings:2:1  Flow sequence'],
  ['a list', { text: '- a\n' }, 'settings:1:1  must be a map, not a list'],
  ['a word', { text: 'hello\n' }, 'settings:1:1  must be a map'],
  [
    'unknown key',
    { text: 'listen:\n  prot: 1\n' },
    'settings:2:3 listen.prot unknown key "prot" (did you mean "port"?)',
  ],
  ['unknown section', { text: '{"pond": {}}' }, 'settings:1:2 pond unknown key "pond"'],
  [
    'port as text',
    { text: 'listen: { port: "x" }' },
    'settings:1:17 listen.port must be a whole number, not "x" (a string)',
  ],
  ['port too high', { text: 'listen: { port: 65536 }' }, 'settings:1:17 listen.port must be <= 65535'],
  [
    'unknown mode',
    { text: 'auth: { mode: trsut }' },
    'settings:1:15 auth.mode "trsut" is not one of passthrough, trust, scram, md5, certificate (did you mean "trust"?)',
  ],
  ['key twice', { text: 'log: {}\nlog: {}\n' }, 'settings:2:1  Map keys must be unique'],
  [
    'replica without host',
    { text: 'targets:\n  replicas:\n    - port: 5432\n' },
    'settings:3:7 targets.replicas[0] missing key "host"',
  ],
  [
    'trust off loopback',
    { text: 'listen: { host: 0.0.0.0 }\nauth: { mode: trust }\n' },
    'settings:2:15 auth.mode trust would let anyone',
  ],
  [
    'trust on a name',
    { text: 'listen: { host: db }\nauth: { mode: trust }\n' },
    'settings:2:15 auth.mode trust would let anyone',
  ],
  [
    'admin off loopback',
    { text: 'admin: { host: 0.0.0.0 }\n' },
    'settings:1:16 admin.host 0.0.0.0 is not loopback: set admin.token',
  ],
  [
    'short token',
    { text: 'admin: { token: short }\n' },
    'settings:1:17 admin.token must NOT have fewer than 16 characters',
  ],
  [
    'a token that no header can carry',
    { text: 'admin: { token: "correct horse battery staple" }\n' },
    'settings:1:17 admin.token it has blanks or other characters than those of ASCII',
  ],
  [
    'two tokens',
    { text: 'admin: { token: 0123456789abcdef0, token_file: t }\n' },
    'admin.token_file there is a token too',
  ],
  [
    'two passwords',
    { text: 'auth: { credentials: [ { user: a, password: b, password_file: c } ] }\n' },
    'there is a password too',
  ],
  [
    'a user twice',
    { text: 'auth: { credentials: [ { user: a }, { user: a } ] }\n' },
    'auth.credentials[1].user "a" has two credentials',
  ],
  [
    'passwords without anything to check them by',
    { text: 'auth: { mode: scram }\n' },
    'settings:1:15 auth.mode scram needs auth.users_file or auth.query.user',
  ],
  [
    'a users file that is not there',
    { text: 'auth: { mode: md5, users_file: nowhere }\n' },
    'settings:1:32 auth.users_file cannot be read',
  ],
  [
    'a users file that nobody reads',
    { text: 'auth: { users_file: nowhere }\n' },
    'auth.users_file is of no use with mode passthrough',
  ],
  [
    'a query that nobody asks',
    { text: 'auth: { query: { user: a } }\n' },
    'auth.query is of no use with mode passthrough',
  ],
  ['certificates without TLS', { text: 'auth: { mode: certificate }\n' }, 'auth.mode certificate needs listen.tls'],
  [
    'a certificate map that nobody reads',
    { text: 'auth: { certificate_users: [ { common_name: a, user: b } ] }\n' },
    'auth.certificate_users is of no use with mode passthrough',
  ],
  [
    'a password that is a number',
    { text: 'auth: { credentials: [ { user: a, password: 12345 } ] }\n' },
    'auth.credentials[0].password must be a string or null, not a number',
  ],
  [
    'a target twice',
    { text: 'targets: { replicas: [ { name: primary, host: a } ] }\n' },
    '"primary" names two targets',
  ],
  ['a port twice', { text: 'health: { port: 6432 }\n' }, 'settings:1:17 health.port 6432 is the port of listen too'],
  [
    'a target that is pgweir',
    { text: 'targets: { primary: { host: localhost, port: 6432 } }\n' },
    'targets.primary is the address that pgweir',
  ],
  [
    'a replica that is',
    { text: 'targets: { replicas: [ { host: 127.0.0.1, port: 6432 } ] }\n' },
    'targets.replicas[0] is the address',
  ],
  ['crossed bounds', { text: 'limits: { max_statement_bytes: 2048 }\n' }, 'limits.max_analyzed_bytes 1048576 is above'],
  [
    'rules twice',
    { text: 'rules: { file: r.yaml }\ntraffic_control: {}\n' },
    'settings:1:16 rules.file there are rules under traffic_control too',
  ],
  ['rules missing', { text: 'rules: { file: none/r.yaml }\n' }, 'settings:1:16 rules.file cannot be read: ENOENT'],
  [
    'a relative socket folder',
    { text: 'listen: { unix_socket_directory: run }\n' },
    'listen.unix_socket_directory "run" does not have the right form',
  ],
  ['settings missing', { file: '/nowhere/pgweir.yaml' }, '/nowhere/pgweir.yaml:1:1  cannot be read: ENOENT'],
  [
    'a bad variable',
    { environment: { PGWEIR_LISTEN_PORT: 'many' } },
    'PGWEIR_LISTEN_PORT:1:1 listen.port must be a whole number',
  ],
  ['a bad flag', { overrides: { 'listen.port': -1 } }, 'flag for listen.port:1:1 listen.port must be >= 0'],
  [
    'a bad flag where a variable says it too',
    { environment: { PGWEIR_LISTEN_PORT: '6500' }, overrides: { 'listen.port': 99_999 } },
    'flag for listen.port:1:1 listen.port must be <= 65535',
  ],
  [
    'a flag of no setting',
    { overrides: { 'listen.prot': 1 } },
    'flag for listen.prot:1:1 listen.prot there is no such setting',
  ],
  ['a section as a scalar', { text: 'listen: 5\n' }, 'settings:1:9 listen must be a map, not 5 (a number)'],
])('%s is told with its place', (_name, sources, expected) => {
  expect(problemsOf(sources).join('\n')).toContain(expected);
});

test('all problems are told at once', () => {
  expect(problemsOf({ text: 'listen: { port: x }\nlog: { level: loud }\nfoo: 1\n' })).toHaveLength(3);
});

test('trust off loopback is possible when it is asked for, and admin off loopback with a token', () => {
  const text =
    'listen: { host: 0.0.0.0 }\nauth: { mode: trust, allow_remote_trust: true }\nadmin: { host: "::", token: 0123456789abcdefg }\n';
  expect(loadSettings({ text }).admin.host).toBe('::');
});

test('a target on the port of the listener is possible on another machine', () => {
  expect(loadSettings({ text: 'targets: { primary: { host: db, port: 6432 } }\n' }).targets.primary.host).toBe('db');
});

test("Kubernetes' service links are no settings, a slip of the pen is worth a warning", () => {
  const environment = {
    PGWEIR_ADMIN_PORT: 'tcp://10.0.0.7:9091',
    PGWEIR_SERVICE_HOST: '10.0.0.7',
    PGWEIR_PORT_6432_TCP_ADDR: '10.0.0.7',
    PGWEIR_LISTN_PORT: '1',
    PGWEIR_LISTEN_PORT: '6500',
    PATH: '/bin',
  };
  expect(loadSettings({ environment }).admin.port).toBe(9091);
  expect(listUnknownVariables(environment)).toEqual(['PGWEIR_LISTN_PORT']);
});

test.each([
  ['127.0.0.1', true],
  ['127.8.9.10', true],
  ['localhost', true],
  ['::1', true],
  ['[::1]', true],
  ['0:0:0:0:0:0:0:1', true],
  ['0.0.0.0', false],
  ['::', false],
  ['::2', false],
  ['::ffff:1', false],
  ['1::1', false],
  ['127.example.com', false],
  ['10.0.0.1', false],
])('%s is loopback: %s', (host, isLoopback) => {
  expect(isLoopbackHost(host)).toBe(isLoopback);
});

test('a users file with bad lines is told by line, without what stands there', () => {
  const file = join(folder, 'users.txt');
  writeFileSync(file, '"anna" "x"\nanna top secret\n');
  const text = `auth: { mode: scram, users_file: ${file} }\n`;
  expect(problemsOf({ text })).toEqual([`${file}:2:1 auth.users_file is not of the form "user" "verifier"`]);
  writeFileSync(file, '"anna" "x"\n');
  expect(loadSettings({ text }).auth.usersFile).toEqual({ path: file, text: '"anna" "x"\n' });
});

test('the database is asked for users where it is said as whom', () => {
  const text =
    'auth: { mode: md5, query: { user: asker, database: d, text: SELECT $1, cache_ms: 0, max_cached_users: 5 } }\n';
  const expected = { user: 'asker', database: 'd', text: 'SELECT $1', cacheMs: 0, maxCachedUsers: 5 };
  expect(loadSettings({ text }).auth.query).toEqual(expected);
  const usual = loadSettings({ environment: { PGWEIR_AUTH_MODE: 'scram', PGWEIR_AUTH_QUERY_USER: 'asker' } }).auth
    .query;
  expect(usual).toMatchObject({ user: 'asker', database: 'postgres', cacheMs: 10_000 });
  expect(usual?.text).toContain('rolvaliduntil < now()');
});
