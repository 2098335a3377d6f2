// What a path allows: 405 with Allow for another method (RFC 9110, 15.5.6), and no query where a route knows none.

import type { FastifyInstance, RouteOptions } from 'fastify';

const NO_QUERY = { type: 'object', additionalProperties: false, properties: {} } as const;

export class AllowedMethods {
  readonly #patterns = new Map<string, { readonly pattern: URLPattern; readonly methods: Set<string> }>();

  /** Of the routes that are added to `server` from now on. */
  constructor(server: FastifyInstance) {
    server.addHook('onRoute', (route) => this.#note(route));
  }

  /** The methods that a path has, for Allow; empty where there is no such path. */
  list(pathname: string): string {
    const found = new Set<string>();
    for (const { pattern, methods } of this.#patterns.values())
      if (pattern.test({ pathname })) for (const method of methods) found.add(method);
    return [...found].sort().join(', ');
  }

  #note({ url, method }: RouteOptions): void {
    const known = this.#patterns.get(url) ?? { pattern: new URLPattern({ pathname: url }), methods: new Set() };
    for (const one of [method].flat()) known.methods.add(one);
    this.#patterns.set(url, known);
  }
}

/** Of the routes added to `server` from now on: a query key that a route does not know is a mistake, also where it knows none. */
export function refuseUnknownQueries(server: FastifyInstance): void {
  server.addHook('onRoute', (route) => {
    route.schema = { querystring: NO_QUERY, ...route.schema };
  });
}
