// The two HTTP listeners. admin: everything, guarded. health: probes and metrics, for kubelet and Prometheus.

import swagger from '@fastify/swagger';
import type { FastifyInstance } from 'fastify';
import Fastify from 'fastify';
import manifest from '../../package.json' with { type: 'json' };
import type { Log } from '../base/log.ts';
import { silentLog } from '../base/log.ts';
import type { Settings } from '../config/settings.ts';
import type { ControlPlane } from './control.ts';
import { guardAdmin } from './guard.ts';
import { buildMetricsRegistry } from './metrics.ts';
import { answerWithProblems, PROBLEM_SCHEMA } from './problem.ts';
import { addHealthRoutes } from './routes/health.ts';
import { addObservationRoutes } from './routes/observations.ts';
import { addRuleRoutes } from './routes/rules.ts';
import { addSessionRoutes } from './routes/sessions.ts';
import { addShutdownRoute } from './routes/shutdown.ts';
import { addStateRoutes } from './routes/state.ts';

/** A slow or silent HTTP client holds a connection no longer than this. */
const REQUEST_TIMEOUT_MS = 30_000;

/**
 * Not yet listening: the caller gives host and port. Throws Error for a listener off loopback without a token; `settings`
 * that loadSettings made never are one.
 */
export function buildAdminServer(
  control: ControlPlane,
  settings: Pick<Settings, 'admin'>,
  log: Log = silentLog,
  readToken?: () => string | null,
): FastifyInstance {
  const server = createServer(log);
  guardAdmin(server, settings.admin, readToken);
  const metrics = buildMetricsRegistry(control, manifest.version);
  void server.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: { title: 'pgweir admin API', description: manifest.description, version: manifest.version },
      components: { securitySchemes: { token: { type: 'http', scheme: 'bearer' } } },
      security: settings.admin.token === null ? [] : [{ token: [] }],
    },
    refResolver: { buildLocalReference: (json, _base, _fragment, index) => String(json.$id ?? `schema${index}`) },
  });
  void server.register((routes, _options, done) => {
    addRuleRoutes(routes, control);
    addObservationRoutes(routes, control);
    addSessionRoutes(routes, control);
    addStateRoutes(routes, control);
    addShutdownRoute(routes, control);
    addHealthRoutes(routes, control, metrics);
    routes.get('/openapi.json', { schema: { hide: true } }, async () => server.swagger());
    done();
  });
  return server;
}

/** Not yet listening: the caller gives host and port. Only GET and HEAD, nothing that changes anything. */
export function buildHealthServer(control: ControlPlane, log: Log = silentLog): FastifyInstance {
  const server = createServer(log);
  addHealthRoutes(server, control, buildMetricsRegistry(control, manifest.version));
  return server;
}

function createServer(log: Log): FastifyInstance {
  const server = Fastify({
    logger: false,
    requestTimeout: REQUEST_TIMEOUT_MS,
    connectionTimeout: REQUEST_TIMEOUT_MS,
    forceCloseConnections: true,
    ajv: { customOptions: { removeAdditional: false, coerceTypes: true, allErrors: false, allowUnionTypes: true } },
  });
  server.addSchema(PROBLEM_SCHEMA);
  answerWithProblems(server, log);
  return server;
}
