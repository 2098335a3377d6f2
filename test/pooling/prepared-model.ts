// Three clients that prepare, bind, describe, execute and close under the same few names, by protocol and by SQL, while the
// tables behind the statements change: every message of every answer must be the bare server's.

import * as frontend from '../support/frontend-messages.ts';
import { Crew, type Doings } from './crew.ts';
import type { Dice } from './dice.ts';
import type { Model } from './run-model.ts';
import { type LeaveStep, messages, type SendStep, type Step, simple } from './steps.ts';

export const PREPARED_FIXTURE: readonly string[] = [
  'CREATE SCHEMA attic',
  ...[0, 1, 2].map(
    (n) =>
      `CREATE TABLE shaped_${n} (id int, note text); INSERT INTO shaped_${n} VALUES (1, 'one'), (2, 'two'), (3, 'three')`,
  ),
  "CREATE TABLE attic.shaped_0 (note text, other int); INSERT INTO attic.shaped_0 VALUES ('in the attic', 1)",
  'CREATE VIEW shaped_view AS SELECT id FROM shaped_1',
  'CREATE TABLE pile (n int, note text)',
];

const STATEMENTS = [
  'SELECT 1',
  'SELECT $1::int + 1',
  'SELECT $1',
  'SELECT $1, $2',
  'SELECT * FROM shaped_0 ORDER BY 1',
  'SELECT * FROM shaped_1 WHERE id = $1',
  'SELECT id FROM shaped_2 ORDER BY id',
  'SELECT note FROM shaped_2 WHERE id > $1 ORDER BY id',
  'SELECT * FROM shaped_view ORDER BY 1',
  'SELECT generate_series(1, 5)',
  'INSERT INTO pile VALUES ($1, $2) RETURNING n',
  'INSERT INTO pile (note) VALUES ($1)',
  "SELECT 'é' || $1::text",
  'SELECT 1/$1::int',
  '',
  'not a statement',
  'SELECT no_such_column FROM shaped_0',
  'SELECT 1; SELECT 2',
  'SHOW search_path',
  'BEGIN',
  'COMMIT',
  'ROLLBACK',
  'DEALLOCATE a',
  'DEALLOCATE PREPARE "b c"',
  'DEALLOCATE ALL',
  'PREPARE a AS SELECT 5',
  'EXECUTE a',
  'EXECUTE a (7)',
  'COPY (SELECT 1) TO STDOUT',
  "SET search_path = 'attic'",
  'RESET search_path',
];
const QUERIES = [
  'PREPARE a AS SELECT 5',
  'PREPARE "b c" (int) AS SELECT $1 + 1',
  'PREPARE a AS SELECT * FROM shaped_0 ORDER BY 1',
  'PREPARE a (text) AS INSERT INTO pile (note) VALUES ($1)',
  'PREPARE "b c" (int) AS SELECT id + $1 FROM shaped_view ORDER BY 1',
  'EXECUTE a',
  'EXECUTE a (7)',
  'EXECUTE "b c" (1)',
  "EXECUTE a ('x')",
  'EXPLAIN (COSTS off) EXECUTE a',
  'DEALLOCATE a',
  'DEALLOCATE "b c"',
  'DEALLOCATE ALL',
  'DEALLOCATE nobody',
  'DISCARD PLANS',
  'CREATE TEMP TABLE IF NOT EXISTS pile_copy ON COMMIT DROP AS EXECUTE a',
  // One whose view is gone cannot be prepared anywhere else, and is not listed there.
  "SELECT name, statement, parameter_types FROM pg_prepared_statements WHERE statement !~ 'shaped_view' OR name ~ '^pgweir' ORDER BY name",
  'SET plan_cache_mode = force_generic_plan',
  'SET plan_cache_mode = force_custom_plan',
  'SELECT 1; SELECT 2',
  'SELECT 1; DEALLOCATE ALL; SELECT 1/0',
  'BEGIN; DEALLOCATE ALL; ROLLBACK',
  'PREPARE a AS SELECT 6; EXECUTE a; DEALLOCATE a',
  '',
];
const DEFINITIONS = (n: number): readonly string[] => [
  `ALTER TABLE shaped_${n} ADD COLUMN extra int`,
  `ALTER TABLE shaped_${n} DROP COLUMN IF EXISTS extra`,
  `ALTER TABLE shaped_${n} ALTER COLUMN note TYPE varchar(40)`,
  `ALTER TABLE shaped_${n} ALTER COLUMN note TYPE text`,
  `ALTER TABLE shaped_${n} ALTER COLUMN id TYPE bigint`,
  `ALTER TABLE shaped_${n} ALTER COLUMN id TYPE int`,
  `CREATE INDEX ON shaped_${n} (note)`,
  `ANALYZE shaped_${n}`,
  `DROP TABLE shaped_${n} CASCADE; CREATE TABLE shaped_${n} (id int, note text); INSERT INTO shaped_${n} VALUES (1, 'new')`,
  'DROP VIEW IF EXISTS shaped_view',
  'DROP VIEW IF EXISTS shaped_view; CREATE VIEW shaped_view AS SELECT note, id FROM shaped_1',
  'DROP VIEW IF EXISTS shaped_view; CREATE VIEW shaped_view AS SELECT id FROM shaped_1',
  `BEGIN; ALTER TABLE shaped_${n} ADD COLUMN other text; ROLLBACK`,
];
const NAMES = ['', '', 'a', 'a', 'b c', 'x'.repeat(70)];
const PORTALS = ['', '', 'p'];
const TYPES: readonly (readonly number[])[] = [[], [], [], [23], [25], [20], [23, 25], [0, 25], [999_999]];
const BINDINGS: readonly { values?: (string | Buffer | null)[]; valueFormats?: number[]; resultFormats?: number[] }[] =
  [
    {},
    {},
    { values: ['7'] },
    { values: ['7'] },
    { values: ['2', 'text'] },
    { values: [null] },
    { values: ['word'] },
    { values: [frontend.int32(1)], valueFormats: [1], resultFormats: [1] },
    { resultFormats: [1] },
  ];

