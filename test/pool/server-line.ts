// A server connection of pgweir's own for tests: logged in, at rest, and asked by `inquire` as the pool asks.

import { serialize } from 'pg-protocol';
import { NO_SECRET } from '../../src/auth/verifier.ts';
import { Inlet } from '../../src/base/inlet.ts';
import { PLAIN_TRANSPORT } from '../../src/base/transport.ts';
import { BackendMessages } from '../../src/pool/backend-messages.ts';
import { makeHandover } from '../../src/pool/handover.ts';
import { type Inquiry, type InquiryLine, inquire } from '../../src/pool/inquiry.ts';
import { logIn } from '../../src/pool/login.ts';
import { Lease, openSocket } from '../../src/pool/server-connection.ts';
import { makeSettlementQuery, readSettlement, type Settlement } from '../../src/pool/settlement.ts';
import { type Belongings, NO_BELONGINGS } from '../../src/session/belongings.ts';
import { TRACE } from '../../src/sql/traces.ts';
import { BACKEND } from '../../src/wire/codes.ts';
import { makeQuery } from '../../src/wire/writer.ts';
import { withDeadline } from '../support/deadline.ts';

export interface LineOptions {
  readonly user?: string;
  readonly database?: string;
  /** More of the startup packet. */
  readonly parameters?: Readonly<Record<string, string>>;
}

export interface SettleOptions {
  readonly traces?: number;
  readonly customNames?: readonly string[];
  readonly previous?: Belongings;
}

export class ServerLine {
  readonly line: InquiryLine;

  constructor(line: InquiryLine) {
    this.line = line;
  }

  /** One Query whatever becomes of it. */
  ask(sql: string): Promise<Inquiry> {
    return inquire(this.line, sql, 10_000);
  }

  /** One Query that must succeed; its rows. */
  async run(sql: string): Promise<Inquiry['rows']> {
    const { rows, sqlstate, message } = await this.ask(sql);
    if (sqlstate !== null) throw new Error(`${sqlstate} ${message}: ${sql}`);
    return rows;
  }

  /** One Query within a transaction that goes on, whatever the server says to it; the status after it. */
  step(sql: string): Promise<number> {
    const { socket, inlet } = this.line;
    const messages = new BackendMessages();
    return withDeadline(
      new Promise((resolve) => {
        inlet.receive = (buffer, length) => {
          const taken = messages.take(Buffer.from(buffer.subarray(0, length)));
          const ready = taken.find(([type]) => type === BACKEND.readyForQuery);
          if (ready !== undefined) resolve(ready[5] ?? 0);
        };
        socket.write(makeQuery(sql));
        socket.resume();
      }),
      10_000,
      () => `no answer to ${sql}`,
    );
  }

  /** The first column of the first row. */
  async value(sql: string): Promise<string | null> {
    return (await this.run(sql))[0]?.[0] ?? null;
  }

  async settle({
    traces = TRACE.hidden,
    customNames = [],
    previous = NO_BELONGINGS,
  }: SettleOptions = {}): Promise<Settlement> {
    const rows = await this.run(makeSettlementQuery(traces, customNames, previous));
    return readSettlement(rows, traces, previous);
  }

  async takeOver(from: Belongings, to: Belongings): Promise<void> {
    const handover = makeHandover(from, to);
    if (handover !== null) await this.run(handover);
  }

  /** All that pg_settings shows but what is each transaction's own, and what it leaves out. */
  async view(customNames: readonly string[] = []): Promise<string> {
    const settings = await this.run(
      `SELECT name, setting, reset_val FROM pg_catalog.pg_settings
        WHERE name NOT IN ('transaction_isolation', 'transaction_read_only', 'transaction_deferrable', 'application_name')
        ORDER BY name`,
    );
    const rest = await this.run(
      `SELECT current_user, session_user, current_setting('role'), ${customNames
        .map((name) => `current_setting('${name}', true)`)
        .concat('1')
        .join(', ')}`,
    );
    return [...settings, ...rest].map((row) => JSON.stringify(row)).join('\n');
  }

  close(): void {
    this.line.socket.destroy();
  }
}

export async function openLine(port: number, options: LineOptions = {}): Promise<ServerLine> {
  const { user = 'weir', database = 'weir', parameters = {} } = options;
  const endpoint = { name: 'primary', host: '127.0.0.1', port };
  const inlet = new Inlet();
  const socket = await openSocket(endpoint, 5_000, inlet);
  const lease = new Lease(socket, inlet, endpoint, PLAIN_TRANSPORT, () => undefined);
  await logIn(lease, {
    startup: serialize.startup({ user, database, ...parameters }),
    user,
    secret: NO_SECRET,
    timeoutMs: 5_000,
    signal: new AbortController().signal,
  });
  return new ServerLine({ socket, inlet });
}
