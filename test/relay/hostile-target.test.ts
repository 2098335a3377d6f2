// A server that lies, cheats or dies in the middle of a word: its client hears of it in words that cannot be taken for data,
// and nobody else is touched.

import { createServer, type Socket } from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { startWeir } from '../../src/app.ts';
import { silentLog } from '../../src/base/log.ts';
import { waitFor } from '../support/deadline.ts';
import * as frontend from '../support/frontend-messages.ts';
import { sharedPostgres } from '../support/shared-postgres.ts';
import { type BackendMessage, readFields } from '../support/transcript.ts';
import { startTestWeir, type TestWeir } from '../support/weir.ts';
import { ConnectionEnded, WireClient } from '../support/wire-client.ts';

const AUTHENTICATION_OK = frontend.message('R', frontend.int32(0));
const KEY = frontend.message('K', frontend.int32(4_711), Buffer.from('keys'));
const READY = frontend.message('Z', Buffer.from('I'));
const WELCOME = Buffer.concat([AUTHENTICATION_OK, KEY, READY]);
const ROW_HEAD = Buffer.concat([Buffer.from('D'), frontend.int32(1_000), frontend.int16(1), frontend.int32(990)]);

/** What it does with the client's first packet, and with everything behind it. */
interface Behaviour {
  onStartup(socket: Socket): void;
  onMessage(socket: Socket, bytes: Buffer): void;
}

const behaviour: Behaviour = { onStartup: () => undefined, onMessage: () => undefined };
const sockets = new Set<Socket>();
const target = createServer((socket) => {
  sockets.add(socket);
  socket.on('error', () => undefined).on('close', () => sockets.delete(socket));
  let hasStarted = false;
  socket.on('data', (bytes: Buffer) => {
    if (bytes.length === 16 && bytes.readInt32BE(4) === frontend.CANCEL_REQUEST_CODE) socket.destroy();
    else if (hasStarted) behaviour.onMessage(socket, bytes);
    else behaviour.onStartup(socket);
    hasStarted = true;
  });
});

const postgres = sharedPostgres();
let weir: TestWeir;
let other: TestWeir;

beforeAll(async () => {
  await new Promise<void>((resolve) => target.listen(0, '127.0.0.1', resolve));
  const address = target.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  const auth = { mode: 'trust', credentials: [{ user: 'weir', password: 'secret' }] } as const;
  weir = await startTestWeir({ postgres: { host: '127.0.0.1', port }, settings: { auth } });
  other = await startTestWeir({ postgres });
});

afterEach(() =>
  waitFor(
    () => sockets.size === 0,
    2_000,
    () => `${sockets.size} server connections are still open`,
  ),
);

afterAll(async () => {
  await weir.stop();
  await other.stop();
  await new Promise((resolve) => target.close(resolve));
});

function behave(onStartup: Behaviour['onStartup'], onMessage: Behaviour['onMessage'] = () => undefined): void {
  Object.assign(behaviour, { onStartup, onMessage });
}

/** Messages to the end of the stream, and the bytes of a message that never became whole. */
async function readToTheEnd(client: WireClient): Promise<{ messages: BackendMessage[]; unfinished: Buffer }> {
  const messages: BackendMessage[] = [];
  for (;;) {
    try {
      messages.push(await client.readMessage());
    } catch (error) {
      if (error instanceof ConnectionEnded) return { messages, unfinished: error.remaining };
      throw error;
    }
  }
}

const scramMessage = (code: number, text: string): Buffer =>
  frontend.message('R', frontend.int32(code), Buffer.from(text));

