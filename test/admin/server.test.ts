// The rest of the admin API: who may speak, what can be read and done, and that every error is a problem.

import type { FastifyInstance } from 'fastify';
import { afterEach, expect, onTestFinished, test, vi } from 'vitest';
import { openAdminListener, openHealthListener } from '../../src/admin/listeners.ts';
import { buildAdminServer } from '../../src/admin/server.ts';
import { silentLog } from '../../src/base/log.ts';
import { makeHit, makeRuleset, makeShape, makeSubject, makeVerdict } from '../audit/verdict-maker.ts';
import { StandIn } from './stand-in.ts';

const TOKEN = '0123456789abcdef-token';
let servers: FastifyInstance[] = [];
afterEach(async () => {
  await Promise.all(servers.map((server) => server.close()));
  servers = [];
});

function makeServer(admin: { host?: string; token?: string | null } = {}, control = new StandIn()) {
  const server = buildAdminServer(control, { admin: { host: '127.0.0.1', port: 0, token: null, ...admin } });
  servers.push(server);
  return { server, control };
}

function record(control: StandIn, applicationName: string, count: number): void {
  const rule = control.rules.active.rules.find((candidate) => candidate.name === 'from_dual');
  if (rule === undefined) throw new Error('no rule');
  const hit = makeHit(rule, makeShape('aaaaaaaaaaaaaaaa', 'select ? from dual'), 'deny');
  const verdict = makeVerdict(control.rules.active, makeSubject({ applicationName }), [hit]);
  for (let index = 0; index < count; index += 1) control.recorder.recordVerdict(verdict);
}

test('a token, where there is one, is demanded for everything', async () => {
  const { server } = makeServer({ token: TOKEN });
  for (const url of ['/rules', '/sessions', '/metrics', '/openapi.json', '/no/such/path']) {
    const refused = await server.inject(url);
    expect([url, refused.statusCode, refused.headers['www-authenticate']]).toEqual([url, 401, 'Bearer realm="pgweir"']);
    expect(refused.headers['content-type']).toContain('application/problem+json');
  }
  const ask = async (authorization: string) =>
    (await server.inject({ url: '/rules', headers: { authorization } })).statusCode;
  expect(await ask(`Bearer ${TOKEN}`)).toBe(200);
  expect(await ask(`bearer ${TOKEN}`)).toBe(200);
  expect(await ask(`Bearer ${TOKEN}x`)).toBe(401);
  expect(await ask(`Bearer ${TOKEN.slice(0, -1)}`)).toBe(401);
  expect(await ask('Bearer ')).toBe(401);
  expect(await ask(`Basic ${TOKEN}`)).toBe(401);
});

test('a listener off loopback without a token cannot be built, with one it can', () => {
  expect(() => makeServer({ host: '0.0.0.0' })).toThrow('has no token');
  expect(() => makeServer({ host: '0.0.0.0', token: TOKEN })).not.toThrow();
});

test.each([
  ['a rebound name', { host: 'evil.example:9091' }, 403],
  ['no name of this machine', { host: '10.0.0.9' }, 403],
  ['a page of another origin', { host: 'localhost:9091', origin: 'http://evil.example' }, 403],
  ['a page without an origin', { host: 'localhost:9091', origin: 'null' }, 403],
  ['a form on another site', { host: 'localhost:9091', 'sec-fetch-site': 'cross-site' }, 403],
  ['a page of another port', { host: 'localhost:9091', origin: 'http://localhost:3000' }, 403],
  ['localhost', { host: 'localhost:9091' }, 200],
  ['an IPv6 address', { host: '[::1]:9091' }, 200],
  ['its own page', { host: 'localhost:9091', origin: 'http://localhost:9091', 'sec-fetch-site': 'same-origin' }, 200],
])('on loopback a request from %s is answered as it deserves', async (_name, headers, status) => {
  const { server } = makeServer();
  expect((await server.inject({ url: '/rules', headers })).statusCode).toBe(status);
});

test('off loopback any Host will do, as the token is what counts, but a foreign page is still refused', async () => {
  const { server } = makeServer({ host: '0.0.0.0', token: TOKEN });
  const headers = { host: 'pgweir.shop.svc:9091', authorization: `Bearer ${TOKEN}` };
  expect((await server.inject({ url: '/rules', headers })).statusCode).toBe(200);
  expect(
    (await server.inject({ url: '/rules', headers: { ...headers, origin: 'http://evil.example' } })).statusCode,
  ).toBe(403);
});

