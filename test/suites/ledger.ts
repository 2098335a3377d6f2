// The ledger of pool.mode transaction, as GET /pools of the admin API tells it: whether server connections were really
// shared, and what for they were not.

import { waitFor } from '../support/deadline.ts';

const COUNTS = [
  'acquires',
  'releases',
  'held',
  'shared',
  'pinned',
  'handovers',
  'settlements',
  'opened',
  'closed',
  'waitTimeouts',
] as const;

/** All pools of one pgweir together. `shared` and `pinned` are statements. */
export type Ledger = Readonly<Record<(typeof COUNTS)[number], number>> & {
  readonly pins: ReadonlyMap<string, Pins>;
};

export interface Pins {
  readonly total: number;
  readonly heldSeconds: number;
}

/** The totals in the answer, as far as they are read here. */
export interface PoolTotals {
  readonly acquires: number;
  readonly releases: number;
  readonly held: number;
  readonly handovers: number;
  readonly settlements: number;
  readonly opened: number;
  readonly closed: number;
  readonly wait_timeouts: number;
  readonly statements: { readonly shared: number; readonly pinned: number };
  readonly pins: readonly { readonly reason: string; readonly total: number; readonly held_seconds: number }[];
}

const ANSWER_MS = 10_000;
/** How long pgweir may take to notice that the last client has gone. */
const REST_MS = 5_000;

/** Throws where the admin API does not answer, or not with numbers of mode transaction. */
export async function readLedger(adminUrl: string): Promise<Ledger> {
  const headers = { accept: 'application/json' };
  const response = await fetch(`${adminUrl}/pools`, { headers, signal: AbortSignal.timeout(ANSWER_MS) });
  const text = await response.text();
  if (response.status !== 200) throw new Error(`GET /pools: ${response.status} ${text}`);
  const { mode, totals } = JSON.parse(text) as { mode: string; totals: PoolTotals };
  const ledger = makeLedger(totals);
  const strange = COUNTS.find((name) => !Number.isFinite(ledger[name]));
  if (mode !== 'transaction') throw new Error(`GET /pools: pool.mode is ${mode}`);
  if (strange !== undefined) throw new Error(`GET /pools: no number of ${strange} in ${text.slice(0, 1_000)}`);
  return ledger;
}

/** The ledger when no client holds a connection any more; after some seconds as it is, for those that are held to be seen. */
export async function readRestingLedger(adminUrl: string): Promise<Ledger> {
  let ledger = await readLedger(adminUrl);
  const isAtRest = async (): Promise<boolean> => {
    ledger = await readLedger(adminUrl);
    return ledger.held === 0;
  };
  await waitFor(isAtRest, REST_MS, () => 'held').catch(() => undefined);
  return ledger;
}

export function makeLedger({ wait_timeouts, statements, pins, ...counts }: PoolTotals): Ledger {
  return {
    acquires: counts.acquires,
    releases: counts.releases,
    held: counts.held,
    handovers: counts.handovers,
    settlements: counts.settlements,
    opened: counts.opened,
    closed: counts.closed,
    waitTimeouts: wait_timeouts,
    shared: statements.shared,
    pinned: statements.pinned,
    pins: new Map(pins.map(({ reason, total, held_seconds }) => [reason, { total, heldSeconds: held_seconds }])),
  };
}

/** What was entered between the two looks. */
export function subtractLedger(after: Ledger, before: Ledger): Ledger {
  const pins = new Map<string, Pins>();
  for (const [reason, { total, heldSeconds }] of after.pins) {
    const was = before.pins.get(reason) ?? { total: 0, heldSeconds: 0 };
    if (heldSeconds > was.heldSeconds || total > was.total)
      pins.set(reason, { total: total - was.total, heldSeconds: heldSeconds - was.heldSeconds });
  }
  const rise = (name: (typeof COUNTS)[number]): number => after[name] - before[name];
  return {
    acquires: rise('acquires'),
    releases: rise('releases'),
    held: rise('held'),
    shared: rise('shared'),
    pinned: rise('pinned'),
    handovers: rise('handovers'),
    settlements: rise('settlements'),
    opened: rise('opened'),
    closed: rise('closed'),
    waitTimeouts: rise('waitTimeouts'),
    pins,
  };
}

/** Share of statements after which the connection was free for others, 0 to 1; null where none ran. */
export function shareOf({ shared, pinned }: Ledger): number | null {
  return shared + pinned === 0 ? null : shared / (shared + pinned);
}

/** What must not be in a ledger of clients that have all gone, in words; empty where all is well. */
export function findLedgerFaults(ledger: Ledger): string[] {
  const { acquires, releases, held, waitTimeouts } = ledger;
  const faults: string[] = [];
  if (acquires !== releases + held) faults.push(`${acquires} acquires are not ${releases} releases and ${held} held`);
  if (held !== 0) faults.push(`${held} server connections are held by nobody`);
  if (waitTimeouts > 0) faults.push(`${waitTimeouts} clients waited too long for a server connection`);
  return faults;
}

/** One line: the share, the pins with the longest held first, and the counters. */
export function formatLedger(ledger: Ledger): string {
  const { shared, pinned, handovers, settlements, opened, closed, acquires, releases, held } = ledger;
  const pins = [...ledger.pins].sort(([, one], [, other]) => other.heldSeconds - one.heldSeconds);
  const pinTexts = pins.map(([reason, { total, heldSeconds }]) => `${reason} ${total} (${heldSeconds.toFixed(1)} s)`);
  return [
    `${formatShare(ledger)} of ${(shared + pinned).toLocaleString('en-US')} statements on shared connections`,
    `pins: ${pinTexts.join(', ') || 'none'}`,
    `${handovers} handovers, ${settlements} settlements, ${opened} opened, ${closed} closed`,
    `${acquires} acquires, ${releases} releases, ${held} held`,
  ].join('; ');
}

export function formatShare(ledger: Ledger): string {
  const share = shareOf(ledger);
  return share === null ? '–' : `${(share * 100).toFixed(1)} %`;
}
