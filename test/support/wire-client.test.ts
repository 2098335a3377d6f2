import { createServer } from 'node:net';
import { describe, expect, test } from 'vitest';
import * as frontend from './frontend-messages.ts';
import { DATABASE, ROLES } from './postgres.ts';
import { findFreePort } from './server-process.ts';
import { sharedPostgres } from './shared-postgres.ts';
import { readFields, transcribe } from './transcript.ts';
import { ConnectionEnded, sendCancel, WireClient } from './wire-client.ts';

const shared = sharedPostgres();
const tcp = { host: shared.host, port: shared.primaryPort };
const unix = { host: shared.socketDirectory, port: shared.primaryPort };

describe('login', () => {
  test.each([ROLES.application, ROLES.scram, ROLES.md5, ROLES.plain])('$user logs in by $method', async (role) => {
    for (const address of [tcp, unix]) {
      const client = await WireClient.login(address, { ...role, database: DATABASE });
      expect(await client.rows('SELECT current_user')).toEqual([[role.user]]);
      expect(client.status).toBe('I');
      expect(client.processId).toBeGreaterThan(0);
      await client.end();
    }
  });

  test.each([ROLES.scram, ROLES.md5, ROLES.plain])(
    '$user is refused with a wrong password by $method',
    async (role) => {
      await expect(WireClient.login(tcp, { user: role.user, password: 'wrong' })).rejects.toMatchObject({
        code: '28P01',
      });
    },
  );

  test('a role that pg_hba.conf rejects is refused', async () => {
    await expect(WireClient.login(tcp, { user: ROLES.rejected.user })).rejects.toMatchObject({ code: '28000' });
  });

  test('protocol 3.2 gives a longer cancel key than 3.0', async () => {
    const old = await WireClient.login(tcp);
    const recent = await WireClient.login(tcp, { version: frontend.PROTOCOL_3_2 });
    expect([old.secretKey.length, recent.secretKey.length]).toEqual([4, 32]);
    await old.end();
    await recent.end();
  });
});

describe('messages', () => {
  test('a simple query and its transcript', async () => {
    const client = await WireClient.login(tcp);
    expect(transcribe(await client.query("SELECT 1 AS one, NULL AS nothing; SELECT 'é' WHERE false"))).toEqual([
      'RowDescription one:23 nothing:25',
      'DataRow ["1",null]',
      'CommandComplete SELECT 1',
      'RowDescription ?column?:25',
      'CommandComplete SELECT 0',
      'ReadyForQuery I',
    ]);
    await client.end();
  });

  test('an extended query with a value, a suspended portal and a closed statement', async () => {
    const client = await WireClient.login(tcp);
    client.send(
      frontend.parse('SELECT n FROM generate_series(1, $1) n', 'series', [23]),
      frontend.describeStatement('series'),
      frontend.bind({ statement: 'series', values: ['3'] }),
      frontend.execute('', 2),
      frontend.execute(),
      frontend.closeStatement('series'),
      frontend.sync(),
    );
    expect(transcribe(await client.readUntilReady())).toEqual([
      'ParseComplete',
      'ParameterDescription 23',
      'RowDescription n:23',
      'BindComplete',
      'DataRow ["1"]',
      'DataRow ["2"]',
      'PortalSuspended',
      'DataRow ["3"]',
      'CommandComplete SELECT 1',
      'CloseComplete',
      'ReadyForQuery I',
    ]);
    await client.end();
  });

  test('errors are equal once their fields are masked, and differ before', async () => {
    const client = await WireClient.login(tcp);
    const one = await client.query('SELECT 1/0');
    const other = await client.query('SELECT * FROM no_such_table');
    expect(transcribe(one)).not.toEqual(transcribe(other));
    expect(transcribe(one, { maskErrors: ['22012'] })).not.toEqual(transcribe(other, { maskErrors: ['22012'] }));
    expect(transcribe(one, { maskErrors: true }).slice(-2)).toEqual(['ErrorResponse (masked)', 'ReadyForQuery I']);
    expect(transcribe(other, { maskErrors: true })).toEqual(['ErrorResponse (masked)', 'ReadyForQuery I']);
    expect(readFields(one.find((message) => message.type === 'E')?.body ?? Buffer.alloc(0))).toMatchObject({
      C: '22012',
    });
    await client.end();
  });

  test('COPY in, COPY out and a function call', async () => {
    const client = await WireClient.login(tcp);
    await client.query('CREATE TEMP TABLE copied (line text)');
    client.send(
      frontend.query('COPY copied FROM STDIN'),
      frontend.copyData(Buffer.from('a\nb\n')),
      frontend.copyDone(),
    );
    expect(transcribe(await client.readUntilReady())).toEqual([
      'CopyInResponse 0000010000',
      'CommandComplete COPY 2',
      'ReadyForQuery I',
    ]);
    expect(transcribe(await client.query('COPY copied TO STDOUT'))).toEqual([
      'CopyOutResponse 0000010000',
      'CopyData "a\\n"',
      'CopyData "b\\n"',
      'CopyDone',
      'CommandComplete COPY 2',
      'ReadyForQuery I',
    ]);
    const oidOfInt4Abs = 1397;
    client.send(frontend.functionCall(oidOfInt4Abs, ['-5']));
    expect(transcribe(await client.readUntilReady())).toEqual(['FunctionCallResponse 0000000135', 'ReadyForQuery I']);
    await client.end();
  });

  test('a message sent byte by byte is the same message', async () => {
    const client = await WireClient.login(tcp);
    await client.sendInPieces(frontend.query('SELECT 7'), 1);
    expect(transcribe(await client.readUntilReady())).toContain('DataRow ["7"]');
    await client.end();
  });

  test('a cancel request ends the statement of its connection', async () => {
    const client = await WireClient.login(tcp);
    const running = client.query('SELECT pg_sleep(20)');
    await new Promise((resolve) => setTimeout(resolve, 100));
    await sendCancel(tcp, client.processId, client.secretKey);
    expect(transcribe(await running, { maskErrors: ['57014'] })).toEqual([
      'RowDescription pg_sleep:2278',
      'ErrorResponse (masked)',
      'ReadyForQuery I',
    ]);
    await client.end();
  });

  test('an SSLRequest is answered with one byte', async () => {
    const client = await WireClient.connect(tcp);
    client.send(frontend.sslRequest());
    expect(await client.readByte()).toBe('N');
    expect((await client.startup()).at(-1)?.type).toBe('Z');
    await client.end();
  });
});

describe('a client that waits in vain', () => {
  test('is told at its deadline how much had come', async () => {
    const port = await findFreePort();
    const server = createServer((socket) => socket.write('Z\0')).listen(port, '127.0.0.1');
    const client = await WireClient.connect({ host: '127.0.0.1', port }, 200);
    await expect(client.readMessage()).rejects.toThrow(
      'waited 200 ms for a message; 2 bytes are there (ReadyForQuery)',
    );
    client.destroy();
    server.close();
  });

  test('is told when the other side has gone in the middle of a message', async () => {
    const port = await findFreePort();
    const server = createServer((socket) => socket.end('Z\0')).listen(port, '127.0.0.1');
    const client = await WireClient.connect({ host: '127.0.0.1', port }, 5_000);
    await expect(client.readMessage()).rejects.toBeInstanceOf(ConnectionEnded);
    client.destroy();
    server.close();
  });
});
