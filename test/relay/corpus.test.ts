// The corpus of evasions and look-alikes, sent over a socket through pgweir to a real PostgreSQL, under rules that refuse
// writes, DDL and whatever cannot be known. What is to be refused is refused and has done nothing; what may pass is answered
// exactly as the bare server answers it; and what is called a read runs on a standby, which executes no write.

import { afterAll, beforeAll, expect, test } from 'vitest';
import { CORPUS, type CorpusCase } from '../sql/corpus.ts';
import * as frontend from '../support/frontend-messages.ts';
import { sharedPostgres } from '../support/shared-postgres.ts';
import { type BackendMessage, readFields, transcribe } from '../support/transcript.ts';
import { startTestWeir, type TestWeir } from '../support/weir.ts';
import { WireClient } from '../support/wire-client.ts';

const GUARD = (onUnparsed: string, classes: string): string => `
traffic_control:
  on_unparsed: ${onUnparsed}
  rules:
    - { name: guard, match: { query_class: [${classes}] }, action: deny }
`;
/** A statement that waits or never ends by itself would only test its own patience. */
const DEADLINE_MS = 20_000;

const postgres = sharedPostgres();
const bare = { host: postgres.host, port: postgres.primaryPort };
const standby = { host: postgres.host, port: postgres.standbyPort };
let weir: TestWeir;

beforeAll(async () => {
  weir = await startTestWeir({ postgres, rules: GUARD('allow', 'write, ddl, unknown') });
});

afterAll(() => weir.stop());

/** Sends one text as a simple query, inside a transaction that is rolled back; COPY FROM is failed by the client. */
async function ask(address: { host: string; port: number }, sql: string): Promise<BackendMessage[]> {
  const client = await WireClient.login(address, {}, DEADLINE_MS);
  try {
    await client.query("SET statement_timeout = '10s'; BEGIN");
    client.send(frontend.query(sql));
    const messages: BackendMessage[] = [];
    for (;;) {
      const message = await client.readMessage();
      messages.push(message);
      if (message.type === 'G') client.send(frontend.copyFail('not now'));
      if (message.type === 'Z') break;
    }
    await client.query('ROLLBACK');
    for (const [, name] of sql.matchAll(/prepare transaction '(\w+)'/gi))
      await client.query(`ROLLBACK PREPARED '${name}'`);
    return messages;
  } finally {
    client.destroy();
  }
}

function errorOf(messages: readonly BackendMessage[]): Record<string, string> {
  const error = messages.find((message) => message.type === 'E');
  return error === undefined ? {} : readFields(error.body);
}

const refusingRule = (messages: readonly BackendMessage[]): string | undefined => {
  const { D: detail } = errorOf(messages);
  return detail?.startsWith('{') === true ? JSON.parse(detail).rule : undefined;
};

/** Answers that differ from connection to connection, or by the time of day. */
const isSteady = ({ sql }: CorpusCase): boolean =>
  !/random|clock_|now\(|current_|pid|uuid|stat|timeofday|explain|xact|lsn/i.test(sql);

test.each(CORPUS.filter((one) => one.denied))('refused: $name', async ({ sql }) => {
  const messages = await ask(weir, sql);
  expect(refusingRule(messages)).toBe('guard');
  expect(errorOf(messages)).toMatchObject({ S: 'ERROR', C: '42501' });
  expect(messages.map((message) => message.type)).toEqual(['E', 'Z']);
});

test('FETCH of a cursor that the same Query declares is let through or refused as that', async () => {
  const harmless = 'declare c cursor for values (1); fetch c; move c';
  const [said, expected] = await Promise.all([ask(weir, harmless), ask(bare, harmless)]);
  expect(transcribe(said)).toEqual(transcribe(expected));
  expect(errorOf(said)).toEqual({});
  expect(refusingRule(await ask(weir, 'declare c cursor for select f(); fetch c'))).toBe('guard');
  expect(refusingRule(await ask(weir, 'declare c cursor for values (1); close c; fetch c'))).toBe('guard');
});

/** FETCH and MOVE of a cursor that nobody declared: what they would run is unknown, so it is refused. */
const isOfUnknownCursor = ({ kinds = [] }: CorpusCase): boolean => kinds.includes('fetch') || kinds.includes('move');

test.each(CORPUS.filter(isOfUnknownCursor))('refused for want of its cursor: $name', async ({ sql }) => {
  expect(refusingRule(await ask(weir, sql))).toBe('guard');
});

test.each(CORPUS.filter((one) => !one.denied && !isOfUnknownCursor(one)))('let through: $name', async (one) => {
  const messages = await ask(weir, one.sql);
  expect(refusingRule(messages)).toBeUndefined();
  if (isSteady(one)) expect(transcribe(messages)).toEqual(transcribe(await ask(bare, one.sql)));
});

test('what is called a read is never refused by a standby as a write', async () => {
  const refused: string[] = [];
  for (const { name, sql } of CORPUS.filter((one) => one.class === 'read')) {
    if (errorOf(await ask(standby, sql)).C === '25006') refused.push(name);
  }
  expect(refused).toEqual([]);
});

test('a standby does refuse what is called a write', async () => {
  expect(errorOf(await ask(standby, 'create table never (a int)')).C).toBe('25006');
});

test('text that the grammar cannot read follows on_unparsed', async () => {
  const unreadable = CORPUS.filter((one) => one.unparsed !== undefined && one.sql.length < 100_000);
  expect(unreadable.length).toBeGreaterThan(5);
  for (const [mode, rule] of [
    ['deny', 'on_unparsed'],
    ['allow', undefined],
    ['observe', undefined],
  ] as const) {
    weir.control.rules.post(GUARD(mode, 'ddl'), 'test', { actor: 'test' });
    for (const { sql, name } of unreadable) expect([name, refusingRule(await ask(weir, sql))]).toEqual([name, rule]);
  }
});
