// The pools of pool.mode transaction: their ledger, and what an operator can tell them. In mode session there are none.

import type { FastifyInstance } from 'fastify';
import type { ControlPlane, PoolFilter, PoolSummary } from '../control.ts';
import { describePool, formatPoolsText, reportPools } from '../pool-report.ts';
import { HttpProblem } from '../problem.ts';

/** Below the time after which the listener takes a silent request for dead. */
const MAX_WAIT_MS = 25_000;
const DEFAULT_WAIT_MS = 10_000;

const PROBLEMS = { '4xx': { $ref: 'Problem#' } } as const;

const COUNTS = {
  connections: {
    description:
      'Server connections by state. active: runs something, is inside a transaction, or is made ready for its next client. reclaimable: kept for its client until somebody else needs it. pinned: kept until its client has given up what pins it.',
    type: 'object',
    properties: {
      idle: { type: 'integer' },
      active: { type: 'integer' },
      reclaimable: { type: 'integer' },
      pinned: { type: 'integer' },
      opening: { type: 'integer' },
    },
  },
  waiting: { description: 'Clients that wait for a server connection.', type: 'integer' },
  acquires: { description: 'Always releases plus held.', type: 'integer' },
  releases: { type: 'integer' },
  held: { description: 'Server connections that clients hold now.', type: 'integer' },
  handovers: { description: 'Times that a connection was given the settings of its next client.', type: 'integer' },
  settlements: { description: 'Times that a connection was asked what its client left behind.', type: 'integer' },
  opened: { type: 'integer' },
  closed: { type: 'integer' },
  wait_timeouts: { type: 'integer' },
  statements: {
    description: 'Run on a connection that was free for others afterwards, and on a pinned one.',
    type: 'object',
    properties: {
      shared: { type: 'integer' },
      pinned: { type: 'integer' },
      shared_share: { description: 'Of all; null where nothing has run.', type: ['number', 'null'] },
    },
  },
  pins: {
    description: 'What keeps connections with their clients.',
    type: 'array',
    items: {
      type: 'object',
      properties: {
        reason: { type: 'string' },
        current: { type: 'integer' },
        total: { type: 'integer' },
        held_seconds: { type: 'number' },
      },
    },
  },
} as const;

const POOL = {
  type: 'object',
  properties: {
    target: { type: 'string' },
    database: { type: 'string' },
    user: { type: 'string' },
    is_paused: { type: 'boolean' },
    limit: { description: 'Connections at most, the reserve not counted.', type: 'integer' },
    longest_wait_seconds: { description: 'Of the clients that wait now.', type: 'number' },
    last_error: { type: ['string', 'null'] },
    ...COUNTS,
  },
} as const;

const NAMES = {
  database: { description: 'Only this database; left out: all.', type: 'string', minLength: 1, maxLength: 63 },
  user: { description: 'Only this user; left out: all.', type: 'string', minLength: 1, maxLength: 63 },
} as const;

interface ListQuery extends PoolFilter {
  readonly target?: string;
  readonly format?: 'json' | 'text';
}

interface PauseQuery extends PoolFilter {
  readonly wait_ms: number;
}

