// Units of work that PostgreSQL says it has ended, and has not: a Query or FunctionCall in the middle of one is answered with
// 'T', and a Sync right behind that with 'I', though nothing is committed or undone. The next command fails for it, so nobody
// else may be the one who says that command.

import { afterEach, beforeEach, expect, test } from 'vitest';
import * as frontend from '../support/frontend-messages.ts';
import { sharedPostgres } from '../support/shared-postgres.ts';
import { readFields, transcribe } from '../support/transcript.ts';
import { WireClient } from '../support/wire-client.ts';
import { type PoolClient, type PoolGround, startPoolGround } from './pool-ground.ts';

interface Unit {
  readonly name: string;
  readonly said: readonly Buffer[];
  readonly readies: number;
}

const { extendedQuery, query, functionCall, closeStatement, copyDone, execute, parse, sync } = frontend;
const VERSION = functionCall(89, []);
const QUESTION = "SELECT current_setting('application_name')";
const WORK = extendedQuery('INSERT INTO unended VALUES (1)');
/** The settings that the server reports tell on which side of the end it is. */
const NAMED = extendedQuery("SET application_name = 'of the unit'");

const UNENDED: readonly Unit[] = [
  { name: 'a FunctionCall', said: [WORK, NAMED, VERSION, sync()], readies: 2 },
  { name: 'a Query', said: [NAMED, WORK, query('SELECT 2'), sync()], readies: 2 },
  { name: 'an empty Query', said: [WORK, query(''), sync()], readies: 2 },
  { name: 'two of them', said: [WORK, NAMED, VERSION, query('SELECT 2'), sync()], readies: 3 },
  { name: 'a COPY', said: [WORK, query('COPY unended TO STDOUT'), sync()], readies: 2 },
  { name: 'a FunctionCall and a Close', said: [WORK, VERSION, closeStatement('nobody'), sync()], readies: 2 },
  { name: 'a FunctionCall and a stray CopyDone', said: [WORK, VERSION, copyDone(), sync()], readies: 2 },
  { name: 'a FunctionCall and a second Sync', said: [WORK, NAMED, VERSION, sync(), sync()], readies: 3 },
];
/** They look like that, and end. */
const ENDED: readonly Unit[] = [
  { name: 'a Parse behind a FunctionCall', said: [WORK, VERSION, parse('SELECT 3'), sync()], readies: 2 },
  { name: 'a Query of several statements', said: [WORK, NAMED, query('SELECT 2; SELECT 3'), sync()], readies: 2 },
  { name: 'COMMIT behind a Query', said: [WORK, query('SELECT 2'), query('COMMIT'), sync()], readies: 3 },
  { name: 'an error behind a FunctionCall', said: [WORK, NAMED, VERSION, execute('nowhere'), sync()], readies: 2 },
  {
    name: 'an error of the Close behind a FunctionCall',
    said: [WORK, VERSION, frontend.message('C', Buffer.from('X\0')), sync()],
    readies: 2,
  },
  {
    name: 'an error of the Sync behind a FunctionCall',
    said: [WORK, VERSION, frontend.message('S', Buffer.from('x'))],
    readies: 2,
  },
  { name: 'a FunctionCall in front of all work', said: [parse('SELECT 3'), VERSION, WORK, sync()], readies: 2 },
];

const postgres = sharedPostgres();
let ground: PoolGround;
let one: PoolClient;
let other: PoolClient;
let bare: WireClient;

beforeEach(async () => {
  await postgres.query('DROP TABLE IF EXISTS unended');
  await postgres.query('CREATE TABLE unended (a int)');
  ground = await startPoolGround(postgres, { size: 1, affinity: 'avoid' });
  // It opens the connection that the others share.
  await ground.login({ parameters: { application_name: 'opener' } });
  one = await ground.login({ parameters: { application_name: 'one' } });
  other = await ground.login({ parameters: { application_name: 'other' } });
  bare = await WireClient.login(
    { host: postgres.host, port: postgres.primaryPort },
    { parameters: { application_name: 'one' } },
  );
});

afterEach(async () => {
  bare.destroy();
  try {
    await ground.checkLedger();
  } finally {
    await ground.stop();
  }
});

/** Says it to the bare server, and then through pgweir, which has to be answered alike. */
async function expectAlike(said: readonly Buffer[], readies: number): Promise<readonly string[]> {
  const [expected, actual] = [await ask(bare, said, readies), await ask(one.wire, said, readies)];
  expect(actual).toEqual(expected);
  return expected;
}

