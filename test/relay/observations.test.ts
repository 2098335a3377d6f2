// What the observation matrix says after a known workload over real sockets, in each of its formats: exactly what was sent,
// no more and no less. And with more distinct cells than there is room for: exact totals, and the rest in `other`.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fingerprint, loadModule } from 'libpg-query';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import * as frontend from '../support/frontend-messages.ts';
import { sharedPostgres } from '../support/shared-postgres.ts';
import { startTestWeir, type TestWeir } from '../support/weir.ts';
import { WireClient } from '../support/wire-client.ts';

const RULES = `
traffic_control:
  rules:
    - { name: from_dual, mode: observe, match: { query_regex: '(?i)from\\s+dual' }, action: deny }
    - { name: writes, mode: observe, match: { query_class: write }, action: deny }
    - { name: unbounded, priority: 1000, match: { missing_where: true }, action: deny }
    - { name: noted, match: { statement: select }, action: observe }
`;
const OTHER_DATABASE = 'observed_too';
const APPLICATIONS = ['reports', 'erp, "old"', '=cmd()'] as const;

interface Statement {
  /** `n` is another literal each time: the same shape. */
  sql(n: number): string;
  readonly rules: readonly string[];
  readonly isRefused: boolean;
}

const STATEMENTS: readonly Statement[] = [
  { sql: (n) => `SELECT ${n} FROM dual`, rules: ['from_dual', 'noted'], isRefused: false },
  { sql: (n) => `SELECT a /* ${n} */ FROM dual WHERE a = ${n}`, rules: ['from_dual', 'noted'], isRefused: false },
  { sql: (n) => `INSERT INTO notes VALUES (${n})`, rules: ['writes'], isRefused: false },
  { sql: (n) => `UPDATE notes SET a = ${n} WHERE a = ${n + 1}`, rules: ['writes'], isRefused: false },
  { sql: () => 'DELETE FROM notes', rules: ['unbounded'], isRefused: true },
  { sql: (n) => `SELECT '${n}'`, rules: ['noted'], isRefused: false },
  { sql: (n) => `SET statement_timeout = ${1_000_000 + n}`, rules: [], isRefused: false },
];

interface Counts {
  matched: number;
  would_refuse: number;
  refused: number;
  in_transaction: number;
}
/** By rule, fingerprint, application, user, client prefix and database. */
type Expected = Map<string, Counts>;

interface Row extends Counts {
  readonly rule: string;
  readonly fingerprint: string;
  readonly application_name: string;
  readonly user: string;
  readonly client_prefix: string;
  readonly database: string;
  readonly possibly_missed: number;
}

interface Report {
  readonly rows: readonly Row[];
  readonly rules: readonly {
    readonly rule: string;
    readonly cells: number;
    readonly totals: Counts;
    readonly other: Counts;
  }[];
  readonly cells: number;
  readonly max_cells: number;
}

const keyOf = (row: Omit<Row, keyof Counts | 'possibly_missed'>): string =>
  JSON.stringify([row.rule, row.fingerprint, row.application_name, row.user, row.client_prefix, row.database]);
const countsOf = ({ matched, would_refuse, refused, in_transaction }: Counts): Counts => ({
  matched,
  would_refuse,
  refused,
  in_transaction,
});

/** One client's part of the workload, and what it adds to what is expected. */
class Sender {
  readonly #client: WireClient;
  readonly #who: Pick<Row, 'application_name' | 'user' | 'client_prefix' | 'database'>;
  readonly #expected: Expected;

  constructor(client: WireClient, who: Sender['who'], expected: Expected) {
    this.#client = client;
    this.#who = who;
    this.#expected = expected;
  }

  get who(): Pick<Row, 'application_name' | 'user' | 'client_prefix' | 'database'> {
    return this.#who;
  }

  async simple(statement: Statement, n: number): Promise<void> {
    await this.#client.query(statement.sql(n));
    this.#expect(statement, n, false);
  }

  async extended(statement: Statement, n: number): Promise<void> {
    this.#client.send(frontend.extendedQuery(statement.sql(n)), frontend.sync());
    await this.#client.readUntilReady();
    this.#expect(statement, n, false);
  }

  /** Parsed once, run so many times: each run is a match. One that is refused at Parse is never run. */
  async prepared(statement: Statement, n: number, times: number): Promise<void> {
    const name = `s${n}`;
    this.#client.send(frontend.parse(statement.sql(n), name), frontend.sync());
    await this.#client.readUntilReady();
    if (statement.isRefused) this.#expect(statement, n, false);
    else {
      for (let time = 0; time < times; time++) {
        this.#client.send(frontend.bind({ statement: name }), frontend.execute(), frontend.sync());
        await this.#client.readUntilReady();
        this.#expect(statement, n, false);
      }
    }
    this.#client.send(frontend.closeStatement(name), frontend.sync());
    await this.#client.readUntilReady();
  }

