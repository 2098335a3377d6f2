// The rules over HTTP: read, posted, patched, rolled back; and every way in which that must be refused.

import type { FastifyInstance } from 'fastify';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { parse } from 'yaml';
import { buildAdminServer } from '../../src/admin/server.ts';
import { START_RULES, StandIn } from './stand-in.ts';

let control: StandIn;
let server: FastifyInstance;

beforeEach(() => {
  control = new StandIn();
  server = buildAdminServer(control, { admin: { host: '127.0.0.1', port: 0, token: null } });
});
afterEach(() => server.close());

const yaml = { 'content-type': 'application/yaml', host: '127.0.0.1:9091' };
const json = { 'content-type': 'application/json', host: '127.0.0.1:9091' };
const DENY_ALL = 'traffic_control:\n  rules:\n    - { name: all, action: deny }\n';

test('GET /rules answers the document as written with a strong ETag, or its value as JSON when asked', async () => {
  const written = await server.inject('/rules');
  expect(written.statusCode).toBe(200);
  expect(written.body).toBe(START_RULES);
  expect(written.headers['content-type']).toContain('application/yaml');
  expect(written.headers.etag).toBe(`"${control.rules.version}"`);
  const asJson = await server.inject({ url: '/rules', headers: { accept: 'application/json' } });
  expect(asJson.json()).toEqual(parse(START_RULES));
});

test('a posted document is swapped in and the answer names version, diff and rejudged statements', async () => {
  const before = control.rules.version;
  const answer = await server.inject({
    method: 'POST',
    url: '/rules?reason=test&actor=ana',
    headers: yaml,
    body: DENY_ALL,
  });
  expect(answer.statusCode).toBe(200);
  expect(answer.json()).toMatchObject({
    outcome: 'swapped',
    version: control.rules.version,
    previous_version: before,
    diff: { added: ['all'], removed: ['from_dual', 'legacy_limit'], changed: [] },
    is_stored: true,
    live_prepared_statements: 12,
    live_prepared_statements_rejudged: 5,
  });
  expect(control.rules.version).not.toBe(before);
  expect(answer.headers.etag).toBe(`"${control.rules.version}"`);
  const history = (await server.inject('/rules/history')).json().versions;
  expect(history).toMatchObject([
    { actor: 'ana', reason: 'test', is_active: true },
    { actor: 'start', is_active: false },
  ]);
});

test.each(['application/json', 'text/plain', 'text/yaml', 'application/yaml; charset=utf-8'])(
  'a document may come as %s',
  async (type) => {
    const body = JSON.stringify({ traffic_control: { rules: [{ name: 'all', action: 'deny' }] } });
    const answer = await server.inject({
      method: 'POST',
      url: '/rules',
      headers: { ...yaml, 'content-type': type },
      body,
    });
    expect(answer.json()).toMatchObject({ outcome: 'swapped', diff: { added: ['all'] } });
  },
);

test('a dry run tells the same and changes nothing', async () => {
  const before = control.rules.version;
  const answer = await server.inject({ method: 'POST', url: '/rules?dry_run=true', headers: yaml, body: DENY_ALL });
  expect(answer.json()).toMatchObject({ outcome: 'dry_run', diff: { added: ['all'] } });
  expect(answer.json().lint).not.toEqual([]);
  expect(answer.json().live_prepared_statements_rejudged).toBeUndefined();
  expect(control.rules.version).toBe(before);
  expect(answer.headers.etag).toBe(`"${before}"`);
});

test.each([
  ['wrong YAML', 'traffic_control: [', 1, 19],
  ['an unknown key', 'traffic_control:\n  rulez: []\n', 2, 3],
  ['an unknown action', 'traffic_control:\n  rules:\n    - { name: a, action: explode }\n', 3, 26],
  [
    'a bad regex',
    "traffic_control:\n  rules:\n    - name: a\n      match: { query_regex: '(' }\n      action: deny\n",
    4,
    29,
  ],
  [
    'a bad CIDR',
    'traffic_control:\n  rules:\n    - { name: a, match: { client_ip: 10.0.0.0/99 }, action: deny }\n',
    3,
    38,
  ],
  [
    'a name twice',
    'traffic_control:\n  rules:\n    - { name: a, action: deny }\n    - { name: a, action: deny }\n',
    4,
    15,
  ],
  ['JSON with a wrong type', '{"traffic_control": {"rules": 7}}', 1, 31],
])('%s is a 422 with line and column, and the old rules stay', async (_name, body, line, column) => {
  const before = control.rules.version;
  const answer = await server.inject({ method: 'POST', url: '/rules', headers: yaml, body });
  expect(answer.statusCode).toBe(422);
  expect(answer.headers['content-type']).toContain('application/problem+json');
  expect(answer.json()).toMatchObject({ status: 422, title: 'Unprocessable Entity', active_version: before });
  expect(answer.json().problems[0]).toMatchObject({ line, column, source: 'POST /rules' });
  expect(control.rules.version).toBe(before);
  expect(control.rules.lastReload.isSuccessful).toBe(false);
});

test('the answer to a change says whether a restart would know the new rules', async () => {
  control.isDiskGood = false;
  const post = () => server.inject({ method: 'POST', url: '/rules', headers: yaml, body: DENY_ALL });
  expect((await post()).json()).toMatchObject({ outcome: 'swapped', is_stored: false });
  expect((await post()).json()).not.toHaveProperty('is_stored');
});

