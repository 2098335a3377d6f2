// The observation matrix: which statements of whom the rules matched, as JSON, CSV or a table.

import type { FastifyInstance, FastifyReply } from 'fastify';
import { formatObservationsCsv, formatObservationsText, reportObservations } from '../../audit/observation-report.ts';
import type { ControlPlane } from '../control.ts';
import { HttpProblem } from '../problem.ts';

interface ObservationQuery {
  readonly format?: 'json' | 'csv' | 'text';
  readonly top: number;
  readonly rule?: string;
  readonly fingerprint?: string;
  readonly application_name?: string;
  readonly user?: string;
  readonly client_prefix?: string;
  readonly database?: string;
  readonly since?: string;
}

const QUERY = {
  type: 'object',
  additionalProperties: false,
  properties: {
    format: { description: 'Default: by Accept, else JSON.', type: 'string', enum: ['json', 'csv', 'text'] },
    top: {
      description: 'Rows at most, by matches; totals are never cut.',
      type: 'integer',
      minimum: 1,
      maximum: 1000000,
      default: 1000,
    },
    rule: { type: 'string' },
    fingerprint: { type: 'string' },
    application_name: { type: 'string' },
    user: { type: 'string' },
    client_prefix: { description: 'As in the rows: 10.1.2.0/24, 2001:db8::/64, unix.', type: 'string' },
    database: { type: 'string' },
    since: { description: 'Only rows seen at or after this moment (ISO 8601).', type: 'string' },
  },
} as const;

export function addObservationRoutes(server: FastifyInstance, control: ControlPlane): void {
  const response = { '4xx': { $ref: 'Problem#' } } as const;
  server.get<{ Querystring: ObservationQuery }>(
    '/observations',
    {
      schema: {
        tags: ['observations'],
        summary: 'What the rules matched, over all rules',
        querystring: QUERY,
        response,
      },
    },
    async (request, reply) => sendReport(control, request.query, request.headers.accept, reply),
  );
  server.get<{ Params: { name: string }; Querystring: ObservationQuery }>(
    '/rules/:name/observations',
    {
      schema: {
        tags: ['observations'],
        summary: 'What one rule matched',
        params: { type: 'object', properties: { name: { type: 'string' } } },
        querystring: QUERY,
        response,
      },
    },
    async (request, reply) => {
      const { name } = request.params;
      const isKnown = control.rules.active.rules.some((rule) => rule.name === name);
      if (!isKnown && control.recorder.matrix.line(name) === null)
        throw new HttpProblem(404, `there is no rule "${name}"`);
      return sendReport(control, { ...request.query, rule: name }, request.headers.accept, reply);
    },
  );
}

function sendReport(
  control: ControlPlane,
  query: ObservationQuery,
  accept: string | undefined,
  reply: FastifyReply,
): FastifyReply {
  const filter = {
    rule: query.rule,
    fingerprint: query.fingerprint,
    applicationName: query.application_name,
    user: query.user,
    clientPrefix: query.client_prefix,
    database: query.database,
    sinceMs: readMoment(query.since),
  };
  const report = reportObservations(control.recorder.matrix, filter, query.top);
  const format = query.format ?? formatByAccept(accept);
  switch (format) {
    case 'csv':
      void reply.header('content-disposition', 'attachment; filename="pgweir-observations.csv"');
      return reply.type('text/csv; charset=utf-8').send(formatObservationsCsv(report));
    case 'text':
      return reply.type('text/plain; charset=utf-8').send(formatObservationsText(report));
    case 'json':
      return reply.send({ rules_version: control.rules.version, ...report });
    default:
      return refuseFormat(format);
  }
}

function readMoment(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const moment = Date.parse(text);
  if (Number.isNaN(moment)) throw new HttpProblem(400, `since: "${text}" is no moment in ISO 8601`);
  return moment;
}

function formatByAccept(accept: string | undefined): 'json' | 'csv' | 'text' {
  if (accept?.includes('text/csv') === true) return 'csv';
  return accept?.includes('text/plain') === true ? 'text' : 'json';
}

function refuseFormat(format: never): never {
  throw new HttpProblem(400, `unknown format ${String(format)}`);
}
