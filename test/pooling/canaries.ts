// What a session can leave behind, each with a way to look for it. Names are the same for every client, values are not: what
// one client left on a connection shows as another's.

import type { Dice } from './dice.ts';
import type { Settable } from './settable.ts';
import { IN_LEADER } from './settings-model.ts';
import type { Step } from './steps.ts';

/** Why a client may keep its connection after a doing, and what must be done so that it need not. */
export type Pin = 'temporary' | 'cursor' | 'lock' | 'listen' | 'plan' | 'sequence' | 'seed' | 'opaque';

/** Statements that end a pin, beside DISCARD ALL; none: only the end of the session does. */
export const RELEASES: Readonly<Record<Pin, readonly string[]>> = {
  temporary: ['DISCARD TEMP'],
  cursor: ['CLOSE ALL'],
  lock: ['SELECT pg_advisory_unlock_all()'],
  listen: ['UNLISTEN *'],
  plan: ['DEALLOCATE ALL'],
  sequence: ['DISCARD ALL'],
  seed: [],
  opaque: [],
};

const LOOK_AT_CUSTOM = `SELECT pg_catalog.current_setting('app.canary', true), pg_catalog.current_setting('app.other', true) ${IN_LEADER}`;

/** Where the client itself should see what it has done. */
export const LOOKS: Readonly<Record<Pin, readonly string[]>> = {
  temporary: [
    'SELECT note FROM pg_temp.canary',
    'SELECT note FROM hidden_canary',
    'SELECT relname FROM pg_catalog.pg_class WHERE relnamespace = pg_catalog.pg_my_temp_schema() ORDER BY 1',
  ],
  cursor: [
    'FETCH NEXT FROM canary',
    'FETCH 2 FROM hidden_canary',
    "SELECT name FROM pg_catalog.pg_cursors WHERE name <> '' ORDER BY 1",
  ],
  lock: [
    "SELECT objid, mode FROM pg_catalog.pg_locks WHERE locktype = 'advisory' AND pid = pg_catalog.pg_backend_pid() ORDER BY 1, 2",
  ],
  listen: ['SELECT pg_catalog.pg_listening_channels() ORDER BY 1'],
  plan: ['EXECUTE canary', 'EXECUTE hidden_canary', 'EXECUTE hiding'],
  sequence: ['SELECT lastval()'],
  seed: ['SELECT pg_catalog.random()'],
  opaque: [LOOK_AT_CUSTOM],
};

export interface Doing {
  readonly sql: string;
  readonly pins?: readonly Pin[];
}

export interface Ground {
  readonly client: number;
  readonly dice: Dice;
  readonly settable: readonly Settable[];
  /** A number that this client never had before. */
  readonly serial: number;
  /** True where hidden code of the database may leave what no question can find. */
  readonly isWild: boolean;
  /** What session-local state the client has set, so that what is read is the same on every server. */
  readonly hasSeed: boolean;
}

type Maker = (ground: Ground) => Doing;

const canaryOf = ({ client, serial }: Ground): string => `canary of ${client}, ${serial}`;
/** Keys differ from session to session: a lock of the last one may be given up a little later on one of the servers. */
const keyOf = ({ client, serial }: Ground): number => client * 1_000_000 + serial;

function settingOf({ dice, settable, client }: Ground): [name: string, value: string] {
  const { name, values } = dice.pick(settable);
  return [name, values[client % values.length] ?? "''"];
}

const plainly =
  (make: (ground: Ground) => string): Maker =>
  (ground) => ({ sql: make(ground) });

const pinning =
  (pins: readonly Pin[], make: (ground: Ground) => string): Maker =>
  (ground) => ({ sql: make(ground), pins });

/** A statement with code in it that does not show. */
const hidden =
  (make: (ground: Ground) => string, ...pins: readonly Pin[]): Maker =>
  (ground) => ({ sql: make(ground), pins: ground.isWild ? [...pins, 'seed'] : pins });

