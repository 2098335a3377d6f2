// What a session looks like from outside, made when somebody asks: nothing of it is kept on the road of a statement.

import { processIdOf } from '../../wire/backend.ts';
import { TRANSACTION } from '../../wire/codes.ts';
import type { Connection } from '../connection.ts';
import { GATE } from '../gate.ts';
import type { SessionSummary } from '../summary.ts';

export function describeSession(connection: Connection, nowWallMs: number, nowMs: number): SessionSummary {
  const { session, lastRun } = connection;
  const { subject } = session;
  const lease = connection.hasServer ? connection.active.lease : null;
  const shape = lastRun?.verdict?.shapes[0] ?? null;
  return {
    id: session.id,
    user: subject.user,
    database: subject.database,
    applicationName: subject.applicationName,
    clientIp: subject.clientIp,
    clientPort: session.clientPort,
    connectedAtMs: session.connectedAtMs,
    state: nameState(connection),
    stateSinceMs: connection.stateSinceMs(nowWallMs, nowMs),
    target: lease?.endpoint.name ?? '',
    serverPid: lease?.key ? processIdOf(lease.key) : null,
    holds: connection.router.listHolds(),
    statement: shape?.normalized ?? null,
    fingerprint: shape?.fingerprint ?? null,
  };
}

function nameState(connection: Connection): string {
  const { session } = connection;
  if (session.phase === 'startup' || session.phase === 'login') return 'login';
  if (session.phase === 'closing') return 'closing';
  if (connection.gate.has(GATE.limit) || connection.router.isWaiting) return 'waiting';
  if (!session.isQuiet) return 'active';
  if (session.status === TRANSACTION.failed) return 'failed_transaction';
  return session.status === TRANSACTION.open ? 'idle_in_transaction' : 'idle';
}
