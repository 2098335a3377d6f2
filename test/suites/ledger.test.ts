// The ledger of shared connections: as it is shown, between two looks, and refused where it does not add up.

import { describe, expect, test } from 'vitest';
import { findLedgerFaults, formatLedger, formatShare, makeLedger, type PoolTotals, subtractLedger } from './ledger.ts';

function totals(changes: Partial<PoolTotals> = {}): PoolTotals {
  return {
    acquires: 10,
    releases: 10,
    held: 0,
    handovers: 3,
    settlements: 2,
    opened: 4,
    closed: 1,
    wait_timeouts: 0,
    statements: { shared: 90, pinned: 10 },
    pins: [{ reason: 'temporary', total: 1, held_seconds: 1.5 }],
    ...changes,
  };
}

describe('a ledger', () => {
  test('shows the share, the pins that were held longest first, and the counters', () => {
    const listen = { reason: 'listen', total: 2, held_seconds: 4 };
    expect(formatLedger(makeLedger(totals({ pins: [...totals().pins, listen] })))).toBe(
      '90.0 % of 100 statements on shared connections; pins: listen 2 (4.0 s), temporary 1 (1.5 s); ' +
        '3 handovers, 2 settlements, 4 opened, 1 closed; 10 acquires, 10 releases, 0 held',
    );
  });

  test('of a suite leaves out what was entered before it', () => {
    const after = totals({ acquires: 15, releases: 15, statements: { shared: 95, pinned: 15 } });
    const entered = subtractLedger(makeLedger(after), makeLedger(totals()));
    expect(entered).toMatchObject({ acquires: 5, releases: 5, shared: 5, pinned: 5, pins: new Map() });
    expect(formatShare(entered)).toBe('50.0 %');
    expect(formatShare(subtractLedger(makeLedger(after), makeLedger(after)))).toBe('–');
  });
});

describe('clients that have gone', () => {
  test('leave no fault where everything was given back', () => {
    expect(findLedgerFaults(makeLedger(totals()))).toEqual([]);
  });

  test('leave one for a connection that is held still, lost in the books, or waited for in vain', () => {
    expect(findLedgerFaults(makeLedger(totals({ releases: 9, held: 1 })))).toEqual([
      '1 server connections are held by nobody',
    ]);
    expect(findLedgerFaults(makeLedger(totals({ releases: 9 })))).toEqual([
      '10 acquires are not 9 releases and 0 held',
    ]);
    expect(findLedgerFaults(makeLedger(totals({ wait_timeouts: 2 })))).toHaveLength(1);
  });
});
