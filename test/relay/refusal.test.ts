// A refused statement must look to its client like a statement that PostgreSQL itself failed: each program runs once
// through pgweir, where a rule refuses one statement, and once on the bare server, where that statement raises an error of
// its own. All messages must be equal but the error's own fields, and so must what is left in the tables.

import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import * as frontend from '../support/frontend-messages.ts';
import { sharedPostgres } from '../support/shared-postgres.ts';
import { readFields, transcribe } from '../support/transcript.ts';
import { startTestWeir, type TestWeir } from '../support/weir.ts';
import { WireClient } from '../support/wire-client.ts';

const RULES = `
traffic_control:
  rules:
    - name: no_secrets
      match: { tables: [secret] }
      action: deny
      message: "secret is not yours to read"
      hint: "ask the owners"
    - name: no_function_calls
      match: { query_class: unknown, statement: function_call }
      action: deny
`;
const RULES_LATER = `
traffic_control:
  rules:
    - name: no_quiet
      match: { functions: [quiet] }
      action: deny
`;

/** Errors that stand for each other: the rule's, and those by which the bare server fails the statement. */
const MASKED = ['42501', '42883', 'P0001', '42P01'];

interface Step {
  readonly send?: Buffer;
  /** How many ReadyForQuery to wait for after sending. */
  readonly ready?: number;
  /** Wait for a message of this type instead. */
  readonly until?: string;
  /** Swap the rules in pgweir; nothing on the bare server. */
  readonly swap?: string;
}

interface Scenario {
  readonly name: string;
  /** `text` and `later` are the statement of the side that runs: refused in pgweir, failing on the bare server. */
  steps(refused: { text: string; later: string; functionOid: number }): Step[];
}

const q = (sql: string): Step => ({ send: frontend.query(sql), ready: 1 });
const batch = (...parts: Buffer[]): Step => ({ send: Buffer.concat([...parts, frontend.sync()]), ready: 1 });
const insert = (value: number): string => `INSERT INTO kept VALUES (${value})`;

