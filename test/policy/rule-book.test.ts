// The rule book: one pointer, all or nothing, with a history to go back to.

import { setTimeout as sleep } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { beforeEach, describe, expect, test } from 'vitest';
import { RuleDocumentError } from '../../src/policy/document.ts';
import { findLint } from '../../src/policy/lint.ts';
import { RuleBook, UnknownRuleError, UnknownVersionError } from '../../src/policy/rule-book.ts';
import { makeSubject, makeText } from './fact-maker.ts';

const FIRST = `traffic_control:
  rules:
    # why this rule is here
    - name: a
      observe_only: true
      action: deny
    - { name: b, action: observe }
`;
const SECOND = FIRST.replace('name: b', 'name: c');
const BAD = FIRST.replace('action: deny', 'action: denny');
const BY = { actor: 'ann' };

let nowMs = 0;
let book: RuleBook;

beforeEach(() => {
  nowMs = 1_000;
  book = new RuleBook(FIRST, 'rules.yaml', { monotonicMs: () => nowMs, wallMs: () => nowMs });
});

describe('a post', () => {
  test('swaps the ruleset, says what changed, and is remembered', () => {
    const before = book.active;
    nowMs = 2_000;
    const outcome = book.post(SECOND, 'POST /rules', { ...BY, reason: 'ticket 7' });
    expect(outcome).toEqual({
      outcome: 'swapped',
      version: book.version,
      previousVersion: before.version,
      epoch: 2,
      diff: { added: ['c'], removed: ['b'], changed: [], unchanged: ['a'], settings: [] },
      lint: findLint(book.active),
    });
    expect(book.active).not.toBe(before);
    expect(book.active.epoch).toBe(2);
    expect(book.current).toEqual({
      version: book.version,
      epoch: 2,
      atMs: 2_000,
      actor: 'ann',
      reason: 'ticket 7',
      source: 'POST /rules',
      text: SECOND,
    });
  });

  test('of a bad document changes nothing and says where it is bad', () => {
    const before = book.active;
    nowMs = 2_000;
    expect(() => book.post(BAD, 'POST /rules', BY)).toThrow('POST /rules:6:15');
    expect(book.active).toBe(before);
    expect(book.history).toHaveLength(1);
    expect(book.rejected).toBe(1);
    expect(book.lastReload).toMatchObject({ isSuccessful: false, atMs: 2_000 });
    expect(book.lastReload.error).toContain('denny');
  });

  test('of what is active already swaps nothing and says so', () => {
    const before = book.active;
    const outcome = book.post(`${FIRST}# a comment\n`, 'x', BY);
    expect(outcome).toMatchObject({
      outcome: 'unchanged',
      epoch: 1,
      diff: { added: [], changed: [], unchanged: ['a', 'b'] },
    });
    expect(book.active).toBe(before);
    expect(book.swaps).toBe(0);
  });

  test('as a dry run tells all of it and does none of it', () => {
    const before = book.active;
    expect(book.post(SECOND, 'x', { ...BY, isDryRun: true })).toMatchObject({
      outcome: 'dry_run',
      diff: { added: ['c'] },
    });
    expect(() => book.post(BAD, 'x', { ...BY, isDryRun: true })).toThrow(RuleDocumentError);
    expect(book.active).toBe(before);
    expect(book.lastReload.isSuccessful).toBe(true);
    expect(book.rejected).toBe(0);
  });

  test('names changed settings', () => {
    const text = FIRST.replace('  rules:', '  default_action: deny\n  on_unparsed: deny\n  rules:');
    expect(book.post(text, 'x', BY).diff).toMatchObject({
      settings: ['default_action', 'on_unparsed'],
      unchanged: ['a', 'b'],
    });
  });

  test('leaves verdicts of the old ruleset as they were, with its version', () => {
    const old = book.active;
    const view = old.viewFor(makeSubject());
    book.post(FIRST.replace('observe_only: true', 'mode: enforce'), 'x', BY);
    expect(view.judge(makeText(), false)).toMatchObject({ refusal: null, ruleset: { version: old.version, epoch: 1 } });
    const now = book.active.viewFor(makeSubject()).judge(makeText(), false);
    expect(now).toMatchObject({ refusal: { rule: 'a' }, ruleset: { version: book.version, epoch: 2 } });
  });
});

