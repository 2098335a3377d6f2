// Each match dimension alone: what it catches, and the look-alike that it does not.

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { compileRuleset } from '../../src/policy/compile.ts';
import { isInPrefix, parseAddress, parsePrefix } from '../../src/policy/matchers/address.ts';
import { compileGlob } from '../../src/policy/matchers/glob.ts';
import { PatternTable } from '../../src/policy/matchers/pattern-set.ts';
import type { MatchDocument } from '../../src/policy/rule.ts';
import type { Subject } from '../../src/session/subject.ts';
import type { StatementShape } from '../../src/sql/facts.ts';
import { makeFacts, makeShape, makeSubject } from './fact-maker.ts';

interface Situation {
  subject?: Partial<Subject>;
  shape?: Partial<StatementShape>;
  text?: string;
  tags?: Record<string, string>;
  isInTransaction?: boolean;
}

function isMatched(match: MatchDocument, { subject, shape, text, tags, isInTransaction }: Situation): boolean {
  const ruleset = compileRuleset({ traffic_control: { rules: [{ name: 'r', match, action: 'deny' }] } }, { epoch: 1 });
  const facts = [makeFacts(makeShape(shape), text, tags)];
  return ruleset.viewFor(makeSubject(subject)).judge(facts, isInTransaction ?? false).refusal !== null;
}

