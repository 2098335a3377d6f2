// Explain tells every rule tried and why; lint tells what an author hardly meant.

import { describe, expect, test } from 'vitest';
import { loadRuleset } from '../../src/policy/compile.ts';
import { explain, formatExplanation } from '../../src/policy/explain.ts';
import { findLint } from '../../src/policy/lint.ts';
import { makeSubject, makeText } from './fact-maker.ts';

const load = (...rules: string[]) =>
  loadRuleset(`traffic_control:\n  rules:\n${rules.map((rule) => `    - ${rule}\n`).join('')}`, 'x', { epoch: 1 });

describe('explain', () => {
  const ruleset = load(
    '{ name: off, mode: off, action: deny, priority: 9 }',
    '{ name: other, action: deny, match: { user: other, query_class: read, not: { tables: t } } }',
    "{ name: dual, action: deny, match: { query_regex: dual, user: 'a*' } }",
    '{ name: below, action: deny }',
  );
  const explained = explain(ruleset, makeSubject(), makeText({ tables: ['t'] }, 'select 1 from dual'), false);

  test('names every rule in order, with what became of it', () => {
    expect(explained.statements[0]?.rules.map((rule) => `${rule.rule} ${rule.status}`)).toEqual([
      'off off',
      'other not_matched',
      'dual matched',
      'below not_reached',
    ]);
    expect(explained.refusal?.rule).toBe('dual');
  });

  test('tells each dimension: wanted, seen, held or not', () => {
    expect(explained.statements[0]?.rules[1]?.dimensions).toEqual([
      { key: 'user', isHeld: false, wanted: 'other', seen: 'app' },
      { key: 'query_class', isHeld: true, wanted: 'read', seen: 'read' },
      { key: 'not.tables', isHeld: true, wanted: 't', seen: 't' },
    ]);
  });

  test('can be read as text', () => {
    const text = formatExplanation(explained);
    expect(text).toContain('fails  user: wanted other; saw app');
    expect(text).toContain('=> refused by dual: 42501');
    expect(text).not.toContain('from dual');
  });
});

describe('lint', () => {
  test.each<[string, string[], RegExp]>([
    [
      'a rule below an unconditional deny',
      ['{ name: a, action: deny }', '{ name: b, action: deny, match: { user: x } }'],
      /^rule "b": is never reached: "a" above denies everything/,
    ],
    [
      'a rule below a deny of the same match',
      ['{ name: a, action: deny, match: { user: x } }', '{ name: b, action: allow, match: { user: x } }'],
      /^rule "b": is never reached: "a" ends/,
    ],
    ['a rule without a match', ['{ name: a, action: observe }'], /^rule "a": has no match/],
    [
      'a twin',
      ['{ name: a, action: observe, match: { user: x } }', '{ name: b, action: observe, match: { user: x } }'],
      /^rule "b": does the same .* "a"/,
    ],
    [
      'an exemption by application_name',
      ['{ name: a, action: allow, match: { application_name: x } }'],
      /guarded only by application_name/,
    ],
    [
      'a parameter without meaning',
      ['{ name: a, action: deny, match: { user: x }, timeout_ms: 5 }'],
      /timeout_ms has no meaning for action deny/,
    ],
    [
      'a regex for a whole statement',
      ["{ name: a, action: deny, match: { query_regex: '(?is)^\\s*delete\\s+from\\s+\\w+$' } }"],
      /a fingerprint, or statement with tables/,
    ],
    ['a not that always holds', ['{ name: a, action: deny, match: { user: x, not: {} } }'], /never matches/],
    [
      'bits behind a prefix',
      ['{ name: a, action: deny, match: { client_ip: 10.1.0.0/8 } }'],
      /bits set behind its prefix/,
    ],
    [
      'patterns that make an automaton grow',
      ["{ name: a, action: deny, match: { query_regex: '(?s)a.{200}b' } }"],
      /large automaton/,
    ],
  ])('tells of %s', (_, rules, words) => {
    expect(findLint(load(...rules)).filter((line) => words.test(line))).toHaveLength(1);
  });

  test('has nothing to say of rules that are in order', () => {
    expect(
      findLint(
        load(
          '{ name: a, action: allow, match: { user: admin, application_name: psql } }',
          '{ name: b, action: deny, match: { user: x }, message: no }',
          '{ name: c, action: deny, mode: off }',
          '{ name: d, action: observe, match: { user: x, database: y } }',
        ),
      ),
    ).toEqual([]);
  });
});