test('an unknown path and an unknown failure are problems too, and the failure keeps its words to the log', async () => {
  const { server, control } = makeServer();
  const missing = await server.inject({ method: 'PUT', url: '/rule?x=1' });
  expect([missing.statusCode, missing.json()]).toEqual([
    404,
    { type: 'about:blank', title: 'Not Found', status: 404, detail: 'there is no PUT /rule' },
  ]);
  expect(missing.headers).not.toHaveProperty('allow');
  control.targets = () => {
    throw new Error('secret inner words');
  };
  const failed = await server.inject('/targets');
  expect(failed.statusCode).toBe(500);
  expect(failed.body).not.toContain('secret');
  expect(failed.headers['content-type']).toContain('application/problem+json');
});

test.each([
  ['PUT', '/rules?x=1', 'GET, HEAD, POST'],
  ['GET', '/rules/rollback', 'PATCH, POST'],
  ['DELETE', '/rules/some/observations', 'GET, HEAD'],
  ['PATCH', '/sessions/9', 'DELETE, GET, HEAD'],
  ['POST', '/metrics', 'GET, HEAD'],
] as const)('%s %s is no method of that path, and Allow says which are', async (method, url, allow) => {
  const { server } = makeServer();
  const answer = await server.inject({ method, url });
  expect([answer.statusCode, answer.headers['content-type'], answer.headers.allow]).toEqual([
    405,
    'application/problem+json',
    allow,
  ]);
  expect(answer.json().detail).toBe(`there is no ${method} ${url.split('?')[0]}, only ${allow}`);
});

test.each(['/rules', '/sessions/9', '/targets', '/rules/judged', '/openapi.json'])(
  'GET %s knows no query and says so; a scrape and a probe may carry one',
  async (url) => {
    const { server } = makeServer();
    const answer = await server.inject(`${url}?with_text=true`);
    expect([answer.statusCode, answer.json().detail]).toEqual([400, 'querystring: unknown key "with_text"']);
    for (const open of ['/metrics?target=x', '/liveness?x=1']) expect((await server.inject(open)).statusCode).toBe(200);
  },
);

test.each([
  ['GET', '/observations?topp=3', 'querystring: unknown key "topp" (did you mean "top"?)'],
  ['GET', '/observations?format=xml', 'format: "xml" is not one of json, csv, text'],
  ['GET', '/observations?top=some', 'top: must be a whole number, not "some" (a string)'],
  ['GET', '/sessions/two', 'id: must be a whole number, not "two" (a string)'],
  ['PATCH', '/rules/from_dual', 'mode: "sometimes" is not one of enforce, observe, off'],
] as const)('%s %s is refused with what would be right', async (method, url, detail) => {
  const { server } = makeServer();
  const body = method === 'PATCH' ? { body: { mode: 'sometimes' } } : {};
  const answer = await server.inject({ method, url, ...body });
  expect(answer.json()).toEqual({ type: 'about:blank', title: 'Bad Request', status: 400, detail });
});

test('a path that cannot be decoded is a problem too', async () => {
  const { server } = makeServer();
  const answer = await server.inject('/%zz');
  expect([answer.statusCode, answer.headers['content-type']]).toEqual([400, 'application/problem+json']);
  expect(answer.json()).toMatchObject({ status: 400, detail: expect.stringContaining('%zz') });
});

test('observations come as JSON, CSV and text, filtered and cut', async () => {
  const { server, control } = makeServer();
  record(control, 'web', 3);
  record(control, 'batch', 2);
  const report = (await server.inject('/observations')).json();
  expect(
    report.rows.map((row: { application_name: string; would_refuse: number }) => [
      row.application_name,
      row.would_refuse,
    ]),
  ).toEqual([
    ['web', 3],
    ['batch', 2],
  ]);
  expect(report.rules).toMatchObject([{ rule: 'from_dual', totals: { matched: 5, would_refuse: 5 } }]);
  const one = (await server.inject('/rules/from_dual/observations?application_name=batch')).json();
  expect(one.rows).toHaveLength(1);
  const cut = (await server.inject('/observations?top=1')).json();
  expect([cut.rows.length, cut.rows_found]).toEqual([1, 2]);
  const csv = await server.inject('/observations?format=csv');
  expect(csv.headers['content-type']).toContain('text/csv');
  expect(csv.body.split('\r\n')).toHaveLength(4);
  const text = await server.inject({ url: '/observations', headers: { accept: 'text/plain' } });
  expect(text.body).toMatch(/^RULE /);
  expect((await server.inject('/rules/no_such/observations')).statusCode).toBe(404);
  expect((await server.inject('/rules/legacy_limit/observations')).json().rows).toEqual([]);
  for (const bad of ['format=xml', 'top=0', 'colour=red', 'since=yesterday']) {
    expect([bad, (await server.inject(`/observations?${bad}`)).statusCode]).toEqual([bad, 400]);
  }
});

