// Six clients with canaries everywhere: random doings and readings, in and out of transactions, by simple and extended
// protocol, with sessions that end and begin anew.

import * as frontend from '../support/frontend-messages.ts';
import {
  type Doing,
  type Ground,
  LOOKS,
  makeHidden,
  makeReading,
  makeSessionState,
  makeSetting,
  type Pin,
  RELEASES,
} from './canaries.ts';
import { Crew, type Doings } from './crew.ts';
import type { Dice } from './dice.ts';
import type { Model } from './run-model.ts';
import type { Settable } from './settable.ts';
import { PROBE } from './settings-model.ts';
import { extended, type LeaveStep, messages, type SendStep, type Step, simple } from './steps.ts';

export interface LeakOptions {
  readonly settable: readonly Settable[];
  readonly isWild: boolean;
  /** All alike, for a road that knows only one way of logging in. */
  readonly isPlain?: boolean;
}

const CLIENTS = 6;
const LOOK_SHARE = 0.6;
const STARTS: readonly Readonly<Record<string, string>>[] = [
  {},
  { application_name: 'canary at login' },
  {},
  { application_name: 'another' },
  { options: '-c work_mem=9MB -c app.canary=started', application_name: 'with options' },
  { DateStyle: 'ISO, YMD' },
];

const RESETS_NAME = /\bRESET (?:ALL|application_name)\b|\bapplication_name TO DEFAULT\b/i;

class LeakClient implements Doings {
  readonly #client: number;
  readonly #dice: Dice;
  readonly #options: LeakOptions;
  readonly #pins = new Set<Pin>();
  #serial = 0;
  #hasSeed = false;
  /** Its statement without a name is an EXECUTE: what that runs is on this connection alone, until the name is used again. */
  #isExecuteKept = false;
  /** What it does next is to see what it has just done. */
  #look: string | null = null;

  constructor(client: number, dice: Dice, options: LeakOptions) {
    this.#client = client;
    this.#dice = dice;
    this.#options = options;
  }

  get pool(): string {
    return this.#client === 5 && this.#options.isPlain !== true ? 'app' : 'weir';
  }

  hasPins(): boolean {
    return this.#pins.size > 0 || this.#isExecuteKept;
  }

