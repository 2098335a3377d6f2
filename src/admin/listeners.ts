// The two HTTP listeners as the process has them. Health is plain HTTP, so that the first probe need not wait for anything
// else; the admin API's framework (and the metrics') is loaded when someone first asks for it: most sidecars are never asked,
// and it is a third of the start and a tenth of the memory.

import type { ServerResponse } from 'node:http';
import type { Registry } from 'prom-client';
import { describeError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import type { Settings } from '../config/settings.ts';
import type { ControlPlane } from './control.ts';
import type { HealthAnswer } from './health-answers.ts';
import { answerLiveness, answerMetrics, answerReadiness, answerStartup } from './health-answers.ts';
import { type HttpDoor, openDoor } from './http-door.ts';

const PLAIN_TEXT = 'text/plain; charset=utf-8';

/** Only GET and HEAD, and nothing that changes anything. */
export function openHealthListener(control: ControlPlane, log: Log): HttpDoor {
  let metrics: Promise<Registry> | null = null;
  const loadMetrics = async (): Promise<Registry> => {
    const { buildMetrics } = await import('./server.ts');
    return buildMetrics(control);
  };
  const answer = async (url: URL): Promise<HealthAnswer | null> => {
    switch (url.pathname) {
      case '/startup':
        return answerStartup(control);
      case '/readiness':
        return await answerReadiness(control, url.searchParams.get('check') === 'upstream');
      case '/liveness':
        return answerLiveness();
      case '/metrics':
        metrics ??= loadMetrics().catch((error: unknown) => {
          // It may go well the next time: no file could be opened just now.
          metrics = null;
          throw error;
        });
        return await answerMetrics(await metrics);
      default:
        return null;
    }
  };
  return openDoor((request, response) => {
    // The rest of a request that has a body is not waited for.
    request.resume();
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      response.setHeader('allow', 'GET, HEAD');
      send(response, 405, PLAIN_TEXT, 'there is only GET and HEAD here\n');
      return;
    }
    const url = URL.parse(request.url ?? '/', 'http://health');
    const answering = url === null ? Promise.resolve(null) : answer(url);
    answering.then(
      (found) => {
        if (found === null) send(response, 404, PLAIN_TEXT, 'there is no such thing here\n');
        else send(response, found.status, found.type, found.body);
      },
      (error: unknown) => {
        log.error({ path: url?.pathname, error: describeError(error) }, 'health request failed');
        send(response, 500, PLAIN_TEXT, 'see the log of pgweir\n');
      },
    );
  });
}

/** Everything, guarded. `readToken` is asked at each request. */
export function openAdminListener(
  control: ControlPlane,
  settings: Pick<Settings, 'admin'>,
  log: Log,
  readToken: () => string | null,
): HttpDoor {
  const load = async () => {
    const { buildAdminServer } = await import('./server.ts');
    const server = buildAdminServer(control, settings, log, readToken);
    await server.ready();
    return server;
  };
  let loading: ReturnType<typeof load> | null = null;
  const door = openDoor((request, response) => {
    loading ??= load();
    loading.then(
      (server) => server.routing(request, response),
      (error: unknown) => {
        loading = null;
        log.error({ error: describeError(error) }, 'the admin API cannot be built');
        send(response, 500, PLAIN_TEXT, 'see the log of pgweir\n');
      },
    );
  });
  return {
    listen: (address) => door.listen(address),
    close: async () => {
      await door.close();
      await loading?.then((server) => server.close());
    },
  };
}

function send(response: ServerResponse, status: number, type: string, body: string): void {
  response
    .writeHead(status, { 'content-type': type, 'content-length': Buffer.byteLength(body), 'cache-control': 'no-store' })
    .end(body);
}
