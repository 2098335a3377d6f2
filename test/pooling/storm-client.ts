// One client of the storm: it knows what its session must hold, does what clients do, and looks whether it is so. Any other
// answer is a fault, unless it is one of the ends that the storm itself brings.

import { setTimeout as sleep } from 'node:timers/promises';
import * as frontend from '../support/frontend-messages.ts';
import { readFields, readRow } from '../support/transcript.ts';
import { ConnectionEnded, ServerError, sendCancel, type WireAddress, WireClient } from '../support/wire-client.ts';
import type { Dice } from './dice.ts';

/** What a client may be told for what others do: cancelled, ended, its server gone or starting, or a clash with another transaction. */
const BROUGHT_BY_THE_STORM = new Set([
  '57014',
  '57P01',
  '57P02',
  '57P03',
  '08006',
  '08001',
  '08004',
  '53300',
  '40001',
  '40P01',
]);
const NO_SUCH_TABLE = '42P01';
/** Each wait for one message: nothing that the storm does may take so long. */
const PATIENCE_MS = 30_000;
/** A cancel that comes so late mostly finds the statement at work. */
const CANCEL_AFTER_MS = 400;
const LONG_SLEEP = 'SELECT pg_sleep(20)';

/** The session was not what its client had made it. */
export class StormFault extends Error {
  override readonly name = 'StormFault';
}

export class StormClient {
  readonly #wire: WireClient;
  readonly #address: WireAddress;
  readonly #number: number;
  readonly #dice: Dice;
  #step = 0;
  #setting: string;
  #workMem = '';
  #path = '';
  #hasTable = false;
  #hasPrepared = false;
  #isLocked = false;
  #isParsed = false;

  private constructor(wire: WireClient, address: WireAddress, number: number, dice: Dice) {
    this.#wire = wire;
    this.#address = address;
    this.#number = number;
    this.#dice = dice;
    this.#setting = `client ${number}`;
  }

  /** Sessions one after another until `isOver`. Resolves with the number of things done; throws StormFault. */
  static async live(address: WireAddress, number: number, dice: Dice, isOver: () => boolean): Promise<number> {
    let done = 0;
    while (!isOver()) {
      let wire: WireClient | null = null;
      try {
        wire = await WireClient.login(address, { parameters: { application_name: `storm ${number}` } }, PATIENCE_MS);
        const client = new StormClient(wire, address, number, dice);
        await client.#set(client.#setting);
        for (let left = 5 + dice.below(100); left > 0 && !isOver(); left--) {
          await client.#doSomething();
          done++;
        }
        if (dice.chance(0.5)) await wire.end();
      } catch (error) {
        if (!isBroughtByTheStorm(error)) throw new StormFault(`client ${number}: ${String(error)}`, { cause: error });
        await sleep(20 + dice.below(200));
      } finally {
        wire?.destroy();
      }
    }
    return done;
  }