const SCENARIOS: Scenario[] = [
  { name: 'a simple query while idle', steps: ({ text }) => [q(text), q(insert(1))] },
  {
    name: 'a refused query drops the unnamed statement as any query does',
    steps: ({ text }) => [batch(frontend.parse('SELECT 7')), q(text), batch(frontend.bind(), frontend.execute())],
  },
  {
    name: 'an extended query while idle',
    steps: ({ text }) => [batch(frontend.extendedQuery(text)), batch(frontend.extendedQuery(insert(1)))],
  },
  {
    name: 'a named statement is refused at Parse and its name stays free',
    steps: ({ text }) => [
      batch(frontend.parse(text, 'p1')),
      batch(frontend.bind({ statement: 'p1' })),
      batch(frontend.parse('SELECT 1', 'p1'), frontend.describeStatement('p1')),
    ],
  },
  {
    name: 'a Parse that is refused under a name in use leaves the old statement',
    steps: ({ text }) => [
      batch(frontend.parse('SELECT 11', 'p1')),
      batch(frontend.parse(text, 'p1')),
      batch(frontend.bind({ statement: 'p1' }), frontend.execute()),
    ],
  },
  {
    name: 'a refused unnamed Parse destroys the unnamed statement before it',
    steps: ({ text }) => [
      batch(frontend.parse('SELECT 11')),
      batch(frontend.parse(text)),
      batch(frontend.bind(), frontend.execute()),
    ],
  },
  {
    name: 'a statement prepared earlier is refused at Execute after a swap',
    steps: ({ later }) => [
      batch(frontend.parse(later, 'p2'), frontend.describeStatement('p2')),
      { swap: RULES_LATER },
      batch(frontend.bind({ statement: 'p2' }), frontend.describePortal(), frontend.execute()),
      batch(frontend.bind({ statement: 'p2' }), frontend.execute(), frontend.bind(), frontend.execute()),
      q(insert(1)),
    ],
  },
  {
    name: 'a statement prepared earlier is refused inside a transaction after a swap',
    steps: ({ later }) => [
      batch(frontend.parse(later, 'p2')),
      q('BEGIN'),
      q(insert(1)),
      { swap: RULES_LATER },
      batch(frontend.bind({ statement: 'p2' }), frontend.execute()),
      q(insert(2)),
      q('COMMIT'),
    ],
  },
  {
    name: 'inside a transaction the transaction fails',
    steps: ({ text }) => [q('BEGIN'), q(insert(1)), q(text), q(insert(2)), q(text), q('COMMIT'), q(insert(3))],
  },
  {
    name: 'an extended query inside a transaction fails it',
    steps: ({ text }) => [
      q('BEGIN'),
      batch(frontend.extendedQuery(insert(1))),
      batch(frontend.extendedQuery(text)),
      batch(frontend.extendedQuery(text)),
      batch(frontend.extendedQuery('COMMIT')),
    ],
  },
  {
    name: 'after a savepoint and ROLLBACK TO the transaction goes on',
    steps: ({ text }) => [
      q('BEGIN'),
      q(insert(1)),
      q('SAVEPOINT s'),
      q(insert(2)),
      q(text),
      q('ROLLBACK TO s'),
      q(insert(3)),
      q('COMMIT'),
    ],
  },
  {
    name: 'in the middle of a pipeline nothing is committed',
    steps: ({ text }) => [
      batch(frontend.extendedQuery(insert(1)), frontend.extendedQuery(text), frontend.extendedQuery(insert(2))),
      batch(frontend.extendedQuery(insert(3))),
    ],
  },
  {
    name: 'a pipeline with a Sync after each statement loses only the refused one',
    steps: ({ text }) => [
      {
        send: Buffer.concat(
          [insert(1), text, insert(2)].flatMap((sql) => [frontend.extendedQuery(sql), frontend.sync()]),
        ),
        ready: 3,
      },
    ],
  },
  {
    name: 'simple queries in one packet are answered one by one',
    steps: ({ text }) => [{ send: Buffer.concat([insert(1), text, insert(2)].map(frontend.query)), ready: 3 }],
  },
  {
    name: 'a simple query behind a refused extended one is skipped up to the Sync',
    steps: ({ text }) => [
      { send: Buffer.concat([frontend.extendedQuery(text), frontend.query(insert(1)), frontend.sync()]), ready: 1 },
      q(insert(2)),
    ],
  },
  {
    name: 'Flush shows the refusal before Sync',
    steps: ({ text }) => [
      {
        send: Buffer.concat([frontend.parse('SELECT 1'), frontend.parse(text), frontend.flush(), frontend.sync()]),
        ready: 1,
      },
    ],
  },
  {
    name: 'what is sent after its error was seen is skipped up to the Sync',
    steps: ({ text }) => [
      { send: Buffer.concat([frontend.parse(text), frontend.flush()]), until: 'E' },
      {
        send: Buffer.concat([
          frontend.parse('SELECT 1', 'skipped'),
          frontend.extendedQuery(insert(1)),
          frontend.query(insert(2)),
          frontend.extendedQuery(text),
          frontend.sync(),
        ]),
        ready: 1,
      },
      batch(frontend.bind({ statement: 'skipped' })),
      q(insert(3)),
    ],
  },
  {
    name: 'COPY FROM is refused before data, and data sent ahead is ignored',
    steps: ({ text }) => [
      {
        send: Buffer.concat([
          frontend.query(text.replace(/^.*(secret|no_such_table).*$/, 'COPY $1 FROM STDIN')),
          frontend.copyData(Buffer.from('1\n')),
          frontend.copyDone(),
        ]),
        ready: 1,
      },
      q(insert(1)),
    ],
  },
  {
    name: 'COPY TO is refused inside a transaction',
    steps: ({ text }) => [
      q('BEGIN'),
      q(text.replace(/^.*(secret|no_such_table).*$/, 'COPY $1 TO STDOUT')),
      q('ROLLBACK'),
    ],
  },
  {
    name: 'COPY in the extended protocol is refused and its data skipped up to Sync',
    steps: ({ text }) => [
      {
        send: Buffer.concat([
          // The bare server would fail a COPY only at Execute; a rule refuses it at Parse, as a failing SELECT is.
          frontend.extendedQuery(text.replace(/^.* secret$/, 'COPY secret FROM STDIN')),
          frontend.copyData(Buffer.from('1\n')),
          frontend.copyDone(),
          frontend.sync(),
        ]),
        ready: 1,
      },
      q(insert(1)),
    ],
  },
  {
    name: 'EXECUTE of a SQL PREPARE is refused by what it runs',
    steps: ({ later }) => [
      q(`PREPARE p3 AS ${later}`),
      { swap: RULES_LATER },
      q('EXECUTE p3'),
      q('DEALLOCATE p3'),
      q('EXECUTE p3'),
    ],
  },
  {
    name: 'Bind of a name that SQL prepared is judged by what it runs',
    steps: ({ later }) => [
      q(`PREPARE p4 AS ${later}`),
      { swap: RULES_LATER },
      batch(frontend.bind({ statement: 'p4' }), frontend.describePortal(), frontend.execute()),
    ],
  },
  {
    name: 'EXECUTE of a name that the protocol prepared is judged by what it runs',
    steps: ({ later }) => [
      batch(frontend.parse(later, 'p5')),
      { swap: RULES_LATER },
      q('EXECUTE p5'),
      q('BEGIN'),
      q('EXECUTE p5'),
      q('ROLLBACK'),
    ],
  },
  {
    name: 'PREPARE survives ROLLBACK, and EXECUTE after it is refused',
    steps: ({ later }) => [
      q('BEGIN'),
      q(`PREPARE p6 AS ${later}`),
      q('ROLLBACK'),
      { swap: RULES_LATER },
      q('EXECUTE p6'),
    ],
  },
  {
    name: 'a function call by OID is refused with its own ReadyForQuery, inside a transaction too',
    steps: ({ functionOid }) => [
      batch(frontend.parse('SELECT 5')),
      { send: frontend.functionCall(functionOid, ['1']), ready: 1 },
      batch(frontend.bind(), frontend.execute()),
      q('BEGIN'),
      { send: frontend.functionCall(functionOid, ['1']), ready: 1 },
      { send: frontend.functionCall(functionOid, ['1']), ready: 1 },
      q('ROLLBACK'),
    ],
  },
  {
    name: 'a cursor cannot be declared on it, and FETCH finds none',
    steps: ({ text }) => [q('BEGIN'), q(`DECLARE c CURSOR FOR ${text}`), q('FETCH c'), q('ROLLBACK')],
  },
  {
    name: 'PREPARE of it is refused and EXECUTE finds nothing',
    steps: ({ text }) => [q(`PREPARE p7 AS ${text}`), q('EXECUTE p7')],
  },
];

