// Commands of the replication protocol as facts: what is one, what is not, and that no literal is shown.

import { beforeAll, describe, expect, test } from 'vitest';
import { readReplicationMode } from '../../src/session/replication-mode.ts';
import { FactsCache } from '../../src/sql/facts-cache.ts';
import { loadParser } from '../../src/sql/parse.ts';
import { REPLICATION_KINDS, readReplicationCommand } from '../../src/sql/replication.ts';
import { STATEMENT_KINDS } from '../../src/sql/statement-kinds.ts';

beforeAll(loadParser);

const COMMANDS = [
  ['IDENTIFY_SYSTEM', 'identify_system', 'IDENTIFY_SYSTEM'],
  ['READ_REPLICATION_SLOT "s"', 'read_replication_slot', 'READ_REPLICATION_SLOT "s"'],
  [
    'CREATE_REPLICATION_SLOT "s" LOGICAL test_decoding (SNAPSHOT \'nothing\')',
    'create_replication_slot',
    'CREATE_REPLICATION_SLOT "s" LOGICAL test_decoding (SNAPSHOT ?)',
  ],
  ['ALTER_REPLICATION_SLOT s (FAILOVER true)', 'alter_replication_slot', 'ALTER_REPLICATION_SLOT s (FAILOVER true)'],
  ['DROP_REPLICATION_SLOT s WAIT;', 'drop_replication_slot', 'DROP_REPLICATION_SLOT s WAIT'],
  [
    ' \n\tSTART_REPLICATION SLOT "s" LOGICAL 0/16B3748 (proto_version \'4\', publication_names \'"secret"\')',
    'start_replication',
    'START_REPLICATION SLOT "s" LOGICAL ? (proto_version ?, publication_names ?)',
  ],
  ['START_REPLICATION 0/3000000 TIMELINE 1', 'start_replication', 'START_REPLICATION ? TIMELINE ?'],
  ['TIMELINE_HISTORY 2', 'timeline_history', 'TIMELINE_HISTORY ?'],
  ["BASE_BACKUP ( LABEL 'weekly', PROGRESS )", 'base_backup', 'BASE_BACKUP ( LABEL ?, PROGRESS )'],
  ['UPLOAD_MANIFEST', 'upload_manifest', 'UPLOAD_MANIFEST'],
] as const;

describe('a replication command', () => {
  test.each(COMMANDS)('%j is a %s, shown as %j', (text, kind, normalized) => {
    const facts = readReplicationCommand(text, 'UTF8');
    expect(facts).toMatchObject({
      text,
      effect: null,
      shape: { queryClass: 'replication', kinds: [kind], normalized, unparsed: null },
    });
  });

  test('is refused by the grammar of SQL: what is read as one cannot be a statement too', () => {
    const cache = new FactsCache({ maxEntries: 100, maxBytes: 1 << 22, maxAnalyzedBytes: 1 << 20 });
    for (const [text] of COMMANDS) expect(cache.read(text, 'UTF8', true)[0]?.shape.unparsed).toBe('syntax');
  });

  test('has a kind that rules may name, and every kind is tested here', () => {
    expect(new Set(COMMANDS.map(([, kind]) => kind))).toEqual(new Set(REPLICATION_KINDS));
    for (const kind of REPLICATION_KINDS) expect(STATEMENT_KINDS).toContain(kind);
  });

  test.each([
    'SELECT 1',
    '',
    'SHOW wal_level',
    'IDENTIFY_SYSTEMS',
    'BASE_BACKUP_x',
    'BASE_BACKUP$',
    '"BASE_BACKUP"',
    '/* c */ BASE_BACKUP',
    'SELECT 1; BASE_BACKUP',
  ])('is not %j: the server reads that as SQL', (text) => {
    expect(readReplicationCommand(text, 'UTF8')).toBeNull();
  });
});

describe('the startup parameter replication', () => {
  const modeOf = (value: string): string => readReplicationMode(new Map([['replication', value]]));

  test('asks for a walsender by `database` or any word for true', () => {
    expect(modeOf('database')).toBe('logical');
    for (const word of ['true', 'ON', '1', 'yes', 't', 'nonsense', 'Database', ''])
      expect(modeOf(word)).toBe('physical');
  });

  test('asks for nothing by any word for false, or where it is missing', () => {
    for (const word of ['false', 'OFF', '0', 'no', 'f', 'of', 'n']) expect(modeOf(word)).toBe('none');
    expect(readReplicationMode(new Map())).toBe('none');
  });
});
