// What a statement is called and what it may do, from its own node alone: kind and own class. What hides inside it is the
// walk's business. Classes follow PostgreSQL's GetCommandLogLevel (tcop/utility.c) where that draws the same line.

import type { QueryClass } from './facts.ts';
import { REPLICATION_KINDS } from './replication.ts';
import { bodyOf, listOf, nameParts, type TreeNode, textOf } from './tree.ts';

/**
 * Kinds by node type. A node that is not named here is called by its own name in lower snake case without `Stmt`
 * (`AlterSystemStmt` is `alter_system`), so a newer grammar's statements have a kind before anybody lists them.
 */
const KINDS: Readonly<Record<string, string>> = {
  AlterDatabaseSetStmt: 'alter_database',
  AlterDatabaseRefreshCollStmt: 'alter_database',
  AlterEnumStmt: 'alter_type',
  AlterExtensionContentsStmt: 'alter_extension',
  AlterFdwStmt: 'alter_foreign_data_wrapper',
  AlterFunctionStmt: 'alter_function',
  AlterOpFamilyStmt: 'alter_operator_family',
  AlterRoleSetStmt: 'alter_role',
  AlterSeqStmt: 'alter_sequence',
  AlterTSConfigurationStmt: 'alter_text_search_configuration',
  AlterTSDictionaryStmt: 'alter_text_search_dictionary',
  AlterTableSpaceOptionsStmt: 'alter_tablespace',
  AlterTableMoveAllStmt: 'alter_tablespace',
  CheckPointStmt: 'checkpoint',
  ClosePortalStmt: 'close',
  CompositeTypeStmt: 'create_type',
  ConstraintsSetStmt: 'set_constraints',
  CreateAmStmt: 'create_access_method',
  CreateConversionStmt: 'create_conversion',
  CreateEnumStmt: 'create_type',
  CreateEventTrigStmt: 'create_event_trigger',
  AlterEventTrigStmt: 'alter_event_trigger',
  CreateFdwStmt: 'create_foreign_data_wrapper',
  CreateForeignServerStmt: 'create_server',
  AlterForeignServerStmt: 'alter_server',
  CreateOpClassStmt: 'create_operator_class',
  CreateOpFamilyStmt: 'create_operator_family',
  CreatePLangStmt: 'create_language',
  CreateRangeStmt: 'create_type',
  CreateSeqStmt: 'create_sequence',
  CreateStatsStmt: 'create_statistics',
  AlterStatsStmt: 'alter_statistics',
  CreateStmt: 'create_table',
  CreateTableSpaceStmt: 'create_tablespace',
  CreateTrigStmt: 'create_trigger',
  CreatedbStmt: 'create_database',
  DeclareCursorStmt: 'declare',
  DropTableSpaceStmt: 'drop_tablespace',
  DropdbStmt: 'drop_database',
  IndexStmt: 'create_index',
  RefreshMatViewStmt: 'refresh_materialized_view',
  ReturnStmt: 'return',
  RuleStmt: 'create_rule',
  SecLabelStmt: 'security_label',
  VariableShowStmt: 'show',
  ViewStmt: 'create_view',
};

const TRANSACTION_KINDS: Readonly<Record<string, string>> = {
  TRANS_STMT_BEGIN: 'begin',
  TRANS_STMT_START: 'begin',
  TRANS_STMT_COMMIT: 'commit',
  TRANS_STMT_ROLLBACK: 'rollback',
  TRANS_STMT_SAVEPOINT: 'savepoint',
  TRANS_STMT_RELEASE: 'release',
  TRANS_STMT_ROLLBACK_TO: 'rollback_to',
  TRANS_STMT_PREPARE: 'prepare_transaction',
  TRANS_STMT_COMMIT_PREPARED: 'commit_prepared',
  TRANS_STMT_ROLLBACK_PREPARED: 'rollback_prepared',
};

/** Spelled as in SQL where the object's name in the tree is shorter or different. */
const OBJECT_WORDS: Readonly<Record<string, string>> = {
  FDW: 'foreign_data_wrapper',
  FOREIGN_SERVER: 'server',
  LARGEOBJECT: 'large_object',
  MATVIEW: 'materialized_view',
  OPCLASS: 'operator_class',
  OPFAMILY: 'operator_family',
  STATISTIC_EXT: 'statistics',
  TSCONFIGURATION: 'text_search_configuration',
  TSDICTIONARY: 'text_search_dictionary',
  TSPARSER: 'text_search_parser',
  TSTEMPLATE: 'text_search_template',
  // ALTER … RENAME of a part is an ALTER of the whole.
  ATTRIBUTE: 'type',
  DOMCONSTRAINT: 'domain',
  TABCONSTRAINT: 'table',
};

