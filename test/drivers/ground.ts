// What the programs meet: a database with one table to work on and one that is closed to deletes, the rules that close it,
// and pgweir as a process in front.

import { join } from 'node:path';
import type { CertificateFolder } from '../support/certificate-folder.ts';
import { ROLES, startPostgres, type TestPostgres } from '../support/postgres.ts';
import { type SpawnedWeir, spawnWeir } from '../support/weir.ts';
import { BARE_DECISION } from './outcome.ts';

/** How pgweir is logged in to. */
export const WAYS = ['passthrough', 'sidecar', 'scram', 'transaction'] as const;

export type Way = (typeof WAYS)[number];

/** What each way is, for the table's heading. */
export const WAY_TEXTS: Readonly<Record<Way, string>> = {
  passthrough: "`auth.mode: passthrough`, TLS (verify-full) on both legs; pgweir shows the server's certificate",
  sidecar: '`auth.mode: passthrough`, TLS (verify-full) up to pgweir, none behind it; a certificate of its own',
  scram: '`auth.mode: scram`, TLS (verify-full) on both legs; a certificate of its own',
  transaction:
    '`auth.mode: scram`, `pool.mode: transaction` with 4 server connections, after each transaction another one; TLS as in `scram`',
};

/** Whether clients share server connections: then none is theirs, and no program may ask for that. */
export function isPooled(way: Way): boolean {
  return way === 'transaction';
}

/** Fewer than one program's checks would use, so that they take turns with those of the checks before. */
const POOL = { mode: 'transaction', size: 4, affinity: 'avoid' };

export interface Ground {
  readonly postgres: TestPostgres;
  readonly weirs: ReadonlyMap<Way, SpawnedWeir>;
  /** The authority that the programs verify the other side with; null without TLS. */
  readonly authorityFile: string | null;
  stop(): Promise<void>;
}

const MESSAGE = 'deletes from guarded are closed';
const HINT = 'ask the owner of guarded';

/** One rule that refuses, one that lets one look pass for each application_name. */
const RULES = `traffic_control:
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

/** The bare server, and one pgweir in front of it for each way. */
export async function startGround(ways: readonly Way[], certificates: CertificateFolder | null): Promise<Ground> {
  const postgres = await startPostgres(certificates?.postgresTls() ?? {});
  const weirs = new Map<Way, SpawnedWeir>();
  const stop = async (): Promise<void> => {
    for (const weir of weirs.values()) await weir.stop();
    await postgres.stop();
  };
  try {
    for (const way of ways) {
      weirs.set(way, await spawnWeir({ postgres, rules: RULES, configuration: describeWay(way, certificates) }));
    }
  } catch (error) {
    await stop();
    throw error;
  }
  return { postgres, weirs, authorityFile: certificates === null ? null : join(certificates.path, 'ca.crt'), stop };
}

/** Sections of pgweir's configuration file. */
function describeWay(way: Way, certificates: CertificateFolder | null): Record<string, Record<string, unknown>> {
  const scram = { mode: 'scram', query: { user: ROLES.superuser.user } };
  const auth = way === 'scram' || way === 'transaction' ? scram : { mode: 'passthrough' };
  const pool = isPooled(way) ? { pool: POOL } : {};
  if (certificates === null) return { auth, ...pool };
  const { certificateFile, keyFile } =
    way === 'passthrough'
      ? certificates.write('server', certificates.server)
      : certificates.issue('weir', { commonName: 'weir', dnsNames: ['localhost'], addresses: ['127.0.0.1'] });
  return {
    auth,
    ...pool,
    listen: { tls: { mode: 'require', certificate_file: certificateFile, key_file: keyFile } },
    targets: way === 'sidecar' ? {} : { tls: { mode: 'verify-full', ca_file: join(certificates.path, 'ca.crt') } },
  };
}
