// The judge: it agrees with the slow one on random rules, keeps the order of the rules, and remembers without mixing up.

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { compileRuleset } from '../../src/policy/compile.ts';
import type { MatchDocument, RuleDocument, RuleDocumentEntry } from '../../src/policy/rule.ts';
import type { Verdict } from '../../src/policy/verdict.ts';
import type { StatementShape } from '../../src/sql/facts.ts';
import { makeFacts, makeShape, makeSubject, makeText } from './fact-maker.ts';
import type { SlowVerdict } from './slow-judge.ts';
import { judgeSlowly } from './slow-judge.ts';

/** Random documents compared with the slow scan; each is asked up to twenty messages, twice. */
const RUNS = 600;

const oneOrMore = (values: string[]): fc.Arbitrary<string | string[]> =>
  fc.oneof(fc.constantFrom(...values), fc.uniqueArray(fc.constantFrom(...values), { minLength: 1, maxLength: 3 }));

const flatMatch: fc.Arbitrary<MatchDocument> = fc.record(
  {
    user: oneOrMore(['app', 'a*', 'root', '*p']),
    database: oneOrMore(['shop', 's*p', 'other']),
    application_name: oneOrMore(['web', 'metabase*', '*']),
    client_ip: oneOrMore(['10.0.0.0/8', '10.0.0.1', 'unix', '192.168.0.0/16', '0.0.0.0/0']),
    query_regex: oneOrMore(['(?i)from\\s+dual', '^select', 'x{2,3}', '\\d$', 'zebra']),
    fingerprint_regex: oneOrMore(['^select', 'where', '\\?$']),
    fingerprint: oneOrMore(['0000000000000001', '0000000000000002']),
    query_class: oneOrMore(['read', 'write', 'unknown']),
    statement: oneOrMore(['select', 'd*', 'update']),
    tables: oneOrMore(['payroll', 'hr.*', 'p*', 'HR.Payroll']),
    functions: oneOrMore(['now', 'pg_*']),
    columns: oneOrMore(['ssn', 'a.*']),
    missing_where: fc.boolean(),
    tags: fc.dictionary(fc.constantFrom('route', 'app'), oneOrMore(['/users', '/u*', '*']), { minKeys: 1 }),
    in_transaction: fc.boolean(),
  },
  { requiredKeys: [] },
);
// Few keys at a time, or hardly anything would ever match.
const sparseMatch = fc
  .tuple(flatMatch, fc.uniqueArray(fc.nat(14), { maxLength: 3 }))
  .map(
    ([match, kept]) =>
      Object.fromEntries(Object.entries(match).filter((_, index) => kept.includes(index))) as MatchDocument,
  );
const anyMatch = fc
  .tuple(sparseMatch, fc.option(fc.tuple(sparseMatch, fc.option(sparseMatch, { nil: undefined })), { nil: undefined }))
  .map(([match, not]): MatchDocument => {
    if (not === undefined) return match;
    const [outer, inner] = not;
    return { ...match, not: inner === undefined ? outer : { ...outer, not: inner } };
  });

const anyAction: fc.Arbitrary<Partial<RuleDocumentEntry> & Pick<RuleDocumentEntry, 'action'>> = fc.oneof(
  fc.constantFrom({ action: 'allow' } as const, { action: 'deny' } as const, { action: 'observe' } as const),
  fc.constantFrom({ action: 'route', target: 'replica' } as const, { action: 'route_primary' } as const),
  fc.constantFrom({ action: 'rate_limit', rate_per_sec: 5 } as const, { action: 'max_concurrent', limit: 2 } as const),
  fc.integer({ min: 1, max: 9 }).map((timeout) => ({ action: 'kill_after_ms', timeout_ms: timeout }) as const),
);

const anyDocument: fc.Arbitrary<RuleDocument> = fc
  .record({
    default_action: fc.constantFrom('allow', 'allow', 'deny'),
    on_unparsed: fc.constantFrom('allow', 'observe', 'deny'),
    rules: fc.array(
      fc.record({
        action: anyAction,
        priority: fc.option(fc.integer({ min: -2, max: 2 }), { nil: undefined }),
        mode: fc.constantFrom(undefined, 'enforce', 'observe', 'off'),
        match: anyMatch,
      }),
      { maxLength: 12 },
    ),
  })
  .map(({ rules, ...settings }) => ({
    traffic_control: {
      ...settings,
      rules: rules.map(({ action, priority, mode, match }, index) => ({
        name: `rule_${index}`,
        ...action,
        match,
        ...(priority === undefined ? {} : { priority }),
        ...(mode === undefined ? {} : { mode: mode as 'enforce' | 'observe' | 'off' }),
      })),
    },
  })) as fc.Arbitrary<RuleDocument>;

