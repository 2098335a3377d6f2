// Three clients that change settings in every way there is, each answer followed by a look at all settings: name, value and
// what RESET would make of it must be those of a bare server.

import * as frontend from '../support/frontend-messages.ts';
import { Crew, type Doings } from './crew.ts';
import type { Dice } from './dice.ts';
import type { Model } from './run-model.ts';
import { extended, type LeaveStep, messages, type SendStep, type Step, simple } from './steps.ts';

export const SETTINGS_FIXTURE: readonly string[] = [
  'CREATE SCHEMA attic; CREATE SCHEMA "Odd, name"; GRANT ALL ON SCHEMA public, attic TO PUBLIC',
  "ALTER DATABASE pooling SET work_mem = '5MB'",
  "ALTER DATABASE pooling SET app.one = 'of the database'",
  "ALTER ROLE app IN DATABASE pooling SET extra_float_digits = '-2'",
  'CREATE TABLE notes (id int PRIMARY KEY, note text); GRANT ALL ON notes TO PUBLIC',
  `CREATE FUNCTION hide_work_mem(value text) RETURNS text LANGUAGE plpgsql AS
   $$ BEGIN RETURN set_config('work_mem', value, false); END $$`,
  `CREATE FUNCTION hide_path(value text) RETURNS text LANGUAGE sql AS
   $$ SELECT set_config('search_path', value, false) $$`,
  `CREATE FUNCTION keep_inside() RETURNS text LANGUAGE plpgsql SET DateStyle = 'German' SET work_mem FROM CURRENT AS
   $$ BEGIN PERFORM set_config('bytea_output', 'escape', false); RETURN current_setting('DateStyle'); END $$`,
  `CREATE FUNCTION note_trigger() RETURNS trigger LANGUAGE plpgsql AS
   $$ BEGIN PERFORM set_config('IntervalStyle', NEW.note, false); RETURN NEW; END $$`,
  'CREATE TRIGGER noting BEFORE INSERT OR UPDATE ON notes FOR EACH ROW EXECUTE FUNCTION note_trigger()',
];

/** Values that a setting may take here; not all of them are legal, and not for everybody. */
const VALUES: Readonly<Record<string, readonly string[]>> = {
  work_mem: ["'64kB'", "'7MB'", '1234', "'no size'"],
  search_path: ['attic, public', `"Odd, name", "$user"`, "''", 'pg_catalog', 'a, b, c'],
  DateStyle: ["'ISO, DMY'", "'German'", "'SQL, MDY'", "'DMY'"],
  IntervalStyle: ['iso_8601', 'sql_standard', 'postgres_verbose'],
  TimeZone: ["'Europe/Rome'", "'America/New_York'", "'+3'", "'nowhere'"],
  application_name: ["'one'", "'two words'", "''", "'é'"],
  client_encoding: ["'LATIN1'", "'UTF8'", "'SQL_ASCII'"],
  standard_conforming_strings: ['off', 'on'],
  default_transaction_read_only: ['on', 'off'],
  // Serializable, read only and deferrable together wait for other transactions, on every server.
  default_transaction_isolation: ["'read uncommitted'", "'repeatable read'", "'read committed'"],
  default_transaction_deferrable: ['on', 'off'],
  statement_timeout: ['60000', "'2min'", '0'],
  extra_float_digits: ['3', '0', '-5', '99'],
  bytea_output: ['escape', 'hex'],
  row_security: ['off', 'on'],
  enable_seqscan: ['off', 'on'],
  cursor_tuple_fraction: ['0.25', '0.5'],
  session_replication_role: ['local', 'origin'],
  log_min_duration_statement: ['600000', '-1'],
  temp_buffers: ['200', "'4MB'"],
  lock_timeout: ['90000', '0'],
  'app.one': ["'first'", "'second'", "''", "'o''clock'"],
  'app.two': ["'x'", "'y, z'"],
  'app.rare': ["'seldom'"],
  client_min_messages: ['warning', 'notice'],
  lc_messages: ["'C'", "'POSIX'"],
  transaction_isolation: ["'repeatable read'", "'read committed'"],
  transaction_read_only: ['on', 'off'],
  nothing_like_it: ['1'],
};
const NAMES = Object.keys(VALUES);
const ROLES = ['app', 'weir', 'scram_user', 'none', 'nobody_like_it'];

/**
 * For a SELECT without FROM. A parallel worker, which debug_parallel_query runs all in that may, is told nothing of custom
 * settings that are at their default: to it those that were reset, or set in vain, are unknown, in the leader they are ''.
 */
export const IN_LEADER = 'WHERE pg_catalog.pg_backend_pid() > 0';

