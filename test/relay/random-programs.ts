// Protocol programs at random, with every message in any order, cut anywhere, sent ahead of its answers or behind them. A program is
// made for the statement that a rule refuses, so that the same program can run where PostgreSQL itself fails it.

import fc from 'fast-check';
import * as frontend from '../support/frontend-messages.ts';
import type { Program, Step } from './differential.ts';

/** Denied where programs run through pgweir; on the bare server another statement stands for it that fails at parse analysis. */
export const REFUSED = 'SELECT * FROM secret';
export const FAILING = 'SELECT * FROM no_such_table';
/** Denied too. Where it runs it leaves a trace, even in a transaction that is rolled back: it draws from a sequence. */
export const DENIED = 'INSERT INTO secret VALUES (1)';
/** The errors of the two are not compared. */
export const MASKED = ['42501', '42P01'];
/** A rule of the list of a document. */
export const REFUSING_RULE = `    - { name: no_secrets, match: { tables: [secret] }, action: deny, priority: 1000 }\n`;

const REFUSED_MARK = '<refused>';

const STATEMENTS = [
  'SELECT 1',
  'SELECT id, label FROM items ORDER BY id',
  "INSERT INTO items VALUES (10, 'x') ON CONFLICT (id) DO UPDATE SET note = items.note || '+'",
  'SELECT 1/0',
  'not a statement',
  '',
  'BEGIN',
  'COMMIT',
  'ROLLBACK',
  'SAVEPOINT s',
  'ROLLBACK TO s',
  'PREPARE a AS SELECT 5',
  'EXECUTE a',
  'DEALLOCATE a',
  'DEALLOCATE ALL',
  "SET application_name = 'random'",
  "SET LOCAL application_name = 'local'",
  'COMMIT AND CHAIN',
  'RELEASE s',
  'PREPARE b (int) AS SELECT $1 + 1',
  'EXECUTE b (7)',
  "EXECUTE b ('x')",
  'COPY (SELECT id FROM items ORDER BY id) TO STDOUT',
  'COPY (SELECT id FROM items ORDER BY id) TO STDOUT (FORMAT binary)',
  'DECLARE c CURSOR FOR SELECT generate_series(1, 5)',
  'DECLARE p SCROLL CURSOR WITH HOLD FOR SELECT generate_series(1, 3)',
  'FETCH 2 c',
  'FETCH BACKWARD 1 p',
  'MOVE 1 c',
  'CLOSE c',
  'CLOSE ALL',
  "SELECT complain('warning')",
  "SELECT complain('error')",
  "SET client_encoding = 'LATIN1'",
  'SET standard_conforming_strings = off',
  "SELECT 'é\\\\' || '''' /* ' */",
  'SHOW application_name',
  `SELECT repeat('long', 200) /* ${'x'.repeat(20_000)} */`,
  "UPDATE items SET note = 'new' WHERE id = 1 RETURNING *",
  'SELECT $1::int',
  'LISTEN random_news',
  "NOTIFY random_news, 'hello'",
  'INSERT INTO children VALUES (1, 99)',
  'SELECT generate_series(1, 5)',
  'SELECT FROM items',
  REFUSED_MARK,
];
/**
 * DISCARD ALL, as a Query or with its Sync at once: a later Execute of its portal, in a transaction that has failed, can crash
 * PostgreSQL 18.4 (signal 11), and then there is nothing to compare with.
 */
const DISCARD_ALL = Buffer.concat([frontend.extendedQuery('DISCARD ALL'), frontend.sync()]);
/** No refused statement among these: of a refused Query nothing runs, while PostgreSQL runs what stands before an error. */
const TOGETHER = [
  'DISCARD ALL',
  'SELECT 1; SELECT 2',
  'SELECT 1; SELECT 1/0; SELECT 2',
  'BEGIN; SELECT 3',
  'COMMIT; SELECT 4',
];
const COPY_IN = 'COPY items (id) FROM STDIN';

/** Makes the message's bytes for a refused statement. */
type Op = (refused: string) => Buffer;

const name = fc.constantFrom('', 'a', 'b');
const portal = fc.constantFrom('', 'p', 'c');
const sqlOf = (list: readonly string[]): fc.Arbitrary<(refused: string) => string> =>
  fc.constantFrom(...list).map((sql) => (refused: string) => sql.replace(REFUSED_MARK, refused));