test('If-Match lets the holder of the active version through and refuses a stale or weak one with 412', async () => {
  const etag = `"${control.rules.version}"`;
  const post = (ifMatch: string) =>
    server.inject({ method: 'POST', url: '/rules', headers: { ...yaml, 'if-match': ifMatch }, body: DENY_ALL });
  const stale = await post('"000000000000"');
  expect(stale.statusCode).toBe(412);
  expect(stale.json()).toMatchObject({ active_version: control.rules.version });
  expect((await post(`W/${etag}`)).statusCode).toBe(412);
  expect((await post(`"000000000000", ${etag}`)).statusCode).toBe(200);
  expect((await post(etag)).statusCode).toBe(412);
  expect((await post('*')).statusCode).toBe(200);
});

test.each([
  ['the longest name', 'n'.repeat(128)],
  ['a name of characters that are percent-encoded', ':/'.repeat(63)],
])('a rule with %s can be named in a path', async (_what, end) => {
  const name = `r${end}`.slice(0, 128);
  const document = { traffic_control: { rules: [{ name, match: { user: 'nobody' }, action: 'deny' }] } };
  await server.inject({ method: 'POST', url: '/rules', headers: json, body: JSON.stringify(document) });
  const url = `/rules/${encodeURIComponent(name)}`;
  const switched = await server.inject({ method: 'PATCH', url, headers: json, body: '{"mode":"off"}' });
  expect(switched.json()).toMatchObject({ outcome: 'swapped', diff: { changed: [name] } });
  expect((await server.inject(`${url}/observations`)).statusCode).toBe(200);
});

test('PATCH switches the mode of one rule as a new version and keeps the comments', async () => {
  const patch = (name: string, body: unknown) =>
    server.inject({ method: 'PATCH', url: `/rules/${name}`, headers: json, body: JSON.stringify(body) });
  const answer = await patch('from_dual', { mode: 'enforce' });
  expect(answer.json()).toMatchObject({
    outcome: 'swapped',
    diff: { changed: ['from_dual'], unchanged: ['legacy_limit'] },
  });
  expect(control.rules.active.rules.find((rule) => rule.name === 'from_dual')?.mode).toBe('enforce');
  expect((await server.inject('/rules')).body).toContain('# Oracle');
  expect((await patch('no_such', { mode: 'off' })).statusCode).toBe(404);
  expect((await patch('from_dual', { mode: 'sometimes' })).statusCode).toBe(400);
  expect((await patch('from_dual', { mode: 'off', more: 1 })).statusCode).toBe(400);
  expect((await patch('from_dual', {})).statusCode).toBe(400);
});

test('rollback goes back one version, to a named one, and nowhere when there is none', async () => {
  const start = control.rules.version;
  await server.inject({ method: 'POST', url: '/rules', headers: yaml, body: DENY_ALL });
  const denied = control.rules.version;
  const back = await server.inject({ method: 'POST', url: '/rules/rollback' });
  expect(back.json()).toMatchObject({ version: start, previous_version: denied });
  const named = await server.inject({
    method: 'POST',
    url: '/rules/rollback',
    headers: json,
    body: JSON.stringify({ version: denied }),
  });
  expect(named.json()).toMatchObject({ version: denied });
  const post = (body: unknown) =>
    server.inject({ method: 'POST', url: '/rules/rollback', headers: json, body: JSON.stringify(body) });
  expect((await post({ version: 'ffffffffffff' })).statusCode).toBe(404);
  expect((await post({ steps: 99 })).statusCode).toBe(404);
  expect((await post({ steps: 1, version: start })).statusCode).toBe(400);
  expect(control.rules.version).toBe(denied);
});

test('a body of the wrong kind is a problem of its own status: none, a form, too large', async () => {
  const post = (headers: Record<string, string>, body: string) =>
    server.inject({ method: 'POST', url: '/rules', headers, body });
  expect((await post(yaml, ' \n')).statusCode).toBe(400);
  const form = await post({ ...yaml, 'content-type': 'application/x-www-form-urlencoded' }, 'a=b');
  expect([form.statusCode, form.headers['content-type'], form.json().title]).toEqual([
    415,
    'application/problem+json',
    'Unsupported Media Type',
  ]);
  expect(form.json().detail).toMatch(
    /^the body is application\/x-www-form-urlencoded; application\/yaml, .*application\/json/,
  );
  const large = await post(yaml, `# ${'x'.repeat(5 * 1024 * 1024)}`);
  expect([large.statusCode, large.json().status]).toEqual([413, 413]);
  expect(large.json().detail).toMatch(/^the body is longer than \d+ bytes$/);
  expect(
    (await server.inject({ method: 'POST', url: '/rules?dry_run=perhaps', headers: yaml, body: DENY_ALL })).statusCode,
  ).toBe(400);
  expect(
    (await server.inject({ method: 'POST', url: '/rules?dryrun=true', headers: yaml, body: DENY_ALL })).statusCode,
  ).toBe(400);
  expect(control.rules.swaps).toBe(0);
});

test('what each version judged can be read', async () => {
  expect((await server.inject('/rules/judged')).json()).toEqual({ versions: [] });
});