/**
 * All that is not as it was built in, and what pg_settings leaves out. Clients that differ in application_name alone share
 * connections, so that its reset_val is not theirs; what RESET makes of it is.
 */
export const PROBE =
  `SELECT pg_catalog.string_agg(pg_catalog.concat_ws('|', name, setting, CASE WHEN name <> 'application_name' THEN reset_val END), '; ' ORDER BY name COLLATE pg_catalog."C"),
 pg_catalog.current_setting('app.one', true), pg_catalog.current_setting('app.two', true), pg_catalog.current_setting('app.rare', true),
 pg_catalog.current_setting('role'), current_user, session_user, pg_catalog.current_setting('is_superuser')
 FROM pg_catalog.pg_settings WHERE context IN ('user', 'superuser', 'backend', 'superuser-backend') AND name NOT LIKE 'plpgsql.%'
 AND (setting IS DISTINCT FROM boot_val OR (reset_val IS DISTINCT FROM boot_val AND name <> 'application_name'))
 AND pg_catalog.pg_backend_pid() > 0`.replace(/\s+/g, ' ');

const STARTS: readonly Readonly<Record<string, string>>[] = [
  {},
  {},
  { application_name: 'first' },
  { application_name: 'second' },
  { options: '-c work_mem=9MB -c app.one=started' },
  { DateStyle: 'ISO, YMD', TimeZone: 'Asia/Tokyo' },
  { search_path: 'attic' },
  { client_encoding: 'LATIN1', application_name: 'third' },
];

class SettingsClient implements Doings {
  readonly #client: number;
  readonly #dice: Dice;
  #isProbeDue = false;
  #serial = 0;
  #gids: string[] = [];
  readonly #hasLogins: boolean;

  constructor(client: number, dice: Dice, hasLogins: boolean) {
    this.#client = client;
    this.#dice = dice;
    this.#hasLogins = hasLogins;
  }

  /** Client 2 is not a superuser, where logins may differ. */
  get pool(): string {
    return this.#user;
  }

