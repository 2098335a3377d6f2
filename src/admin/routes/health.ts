// Probes and metrics on the admin listener, where they are part of the described API. kubelet and Prometheus ask the health
// listener, which gives the same answers.

import type { FastifyInstance, FastifyReply } from 'fastify';
import type { Registry } from 'prom-client';
import type { ControlPlane } from '../control.ts';
import type { HealthAnswer } from '../health-answers.ts';
import { answerLiveness, answerMetrics, answerReadiness, answerStartup } from '../health-answers.ts';

export function addHealthRoutes(server: FastifyInstance, control: ControlPlane, metrics: Registry): void {
  server.get(
    '/startup',
    { schema: { tags: ['health'], summary: '200 once rules are compiled and the data port is bound' } },
    async (_request, reply) => send(reply, answerStartup(control)),
  );

  const readinessSchema = {
    tags: ['health'],
    summary: '200 while new clients are welcome; does not ask the database unless check=upstream',
    querystring: { type: 'object', properties: { check: { type: 'string', enum: ['upstream'] } } },
  } as const;
  server.get<{ Querystring: { check?: 'upstream' } }>(
    '/readiness',
    { schema: readinessSchema },
    async (request, reply) => send(reply, await answerReadiness(control, request.query.check !== undefined)),
  );

  server.get(
    '/liveness',
    { schema: { tags: ['health'], summary: '200 while the event loop answers' } },
    async (_request, reply) => send(reply, answerLiveness()),
  );

  server.get(
    '/metrics',
    { schema: { tags: ['health'], summary: 'Metrics in the Prometheus text format' } },
    async (_request, reply) => send(reply, await answerMetrics(metrics)),
  );
}

function send(reply: FastifyReply, { status, type, body }: HealthAnswer): FastifyReply {
  return reply.code(status).header('cache-control', 'no-store').type(type).send(body);
}