const queryOp: fc.Arbitrary<Op> = sqlOf([...STATEMENTS, ...TOGETHER]).map(
  (sql) => (refused) => frontend.query(sql(refused)),
);
const parseOp: fc.Arbitrary<Op> = fc.tuple(name, sqlOf(STATEMENTS)).map(
  ([statement, sql]) =>
    (refused) =>
      frontend.parse(sql(refused), statement),
);
const BINDINGS: readonly Parameters<typeof frontend.bind>[0][] = [
  {},
  {},
  { resultFormats: [1] },
  { values: ['7'] },
  { values: ['x'] },
  { values: [null] },
  { values: [frontend.int32(7)], valueFormats: [1], resultFormats: [1] },
  { valueFormats: [2] },
];
const bindOp = fc.tuple(portal, name, fc.constantFrom(...BINDINGS)).map(
  ([to, statement, binding]): Op =>
    () =>
      frontend.bind({ portal: to, statement, ...binding }),
);
const executeOp = fc.tuple(portal, fc.constantFrom(0, 0, 1, 2)).map(
  ([from, max]): Op =>
    () =>
      frontend.execute(from, max),
);
const describeOp = fc.oneof(
  name.map(
    (statement): Op =>
      () =>
        frontend.describeStatement(statement),
  ),
  portal.map(
    (from): Op =>
      () =>
        frontend.describePortal(from),
  ),
);
const closeOp = fc.oneof(
  name.map(
    (statement): Op =>
      () =>
        frontend.closeStatement(statement),
  ),
  portal.map(
    (from): Op =>
      () =>
        frontend.closePortal(from),
  ),
);
const wholeOp: fc.Arbitrary<Op> = sqlOf(STATEMENTS).map((sql) => (refused) => frontend.extendedQuery(sql(refused)));
const callOp = fc.constantFrom(
  (): Buffer => frontend.functionCall(89, []),
  (): Buffer => frontend.functionCall(964, ['424242']),
  (): Buffer => frontend.functionCall(1_317, ['four']),
  (): Buffer => frontend.functionCall(99_999, []),
  (): Buffer => DISCARD_ALL,
);
/**
 * A COPY with its data and its end: any other message among them makes the server close the connection. A Sync among data
 * that fails makes pgweir close it: sent ahead, nobody but the server can tell whether it will answer it.
 */
const copyOp: fc.Arbitrary<Op> = fc
  .tuple(
    fc.constantFrom(
      frontend.query(COPY_IN),
      frontend.extendedQuery(COPY_IN),
      Buffer.concat([frontend.extendedQuery(COPY_IN), frontend.sync()]),
    ),
    fc.array(
      fc.constantFrom(frontend.copyData(Buffer.from('50\n')), frontend.copyData(Buffer.from('5')), frontend.flush()),
      { maxLength: 4 },
    ),
    fc.constantFrom(
      frontend.copyDone(),
      frontend.copyFail('no'),
      Buffer.concat([frontend.copyData(Buffer.from('bad\n')), frontend.copyDone()]),
    ),
  )
  .map(
    ([start, data, end]): Op =>
      () =>
        Buffer.concat([start, ...data, end]),
  );
const strayOp = fc.constantFrom(
  (): Buffer => frontend.copyDone(),
  (): Buffer => frontend.copyData(Buffer.from('stray')),
  (): Buffer => frontend.closeStatement('nobody'),
);

const op: fc.Arbitrary<Op> = fc.oneof(
  { weight: 5, arbitrary: queryOp },
  { weight: 5, arbitrary: wholeOp },
  { weight: 4, arbitrary: parseOp },
  { weight: 4, arbitrary: bindOp },
  { weight: 4, arbitrary: executeOp },
  { weight: 2, arbitrary: describeOp },
  { weight: 2, arbitrary: closeOp },
  { weight: 6, arbitrary: fc.constant((): Buffer => frontend.sync()) },
  { weight: 2, arbitrary: fc.constant((): Buffer => frontend.flush()) },
  { weight: 1, arbitrary: callOp },
  { weight: 1, arbitrary: copyOp },
  { weight: 1, arbitrary: strayOp },
);

