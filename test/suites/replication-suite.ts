// PostgreSQL's own replication programs: base backups that a server starts from, the log byte by byte, and decoded changes.

import { readdir, readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { waitFor } from '../support/deadline.ts';
import { ServerProcess } from '../support/server-process.ts';
import { makeOwned } from './stage.ts';
import type { Suite, TestOutcome, Workplace } from './suite.ts';
import { demandSame, runChecks, ToolRun } from './tool-run.ts';

const BACKUP = ['--checkpoint=fast', '--no-sync', '--label=suites'];

export const REPLICATION_SUITE: Suite = {
  name: 'replication',
  configuration: { wal_level: 'logical', max_replication_slots: '10', summarize_wal: 'on', max_wal_size: '2GB' },
  minPoolSize: 2,
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
    ['a standby that streams', () => streamToStandby(tools)],
    ['a subscription', () => subscribe(tools)],
  ]);
}

/** The manifest holds, and a server that starts from the copy has what the original has. */
async function verifyBackup(tools: ToolRun, backup: string): Promise<void> {
  await tools.run('pg_verifybackup', [backup]);
  const server = await prepareCopy(tools, backup, []);
  await server.boot();
  try {
    await compareDump(tools, server);
  } finally {
    await server.retire();
  }
}

/** A server over a copy of the backup, not started yet. */
async function prepareCopy(tools: ToolRun, backup: string, lines: readonly string[]): Promise<ServerProcess> {
  const { source, account, folder } = tools.workplace;
  const place = join(folder, `server-${basename(backup)}`);
  const dataFolder = join(place, 'data');
  await makeOwned(place, account);
  await makeOwned(join(place, 's'), account);
  await tools.shell(`cp -a ${backup} ${dataFolder}`);
  const binaries = join(source.prefix, 'bin');
  const server = new ServerProcess({ name: 'copy', binaries, folder: place, dataFolder, account });
  const socket = `unix_socket_directories = '${server.socketDirectory}'`;
  await server.writeOwned('postgresql.auto.conf', `${[socket, ...lines].join('\n')}\n`);
  await server.writeOwned('pg_hba.conf', 'local all all trust\nhost all all 127.0.0.1/32 trust\n');
  return server;
}

async function compareDump(tools: ToolRun, server: ServerProcess): Promise<void> {
  const dump = 'pg_dump --restrict-key=suites -d postgres';
  const copy = await tools.shell(`${dump} -h ${server.socketDirectory} -p ${server.port} | sha256sum`);
  demandSame('dump of the copy', copy, await tools.shell(`${dump} | sha256sum`, 'direct'));
}

/** How a server is told to reach another over the road. */
function describeRoad({ road }: Workplace): string {
  const { PGPASSWORD, PGSSLMODE, PGCHANNELBINDING } = road.environment;
  return Object.entries({
    host: road.host,
    port: String(road.port),
    user: road.user,
    password: PGPASSWORD,
    sslmode: PGSSLMODE,
    channel_binding: PGCHANNELBINDING,
  })
    .flatMap(([key, value]) => (value === undefined ? [] : [`${key}='${value}'`]))
    .join(' ');
}

/** A standby that streams over the road keeps up while others write, and has in the end what the original has. */
async function streamToStandby(tools: ToolRun): Promise<void> {
  const backup = join(tools.workplace.folder, 'standby');
  await tools.run('pg_basebackup', ['-D', backup, '-X', 'stream', ...BACKUP]);
  const conninfo = describeRoad(tools.workplace).replaceAll("'", "''");
  const server = await prepareCopy(tools, backup, [`primary_conninfo = '${conninfo} application_name=standby'`]);
  await server.writeOwned('standby.signal', '');
  await server.boot();
  try {
    await tools.run('pgbench', ['-n', '-c', '4', '-t', '500'], 'direct');
    const position = await tools.ask("SELECT pg_logical_emit_message(true, 'suites', '', true)");
    await waitFor(
      async () => {
        const replayed = `SELECT replay_lsn >= '${position}' FROM pg_stat_replication WHERE application_name = 'standby'`;
        return (await tools.ask(replayed)) === 't';
      },
      60_000,
      () => `the standby has not replayed ${position}\n${server.logTail()}`,
      200,
    );
    await compareDump(tools, server);
  } finally {
    await server.retire();
  }
}

/** A subscription over the road copies the table and follows it. */
async function subscribe(tools: ToolRun): Promise<void> {
  await tools.ask('CREATE DATABASE subscriber');
  await tools.ask('CREATE TABLE changed (id int PRIMARY KEY, words text)', 'subscriber');
  await tools.ask('CREATE PUBLICATION published FOR TABLE changed');
  const conninfo = `${describeRoad(tools.workplace)} dbname=postgres`.replaceAll("'", "''");
  // Its own slot is made first: within one cluster CREATE SUBSCRIPTION would wait for itself.
  await tools.ask("SELECT pg_create_logical_replication_slot('subscribed', 'pgoutput')");
  const options = "WITH (create_slot = false, slot_name = 'subscribed')";
  await tools.ask(`CREATE SUBSCRIPTION s CONNECTION '${conninfo}' PUBLICATION published ${options}`, 'subscriber');
  try {
    for (let turn = 0; turn < 3; turn++) {
      await tools.ask('INSERT INTO changed (words) SELECT md5(i::text) FROM generate_series(1, 2000) i');
      await tools.ask('DELETE FROM changed WHERE id % 7 = 0');
    }
    const sum = 'SELECT count(*), md5(string_agg(id || words, $$,$$ ORDER BY id)) FROM changed';
    const expected = await tools.ask(sum);
    await waitFor(
      async () => (await tools.ask(sum, 'subscriber')) === expected,
      60_000,
      () => 'the subscriber does not have what the publisher has',
      200,
    );
  } finally {
    await tools.ask('DROP SUBSCRIPTION s', 'subscriber');
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