/** Every kind that PostgreSQL 18's grammar can give, for documentation and for checking rules. */
export const STATEMENT_KINDS: readonly string[] = [
  ...['select', 'insert', 'update', 'delete', 'merge', 'truncate', 'copy', 'explain', 'do', 'call', 'return'],
  ...Object.values(TRANSACTION_KINDS).filter((kind, index, all) => all.indexOf(kind) === index),
  ...['set', 'reset', 'show', 'discard', 'set_constraints', 'prepare', 'execute', 'deallocate'],
  ...['declare', 'fetch', 'move', 'close', 'listen', 'unlisten', 'notify', 'load', 'lock', 'checkpoint'],
  ...['vacuum', 'analyze', 'reindex', 'cluster', 'refresh_materialized_view', 'create_table_as', 'comment'],
  ...['grant', 'revoke', 'security_label', 'reassign_owned', 'drop_owned'],
  ...[
    'import_foreign_schema',
    'alter_system',
    'alter_default_privileges',
    'alter_object_depends',
    'alter_user_mapping',
  ],
  ...['create_user_mapping', 'drop_user_mapping', 'create_cast', 'drop_cast', 'create_transform', 'drop_transform'],
  ...[
    'access_method',
    'aggregate',
    'collation',
    'conversion',
    'database',
    'domain',
    'event_trigger',
    'extension',
  ].flatMap(createAlterDrop),
  ...['foreign_data_wrapper', 'foreign_table', 'function', 'index', 'language', 'materialized_view'].flatMap(
    createAlterDrop,
  ),
  ...['operator', 'operator_class', 'operator_family', 'policy', 'procedure', 'publication', 'role'].flatMap(
    createAlterDrop,
  ),
  ...['rule', 'schema', 'sequence', 'server', 'statistics', 'subscription', 'table', 'tablespace'].flatMap(
    createAlterDrop,
  ),
  ...['text_search_configuration', 'text_search_dictionary', 'text_search_parser'].flatMap(createAlterDrop),
  ...['text_search_template', 'trigger', 'type', 'view'].flatMap(createAlterDrop),
  ...['alter_column', 'alter_large_object', 'alter_routine', 'drop_routine'],
  'function_call',
  ...REPLICATION_KINDS,
];

const CLASSES: Readonly<Record<string, QueryClass>> = {
  AlterSystemStmt: 'ddl',
  CallStmt: 'unknown',
  CheckPointStmt: 'utility',
  ClosePortalStmt: 'session',
  ConstraintsSetStmt: 'transaction',
  DeallocateStmt: 'session',
  DeleteStmt: 'write',
  DiscardStmt: 'session',
  DoStmt: 'unknown',
  ExecuteStmt: 'unknown',
  ExplainStmt: 'read',
  // What it runs was judged at its DECLARE; the session joins the two.
  FetchStmt: 'read',
  InsertStmt: 'write',
  ListenStmt: 'session',
  // Runs the init function of a library.
  LoadStmt: 'unknown',
  LockStmt: 'utility',
  MergeStmt: 'write',
  NotifyStmt: 'write',
  ReindexStmt: 'utility',
  SelectStmt: 'read',
  TransactionStmt: 'transaction',
  TruncateStmt: 'write',
  UnlistenStmt: 'session',
  UpdateStmt: 'write',
  VacuumStmt: 'utility',
  VariableShowStmt: 'read',
  // As strong as what they hold.
  DeclareCursorStmt: 'read',
  PrepareStmt: 'read',
};

const DDL_NODE =
  /^(Alter|Create|Drop|Define|Rename|Grant|Comment|SecLabel|Index|View|Rule|Import|Reassign|Composite|Refresh|Cluster)/;