/** What no driver would send: messages among COPY data, Syncs behind data that fails, malformed bodies. */
const wildOp: fc.Arbitrary<Op> = fc.oneof(
  { weight: 3, arbitrary: op },
  {
    weight: 2,
    arbitrary: fc.constantFrom<Op[]>(
      () => frontend.query(COPY_IN),
      () => frontend.extendedQuery(COPY_IN),
      () => frontend.query(`${COPY_IN}; ${COPY_IN}`),
    ),
  },
  {
    weight: 3,
    arbitrary: fc.constantFrom<Op[]>(
      () => frontend.copyData(Buffer.from('60\n')),
      () => frontend.copyData(Buffer.from('bad\n')),
      () => frontend.copyDone(),
      () => frontend.copyFail('no'),
    ),
  },
  { weight: 2, arbitrary: fc.constantFrom<Op[]>(() => frontend.sync()) },
  {
    weight: 3,
    arbitrary: fc.constantFrom<Op[]>(
      (refused) => frontend.query(refused),
      (refused) => frontend.extendedQuery(refused),
    ),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom<Op[]>(
      (refused) => frontend.parse(`EXPLAIN ANALYZE ${refused}`, 'a'),
      (refused) => frontend.query(`PREPARE b AS ${refused}`),
      (refused) => frontend.query(`SELECT 1; ${refused}`),
      () => frontend.message('P', Buffer.from('a\0SELECT 1')),
      () => frontend.message('C', Buffer.from('X\0')),
      (refused) => frontend.message('Q', Buffer.from(`SELECT 1\0${refused}\0`)),
    ),
  },
);

const END = Buffer.from('this is the end');
/** Out of whatever state the program has left: then a refused statement, whose words show that nothing got out of step. */
const epilogue = (refused: string): Step => ({
  send: Buffer.concat([
    frontend.sync(),
    frontend.query('ROLLBACK'),
    frontend.query(refused),
    frontend.query(`SELECT '${END.toString()}'`),
  ]),
  until: END,
});
/** The same where a COPY may still be open, and with what was done committed. */
const wildEpilogue = (refused: string): Step => ({
  send: Buffer.concat([frontend.copyFail('end'), frontend.sync(), frontend.query('COMMIT'), epilogue(refused).send]),
  until: END,
});

/** What is denied is prepared, bound in an open transaction and ready to run, while it is still allowed. */
export function makeReady(allowed: string): Step {
  return {
    send: Buffer.concat([
      frontend.parse(allowed, 'a'),
      frontend.parse(allowed, 'b'),
      frontend.sync(),
      frontend.query('BEGIN'),
      frontend.bind({ portal: 'p', statement: 'a' }),
      frontend.bind({ portal: 'c', statement: 'b' }),
      frontend.parse(allowed),
      frontend.bind(),
      frontend.sync(),
    ]),
    until: 3,
  };
}

export interface RandomProgram {
  /** The program with that statement in the place of the refused one. */
  make(refused: string): Program;
  readonly pieceBytes: number | undefined;
}

/** Programs whose answers can be compared with the bare server's. */
export const randomProgram = programOf(op, epilogue);
/** Programs of any messages in any order. */
export const wildProgram = programOf(wildOp, wildEpilogue);

function programOf(ops: fc.Arbitrary<Op>, end: (refused: string) => Step): fc.Arbitrary<RandomProgram> {
  const turn = fc.record({ ops: fc.array(ops, { minLength: 1, maxLength: 8 }), hasPause: fc.boolean() });
  return fc
    .record({
      turns: fc.array(turn, { minLength: 1, maxLength: 6 }),
      pieceBytes: fc.constantFrom(undefined, undefined, 1, 5, 17),
    })
    .map(({ turns, pieceBytes }) => ({
      pieceBytes,
      make: (refused: string): Program => {
        const steps = turns.map(
          (made): Step => ({
            send: Buffer.concat(made.ops.map((build) => build(refused))),
            until: null,
            ...(made.hasPause ? { pauseMs: 3 } : {}),
          }),
        );
        return { name: steps.map(describeStep).join('\n'), steps: [...steps, end(refused)] };
      },
    }));
}

/** For a failure's report: the messages by type byte, with what can be printed of them. */
function describeStep({ send, pauseMs }: Step): string {
  const messages: string[] = [];
  for (let at = 0; at < send.length; at += 1 + send.readInt32BE(at + 1)) {
    const body = send.toString('latin1', at + 5, at + 1 + send.readInt32BE(at + 1));
    messages.push(`${String.fromCharCode(send[at] ?? 0)} ${body.replace(/[^\x20-\x7e]+/g, ' ').trim()}`.trim());
  }
  return `${messages.join(' | ')}${pauseMs === undefined ? '' : ' (pause)'}`;
}