let weir: TestWeir;
const postgres = sharedPostgres();
let raisingOid = 0;
let quietOid = 0;

beforeAll(async () => {
  await postgres.query('DROP TABLE IF EXISTS kept, secret');
  await postgres.query('CREATE TABLE kept (a int); CREATE TABLE secret (a int)');
  await postgres.query(`CREATE OR REPLACE FUNCTION quiet(x int) RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN x; END'`);
  await postgres.query(
    `CREATE OR REPLACE FUNCTION raising(x int) RETURNS int LANGUAGE plpgsql AS 'BEGIN RAISE ''no''; END'`,
  );
  const { rows } = await postgres.query(
    `SELECT 'quiet(int)'::regprocedure::oid::int AS quiet, 'raising(int)'::regprocedure::oid::int AS raising`,
  );
  quietOid = Number(rows[0]?.quiet);
  raisingOid = Number(rows[0]?.raising);
  weir = await startTestWeir({ postgres, rules: RULES });
});

afterAll(() => weir.stop());

beforeEach(async () => {
  await postgres.query('TRUNCATE kept');
});

async function run(address: { host: string; port: number }, steps: readonly Step[]): Promise<string[]> {
  const client = await WireClient.login(address);
  try {
    const lines: string[] = [];
    for (const step of steps) {
      if (step.swap !== undefined && address.port === weir.port)
        weir.control.rules.post(step.swap, 'test', { actor: 'test' });
      if (step.send === undefined) continue;
      client.send(step.send);
      const answer = step.until === undefined ? client.readUntilReady(step.ready) : client.readUntil(step.until);
      lines.push(...transcribe(await answer, { maskErrors: MASKED }));
    }
    return lines;
  } finally {
    await client.end();
  }
}