describe('while pgweir logs in', () => {
  test.each<[string, Behaviour['onMessage']]>([
    ['lets pgweir in before it has proved anything', (socket) => socket.write(WELCOME)],
    [
      'skips its own proof',
      (socket, bytes) => {
        const nonce = /r=([^,\0]+)/.exec(bytes.toString('latin1'))?.[1] ?? '';
        if (bytes.includes('p=')) socket.write(WELCOME);
        else socket.write(scramMessage(11, `r=${nonce}x,s=c2FsdA==,i=1`));
      },
    ],
    [
      'sends a proof that is none',
      (socket, bytes) => {
        const nonce = /r=([^,\0]+)/.exec(bytes.toString('latin1'))?.[1] ?? '';
        if (bytes.includes('p=')) socket.write(Buffer.concat([scramMessage(12, 'v=AAAA'), WELCOME]));
        else socket.write(scramMessage(11, `r=${nonce}x,s=c2FsdA==,i=1`));
      },
    ],
    [
      'says everything at once, before it was asked',
      (socket, bytes) => {
        const nonce = /r=([^,\0]+)/.exec(bytes.toString('latin1'))?.[1] ?? '';
        const first = scramMessage(11, `r=${nonce}x,s=c2FsdA==,i=1`);
        socket.write(Buffer.concat([first, scramMessage(12, 'v=AAAA'), WELCOME]));
      },
    ],
    ['answers with another nonce', (socket) => socket.write(scramMessage(11, 'r=foreign,s=c2FsdA==,i=1'))],
    [
      'asks for hours of hashing',
      (socket, bytes) => {
        const nonce = /r=([^,\0]+)/.exec(bytes.toString('latin1'))?.[1] ?? '';
        socket.write(scramMessage(11, `r=${nonce}x,s=c2FsdA==,i=2000000000`));
      },
    ],
  ])('a server that begins SCRAM and %s is not believed', async (_what, onMessage) => {
    behave(
      (socket) => socket.write(frontend.message('R', frontend.int32(10), Buffer.from('SCRAM-SHA-256\0\0'))),
      onMessage,
    );
    const client = await WireClient.connect(weir);
    const messages = await client.startup();
    expect(messages.map(({ type }) => type)).toEqual(['E']);
    expect(readFields(messages[0]?.body ?? Buffer.alloc(0))).toMatchObject({ S: 'FATAL', C: '28000' });
    client.destroy();
  });
});

describe('while statements run', () => {
  const logIn = (onMessage: Behaviour['onMessage']): Promise<WireClient> => {
    behave((socket) => socket.write(WELCOME), onMessage);
    return WireClient.login(weir);
  };

  test('a server that dies in the middle of a row: the row stays unfinished, no error is mixed into it', async () => {
    const client = await logIn((socket) => {
      socket.write(Buffer.concat([ROW_HEAD, Buffer.alloc(100, 'x')]));
      setTimeout(() => socket.destroy(), 50);
    });
    client.send(frontend.query('SELECT 1'));
    const { messages, unfinished } = await readToTheEnd(client);
    expect(messages).toEqual([]);
    expect(unfinished).toEqual(Buffer.concat([ROW_HEAD, Buffer.alloc(100, 'x')]));
  });

  test('a session that an administrator ends in the middle of a row ends without an error in it', async () => {
    const client = await logIn((socket) => socket.write(Buffer.concat([ROW_HEAD, Buffer.alloc(100, 'x')])));
    client.send(frontend.query('SELECT 1'));
    await waitFor(
      () => client.received().includes('xxx'),
      2_000,
      () => 'the row did not begin',
    );
    const [session] = weir.control.sessions();
    expect(weir.control.terminateSession(session?.id ?? 0)).toBe(true);
    const { messages, unfinished } = await readToTheEnd(client);
    expect(messages).toEqual([]);
    expect(unfinished.subarray(-100)).toEqual(Buffer.alloc(100, 'x'));
  });

  test('a server that dies between two messages is told with 08006', async () => {
    const client = await logIn((socket) => socket.destroy());
    client.send(frontend.query('SELECT 1'));
    const { messages } = await readToTheEnd(client);
    expect(messages.map(({ body }) => readFields(body))).toMatchObject([{ S: 'FATAL', C: '08006' }]);
  });

  test('a server that says why it goes is quoted, once', async () => {
    const words = frontend.message('E', Buffer.from('SFATAL\0VFATAL\0C57P01\0Mgoing\0\0'));
    const client = await logIn((socket) => socket.end(words));
    client.send(frontend.query('SELECT 1'));
    const { messages } = await readToTheEnd(client);
    expect(messages.map(({ body }) => readFields(body))).toEqual([{ S: 'FATAL', V: 'FATAL', C: '57P01', M: 'going' }]);
  });

  test.each([
    ['says why', frontend.message('E', Buffer.from('SFATAL\0VFATAL\0C57P01\0Mgoing\0\0')), { C: '57P01', M: 'going' }],
    ['says nothing', Buffer.alloc(0), { C: '08006' }],
  ])(
    'a server that %s and resets the connection is heard although it is still written to',
    async (_, words, fields) => {
      // pgweir finds what the client sent before it finds what the server said, in this order.
      const client = await logIn((socket) => {
        client.send(frontend.query('SELECT 2'));
        socket.write(words);
        socket.resetAndDestroy();
      });
      client.send(frontend.query('SELECT 1'));
      const { messages } = await readToTheEnd(client);
      expect(messages.map(({ body }) => readFields(body))).toMatchObject([{ S: 'FATAL', ...fields }]);
    },
  );

  test.each([
    ['an unknown type', frontend.message('!', Buffer.from('?'))],
    ['a length of 3', frontend.messageWithLength('D', 3)],
    ['a negative length', frontend.messageWithLength('C', -1)],
    ['a ReadyForQuery of 100 bytes', frontend.message('Z', Buffer.alloc(100))],
  ])('%s from a server is told with 08P01, and other clients go on', async (_what, bytes) => {
    const bystander = await WireClient.login(other);
    const client = await logIn((socket) => socket.write(bytes));
    client.send(frontend.query('SELECT 1'));
    const { messages } = await readToTheEnd(client);
    expect(messages.map(({ body }) => readFields(body))).toMatchObject([{ S: 'FATAL', C: '08P01' }]);
    expect(await bystander.rows('SELECT 1')).toEqual([['1']]);
    await bystander.end();
  });

  test.each<[string, Buffer]>([
    [
      'answers that nobody asked for',
      Buffer.concat([READY, frontend.message('1'), frontend.message('C', Buffer.from('X\0'))]),
    ],
    ['an error without a SQLSTATE', Buffer.concat([frontend.message('E', Buffer.from('Mwhat\0\0')), READY])],
    ['an error without any field', Buffer.concat([frontend.message('E', Buffer.from('\0')), READY])],
    ['a ParameterStatus without its end', Buffer.concat([frontend.message('S', Buffer.from('abc')), READY])],
    ['CopyInResponse out of nowhere', Buffer.concat([READY, frontend.message('G', Buffer.alloc(3))])],
  ])('%s goes to the client as it came', async (_what, bytes) => {
    const client = await logIn((socket) => socket.write(bytes));
    const before = client.received().length;
    client.send(frontend.query('SELECT 1'));
    await waitFor(
      () => client.received().length >= before + bytes.length,
      2_000,
      () => `only ${client.received().length - before} of ${bytes.length} bytes came`,
    );
    expect(client.received().subarray(before)).toEqual(bytes);
    client.destroy();
  });
});

