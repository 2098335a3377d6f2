// The database of the leak test: plain tables, and every place where code can stand that a statement does not show.

const HIDING = (name: string, body: string): string =>
  `CREATE FUNCTION ${name}(value text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN ${body} END $$`;

/** Nothing in it leaves what no question could find, so hidden code need not pin. */
export const QUIET_FIXTURE: readonly string[] = [
  'CREATE SCHEMA attic; CREATE SCHEMA "Odd, name"; GRANT ALL ON SCHEMA public, attic, "Odd, name" TO PUBLIC',
  "ALTER DATABASE pooling SET app.of_database = 'given'",
  'CREATE TABLE plain (client int, serial int, note text, PRIMARY KEY (client, serial))',
  // Each client changes the definition of its own: nobody waits for another's lock.
  ...Array.from(
    { length: 6 },
    (_, client) => `CREATE TABLE changing_${client} (note text); INSERT INTO changing_${client} VALUES ('as it was')`,
  ),
  HIDING('hide_custom', "PERFORM set_config('app.canary', value, false); RETURN value;"),
  HIDING('hide_work_mem', "PERFORM set_config('work_mem', value, false); RETURN value;"),
  HIDING('hide_path', "PERFORM set_config('search_path', value, false); RETURN value;"),
  HIDING('hide_role', "PERFORM set_config('role', value, false); RETURN value;"),
  HIDING('hide_local', "PERFORM set_config('IntervalStyle', value, true); RETURN value;"),
  HIDING('hide_temp', 'CREATE TEMP TABLE hidden_canary AS SELECT value AS note; RETURN value;'),
  HIDING('hide_lock', 'PERFORM pg_advisory_lock(value::bigint); RETURN value;'),
  HIDING('hide_shared_lock', 'PERFORM pg_advisory_lock_shared(7, value::int); RETURN value;'),
  HIDING('hide_listen', 'LISTEN hidden_canary; RETURN value;'),
  HIDING('hide_plan', 'PREPARE hidden_canary AS SELECT 1 AS hidden; RETURN value;'),
  HIDING('hide_failing', "PERFORM set_config('app.canary', value, false); RAISE EXCEPTION 'failed: %', value;"),
  HIDING(
    'hide_caught',
    "BEGIN PERFORM set_config('app.canary', value, false); RAISE 'x'; EXCEPTION WHEN OTHERS THEN RETURN value; END;",
  ),
  `CREATE FUNCTION hide_inlined(value text) RETURNS text LANGUAGE sql AS $$ SELECT set_config('app.canary', value, false) $$`,
  `CREATE FUNCTION hide_atomic(value text) RETURNS text LANGUAGE sql
   BEGIN ATOMIC SELECT set_config('app.canary', value, false); END`,
  `CREATE FUNCTION hide_overridden(value text) RETURNS text LANGUAGE plpgsql SET work_mem = '3MB' AS
   $$ BEGIN PERFORM set_config('DateStyle', 'German', false); RETURN current_setting('work_mem'); END $$`,
  `CREATE FUNCTION lie(value text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS
   $$ BEGIN PERFORM set_config('app.canary', 'lied ' || value, false); RETURN value; END $$`,
  `CREATE PROCEDURE hide_procedure(value text) LANGUAGE plpgsql AS
   $$ BEGIN PERFORM set_config('app.canary', value, false); COMMIT; PERFORM set_config('work_mem', '2MB', true); END $$`,
  // Where code hides: trigger, view, rule, policy, default, generated column, index, domain, operator, cast, aggregate.
  'CREATE TABLE triggered (client int, note text)',
  `CREATE FUNCTION hide_in_trigger() RETURNS trigger LANGUAGE plpgsql AS
   $$ BEGIN PERFORM set_config('app.canary', NEW.note, false); RETURN NEW; END $$`,
  'CREATE TRIGGER hiding AFTER INSERT OR UPDATE ON triggered FOR EACH ROW EXECUTE FUNCTION hide_in_trigger()',
  'CREATE TABLE deferred (client int, note text)',
  `CREATE CONSTRAINT TRIGGER hiding AFTER INSERT ON deferred DEFERRABLE INITIALLY DEFERRED
   FOR EACH ROW EXECUTE FUNCTION hide_in_trigger()`,
  "CREATE TABLE viewed (client int, note text); INSERT INTO viewed SELECT c, 'viewed ' || c FROM generate_series(0, 9) c",
  'CREATE VIEW hiding_view AS SELECT client, hide_custom(note) AS note FROM viewed',
  'CREATE TABLE ruled (client int, note text)',
  'CREATE RULE hiding AS ON INSERT TO ruled DO ALSO SELECT hide_custom(NEW.note)',
  "CREATE TABLE guarded (client int, note text); INSERT INTO guarded VALUES (0, 'guarded')",
  'ALTER TABLE guarded ENABLE ROW LEVEL SECURITY',
  "CREATE POLICY hiding ON guarded USING (hide_custom('policy of ' || current_user) IS NOT NULL)",
  "CREATE TABLE defaulted (client int, note text DEFAULT hide_custom('by default'))",
  'CREATE TABLE generated (client int, note text, made text GENERATED ALWAYS AS (lie(note)) STORED)',
  'CREATE TABLE indexed (client int, note text); CREATE INDEX ON indexed (lie(note))',
  "CREATE DOMAIN sly AS text CHECK (hide_custom('domain ' || VALUE) IS NOT NULL)",
  `CREATE FUNCTION compare_slyly(a text, b text) RETURNS bool LANGUAGE plpgsql AS
   $$ BEGIN PERFORM set_config('app.canary', a || ' and ' || b, false); RETURN true; END $$`,
  'CREATE OPERATOR === (LEFTARG = text, RIGHTARG = text, FUNCTION = compare_slyly)',
  'CREATE TYPE odd AS (note text)',
  `CREATE FUNCTION cast_slyly(value text) RETURNS odd LANGUAGE plpgsql AS
   $$ BEGIN PERFORM set_config('app.canary', 'cast ' || value, false); RETURN ROW(value)::odd; END $$`,
  'CREATE CAST (text AS odd) WITH FUNCTION cast_slyly(text)',
  `CREATE FUNCTION hide_both(state text, value text) RETURNS text LANGUAGE plpgsql AS
   $$ BEGIN PERFORM set_config('app.canary', 'summed ' || value, false); RETURN value; END $$`,
  'CREATE AGGREGATE sly_last(text) (SFUNC = hide_both, STYPE = text)',
  'CREATE MATERIALIZED VIEW kept AS SELECT 1 AS one',
  'CREATE TABLE serials (id serial, client int)',
  'CREATE TABLE identities (id int GENERATED ALWAYS AS IDENTITY, client int)',
  ...Array.from({ length: 7 }, (_, client) => `CREATE SEQUENCE own_${client}`),
  'GRANT ALL ON ALL TABLES IN SCHEMA public TO PUBLIC; GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO PUBLIC',
];

/** With code that leaves what no question can find: after a statement that may have run it, a connection is not shared. */
export const WILD_FIXTURE: readonly string[] = [
  ...QUIET_FIXTURE,
  HIDING('hide_seed', 'PERFORM setseed(value::float8); RETURN value;'),
  HIDING('hide_draw', "PERFORM nextval('own_' || value); RETURN value;"),
  HIDING('hide_any', "PERFORM set_config(split_part(value, '=', 1), split_part(value, '=', 2), false); RETURN value;"),
  HIDING(
    'hide_cursor',
    "EXECUTE 'DECLARE hidden_canary CURSOR WITH HOLD FOR SELECT generate_series(1, 3)'; RETURN value;",
  ),
  HIDING('hide_dynamic', "EXECUTE format('SET app.other = %L', value); RETURN value;"),
  `CREATE FUNCTION note_definition() RETURNS event_trigger LANGUAGE plpgsql AS
   $$ BEGIN PERFORM set_config('app.canary', 'defined ' || tg_tag, false); END $$`,
  'CREATE EVENT TRIGGER noting ON ddl_command_end EXECUTE FUNCTION note_definition()',
];
