// Who may speak to the admin API: the holder of the bearer token; without a token only this machine, and no web page.

import { createHash, timingSafeEqual } from 'node:crypto';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { isLoopbackHost } from '../config/contradictions.ts';
import type { Settings } from '../config/settings.ts';
import { HttpProblem } from './problem.ts';

/**
 * Checks each request before its body is read. Throws Error at once where `host` is not loopback and there is no token:
 * such a listener must not exist. `readToken` is asked at each request, because a token's file can change.
 */
export function guardAdmin(
  server: FastifyInstance,
  admin: Settings['admin'],
  readToken: () => string | null = () => admin.token,
): void {
  const isLoopback = isLoopbackHost(admin.host);
  if (!isLoopback && admin.token === null) {
    throw new Error(`the admin listener on ${admin.host} is not loopback and has no token`);
  }
  server.addHook('onRequest', async (request, reply) => {
    refuseWebPages(request);
    if (isLoopback) refuseForeignHost(request, admin.host);
    const token = readToken();
    if (token !== null && !holdsToken(request, token)) {
      void reply.header('www-authenticate', 'Bearer realm="pgweir"');
      throw new HttpProblem(401, 'the request needs the header "Authorization: Bearer <admin token>"');
    }
  });
}

/** A page of another origin must not drive the API through its reader's browser (Fetch standard, Origin header). */
function refuseWebPages(request: FastifyRequest): void {
  const { origin, host } = request.headers;
  const site = request.headers['sec-fetch-site'];
  const isForeignOrigin = origin !== undefined && origin !== `http://${host}` && origin !== `https://${host}`;
  const isForeignSite = site !== undefined && site !== 'same-origin' && site !== 'none';
  if (isForeignOrigin || isForeignSite)
    throw new HttpProblem(403, 'requests from web pages of another origin are refused');
}

/** A name that was rebound to 127.0.0.1 passes for the same origin in a browser, but still stands in Host. */
function refuseForeignHost(request: FastifyRequest, ownHost: string): void {
  const name = stripPort(request.headers.host ?? '');
  if (!isLoopbackHost(name) && name !== ownHost.toLowerCase()) {
    throw new HttpProblem(403, 'the Host header names neither this machine nor the configured admin host');
  }
}

function stripPort(host: string): string {
  return host.replace(/:\d*$/, '').toLowerCase();
}

/** Constant time: digests of equal length are compared, so neither content nor length of the token shows. */
function holdsToken(request: FastifyRequest, token: string): boolean {
  const given = /^Bearer +(\S+)$/i.exec(request.headers.authorization ?? '')?.[1] ?? '';
  return timingSafeEqual(digest(given), digest(token));
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