  get #user(): string {
    return this.#client === 2 && this.#hasLogins ? 'app' : 'weir';
  }

  hasPins(): boolean {
    return false;
  }

  letGo(status: string): (SendStep | LeaveStep)[] {
    this.#isProbeDue = true;
    if (this.#dice.chance(0.05))
      return [{ kind: 'leave', client: this.#client, how: this.#dice.pick(['terminate', 'vanish']) }];
    return [
      simple(this.#client, status === 'I' ? 'SELECT 1' : this.#dice.pick(['COMMIT', 'ROLLBACK', 'END', 'ABORT'])),
    ];
  }

  next(status: string | null): Step {
    if (status === null || (this.#hasLogins && this.#dice.chance(0.01))) return this.#login();
    if (this.#isProbeDue && status !== 'E') {
      this.#isProbeDue = false;
      const step = this.#say(PROBE);
      return { ...step, label: 'looks at all settings' };
    }
    this.#isProbeDue = true;
    const dice = this.#dice;
    if (dice.chance(0.06)) return this.#pipeline();
    if (dice.chance(0.05))
      return simple(this.#client, `${this.#change()}; ${dice.pick(['SELECT 1/0', 'SELECT 1', this.#change()])}`);
    if (dice.chance(0.03))
      return simple(this.#client, `BEGIN; ${this.#change()}; ${dice.pick(['COMMIT', 'ROLLBACK', 'COMMIT AND CHAIN'])}`);
    return this.#say(status === 'I' ? this.#outside() : this.#inside());
  }

  #login(): Step {
    this.#isProbeDue = true;
    const parameters = this.#hasLogins ? this.#dice.pick(STARTS) : {};
    return { kind: 'login', client: this.#client, user: this.#user, parameters };
  }

  #say(sql: string): SendStep {
    return this.#dice.chance(0.3) ? extended(this.#client, sql) : simple(this.#client, sql);
  }

  #outside(): string {
    return this.#dice.weighted([
      [12, () => this.#change()],
      [
        6,
        () =>
          this.#dice.pick([
            'BEGIN',
            'BEGIN',
            'START TRANSACTION',
            'BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY NOT DEFERRABLE',
          ]),
      ],
      [1, () => 'DISCARD ALL'],
      [1, () => this.#finishPrepared()],
      [
        1,
        () =>
          this.#dice.pick([
            'COMMIT',
            'ROLLBACK TO a',
            'SELECT 1/0',
            'SET LOCAL work_mem = 99',
            'RESET nothing_like_it',
          ]),
      ],
    ])();
  }

  #inside(): string {
    const savepoint = this.#dice.pick(['a', 'b']);
    return this.#dice.weighted([
      [12, () => this.#change()],
      [3, () => `SAVEPOINT ${savepoint}`],
      [2, () => `RELEASE ${savepoint}`],
      [3, () => `ROLLBACK TO ${savepoint}`],
      [2, () => 'COMMIT'],
      [1, () => 'ROLLBACK'],
      [1, () => this.#dice.pick(['COMMIT AND CHAIN', 'ROLLBACK AND CHAIN'])],
      [1, () => this.#prepareTransaction()],
      [1, () => this.#dice.pick(['SELECT 1/0', 'DISCARD ALL', 'BEGIN'])],
    ])();
  }

  #change(): string {
    const dice = this.#dice;
    const name = dice.pick(NAMES);
    const value = dice.pick(VALUES[name] ?? []);
    const literal = value.startsWith("'") && !value.includes(',') ? value : `'${value.replaceAll("'", "''")}'`;
    return dice.weighted([
      [8, () => `SET ${name} = ${value}`],
      [4, () => `SET LOCAL ${name} TO ${value}`],
      [1, () => `SET SESSION ${name} = ${value}`],
      [2, () => `SET ${name} TO DEFAULT`],
      [4, () => `RESET ${name}`],
      [2, () => 'RESET ALL'],
      [3, () => `SELECT set_config('${name}', ${literal}, false)`],
      [2, () => `SELECT set_config('${name}', ${literal}, true)`],
      [2, () => `DO $$ BEGIN SET ${name} = ${value}; END $$`],
      [1, () => `DO $$ BEGIN PERFORM set_config('${name}', ${literal}, true); END $$`],
      [1, () => `SELECT hide_work_mem('${dice.pick(['640kB', '6MB', 'nonsense'])}')`],
      [1, () => `SELECT hide_path('${dice.pick(['attic', 'public, attic', ''])}')`],
      [1, () => 'SELECT keep_inside()'],
      [1, () => this.#note()],
      [2, () => `SET ${dice.pick(['', 'LOCAL ', 'SESSION '])}ROLE ${dice.pick(ROLES)}`],
      [
        1,
        () =>
          `SET ${dice.pick(['', 'LOCAL '])}SESSION AUTHORIZATION ${dice.pick(['app', 'weir', 'DEFAULT', 'scram_user'])}`,
      ],
      [1, () => dice.pick(['RESET ROLE', 'RESET SESSION AUTHORIZATION'])],
      [
        1,
        () => dice.pick(["SET TIME ZONE INTERVAL '+02:30' HOUR TO MINUTE", 'SET TIME ZONE LOCAL', 'SET TIME ZONE -7']),
      ],
      [
        1,
        () => dice.pick(["SET NAMES 'LATIN1'", 'SET NAMES DEFAULT', "SET SCHEMA 'attic'", 'SET XML OPTION DOCUMENT']),
      ],
      [1, () => 'SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL REPEATABLE READ'],
      [1, () => `SHOW ${name}`],
    ])();
  }

  /** A row of its own: a prepared transaction may hold the others. */
  #note(): string {
    const id = this.#client * 1_000_000 + this.#serial++;
    return `INSERT INTO public.notes VALUES (${id}, '${this.#dice.pick(['iso_8601', 'postgres', 'no style'])}')`;
  }

  #prepareTransaction(): string {
    if (this.#gids.length > 3) return this.#finishPrepared();
    const gid = `of ${this.#client}, ${this.#serial++}`;
    this.#gids.push(gid);
    return `PREPARE TRANSACTION '${gid}'`;
  }

  /** Outside of a transaction; the name may be of one that was never prepared. */
  #finishPrepared(): string {
    const gid = this.#gids.shift() ?? 'of nobody';
    return `${this.#dice.pick(['COMMIT', 'ROLLBACK'])} PREPARED '${gid}'`;
  }

  /** Several statements before one Sync, so that an error undoes those before it and skips those behind. */
  #pipeline(): SendStep {
    const list = [this.#change(), this.#dice.pick(['SELECT 1', 'SELECT 1/0']), this.#change()];
    const parts = [...list.map((sql) => frontend.extendedQuery(sql)), frontend.sync()];
    return messages(this.#client, `${list.join('; ')}  (one pipeline)`, parts);
  }
}

/** `hasLogins`: sessions begin anew now and then, with startup parameters of all kinds. */
export function makeSettingsModel(dice: Dice, poolSize: number | null, hasLogins = true): Model {
  const members = [0, 1, 2].map((client) => new SettingsClient(client, dice, hasLogins));
  return new Crew(members, dice, poolSize);
}
