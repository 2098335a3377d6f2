// pgweir in transaction mode for tests with few clients, and what such tests ask of it: who waits, and who holds what.

import type { Settings } from '../../src/config/settings.ts';
import type { PoolSummary } from '../../src/pool/pool-summary.ts';
import { waitFor } from '../support/deadline.ts';
import { startTestWeir, type TestWeir, type WeirTargets } from '../support/weir.ts';
import { type LoginOptions, WireClient } from '../support/wire-client.ts';

const LOOK_MS = 5_000;

export interface PoolGround {
  readonly weir: TestWeir;
  /** A client whose id in /sessions is known; gone at the end of the test at the latest. */
  login(options?: LoginOptions): Promise<PoolClient>;
  /** The one pool there is. */
  pool(): PoolSummary;
  /** Resolves when so many clients wait for a connection. */
  waitForQueue(length: number): Promise<void>;
  /** Throws where a connection is still held, or the ledger does not add up, with no client left. */
  checkLedger(): Promise<void>;
  stop(): Promise<void>;
}

export interface PoolClient {
  readonly wire: WireClient;
  readonly sessionId: number;
  holds(): readonly string[];
}

export async function startPoolGround(
  postgres: WeirTargets,
  pool: Partial<Settings['pool']>,
  others: { readonly limits?: Partial<Settings['limits']> } = {},
): Promise<PoolGround> {
  const weir = await startTestWeir({
    postgres,
    settings: { pool: { mode: 'transaction', size: 1, ...pool }, ...others },
  });
  const { control } = weir;
  const clients: WireClient[] = [];
  const onePool = (): PoolSummary => {
    const [found, second] = control.pools();
    if (found === undefined || second !== undefined) throw new Error(`${control.pools().length} pools, not one`);
    return found;
  };
  return {
    weir,
    pool: onePool,
    async login(options = {}) {
      const known = new Set(control.sessions().map(({ id }) => id));
      const wire = await WireClient.login(weir, options);
      clients.push(wire);
      const session = control.sessions().find(({ id }) => !known.has(id));
      if (session === undefined) throw new Error('the session is not listed');
      return { wire, sessionId: session.id, holds: () => control.session(session.id)?.holds ?? [] };
    },
    async waitForQueue(length) {
      await waitFor(
        () => control.pools().reduce((sum, { waiting }) => sum + waiting, 0) === length,
        LOOK_MS,
        () => `not ${length} clients wait: ${JSON.stringify(control.pools())}`,
        5,
      );
    },
    async checkLedger() {
      for (const wire of clients.splice(0)) wire.destroy();
      await waitFor(
        () => control.sessions().length === 0 && control.pools().every(({ held }) => held === 0),
        LOOK_MS,
        () => `a connection is held with no client left: ${JSON.stringify(control.pools())}`,
      );
      for (const { acquires, releases, held, pins } of control.pools()) {
        if (acquires !== releases + held || pins.some(({ current }) => current !== 0))
          throw new Error(`the ledger is wrong: ${JSON.stringify(control.pools())}`);
      }
    },
    stop: () => weir.stop(),
  };
}
