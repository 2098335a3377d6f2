// Documents that know their places, and complaints that a person can act on.

import { Ajv } from 'ajv';
import { expect, test } from 'vitest';
import { findSchemaProblems, formatProblem, PositionedDocument } from '../../src/base/yaml-document.ts';

const validate = new Ajv({ allErrors: true, verbose: true, allowUnionTypes: true }).compile({
  type: 'object',
  additionalProperties: false,
  required: ['items'],
  properties: {
    items: {
      type: 'array',
      items: {
        type: 'object',
        additionalProperties: false,
        required: ['name'],
        properties: {
          name: { type: 'string' },
          weight: { type: 'integer', minimum: 0 },
          color: { enum: ['red', 'green'] },
          who: { anyOf: [{ type: 'string' }, { type: 'array', items: { type: 'string' } }] },
        },
      },
    },
  },
});

function complaintsOf(text: string): string[] {
  const document = new PositionedDocument(text, 'x');
  const problems = document.problems.length > 0 ? document.problems : findSchemaProblems(document, validate);
  return problems.map(formatProblem);
}

test('a document that fits has no complaints, as YAML and as JSON', () => {
  expect(complaintsOf('items:\n  - { name: a, weight: 1, color: red, who: [x, y] }\n')).toEqual([]);
  expect(complaintsOf('{"items": [{"name": "a", "who": "x"}]}')).toEqual([]);
});

test.each([
  [
    'an unknown key, with the one that was meant',
    'items:\n  - name: a\n    wieght: 1\n',
    'x:3:5: items[0].wieght: unknown key "wieght" (did you mean "weight"?)',
  ],
  ['an unknown key that is like no other', 'items: []\nsomething: 1\n', 'x:2:1: something: unknown key "something"'],
  ['a missing key', 'items:\n  - weight: 1\n', 'x:2:5: items[0]: missing key "name"'],
  [
    'a word that is not in the list',
    'items:\n  - { name: a, color: gren }\n',
    'x:2:23: items[0].color: "gren" is not one of red, green (did you mean "green"?)',
  ],
  ['a wrong type', 'items:\n  - { name: 7 }\n', 'x:2:13: items[0].name: must be a string, not 7 (a number)'],
  [
    'a choice that fits no branch: told once',
    'items:\n  - { name: a, who: 7 }\n',
    'x:2:21: items[0].who: must be a string or a list, not 7 (a number)',
  ],
  [
    'a choice that fails deeper: told there',
    'items:\n  - { name: a, who: [x, 7] }\n',
    'x:2:25: items[0].who[1]: must be a string, not 7 (a number)',
  ],
  ['a bound', 'items:\n  - { name: a, weight: -1 }\n', 'x:2:24: items[0].weight: must be >= 0'],
  ['an empty text', '', 'x:1:1: must be a map, not null'],
  ['a key twice', 'items: []\nitems: []\n', 'x:2:1: Map keys must be unique'],
  ['a second document', 'items: []\n---\nitems: []\n', 'x:2:1: a second document begins here; there must be only one'],
  [
    'an alias without an anchor',
    'items:\n  - { name: &a x }\n  - { name: *a, color: *b }\n',
    'x:3:24: a word that begins with * is an alias to YAML, and there is no such anchor above: quote it if it is none',
  ],
  [
    'an alias above its anchor',
    'items:\n  - { name: *a }\n  - { name: &a x }\n',
    'x:2:13: a word that begins with * is an alias to YAML, and there is no such anchor above: quote it if it is none',
  ],
  [
    'a number that JSON does not know',
    'items:\n  - { name: x, weight: .nan }\n',
    'x:2:24: items[0].weight: must be a whole number, not NaN (a number)',
  ],
  [
    'a tag that is not known, which would be dropped with a warning',
    'items:\n  - { name: !admin a }\n',
    'x:2:13: a word that begins with ! is a tag to YAML, and this one is not known: quote it if it is none',
  ],
  ['an alias in its own anchor', 'items: &a [ *a ]\n', 'x:1:1: an alias refers to the part that holds it'],
])('%s', (_name, text, complaint) => {
  expect(complaintsOf(text)).toEqual([complaint]);
});