const SETTING_MAKERS: readonly Maker[] = [
  plainly((ground) => `SET ${settingOf(ground).join(' = ')}`),
  plainly((ground) => `SET ${settingOf(ground).join(' = ')}`),
  plainly((ground) => {
    const [name, value] = settingOf(ground);
    return `SELECT set_config('${name}', ${value}, false)`;
  }),
  plainly((ground) => {
    const [name, value] = settingOf(ground);
    return `UPDATE pg_settings SET setting = ${value} WHERE name = '${name}'`;
  }),
  plainly((ground) => {
    const [name, value] = settingOf(ground);
    return `DO $$ BEGIN SET ${name} = ${value}; END $$`;
  }),
  plainly((ground) => `SET LOCAL ${settingOf(ground).join(' = ')}`),
  plainly((ground) => `RESET ${settingOf(ground)[0]}`),
  plainly((ground) => `SET app.canary = '${canaryOf(ground)}'`),
  plainly((ground) => `SELECT set_config('app.canary', '${canaryOf(ground)}', false)`),
  plainly((ground) => `SET app.other TO '${canaryOf(ground)}'`),
  plainly((ground) => `SET LOCAL app.canary = '${canaryOf(ground)}'`),
  plainly(({ client }) => `SET app.of_database = 'taken by ${client}'`),
  plainly(() => 'RESET app.canary'),
  plainly(() => 'RESET ALL'),
  plainly(({ dice }) => `SET ROLE ${dice.pick(['app', 'scram_user', 'weir'])}`),
  plainly(({ dice }) => `SET SESSION AUTHORIZATION ${dice.pick(['app', 'weir', 'DEFAULT'])}`),
  plainly(({ dice }) => dice.pick(['RESET ROLE', 'RESET SESSION AUTHORIZATION', 'SET ROLE NONE'])),
  plainly(({ client }) => `SET search_path = ${client % 2 === 0 ? 'attic' : 'public, attic'}, "Odd, name"`),
];

const SESSION_MAKERS: readonly Maker[] = [
  pinning(['temporary'], (ground) => `CREATE TEMP TABLE canary AS SELECT '${canaryOf(ground)}' AS note`),
  pinning(['temporary'], (ground) => `CREATE TEMP VIEW more AS SELECT '${canaryOf(ground)}' AS note`),
  pinning(['temporary'], (ground) => `SELECT '${canaryOf(ground)}' AS note INTO TEMP canary`),
  plainly(() => 'CREATE TEMP TABLE canary (note text) ON COMMIT DROP'),
  // Not by pg_temp: once a session has had a temporary object, its notice is about the table and not about the schema.
  plainly(() => 'DROP TABLE IF EXISTS canary'),
  pinning(
    ['cursor'],
    (ground) => `DECLARE canary CURSOR WITH HOLD FOR SELECT '${canaryOf(ground)}' FROM generate_series(1, 3)`,
  ),
  plainly(() => 'DECLARE passing CURSOR FOR SELECT generate_series(1, 3)'),
  plainly(() => 'CLOSE canary'),
  pinning(['lock'], (ground) => `SELECT pg_advisory_lock(${keyOf(ground)})`),
  pinning(['lock'], (ground) => `SELECT pg_try_advisory_lock_shared(${ground.client}, ${ground.serial})`),
  plainly((ground) => `SELECT pg_advisory_xact_lock(${keyOf(ground)})`),
  plainly((ground) => `SELECT pg_advisory_unlock(${keyOf(ground) - 1})`),
  pinning(['listen'], ({ dice, client }) => `LISTEN ${dice.pick(['canary', `canary_${client}`])}`),
  plainly(() => 'UNLISTEN canary'),
  plainly(({ client }) => `NOTIFY canary_${client}, 'from ${client}'`),
  pinning(['plan'], (ground) => `PREPARE canary AS SELECT '${canaryOf(ground)}'`),
  pinning(['plan'], (ground) => `PREPARE canary (int) AS SELECT $1 + ${ground.client}`),
  plainly(() => 'DEALLOCATE canary'),
  pinning(['sequence'], ({ client }) => `SELECT nextval('own_${client}')`),
  pinning(['sequence'], ({ client, dice }) => `SELECT setval('own_${client}', ${dice.below(1_000) + 1})`),
  pinning(['sequence'], ({ client }) => `INSERT INTO serials (client) VALUES (${client}) RETURNING client`),
  pinning(['sequence'], ({ client }) => `INSERT INTO identities (client) VALUES (${client})`),
  pinning(['seed'], ({ client }) => `SELECT setseed(0.${client + 1})`),
  pinning(['seed'], ({ client }) => `SET seed = 0.${client + 1}`),
  pinning(['opaque'], ({ client }) => `SELECT set_config('app.' || 'canary', 'assembled by ${client}', false)`),
  plainly((ground) => `INSERT INTO plain VALUES (${ground.client}, ${ground.serial}, 'row')`),
  plainly(({ client }) => `UPDATE plain SET note = note || '+' WHERE client = ${client}`),
  plainly(({ client }) => `DELETE FROM plain WHERE client = ${client}`),
  plainly(() => 'SELECT 1/0'),
];