async function ask(client: WireClient, said: readonly Buffer[], readies: number): Promise<readonly string[]> {
  client.send(...said);
  const answer: string[] = [];
  for (let left = readies; left > 0; left--) answer.push(...transcribe(await client.readUntilReady()));
  return answer;
}

async function countRows(): Promise<number> {
  return (await postgres.query('SELECT FROM unended')).rowCount ?? 0;
}

async function expectOtherAnswered(): Promise<void> {
  const answer = transcribe(await other.wire.readUntilReady());
  expect(answer).toContain('DataRow ["other"]');
  expect(answer.at(-1)).toBe('ReadyForQuery I');
}

/** The unit is said to have ended, and the other client's question waits for what it has not ended on. */
async function beginWait({ said, readies }: Pick<Unit, 'said' | 'readies'>): Promise<void> {
  const answer = await expectAlike(said, readies);
  expect(answer.at(-1)).toBe('ReadyForQuery I');
  other.wire.send(query(QUESTION));
  await ground.waitForQueue(1);
  expect(one.holds()).toEqual(['transaction']);
}

async function expectUndone(): Promise<void> {
  await expectOtherAnswered();
  expect(await countRows()).toBe(0);
}

test.each(UNENDED)('a Sync behind $name leaves the connection with its client until that goes on', async (unit) => {
  await beginWait(unit);
  const failure = await expectAlike([query('SELECT 5')], 1);
  expect(failure.some((line) => line.startsWith('ErrorResponse'))).toBe(true);
  await expectUndone();
  await expectAlike([query(QUESTION)], 1);
});

const UNIT = { said: [WORK, NAMED, VERSION, sync()], readies: 2 };

test.each([
  ['COMMIT', [query('COMMIT')], 1],
  ['an extended query', [extendedQuery('SELECT 5'), sync()], 1],
  ['another FunctionCall', [VERSION], 1],
  ['an Execute of no portal', [execute('nowhere'), sync()], 1],
  ['Syncs and a query', [sync(), closeStatement('nobody'), sync(), query('SELECT 5')], 3],
] as const)(
  '%s behind such a Sync fails and undoes the unit, and the connection is free',
  async (_what, next, readies) => {
    await beginWait(UNIT);
    const failure = await expectAlike(next, readies);
    expect(failure.some((line) => line.startsWith('ErrorResponse'))).toBe(true);
    await expectUndone();
    await expectAlike([query(QUESTION)], 1);
  },
);

test('a client that vanishes behind such a Sync undoes the unit, and the connection is free', async () => {
  await beginWait(UNIT);
  one.wire.destroy();
  await expectUndone();
});

test('a client that idles behind such a Sync idles in a transaction', async () => {
  await ground.stop();
  ground = await startPoolGround(postgres, { size: 1, idleInTransactionMs: 250 });
  one = await ground.login({ parameters: { application_name: 'one' } });
  other = await ground.login({ parameters: { application_name: 'other' } });
  await beginWait(UNIT);
  const errors = (await one.wire.readUntilEnd())
    .filter(({ type }) => type === 'E')
    .map(({ body }) => readFields(body).C);
  expect(errors).toEqual(['25P03']);
  await expectUndone();
});

test.each(ENDED)('$name: the unit ends, and the connection is free', async ({ said, readies }) => {
  const answer = await expectAlike(said, readies);
  expect(answer.at(-1)).toBe('ReadyForQuery I');
  other.wire.send(query(QUESTION));
  await expectOtherAnswered();
  await expectAlike([query(QUESTION)], 1);
});

test('what its client has prepared elsewhere is not prepared in such a unit, and nothing hangs', async () => {
  await expectAlike([query('PREPARE a AS SELECT 5'), parse('SELECT 6', 'b'), sync()], 2);
  await other.wire.rows('SELECT 1');
  await expectAlike([WORK, VERSION, sync()], 2);
  await expectAlike([query('EXECUTE a')], 1);
  await other.wire.rows('SELECT 1');
  await expectAlike([WORK, VERSION, sync()], 2);
  await expectAlike([frontend.bind({ statement: 'b' }), execute(), sync()], 1);
  await expectAlike([query('EXECUTE a')], 1);
  await expectAlike([frontend.bind({ statement: 'b' }), execute(), sync()], 1);
});
