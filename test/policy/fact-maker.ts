// Facts and subjects by hand, so that the policy room is tested without the parser.

import type { Subject } from '../../src/session/subject.ts';
import type { StatementFacts, StatementShape, TextFacts } from '../../src/sql/facts.ts';

export function makeSubject(parts: Partial<Subject> = {}): Subject {
  return { user: 'app', database: 'shop', applicationName: 'web', clientIp: '10.0.0.1', ...parts };
}

export function makeShape(parts: Partial<StatementShape> = {}): StatementShape {
  return {
    normalized: 'select ?',
    fingerprint: '50fde20626009aba',
    queryClass: 'read',
    kinds: ['select'],
    tables: [],
    functions: [],
    columns: [],
    isMissingWhere: false,
    unparsed: null,
    ...parts,
  };
}

export function makeFacts(shape: StatementShape, text = 'select 1', tags: Record<string, string> = {}): StatementFacts {
  return { text, shape, tags, effect: null };
}

export function makeText(
  parts: Partial<StatementShape> = {},
  text = 'select 1',
  tags: Record<string, string> = {},
): TextFacts {
  return [makeFacts(makeShape(parts), text, tags)];
}
