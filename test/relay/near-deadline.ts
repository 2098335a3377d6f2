// Statements that end near the deadline of a kill rule, from several clients, between statements that no rule times. What
// must hold at every moment: a 57014 meets only a statement that was due, and the session goes on as after any error.

import * as frontend from '../support/frontend-messages.ts';
import { type BackendMessage, readFields } from '../support/transcript.ts';
import { type WireAddress, WireClient } from '../support/wire-client.ts';

export const DEADLINE_MS = 30;
export const NEAR_DEADLINE_RULES = `
traffic_control:
  rules:
    - name: timed
      match: { query_regex: 'timed' }
      action: kill_after_ms
      timeout_ms: ${DEADLINE_MS}
`;

/** Statements of the timed kind last this long: the kill comes with the clock's next tick, up to 10 ms after the deadline. */
const NEAR_MS = { from: DEADLINE_MS - 4, to: DEADLINE_MS + 14 };
const CANCELED = '57014';

export interface NearDeadlineTally {
  /** Timed statements that were sent, and how many of them ended with 57014. */
  timed: number;
  killed: number;
  /** Statements that no rule times. */
  free: number;
  /** One line for each thing that must not happen. */
  readonly wrong: string[];
}

/** One statement of a unit, as it is expected to end. */
interface Planned {
  readonly sql: string;
  readonly isTimed: boolean;
}

/** A Linear congruential generator (Numerical Recipes): a seed gives the same plan again. */
class Dice {
  #state: number;
  constructor(seed: number) {
    this.#state = seed >>> 0;
  }
  /** At least 0, below 1. */
  roll(): number {
    this.#state = (Math.imul(this.#state, 1_664_525) + 1_013_904_223) >>> 0;
    return this.#state / 2 ** 32;
  }
  pick<T>(choices: readonly [T, ...T[]]): T {
    return choices[Math.floor(this.roll() * choices.length)] ?? choices[0];
  }
}

/** Runs `clients` sessions at once until each has sent `timedEach` timed statements. */
export async function runNearDeadline(
  address: WireAddress,
  options: { readonly clients: number; readonly timedEach: number; readonly seed: number },
): Promise<NearDeadlineTally> {
  const tallies = await Promise.all(
    Array.from({ length: options.clients }, async (_, index) => {
      const session = new NearDeadlineSession(
        await WireClient.login(address, { parameters: { application_name: `near ${index}` } }),
        new Dice(options.seed + index * 7919),
      );
      return session.run(options.timedEach);
    }),
  );
  return tallies.reduce((sum, tally) => ({
    timed: sum.timed + tally.timed,
    killed: sum.killed + tally.killed,
    free: sum.free + tally.free,
    wrong: [...sum.wrong, ...tally.wrong],
  }));
}

class NearDeadlineSession {
  readonly #client: WireClient;
  readonly #dice: Dice;
  readonly #tally: NearDeadlineTally = { timed: 0, killed: 0, free: 0, wrong: [] };

  constructor(client: WireClient, dice: Dice) {
    this.#client = client;
    this.#dice = dice;
  }