interface Op {
  readonly label: string;
  readonly bytes: Buffer;
}

class PreparingClient implements Doings {
  readonly pool = 'weir';
  readonly #client: number;
  readonly #dice: Dice;
  readonly #texts: readonly string[];
  #hasPlans = false;
  #isFailed = false;

  constructor(client: number, dice: Dice, texts: readonly string[]) {
    this.#client = client;
    this.#dice = dice;
    this.#texts = texts;
  }

  hasPins(): boolean {
    return this.#hasPlans;
  }

  letGo(status: string): (SendStep | LeaveStep)[] {
    const dice = this.#dice;
    if (dice.chance(0.03)) {
      this.#hasPlans = false;
      return [{ kind: 'leave', client: this.#client, how: dice.pick(['terminate', 'vanish']) }];
    }
    const steps = status === 'I' ? [] : [simple(this.#client, dice.pick(['ROLLBACK', 'COMMIT']))];
    if (this.#hasPlans) steps.push(simple(this.#client, dice.pick(['DEALLOCATE ALL', 'DISCARD ALL'])));
    this.#hasPlans = false;
    return steps.length > 0 ? steps : [simple(this.#client, 'SELECT 1')];
  }

  next(status: string | null, isAlone: boolean): Step {
    const dice = this.#dice;
    this.#isFailed = status === 'E';
    if (status === null || dice.chance(0.004)) {
      this.#hasPlans = false;
      return { kind: 'login', client: this.#client, user: this.pool, parameters: {} };
    }
    if (status === 'E' && dice.chance(0.5)) return simple(this.#client, dice.pick(['ROLLBACK', 'ROLLBACK TO s']));
    return dice.weighted([
      [20, () => this.#unit()],
      [4, () => this.#useUnnamed()],
      [3, () => this.#severalUnits()],
      [6, () => this.#query(dice.pick(QUERIES))],
      [
        2,
        () => this.#query(status === 'I' ? 'BEGIN' : dice.pick(['COMMIT', 'ROLLBACK', 'SAVEPOINT s', 'ROLLBACK TO s'])),
      ],
      [isAlone && status === 'I' ? 2 : 0, () => this.#query(dice.pick(DEFINITIONS(dice.below(3))))],
      // By the extended protocol only with a Sync at once: a later Execute of its portal can crash PostgreSQL 18.4.
      [0.5, () => this.#query('DISCARD ALL')],
    ])();
  }

  #query(sql: string): SendStep {
    this.#note(sql);
    return simple(this.#client, sql);
  }

  #note(sql: string): void {
    if (sql.includes('PREPARE ')) this.#hasPlans = true;
  }

  #unit(): SendStep {
    const ops = Array.from({ length: 1 + this.#dice.below(6) }, () => this.#op());
    return this.#send([...ops, SYNC]);
  }

  /** Parse of the unnamed statement, which must outlive its Sync and another statement's use. */
  #useUnnamed(): SendStep {
    const uses = this.#dice.pick([
      [this.#bind('', ''), this.#execute('')],
      [this.#describe('S', ''), this.#bind('', ''), this.#execute('')],
      [this.#parse(''), SYNC, this.#bind('', ''), this.#execute('')],
    ]);
    return this.#send([...uses, SYNC]);
  }

  #severalUnits(): SendStep {
    const dice = this.#dice;
    const units = Array.from({ length: 2 + dice.below(2) }, () => [
      ...Array.from({ length: 1 + dice.below(3) }, () => this.#op()),
      SYNC,
    ]);
    const query = dice.pick(['SELECT 1', 'DEALLOCATE ALL', 'SELECT 1/0']);
    return this.#send([
      ...units.flat(),
      ...(dice.chance(0.3) ? [{ label: `Q(${query})`, bytes: frontend.query(query) }] : []),
    ]);
  }

  #send(ops: readonly Op[]): SendStep {
    const ready = ops.filter((op) => op === SYNC || op.label.startsWith('Q(')).length;
    return messages(
      this.#client,
      ops.map(({ label }) => label).join(' '),
      ops.map(({ bytes }) => bytes),
      ready,
    );
  }

  #op(): Op {
    const dice = this.#dice;
    return dice.weighted([
      [8, () => this.#parse(dice.pick(NAMES))],
      [9, () => this.#bind(dice.pick(PORTALS), dice.pick(NAMES))],
      [3, () => this.#describe('S', dice.pick(NAMES))],
      [3, () => this.#describe('P', dice.pick(PORTALS))],
      // In a failed transaction the portal without a name may be that of a Query, whose memory PostgreSQL 18.4 has freed.
      [this.#isFailed ? 1 : 9, () => this.#execute(this.#isFailed ? 'p' : dice.pick(PORTALS))],
      [3, () => this.#close('S', dice.pick(NAMES))],
      [1, () => this.#close('P', dice.pick(PORTALS))],
      [1, () => ({ label: 'H', bytes: frontend.flush() })],
    ])();
  }

  #parse(name: string): Op {
    const sql = this.#dice.pick(this.#texts);
    this.#note(sql);
    const types = this.#dice.pick(TYPES);
    return {
      label: `P(${short(name)}: ${sql}${types.length > 0 ? ` [${types}]` : ''})`,
      bytes: frontend.parse(sql, name, types),
    };
  }

  #bind(portal: string, statement: string): Op {
    const binding = this.#dice.pick(BINDINGS);
    const values = (binding.values ?? []).map((value) => (Buffer.isBuffer(value) ? 'binary' : value));
    return {
      label: `B(${portal} < ${short(statement)} ${JSON.stringify(values)})`,
      bytes: frontend.bind({ portal, statement, ...binding }),
    };
  }

  #describe(kind: 'S' | 'P', name: string): Op {
    const bytes = kind === 'S' ? frontend.describeStatement(name) : frontend.describePortal(name);
    return { label: `D(${kind} ${short(name)})`, bytes };
  }

  #execute(portal: string): Op {
    const max = this.#dice.pick([0, 0, 0, 1, 2]);
    return { label: `E(${portal}${max > 0 ? ` ${max}` : ''})`, bytes: frontend.execute(portal, max) };
  }

  #close(kind: 'S' | 'P', name: string): Op {
    const bytes = kind === 'S' ? frontend.closeStatement(name) : frontend.closePortal(name);
    return { label: `C(${kind} ${short(name)})`, bytes };
  }
}

const SYNC: Op = { label: 'S', bytes: frontend.sync() };

function short(name: string): string {
  return name.length > 10 ? 'long' : name;
}

export function makePreparedModel(dice: Dice, poolSize: number | null): Model {
  // On another server connection a Parse of EXECUTE can fail in other words, in a failed transaction (README, limits).
  const texts = poolSize === null ? STATEMENTS : STATEMENTS.filter((text) => !text.startsWith('EXECUTE'));
  const members = [0, 1, 2].map((client) => new PreparingClient(client, dice, texts));
  return new Crew(members, dice, poolSize);
}
