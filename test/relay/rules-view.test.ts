// A session looks its rules up again when they, or its own subject, have changed, and not otherwise.

import { expect, test } from 'vitest';
import { RuleBook } from '../../src/policy/rule-book.ts';
import { RulesView } from '../../src/relay/rules-view.ts';
import type { Subject } from '../../src/session/subject.ts';

const makeSubject = (applicationName: string): Subject => ({
  user: 'u',
  database: 'd',
  applicationName,
  clientIp: '::1',
});

test('two sessions of equal subjects share a view', () => {
  const book = new RuleBook('traffic_control: { rules: [] }', 'test');
  const one = new RulesView(book, { subject: makeSubject('a') });
  const other = new RulesView(book, { subject: makeSubject('a') });
  for (let index = 0; index < 3; index++) expect(one.current()).toBe(other.current());
});

test('a new subject and new rules are seen at once', () => {
  const book = new RuleBook('traffic_control: { rules: [] }', 'test');
  const session = { subject: makeSubject('a') };
  const view = new RulesView(book, session);
  expect(view.current().subject.applicationName).toBe('a');
  session.subject = makeSubject('b');
  expect(view.current().subject.applicationName).toBe('b');
  book.post('traffic_control: { default_action: deny }', 'test', { actor: 'test' });
  expect(view.current().ruleset).toBe(book.active);
});
