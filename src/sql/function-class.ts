// What calling a function may do, by its name. Built-ins that PostgreSQL marks stable or immutable read only; volatile ones
// are sorted by hand below; every other name may hide anything.

import stableFunctionNames from './stable-functions.json' with { type: 'json' };

export type FunctionClass = 'read' | 'session' | 'write' | 'unknown';

/**
 * From pg_proc of PostgreSQL 18.4: the names in pg_catalog none of whose overloads is volatile (provolatile = 'v').
 *   select proname from pg_proc where pronamespace = 'pg_catalog'::regnamespace group by 1 having bool_and(provolatile <> 'v')
 */
const STABLE: ReadonlySet<string> = new Set(stableFunctionNames);

const words = (text: string): string[] => text.trim().split(/\s+/);

/** Volatile because their answer changes or their cost is not plannable; they leave nothing behind. */
const HARMLESS = words(`
  array_sample array_shuffle clock_timestamp current_query gen_random_uuid pg_backend_pid pg_blocking_pids
  pg_collation_actual_version pg_control_checkpoint pg_control_init pg_control_recovery pg_control_system
  pg_current_wal_flush_lsn pg_current_wal_insert_lsn pg_current_wal_lsn pg_database_collation_actual_version
  pg_database_size pg_get_multixact_members pg_get_wait_events pg_get_wal_replay_pause_state pg_indexes_size
  pg_is_in_recovery pg_is_wal_replay_paused pg_jit_available pg_last_committed_xact pg_last_wal_receive_lsn
  pg_last_wal_replay_lsn pg_last_xact_replay_timestamp pg_lock_status pg_notification_queue_usage pg_partition_ancestors
  pg_partition_tree pg_prepared_xact pg_relation_size pg_safe_snapshot_blocking_pids pg_sequence_last_value
  pg_show_replication_origin_status pg_sleep pg_sleep_for pg_sleep_until pg_stat_get_backend_io pg_stat_get_backend_wal
  pg_stat_get_io pg_stat_get_recovery_prefetch pg_stat_get_xact_blocks_fetched pg_stat_get_xact_blocks_hit
  pg_stat_get_xact_function_calls pg_stat_get_xact_function_self_time pg_stat_get_xact_function_total_time
  pg_stat_get_xact_numscans pg_stat_get_xact_tuples_deleted pg_stat_get_xact_tuples_fetched
  pg_stat_get_xact_tuples_hot_updated pg_stat_get_xact_tuples_inserted pg_stat_get_xact_tuples_newpage_updated
  pg_stat_get_xact_tuples_returned pg_stat_get_xact_tuples_updated pg_stat_have_stats pg_table_size pg_tablespace_size
  pg_total_relation_size pg_xact_commit_timestamp pg_xact_commit_timestamp_origin pg_xact_status random random_normal
  timeofday txid_status uuidv4 uuidv7
`);

/** They change, or depend on, what this one session is. Advisory locks exist on one server only: never on a replica. */
const SESSION = words(`
  currval lastval pg_advisory_lock pg_advisory_lock_shared pg_advisory_unlock pg_advisory_unlock_all
  pg_advisory_unlock_shared pg_advisory_xact_lock pg_advisory_xact_lock_shared pg_export_snapshot pg_stat_clear_snapshot
  pg_try_advisory_lock pg_try_advisory_lock_shared pg_try_advisory_xact_lock pg_try_advisory_xact_lock_shared set_config
  setseed
`);

/** They change the database. The last line is marked stable, yet assigns a transaction ID, which a standby refuses. */
const WRITING = words(`
  lo_creat lo_create lo_export lo_from_bytea lo_import lo_open lo_put lo_truncate lo_truncate64 lo_unlink lowrite
  loread lo_get lo_lseek lo_lseek64 lo_tell lo_tell64 lo_close
  nextval setval pg_notify pg_logical_emit_message brin_desummarize_range brin_summarize_new_values brin_summarize_range
  gin_clean_pending_list pg_clear_attribute_stats pg_clear_relation_stats pg_restore_attribute_stats
  pg_restore_relation_stats pg_import_system_collations
  pg_current_xact_id txid_current
`);

/** Marked stable, but they read whatever table or query their text names: out of sight of every rule on tables. */
const HIDING = words(`
  table_to_xml table_to_xmlschema table_to_xml_and_xmlschema schema_to_xml schema_to_xmlschema
  schema_to_xml_and_xmlschema database_to_xml database_to_xmlschema database_to_xml_and_xmlschema
`);

const BY_HAND: ReadonlyMap<string, FunctionClass> = new Map([
  ...HARMLESS.map((name): [string, FunctionClass] => [name, 'read']),
  ...SESSION.map((name): [string, FunctionClass] => [name, 'session']),
  ...WRITING.map((name): [string, FunctionClass] => [name, 'write']),
  ...HIDING.map((name): [string, FunctionClass] => [name, 'unknown']),
]);

/** They read, and give a row or rows: `(f()).name` is a field of that. */
const ROWS: ReadonlySet<string> = new Set(
  words(`
    aclexplode json_each json_each_text json_populate_record json_populate_recordset json_to_record json_to_recordset
    jsonb_each jsonb_each_text jsonb_populate_record jsonb_populate_recordset jsonb_to_record jsonb_to_recordset
    pg_available_extension_versions pg_available_extensions pg_config pg_control_checkpoint pg_control_init
    pg_control_recovery pg_control_system pg_extension_update_paths pg_get_catalog_foreign_keys pg_get_keywords
    pg_get_multixact_members pg_get_object_address pg_get_publication_tables pg_get_replication_slots
    pg_identify_object pg_identify_object_as_address pg_input_error_info pg_last_committed_xact pg_lock_status
    pg_mcv_list_items pg_options_to_table pg_partition_tree pg_sequence_parameters pg_show_all_settings
    pg_split_walfile_name pg_stat_get_activity pg_stat_get_archiver pg_stat_get_progress_info pg_stat_get_wal
    pg_stat_get_wal_receiver pg_stat_get_wal_senders pg_timezone_names pg_walfile_name_offset ts_debug ts_parse
    ts_token_type
  `),
);

/** A call of that function gives a row in any case. */
export function givesRow(nameParts: readonly string[]): boolean {
  return ROWS.has(nameParts[nameParts.length - 1] ?? '') && classOfFunction(nameParts) === 'read';
}

/**
 * The class of a call by the parts of the function's name. Only bare names and names in pg_catalog can be known; a bare
 * name is taken for the built-in, as pg_catalog comes first unless somebody put it elsewhere in search_path.
 */
export function classOfFunction(nameParts: readonly string[]): FunctionClass {
  const name = nameParts[nameParts.length - 1];
  if (name === undefined) return 'unknown';
  if (nameParts.length > 1 && (nameParts.length > 2 || nameParts[0] !== 'pg_catalog')) return 'unknown';
  return BY_HAND.get(name) ?? (STABLE.has(name) ? 'read' : 'unknown');
}