describe('a patch of the mode', () => {
  test('is a new version that keeps the comments, drops observe_only and can be posted again', () => {
    const outcome = book.patchMode('a', 'enforce', BY);
    expect(outcome).toMatchObject({ outcome: 'swapped', diff: { changed: ['a'], unchanged: ['b'] } });
    expect(book.active.rules[0]).toMatchObject({ name: 'a', mode: 'enforce' });
    expect(book.current).toMatchObject({ reason: 'a: mode enforce', actor: 'ann' });
    expect(book.current.text).toContain('# why this rule is here');
    expect(book.current.text).not.toContain('observe_only');
    expect(book.post(book.current.text, 'x', BY).outcome).toBe('unchanged');
  });

  test('to the mode that it has changes nothing', () => {
    expect(book.patchMode('a', 'observe', BY).outcome).toBe('unchanged');
    expect(book.current.text).toBe(FIRST);
  });

  test('works on JSON, and on a rule that is an alias', () => {
    book.post('{"traffic_control": {"rules": [{"name": "j", "action": "deny", "observe_only": true}]}}', 'x', BY);
    book.patchMode('j', 'off', BY);
    expect(JSON.parse(book.current.text)).toEqual({
      traffic_control: { rules: [{ name: 'j', action: 'deny', mode: 'off' }] },
    });
    const aliased =
      'traffic_control:\n  rules: [{ name: x, action: deny, match: &m { user: u } }, { name: y, action: deny, match: *m }]\n';
    book.post(aliased, 'x', BY);
    book.patchMode('y', 'observe', BY);
    expect(book.active.rules.map((rule) => rule.mode)).toEqual(['enforce', 'observe']);
  });

  test.each([
    ['its mode', 'mode: &m observe', 'mode: *m'],
    ['its observe_only', 'observe_only: &o true', 'observe_only: *o'],
  ])('leaves another rule as it is that borrows %s by an alias', (_what, own, borrowed) => {
    const rule = (name: string, mode: string): string =>
      `{ name: ${name}, action: deny, match: { user: ${name} }, ${mode} }`;
    book.post(`traffic_control:\n  rules: [${rule('x', own)}, ${rule('y', borrowed)}]\n`, 'x', BY);
    expect(book.patchMode('x', 'enforce', BY).diff).toMatchObject({ changed: ['x'], unchanged: ['y'] });
    expect(book.active.rules.map((entry) => entry.mode)).toEqual(['enforce', 'observe']);
  });

  test('of an unknown rule is refused', () => {
    expect(() => book.patchMode('z', 'off', BY)).toThrow(UnknownRuleError);
    expect(book.history).toHaveLength(1);
  });
});

describe('the history', () => {
  test('takes back by version and by steps, each time as a new epoch', () => {
    const first = book.version;
    book.post(SECOND, 'x', BY);
    const second = book.version;
    expect(book.rollback(1, BY)).toMatchObject({ outcome: 'swapped', version: first, epoch: 3 });
    expect(book.current.reason).toBe(`rollback to ${first}`);
    expect(book.rollback(second, BY)).toMatchObject({ version: second, epoch: 4 });
    expect(book.history.map((version) => version.epoch)).toEqual([1, 2, 3, 4]);
  });

  test('does not take back to what it never held', () => {
    expect(() => book.rollback(1, BY)).toThrow(UnknownVersionError);
    expect(() => book.rollback(0, BY)).toThrow(UnknownVersionError);
    expect(() => book.rollback('beefbeefbeef', BY)).toThrow(UnknownVersionError);
  });

  test('is bounded', () => {
    for (let index = 0; index < 120; index += 1) book.post(index % 2 === 0 ? SECOND : FIRST, 'x', BY);
    expect(book.history).toHaveLength(50);
    expect(book.history.at(-1)?.version).toBe(book.version);
    expect(book.swaps).toBe(120);
  });
});

describe('a subscriber', () => {
  test('hears of each swap with the text to keep, until it leaves', () => {
    const heard: string[] = [];
    const leave = book.subscribe((current, ruleset) =>
      heard.push(`${current.text === SECOND} ${ruleset === book.active}`),
    );
    book.post(SECOND, 'x', BY);
    leave();
    book.post(FIRST, 'x', BY);
    expect(heard).toEqual(['true true']);
  });

  test('hears nothing of what changed nothing', () => {
    let calls = 0;
    book.subscribe(() => {
      calls += 1;
    });
    book.post(FIRST, 'x', BY);
    book.post(SECOND, 'x', { ...BY, isDryRun: true });
    expect(() => book.post(BAD, 'x', BY)).toThrow(RuleDocumentError);
    expect(calls).toBe(0);
  });
});

test('a book cannot be opened with bad rules', () => {
  expect(() => new RuleBook(BAD, 'rules.yaml')).toThrow('rules.yaml:6:15');
});

describe('memory', () => {
  /** In a function of its own, so that nothing here holds the ruleset. */
  function postAndWatch(name: string): WeakRef<object> {
    const match = 'match: { user: ann, query_regex: "a.*b", not: { database: shop } }';
    book.post(`traffic_control: { rules: [{ name: ${name}, ${match}, action: deny }] }`, 'POST /rules', BY);
    return new WeakRef(book.active.rules[0] ?? {});
  }

  test('rules that were replaced are let go', async () => {
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void;
    const replaced = ['a', 'b', 'c', 'd'].map(postAndWatch);
    postAndWatch('e');
    for (let turn = 0; turn < 20 && replaced.some((rule) => rule.deref() !== undefined); turn++) {
      await sleep(10);
      collect();
    }
    expect(replaced.map((rule) => rule.deref())).toEqual(replaced.map(() => undefined));
  });
});
