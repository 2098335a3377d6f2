// POST /quitquitquit, by the name that the Cloud SQL proxy and Envoy have for it: an end without a signal, for a job's main
// container that cannot signal its neighbour. Only on the admin listener.

import type { FastifyInstance } from 'fastify';
import type { ControlPlane } from '../control.ts';

export function addShutdownRoute(server: FastifyInstance, control: ControlPlane): void {
  const schema = {
    tags: ['state'],
    summary: 'Stop as on SIGTERM: drain, then end with 0',
    response: { 200: { type: 'object', properties: { lifecycle: { type: 'string' } } }, '4xx': { $ref: 'Problem#' } },
  } as const;
  server.post('/quitquitquit', { schema }, async (_request, reply) => {
    // When the answer has gone out: the end of an idle pgweir would overtake it.
    reply.raw.once('close', () => control.requestStop());
    return { lifecycle: 'draining' };
  });
}