const anyShape: fc.Arbitrary<StatementShape> = fc.record({
  normalized: fc.constantFrom('select ?', 'select a from t where b = ?', 'delete from payroll'),
  fingerprint: fc.constantFrom('0000000000000001', '0000000000000002', ''),
  queryClass: fc.constantFrom('read', 'write', 'unknown'),
  kinds: fc.subarray(['select', 'delete', 'update', 'do']),
  tables: fc.subarray(['payroll', 'hr.payroll', 'public.items']),
  functions: fc.subarray(['now', 'pg_catalog.pg_sleep']),
  columns: fc.subarray(['ssn', 'a.ssn', '*']),
  isMissingWhere: fc.boolean(),
  unparsed: fc.constantFrom(null, null, null, 'syntax'),
});
const anyText = fc.constantFrom('select 1 from dual', 'select xx', 'delete from payroll', 'SELECT 5', 'a zebra, xxx');
const anyTags = fc.dictionary(fc.constantFrom('route', 'app'), fc.constantFrom('/users', '/other'));
const anySubject = fc.record({
  user: fc.constantFrom('app', 'root', 'other'),
  database: fc.constantFrom('shop', 'other'),
  applicationName: fc.constantFrom('web', 'metabase 1', ''),
  clientIp: fc.constantFrom('10.0.0.1', '10.9.9.9', '192.168.1.1', 'unix'),
});

function summarize(verdict: Verdict): SlowVerdict {
  return {
    refusedBy: verdict.refusal?.rule ?? null,
    route: verdict.route?.target ?? null,
    killMs: verdict.kill?.timeoutMs ?? null,
    limits: verdict.limits.map((hit) => hit.rule.name),
    observedLimits: verdict.observedLimits.map((hit) => hit.rule.name),
    hits: verdict.hits.map((hit) => `${hit.rule.name} ${hit.effect} ${hit.isObserved}`),
  };
}

describe('the judge and the slow scan', () => {
  test('agree on random rules, subjects and statements, however often and in whatever order they are asked', () => {
    let refusals = 0;
    let hits = 0;
    fc.assert(
      fc.property(
        anyDocument,
        fc.array(anySubject, { minLength: 1, maxLength: 3 }),
        fc.array(anyShape, { minLength: 1, maxLength: 4 }),
        fc.array(
          fc.record({
            who: fc.nat(2),
            parts: fc.array(fc.tuple(fc.nat(3), anyText, anyTags), { minLength: 1, maxLength: 3 }),
            isInTransaction: fc.boolean(),
          }),
          { minLength: 1, maxLength: 10 },
        ),
        fc.constantFrom(2, 65_536),
        (document, subjects, shapes, asked, maxMemoEntries) => {
          const ruleset = compileRuleset(document, { epoch: 1, maxMemoEntries });
          for (const { who, parts, isInTransaction } of [...asked, ...asked]) {
            const subject = subjects[who % subjects.length] ?? makeSubject();
            const statements = parts.map(([index, text, tags]) =>
              makeFacts(shapes[index % shapes.length] ?? makeShape(), text, tags),
            );
            const view = ruleset.viewFor({ ...subject });
            const slow = judgeSlowly(document, subject, statements, isInTransaction);
            expect(summarize(view.judge(statements, isInTransaction))).toEqual(slow);
            expect(summarize(view.judge(statements, isInTransaction))).toEqual(slow);
            if (slow.refusedBy !== null) refusals += 1;
            hits += slow.hits.length;
          }
        },
      ),
      { numRuns: RUNS },
    );
    // A generator whose rules never match would make the comparison empty.
    expect(refusals).toBeGreaterThan(RUNS / 3);
    expect(hits).toBeGreaterThan(RUNS * 3);
  });

  test('differ where the slow scan is given other rules', () => {
    const deny: RuleDocument = { traffic_control: { rules: [{ name: 'a', action: 'deny' }] } };
    const verdict = compileRuleset(deny, { epoch: 1 }).viewFor(makeSubject()).judge(makeText(), false);
    expect(summarize(verdict)).not.toEqual(judgeSlowly({ traffic_control: {} }, makeSubject(), makeText(), false));
  });
});

function judge(
  rules: RuleDocumentEntry[],
  statements = makeText(),
  settings: Partial<RuleDocument['traffic_control']> = {},
): Verdict {
  return compileRuleset({ traffic_control: { ...settings, rules } }, { epoch: 1 })
    .viewFor(makeSubject())
    .judge(statements, false);
}

