// check, test, explain, version: what they print where, and the exit codes that scripts rely on.

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import manifest from '../../package.json' with { type: 'json' };
import { HandIo, run } from './hand-io.ts';

let folder = '';
const at = (name: string): string => join(folder, name);

const FILES: Record<string, string> = {
  'rules.yaml': `traffic_control:
  rules:
    - { name: no_drop, match: { statement: drop_table }, action: deny, message: "no drops" }
    - { name: see_dual, match: { tables: dual }, action: deny, mode: observe }
`,
  'linty.yaml':
    'traffic_control:\n  rules:\n    - { name: all, action: deny }\n    - { name: late, match: { user: x }, action: deny }\n',
  'bad.yaml': 'traffic_control:\n  rules:\n    - { name: a, action: denny }\n',
  'settings.yaml': 'listen: { port: 7000 }\nrules: { file: rules.yaml }\n',
  'bad-settings.yaml': 'listen: { prot: 7000 }\n',
  'inline-bad.yaml': 'log: { level: warn }\ntraffic_control:\n  rules:\n    - { name: a }\n',
  'cases/good.yaml': `rules: ../rules.yaml
cases:
  - { sql: drop table t, expect: { action: deny, rule: no_drop } }
  - { sql: select 1 from dual, expect: { action: allow, observed: see_dual } }
`,
  'cases/notes.yaml': 'just: notes\n',
  'failing.yaml': `rules: rules.yaml
cases:
  - { sql: select 1, expect: { action: allow } }
  - { name: drop is fine, sql: drop table t, expect: { action: allow } }
`,
  'orphan.yaml': 'cases:\n  - { sql: select 1, expect: { action: allow } }\n',
  'bad-cases.yaml': 'cases:\n  - { sql: select 1, expct: { action: allow } }\n',
  'empty/readme.md': 'nothing\n',
};

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'pgweir-cli-'));
  for (const [name, text] of Object.entries(FILES)) {
    mkdirSync(join(folder, name, '..'), { recursive: true });
    writeFileSync(at(name), text);
  }
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test('check accepts rules, settings and cases with 0 and tells the version', async () => {
  const { code, out, err } = await run(['check', at('rules.yaml'), at('settings.yaml'), at('cases/good.yaml')]);
  expect([code, err]).toEqual([0, '']);
  expect(out).toMatch(
    /rules\.yaml: ok \(rules, version [0-9a-f]{12}, 2 rules\)\n.*settings\.yaml: ok \(settings, version [0-9a-f]{12}, 2 rules\)\n.*good\.yaml: ok \(cases\)\n/,
  );
});

test.each([
  ['bad.yaml', 'bad.yaml:3:26: traffic_control.rules[0].action: "denny" is not one of'],
  ['bad-settings.yaml', 'bad-settings.yaml:1:11: listen.prot: unknown key "prot"'],
  ['inline-bad.yaml', 'inline-bad.yaml:4:7: traffic_control.rules[0]: missing key "action"'],
  ['bad-cases.yaml', 'bad-cases.yaml:2:22: cases[0].expct: unknown key "expct"'],
])('check refuses %s with 1 and says where', async (name, complaint) => {
  const { code, out, err } = await run(['check', at('rules.yaml'), at(name)]);
  expect(code).toBe(1);
  expect(err).toContain(complaint);
  expect(out).toContain(`${name}: `);
  expect(out).toContain('rules.yaml: ok');
});

test('lint is talk by default and exit 3 with --lint, a clean file stays 0', async () => {
  expect(await run(['check', at('linty.yaml')])).toMatchObject({
    code: 0,
    err: expect.stringContaining('lint: rule "late": is never reached'),
  });
  expect((await run(['check', '--lint', at('linty.yaml')])).code).toBe(3);
  expect((await run(['check', '--lint', at('rules.yaml')])).code).toBe(0);
  expect((await run(['check', '--lint', at('linty.yaml'), at('bad.yaml')])).code).toBe(1);
});

const ROUTES = `
traffic_control:
  rules:
    - { name: reads, match: { query_class: read }, action: route_replica }
    - { name: idle, match: { user: x }, action: route, target: replica, mode: off }
    - { name: home, match: { user: y }, action: route_primary }
`;
const REPLICA = 'targets: { replicas: [{ host: replica }] }';

test.each([
  ['without replicas', 'log: { level: warn }', 'rule "reads": routes to a replica, but targets.replicas names none'],
  ['with passthrough', REPLICA, 'rule "reads": routes to a replica, but auth.mode passthrough cannot log in there'],
])('a rule that routes to a replica %s is lint', async (_name, settings, complaint) => {
  const io = new HandIo();
  io.stdin = settings + ROUTES;
  const { code, err } = await run(['check', '--lint', '-'], io);
  expect(code).toBe(3);
  expect(err.trimEnd().split('\n')).toEqual([expect.stringContaining(complaint)]);
});