/** The kind of a statement by its node type (`SelectStmt`) and body. */
export function kindOf(type: string, body: TreeNode): string {
  switch (type) {
    case 'TransactionStmt':
      return TRANSACTION_KINDS[textOf(body.kind) ?? ''] ?? 'transaction';
    case 'VariableSetStmt':
      return body.kind === 'VAR_RESET' || body.kind === 'VAR_RESET_ALL' ? 'reset' : 'set';
    case 'FetchStmt':
      return body.ismove === true ? 'move' : 'fetch';
    case 'VacuumStmt':
      return body.is_vacuumcmd === true ? 'vacuum' : 'analyze';
    case 'GrantStmt':
    case 'GrantRoleStmt':
      return body.is_grant === true ? 'grant' : 'revoke';
    case 'CreateFunctionStmt':
      return body.is_procedure === true ? 'create_procedure' : 'create_function';
    case 'CreateTableAsStmt':
      return body.objtype === 'OBJECT_MATVIEW' ? 'create_materialized_view' : 'create_table_as';
    case 'DefineStmt':
      return `create_${objectWord(body.kind)}`;
    case 'DropStmt':
      return `drop_${objectWord(body.removeType)}`;
    case 'AlterTableStmt':
      return `alter_${objectWord(body.objtype)}`;
    case 'RenameStmt':
      return `alter_${objectWord(isColumn(body.renameType) ? body.relationType : body.renameType)}`;
    case 'AlterOwnerStmt':
    case 'AlterObjectSchemaStmt':
      return `alter_${objectWord(textOf(body.objectType))}`;
    default:
      return KINDS[type] ?? snakeCase(type);
  }
}

/** The class of a statement's own node, before what hides inside it. */
export function ownClassOf(type: string, body: TreeNode): QueryClass {
  switch (type) {
    case 'SelectStmt':
      // SELECT INTO makes a table; FOR UPDATE and its kin take row locks and fail on a standby.
      if (body.intoClause !== undefined) return 'ddl';
      return listOf(body.lockingClause).length > 0 ? 'write' : 'read';
    case 'CopyStmt':
      if (body.is_from === true) return 'write';
      // A server-side file or program: code and files that no other rule would see.
      return body.filename !== undefined || body.is_program === true ? 'unknown' : 'copy';
    case 'VariableSetStmt':
      return body.name === 'TRANSACTION' || body.name === 'TRANSACTION SNAPSHOT' ? 'transaction' : 'session';
    default:
      return CLASSES[type] ?? (DDL_NODE.test(type) ? 'ddl' : 'unknown');
  }
}

/** The tables that DROP, COMMENT, OWNED BY and their kin name as lists of strings rather than as relations. */
export function namedTables(type: string, body: TreeNode): string[] {
  switch (type) {
    case 'DropStmt':
      return listOf(body.objects).flatMap((object) => tableOf(body.removeType, object));
    case 'AlterExtensionContentsStmt':
    case 'CommentStmt':
    case 'SecLabelStmt':
      return tableOf(body.objtype, body.object);
    case 'AlterSeqStmt':
    case 'CreateSeqStmt':
      return listOf(body.options).flatMap((option) => tableOf('OBJECT_COLUMN', owner(option)));
    default:
      return [];
  }
}

const RELATION_OBJECTS = new Set(
  ['TABLE', 'VIEW', 'MATVIEW', 'INDEX', 'SEQUENCE', 'FOREIGN_TABLE'].map((word) => `OBJECT_${word}`),
);
const PART_OBJECTS = new Set(['COLUMN', 'TABCONSTRAINT', 'TRIGGER', 'RULE', 'POLICY'].map((word) => `OBJECT_${word}`));

function tableOf(objectType: unknown, object: unknown): string[] {
  if (typeof objectType !== 'string') return [];
  let parts = nameParts(bodyOf(object, 'List')?.items);
  if (PART_OBJECTS.has(objectType)) parts = parts.slice(0, -1);
  else if (!RELATION_OBJECTS.has(objectType)) return [];
  return parts.length === 0 ? [] : [parts.slice(-2).join('.')];
}

/** The column of OWNED BY, with its table; NONE is a name alone. */
function owner(option: unknown): unknown {
  const element = bodyOf(option, 'DefElem');
  return element?.defname === 'owned_by' ? element.arg : null;
}

function createAlterDrop(object: string): string[] {
  return [`create_${object}`, `alter_${object}`, `drop_${object}`];
}

function isColumn(renameType: unknown): boolean {
  return renameType === 'OBJECT_COLUMN';
}

function objectWord(objectType: unknown): string {
  const word = (textOf(objectType) ?? 'OBJECT_OBJECT').replace(/^OBJECT_/, '');
  return OBJECT_WORDS[word] ?? word.toLowerCase();
}

function snakeCase(type: string): string {
  return type
    .replace(/Stmt$/, '')
    .replace(/([a-z0-9])([A-Z])/g, '$1_$2')
    .toLowerCase();
}
