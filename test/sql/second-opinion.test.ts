// pgsql-ast-parser, an independent parser, asked about the same texts: where it can read one, kind and tables must agree.

import { astVisitor, parse, type Statement } from 'pgsql-ast-parser';
import { beforeAll, expect, test } from 'vitest';
import { loadParser } from '../../src/sql/parse.ts';
import { readStatements } from '../../src/sql/statement-reader.ts';
import { CORPUS } from './corpus.ts';

beforeAll(loadParser);

/** Its names of statements → ours, for those that both have. */
const KINDS: Readonly<Record<string, string>> = {
  select: 'select',
  union: 'select',
  'union all': 'select',
  values: 'select',
  insert: 'insert',
  update: 'update',
  delete: 'delete',
  'truncate table': 'truncate',
  'create table': 'create_table',
  'drop table': 'drop_table',
  'alter table': 'alter_table',
  'create index': 'create_index',
  commit: 'commit',
  rollback: 'rollback',
};

const TEXTS = [
  ...CORPUS.filter((one) => one.unparsed === undefined && one.sql.length < 2000).map((one) => one.sql),
  "select u.id, count(*) from users u join orders o on o.user_id = u.id where o.status = 'paid' group by 1 having count(*) > 3",
  'insert into a (x, y) select x, y from b where exists (select 1 from c) on conflict do nothing returning x',
  'update a set x = b.x from b where a.id = b.id and a.y in (select y from c)',
  'delete from a using b where a.id = b.id',
  'with a as (select * from b), c as (select * from a) select * from c left join d using (id)',
  'with a as (select * from b) update c set x = 1 where id in (select id from a)',
  'select * from (select * from a union select * from b) x, c cross join d',
  'select (select max(x) from a) from b order by (select 1 from c limit 1)',
  'create table a (id serial primary key, b_id int references b (id))',
  'select * from s.a, "S"."A"',
];

function read(text: string): Statement[] | null {
  try {
    return parse(text);
  } catch {
    return null;
  }
}

/** Its own visitor leaves CTE names in; they are taken out where no table of that name can be meant. */
function tablesOf(statement: Statement): string[] {
  const tables = new Set<string>();
  const visitor = astVisitor(() => ({
    tableRef: (table) => {
      tables.add(table.schema === undefined ? table.name : `${table.schema}.${table.name}`);
    },
  }));
  visitor.statement(statement);
  return [...tables];
}

test('kind and tables agree with the second parser wherever it reads the text', () => {
  let compared = 0;
  let comparedTables = 0;
  for (const text of TEXTS) {
    const others = read(text);
    const ours = readStatements(text);
    if (others === null || others.length !== ours.length) continue;
    for (const [index, other] of others.entries()) {
      const facts = ours[index];
      if (facts === undefined) continue;
      const kind = other.type === 'with' ? KINDS[other.in.type] : KINDS[other.type];
      if (kind === undefined) continue;
      expect(facts.shape.kinds[0], text).toBe(kind);
      compared++;
      const isQuery = ['select', 'insert', 'update', 'delete'].includes(kind);
      // It has no scoping of its own; texts with WITH are compared by kind only.
      if (!isQuery || /\bwith\b/i.test(text)) continue;
      // Functions in FROM are tables to it.
      const theirs = tablesOf(other).filter((name) => !facts.shape.functions.includes(name));
      expect([...facts.shape.tables].sort(), text).toEqual(theirs.sort());
      comparedTables++;
    }
  }
  expect(compared).toBeGreaterThan(80);
  expect(comparedTables).toBeGreaterThan(60);
});