test('a rule that routes to a replica is no lint where it can go there, nor in a rule document by itself', async () => {
  const io = new HandIo();
  for (const settings of [`${REPLICA}\nauth: { mode: trust }`, '']) {
    io.stdin = settings + ROUTES;
    expect(await run(['check', '--lint', '-'], io)).toMatchObject({ code: 0 });
  }
});

test('check --output json puts all of it on stdout as one value', async () => {
  const { code, out, err } = await run(['check', '--output', 'json', at('bad.yaml'), at('linty.yaml')]);
  expect([code, err]).toEqual([1, '']);
  expect(JSON.parse(out)).toMatchObject({
    ok: false,
    files: [
      { kind: 'rules', ok: false, problems: [{ line: 3, column: 26, path: 'traffic_control.rules[0].action' }] },
      { kind: 'rules', ok: true, rules: 2 },
    ],
  });
});

test('a dash is stdin, and a file that is not there is 1', async () => {
  const io = new HandIo();
  io.stdin = FILES['bad.yaml'] ?? '';
  expect(await run(['check', '-'], io)).toMatchObject({ code: 1, err: expect.stringContaining('<stdin>:3:26') });
  expect(await run(['check', at('none.yaml')])).toMatchObject({
    code: 1,
    err: expect.stringContaining('cannot be read: ENOENT'),
  });
});

test('test runs the cases of files and folders: 0 when all pass, 2 when one fails, and it says which', async () => {
  expect(await run(['test', at('cases')])).toMatchObject({
    code: 0,
    out: expect.stringContaining('good.yaml: 2 of 2 cases'),
  });
  const failed = await run(['test', at('cases'), at('failing.yaml')]);
  expect(failed.code).toBe(2);
  expect(failed.out).toContain('FAILED');
  expect(failed.out).toContain('failing.yaml:4: drop is fine\n    expected allow, got: refused by no_drop');
  const asJson = JSON.parse((await run(['test', '--output', 'json', at('failing.yaml')])).out);
  expect(asJson).toMatchObject({ ok: false, total: 2, failed: 1, cases: [{ ok: true }, { ok: false, line: 4 }] });
});

test('test cannot run without cases, without rules, or with broken ones: 1', async () => {
  expect(await run(['test', at('empty')])).toMatchObject({
    code: 1,
    err: expect.stringContaining('no rule cases there'),
  });
  expect(await run(['test', at('orphan.yaml')])).toMatchObject({
    code: 1,
    err: expect.stringContaining('names no rules'),
  });
  expect((await run(['test', '--rules', at('rules.yaml'), at('orphan.yaml')])).code).toBe(0);
  expect(await run(['test', '--rules', at('bad.yaml'), at('orphan.yaml')])).toMatchObject({
    code: 1,
    err: expect.stringContaining('bad.yaml:3:26'),
  });
  expect((await run(['test', at('bad-cases.yaml')])).code).toBe(1);
  expect((await run(['test', at('none')])).code).toBe(1);
});

test('a client address that is none is a mistake of the cases and of the command line, not somebody whom no rule is about', async () => {
  const cases = (address: string): string =>
    `rules: rules.yaml\ndefaults: { client_ip: unix }\ncases:\n  - { sql: select 1, client_ip: ${address}, expect: { action: allow } }\n`;
  const explain = ['explain', '--rules', at('rules.yaml'), '--sql', 'select 1', '--client-ip'];
  for (const address of ['10.0.0.0/8', '10.0.0.256', 'localhost']) {
    writeFileSync(at('addresses.yaml'), cases(address));
    const complaint = `"${address}" is no IPv4 or IPv6 address, nor "unix"`;
    expect(await run(['test', at('addresses.yaml')])).toMatchObject({
      code: 1,
      err: expect.stringContaining(`addresses.yaml:4:33: cases[0].client_ip: ${complaint}`),
    });
    expect(await run([...explain, address])).toMatchObject({
      code: 1,
      out: '',
      err: `pgweir: --client-ip: ${complaint}\n`,
    });
  }
  for (const address of ['10.0.0.1', '"fe80::1%eth0"', 'unix']) {
    writeFileSync(at('addresses.yaml'), cases(address));
    expect((await run(['test', at('addresses.yaml')])).code).toBe(0);
  }
  expect((await run([...explain, 'unix'])).code).toBe(0);
});

test("the rules that come with pgweir pass their own cases, by the command's default path", async () => {
  expect(await run(['test'])).toMatchObject({ code: 0, err: '' });
});