describe('a refused statement is to its client what an error of PostgreSQL is', () => {
  test.each(SCENARIOS)('$name', async ({ steps }) => {
    const bare = await run(
      { host: postgres.host, port: postgres.primaryPort },
      steps({ text: 'SELECT * FROM no_such_table', later: 'SELECT raising(1) AS quiet', functionOid: raisingOid }),
    );
    const { rows: keptByBare } = await postgres.query('SELECT a FROM kept ORDER BY a');
    await postgres.query('TRUNCATE kept');
    weir.control.rules.post(RULES, 'test', { actor: 'test' });
    const refusedBefore = weir.control.counters.refused;
    const proxied = await run(
      weir,
      steps({ text: 'SELECT * FROM secret', later: 'SELECT quiet(1) AS quiet', functionOid: quietOid }),
    );
    const { rows: keptByProxied } = await postgres.query('SELECT a FROM kept ORDER BY a');
    expect(proxied).toEqual(bare);
    expect(keptByProxied).toEqual(keptByBare);
    expect(weir.control.counters.refused).toBeGreaterThan(refusedBefore);
  });

  test('in a query of several statements nothing of it runs', async () => {
    weir.control.rules.post(RULES, 'test', { actor: 'test' });
    const client = await WireClient.login(weir);
    const messages = await client.query(`${insert(1)}; SELECT * FROM secret; ${insert(2)}`);
    expect(transcribe(messages, { maskErrors: ['42501'] })).toEqual(['ErrorResponse (masked)', 'ReadyForQuery I']);
    expect(await client.rows('SELECT a FROM kept')).toEqual([]);
    await client.end();
  });

  test('the same statements run where no rule speaks', async () => {
    weir.control.rules.post('traffic_control: { rules: [] }', 'test', { actor: 'test' });
    const client = await WireClient.login(weir);
    await client.query(`${insert(1)}; SELECT * FROM secret; ${insert(2)}`);
    expect(await client.rows('SELECT a FROM kept ORDER BY a')).toEqual([['1'], ['2']]);
    await client.end();
  });

  test('the error tells the rule, the decision and what to do', async () => {
    weir.control.rules.post(RULES, 'test', { actor: 'test' });
    const client = await WireClient.login(weir);
    const [error] = await client.query('SELECT * FROM secret');
    const fields = readFields(error?.body ?? Buffer.alloc(0));
    const { decision_id, ...detail } = JSON.parse(fields.D ?? '{}');
    expect(fields).toMatchObject({
      S: 'ERROR',
      V: 'ERROR',
      C: '42501',
      M: 'secret is not yours to read',
      H: 'ask the owners',
    });
    expect(detail).toEqual({ rule: 'no_secrets' });
    const decision = weir.control.recorder.decisions.find(decision_id);
    expect(decision).toMatchObject({
      rule: 'no_secrets',
      outcome: 'refused',
      rulesVersion: weir.control.rules.version,
    });
    await client.end();
  });
});
