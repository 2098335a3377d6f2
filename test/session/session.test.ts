import { describe, expect, test } from 'vitest';
import { CancelKeys } from '../../src/session/cancel-keys.ts';
import { OWED, SpareReplies } from '../../src/session/owed.ts';
import { PHASES, Session } from '../../src/session/session.ts';
import { TRANSACTION } from '../../src/wire/codes.ts';

const makeSession = (): Session<string> => new Session<string>(7, '192.0.2.1', 5_000, 0, new SpareReplies());

describe('a session', () => {
  test('goes through its phases in order and never back', () => {
    const session = makeSession();
    for (const phase of PHASES) {
      session.enter(phase);
      expect(session.phase).toBe(phase);
    }
    for (const phase of ['startup', 'login', 'ready'] as const) {
      expect(() => session.enter(phase)).toThrow(/cannot go from closing/);
    }
  });

  test('takes application_name from what the server reports, and only then makes a new subject', () => {
    const session = makeSession();
    session.identify('ann', 'shop', 'cart');
    const before = session.subject;
    session.setParameter('application_name', 'cart');
    session.setParameter('TimeZone', 'UTC');
    expect(session.subject).toBe(before);
    session.setParameter('application_name', '');
    expect(session.subject).toEqual({ user: 'ann', database: 'shop', applicationName: '', clientIp: '192.0.2.1' });
    expect(Object.isFrozen(session.subject)).toBe(true);
  });

  test('reads strings as standard ones until the server says otherwise', () => {
    const session = makeSession();
    expect(session.areStringsConforming).toBe(true);
    session.setParameter('standard_conforming_strings', 'off');
    expect(session.areStringsConforming).toBe(false);
    expect(session.clientEncoding).toBe('UTF8');
    session.setParameter('client_encoding', 'LATIN1');
    expect(session.clientEncoding).toBe('LATIN1');
  });

  test('learns from ReadyForQuery that its transaction is over, but not from that of what was sent before', () => {
    const session = makeSession();
    session.owed.push(OWED.query);
    session.announceTransaction(true, session.owed.push(OWED.query).sequence);
    session.owed.push(OWED.query);
    session.owed.shift();
    session.settle(TRANSACTION.idle, 1);
    expect(session.isTransactionAhead).toBe(true);
    expect(session.isTransactionInDoubt).toBe(true);
    session.owed.shift();
    session.settle(TRANSACTION.idle, 2);
    expect(session.isTransactionAhead).toBe(false);
    expect(session.isTransactionInDoubt).toBe(false);
    session.owed.shift();
    expect(session.isQuiet).toBe(true);
    session.settle(TRANSACTION.failed, 3);
    expect(session.isTransactionAhead).toBe(true);
  });

  test.each([
    ['a Sync alone, which ends nothing', [], TRANSACTION.open, TRANSACTION.failed],
    ['a Sync behind a Close', [OWED.close], TRANSACTION.open, TRANSACTION.failed],
    ['a second such Sync', [], TRANSACTION.failed, TRANSACTION.failed],
    ['a Sync behind a Parse', [OWED.parse], TRANSACTION.open, TRANSACTION.idle],
    ['a Sync behind an Execute', [OWED.bind, OWED.execute], TRANSACTION.open, TRANSACTION.idle],
    ['a Sync outside of a transaction', [], TRANSACTION.idle, TRANSACTION.idle],
  ] as const)("hears 'I' behind %s", (_what, kinds, before, behind) => {
    const session = makeSession();
    session.owed.push(OWED.bind);
    session.owed.push(OWED.query);
    session.owed.shift();
    session.owed.shift();
    session.settle(before, 2);
    for (const kind of [...kinds, OWED.sync]) session.owed.push(kind);
    for (const _kind of kinds) session.owed.shift();
    expect(session.statusBehind(TRANSACTION.idle)).toBe(behind);
    expect(session.statusBehind(TRANSACTION.open)).toBe(TRANSACTION.open);
  });

  test("believes 'I' to the Query that ends a transaction", () => {
    const session = makeSession();
    session.settle(TRANSACTION.open, 1);
    session.owed.push(OWED.query);
    expect(session.statusBehind(TRANSACTION.idle)).toBe(TRANSACTION.idle);
  });

  test('what fails with the BEGIN before it is in no doubt', () => {
    const session = makeSession();
    session.announceTransaction(true, session.owed.push(OWED.execute).sequence);
    expect(session.isTransactionInDoubt).toBe(false);
    session.owed.push(OWED.sync);
    expect(session.isTransactionInDoubt).toBe(true);
  });
});

describe('cancel keys', () => {
  test('lead to their session until it forgets them, and another cannot forget them for it', () => {
    const keys = new CancelKeys<string>();
    keys.register('key', 'one');
    expect(keys.find('key')).toBe('one');
    keys.forget('key', 'two');
    expect(keys.find('key')).toBe('one');
    keys.forget('key', 'one');
    expect(keys.find('key')).toBeNull();
    expect(keys.find('other')).toBeNull();
  });

  test('are found by the whole of them: one process of two servers has two, and neither a part nor more is one', () => {
    const keys = new CancelKeys<string>();
    keys.register('\0\0\0\x07secret', 'one');
    keys.register('\0\0\0\x07other secret', 'two');
    expect(keys.find('\0\0\0\x07secret')).toBe('one');
    expect(keys.find('\0\0\0\x07other secret')).toBe('two');
    for (const wrong of ['', '\0\0\0\x07', '\0\0\0\x07secre', '\0\0\0\x07secrets', '\0\0\0\x08secret'])
      expect(keys.find(wrong)).toBeNull();
    keys.forget('\0\0\0\x07secret', 'one');
    expect(keys.find('\0\0\0\x07other secret')).toBe('two');
  });
});