describe('a server that is slow', () => {
  test('a client whose login ends while pgweir drains goes home at once, not at the deadline', async () => {
    behave((socket) => setTimeout(() => socket.write(WELCOME), 300));
    const { settings } = weir;
    const draining = await startWeir({ ...settings, listen: { ...settings.listen, port: 0 } }, silentLog);
    const client = await WireClient.connect({ host: weir.host, port: draining.ports.client });
    client.send(frontend.startupMessage({ user: 'weir' }));
    await waitFor(
      () => sockets.size === 1,
      2_000,
      () => 'the login did not begin',
    );
    const startedAt = performance.now();
    await draining.stop(10_000);
    expect(performance.now() - startedAt).toBeLessThan(5_000);
    const { messages } = await readToTheEnd(client);
    expect(messages.map(({ type }) => type)).toEqual(['R', 'K', 'Z', 'E']);
    expect(readFields(messages[3]?.body ?? Buffer.alloc(0))).toMatchObject({ S: 'FATAL', C: '57P01' });
  });
});

describe('a client that leaves in the middle of a message', () => {
  test('nothing that pgweir says completes the message for the server', async () => {
    let received = Buffer.alloc(0);
    behave(
      (socket) => socket.write(WELCOME),
      (_socket, bytes) => {
        received = Buffer.concat([received, bytes]);
      },
    );
    const call = frontend.functionCall(1_000, ['12345678']);
    const client = await WireClient.login(weir);
    client.send(call.subarray(0, -5));
    await waitFor(
      () => received.length === call.length - 5,
      2_000,
      () => `${received.length} of ${call.length - 5} bytes came`,
    );
    client.destroy();
    await waitFor(
      () => sockets.size === 0,
      2_000,
      () => 'the server connection is still open',
    );
    expect(received).toEqual(call.subarray(0, -5));
  });

  test.each([
    ['with a word is heard by the server', frontend.terminate()],
    ['without a word leaves none to the server either', Buffer.alloc(0)],
  ])('one that leaves between two messages %s', async (_what, lastWords) => {
    let received = Buffer.alloc(0);
    behave(
      (socket) => socket.write(WELCOME),
      (_socket, bytes) => {
        received = Buffer.concat([received, bytes]);
      },
    );
    const client = await WireClient.login(weir);
    client.socket.end(lastWords);
    await waitFor(
      () => sockets.size === 0,
      2_000,
      () => 'the server connection is still open',
    );
    expect(received).toEqual(lastWords);
    client.destroy();
  });
});