describe('the order of rules', () => {
  test('runs the higher priority first, and file order among equals', () => {
    const rules: RuleDocumentEntry[] = [
      { name: 'low', priority: 1, action: 'deny' },
      { name: 'first', priority: 5, action: 'allow' },
      { name: 'second', priority: 5, action: 'deny' },
    ];
    expect(judge(rules).hits.map((hit) => hit.rule.name)).toEqual(['first']);
    expect(judge([...rules].reverse()).refusedBy?.name).toBe('second');
  });

  test('lets one statement be routed, limited and timed, each slot by its first rule', () => {
    const verdict = judge([
      { name: 'kill_1', action: 'kill_after_ms', timeout_ms: 900 },
      { name: 'route_1', action: 'route_replica' },
      { name: 'limit_1', action: 'rate_limit', rate_per_sec: 1 },
      { name: 'kill_2', action: 'kill_after_ms', timeout_ms: 1 },
      { name: 'route_2', action: 'route_primary' },
      { name: 'limit_2', action: 'max_concurrent', limit: 1 },
      { name: 'counted', action: 'observe' },
    ]);
    expect(summarize(verdict)).toMatchObject({
      refusedBy: null,
      route: 'replica',
      killMs: 900,
      limits: ['limit_1', 'limit_2'],
    });
    expect(verdict.hits.map((hit) => hit.effect)).toEqual([
      'kill',
      'route',
      'limit',
      'shadowed',
      'shadowed',
      'limit',
      'observe',
    ]);
  });

  test('does not reach a rule below an enforced allow, but does below an observed one', () => {
    const below: RuleDocumentEntry = { name: 'below', action: 'deny' };
    expect(judge([{ name: 'exempt', action: 'allow' }, below]).refusal).toBeNull();
    expect(judge([{ name: 'exempt', action: 'allow', mode: 'observe' }, below]).refusedBy?.name).toBe('below');
  });
});

describe('observe mode', () => {
  test('never changes what a verdict does, for any rules', () => {
    fc.assert(
      fc.property(
        anyDocument,
        anySubject,
        anyShape,
        anyText,
        anyTags,
        fc.boolean(),
        (document, subject, shape, text, tags, isInTransaction) => {
          const enforced = (document.traffic_control.rules ?? []).filter((rule) => rule.mode !== 'observe');
          const without: RuleDocument = { traffic_control: { ...document.traffic_control, rules: enforced } };
          const facts = [makeFacts(shape, text, tags)];
          const judged = (rules: RuleDocument): unknown => {
            const verdict = compileRuleset(rules, { epoch: 1 }).viewFor(subject).judge(facts, isInTransaction);
            return {
              ...summarize(verdict),
              observedLimits: [],
              hits: verdict.hits.filter((hit) => !hit.isObserved).map((hit) => `${hit.rule.name} ${hit.effect}`),
            };
          };
          expect(judged(document)).toEqual(judged(without));
        },
      ),
      { numRuns: 500 },
    );
  });

  test('does change it once the rule is enforced', () => {
    expect(judge([{ name: 'a', action: 'deny', observe_only: true }]).refusal).toBeNull();
    expect(judge([{ name: 'a', action: 'deny', observe_only: false }]).refusal?.rule).toBe('a');
  });
});

describe('a refusal', () => {
  test('carries the words of its rule', () => {
    const { refusal } = judge([{ name: 'a', action: 'deny', message: 'no', hint: 'ask', sqlstate: '0A000' }]);
    expect(refusal).toEqual({ rule: 'a', sqlstate: '0A000', message: 'no', hint: 'ask', retryAfterMs: null });
  });

  test('has words of its own where the rule has none', () => {
    const { refusal } = judge([{ name: 'a', action: 'deny' }]);
    expect(refusal).toMatchObject({ rule: 'a', sqlstate: '42501', message: 'statement refused by rule "a"' });
    expect(refusal?.hint).not.toBeNull();
  });

  test('names the setting where no rule spoke', () => {
    const unread = makeText({ unparsed: 'syntax', queryClass: 'unknown', kinds: [] });
    expect(judge([], unread, { on_unparsed: 'deny' }).refusal).toMatchObject({
      rule: 'on_unparsed',
      sqlstate: '42501',
    });
    expect(judge([], makeText(), { default_action: 'deny' }).refusal?.rule).toBe('default_action');
    expect(judge([], unread, { on_unparsed: 'observe' }).refusal).toBeNull();
    expect(judge([], unread, { on_unparsed: 'allow', default_action: 'deny' }).refusal?.rule).toBe('default_action');
  });

  test('of on_unparsed gives way to an allow rule, and to the words of a deny rule', () => {
    const unread = makeText({ unparsed: 'too_long' });
    expect(judge([{ name: 'a', action: 'allow' }], unread, { on_unparsed: 'deny' }).refusal).toBeNull();
    expect(judge([{ name: 'a', action: 'deny' }], unread, { on_unparsed: 'deny' }).refusal?.rule).toBe('a');
  });
});