test('explain shows every rule that was tried and the outcome; what it is does not change the exit code', async () => {
  const refused = await run([
    'explain',
    '--rules',
    at('rules.yaml'),
    '--sql',
    'drop table t; select 1',
    '--user',
    'ana',
  ]);
  expect(refused.code).toBe(0);
  expect(refused.out).toContain('matched     no_drop');
  expect(refused.out).toContain('=> refused by no_drop: 42501 no drops');
  const observed = JSON.parse(
    (
      await run([
        'explain',
        '--rules',
        at('settings.yaml'),
        '--sql',
        'select 1 from dual',
        '--output',
        'json',
        '--application-name',
        'erp',
        '--in-transaction',
      ])
    ).out,
  );
  expect(observed).toMatchObject({
    refusal: null,
    observed: ['see_dual'],
    isInTransaction: true,
    subject: { user: 'app', applicationName: 'erp' },
  });
  expect(observed.verdict).toBeUndefined();
});

test('explain reads a replication command on a replication connection alone', async () => {
  const command = ['explain', '--rules', at('rules.yaml'), '--sql', 'BASE_BACKUP', '--output', 'json'];
  const physical = JSON.parse((await run([...command, '--replication', 'physical'])).out);
  expect(physical).toMatchObject({
    subject: { database: 'replication' },
    statements: [{ queryClass: 'replication', kinds: ['base_backup'] }],
  });
  const ordinary = JSON.parse((await run(command)).out);
  expect(ordinary).toMatchObject({ subject: { database: 'app' }, statements: [{ queryClass: 'unknown', kinds: [] }] });
  expect((await run([...command, '--replication', 'yes'])).code).toBe(1);
});

test('explain suggests what an Oracle statement would be in PostgreSQL, and nothing for any other', async () => {
  const command = ['explain', '--rules', at('rules.yaml'), '--sql'];
  const suggested = await run([...command, 'select nvl(a, 0) from t /* c */ where rownum <= 5']);
  expect(suggested.code).toBe(0);
  expect(suggested.out).toContain(
    '\nportable  SELECT (coalesce(a, 0)) FROM t LIMIT 5\n      NVL → COALESCE\n      ROWNUM → LIMIT\n      a suggestion: read and test it',
  );
  expect(suggested.out).toContain('comments and layout are lost');
  expect((await run([...command, 'select coalesce(a, 0) from t limit 5'])).out).not.toContain('portable');
  const asJson = async (sql: string) => JSON.parse((await run([...command, sql, '--output', 'json'])).out).portable;
  expect(await asJson('select 1 from dual')).toEqual({
    text: 'SELECT 1',
    changes: ['FROM DUAL dropped'],
    note: expect.stringContaining('a suggestion'),
  });
  expect(await asJson('select 1 from "dual"')).toBeNull();
});

test('explain reads SQL or rules from stdin, but not both, and needs both', async () => {
  const io = new HandIo();
  io.stdin = 'select 1 from dual';
  expect(await run(['explain', '--rules', at('rules.yaml'), '--sql', '-'], io)).toMatchObject({
    code: 0,
    out: expect.stringContaining('observed by see_dual'),
  });
  expect((await run(['explain', '--rules', '-', '--sql', '-'])).code).toBe(1);
  expect((await run(['explain', '--sql', 'select 1'])).code).toBe(1);
  expect((await run(['explain', '--rules', at('bad.yaml'), '--sql', 'select 1'])).code).toBe(1);
});

test('version and help are 0 on stdout, a slip of the pen is 1 on stderr', async () => {
  expect(await run(['version'])).toMatchObject({ code: 0, out: expect.stringContaining(`pgweir ${manifest.version}`) });
  for (const flag of ['--version', '-V'])
    expect(await run([flag])).toEqual({ code: 0, out: (await run(['version'])).out, err: '' });
  expect(JSON.parse((await run(['version', '--output', 'json'])).out)).toMatchObject({ version: manifest.version });
  expect(await run(['--help'])).toMatchObject({ code: 0, out: expect.stringContaining('explain') });
  expect(await run(['chekc'])).toMatchObject({ code: 1, out: '', err: expect.stringContaining('unknown command') });
  expect((await run(['check'])).code).toBe(1);
  expect((await run(['check', '--output', 'xml', at('rules.yaml')])).code).toBe(1);
});

test('colours are for terminals, and NO_COLOR takes them away', async () => {
  const io = new HandIo();
  io.isTerminal = true;
  expect((await run(['check', at('rules.yaml')], io)).out).toContain('\u001b[32mok\u001b[0m');
  const plain = new HandIo();
  plain.isTerminal = true;
  plain.environment = { NO_COLOR: '1' };
  expect((await run(['check', at('rules.yaml')], plain)).out).not.toContain('\u001b');
});
