// What there is to look at besides rules and sessions: targets, the last decisions, and what each rules version judged.

import type { FastifyInstance } from 'fastify';
import type { Decision } from '../../audit/decision.ts';
import { DECISION_OUTCOMES } from '../../audit/decision.ts';
import type { ControlPlane } from '../control.ts';
import { HttpProblem } from '../problem.ts';

const PROBLEMS = { '4xx': { $ref: 'Problem#' } } as const;

const TARGET = {
  type: 'object',
  properties: {
    name: { type: 'string' },
    role: { type: 'string', enum: ['primary', 'replica'] },
    host: { type: 'string' },
    port: { type: 'integer' },
    is_healthy: { type: 'boolean' },
    last_error: { type: ['string', 'null'] },
    connections: { type: 'integer' },
  },
} as const;

const DECISION = {
  type: 'object',
  properties: {
    id: { description: 'As in the DETAIL of the error that the client got.', type: 'string' },
    at: { type: 'string', format: 'date-time' },
    rules_version: { type: 'string' },
    rule: { type: 'string' },
    outcome: { type: 'string', enum: DECISION_OUTCOMES },
    fingerprint: { type: 'string' },
    query_class: { type: 'string' },
    statement: { description: 'Literal-free; the beginning of a long one.', type: 'string' },
    user: { type: 'string' },
    database: { type: 'string' },
    application_name: { type: 'string' },
    client_ip: { type: 'string' },
    session_id: { type: 'integer' },
    in_transaction: { type: 'boolean' },
  },
} as const;

interface DecisionQuery {
  readonly limit: number;
  readonly rule?: string;
  readonly outcome?: string;
  readonly session_id?: number;
  readonly user?: string;
  readonly rules_version?: string;
}

export function addStateRoutes(server: FastifyInstance, control: ControlPlane): void {
  const targetSchema = {
    tags: ['state'],
    summary: 'The PostgreSQL servers behind pgweir',
    response: { 200: { type: 'object', properties: { targets: { type: 'array', items: TARGET } } } },
  } as const;
  server.get('/targets', { schema: targetSchema }, async () => ({
    targets: control
      .targets()
      .map(({ isHealthy, lastError, ...target }) => ({ ...target, is_healthy: isHealthy, last_error: lastError })),
  }));

  const listSchema = {
    tags: ['decisions'],
    summary: 'The last refusals, limits and kills, newest first',
    querystring: {
      type: 'object',
      additionalProperties: false,
      properties: {
        limit: { type: 'integer', minimum: 1, maximum: 100000, default: 100 },
        rule: { type: 'string' },
        outcome: { type: 'string', enum: DECISION_OUTCOMES },
        session_id: { type: 'integer' },
        user: { type: 'string' },
        rules_version: { type: 'string' },
      },
    },
    response: {
      200: {
        type: 'object',
        properties: { total: { type: 'integer' }, decisions: { type: 'array', items: DECISION } },
      },
      ...PROBLEMS,
    },
  } as const;
  server.get<{ Querystring: DecisionQuery }>('/decisions', { schema: listSchema }, async (request) => {
    const { limit, rule, outcome, user, session_id: sessionId, rules_version: rulesVersion } = request.query;
    const { decisions } = control.recorder;
    const found = decisions.list(limit, { rule, outcome, user, sessionId, rulesVersion });
    return { total: decisions.count, decisions: found.map(describeDecision) };
  });

  const oneSchema = {
    tags: ['decisions'],
    summary: 'One decision, by the id in the DETAIL of the error',
    params: { type: 'object', properties: { id: { type: 'string' } } },
    response: { 200: DECISION, ...PROBLEMS },
  } as const;
  server.get<{ Params: { id: string } }>('/decisions/:id', { schema: oneSchema }, async (request) => {
    const decision = control.recorder.decisions.find(request.params.id);
    if (decision === null) throw new HttpProblem(404, `decision ${request.params.id} is unknown, or no longer kept`);
    return describeDecision(decision);
  });

  const versionSchema = {
    tags: ['rules'],
    summary: 'How many messages each version of the rules has judged, matched nothing of, and refused',
    response: { 200: { type: 'object', additionalProperties: true } },
  } as const;
  server.get('/rules/judged', { schema: versionSchema }, async () => ({
    versions: control.recorder.versions().map((tally) => ({
      version: tally.version,
      first_epoch: tally.firstEpoch,
      since: new Date(tally.sinceMs).toISOString(),
      judged: tally.judged,
      unmatched: tally.unmatched,
      refused: tally.refused,
    })),
  }));
}

function describeDecision(decision: Decision): Record<string, unknown> {
  return {
    id: decision.id,
    at: new Date(decision.atMs).toISOString(),
    rules_version: decision.rulesVersion,
    rule: decision.rule,
    outcome: decision.outcome,
    fingerprint: decision.fingerprint,
    query_class: decision.queryClass,
    statement: decision.normalized,
    user: decision.user,
    database: decision.database,
    application_name: decision.applicationName,
    client_ip: decision.clientIp,
    session_id: decision.sessionId,
    in_transaction: decision.isInTransaction,
  };
}
