// PostgreSQL's own replication programs: base backups that a server starts from, the log byte by byte, and decoded changes.

import { readdir, readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { ServerProcess } from '../support/server-process.ts';
import { makeOwned } from './stage.ts';
import type { Suite, TestOutcome, Workplace } from './suite.ts';
import { demandSame, runChecks, ToolRun } from './tool-run.ts';

const BACKUP = ['--checkpoint=fast', '--no-sync', '--label=suites'];

export const REPLICATION_SUITE: Suite = {
  name: 'replication',
  configuration: { wal_level: 'logical', max_replication_slots: '10', summarize_wal: 'on', max_wal_size: '2GB' },
  run: runReplication,
};

async function runReplication(workplace: Workplace): Promise<TestOutcome[]> {
  const tools = new ToolRun(workplace);
  const { folder } = workplace;
  await tools.run('pgbench', ['-i', '-q', '-s', '5'], 'direct');
  await tools.ask('CREATE TABLE changed (id serial PRIMARY KEY, words text)');
  return runChecks([
    [
      'pg_basebackup plain, log streamed beside it',
      async () => {
        await tools.run('pg_basebackup', ['-D', join(folder, 'plain'), '-X', 'stream', ...BACKUP]);
        await verifyBackup(tools, join(folder, 'plain'));
      },
    ],
    [
      'pg_basebackup tar, compressed by the server, log fetched',
      async () => {
        const tar = join(folder, 'tar');
        await tools.run('pg_basebackup', ['-D', tar, '-F', 'tar', '-X', 'fetch', '-Z', 'server-gzip', ...BACKUP]);
        const data = join(folder, 'untarred');
        await tools.shell(
          `mkdir -m 700 ${data}; tar xzf ${tar}/base.tar.gz -C ${data}; cp ${tar}/backup_manifest ${data}`,
        );
        await verifyBackup(tools, data);
      },
    ],
    [
      'pg_basebackup incremental, manifest uploaded',
      async () => {
        await tools.ask('UPDATE pgbench_branches SET bbalance = bbalance + 1');
        const [increment, combined] = [join(folder, 'increment'), join(folder, 'combined')];
        const manifest = join(folder, 'plain/backup_manifest');
        await tools.run('pg_basebackup', ['-D', increment, `--incremental=${manifest}`, ...BACKUP]);
        await tools.run('pg_combinebackup', [join(folder, 'plain'), increment, '-o', combined, '--no-sync']);
        await verifyBackup(tools, combined);
      },
    ],
    ['pg_receivewal with a slot', () => receiveLog(tools)],
    ['pg_recvlogical while others write', () => receiveChanges(tools)],
  ]);
}

/** The manifest holds, and a server that starts from the copy has what the original has. */
async function verifyBackup(tools: ToolRun, backup: string): Promise<void> {
  await tools.run('pg_verifybackup', [backup]);
  const { source, account, folder } = tools.workplace;
  const place = join(folder, `server-${basename(backup)}`);
  const dataFolder = join(place, 'data');
  await makeOwned(place, account);
  await makeOwned(join(place, 's'), account);
  await tools.shell(`cp -a ${backup} ${dataFolder}`);
  const binaries = join(source.prefix, 'bin');
  const server = new ServerProcess({ name: 'copy', binaries, folder: place, dataFolder, account });
  await server.writeOwned('postgresql.auto.conf', `unix_socket_directories = '${server.socketDirectory}'\n`);
  await server.writeOwned('pg_hba.conf', 'local all all trust\nhost all all 127.0.0.1/32 trust\n');
  await server.boot();
  try {
    const dump = 'pg_dump --restrict-key=suites -d postgres';
    const copy = await tools.shell(`${dump} -h ${server.socketDirectory} -p ${server.port} | sha256sum`);
    demandSame('dump of the server from the backup', copy, await tools.shell(`${dump} | sha256sum`, 'direct'));
  } finally {
    await server.retire();
  }
}

async function receiveLog(tools: ToolRun): Promise<void> {
  const { folder, road } = tools.workplace;
  const log = join(folder, 'log');
  await tools.shell(`mkdir ${log}`);
  // One that keeps the log from now on: pg_receivewal's own --create-slot makes one that keeps it from its first use.
  await tools.ask("SELECT pg_create_physical_replication_slot('received', true)");
  for (let segment = 0; segment < 3; segment++) {
    await tools.run('pgbench', ['-n', '-c', '4', '-t', '500'], 'direct');
    await tools.ask('SELECT pg_switch_wal()');
  }
  await tools.run('pgbench', ['-n', '-t', '10'], 'direct');
  const position = await tools.ask('SELECT pg_current_wal_lsn()');
  // Synchronous: every record is reported as flushed, so the stream carries status updates all the time.
  const args = ['-D', log, '--slot=received', `--endpos=${position}`, '--no-loop', '--synchronous'];
  await tools.run('pg_receivewal', args);
  const segments = (await readdir(log)).filter((name) => /^[0-9A-F]{24}$/.test(name));
  if (segments.length < 3) throw new Error(`only ${segments.length} segments came: ${(await readdir(log)).join(' ')}`);
  for (const name of segments) {
    const original = await readFile(join(road.dataFolder, 'pg_wal', name));
    if (!original.equals(await readFile(join(log, name)))) throw new Error(`${name} is not what the server wrote`);
  }
}

async function receiveChanges(tools: ToolRun): Promise<void> {
  const { folder } = tools.workplace;
  const file = join(folder, 'changes');
  await tools.run('pg_recvlogical', ['-d', 'postgres', '--slot=decoded', '--create-slot', '-P', 'test_decoding']);
  await tools.ask("SELECT pg_create_logical_replication_slot('reference', 'test_decoding')");
  const write = 'INSERT INTO changed (words) SELECT repeat(md5(i::text), 20) FROM generate_series(1, 5000) i';
  for (let turn = 0; turn < 5; turn++) await tools.ask(write);
  await tools.ask('UPDATE changed SET words = upper(words) WHERE id % 10 = 0');
  const position = await tools.ask('SELECT pg_current_wal_insert_lsn()');
  // Somebody goes on writing while the stream flows.
  const writer = tools.run('pgbench', ['-n', '-c', '2', '-t', '1000'], 'direct');
  const args = ['-d', 'postgres', '--slot=decoded', '--start', '-f', file, `--endpos=${position}`, '--no-loop'];
  await tools.run('pg_recvlogical', [...args, '-o', 'include-xids=0', '--status-interval=1']);
  await writer;
  const query = `SELECT data FROM pg_logical_slot_peek_changes('reference', '${position}', NULL, 'include-xids', '0')`;
  const expected = await tools.ask(query);
  const got = (await readFile(file, 'utf8')).trimEnd();
  demandSame('decoded changes', got, expected);
  if (got.split('\n').length < 27_500) throw new Error(`only ${got.split('\n').length} changes came`);
}
