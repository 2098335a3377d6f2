// Errors of the admin API as problem details (RFC 9457): ours, Fastify's, and the unexpected. What is no HTTP at all, or comes
// before the API could be loaded, is answered without.

import { STATUS_CODES } from 'node:http';
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { Log } from '../base/log.ts';
import { type DocumentProblem, describePath, wordError } from '../base/yaml-document.ts';
import type { AllowedMethods } from './allowed.ts';

const PROBLEM_TYPE = 'application/problem+json';

/** Thrown by a route; becomes the answer. */
export class HttpProblem extends Error {
  override readonly name = 'HttpProblem';
  readonly status: number;
  /** Further members of the answer. */
  readonly members: Readonly<Record<string, unknown>>;

  constructor(status: number, detail: string, members: Readonly<Record<string, unknown>> = {}) {
    super(detail);
    this.status = status;
    this.members = members;
  }
}

/** The body of a problem; also the schema that routes name for their errors. */
export const PROBLEM_SCHEMA = {
  $id: 'Problem',
  description: 'Problem details (RFC 9457).',
  type: 'object',
  additionalProperties: true,
  properties: {
    type: { type: 'string' },
    title: { type: 'string' },
    status: { type: 'integer' },
    detail: { type: 'string' },
    problems: {
      description: 'Each thing that is wrong with a document, with its place.',
      type: 'array',
      items: {
        type: 'object',
        additionalProperties: true,
        properties: {
          message: { type: 'string' },
          path: { type: 'string' },
          line: { type: 'integer' },
          column: { type: 'integer' },
          source: { type: 'string' },
        },
      },
    },
  },
} as const;

/** What callers see of a document's problems. */
export function describeProblems(problems: readonly DocumentProblem[]): Record<string, unknown>[] {
  return problems.map(({ line, column, path, message, source }) => ({ line, column, path, message, source }));
}

/** Makes every error of the server a problem, the unknown path and the wrong method included. */
export function answerWithProblems(server: FastifyInstance, allowed: AllowedMethods, log: Log): void {
  server.setNotFoundHandler((request, reply) => {
    const path = request.url.split('?')[0] ?? '';
    const methods = allowed.list(path);
    if (methods === '') return sendProblem(reply, 404, `there is no ${request.method} ${path}`);
    void reply.header('allow', methods);
    return sendProblem(reply, 405, `there is no ${request.method} ${path}, only ${methods}`);
  });
  server.setErrorHandler((error: FastifyError | HttpProblem, request, reply) => {
    if (error instanceof HttpProblem) return sendProblem(reply, error.status, error.message, error.members);
    const status = error.validation === undefined ? (error.statusCode ?? 500) : 400;
    if (status >= 400 && status < 500) return sendProblem(reply, status, wordRefusal(error, request));
    log.error(
      { method: request.method, route: request.routeOptions.url ?? '', error: error.message, stack: error.stack },
      'admin request failed',
    );
    return sendProblem(reply, 500, 'see the log of pgweir');
  });
}

/** For what Fastify refuses before it knows a route: a path that cannot be decoded. */
export function answerBadUrl(error: FastifyError, _request: FastifyRequest, reply: FastifyReply): void {
  void sendProblem(reply, error.statusCode ?? 400, error.message);
}

/** Fastify's own words leave out what would have been right. */
function wordRefusal(error: FastifyError, { routeOptions, headers }: FastifyRequest): string {
  const [complaint] = error.validation ?? [];
  if (complaint !== undefined) {
    const path = describePath(complaint.instancePath.split('/').slice(1));
    return `${path === '' ? error.validationContext : path}: ${wordError(complaint)}`;
  }
  if (error.statusCode === 413) return `the body is longer than ${routeOptions.bodyLimit} bytes`;
  if (error.statusCode !== 415) return error.message;
  const accepted = routeOptions.schema?.consumes ?? ['application/json'];
  return `the body is ${headers['content-type'] ?? 'of no content-type'}; ${accepted.join(', ')} can be read here`;
}

function sendProblem(
  reply: FastifyReply,
  status: number,
  detail: string,
  members: Readonly<Record<string, unknown>> = {},
): FastifyReply {
  const title = STATUS_CODES[status] ?? 'Error';
  // Serialised here: the schemas of routes describe their good answers, and would cut members out of this one.
  const body = JSON.stringify({ type: 'about:blank', title, status, detail, ...members });
  return reply.code(status).type(PROBLEM_TYPE).serializer(String).send(body);
}
