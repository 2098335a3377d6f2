// Asks the primary for a user's verifier, on connections of pgweir's own: a fixed user, database and search_path, the
// name as a parameter. Nothing that a client sends reaches them but that name (CVE-2025-12819).

import { serialize } from 'pg-protocol';
import { DataRowMessage } from 'pg-protocol/dist/messages.js';
import { Parser } from 'pg-protocol/dist/parser.js';
import type { LoginSecret } from '../auth/verifier.ts';
import { describeError, WeirError } from '../base/errors.ts';
import type { AuthQuery, Endpoint } from '../config/settings.ts';
import { readErrorField } from '../wire/backend.ts';
import { BACKEND } from '../wire/codes.ts';
import { BackendMessages } from './backend-messages.ts';
import { LoginRefused } from './login.ts';
import type { SessionPool } from './pool.ts';
import type { Lease } from './server-connection.ts';

export interface AuthQueryRequest {
  readonly pool: SessionPool;
  readonly endpoint: Endpoint;
  readonly query: AuthQuery;
  /** For query.user. */
  readonly secret: LoginSecret;
  readonly timeoutMs: number;
}

/**
 * The last column of the query's first row: a verifier, or null where there is no row or it is NULL. Throws WeirError:
 * target_unreachable, or auth_query_failed with the reason, which holds no secret.
 */
export async function askForVerifier(request: AuthQueryRequest, user: string): Promise<string | null> {
  const { pool, endpoint, query, secret, timeoutMs } = request;
  const deadline = AbortSignal.timeout(timeoutMs);
  const startup = serialize.startup({
    user: query.user,
    database: query.database,
    application_name: 'pgweir auth_query',
    options: '-c search_path=pg_catalog -c statement_timeout=0 -c default_transaction_read_only=on',
  });
  let lease: Lease;
  try {
    ({ lease } = await pool.acquire(endpoint, { startup, user: query.user, secret, timeoutMs, signal: deadline }));
  } catch (error) {
    if (error instanceof WeirError && error.code === 'target_unreachable') throw error;
    const reason = error instanceof LoginRefused ? `${error.sqlstate} ${error.message}` : describeError(error);
    throw new WeirError('auth_query_failed', `login as ${query.user}: ${reason}`);
  }
  try {
    return await runQuery(lease, query.text, user, deadline);
  } finally {
    lease.release();
  }
}

function runQuery(lease: Lease, text: string, user: string, deadline: AbortSignal): Promise<string | null> {
  const { socket, inlet } = lease;
  return new Promise((resolve, reject) => {
    const messages = new BackendMessages();
    const parser = new Parser();
    let verifier: string | null = null;
    let hasRow = false;
    const finish = (act: () => void): void => {
      inlet.receive = () => undefined;
      socket.off('close', onClose);
      deadline.removeEventListener('abort', onTimeout);
      act();
    };
    const fail = (reason: string): void => finish(() => reject(new WeirError('auth_query_failed', reason)));
    const onClose = (): void => fail('the database closed the connection');
    const onTimeout = (): void => fail('timeout');
    const take = (message: Buffer): void => {
      if (message[0] === BACKEND.error) {
        const [sqlstate, words] = ['C', 'M'].map((field) => readErrorField(message, 0, message.length, field));
        fail(`${sqlstate} ${words}`);
      } else if (message[0] === BACKEND.readyForQuery) {
        finish(() => resolve(verifier));
      } else if (message[0] === BACKEND.dataRow && !hasRow) {
        hasRow = true;
        parser.parse(message, (row) => {
          if (row instanceof DataRowMessage) verifier = (row.fields as (string | null)[]).at(-1) ?? null;
        });
      }
    };
    inlet.receive = (buffer, length) => {
      try {
        for (const message of messages.take(Buffer.from(buffer.subarray(0, length)))) take(message);
      } catch (error) {
        fail(describeError(error));
      }
    };
    socket.on('close', onClose);
    deadline.addEventListener('abort', onTimeout);
    socket.write(
      Buffer.concat([
        serialize.parse({ text }),
        serialize.bind({ values: [user] }),
        serialize.execute({ rows: 1 }),
        serialize.sync(),
      ]),
    );
    socket.resume();
  });
}