  /** Inside a transaction; the matches count as such. */
  async block(statements: readonly Statement[], n: number): Promise<void> {
    await this.#client.query('BEGIN');
    for (const statement of statements) {
      await this.#client.query(statement.sql(n));
      this.#expect(statement, n, true);
    }
    await this.#client.query('ROLLBACK');
  }

  /** Several statements in one Query run in one transaction of their own. */
  async together(statements: readonly Statement[], n: number): Promise<void> {
    await this.#client.query(statements.map((statement) => statement.sql(n)).join('; '));
    for (const statement of statements) this.#expect(statement, n, true);
  }

  end(): Promise<void> {
    return this.#client.end();
  }

  #expect(statement: Statement, n: number, isInTransaction: boolean): void {
    for (const rule of statement.rules) {
      const key = keyOf({ rule, fingerprint: fingerprintOf(statement.sql(n)), ...this.#who });
      const counts = this.#expected.get(key) ?? { matched: 0, would_refuse: 0, refused: 0, in_transaction: 0 };
      this.#expected.set(key, counts);
      counts.matched++;
      if (isInTransaction) counts.in_transaction++;
      if (statement.isRefused) counts.refused++;
      else if (rule !== 'noted') counts.would_refuse++;
    }
  }
}

/** pg_query's own word, asked apart from the code under test. */
function fingerprintOf(sql: string): string {
  const known = fingerprints.get(sql);
  if (known === undefined) throw new Error(`not fingerprinted: ${sql}`);
  return known;
}
const fingerprints = new Map<string, string>();
const MAX_LITERAL = 40;

const postgres = sharedPostgres();
let socketFolder = '';

beforeAll(async () => {
  await loadModule();
  for (let n = 0; n <= MAX_LITERAL; n++) {
    for (const { sql } of STATEMENTS) fingerprints.set(sql(n), await fingerprint(sql(n)));
  }
  const tables =
    'CREATE TABLE IF NOT EXISTS dual (a int); CREATE TABLE IF NOT EXISTS notes (a int); GRANT ALL ON dual, notes TO app';
  await postgres.query(tables);
  await postgres.query(`CREATE DATABASE ${OTHER_DATABASE}`);
  const other = await WireClient.login(
    { host: postgres.host, port: postgres.primaryPort },
    { database: OTHER_DATABASE },
  );
  await other.query(tables);
  await other.end();
  socketFolder = await mkdtemp(join(tmpdir(), 'weir-observations-'));
});

afterAll(async () => {
  await postgres.query(`DROP DATABASE ${OTHER_DATABASE} WITH (FORCE)`);
  await rm(socketFolder, { recursive: true, force: true });
});

async function fetchText(weir: TestWeir, query: string): Promise<string> {
  const answer = await fetch(`${weir.adminUrl}/observations?top=1000000&${query}`);
  expect(answer.status).toBe(200);
  return answer.text();
}
const fetchReport = async (weir: TestWeir): Promise<Report> =>
  JSON.parse(await fetchText(weir, 'format=json')) as Report;

/** RFC 4180. */
function readCsv(text: string): string[][] {
  const rows: string[][] = [[]];
  const pattern = /(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r\n)/gy;
  for (let match = pattern.exec(text); match !== null; match = pattern.exec(text)) {
    rows.at(-1)?.push(match[1]?.replaceAll('""', '"') ?? match[2] ?? '');
    if (match[3] === '\r\n') rows.push([]);
  }
  expect(rows.pop()).toEqual([]);
  return rows;
}

describe('after a known workload', () => {
  const expected: Expected = new Map();
  let weir: TestWeir;

  beforeAll(async () => {
    weir = await startTestWeir({ postgres, rules: RULES, settings: { listen: { unixSocketDirectory: socketFolder } } });
    const places = [
      { client_prefix: '127.0.0.0/24', address: { host: weir.host, port: weir.port } },
      { client_prefix: '127.0.7.0/24', address: { host: weir.host, port: weir.port, localAddress: '127.0.7.1' } },
      { client_prefix: '127.0.7.0/24', address: { host: weir.host, port: weir.port, localAddress: '127.0.7.200' } },
      { client_prefix: 'unix', address: { host: socketFolder, port: weir.port } },
    ];
    const senders: Sender[] = [];
    for (const [index, { client_prefix, address }] of places.entries()) {
      for (const application_name of APPLICATIONS) {
        const user = (index + application_name.length) % 2 === 0 ? 'weir' : 'app';
        const database = index % 2 === 0 ? 'weir' : OTHER_DATABASE;
        const client = await WireClient.login(address, { user, database, parameters: { application_name } });
        senders.push(new Sender(client, { application_name, user, client_prefix, database }, expected));
      }
    }
    const [dual, dualWhere, insert, update, unbounded, plain, setting] = STATEMENTS as [
      Statement,
      Statement,
      Statement,
      Statement,
      Statement,
      Statement,
      Statement,
    ];
    await Promise.all(
      senders.map(async (sender, rank) => {
        for (let n = 0; n < 6 + rank; n++) {
          await sender.simple(dual, n);
          await sender.extended(n % 2 === 0 ? dualWhere : insert, n);
          await sender.prepared(n % 3 === 0 ? unbounded : update, n, (rank % 3) + 1);
          if (n % 4 === 0) await sender.block([insert, dual, plain, unbounded], n);
          if (n % 3 === 0) await sender.together([insert, plain, setting, dualWhere], n);
          await sender.simple(n % 2 === 0 ? unbounded : plain, n);
        }
        await sender.end();
      }),
    );
  });
  afterAll(() => weir.stop());

  test('JSON has each cell, with exact numbers, and nothing else', async () => {
    const { rows, rules } = await fetchReport(weir);
    expect(new Map(rows.map((row) => [keyOf(row), countsOf(row)]))).toEqual(expected);
    expect(rows).toHaveLength(expected.size);
    expect(expected.size).toBeGreaterThan(60);
    for (const { rule, totals, other } of rules) {
      const own = rows.filter((row) => row.rule === rule);
      expect(totals.matched).toBe(own.reduce((sum, row) => sum + row.matched, 0));
      expect(other.matched).toBe(0);
    }
  });

  test('CSV says the same, with fields that spreadsheets cannot run', async () => {
    const [head, ...lines] = readCsv(await fetchText(weir, 'format=csv'));
    const rows = lines.map((line) => Object.fromEntries(line.map((field, index) => [head?.[index] ?? '', field])));
    const seen = rows.map((row): [string, Counts] => [
      keyOf({
        rule: row.rule ?? '',
        fingerprint: row.fingerprint ?? '',
        application_name: (row.application_name ?? '').replace(/^'=/, '='),
        user: row.user ?? '',
        client_prefix: row.client_prefix ?? '',
        database: row.database ?? '',
      }),
      countsOf({
        matched: Number(row.matched),
        would_refuse: Number(row.would_refuse),
        refused: Number(row.refused),
        in_transaction: Number(row.in_transaction),
      }),
    ]);
    expect(new Map(seen)).toEqual(expected);
    expect(rows.some(({ application_name }) => application_name === "'=cmd()")).toBe(true);
    expect(rows.some(({ application_name }) => application_name?.startsWith('='))).toBe(false);
  });

  test('the table says the same', async () => {
    const [head, ...lines] = (await fetchText(weir, 'format=text')).trimEnd().split('\n');
    expect(head?.trim().split(/ {2,}/).slice(0, 6)).toEqual(['RULE', 'MODE', 'MATCHED', 'WOULD', 'DONE', 'IN TX']);
    const seen = lines.map((line): [string, string] => {
      const [rule, , matched, would, done, inTransaction, application_name, user, client_prefix, database, , print] =
        line.split(/ {2,}/);
      const row = { rule, application_name, user, client_prefix, database, fingerprint: print } as Row;
      return [keyOf(row), [matched, would, done, inTransaction].join(' ')];
    });
    const wanted = [...expected].map(([key, counts]): [string, string] => {
      const share = Math.round((counts.in_transaction / counts.matched) * 100);
      return [key, `${counts.matched} ${counts.would_refuse} ${counts.refused} ${share}%`];
    });
    expect(new Map(seen)).toEqual(new Map(wanted));
  });

  test('no format shows a literal of the statements', async () => {
    for (const format of ['json', 'csv', 'text']) {
      expect(await fetchText(weir, `format=${format}`)).not.toMatch(/VALUES \(\d|FROM dual WHERE a = \d|SELECT '?\d/i);
    }
  });

  test('the counters of the rules agree with the sum of their cells', () => {
    for (const rule of weir.control.rules.active.rules) {
      const cells = [...expected].filter(([key]) => JSON.parse(key)[0] === rule.name).map(([, counts]) => counts);
      const sum = (read: (counts: Counts) => number): number =>
        cells.reduce((total, counts) => total + read(counts), 0);
      expect(rule.counters).toMatchObject({
        matched: sum(({ matched }) => matched),
        refused: sum(({ refused }) => refused),
        wouldRefuse: sum(({ would_refuse }) => would_refuse),
      });
    }
  });
});

describe('with more distinct cells than the bound', () => {
  const MAX_CELLS = 60;
  const NAMES = 150;

  test('totals stay exact, what has a cell is right within its bound, and the rest is in `other`', async () => {
    const expected: Expected = new Map();
    const weir = await startTestWeir({
      postgres,
      rules: RULES,
      settings: { observations: { maxCells: MAX_CELLS, maxDecisions: 100 } },
    });
    const [dual, dualWhere, insert] = STATEMENTS as [Statement, Statement, Statement];
    // A few applications make most of the traffic; many make a little.
    for (let batch = 0; batch < NAMES; batch += 10) {
      await Promise.all(
        Array.from({ length: 10 }, async (_, offset) => {
          const rank = batch + offset;
          const application_name = `app ${rank}`;
          const client = await WireClient.login(weir, { parameters: { application_name } });
          const who = { application_name, user: 'weir', client_prefix: '127.0.0.0/24', database: 'weir' };
          const sender = new Sender(client, who, expected);
          const times = rank % 30 === 0 ? 20 : 1;
          for (let n = 0; n < times; n++) {
            await sender.simple(dual, n);
            await sender.extended(dualWhere, n);
          }
          if (rank % 10 === 0) await sender.simple(insert, rank % MAX_LITERAL);
          await sender.end();
        }),
      );
    }
    const { rows, rules, cells, max_cells } = await fetchReport(weir);
    expect(max_cells).toBe(MAX_CELLS);
    expect(cells).toBe(rows.length);
    expect(cells).toBeLessThanOrEqual(MAX_CELLS);
    expect(expected.size).toBeGreaterThan(10 * MAX_CELLS);
    for (const { rule, totals, other } of rules) {
      const wanted = [...expected].filter(([key]) => JSON.parse(key)[0] === rule).map(([, counts]) => counts);
      const own = rows.filter((row) => row.rule === rule);
      for (const field of ['matched', 'would_refuse', 'refused', 'in_transaction'] as const) {
        expect(totals[field]).toBe(wanted.reduce((sum, counts) => sum + counts[field], 0));
        expect(own.reduce((sum, row) => sum + row[field], 0) + other[field]).toBe(totals[field]);
      }
    }
    for (const row of rows) {
      const truth = expected.get(keyOf(row))?.matched ?? 0;
      expect(row.matched).toBeLessThanOrEqual(truth);
      expect(row.matched).toBeGreaterThanOrEqual(truth - row.possibly_missed);
    }
    const dualTotals = rules.find(({ rule }) => rule === 'from_dual');
    expect(dualTotals?.other.matched).toBeGreaterThan(0);
    // A rule with few cells loses none to the noisy ones.
    expect(rules.find(({ rule }) => rule === 'writes')).toMatchObject({ cells: NAMES / 10, other: { matched: 0 } });
    const csv = readCsv(await fetchText(weir, 'format=csv'));
    const otherRow = csv.find((line) => line[0] === 'from_dual' && line.includes('(other)'));
    expect(otherRow?.map(String)).toContain(String(dualTotals?.other.matched));
    expect(await fetchText(weir, 'format=text')).toContain('(other)');
    await weir.stop();
  });
});

test('what was observed outlives a rewording of its rule, and is shown with the mode that the rule has now', async () => {
  const rule = (match: string): string =>
    `traffic_control:\n  rules:\n    - { name: kept, ${match}, action: deny, mode: observe }\n`;
  const reworded = await startTestWeir({
    postgres,
    rules: rule('match: { tables: [pg_class, pg_type], statement: select }'),
  });
  const client = await WireClient.login(reworded);
  const readKept = async (): Promise<object> => {
    const answer = await fetch(`${reworded.adminUrl}/observations`);
    const report = (await answer.json()) as { rows: { mode: string; matched: number }[] };
    return report.rows.map(({ mode, matched }) => ({ mode, matched }));
  };
  await client.query('SELECT 1 FROM pg_class LIMIT 1');
  const again = rule('match: { statement: [select], tables: [pg_type, pg_class] }');
  reworded.control.rules.post(`${again}    - { name: other, action: observe, match: { user: nobody } }\n`, 'test', {
    actor: 'test',
  });
  await client.query('SELECT 1 FROM pg_class LIMIT 1');
  expect(await readKept()).toEqual([{ mode: 'observe', matched: 2 }]);
  reworded.control.rules.patchMode('kept', 'off', { actor: 'test' });
  expect(await readKept()).toEqual([{ mode: 'off', matched: 2 }]);
  await client.end();
  await reworded.stop();
});
