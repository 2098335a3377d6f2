// Generators of SQL-like text for property tests: nearly always well-formed, often tricky, sometimes garbage.

import fc from 'fast-check';

const STRINGS = ["'a'", "''", "'it''s'", "'-- x'", "'/* x'", "'?'", "'ü'", "'x\ny'", "'$1'", "'\"'", "' ; '"];
const INTEGERS = ['0', '1', '42', '007', '123456789', '2147483647'];
const NUMBERS = ['1.5', '0.25', '2147483648', '99999999999', '3.0'];
const EXOTIC = [
  ...[
    "E'a\\'b'",
    "e'\\\\'",
    "U&'\\0061'",
    "B'101'",
    "x'1F'",
    "N'a'",
    '$$a$$',
    "$q$ ' $$ $q$",
    '1e5',
    '1.',
    '.5',
    '1.5e-3',
  ],
  ...[
    '0x1F',
    '0b11',
    '1_000',
    '1..2',
    'u&"\\0061"',
    '"ä"',
    'ä',
    '?',
    '\\',
    '{',
    "'a'\n'b'",
    "'a' 'b'",
    "'a'--c\n'b'",
    '$',
    '$a',
  ],
  ...[
    "'a\\'",
    "a'b'",
    '1a',
    '$1a',
    '1$1',
    'float(3)',
    'float(99)',
    'e',
    'U&',
    'a$1',
    'a1',
    '\u00a0',
    "'",
    '"',
    '/*',
    '*/',
    '$$',
  ],
];
const WORDS = [
  ...[
    'a',
    'b',
    't.c',
    'T',
    '"A b"',
    '"x""y"',
    '$1',
    '$2',
    'and',
    'or',
    'not',
    'is null',
    'in',
    'f(',
    'lower(',
    'now()',
    '(',
    ')',
  ],
  ...[
    ',',
    '=',
    '<',
    '>=',
    '<>',
    '+',
    '-',
    '*',
    '/',
    '||',
    '::',
    'int',
    '::text',
    ':',
    '[',
    ']',
    '%',
    '@>',
    '->>',
    '#>',
    '.',
    '`',
    '&',
  ],
  ...[
    'from t',
    'from s.t x',
    'where',
    'group by',
    'order by',
    'limit',
    'as x',
    'join u on',
    'union all select',
    'values (',
  ],
  ...[
    'interval',
    'date',
    'between',
    'like',
    'case when',
    'then',
    'end',
    'null',
    'true',
    'distinct',
    'array[',
    'any (',
    'exists (select',
  ],
];
const SPACE = [' ', ' ', ' ', '  ', '\n', '\t', '\r\n', '', '/**/', '/* c */', '-- c\n', '/* /* n */ */', '\f', '--\r'];
const COMMENTS = ["/*route='/a',id='1'*/", "/* it's */", "/*traceparent='00-ab-cd-01'*/", '/* ü */', '-- $$ \n'];
const STARTS = [
  'select',
  'SELECT',
  'insert into t values (',
  'update t set a =',
  'delete from t where',
  'with x as (select',
  'values (',
];
const OTHER_STARTS = [
  'table',
  'merge into t using u on',
  'explain',
  'copy',
  'set a =',
  'begin',
  '(select',
  '',
  ';',
  '-- c\nselect',
];

const literal = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom(...STRINGS) },
  { weight: 3, arbitrary: fc.constantFrom(...INTEGERS) },
  { weight: 2, arbitrary: fc.constantFrom(...NUMBERS) },
);
const word = fc.constantFrom(...WORDS);
const space = fc.oneof(
  { weight: 6, arbitrary: fc.constant(' ') },
  { weight: 2, arbitrary: fc.constantFrom(...SPACE) },
  { weight: 1, arbitrary: fc.constantFrom(...COMMENTS) },
);
const piece = fc.oneof(
  { weight: 5, arbitrary: word },
  { weight: 4, arbitrary: literal },
  { weight: 1, arbitrary: fc.constantFrom(...EXOTIC) },
);

/** Words, literals and oddities in any order: the grammar refuses most of it. */
export const tokenSoup: fc.Arbitrary<string> = fc
  .tuple(
    fc.oneof(
      { weight: 4, arbitrary: fc.constantFrom(...STARTS) },
      { weight: 1, arbitrary: fc.constantFrom(...OTHER_STARTS) },
    ),
    fc.array(fc.tuple(space, piece), { maxLength: 8 }),
    fc.constantFrom('', '', ';', ' ; -- c', '/* c */', ';;', '; select 1'),
  )
  .map(([start, pieces, end]) => start + pieces.map(([gap, token]) => gap + token).join('') + end);

const value = fc.oneof(
  { weight: 4, arbitrary: literal },
  {
    weight: 2,
    arbitrary: fc.constantFrom('a', 't.b', '$1', 'null', 'now()', 'f(a)', "lower('X')", '"Q"', 'a::text', '- 1', '-1'),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom(
      "E'\\''",
      '$$x$$',
      "date '2020-01-01'",
      '1e3',
      '.5',
      "x'F'",
      "U&'a'",
      "N'a'",
      '0x1F',
      '1_0',
    ),
  },
  // The grammar looks at the kind of these literals, and at the value of float's.
  {
    weight: 1,
    arbitrary: fc.constantFrom(
      'a::varchar(5)',
      'a::varchar(5.5)',
      "a::varchar('5')",
      'a::float(3)',
      'a::float(99)',
      "a ? 'b'",
      'a ? ?',
    ),
  },
);
const condition = fc
  .tuple(
    fc.constantFrom('a', 't.b', '"Q"', 'ä'),
    fc.constantFrom('=', '<>', '<', 'like', '||', '->>', 'is distinct from'),
    value,
  )
  .map(([left, operator, right]) => ({ left, operator, right }));

/** Statements that the grammar accepts nearly always, with odd spacing and comments. */
export const queries: fc.Arbitrary<string> = fc
  .tuple(
    fc.constantFrom('select', 'select into', 'insert', 'update', 'delete', 'cte', 'values'),
    fc.array(value, { minLength: 1, maxLength: 4 }),
    fc.option(condition),
    space,
    fc.constantFrom('', ';', ' ;', ' /*c*/', '\n'),
  )
  .map(([kind, values, where, gap, end]) => {
    const s = gap === '' ? ' ' : gap;
    const filter = where === null ? '' : `${s}where${s}${where.left}${gap} ${where.operator} ${gap}${where.right}`;
    const list = values.join(`${gap},`);
    switch (kind) {
      case 'select':
        return `select${s}${list}${s}from${s}t${filter}${end}`;
      case 'select into':
        return `select${s}${list}${s}into${s}u${s}from t${filter}${end}`;
      case 'insert':
        return `insert into t values${gap}(${list})${end}`;
      case 'update':
        return `update${s}t set a${gap}=${gap}${values[0] ?? '1'}${filter}${end}`;
      case 'delete':
        return `delete${s}from t${filter}${end}`;
      case 'cte':
        return `with x as${gap}(delete from t${filter} returning a)${gap}select${s}${list} from x${end}`;
      default:
        return `values${gap}(${list})${end}`;
    }
  });

/** Another literal of the same kind, as PostgreSQL's scanner sees kinds. */
export function otherLiterals(kind: 'string' | 'integer' | 'number'): fc.Arbitrary<string> {
  if (kind === 'string') return fc.constantFrom(...STRINGS);
  return kind === 'integer' ? fc.constantFrom(...INTEGERS) : fc.constantFrom(...NUMBERS);
}
