// What the demo's steps stand on: the proxy's address, clients through it, its admin API, and the list of what was
// expected against what was seen.

import pg from 'pg';
import type { TestPostgres } from '../support/postgres.ts';
import type { SpawnedWeir } from '../support/weir.ts';

const STATEMENT_DEADLINE_MS = 15_000;

export interface Finding {
  readonly expectation: string;
  readonly expected: string;
  readonly seen: string;
  readonly isAsExpected: boolean;
}

/** A statement's fate: its rows, or the error as the driver saw it. */
export type Outcome =
  | { readonly type: 'rows'; readonly rows: readonly Record<string, unknown>[]; readonly command: string }
  | { readonly type: 'error'; readonly code: string; readonly message: string; readonly detail: string };

export class Stage {
  readonly postgres: TestPostgres;
  readonly weir: SpawnedWeir;
  readonly findings: Finding[] = [];
  readonly #isColored: boolean;

  constructor(postgres: TestPostgres, weir: SpawnedWeir, isColored: boolean) {
    this.postgres = postgres;
    this.weir = weir;
    this.#isColored = isColored;
  }

  title(text: string): void {
    process.stdout.write(`\n${this.#isColored ? `\u001b[1m${text}\u001b[0m` : text}\n`);
  }

  say(text: string): void {
    process.stdout.write(`${text.replaceAll(/^(?=.)/gm, '   ')}\n`);
  }

  expect(expectation: string, expected: string | number | boolean, seen: string | number | boolean): void {
    this.#note(expectation, String(expected), String(seen), String(expected) === String(seen));
  }

  expectBetween(expectation: string, low: number, high: number, seen: number): void {
    this.#note(expectation, `${low} to ${high}`, String(seen), seen >= low && seen <= high);
  }

  /** A real connection through pgweir. */
  async connect(application: string, user = 'app'): Promise<pg.Client> {
    const client = new pg.Client({
      host: this.weir.host,
      port: this.weir.port,
      user,
      database: this.postgres.database,
      application_name: application,
      connectionTimeoutMillis: STATEMENT_DEADLINE_MS,
      query_timeout: STATEMENT_DEADLINE_MS,
    });
    client.on('error', () => undefined);
    await client.connect();
    return client;
  }

  /** One call of the admin API; rejects when it does not answer with a 2xx. */
  async callAdmin(method: string, path: string, body?: unknown): Promise<string> {
    const response = await fetch(`${this.weir.adminUrl}${path}`, {
      method,
      headers: body === undefined ? {} : { 'content-type': 'application/json' },
      signal: AbortSignal.timeout(STATEMENT_DEADLINE_MS),
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
    return text;
  }

  /** The list of what was expected and what was seen; true when all is as expected. */
  conclude(): boolean {
    this.title('Expected and seen');
    const width = Math.max(...this.findings.map((finding) => finding.expectation.length));
    for (const finding of this.findings) {
      const mark = finding.isAsExpected ? 'ok  ' : 'NOT ';
      const seen = finding.expected === finding.seen ? finding.seen : `${finding.seen} (expected ${finding.expected})`;
      this.say(`${mark}${finding.expectation.padEnd(width)}  ${seen}`);
    }
    const wrong = this.findings.filter((finding) => !finding.isAsExpected).length;
    this.say('');
    this.say(
      wrong === 0 ? `All ${this.findings.length} as expected.` : `${wrong} of ${this.findings.length} not as expected.`,
    );
    return wrong === 0;
  }

  #note(expectation: string, expected: string, seen: string, isAsExpected: boolean): void {
    this.findings.push({ expectation, expected, seen, isAsExpected });
  }
}

/** Runs a statement and tells how it went; never rejects for an error of the server's. */
export async function run(client: pg.Client, sql: string): Promise<Outcome> {
  try {
    const result = await client.query(sql);
    return { type: 'rows', rows: result.rows, command: result.command };
  } catch (error) {
    if (!(error instanceof pg.DatabaseError)) throw error;
    return { type: 'error', code: error.code ?? '', message: error.message, detail: error.detail ?? '' };
  }
}

/** An outcome in a few words. */
export function tell(outcome: Outcome): string {
  if (outcome.type === 'error') return `${outcome.code} ${outcome.message}`;
  const [first] = outcome.rows;
  if (first === undefined) return outcome.command;
  return outcome.rows.length === 1 ? Object.values(first).map(String).join(', ') : `${outcome.rows.length} rows`;
}

export function codeOf(outcome: Outcome): string {
  return outcome.type === 'error' ? outcome.code : 'no error';
}
