// Probes and metrics, as kubelet and Prometheus ask for them. Read-only: served on the health listener and on admin.

import type { FastifyInstance, FastifyReply } from 'fastify';
import type { Registry } from 'prom-client';
import type { ControlPlane } from '../control.ts';

/** A check of the database that takes longer is a failed one. */
const UPSTREAM_DEADLINE_MS = 5000;

export function addHealthRoutes(server: FastifyInstance, control: ControlPlane, metrics: Registry): void {
  server.get(
    '/startup',
    { schema: { tags: ['health'], summary: '200 once rules are compiled and the data port is bound' } },
    async (_request, reply) => answer(reply, control.lifecycle() !== 'starting', control.lifecycle()),
  );

  const readinessSchema = {
    tags: ['health'],
    summary: '200 while new clients are welcome; does not ask the database unless check=upstream',
    querystring: { type: 'object', properties: { check: { type: 'string', enum: ['upstream'] } } },
  } as const;
  server.get<{ Querystring: { check?: 'upstream' } }>(
    '/readiness',
    { schema: readinessSchema },
    async (request, reply) => {
      const lifecycle = control.lifecycle();
      if (lifecycle !== 'ready' || request.query.check === undefined)
        return answer(reply, lifecycle === 'ready', lifecycle);
      const complaint = await askUpstream(control);
      return answer(reply, complaint === null, complaint ?? 'ready, and the primary answers');
    },
  );

  server.get(
    '/liveness',
    { schema: { tags: ['health'], summary: '200 while the event loop answers' } },
    async (_request, reply) => answer(reply, true, 'alive'),
  );

  server.get(
    '/metrics',
    { schema: { tags: ['health'], summary: 'Metrics in the Prometheus text format' } },
    async (_request, reply) => {
      const text = await metrics.metrics();
      return reply.type(metrics.contentType).send(text);
    },
  );
}

function answer(reply: FastifyReply, isGood: boolean, words: string): FastifyReply {
  void reply.header('cache-control', 'no-store');
  return reply
    .code(isGood ? 200 : 503)
    .type('text/plain; charset=utf-8')
    .send(`${words}\n`);
}

/** Null when the primary answers, otherwise why not. */
async function askUpstream(control: ControlPlane): Promise<string | null> {
  let timer: NodeJS.Timeout | undefined;
  const deadline = new Promise<string>((resolve) => {
    timer = setTimeout(
      () => resolve(`the primary has not answered in ${UPSTREAM_DEADLINE_MS} ms`),
      UPSTREAM_DEADLINE_MS,
    );
  });
  try {
    return await Promise.race([control.checkUpstream(), deadline]);
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  } finally {
    clearTimeout(timer);
  }
}