const HIDDEN_MAKERS: readonly Maker[] = [
  hidden((ground) => `SELECT hide_custom('${canaryOf(ground)}')`),
  hidden(({ client }) => `SELECT hide_work_mem('${640 + client}kB')`),
  hidden(({ client }) => `SELECT public.hide_path('${client % 2 === 0 ? 'attic, public' : 'public'}')`),
  hidden(({ dice }) => `SELECT hide_role('${dice.pick(['app', 'none', 'weir'])}')`),
  hidden(() => "SELECT hide_local('iso_8601')"),
  hidden((ground) => `SELECT hide_temp('${canaryOf(ground)}')`, 'temporary'),
  hidden((ground) => `SELECT hide_lock('${keyOf(ground)}')`, 'lock'),
  hidden(({ serial }) => `SELECT hide_shared_lock('${serial}')`, 'lock'),
  hidden(() => "SELECT hide_listen('x')", 'listen'),
  hidden(() => "SELECT hide_plan('x')", 'plan'),
  hidden((ground) => `SELECT hide_failing('${canaryOf(ground)}')`),
  hidden((ground) => `SELECT hide_caught('${canaryOf(ground)}')`),
  hidden((ground) => `SELECT hide_inlined('${canaryOf(ground)}')`),
  hidden((ground) => `SELECT hide_atomic('${canaryOf(ground)}')`),
  hidden(() => "SELECT hide_overridden('x')"),
  hidden((ground) => `CALL hide_procedure('${canaryOf(ground)}')`),
  hidden((ground) => `INSERT INTO triggered VALUES (${ground.client}, '${canaryOf(ground)}')`),
  hidden((ground) => `INSERT INTO deferred VALUES (${ground.client}, '${canaryOf(ground)}')`),
  hidden(({ client }) => `SELECT note FROM hiding_view WHERE client = ${client}`),
  hidden((ground) => `INSERT INTO ruled VALUES (${ground.client}, '${canaryOf(ground)}')`),
  hidden(() => 'SELECT note FROM guarded'),
  hidden(({ client }) => `INSERT INTO defaulted (client) VALUES (${client})`),
  hidden((ground) => `INSERT INTO generated (client, note) VALUES (${ground.client}, '${canaryOf(ground)}')`),
  hidden((ground) => `INSERT INTO indexed VALUES (${ground.client}, '${canaryOf(ground)}')`),
  hidden((ground) => `SELECT '${canaryOf(ground)}'::sly`),
  hidden(({ client }) => `SELECT 'of ${client}'::text OPERATOR(public.===) 'x'::text`),
  hidden(({ client }) => `SELECT 'of ${client}'::text::odd`),
  hidden(({ client }) => `SELECT sly_last('of ' || n) FROM generate_series(${client}, ${client + 2}) n`),
  hidden((ground) => `COPY (SELECT hide_custom('${canaryOf(ground)}')) TO STDOUT`),
  hidden((ground) => `EXPLAIN (COSTS off) SELECT lie('${canaryOf(ground)}')`),
  hidden(
    (ground) =>
      `EXPLAIN (ANALYZE, COSTS off, TIMING off, SUMMARY off, BUFFERS off) SELECT hide_custom('${canaryOf(ground)}')`,
  ),
  hidden(
    (ground) =>
      `CREATE TABLE attic.made_${ground.client}_${ground.serial} AS SELECT hide_custom('${canaryOf(ground)}')`,
  ),
  hidden((ground) => `DO $$ BEGIN PERFORM hide_custom('${canaryOf(ground)}'); END $$`),
  hidden((ground) => `DECLARE canary CURSOR WITH HOLD FOR SELECT hide_custom('${canaryOf(ground)}')`, 'cursor'),
  hidden(
    (ground) =>
      `WITH made AS (SELECT hide_custom('${canaryOf(ground)}') AS x) SELECT count(*) FROM made WHERE x IS NOT NULL`,
  ),
  hidden(({ client }) => `UPDATE changing_${client} SET note = 'touched'`),
  hidden(
    ({ client }) =>
      `CREATE TRIGGER of_${client} BEFORE UPDATE ON changing_${client} FOR EACH ROW EXECUTE FUNCTION hide_in_trigger()`,
  ),
  hidden(({ client }) => `DROP TRIGGER IF EXISTS of_${client} ON changing_${client}`),
  hidden((ground) => `PREPARE hiding AS SELECT hide_custom('${canaryOf(ground)}')`, 'plan'),
  hidden(() => 'EXECUTE hiding'),
  hidden((ground) => `SELECT word FROM ts_stat('SELECT to_tsvector(hide_custom(''${canaryOf(ground)}''))') ORDER BY 1`),
];

