// Where the long state tests play: two servers made alike, one to be asked directly (the oracle) and one behind the road
// under test, so that nothing which one run does in its database can show in the other's.

import type { Settings } from '../../src/config/settings.ts';
import { ServerWatch } from '../relay/server-watch.ts';
import { waitFor } from '../support/deadline.ts';
import { startPostgres, type TestPostgres } from '../support/postgres.ts';
import { startTestWeir } from '../support/weir.ts';
import { type WireAddress, WireClient } from '../support/wire-client.ts';
import { startLeakyPool } from './leaky-pool.ts';
import type { Roads } from './player.ts';

export const DATABASE = 'pooling';

/** `bare` shows that the test itself is right, `leaky` that it can fail. */
export type RoadKind = 'bare' | 'leaky' | Partial<Settings['pool']>;

export interface Road {
  readonly roads: Roads;
  /** Throws where the pool's own account of its connections does not add up, with no client left. */
  checkLedger(): Promise<void>;
  /** What is worth a line in the report of a run. */
  describe(): string;
  stop(): Promise<void>;
}

export interface StageOptions {
  /** Statements that make the database, in order; run on both servers before each run. */
  readonly fixture: readonly string[];
  /** Lines of postgresql.conf. */
  readonly settings?: Readonly<Record<string, string>>;
}

const LEDGER_MS = 5_000;

export class Stage {
  readonly oracle: TestPostgres;
  readonly behind: TestPostgres;
  readonly #fixture: readonly string[];

  readonly #watches: readonly ServerWatch[];

  private constructor(oracle: TestPostgres, behind: TestPostgres, fixture: readonly string[]) {
    this.oracle = oracle;
    this.behind = behind;
    this.#fixture = fixture;
    this.#watches = [oracle, behind].map((server) => new ServerWatch(addressOf(server)));
  }

  static async open(options: StageOptions): Promise<Stage> {
    const settings = { max_prepared_transactions: '20', ...options.settings };
    const oracle = await startPostgres({ settings });
    try {
      const stage = new Stage(oracle, await startPostgres({ settings }), options.fixture);
      for (const watch of stage.#watches) await watch.begin();
      return stage;
    } catch (error) {
      await oracle.stop();
      throw error;
    }
  }

  /** Crashes of the two servers so far. */
  get crashes(): number {
    return this.#watches.reduce((sum, watch) => sum + watch.crashes, 0);
  }

  /** True where one of the servers has crashed since there were so many crashes; both are up again then. */
  async hasCrashed(crashesBefore: number): Promise<boolean> {
    for (const watch of this.#watches) await watch.hasCrashed(watch.crashes);
    return this.crashes > crashesBefore;
  }

  /** The database new on both servers, and a road to the second one. */
  async openRoad(kind: RoadKind): Promise<Road> {
    await Promise.all([this.#makeDatabase(this.oracle), this.#makeDatabase(this.behind)]);
    const oracle = addressOf(this.oracle);
    const nothing = async (): Promise<void> => undefined;
    const roadsTo = (subject: WireAddress, explain = (): string => ''): Roads => ({
      database: DATABASE,
      oracle,
      subject,
      explain,
    });
    if (kind === 'bare') {
      return { roads: roadsTo(addressOf(this.behind)), checkLedger: nothing, describe: () => 'bare', stop: nothing };
    }
    if (kind === 'leaky') {
      const pool = await startLeakyPool(addressOf(this.behind), DATABASE);
      return {
        roads: roadsTo(pool.address),
        checkLedger: nothing,
        describe: () => 'leaky',
        stop: () => pool.stop(),
      };
    }
    return this.#openWeir(kind, roadsTo);
  }

  async stop(): Promise<void> {
    for (const watch of this.#watches) await watch.end();
    await this.oracle.stop();
    await this.behind.stop();
  }

  async #openWeir(
    pool: Partial<Settings['pool']>,
    roadsTo: (subject: WireAddress, explain: () => string) => Roads,
  ): Promise<Road> {
    const weir = await startTestWeir({ postgres: this.behind, settings: { pool } });
    const { control } = weir;
    const ledger = (): string => JSON.stringify(control.pools());
    return {
      roads: roadsTo(weir, () =>
        [
          ...control.sessions().map((session) => JSON.stringify([session.clientPort, session.state, session.holds])),
          ledger(),
        ].join('\n'),
      ),
      describe: () => ledger(),
      async checkLedger() {
        await waitFor(
          () => control.sessions().length === 0 && control.pools().every(({ held }) => held === 0),
          LEDGER_MS,
          () => `a connection is still held with no client left: ${ledger()}`,
        );
        for (const { acquires, releases, held } of control.pools()) {
          if (acquires !== releases + held) throw new Error(`the ledger does not add up: ${ledger()}`);
        }
        if (control.counters.errors.get('XX000') !== undefined) throw new Error('pgweir made a mistake of its own');
      },
      stop: () => weir.stop(),
    };
  }

  async #makeDatabase(server: TestPostgres): Promise<void> {
    const address = addressOf(server);
    const keeper = await WireClient.login(address, { database: 'postgres' }, 60_000);
    try {
      for (const [gid, database] of await keeper.rows('SELECT gid, database FROM pg_prepared_xacts')) {
        const there = await WireClient.login(address, { database: database ?? '' });
        await there.rows(`ROLLBACK PREPARED '${gid}'`);
        await there.end();
      }
      await keeper.rows(`DROP DATABASE IF EXISTS ${DATABASE} WITH (FORCE)`);
      await keeper.rows(`CREATE DATABASE ${DATABASE}`);
    } finally {
      await keeper.end();
    }
    const builder = await WireClient.login(address, { database: DATABASE }, 60_000);
    for (const statement of this.#fixture) await builder.rows(statement);
    await builder.end();
  }
}

function addressOf(server: TestPostgres): WireAddress {
  return { host: server.host, port: server.port };
}
