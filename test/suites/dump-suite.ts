// A database of 500 MB by pg_dump and psql over the same road, both at once: the copy's dump must be the original's.

import type { Suite, TestOutcome, Workplace } from './suite.ts';
import { demandSame, runChecks, ToolRun } from './tool-run.ts';

const MIN_BYTES = 500_000_000;
/** What pgbench's four tables lack: wide rows, bytes, arrays, documents, large objects, things other than tables. */
const FILL = `
CREATE TYPE mood AS ENUM ('calm', 'rough');
CREATE TABLE wide (
  id bigint PRIMARY KEY, words text NOT NULL, bytes bytea, numbers int[], document jsonb, moment timestamptz, feeling mood
);
INSERT INTO wide
  SELECT i, repeat(md5(i::text), 8), decode(repeat(md5((i + 1)::text), 6), 'hex'), ARRAY[i, NULL, -i],
    jsonb_build_object('number', i, 'quote', E'it''s "quoted"\\\\ \\n\\t é'), to_timestamp(i), 'rough'
  FROM generate_series(1, 620000) i;
CREATE INDEX wide_document ON wide USING gin (document);
CREATE VIEW calm AS SELECT * FROM wide WHERE feeling = 'calm';
CREATE FUNCTION twice(int) RETURNS int LANGUAGE sql AS 'SELECT 2 * $1';
CREATE MATERIALIZED VIEW counted AS SELECT feeling, count(*) FROM wide GROUP BY 1;
SELECT count(lo_from_bytea(0, decode(repeat(md5(i::text), 60000), 'hex'))) FROM generate_series(1, 20) i;
`;

export const DUMP_SUITE: Suite = {
  name: 'dump',
  configuration: { max_wal_size: '4GB', shared_buffers: '256MB', autovacuum: 'off' },
  // pg_dump waits for psql to read on.
  minPoolSize: 2,
  run: runDump,
};

async function runDump(workplace: Workplace): Promise<TestOutcome[]> {
  const tools = new ToolRun(workplace);
  await tools.ask('CREATE DATABASE original');
  await tools.run('pgbench', ['-i', '-q', '-s', '10', '-d', 'original'], 'direct');
  await tools.ask(FILL, 'original');
  const dump = 'pg_dump --restrict-key=suites';
  return runChecks([
    [
      'the database has 500 MB at least',
      async () => {
        const bytes = Number(await tools.ask("SELECT pg_database_size('original')"));
        if (bytes < MIN_BYTES) throw new Error(`it has ${bytes} bytes`);
      },
    ],
    [
      'pg_dump | psql',
      async () => {
        await tools.run('createdb', ['copy']);
        await tools.shell(`${dump} original | psql -Xq -v ON_ERROR_STOP=1 -d copy > /dev/null`);
      },
    ],
    [
      'the dump of the copy is the dump of the original',
      async () => {
        const original = await tools.shell(`${dump} original | sha256sum`, 'direct');
        demandSame('sha256 of the copy', await tools.shell(`${dump} copy | sha256sum`, 'direct'), original);
        demandSame('sha256 by the road', await tools.shell(`${dump} original | sha256sum`), original);
      },
    ],
  ]);
}
