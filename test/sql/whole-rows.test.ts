// Who reads a column without naming it: the server's own privileges on columns tell, and the facts must not miss it.

import { afterAll, beforeAll, expect, test } from 'vitest';
import { loadParser } from '../../src/sql/parse.ts';
import { readStatements } from '../../src/sql/statement-reader.ts';
import { sharedPostgres } from '../support/shared-postgres.ts';
import { ServerError, WireClient } from '../support/wire-client.ts';

const SCHEMA = 'whole_rows';
const ROLE = 'whole_rows_reader';
const DENIED = '42501';
const postgres = sharedPostgres();
let reader: WireClient;

beforeAll(async () => {
  await loadParser();
  await postgres.query(`
    CREATE ROLE ${ROLE};
    CREATE SCHEMA ${SCHEMA};
    GRANT USAGE ON SCHEMA ${SCHEMA} TO ${ROLE};
    CREATE TABLE ${SCHEMA}.p (id int PRIMARY KEY, name text, ssn text);
    CREATE TABLE ${SCHEMA}.q (id int);
    GRANT SELECT (id, name), UPDATE (name), DELETE ON ${SCHEMA}.p TO ${ROLE};
    GRANT SELECT ON ${SCHEMA}.q TO ${ROLE}`);
  reader = await WireClient.login(
    { host: postgres.host, port: postgres.primaryPort },
    { user: postgres.user, database: postgres.database },
  );
  await reader.rows(`SET search_path = ${SCHEMA}`);
  await reader.rows(`SET ROLE ${ROLE}`);
});

afterAll(async () => {
  await reader.end();
  await postgres.query(`DROP SCHEMA ${SCHEMA} CASCADE; DROP ROLE ${ROLE}`);
});

const READING = [
  'SELECT * FROM p',
  'SELECT p.* FROM p',
  'TABLE p',
  'SELECT p FROM p',
  'SELECT x FROM p AS x',
  'SELECT to_json(p) FROM p',
  'SELECT row_to_json(x)::text FROM p x',
  'SELECT count(p) FROM p',
  'SELECT 1 FROM p WHERE p IS NOT NULL',
  'SELECT 1 FROM p ORDER BY p',
  'SELECT (SELECT p) FROM p',
  'SELECT c FROM (SELECT p AS c FROM p) s',
  'WITH c AS (SELECT p AS r FROM p) SELECT r FROM c',
  'SELECT b FROM p AS x(a, n, b)',
  'SELECT j FROM (p JOIN q USING (id)) AS j',
  'SELECT s FROM (p JOIN q USING (id)) AS j(i, n, s)',
  'UPDATE p SET name = name RETURNING p',
  'UPDATE p SET name = name RETURNING old',
  'UPDATE p SET name = name RETURNING WITH (NEW AS n) n',
  'DELETE FROM p RETURNING to_json(p)',
  'COPY p TO STDOUT',
  'COPY (SELECT p FROM p) TO STDOUT',
  'EXPLAIN SELECT p FROM p',
  'SELECT id FROM p WHERE EXISTS (SELECT 1 FROM q WHERE p IS NULL)',
  'SELECT ssn FROM p',
  'SELECT (p).ssn FROM p',
];

const READING_OTHERS = [
  'SELECT id, name FROM p',
  'SELECT x.id FROM p AS x',
  'SELECT count(*) FROM p',
  'SELECT s FROM (SELECT id FROM p) s',
  'WITH c AS (SELECT id FROM p) SELECT c FROM c',
  'SELECT 1 FROM p JOIN q USING (id)',
  'UPDATE p SET name = name RETURNING id',
  'UPDATE p SET name = name RETURNING old.id, new.name',
  'COPY p (id, name) TO STDOUT',
  "SELECT 'p' FROM p",
];

/** Whether a rule on `ssn` and `*` would match. */
function readSsn(sql: string): boolean {
  const columns = readStatements(Buffer.from(sql).toString('latin1')).flatMap(({ shape }) => shape.columns);
  return columns.some((column) => /(^|\.)(ssn|\*)$/.test(column));
}

async function isDenied(sql: string): Promise<boolean> {
  try {
    await reader.rows(sql);
    return false;
  } catch (error) {
    if (error instanceof ServerError && error.code === DENIED) return true;
    throw error;
  }
}

test.each(READING)('reads a column that the server keeps from it: %s', async (sql) => {
  expect(await isDenied(sql)).toBe(true);
  expect(readSsn(sql)).toBe(true);
});

test.each(READING_OTHERS)('reads other columns only: %s', async (sql) => {
  expect(await isDenied(sql)).toBe(false);
  expect(readSsn(sql)).toBe(false);
});
