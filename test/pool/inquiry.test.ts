// pgweir's own question on a server connection at rest, against a real server: the whole answer, and the connection as it
// was; or an error, and the connection is of no more use.

import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { WeirError } from '../../src/base/errors.ts';
import { inquire } from '../../src/pool/inquiry.ts';
import { TRANSACTION } from '../../src/wire/codes.ts';
import { waitFor } from '../support/deadline.ts';
import { sharedPostgres } from '../support/shared-postgres.ts';
import { openLine, type ServerLine } from './server-line.ts';

const postgres = sharedPostgres();
let server: ServerLine;

beforeEach(async () => {
  server = await openLine(postgres.primaryPort);
});

afterEach(() => server.close());

describe('an answer', () => {
  test('has the rows of all statements, with NULL and empty told apart', async () => {
    const { rows, sqlstate } = await server.ask("SELECT 1, NULL, ''; SELECT 'é'");
    expect(rows).toEqual([['1', null, ''], ['é']]);
    expect(sqlstate).toBeNull();
  });

  test('may be longer than what is read at once', async () => {
    const { rows } = await server.ask("SELECT repeat('x', 300000) FROM generate_series(1, 5)");
    expect(rows.map(([text]) => text?.length)).toEqual([300_000, 300_000, 300_000, 300_000, 300_000]);
  });

  test('may have no rows at all', async () => {
    expect((await server.ask('')).rows).toEqual([]);
  });

  test('of the server that is an error is no failure, and the connection goes on', async () => {
    const { sqlstate, message } = await server.ask('SELECT 1/0');
    expect([sqlstate, message]).toEqual(['22012', 'division by zero']);
    expect(await server.value('SELECT 2')).toBe('2');
  });

  test('tells of changed parameters, and keeps notices and notifications as they came', async () => {
    await server.run('LISTEN inquiries');
    const answer = await server.ask(
      `SET TimeZone = 'Asia/Tokyo'; NOTIFY inquiries, 'payload'; DO $$BEGIN RAISE NOTICE 'a word'; END$$`,
    );
    expect(answer.parameters).toEqual([{ name: 'TimeZone', value: 'Asia/Tokyo' }]);
    const asides = answer.asides.toString('utf8');
    expect(asides).toContain('a word');
    expect(asides).toContain('inquiries\0payload');
    expect((await server.ask('SELECT 1')).asides.length).toBe(0);
  });
});

describe('a transaction block', () => {
  test('in which it is asked stays open; an answer that ends it is none', async () => {
    expect(await server.step('BEGIN')).toBe(TRANSACTION.open);
    const { sqlstate } = await inquire(server.line, "SET LOCAL geqo_seed = '0.5'", 5_000, TRANSACTION.open);
    expect(sqlstate).toBeNull();
    await expect(inquire(server.line, 'COMMIT', 5_000, TRANSACTION.open)).rejects.toThrow(WeirError);
  });

  test.each([
    ['that an error left behind', 'BEGIN; SELECT 1/0', '22012'],
    ['that nobody ended', 'BEGIN; SELECT 1', null],
  ])('%s is rolled back before the answer is given', async (_what, sql, sqlstate) => {
    const answer = await server.ask(sql);
    expect(answer.sqlstate).toBe(sqlstate);
    expect((await server.ask('SAVEPOINT a')).sqlstate).toBe('25P01');
  });
});

describe('the connection', () => {
  test('is left paused where it was paused, and reading where it was reading', async () => {
    const { socket } = server.line;
    socket.pause();
    await server.ask('SELECT 1');
    expect(socket.isPaused()).toBe(true);
    socket.resume();
    await server.ask('SELECT 1');
    expect(socket.isPaused()).toBe(false);
  });

  test('has its receiver back, which hears what comes later', async () => {
    const { socket, inlet } = server.line;
    let heard = '';
    const receive = (buffer: Buffer, length: number): void => {
      heard += buffer.toString('latin1', 0, length);
    };
    inlet.receive = receive;
    await server.ask('LISTEN later');
    expect(inlet.receive).toBe(receive);
    socket.resume();
    await postgres.query("SELECT pg_notify('later', 'hello')");
    await waitFor(
      () => heard.includes('later\0hello'),
      5_000,
      () => `heard ${JSON.stringify(heard)}`,
    );
  });

  test.each([
    ['that the server closes', 'SELECT pg_terminate_backend(pg_backend_pid())', 'target_gone'],
    ['that would wait for data', 'CREATE TEMP TABLE t (); COPY t FROM STDIN', 'target_protocol_violation'],
    ['that is slower than it may be', 'SELECT pg_sleep(60)', 'target_gone'],
  ])('%s is told as an error with its code', async (_what, sql, code) => {
    const failure = await inquire(server.line, sql, 500).then(
      () => null,
      (error: unknown) => error,
    );
    expect(failure).toBeInstanceOf(WeirError);
    expect(failure).toMatchObject({ code });
  });

  test('that has ended is refused at once', async () => {
    server.close();
    await expect(server.ask('SELECT 1')).rejects.toMatchObject({ code: 'target_gone' });
  });
});