describe('a dimension', () => {
  test.each<[string, MatchDocument, Situation, Situation]>([
    ['user', { user: 'app' }, { subject: { user: 'app' } }, { subject: { user: 'App' } }],
    ['user with a glob', { user: 'app_*' }, { subject: { user: 'app_1' } }, { subject: { user: 'app' } }],
    ['user with a literal star', { user: 'a\\*' }, { subject: { user: 'a*' } }, { subject: { user: 'ab' } }],
    [
      'database, of a list',
      { database: ['x', 'shop'] },
      { subject: { database: 'shop' } },
      { subject: { database: 'sho' } },
    ],
    [
      'application_name',
      { application_name: 'Metabase*' },
      { subject: { applicationName: 'Metabase v1' } },
      { subject: { applicationName: 'my Metabase' } },
    ],
    [
      'client_ip',
      { client_ip: '10.0.0.0/8' },
      { subject: { clientIp: '10.255.0.1' } },
      { subject: { clientIp: '11.0.0.1' } },
    ],
    [
      'client_ip, mapped client',
      { client_ip: '10.0.0.0/8' },
      { subject: { clientIp: '::ffff:10.1.2.3' } },
      { subject: { clientIp: '::ffff:11.1.2.3' } },
    ],
    [
      'client_ip, mapped rule',
      { client_ip: '::ffff:10.0.0.0/104' },
      { subject: { clientIp: '10.1.2.3' } },
      { subject: { clientIp: '11.1.2.3' } },
    ],
    [
      'client_ip, IPv6',
      { client_ip: '2001:db8::/33' },
      { subject: { clientIp: '2001:db8:7fff::1' } },
      { subject: { clientIp: '2001:db8:8000::1' } },
    ],
    [
      'client_ip, everything of IPv6',
      { client_ip: '::/0' },
      { subject: { clientIp: 'fe80::1%eth0' } },
      { subject: { clientIp: '10.0.0.1' } },
    ],
    [
      'client_ip, Unix socket',
      { client_ip: 'unix' },
      { subject: { clientIp: 'unix' } },
      { subject: { clientIp: '127.0.0.1' } },
    ],
    [
      'client_ip, all of IPv4',
      { client_ip: '0.0.0.0/0' },
      { subject: { clientIp: '1.2.3.4' } },
      { subject: { clientIp: 'unix' } },
    ],
    [
      'query_regex',
      { query_regex: '(?i)from\\s+dual' },
      { text: 'select 1 FROM\n dual' },
      { text: 'select 1 from duel' },
    ],
    ['query_regex, of a list', { query_regex: ['zzz', '^select 5$'] }, { text: 'select 5' }, { text: 'select 55' }],
    ['query_regex is not anchored, nor stopped by lines', { query_regex: 'b' }, { text: 'a\nb' }, { text: 'a\nc' }],
    [
      'fingerprint_regex',
      { fingerprint_regex: '^select \\?$' },
      { shape: { normalized: 'select ?' }, text: 'x' },
      { shape: { normalized: 'select a' }, text: 'select ?' },
    ],
    [
      'fingerprint',
      { fingerprint: 'ABCDEF0123456789' },
      { shape: { fingerprint: 'abcdef0123456789' } },
      { shape: { fingerprint: '' } },
    ],
    [
      'query_class',
      { query_class: ['write', 'ddl'] },
      { shape: { queryClass: 'ddl' } },
      { shape: { queryClass: 'read' } },
    ],
    [
      'statement, at any depth',
      { statement: 'delete' },
      { shape: { kinds: ['select', 'delete'] } },
      { shape: { kinds: ['select'] } },
    ],
    [
      'statement with a glob',
      { statement: 'drop_*' },
      { shape: { kinds: ['drop_table'] } },
      { shape: { kinds: ['create_table'] } },
    ],
    [
      'tables, bare pattern and qualified name',
      { tables: 'payroll' },
      { shape: { tables: ['hr.payroll'] } },
      { shape: { tables: ['hr.payrolls'] } },
    ],
    [
      'tables, bare pattern and bare name',
      { tables: 'pay*' },
      { shape: { tables: ['x', 'payroll'] } },
      { shape: { tables: ['pay.x'] } },
    ],
    [
      'tables, qualified pattern',
      { tables: 'hr.payroll' },
      { shape: { tables: ['hr.payroll'] } },
      { shape: { tables: ['payroll'] } },
    ],
    [
      'tables, whole schema',
      { tables: 'hr.*' },
      { shape: { tables: ['hr.payroll'] } },
      { shape: { tables: ['hrx.payroll', 'hr'] } },
    ],
    [
      'tables, folded like SQL',
      { tables: 'Payroll' },
      { shape: { tables: ['payroll'] } },
      { shape: { tables: ['Payroll'] } },
    ],
    [
      'tables, folded like SQL beyond ASCII',
      { tables: 'ÜBERWEISUNG' },
      { shape: { tables: ['Überweisung'] } },
      { shape: { tables: ['überweisung'] } },
    ],
    [
      'tables, quoted like SQL',
      { tables: '"Payroll"' },
      { shape: { tables: ['x.Payroll'] } },
      { shape: { tables: ['payroll'] } },
    ],
    [
      'tables, a quoted name with a dot, with its schema or without',
      { tables: '"pay.roll"' },
      { shape: { tables: ['public.pay.roll'] } },
      { shape: { tables: ['public.roll', 'public.pay'] } },
    ],
    [
      'tables, a glob with a quoted dot',
      { tables: '"pay.r*"' },
      { shape: { tables: ['public.pay.roll'] } },
      { shape: { tables: ['public.roll', 'public.pay'] } },
    ],
    [
      'tables, a name that the server cuts',
      { tables: 'x'.repeat(70) },
      { shape: { tables: [`hr.${'x'.repeat(63)}`] } },
      { shape: { tables: ['x'.repeat(62)] } },
    ],
    [
      'tables, a name that the server cuts between characters',
      { tables: `hr.${'é'.repeat(40)}` },
      { shape: { tables: [`hr.${'é'.repeat(31)}`] } },
      { shape: { tables: [`hr.${'é'.repeat(40)}`] } },
    ],
    [
      'functions',
      { functions: 'pg_sleep' },
      { shape: { functions: ['pg_catalog.pg_sleep'] } },
      { shape: { functions: ['pg_sleep_for'] } },
    ],
    ['columns', { columns: ['ssn', '\\*'] }, { shape: { columns: ['p.ssn'] } }, { shape: { columns: ['p.ssn_hash'] } }],
    [
      'columns, a literal star',
      { columns: ['ssn', '\\*'] },
      { shape: { columns: ['*'] } },
      { shape: { columns: ['a'] } },
    ],
    [
      'missing_where',
      { missing_where: true },
      { shape: { isMissingWhere: true } },
      { shape: { isMissingWhere: false } },
    ],
    [
      'missing_where false',
      { missing_where: false },
      { shape: { isMissingWhere: false } },
      { shape: { isMissingWhere: true } },
    ],
    [
      'tags, all of them',
      { tags: { route: '/u*', app: 'x' } },
      { tags: { route: '/users', app: 'x' } },
      { tags: { route: '/users' } },
    ],
    ['tags, inherited names are none', { tags: { constructor: '*' } }, { tags: { constructor: 'x' } }, { tags: {} }],
    ['in_transaction', { in_transaction: true }, { isInTransaction: true }, { isInTransaction: false }],
    ['not', { user: 'app', not: { database: 'x' } }, {}, { subject: { database: 'x' } }],
    ['not, of the text', { not: { query_regex: 'where' } }, { text: 'delete' }, { text: 'delete where' }],
    ['not in not', { not: { user: 'app', not: { database: 'shop' } } }, {}, { subject: { database: 'x' } }],
    [
      'several dimensions at once',
      { user: 'app', query_class: 'read', query_regex: 'x' },
      { text: 'x' },
      { text: 'x', shape: { queryClass: 'write' } },
    ],
  ])('%s', (_, match, caught, passed) => {
    expect(isMatched(match, caught)).toBe(true);
    expect(isMatched(match, passed)).toBe(false);
  });
});