  async run(timedCount: number): Promise<NearDeadlineTally> {
    const client = this.#client;
    try {
      await this.#unit('prepare', [], [frontend.parse('SELECT pg_sleep($1) AS timed', 'near'), frontend.sync()]);
      await this.#unit('prepare', [], [frontend.parse('SELECT pg_sleep($1) AS free', 'far'), frontend.sync()]);
      while (this.#tally.timed < timedCount) {
        const shape = this.#dice.pick([
          () => this.#simple(),
          () => this.#simpleRow(),
          () => this.#extended(),
          () => this.#prepared(),
          () => this.#flushed(),
          () => this.#pipeline(),
          () => this.#severalSyncs(),
          () => this.#block(),
        ]);
        await shape();
      }
      const [row] = await client.rows("SELECT 'alive'");
      if (row?.[0] !== 'alive') this.#tally.wrong.push('the session answers something else in the end');
      await client.end();
    } catch (error) {
      this.#tally.wrong.push(`connection lost: ${error instanceof Error ? error.message : String(error)}`);
      client.destroy();
    }
    return this.#tally;
  }

  #near(): Planned {
    const seconds = (NEAR_MS.from + this.#dice.roll() * (NEAR_MS.to - NEAR_MS.from)) / 1000;
    return { sql: `SELECT pg_sleep(${seconds.toFixed(4)}) AS timed`, isTimed: true };
  }

  /** Some are over at once; some last longer than the deadline, which is not theirs. */
  #free(): Planned {
    const seconds = this.#dice.pick([0, 0, 0.001, 0.004, (DEADLINE_MS * 1.3) / 1000]);
    return { sql: `SELECT pg_sleep(${seconds}) AS free`, isTimed: false };
  }

  async #simple(): Promise<void> {
    for (const planned of [this.#near(), this.#free()]) {
      await this.#unit('simple', [planned], [frontend.query(planned.sql)]);
    }
  }

  /** Several Query messages in one packet: each is a unit of its own. */
  async #simpleRow(): Promise<void> {
    const row = [this.#near(), this.#free(), this.#near(), this.#free(), this.#free()];
    const sentAtMs = performance.now();
    this.#client.send(...row.map(({ sql }) => frontend.query(sql)));
    for (const planned of row) this.#check('queries in one packet', [planned], await this.#answer(), sentAtMs);
  }

  async #extended(): Promise<void> {
    for (const planned of [this.#near(), this.#free()]) {
      await this.#unit('extended', [planned], [frontend.extendedQuery(planned.sql), frontend.sync()]);
    }
  }

  async #prepared(): Promise<void> {
    const seconds = (NEAR_MS.from + this.#dice.roll() * (NEAR_MS.to - NEAR_MS.from)) / 1000;
    const use = (statement: string, value: number): Buffer[] => [
      frontend.bind({ statement, values: [value.toFixed(4)] }),
      frontend.execute(),
      frontend.sync(),
    ];
    await this.#unit('prepared', [{ sql: 'near', isTimed: true }], use('near', seconds));
    await this.#unit('prepared', [{ sql: 'far', isTimed: false }], use('far', 0.002));
  }

  /** Parse, Bind, Execute, Flush; the Sync comes when the answer is there. */
  async #flushed(): Promise<void> {
    const near = this.#near();
    const sentAtMs = performance.now();
    this.#client.send(frontend.extendedQuery(near.sql), frontend.flush());
    const seen: BackendMessage[] = [];
    while (!seen.some(({ type }) => type === 'C' || type === 'E')) seen.push(await this.#client.readMessage());
    const free = this.#free();
    const isOver = seen.some(({ type }) => type === 'E');
    this.#client.send(frontend.extendedQuery(free.sql), frontend.sync());
    seen.push(...(await this.#answer()));
    this.#check('flushed', [near, free], seen, sentAtMs);
    if (isOver && seen.filter(({ type }) => type === 'C').length > 0) {
      this.#tally.wrong.push('a statement ran between a 57014 and its Sync');
    }
  }

  /** Several statements before one Sync: an error ends all that follow. */
  async #pipeline(): Promise<void> {
    const unit = [this.#free(), this.#near(), this.#free(), this.#near(), this.#free()];
    await this.#unit('pipeline', unit, [...unit.map(({ sql }) => frontend.extendedQuery(sql)), frontend.sync()]);
  }

  /** Several Syncs in one packet: each ends a unit of its own. */
  async #severalSyncs(): Promise<void> {
    const units = [[this.#near()], [this.#free()], [this.#near(), this.#free()], [this.#free()]];
    const sentAtMs = performance.now();
    this.#client.send(
      ...units.flatMap((unit) => [...unit.map(({ sql }) => frontend.extendedQuery(sql)), frontend.sync()]),
    );
    for (const unit of units) this.#check('several Syncs', unit, await this.#answer(), sentAtMs);
  }

  /** Inside a transaction a kill fails the transaction, and a savepoint saves it. */
  async #block(): Promise<void> {
    await this.#unit('begin', [], [frontend.query('BEGIN')]);
    await this.#unit('savepoint', [], [frontend.query('SAVEPOINT here')]);
    const near = this.#near();
    const isKilled = await this.#unit('in a block', [near], [frontend.query(near.sql)]);
    const wanted = isKilled ? 'E' : 'T';
    if (this.#client.status !== wanted) {
      this.#tally.wrong.push(`transaction status ${this.#client.status} after ${isKilled ? 'a kill' : 'a statement'}`);
    }
    if (isKilled) await this.#unit('rollback to', [], [frontend.query('ROLLBACK TO here')]);
    const free = this.#free();
    await this.#unit('in a block', [free], [frontend.query(free.sql)]);
    await this.#unit('commit', [], [frontend.query('COMMIT')]);
  }

  async #unit(name: string, planned: readonly Planned[], messages: readonly Buffer[]): Promise<boolean> {
    const sentAtMs = performance.now();
    this.#client.send(...messages);
    return this.#check(name, planned, await this.#answer(), sentAtMs);
  }

  #answer(): Promise<BackendMessage[]> {
    return this.#client.readUntilReady();
  }

  /** Statements of one unit against its answers: complete ones in order, then at most one error, which only a timed one may have. */
  #check(name: string, planned: readonly Planned[], answers: readonly BackendMessage[], sentAtMs: number): boolean {
    const tookMs = performance.now() - sentAtMs;
    const tally = this.#tally;
    const error = answers.find(({ type }) => type === 'E');
    const completed = answers.filter(({ type }) => type === 'C').length;
    const ran = planned.slice(0, completed + (error === undefined ? 0 : 1));
    for (const { isTimed } of ran) {
      if (isTimed) tally.timed++;
      else tally.free++;
    }
    if (error === undefined) {
      if (planned.length > 0 && completed !== planned.length) tally.wrong.push(`${name}: ${completed} answers`);
      return false;
    }
    const sqlstate = readFields(error.body).C ?? '';
    const hit = planned[completed];
    if (sqlstate !== CANCELED) tally.wrong.push(`${name}: ${sqlstate} ${readFields(error.body).M}`);
    else if (hit === undefined) tally.wrong.push(`${name}: 57014 with no statement to hit`);
    else if (!hit.isTimed) tally.wrong.push(`${name}: 57014 on ${hit.sql}`);
    else if (tookMs < DEADLINE_MS) tally.wrong.push(`${name}: 57014 after ${tookMs.toFixed(1)} ms`);
    else tally.killed++;
    return true;
  }
}
