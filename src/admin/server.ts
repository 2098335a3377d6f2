// The admin API: everything, guarded. Loaded when it is first asked for (see listeners.ts).

import swagger from '@fastify/swagger';
import type { FastifyInstance } from 'fastify';
import Fastify from 'fastify';
import type { Registry } from 'prom-client';
import manifest from '../../package.json' with { type: 'json' };
import type { Log } from '../base/log.ts';
import { silentLog } from '../base/log.ts';
import type { Settings } from '../config/settings.ts';
import { AllowedMethods, refuseUnknownQueries } from './allowed.ts';
import type { ControlPlane } from './control.ts';
import { guardAdmin } from './guard.ts';
import { REQUEST_TIMEOUT_MS } from './http-door.ts';
import { buildMetricsRegistry } from './metrics.ts';
import { answerBadUrl, answerWithProblems, PROBLEM_SCHEMA } from './problem.ts';
import { addHealthRoutes } from './routes/health.ts';
import { addObservationRoutes } from './routes/observations.ts';
import { addPoolRoutes } from './routes/pools.ts';
import { addRuleRoutes } from './routes/rules.ts';
import { addSessionRoutes } from './routes/sessions.ts';
import { addShutdownRoute } from './routes/shutdown.ts';
import { addStateRoutes } from './routes/state.ts';

/** A rule's name has up to 128 characters, each of which can come as %2F. */
const MAX_NAME_IN_PATH = 3 * 128;

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
    addHealthRoutes(routes, control, metrics);
    refuseUnknownQueries(routes);
    addRuleRoutes(routes, control);
    addObservationRoutes(routes, control);
    addSessionRoutes(routes, control);
    addPoolRoutes(routes, control);
    addStateRoutes(routes, control);
    addShutdownRoute(routes, control);
    routes.get('/openapi.json', { schema: { hide: true } }, async () => server.swagger());
    done();
  });
  return server;
}

/** Of the health listener: a registry of its own, with the default metrics of the process. */
export function buildMetrics(control: ControlPlane): Registry {
  return buildMetricsRegistry(control, manifest.version);
}

function createServer(log: Log): FastifyInstance {
  const server = Fastify({
    logger: false,
    requestTimeout: REQUEST_TIMEOUT_MS,
    connectionTimeout: REQUEST_TIMEOUT_MS,
    forceCloseConnections: true,
    routerOptions: { maxParamLength: MAX_NAME_IN_PATH },
    ajv: {
      customOptions: {
        removeAdditional: false,
        coerceTypes: true,
        allErrors: false,
        allowUnionTypes: true,
        verbose: true,
      },
    },
    frameworkErrors: answerBadUrl,
  });
  server.addSchema(PROBLEM_SCHEMA);
  answerWithProblems(server, new AllowedMethods(server), log);
  return server;
}
