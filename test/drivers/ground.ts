// What the programs meet: a database with one table to work on and one that is closed to deletes, the rules that close it,
// and pgweir as a process in front.

import type { TestPostgres } from '../support/postgres.ts';
import { ROLES } from '../support/postgres.ts';
import { BARE_DECISION } from './outcome.ts';

const MESSAGE = 'deletes from guarded are closed';
const HINT = 'ask the owner of guarded';

/** One rule that refuses, one that lets one look pass for each application_name. */
export const RULES = `traffic_control:
  default_action: allow
  rules:
    - name: guarded_delete
      priority: 100
      match: { statement: delete, tables: [guarded] }
      action: deny
      message: "${MESSAGE}"
      hint: "${HINT}"
    - name: one_look
      priority: 50
      match: { tables: [limited] }
      action: rate_limit
      rate_per_sec: 0.001
      burst: 1
      per: application_name
`;

/**
 * The tables as every run of a program finds them. On the bare server a trigger refuses what pgweir's rule refuses, in the
 * same words, so that the two runs can be compared; its decision_id tells which of them spoke.
 */
export async function layGround(postgres: TestPostgres): Promise<void> {
  const { user } = ROLES.scram;
  await postgres.query(`
    DROP SCHEMA IF EXISTS drivers CASCADE;
    CREATE SCHEMA drivers AUTHORIZATION ${user};
    SET search_path = drivers;
    CREATE TABLE items (
      id integer CONSTRAINT items_pkey PRIMARY KEY,
      name text NOT NULL,
      amount numeric(10, 2) CONSTRAINT amount_is_positive CHECK (amount > 0)
    );
    INSERT INTO items VALUES (1, 'one', 1.5), (2, 'two', 2.5), (3, 'three', 3.5);
    CREATE TABLE guarded (id integer);
    CREATE TABLE limited (id integer);
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      RAISE EXCEPTION USING ERRCODE = '42501', MESSAGE = '${MESSAGE}', HINT = '${HINT}',
        DETAIL = '{"rule":"guarded_delete","decision_id":"${BARE_DECISION}"}';
    END $$;
    CREATE TRIGGER closed BEFORE DELETE ON guarded FOR EACH STATEMENT EXECUTE FUNCTION refuse();
    GRANT ALL ON ALL TABLES IN SCHEMA drivers TO ${user};
    ALTER ROLE ${user} SET search_path = drivers;
  `);
}