test.each([
  '*hunter2',
  '| hunter2',
  '> hunter2',
  '!hunter2',
  '!a!hunter2',
  '!<hunter2> x',
  '@hunter2',
  '`hunter2',
  '"x" hunter2',
  '|hunter2',
  'x\n! who: "hunter2"',
  'x\n! who: hunter2',
])('text that is no YAML is not quoted in the complaint, for it may be a password: %s', (password) => {
  const complaints = complaintsOf(`items:\n  - name: ${password}\n`);
  expect(complaints).not.toEqual([]);
  expect(complaints.join()).not.toContain('hunter');
});

test('two wrong choices in one document are both told', () => {
  expect(complaintsOf('items:\n  - { name: a, who: 7 }\n  - { name: b, who: [8] }\n')).toEqual([
    'x:2:21: items[0].who: must be a string or a list, not 7 (a number)',
    'x:3:22: items[1].who[0]: must be a string, not 8 (a number)',
  ]);
});

test('aliases that multiply without end are refused at once', () => {
  const lines = ['a0: &a0 [x, x, x, x, x, x, x, x, x]'];
  for (let level = 1; level < 9; level += 1)
    lines.push(
      `a${level}: &a${level} [${Array(9)
        .fill(`*a${level - 1}`)
        .join(', ')}]`,
    );
  const startMs = performance.now();
  expect(complaintsOf(lines.join('\n'))[0]).toContain('alias');
  expect(performance.now() - startMs).toBeLessThan(2000);
});

test('a thousand mistakes are told up to a bound, and soon', () => {
  const startMs = performance.now();
  const complaints = complaintsOf(`items:\n${'  - { name: a, who: 7, color: blue }\n'.repeat(1000)}`);
  expect(complaints.length).toBeLessThanOrEqual(50);
  expect(complaints.length).toBeGreaterThan(10);
  expect(performance.now() - startMs).toBeLessThan(10_000);
});

test('one top-level key can be cut out with every line and column in place', () => {
  const text = 'one: { a: 1 }\ntwo:\n  - b  # comment\nthree: 3\n';
  const isolated = new PositionedDocument(text, 'x').isolateTopLevel('two');
  expect(isolated?.length).toBe(text.length);
  expect(new PositionedDocument(isolated ?? '', 'x').value).toEqual({ two: ['b'] });
  expect(isolated?.split('\n')[2]).toBe('  - b  # comment');
  const flow = new PositionedDocument('{"one": 1, "two": {"b": [1]}, "three": 3}', 'x').isolateTopLevel('two');
  expect(new PositionedDocument(flow ?? '', 'x').value).toEqual({ two: { b: [1] } });
  const braces = '{\n"one": 1,\n"two": [\n{ "b": 1 }\n],\n"three": {\n}\n}\n';
  const between = new PositionedDocument(braces, 'x').isolateTopLevel('two');
  expect(between?.length).toBe(braces.length);
  expect(JSON.parse(between ?? '')).toEqual({ two: [{ b: 1 }] });
  expect(between?.split('\n')[3]).toBe('{ "b": 1 }');
  expect(new PositionedDocument(text, 'x').isolateTopLevel('four')).toBeNull();
  expect(new PositionedDocument('- a', 'x').isolateTopLevel('two')).toBeNull();
});

test('a problem can be placed at a path, its key, or the nearest part of it that exists', () => {
  const document = new PositionedDocument('a:\n  b: [ 1, 2 ]\n', 'x');
  const place = (path: (string | number)[], at?: 'key'): number[] => {
    const { line, column } = document.problemAt(path, '', at);
    return [line, column];
  };
  expect(place(['a', 'b', 1])).toEqual([2, 11]);
  expect(place(['a', 'b'])).toEqual([2, 6]);
  expect(place(['a', 'b'], 'key')).toEqual([2, 3]);
  expect(place(['a', 'c', 'd'])).toEqual([2, 3]);
  expect(place([])).toEqual([1, 1]);
});

test('another file of 60,000 keys, posted by mistake, is refused soon, and a key that comes twice among them is told', () => {
  const keys = Array.from({ length: 60_000 }, (_, index) => `key${index}: x`);
  const startMs = performance.now();
  expect(complaintsOf(keys.join('\n'))).toHaveLength(50);
  expect(complaintsOf([...keys, 'key0: y'].join('\n'))).toEqual(['x:60001:1: Map keys must be unique']);
  expect(complaintsOf('items: [ { name: a, name: b } ]')).toEqual(['x:1:21: Map keys must be unique']);
  expect(performance.now() - startMs).toBeLessThan(10_000);
});
