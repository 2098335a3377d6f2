// Names of modes: what they stand for, and that a slip of the pen is no mode.

import { expect, test } from 'vitest';
import { readMode } from './modes.ts';

test('a mode is named by its login, or by how many connections clients share', () => {
  expect(readMode('passthrough-tls')).toEqual({ name: 'passthrough-tls', login: 'passthrough-tls', pool: null });
  expect(readMode('transaction-8')).toEqual({
    name: 'transaction-8',
    login: 'trust',
    pool: { size: 8, affinity: 'prefer', logins: 'own' },
  });
  expect(readMode('transaction-20-avoid')?.pool).toEqual({ size: 20, affinity: 'avoid', logins: 'own' });
});

test('a name of nothing is refused', () => {
  for (const name of [
    '',
    'tls',
    'transaction',
    'transaction-0',
    'transaction-',
    'transaction-8-always',
    'transaction-8.5',
  ])
    expect(readMode(name)).toBeNull();
});
