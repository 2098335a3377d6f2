// Applications that keep a Service busy: each runs transactions one after another on one connection, and when that is ended
// between two of them connects again, to any pod that is ready. What must not happen is counted by name.

import pg from 'pg';

export interface BusyOptions {
  readonly clients: number;
  readonly database: string;
  readonly user: string;
  readonly port: number;
  /** Address of a ready pod, as a Service would choose one. */
  choose(): string;
  /** True ends every client after its transaction. */
  isOver(): boolean;
}

export interface BusyTally {
  committed: number;
  /** Connections made again after their pod had ended them between transactions: the orderly way. */
  reconnected: number;
  /** Transactions that had begun and were not brought to their end. */
  cut: string[];
  /** Connections that could not be made. */
  refused: string[];
}

export const BUSY_TABLE = 'CREATE TABLE busy (client int, serial int, PRIMARY KEY (client, serial))';

export async function keepBusy(options: BusyOptions): Promise<BusyTally> {
  const tally: BusyTally = { committed: 0, reconnected: 0, cut: [], refused: [] };
  await Promise.all(Array.from({ length: options.clients }, (_, index) => runClient(index, options, tally)));
  return tally;
}

async function runClient(index: number, options: BusyOptions, tally: BusyTally): Promise<void> {
  let serial = 0;
  let isFirst = true;
  while (!options.isOver()) {
    const address = options.choose();
    const client = new pg.Client({
      host: address,
      port: options.port,
      user: options.user,
      database: options.database,
      connectionTimeoutMillis: 20_000,
      application_name: `busy ${index}`,
    });
    let isEnded = false;
    client.on('error', () => {
      isEnded = true;
    });
    client.on('end', () => {
      isEnded = true;
    });
    try {
      await client.connect();
    } catch (error) {
      tally.refused.push(`${address}: ${describe(error)}`);
      continue;
    }
    if (!isFirst) tally.reconnected++;
    isFirst = false;
    while (!isEnded && !options.isOver()) {
      try {
        await client.query('BEGIN');
      } catch (error) {
        // Nothing had begun: the end of the session and the BEGIN have passed each other on the way.
        if (!isOrderly(error)) tally.cut.push(`BEGIN: ${describe(error)}`);
        break;
      }
      try {
        serial += 1;
        await client.query('INSERT INTO busy VALUES ($1, $2)', [index, serial]);
        await client.query('SELECT pg_sleep($1)', [0.02 + Math.random() * 0.2]);
        await client.query('COMMIT');
        tally.committed++;
      } catch (error) {
        tally.cut.push(describe(error));
        break;
      }
    }
    await client.end().catch(() => undefined);
  }
}

function isOrderly(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  if ('code' in error && error.code === '57P01') return true;
  return /Connection terminated|not queryable|ECONNRESET|EPIPE/.test(error.message);
}

function describe(error: unknown): string {
  return error instanceof Error ? `${'code' in error ? `${error.code} ` : ''}${error.message}` : String(error);
}
