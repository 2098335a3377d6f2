// Rule documents: the example loads as it is, every bad one is refused with line, column and words.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { DocumentProblem } from '../../src/base/yaml-document.ts';
import { compileRuleset, loadRuleset } from '../../src/policy/compile.ts';
import type { CompiledRuleset } from '../../src/policy/compiled-ruleset.ts';
import { MAX_DOCUMENT_BYTES, parseRuleDocument, RuleDocumentError } from '../../src/policy/document.ts';
import type { RuleDocument } from '../../src/policy/rule.ts';
import { makeHundredRules } from '../bench/hundred-rules.ts';
import { BAD_DOCUMENTS, rule } from './bad-documents.ts';

const example = readFileSync(join(import.meta.dirname, '../../rules/example.yaml'), 'utf8');
const load = (text: string): CompiledRuleset => loadRuleset(text, 'rules.yaml', { epoch: 1 });

function problemsOf(text: string): readonly DocumentProblem[] {
  try {
    load(text);
  } catch (error) {
    if (error instanceof RuleDocumentError) return error.problems;
    throw error;
  }
  throw new Error('the document was accepted');
}

describe('a good document', () => {
  test('is the example, with its rules in order of priority', () => {
    const { rules, defaultAction } = load(example);
    expect(defaultAction).toBe('allow');
    expect(rules.map((rule) => `${rule.name} ${rule.mode} ${rule.action} ${rule.priority}`)).toEqual([
      'block_unbounded_delete enforce deny 1000',
      'observe_oracle_dual observe deny 100',
      'kill_runaway_analytics enforce kill_after_ms 50',
      'rate_limit_legacy_erp enforce rate_limit 10',
    ]);
  });

  test('may be JSON, and means the same', () => {
    const json = JSON.stringify(parseRuleDocument(example, 'x').document);
    expect(load(json).version).toBe(load(example).version);
  });

  test('may have no rules at all', () => {
    expect(load('traffic_control: {}').rules).toEqual([]);
  });

  test('is the one of the bench, with a hundred rules', () => {
    expect(load(makeHundredRules()).rules).toHaveLength(100);
  });

  test('uses every dimension and every action of the language', () => {
    const everything = `traffic_control:
  on_unparsed: deny
  rules:
    - name: all_dimensions
      match:
        user: [a, 'b*']
        database: shop
        application_name: web
        client_ip: [10.0.0.0/8, '2001:db8::/32', '::ffff:192.168.0.0/112', unix]
        query_regex: '(?i)x'
        fingerprint_regex: y
        fingerprint: '50fde20626009aba'
        query_class: [read, unknown]
        statement: [select, 'create_*']
        tables: [payroll, 'hr.*', '"Mixed"']
        functions: pg_sleep
        columns: [ssn, '\\*']
        missing_where: false
        tags: { route: ['/users', '/u*'] }
        in_transaction: true
        not: { user: root, not: { database: x } }
      action: observe
    - { name: a, action: allow }
    - { name: d, action: deny, message: m, hint: h, sqlstate: '0A000' }
    - { name: r, action: route, target: replica }
    - { name: rp, action: route_primary }
    - { name: rr, action: route_replica, mode: off }
    - { name: rl, action: rate_limit, rate_per_sec: 0.5, burst: 2, per: [user, 'tag:route'], wait_ms: 5 }
    - { name: mc, action: max_concurrent, limit: 3, per: fingerprint }
    - { name: k, action: kill_after_ms, timeout_ms: 5, observe_only: true }
`;
    const ruleset = load(everything);
    expect(ruleset.rules).toHaveLength(9);
    expect(ruleset.hasRoutes).toBe(true);
  });
});

describe('the version', () => {
  test('is the same for what means the same', () => {
    const one = 'traffic_control: {rules: [{name: a, action: deny, observe_only: true, match: {user: [x, y]}}]}';
    const other = `# comment
traffic_control:
  default_action: allow
  rules:
    - match: {user: [y, x, x]}
      mode: observe
      priority: 0
      action: deny
      name: a`;
    expect(load(other).version).toBe(load(one).version);
    expect(load(one).version).toMatch(/^[0-9a-f]{12}$/);
  });

  test.each([
    ['another action', 'action: allow'],
    ['another mode', 'action: deny, mode: off'],
    ['another match', 'action: deny, match: {user: x}'],
    ['another message', 'action: deny, message: no'],
  ])('differs for %s', (_, changed) => {
    const of = (rule: string): string => load(`traffic_control: {rules: [{name: a, ${rule}}]}`).version;
    expect(of(changed)).not.toBe(of('action: deny'));
  });

  test('differs for the order of equals, and not for that of rules with different priorities', () => {
    const of = (...rules: string[]): string => load(`traffic_control: {rules: [${rules.join(', ')}]}`).version;
    const [a, b, c] = [
      '{name: a, action: deny}',
      '{name: b, action: allow}',
      '{name: c, action: allow, priority: 1}',
    ] as const;
    expect(of(a, b)).not.toBe(of(b, a));
    expect(of(a, c)).toBe(of(c, a));
  });
});

describe('a bad document', () => {
  test.each(BAD_DOCUMENTS)('with %s is refused where it is wrong', (_, text, line, column, path, message) => {
    const [first] = problemsOf(text);
    expect(first?.message).toMatch(message);
    expect({ line: first?.line, column: first?.column, path: first?.path, source: first?.source }).toEqual({
      line,
      column,
      path,
      source: 'rules.yaml',
    });
  });

  test('tells all of its problems at once, in order of lines', () => {
    const text = `${rule("match: { user: 'a**', client_ip: x }", 'action: deny')}\n    - { name: r, action: deny }`;
    expect(problemsOf(text).map((problem) => problem.line)).toEqual([4, 4, 6]);
  });

  test('has its problems in the message of the error', () => {
    expect(() => load(rule('action: denny'))).toThrow('rules.yaml:4:15: traffic_control.rules[0].action: "denny"');
  });

  test.each([
    ['nested without end', '['.repeat(50_000)],
    [
      'a match nested a hundred deep',
      `traffic_control: {rules: [{name: r, action: deny, match: ${'{not: '.repeat(100)}{}${'}'.repeat(100)}}]}`,
    ],
    [
      'a billion laughs',
      `a: &a [x,x,x,x,x,x,x,x,x]\n${'bcdefghi'.replace(/./g, (letter) => `${letter}: &${letter} [${`*${String.fromCharCode(letter.charCodeAt(0) - 1)},`.repeat(9)}]\n`)}`,
    ],
    ['larger than the bound', `# ${'x'.repeat(MAX_DOCUMENT_BYTES)}`],
  ])('that is %s is refused quickly', (_, text) => {
    const startedMs = performance.now();
    expect(problemsOf(text)).not.toEqual([]);
    expect(performance.now() - startedMs).toBeLessThan(5_000);
  });

  test('given as plain data has no place but its path', () => {
    const broken: RuleDocument = {
      traffic_control: { rules: [{ name: 'a', action: 'deny', match: { query_regex: '(' } }] },
    } as const;
    expect(() => compileRuleset(broken, { epoch: 1, source: 'POST /rules' })).toThrow(
      'POST /rules:1:1: traffic_control.rules[0].match.query_regex: ',
    );
  });
});