const WILD_MAKERS: readonly Maker[] = [
  pinning(['seed'], ({ client }) => `SELECT hide_seed('0.${client + 1}')`),
  pinning(['seed', 'sequence'], ({ client }) => `SELECT hide_draw('${client}')`),
  pinning(['seed', 'opaque'], (ground) => `SELECT hide_any('app.other=${canaryOf(ground)}')`),
  pinning(['seed', 'cursor'], () => "SELECT hide_cursor('x')"),
  pinning(['seed', 'opaque'], (ground) => `SELECT hide_dynamic('${canaryOf(ground)}')`),
];

/** The server's own texts for what is compared; in any state, under any search_path. */
const READING_MAKERS: readonly Maker[] = [
  plainly((ground) => `SHOW ${settingOf(ground)[0]}`),
  plainly((ground) => `SELECT pg_catalog.current_setting('${settingOf(ground)[0]}')`),
  plainly(() => LOOK_AT_CUSTOM),
  plainly(() => `SELECT pg_catalog.current_setting('app.canary') ${IN_LEADER}`),
  plainly(() => 'SHOW app.of_database'),
  plainly(
    () => "SELECT current_user, session_user, pg_catalog.current_setting('role'), pg_catalog.current_schemas(false)",
  ),
  plainly(
    () => 'SELECT relname FROM pg_catalog.pg_class WHERE relnamespace = pg_catalog.pg_my_temp_schema() ORDER BY 1',
  ),
  plainly(({ dice }) => `SELECT note FROM ${dice.pick(['pg_temp.canary', 'hidden_canary', 'more', 'canary'])}`),
  plainly(
    () =>
      "SELECT classid, objid, objsubid, mode FROM pg_catalog.pg_locks WHERE locktype = 'advisory' AND pid = pg_catalog.pg_backend_pid() ORDER BY 1, 2, 3, 4",
  ),
  plainly(() => "SELECT name, statement, is_holdable FROM pg_catalog.pg_cursors WHERE name <> '' ORDER BY 1"),
  plainly(({ dice }) => `FETCH NEXT FROM ${dice.pick(['canary', 'hidden_canary', 'passing'])}`),
  plainly(
    () => "SELECT name, statement FROM pg_catalog.pg_prepared_statements WHERE from_sql OR name ~ '^pgweir' ORDER BY 1",
  ),
  plainly(({ dice }) => dice.pick(['EXECUTE canary', 'EXECUTE canary (7)', 'EXECUTE hidden_canary'])),
  plainly(() => 'SELECT pg_catalog.pg_listening_channels() ORDER BY 1'),
  pinning(['sequence'], ({ client }) => `SELECT currval('own_${client}')`),
  pinning(['sequence'], () => 'SELECT lastval()'),
  plainly(({ client }) => `SELECT serial, note FROM plain WHERE client = ${client} ORDER BY serial`),
];

const RANDOM = 'SELECT pg_catalog.random()';

/** Without the readings of random() that no seed goes before: they differ from server to server. */
export function withoutUnseeded(steps: readonly Step[]): Step[] {
  const seeded = new Set<number>();
  return steps.filter((step) => {
    const label = step.kind === 'send' ? step.label : '';
    if (step.kind === 'login' || step.kind === 'leave') seeded.delete(step.client);
    if (step.kind === 'meanwhile')
      for (const other of step.others) if (other.kind === 'leave') seeded.delete(other.client);
    if (step.kind === 'send' && /setseed|SET seed|hide_seed/.test(label)) seeded.add(step.client);
    return step.kind !== 'send' || !label.startsWith(RANDOM) || seeded.has(step.client);
  });
}

export const makeSetting: Maker = (ground) => ground.dice.pick(SETTING_MAKERS)(ground);
export const makeSessionState: Maker = (ground) => ground.dice.pick(SESSION_MAKERS)(ground);
export const makeHidden: Maker = (ground) =>
  ground.dice.pick(ground.isWild && ground.dice.chance(0.2) ? WILD_MAKERS : HIDDEN_MAKERS)(ground);
export const makeReading: Maker = (ground) =>
  ground.hasSeed && ground.dice.chance(0.3) ? { sql: RANDOM } : ground.dice.pick(READING_MAKERS)(ground);