describe('a message of several statements', () => {
  const denyWrites: RuleDocumentEntry = { name: 'writes', match: { query_class: 'write' }, action: 'deny' };
  const read = makeFacts(makeShape());
  const write = makeFacts(makeShape({ queryClass: 'write', kinds: ['delete'] }));

  test('is refused when any of them is, and not when none is', () => {
    expect(judge([denyWrites], [read, write, read]).refusal?.rule).toBe('writes');
    expect(judge([denyWrites], [read, read]).refusal).toBeNull();
  });

  test('is killed at the shortest and routed only where all agree', () => {
    const rules: RuleDocumentEntry[] = [
      { name: 'r', match: { query_class: 'read' }, action: 'route_replica' },
      { name: 'w', match: { query_class: 'write' }, action: 'kill_after_ms', timeout_ms: 5 },
      { name: 'all', action: 'kill_after_ms', timeout_ms: 50 },
    ];
    expect(judge(rules, [read, write])).toMatchObject({ route: null, kill: { timeoutMs: 5 } });
    expect(judge(rules, [read, read])).toMatchObject({ route: { target: 'replica' }, kill: { timeoutMs: 50 } });
  });

  test('of none at all is allowed, even under default_action deny: there is nothing to run', () => {
    expect(judge([], [], { default_action: 'deny' }).refusal).toBeNull();
  });
});

describe('what the judge remembers', () => {
  const ruleset = (): ReturnType<typeof compileRuleset> =>
    compileRuleset(
      { traffic_control: { rules: [{ name: 'dual', match: { query_regex: 'dual' }, action: 'deny' }] } },
      { epoch: 1, maxMemoEntries: 100 },
    );

  test('is the same verdict for texts of one shape that no open rule matches, frozen throughout', () => {
    const shape = makeShape();
    const view = ruleset().viewFor(makeSubject());
    const first = view.judge([makeFacts(shape, 'select 1')], false);
    expect(view.judge([makeFacts(shape, 'select 2')], false)).toBe(first);
    expect([first, first.hits, first.shapes, first.limits].every(Object.isFrozen)).toBe(true);
  });

  test('does not hide a text that a rule matches, nor leak from inside a transaction to outside', () => {
    const shape = makeShape();
    const view = ruleset().viewFor(makeSubject());
    view.judge([makeFacts(shape, 'select 1')], false);
    expect(view.judge([makeFacts(shape, 'select dual')], false).refusal?.rule).toBe('dual');
    expect(view.judge([makeFacts(shape, 'select 1')], true).isInTransaction).toBe(true);
  });

  test('is bounded, over all views, and starts over when full', () => {
    const rules = ruleset();
    for (let index = 0; index < 1_000; index += 1) {
      const kept = Object.freeze(makeText({}, `select ${index}`));
      rules.viewFor(makeSubject({ user: `u${index % 3}` })).judge(kept, false);
    }
    expect(rules.memo.entries).toBeLessThanOrEqual(100);
    expect(rules.memo.flushes).toBeGreaterThan(10);
  });

  test('is kept for a text that is kept itself, and made anew for one that is not', () => {
    const rules = ruleset();
    const view = rules.viewFor(makeSubject());
    const shape = makeShape();
    const judgeTwice = (text: readonly ReturnType<typeof makeFacts>[]): boolean => {
      const first = view.judge(text, false);
      return first === view.judge(text, false);
    };
    expect(judgeTwice(Object.freeze([makeFacts(shape, 'select dual')]))).toBe(true);
    const entries = rules.memo.entries;
    expect(judgeTwice([makeFacts(shape, 'select dual')])).toBe(false);
    expect(rules.memo.entries).toBe(entries);
  });

  test('is one view for equal subjects, and at most 1,024 of them', () => {
    const rules = ruleset();
    expect(rules.viewFor(makeSubject())).toBe(rules.viewFor({ ...makeSubject() }));
    for (let index = 0; index < 1_500; index += 1) rules.viewFor(makeSubject({ applicationName: `a${index}` }));
    expect(rules.memo).toMatchObject({ views: 1_024, viewsEvicted: 477 });
  });
});