describe('a glob', () => {
  test('agrees with a regular expression on random patterns and texts', () => {
    const letters = fc.string({ unit: fc.constantFrom('a', 'b', '*'), minLength: 1, maxLength: 8 });
    const texts = fc.string({ unit: fc.constantFrom('a', 'b'), maxLength: 12 });
    fc.assert(
      fc.property(letters, texts, (pattern, text) => {
        fc.pre(!pattern.includes('**'));
        const glob = compileGlob(pattern);
        if ('problem' in glob) throw new Error(glob.problem);
        expect(glob.test(text)).toBe(new RegExp(`^${pattern.replaceAll('*', '.*')}$`).test(text));
      }),
      { numRuns: 2_000 },
    );
  });

  test('is quick on a text made to be slow', () => {
    const glob = compileGlob('a*a*a*a*a*a*a*a*b');
    if ('problem' in glob) throw new Error(glob.problem);
    const startedMs = performance.now();
    expect(glob.test('a'.repeat(100_000))).toBe(false);
    expect(performance.now() - startedMs).toBeLessThan(200);
  });
});

describe('a prefix', () => {
  test('holds the addresses that share its first bits, for random IPv6', () => {
    const groups = fc.array(fc.nat(0xffff), { minLength: 8, maxLength: 8 });
    fc.assert(
      fc.property(groups, fc.nat(128), fc.nat(127), (words, bits, flipped) => {
        const write = (parts: number[]): string => parts.map((part) => part.toString(16)).join(':');
        const prefix = parsePrefix(`${write(words)}/${bits}`);
        if (typeof prefix === 'string' || prefix.bytes.length === 4) return;
        const other = words.map((word, index) => (index === flipped >> 4 ? word ^ (0x8000 >> (flipped & 15)) : word));
        const address = parseAddress(write(other));
        expect(address !== null && isInPrefix(address, prefix)).toBe(flipped >= bits);
      }),
      { numRuns: 1_000 },
    );
  });

  test.each([
    '10.0.0',
    '10.0.0.256',
    '010.0.0.1',
    '::g',
    'localhost',
    '',
    '10.0.0.0/',
    '10.0.0.0/-1',
    '10.0.0.0/8/8',
    '::/129',
  ])('is not "%s"', (text) => {
    expect(typeof parsePrefix(text)).toBe('string');
  });

  test('says when bits behind it were set', () => {
    expect(parsePrefix('10.1.0.0/8')).toMatchObject({ hasHostBits: true });
    expect(parsePrefix('10.0.0.0/8')).toMatchObject({ hasHostBits: false });
  });
});

describe('a set of patterns', () => {
  const setOf = (...patterns: string[]) => {
    const table = new PatternTable();
    for (const pattern of patterns) table.add(pattern);
    return table.compileSet();
  };

  test('finds all that match in one pass, and none in a text that has none', () => {
    const set = setOf('a', 'b', 'c$', '^a');
    expect(set.match('abc')).toEqual([0, 1, 2, 3]);
    expect(set.match('xyz')).toEqual([]);
  });

  test('stays linear on patterns that make a backtracking engine hang', () => {
    const set = setOf('^(a+)+$', '(x+x+)+y', '(?s)a.{200}b');
    const startedMs = performance.now();
    set.match(`${'a'.repeat(20_000)}!`);
    set.match('x'.repeat(20_000));
    expect(performance.now() - startedMs).toBeLessThan(5_000);
  });

  test('knows when its automaton grows without end, and plain patterns do not', () => {
    expect(setOf('(?s)a.{200}b').isGrowing()).toBe(true);
    expect(setOf('(?i)\\bfrom\\s+dual\\b', '(?is)^\\s*delete\\s+from\\s+\\w+\\s*;?\\s*$').isGrowing()).toBe(false);
  });
});