export function addPoolRoutes(server: FastifyInstance, control: ControlPlane): void {
  const listSchema = {
    tags: ['pools'],
    summary: 'The pools: connections by state, who waits, what is pinned and why, and the ledger of leases',
    querystring: {
      type: 'object',
      additionalProperties: false,
      properties: {
        ...NAMES,
        target: { type: 'string' },
        format: { description: 'Default: by Accept, else JSON.', type: 'string', enum: ['json', 'text'] },
      },
    },
    response: {
      200: {
        type: 'object',
        properties: {
          mode: { type: 'string', enum: ['session', 'transaction'] },
          totals: { type: 'object', properties: COUNTS },
          pools: { type: 'array', items: POOL },
        },
      },
      ...PROBLEMS,
    },
  } as const;
  server.get<{ Querystring: ListQuery }>('/pools', { schema: listSchema }, async (request, reply) => {
    const { target, format, ...filter } = request.query;
    const pools = listPools(control, filter).filter((pool) => target === undefined || pool.target === target);
    const isText = format === undefined ? request.headers.accept?.includes('text/plain') === true : format === 'text';
    if (!isText) return reportPools(control.poolMode, pools);
    // Past the serializer of the schema, which is one of JSON.
    return reply.type('text/plain; charset=utf-8').serializer(String).send(formatPoolsText(control.poolMode, pools));
  });
  addPauseRoute(server, control);
  addOrderRoute(server, control, 'resume', 'Let paused pools go on', (filter) => control.resumePools(filter));
  addOrderRoute(
    server,
    control,
    'reconnect',
    'Close the server connections of now, each when it is next free, as after a failover or a change of a role',
    (filter) => control.reconnectPools(filter),
  );
}

function addPauseRoute(server: FastifyInstance, control: ControlPlane): void {
  const outcome = {
    type: 'object',
    properties: {
      is_at_rest: { description: 'No server connection of these pools is in use.', type: 'boolean' },
      pools: { type: 'array', items: POOL },
    },
  } as const;
  const schema = {
    tags: ['pools'],
    summary: 'Give out no server connections until POST /pools/resume; clients wait',
    description:
      '200 when no server connection is in use any more; 202 when one still is after wait_ms, and the pause goes on.',
    querystring: {
      type: 'object',
      additionalProperties: false,
      properties: {
        ...NAMES,
        wait_ms: {
          description: 'How long to wait for the connections that are in use.',
          type: 'integer',
          minimum: 0,
          maximum: MAX_WAIT_MS,
          default: DEFAULT_WAIT_MS,
        },
      },
    },
    response: { 200: outcome, 202: outcome, ...PROBLEMS },
  } as const;
  server.post<{ Querystring: PauseQuery }>('/pools/pause', { schema }, async (request, reply) => {
    refuseInSessionMode(control, 'pause');
    const { wait_ms: waitMs, ...filter } = request.query;
    const isAtRest = await isDoneWithin(control.pausePools(filter), waitMs);
    const pools = listPools(control, filter).map(describePool);
    return reply.code(isAtRest ? 200 : 202).send({ is_at_rest: isAtRest, pools });
  });
}

function addOrderRoute(
  server: FastifyInstance,
  control: ControlPlane,
  order: 'resume' | 'reconnect',
  summary: string,
  give: (filter: PoolFilter) => void,
): void {
  const schema = {
    tags: ['pools'],
    summary,
    querystring: { type: 'object', additionalProperties: false, properties: NAMES },
    response: { 200: { type: 'object', properties: { pools: { type: 'array', items: POOL } } }, ...PROBLEMS },
  } as const;
  server.post<{ Querystring: PoolFilter }>(`/pools/${order}`, { schema }, async (request) => {
    refuseInSessionMode(control, order);
    give(request.query);
    return { pools: listPools(control, request.query).map(describePool) };
  });
}

function refuseInSessionMode(control: ControlPlane, order: string): void {
  if (control.poolMode === 'transaction') return;
  throw new HttpProblem(
    409,
    `pool.mode is session: each client has a server connection of its own, there is no pool to ${order}`,
  );
}

function listPools(control: ControlPlane, { database, user }: PoolFilter): PoolSummary[] {
  return control
    .pools()
    .filter(
      (pool) => (database === undefined || pool.database === database) && (user === undefined || pool.user === user),
    );
}

/** Rejects as `work` does, where that is in time; a failure after it is nobody's any more. */
async function isDoneWithin(work: Promise<void>, deadlineMs: number): Promise<boolean> {
  const late = Promise.withResolvers<false>();
  const timer = setTimeout(() => late.resolve(false), deadlineMs);
  try {
    return await Promise.race([work.then(() => true), late.promise]);
  } finally {
    clearTimeout(timer);
  }
}
