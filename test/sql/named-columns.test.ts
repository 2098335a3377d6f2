// Which columns a statement names in other ways than by a reference: in keys, privileges, definitions, commands about one column.

import { beforeAll, expect, test } from 'vitest';
import { loadParser } from '../../src/sql/parse.ts';
import { readStatements } from '../../src/sql/statement-reader.ts';

beforeAll(loadParser);

const columnsOf = (sql: string): string[] => {
  const statements = readStatements(sql);
  expect(statements.map(({ shape }) => shape.unparsed)).toEqual([null]);
  return statements.flatMap(({ shape }) => [...shape.columns]).sort();
};

test.each([
  ['GRANT SELECT (ssn), UPDATE (name) ON people TO bob', ['name', 'ssn']],
  ['REVOKE SELECT (ssn) ON people FROM bob', ['ssn']],
  ['ANALYZE people (ssn)', ['ssn']],
  ['VACUUM (ANALYZE) people (ssn)', ['ssn']],
  ['CREATE STATISTICS s ON ssn, (name || born) FROM people', ['born', 'name', 'ssn']],
  ['CREATE PUBLICATION p FOR TABLE people (ssn) WHERE (id > 1)', ['id', 'ssn']],
  ['ALTER PUBLICATION p ADD TABLE people (ssn)', ['ssn']],
  ['CREATE TRIGGER t BEFORE UPDATE OF ssn ON people EXECUTE FUNCTION f()', ['ssn']],
  ['ALTER TABLE people DROP COLUMN ssn, ALTER born SET NOT NULL', ['born', 'ssn']],
  ['ALTER TABLE people ALTER ssn TYPE text USING name', ['name', 'ssn']],
  ['ALTER TABLE people ALTER ssn SET STATISTICS 3', ['ssn']],
  ['ALTER TABLE people ADD ssn text', ['ssn']],
  ['ALTER TABLE people RENAME ssn TO x', ['ssn', 'x']],
  ['ALTER FOREIGN TABLE people ALTER ssn OPTIONS (ADD a $$b$$)', ['ssn']],
  ['ALTER TYPE address ADD ATTRIBUTE street text', ['street']],
  ["COMMENT ON COLUMN hr.people.ssn IS 'x'", ['ssn']],
  ['ALTER SEQUENCE q OWNED BY hr.people.ssn', ['ssn']],
  ['CREATE SEQUENCE q OWNED BY NONE', []],
  ["SECURITY LABEL ON COLUMN people.ssn IS 'x'", ['ssn']],
  ['CREATE TABLE q (a text REFERENCES people (ssn)) PARTITION BY LIST (a)', ['a', 'ssn']],
  ['CREATE TABLE q (a text, FOREIGN KEY (a) REFERENCES people (ssn), UNIQUE (a) INCLUDE (b))', ['a', 'b', 'ssn']],
  ['COPY people (id) TO STDOUT (FORMAT csv, FORCE_QUOTE (ssn))', ['id', 'ssn']],
  ['UPDATE people SET address.street = 1', ['address', 'street']],
  ['INSERT INTO people (address.street, tags[1]) VALUES (1, 2)', ['address', 'street', 'tags']],
  ['CREATE INDEX ON people (ssn) INCLUDE (name)', ['name', 'ssn']],
])('%s', (sql, columns) => {
  expect(columnsOf(sql)).toEqual(columns);
});

test.each([
  'ALTER TABLE people RENAME CONSTRAINT ssn TO x',
  'ALTER TABLE people DROP CONSTRAINT ssn',
  'ALTER TABLE people CLUSTER ON ssn',
  'ALTER TABLE people ENABLE TRIGGER ssn',
  'ALTER TABLE ssn RENAME TO x',
  "COMMENT ON TRIGGER ssn ON people IS 'x'",
  'SELECT 1 FROM json_to_record($1) AS x(ssn text)',
  'CREATE VIEW v (ssn) AS SELECT 1',
  'GRANT ssn TO bob',
])('a name that is no column is not taken for one: %s', (sql) => {
  expect(columnsOf(sql)).toEqual([]);
});