  letGo(status: string): (SendStep | LeaveStep)[] {
    const dice = this.#dice;
    const steps: (SendStep | LeaveStep)[] = [];
    if ([...this.#pins].some((pin) => RELEASES[pin].length === 0) || dice.chance(0.05)) {
      this.#forget();
      return [{ kind: 'leave', client: this.#client, how: dice.pick(['terminate', 'vanish']) }];
    }
    if (status !== 'I') steps.push(this.#say(dice.pick(['COMMIT', 'ROLLBACK'])));
    const pins = [...this.#pins];
    this.#pins.clear();
    this.#isExecuteKept = false;
    this.#look = null;
    if (pins.length > 0 && dice.chance(0.2)) {
      steps.push(simple(this.#client, 'DISCARD ALL'));
    } else {
      // Under another role some of what must go could not be touched.
      if (pins.length > 0)
        steps.push(simple(this.#client, 'RESET SESSION AUTHORIZATION'), simple(this.#client, 'RESET ROLE'));
      if (pins.length > 0) steps.push(simple(this.#client, 'SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE'));
      for (const pin of pins) steps.push(this.#say(dice.pick(RELEASES[pin])));
    }
    return steps.length > 0 ? steps : [simple(this.#client, 'SELECT 1')];
  }

  next(status: string | null): Step {
    const dice = this.#dice;
    if (status === null || dice.chance(0.01)) return this.#login();
    if (dice.chance(0.005)) {
      this.#forget();
      return { kind: 'leave', client: this.#client, how: dice.pick(['terminate', 'vanish']) };
    }
    if (status === 'E' && dice.chance(0.7)) return this.#say(dice.pick(['ROLLBACK', 'ROLLBACK TO a', 'COMMIT']));
    const look = this.#look;
    this.#look = null;
    if (look !== null && (look !== 'SELECT pg_catalog.random()' || this.#hasSeed)) return this.#say(look);
    return dice.weighted([
      [30, () => this.#do(makeReading(this.#ground()))],
      [5, () => ({ ...this.#say(PROBE), label: 'looks at all settings' })],
      [14, () => this.#do(makeSetting(this.#ground()))],
      [10, () => this.#do(makeSessionState(this.#ground()))],
      [10, () => this.#do(makeHidden(this.#ground()))],
      [8, () => this.#say(status === 'I' ? dice.pick(['BEGIN', 'BEGIN', 'COMMIT']) : this.#inTransaction())],
      [4, () => this.#named()],
      [2, () => this.#fastPath()],
      [2, () => this.#together()],
      [1, () => this.#discard(status)],
    ])();
  }

  learn({ label }: SendStep, isFailed: boolean): void {
    if (!isFailed && /setseed|SET seed|hide_seed/.test(label)) this.#hasSeed = true;
  }

  #forget(): void {
    this.#look = null;
    this.#pins.clear();
    this.#hasSeed = false;
    this.#isExecuteKept = false;
  }

  #login(): Step {
    this.#forget();
    const parameters = this.#options.isPlain === true ? {} : (STARTS[this.#client] ?? {});
    return { kind: 'login', client: this.#client, user: this.pool, parameters };
  }

  #ground(): Ground {
    return {
      client: this.#client,
      dice: this.#dice,
      settable: this.#options.settable,
      serial: this.#serial++,
      isWild: this.#options.isWild,
      hasSeed: this.#hasSeed,
    };
  }

  #do({ sql, pins = [] }: Doing): SendStep {
    for (const pin of pins) this.#pins.add(pin);
    const pin = pins[0];
    if (pin !== undefined && this.#dice.chance(LOOK_SHARE)) this.#look = this.#dice.pick(LOOKS[pin]);
    return this.#say(sql);
  }

  #say(sql: string): SendStep {
    const isExtended = this.#dice.chance(0.3);
    this.#isExecuteKept = isExtended && sql.startsWith('EXECUTE ');
    return isExtended ? extended(this.#client, sql) : simple(this.#client, sql);
  }

  #inTransaction(): string {
    return this.#dice.pick([
      'COMMIT',
      'COMMIT',
      'ROLLBACK',
      'SAVEPOINT a',
      'ROLLBACK TO a',
      'RELEASE a',
      'COMMIT AND CHAIN',
    ]);
  }

  /** Statements of the extended protocol, whose names every client uses. */
  #named(): SendStep {
    const client = this.#client;
    return this.#dice.pick([
      () =>
        messages(client, 'Parse s', [
          frontend.parse(`SELECT 'statement of ${client}, ${this.#serial++}'`, 's'),
          frontend.sync(),
        ]),
      () =>
        messages(client, 'Bind, Execute s', [frontend.bind({ statement: 's' }), frontend.execute(), frontend.sync()]),
      () => messages(client, 'Describe s', [frontend.describeStatement('s'), frontend.sync()]),
      () => messages(client, 'Close s', [frontend.closeStatement('s'), frontend.sync()]),
    ])();
  }

  /** FunctionCall messages: set_config(text, text, bool) and pg_advisory_lock(bigint), by the OIDs of pg_proc.dat. */
  #fastPath(): SendStep {
    const value = `called by ${this.#client}`;
    if (this.#dice.chance(0.5)) {
      return messages(this.#client, `FunctionCall set_config('app.canary', '${value}', false)`, [
        frontend.functionCall(2078, ['app.canary', value, 'f']),
      ]);
    }
    this.#pins.add('lock');
    const key = String(this.#client * 1_000_000 + this.#serial++);
    return messages(this.#client, `FunctionCall pg_advisory_lock(${key})`, [frontend.functionCall(2880, [key])]);
  }

  /** Several statements in one message. */
  #together(): SendStep {
    const doings = [makeSetting(this.#ground()), makeHidden(this.#ground()), makeReading(this.#ground())];
    // What follows the reset of a name in the same message sees the one that the connection was opened with (README).
    const list = doings.some(({ sql }) => RESETS_NAME.test(sql)) ? doings.slice(0, -1) : doings;
    for (const { pins = [] } of list) for (const pin of pins) this.#pins.add(pin);
    this.#isExecuteKept = false;
    return simple(this.#client, list.map(({ sql }) => sql).join('; '));
  }

  #discard(status: string): SendStep {
    const all = ['DISCARD ALL', 'DISCARD PLANS', 'DISCARD SEQUENCES', 'DISCARD TEMP'];
    return this.#say(status === 'I' ? this.#dice.pick(all) : 'DISCARD ALL');
  }
}

export function makeLeakModel(dice: Dice, poolSize: number | null, options: LeakOptions): Model {
  const members = Array.from({ length: CLIENTS }, (_, client) => new LeakClient(client, dice, options));
  return new Crew(members, dice, poolSize);
}
