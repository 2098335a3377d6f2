// Who is connected, and the two things that can be done about it: cancel the statement, end the session.

import type { FastifyInstance } from 'fastify';
import type { ControlPlane, SessionSummary } from '../control.ts';
import { HttpProblem } from '../problem.ts';

const SESSION = {
  type: 'object',
  properties: {
    id: { type: 'integer' },
    user: { type: 'string' },
    database: { type: 'string' },
    application_name: { type: 'string' },
    client_ip: { type: 'string' },
    client_port: { type: ['integer', 'null'] },
    connected_at: { type: 'string', format: 'date-time' },
    age_seconds: { type: 'number' },
    state: {
      description:
        'login, idle, active, idle_in_transaction, failed_transaction, waiting (for a limit or for a server connection) or closing.',
      type: 'string',
    },
    state_seconds: {
      description: 'How long it has been in this state; of one that waits, since its last statement ended.',
      type: 'number',
    },
    target: { type: 'string' },
    server_pid: { type: ['integer', 'null'] },
    holds: {
      description:
        'Why it holds a server connection: session (its own, in mode session), transaction, statement, what is pinned (temporary, listen, …), or reclaimable (kept until somebody needs it). waiting: it holds none and waits for one. Empty: it needs none.',
      type: 'array',
      items: { type: 'string' },
    },
    statement: { description: 'Literal-free text of the statement that runs, or ran last.', type: ['string', 'null'] },
    fingerprint: { type: ['string', 'null'] },
  },
} as const;
const PROBLEMS = { '4xx': { $ref: 'Problem#' } } as const;
const PARAMS = { type: 'object', properties: { id: { type: 'integer', minimum: 0 } } } as const;

interface SessionQuery {
  readonly user?: string;
  readonly database?: string;
  readonly application_name?: string;
  readonly state?: string;
  readonly holds?: string;
  readonly limit: number;
}

export function addSessionRoutes(server: FastifyInstance, control: ControlPlane): void {
  const listSchema = {
    tags: ['sessions'],
    summary: 'Client sessions, the longest connected first',
    querystring: {
      type: 'object',
      additionalProperties: false,
      properties: {
        user: { type: 'string' },
        database: { type: 'string' },
        application_name: { type: 'string' },
        state: { type: 'string' },
        holds: { description: 'Only those with this word in holds.', type: 'string' },
        limit: { type: 'integer', minimum: 1, maximum: 100000, default: 1000 },
      },
    },
    response: {
      200: { type: 'object', properties: { total: { type: 'integer' }, sessions: { type: 'array', items: SESSION } } },
      ...PROBLEMS,
    },
  } as const;
  server.get<{ Querystring: SessionQuery }>('/sessions', { schema: listSchema }, async (request) => {
    const found = control.sessions().filter((session) => isWanted(session, request.query));
    found.sort((left, right) => left.connectedAtMs - right.connectedAtMs || left.id - right.id);
    const nowMs = Date.now();
    return {
      total: found.length,
      sessions: found.slice(0, request.query.limit).map((session) => describe(session, nowMs)),
    };
  });

  const oneSchema = {
    tags: ['sessions'],
    summary: 'One session',
    params: PARAMS,
    response: { 200: SESSION, ...PROBLEMS },
  } as const;
  server.get<{ Params: { id: number } }>('/sessions/:id', { schema: oneSchema }, async (request) => {
    const session = control.session(request.params.id);
    if (session === null) throw new HttpProblem(404, `there is no session ${request.params.id}`);
    return describe(session, Date.now());
  });

  const cancelSchema = {
    tags: ['sessions'],
    summary: 'Send a CancelRequest to the server that runs the statement of this session',
    params: PARAMS,
    response: { 202: { type: 'object', properties: { cancelled: { type: 'boolean' } } }, ...PROBLEMS },
  } as const;
  server.post<{ Params: { id: number } }>('/sessions/:id/cancel', { schema: cancelSchema }, async (request, reply) => {
    const { id } = request.params;
    if (control.session(id) === null) throw new HttpProblem(404, `there is no session ${id}`);
    if (!(await control.cancelSession(id))) throw new HttpProblem(409, `session ${id} runs no statement`);
    return reply.code(202).send({ cancelled: true });
  });

  const endSchema = {
    tags: ['sessions'],
    summary: 'End the session with 57P01',
    params: PARAMS,
    response: { 204: { type: 'null' }, ...PROBLEMS },
  } as const;
  server.delete<{ Params: { id: number } }>('/sessions/:id', { schema: endSchema }, async (request, reply) => {
    const { id } = request.params;
    if (!control.terminateSession(id)) throw new HttpProblem(404, `there is no session ${id}`);
    return reply.code(204).send();
  });
}

function isWanted(session: SessionSummary, query: SessionQuery): boolean {
  return (
    (query.user === undefined || session.user === query.user) &&
    (query.database === undefined || session.database === query.database) &&
    (query.application_name === undefined || session.applicationName === query.application_name) &&
    (query.state === undefined || session.state === query.state) &&
    (query.holds === undefined || session.holds.includes(query.holds))
  );
}

function describe(session: SessionSummary, nowMs: number): Record<string, unknown> {
  return {
    id: session.id,
    user: session.user,
    database: session.database,
    application_name: session.applicationName,
    client_ip: session.clientIp,
    client_port: session.clientPort,
    connected_at: new Date(session.connectedAtMs).toISOString(),
    age_seconds: secondsSince(session.connectedAtMs, nowMs),
    state: session.state,
    state_seconds: secondsSince(session.stateSinceMs, nowMs),
    target: session.target,
    server_pid: session.serverPid,
    holds: session.holds,
    statement: session.statement,
    fingerprint: session.fingerprint,
  };
}

function secondsSince(momentMs: number, nowMs: number): number {
  return Math.max(0, nowMs - momentMs) / 1000;
}