test('sessions are listed, shown, cancelled and ended; those that are not there are 404', async () => {
  const { server, control } = makeServer();
  const list = (await server.inject('/sessions?state=active')).json();
  expect(list).toMatchObject({
    total: 1,
    sessions: [{ id: 2, user: 'ana', state: 'active', statement: 'select ?', server_pid: 102 }],
  });
  expect((await server.inject('/sessions/2')).json()).toMatchObject({
    id: 2,
    client_ip: '10.1.2.3',
    connected_at: '2023-11-14T22:13:20.002Z',
  });
  const holding = async (reason: string): Promise<unknown> =>
    (await server.inject(`/sessions?holds=${reason}`)).json().sessions.map((session: { id: number }) => session.id);
  expect([await holding('temporary'), await holding('transaction'), await holding('listen')]).toEqual([[1], [2], []]);
  expect(list.sessions[0].holds).toEqual(['statement', 'transaction']);
  expect((await server.inject({ method: 'POST', url: '/sessions/2/cancel' })).statusCode).toBe(202);
  expect((await server.inject({ method: 'POST', url: '/sessions/1/cancel' })).statusCode).toBe(409);
  expect((await server.inject({ method: 'DELETE', url: '/sessions/1' })).statusCode).toBe(204);
  expect([control.cancelled, control.terminated]).toEqual([[2], [1]]);
  expect((await server.inject('/sessions/9')).statusCode).toBe(404);
  expect((await server.inject({ method: 'POST', url: '/sessions/9/cancel' })).statusCode).toBe(404);
  expect((await server.inject({ method: 'DELETE', url: '/sessions/9' })).statusCode).toBe(404);
  expect((await server.inject('/sessions/two')).statusCode).toBe(400);
});

test('decisions are listed newest first, found by the id that the client saw, and forgotten ones are 404', async () => {
  const { server, control } = makeServer();
  const refusal = { rule: 'default_action', sqlstate: '42501', message: 'no', hint: null, retryAfterMs: null };
  const verdict = makeVerdict(makeRuleset('v1', 1), makeSubject(), [], {
    refusal,
    shapes: [makeShape('aaaaaaaaaaaaaaaa')],
  });
  const first = control.recorder.recordRefusal(verdict, 5, refusal);
  const second = control.recorder.recordRefusal(verdict, 6, refusal);
  const list = (await server.inject('/decisions')).json();
  expect(list.total).toBe(2);
  expect(list.decisions.map((decision: { id: string }) => decision.id)).toEqual([second, first]);
  expect((await server.inject(`/decisions/${first}`)).json()).toMatchObject({
    id: first,
    rules_version: 'v1',
    session_id: 5,
    outcome: 'refused',
  });
  expect((await server.inject('/decisions?session_id=6')).json().decisions).toHaveLength(1);
  expect((await server.inject('/decisions/none-1')).statusCode).toBe(404);
  expect((await server.inject('/decisions?outcome=eaten')).statusCode).toBe(400);
});

test('targets are shown', async () => {
  const { server } = makeServer();
  expect((await server.inject('/targets')).json()).toEqual({
    targets: [
      {
        name: 'primary',
        role: 'primary',
        host: '127.0.0.1',
        port: 5432,
        is_healthy: true,
        last_error: null,
        connections: 3,
      },
    ],
  });
});

test('the OpenAPI document describes every route and the problem schema', async () => {
  const { server } = makeServer();
  const document = (await server.inject('/openapi.json')).json();
  expect(document.openapi).toBe('3.1.0');
  const calls = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.keys(methods as object).map((method) => `${method} ${path}`),
  );
  expect(calls.sort()).toEqual(
    [
      'get /rules',
      'post /rules',
      'get /rules/history',
      'post /rules/rollback',
      'patch /rules/{name}',
      'get /rules/judged',
      'get /rules/{name}/observations',
      'get /observations',
      'get /sessions',
      'get /sessions/{id}',
      'delete /sessions/{id}',
      'post /sessions/{id}/cancel',
      'get /targets',
      'get /pools',
      'post /pools/pause',
      'post /pools/resume',
      'post /pools/reconnect',
      'get /decisions',
      'get /decisions/{id}',
      'post /quitquitquit',
      'get /metrics',
      'get /startup',
      'get /readiness',
      'get /liveness',
    ].sort(),
  );
  expect(document.components.schemas.Problem.properties.problems).toBeDefined();
});

