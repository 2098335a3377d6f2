// The server pair that global-postgres.ts started for the run, as a test file sees it.

import pg from 'pg';
import { inject } from 'vitest';
import type { QueryRows } from './postgres.ts';

/** Plain data: it crosses from vitest's main process to its workers. */
export interface SharedPostgresAddress {
  readonly host: string;
  readonly primaryPort: number;
  readonly standbyPort: number;
  /** Both servers have their Unix sockets here; the port tells them apart. */
  readonly socketDirectory: string;
  readonly user: string;
  readonly database: string;
  readonly version: string;
}

declare module 'vitest' {
  interface ProvidedContext {
    postgres: SharedPostgresAddress;
  }
}

export interface SharedPostgres extends SharedPostgresAddress {
  /** One statement by the superuser on the primary, past pgweir, with a deadline of 10 s. */
  query(sql: string, values?: readonly unknown[]): Promise<QueryRows>;
}

export function sharedPostgres(): SharedPostgres {
  const address = inject('postgres');
  return {
    ...address,
    async query(sql, values = []) {
      const client = new pg.Client({
        host: address.host,
        port: address.primaryPort,
        user: address.user,
        database: address.database,
        connectionTimeoutMillis: 10_000,
        query_timeout: 10_000,
        application_name: 'test support',
      });
      client.on('error', () => undefined);
      await client.connect();
      try {
        const result = await client.query(sql, [...values]);
        return { rows: result.rows ?? [], rowCount: result.rowCount };
      } finally {
        await client.end();
      }
    },
  };
}