  #doSomething(): Promise<void> {
    return this.#dice.weighted<() => Promise<void>>([
      [3, () => this.#expectSetting()],
      [2, () => this.#set(`client ${this.#number}, ${++this.#step}`)],
      [1, () => this.#setInFunction()],
      [1, () => this.#setWorkMem()],
      [1, () => this.#setPath()],
      [1, () => this.#takeRole()],
      [1, () => this.#rename()],
      [1, () => this.#turnTable()],
      [2, () => this.#expectTable()],
      [1, () => this.#turnLock()],
      [3, () => this.#usePrepared()],
      [1, () => this.#useSqlPrepared()],
      [3, () => this.#commitOrNot()],
      [1, () => this.#holdCursor()],
      [1, () => this.#fail()],
      [1, () => this.#cancelItself()],
      [1, () => this.#discard()],
    ])();
  }

  async #expect(sql: string, wanted: string, what: string): Promise<void> {
    const [row] = await this.#wire.rows(sql);
    if (row?.[0] !== wanted) throw new StormFault(`${what}: ${row?.[0]}, not ${wanted}`);
  }

  async #say(sql: string): Promise<void> {
    await this.#wire.rows(sql);
  }

  #expectSetting(): Promise<void> {
    return this.#expect("SELECT current_setting('storm.own')", this.#setting, 'the setting');
  }

  async #set(value: string): Promise<void> {
    await this.#say(`SET storm.own = '${value}'`);
    this.#setting = value;
  }

  async #setInFunction(): Promise<void> {
    const value = `client ${this.#number}, hidden ${++this.#step}`;
    await this.#say(`SELECT storm_set('${value}')`);
    this.#setting = value;
  }

  async #setWorkMem(): Promise<void> {
    if (this.#workMem !== '') await this.#expect('SHOW work_mem', this.#workMem, 'work_mem');
    this.#workMem = `${65 + this.#dice.below(900)}kB`;
    await this.#say(`SET work_mem = '${this.#workMem}'`);
  }

  async #setPath(): Promise<void> {
    if (this.#path !== '') await this.#expect('SHOW search_path', this.#path, 'search_path');
    this.#path = this.#dice.pick(['public', 'pg_catalog, public', '"$user", public']);
    await this.#say(`SET search_path = ${this.#path}`);
  }

  async #takeRole(): Promise<void> {
    await this.#say('SET ROLE app');
    await this.#expect('SELECT current_user', 'app', 'the role');
    await this.#say('RESET ROLE');
    await this.#expect('SELECT current_user', 'weir', 'the role after RESET');
  }

  async #rename(): Promise<void> {
    const name = `storm ${this.#number}, ${++this.#step}`;
    await this.#say(`SET application_name = '${name}'`);
    const sql = 'SELECT application_name FROM pg_stat_activity WHERE pid = pg_backend_pid()';
    await this.#expect(sql, name, 'application_name');
  }

  async #turnTable(): Promise<void> {
    await this.#say(
      this.#hasTable ? 'DROP TABLE storm_own' : `CREATE TEMP TABLE storm_own AS SELECT ${this.#number} AS n`,
    );
    this.#hasTable = !this.#hasTable;
  }

  async #expectTable(): Promise<void> {
    try {
      await this.#expect('SELECT n FROM storm_own', this.#hasTable ? String(this.#number) : 'none', 'the table');
    } catch (error) {
      if (this.#hasTable || !(error instanceof ServerError) || error.code !== NO_SUCH_TABLE) throw error;
    }
  }

  async #turnLock(): Promise<void> {
    if (this.#isLocked) await this.#expect(`SELECT pg_advisory_unlock(${this.#number})`, 't', 'the lock');
    else await this.#say(`SELECT pg_advisory_lock(${this.#number})`);
    this.#isLocked = !this.#isLocked;
  }

  /** Each client has another statement under the same name. */
  async #usePrepared(): Promise<void> {
    const parse = this.#isParsed ? [] : [frontend.parse(`SELECT ${this.#number} + $1::int`, 'same')];
    this.#isParsed = true;
    const use = [frontend.bind({ statement: 'same', values: ['1000'] }), frontend.execute(), frontend.sync()];
    this.#wire.send(...parse, ...use);
    const messages = await this.#wire.readUntilReady();
    const refusal = messages.find(({ type }) => type === 'E');
    if (refusal !== undefined) throw new ServerError(readFields(refusal.body));
    const row = messages.find(({ type }) => type === 'D');
    const seen = row === undefined ? null : readRow(row.body)[0];
    if (seen !== String(this.#number + 1000)) throw new StormFault(`the prepared statement: ${seen}`);
  }

  async #useSqlPrepared(): Promise<void> {
    if (!this.#hasPrepared) await this.#say(`PREPARE same_sql(int) AS SELECT ${this.#number} * 1000 + $1`);
    this.#hasPrepared = true;
    await this.#expect('EXECUTE same_sql(7)', String(this.#number * 1000 + 7), 'EXECUTE');
    if (!this.#dice.chance(0.3)) return;
    await this.#say('DEALLOCATE same_sql');
    this.#hasPrepared = false;
  }

  async #commitOrNot(): Promise<void> {
    await this.#say('BEGIN');
    await this.#say("SET LOCAL storm.own = 'local'");
    await this.#say(`UPDATE storm_rows SET n = n + 1 WHERE client = ${this.#number}`);
    await this.#expect("SELECT current_setting('storm.own')", 'local', 'the local setting');
    await this.#say("SAVEPOINT a; SET work_mem = '64MB'; ROLLBACK TO a");
    await this.#say(this.#dice.pick(['COMMIT', 'ROLLBACK']));
    await this.#expectSetting();
  }

  async #holdCursor(): Promise<void> {
    await this.#say(`DECLARE held CURSOR WITH HOLD FOR SELECT generate_series(${this.#number}, ${this.#number} + 5)`);
    await this.#expect('FETCH 1 FROM held', String(this.#number), 'the cursor');
    await this.#say('CLOSE held');
  }

  async #fail(): Promise<void> {
    const answer = await this.#wire.rows('SELECT 1/0').catch((error: unknown) => error);
    if (!(answer instanceof ServerError) || answer.code !== '22012') throw answer;
  }

  /** Again and again: one that comes before the server has read the statement does nothing, as without a pool. */
  async #cancelItself(): Promise<void> {
    let isAsleep = true;
    const answer = this.#say(LONG_SLEEP)
      .then(
        () => new StormFault('cancels that nothing came of'),
        (error: unknown) => error,
      )
      .finally(() => {
        isAsleep = false;
      });
    while (isAsleep) {
      await Promise.race([answer, sleep(CANCEL_AFTER_MS)]);
      if (!isAsleep) break;
      await sendCancel(this.#address, this.#wire.processId, this.#wire.secretKey).catch((error: unknown) => {
        if (!isBroughtByTheStorm(error)) throw error;
      });
    }
    const end = await answer;
    if (!(end instanceof ServerError) || end.code !== '57014') throw end;
  }

  async #discard(): Promise<void> {
    await this.#say('DISCARD ALL');
    this.#hasTable = false;
    this.#hasPrepared = false;
    this.#isLocked = false;
    this.#isParsed = false;
    this.#workMem = '';
    this.#path = '';
    await this.#set(this.#setting);
  }
}

function isBroughtByTheStorm(error: unknown): boolean {
  if (error instanceof ServerError) return BROUGHT_BY_THE_STORM.has(error.code);
  const isReset = error instanceof Error && 'code' in error && (error.code === 'ECONNRESET' || error.code === 'EPIPE');
  return isReset || error instanceof ConnectionEnded;
}