test('the health listener follows the lifecycle and asks the database only when told to', async () => {
  const control = new StandIn();
  let asked = 0;
  control.upstream = async () => {
    asked += 1;
    return 'connection refused';
  };
  const health = openHealthListener(control, silentLog);
  const port = await health.listen({ host: '127.0.0.1', port: 0 });
  onTestFinished(() => health.close());
  const ask = (url: string, init: RequestInit = {}) =>
    fetch(`http://127.0.0.1:${port}${url}`, { ...init, signal: AbortSignal.timeout(5000) });
  const status = async (url: string) => (await ask(url)).status;
  control.state = 'starting';
  expect([await status('/startup'), await status('/readiness'), await status('/liveness')]).toEqual([503, 503, 200]);
  control.state = 'ready';
  expect([await status('/startup'), await status('/readiness'), await status('/liveness')]).toEqual([200, 200, 200]);
  expect(asked).toBe(0);
  const checked = await ask('/readiness?check=upstream');
  expect([checked.status, await checked.text()]).toEqual([503, 'connection refused\n']);
  control.upstream = async () => null;
  expect(await status('/readiness?check=upstream')).toBe(200);
  control.upstream = () => Promise.reject(new Error('broken'));
  expect(await status('/readiness?check=upstream')).toBe(503);
  control.state = 'draining';
  expect([await status('/startup'), await status('/readiness'), await status('/liveness')]).toEqual([200, 503, 200]);
  expect([await status('/rules'), await status('/sessions'), await status('//[')]).toEqual([404, 404, 404]);
  const posted = await ask('/liveness', { method: 'POST', body: 'x' });
  expect([posted.status, posted.headers.get('allow')]).toEqual([405, 'GET, HEAD']);
  expect(await (await ask('/metrics')).text()).toContain('pgweir_ready 0');
});

test('over a real socket: a post, a bad post, a scrape', async () => {
  const { server, control } = makeServer({ token: TOKEN });
  const address = await server.listen({ host: '127.0.0.1', port: 0 });
  const ask = (path: string, init: RequestInit = {}) =>
    fetch(address + path, {
      ...init,
      headers: { authorization: `Bearer ${TOKEN}`, 'content-type': 'application/yaml' },
      signal: AbortSignal.timeout(5000),
    });
  const posted = await ask('/rules', { method: 'POST', body: 'traffic_control: { default_action: deny }' });
  expect([posted.status, posted.headers.get('etag')]).toEqual([200, `"${control.rules.version}"`]);
  const bad = await ask('/rules', { method: 'POST', body: 'traffic_control: { default_action: perhaps }' });
  expect([bad.status, ((await bad.json()) as { problems: unknown[] }).problems.length]).toEqual([422, 1]);
  expect(await (await ask('/metrics')).text()).toContain('pgweir_rules_last_reload_successful 0');
});

test('the listener of the admin API is there before the API, which the first request brings, and is guarded by the token of now', async () => {
  const control = new StandIn();
  let token = TOKEN;
  const settings = { admin: { host: '127.0.0.1', port: 0, token: TOKEN } };
  const admin = openAdminListener(control, settings, silentLog, () => token);
  const port = await admin.listen(settings.admin);
  onTestFinished(() => admin.close());
  const ask = async (bearer: string) =>
    (
      await fetch(`http://127.0.0.1:${port}/rules`, {
        headers: { authorization: `Bearer ${bearer}` },
        signal: AbortSignal.timeout(5000),
      })
    ).status;
  expect(await Promise.all([ask(TOKEN), ask('not-the-token-it-wants')])).toEqual([200, 401]);
  token = 'the-token-that-came-next';
  expect([await ask(TOKEN), await ask(token)]).toEqual([401, 200]);
});

test('/quitquitquit answers first and then begins the end; it is not for GET', async () => {
  const { server, control } = makeServer();
  const address = await server.listen({ host: '127.0.0.1', port: 0 });
  const init = { signal: AbortSignal.timeout(5000) };
  expect((await fetch(`${address}/quitquitquit`, init)).status).toBe(405);
  expect(control.state).toBe('ready');
  const answer = await fetch(`${address}/quitquitquit`, { ...init, method: 'POST' });
  expect([answer.status, await answer.json()]).toEqual([200, { lifecycle: 'draining' }]);
  await vi.waitFor(() => expect(control.state).toBe('draining'), 5000);
});
