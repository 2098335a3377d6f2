// What PostgreSQL's own functions leave behind in a session, by name.

import { classOfFunction } from './function-class.ts';
import { RUNS_ARGUMENT, TRACE } from './trace-bits.ts';

const words = (text: string): string[] => text.trim().split(/\s+/);

const LEAVING: ReadonlyMap<string, number> = new Map([
  ...words('nextval setval currval lastval').map((name): [string, number] => [name, TRACE.sequence]),
  ['setseed', TRACE.seed],
  // Calls are read in the text, for the name of the setting (body-scan.ts); this is for where there is no text.
  ['set_config', TRACE.settings | TRACE.opaqueSetting],
  ...words(`
    pg_advisory_lock pg_advisory_lock_shared pg_try_advisory_lock pg_try_advisory_lock_shared
    pg_advisory_unlock pg_advisory_unlock_shared pg_advisory_unlock_all
  `).map((name): [string, number] => [name, TRACE.advisoryLock]),
  // Temporary slots belong to the session.
  ...words(`
    pg_create_physical_replication_slot pg_create_logical_replication_slot pg_copy_physical_replication_slot
    pg_copy_logical_replication_slot pg_drop_replication_slot
  `).map((name): [string, number] => [name, TRACE.temporary]),
  // A backup belongs to its session (pg_start_backup before PostgreSQL 15), and so does a replication origin.
  ...words(`
    pg_replication_origin_session_setup pg_replication_origin_session_reset
    pg_backup_start pg_backup_stop pg_start_backup pg_stop_backup
  `).map((name): [string, number] => [name, TRACE.extension]),
  // They run the expressions of indexes.
  ...words(`
    brin_desummarize_range brin_summarize_new_values brin_summarize_range gin_clean_pending_list
  `).map((name): [string, number] => [name, TRACE.hidden]),
  ['pg_import_system_collations', TRACE.definition],
  // They run text, or read relations, that their arguments name.
  ...words(`
    query_to_xml query_to_xmlschema query_to_xml_and_xmlschema ts_stat ts_rewrite cursor_to_xml cursor_to_xmlschema
    table_to_xml table_to_xmlschema table_to_xml_and_xmlschema schema_to_xml schema_to_xmlschema
    schema_to_xml_and_xmlschema database_to_xml database_to_xmlschema database_to_xml_and_xmlschema
  `).map((name): [string, number] => [name, TRACE.hidden | RUNS_ARGUMENT]),
]);

/** Volatile, and of no class in function-class.ts, but nothing stays of them in the session. */
const PASSING: ReadonlySet<string> = new Set(
  words(`
    bernoulli system currtid2 suppress_redundant_updates_trigger tsvector_update_trigger tsvector_update_trigger_column
    unique_key_recheck pg_available_wal_summaries pg_cancel_backend pg_terminate_backend pg_create_restore_point
    pg_current_logfile pg_hba_file_rules pg_ident_file_mappings pg_isolation_test_session_is_blocked pg_promote
    pg_reload_conf pg_rotate_logfile pg_show_all_file_settings pg_switch_wal pg_sync_replication_slots
    pg_replication_slot_advance pg_replication_origin_advance pg_replication_origin_create pg_replication_origin_drop
    pg_replication_origin_progress pg_replication_origin_session_is_setup pg_replication_origin_session_progress
    pg_logical_slot_get_binary_changes pg_logical_slot_get_changes pg_logical_slot_peek_binary_changes
    pg_logical_slot_peek_changes pg_xact_commit_timestamp pg_nextoid
  `),
);
const PASSING_FAMILY = /^pg_(?:stat_|ls_|read_|log_|get_|wal_)/;

/** Names that a body must not hold, with what each may leave. */
export function builtinTracesOfWord(word: string): number {
  return LEAVING.get(word) ?? 0;
}

/** What a call of a built-in may leave; null where no built-in of that name is known. */
export function builtinTraces(name: string): number | null {
  const leaving = LEAVING.get(name);
  if (leaving !== undefined) return leaving;
  if (classOfFunction([name]) !== 'unknown') return 0;
  return PASSING.has(name) || PASSING_FAMILY.test(name) ? 0 : null;
}

/** The built-ins that leave something, for finding them in what the catalogs keep as parsed expressions. */
export const LEAVING_NAMES: readonly string[] = [...LEAVING.keys()];
