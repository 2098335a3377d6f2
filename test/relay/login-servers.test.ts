// Servers as pgweir's own login may meet them: old ones, other poolers, and ones that cheat. What they say goes to the client as
// it was, once and in its order; what must not be believed is not.

import { createServer, type Socket } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { waitFor } from '../support/deadline.ts';
import * as frontend from '../support/frontend-messages.ts';
import { readFields, transcribe } from '../support/transcript.ts';
import { startTestWeir, type TestWeir } from '../support/weir.ts';
import { sendCancel, WireClient } from '../support/wire-client.ts';

const { message, int32, cstring } = frontend;
const OK = message('R', int32(0));
const READY = message('Z', Buffer.from('I'));
const KEY = message('K', int32(77), Buffer.from('keys'));
const LONG_KEY = message('K', int32(77), Buffer.alloc(256, 9));
const parameter = (name: string, value: string): Buffer => message('S', cstring(name), cstring(value));
const negotiate = (minor: number, ...options: string[]): Buffer =>
  message('v', int32((3 << 16) | minor), int32(options.length), ...options.map(cstring));
const error = (fields: string): Buffer => message('E', Buffer.from(fields), Buffer.alloc(1));
const sasl = (code: number, text: string): Buffer => message('R', int32(code), Buffer.from(text));
const OFFER = sasl(10, 'SCRAM-SHA-256\0\0');

/** What the server says to the startup message, and after each answer of pgweir's. */
type Script = readonly ((said: string) => Buffer)[];

let script: Script = [];
let pieceBytes = 0;
const startups: Buffer[] = [];
const cancels: Buffer[] = [];
const sockets = new Set<Socket>();
const server = createServer((socket) => {
  sockets.add(socket);
  let step = 0;
  socket.on('error', () => undefined).on('close', () => sockets.delete(socket));
  socket.on('data', (bytes: Buffer) => {
    if (step === 0 && bytes.readInt32BE(4) === frontend.CANCEL_REQUEST_CODE) {
      cancels.push(bytes);
      socket.destroy();
      return;
    }
    if (step === 0) startups.push(bytes);
    const answer = script[step++]?.(bytes.toString('latin1'));
    if (answer === undefined) return;
    if (pieceBytes === 0) socket.write(answer);
    else void writeInPieces(socket, answer);
  });
});
let weir: TestWeir;

async function writeInPieces(socket: Socket, bytes: Buffer): Promise<void> {
  for (let at = 0; at < bytes.length; at += pieceBytes) {
    socket.write(bytes.subarray(at, at + pieceBytes));
    await new Promise((resolve) => setImmediate(resolve));
  }
}

beforeAll(async () => {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  const auth = { mode: 'trust', credentials: [{ user: 'anna', password: 'secret' }] } as const;
  weir = await startTestWeir({
    postgres: { host: '127.0.0.1', port },
    settings: { auth, limits: { loginTimeoutMs: 2_000 } },
  });
});

afterAll(async () => {
  await weir.stop();
  await waitFor(
    () => sockets.size === 0,
    2_000,
    () => `${sockets.size} server connections are open`,
  );
  await new Promise((resolve) => server.close(resolve));
});

/** All that the client hears; it is still connected where that ends with ReadyForQuery. */
async function logIn(steps: Script, version = frontend.PROTOCOL_3_2, options: Record<string, string> = {}) {
  script = steps;
  const client = await WireClient.connect(weir);
  client.send(frontend.startupMessage({ user: 'anna', database: 'weir', ...options }, version));
  const messages = [];
  for (;;) {
    const next = await client.readMessage();
    messages.push(next);
    if (next.type === 'Z' || next.type === 'E') break;
  }
  return { client, messages, told: transcribe(messages) };
}

const say =
  (...parts: readonly Buffer[]): (() => Buffer) =>
  () =>
    Buffer.concat(parts);

describe('a server', () => {
  test.each([0, 1])('is asked in the client`s own words and heard in its own (pieces of %i bytes)', async (bytes) => {
    pieceBytes = bytes;
    const parts = [negotiate(2, '_pq_.x'), OK, parameter('a', 'b'), LONG_KEY, parameter('c', 'ä'), READY];
    const { client, messages } = await logIn([say(...parts)], (3 << 16) | 9999, { '_pq_.x': '1', options: '-c a=b' });
    pieceBytes = 0;
    const heard = messages.map(({ type, body }) => message(type, body));
    expect(Buffer.concat(heard).equals(Buffer.concat(parts))).toBe(true);
    const asked = { user: 'anna', database: 'weir', '_pq_.x': '1', options: '-c a=b' };
    expect(startups.at(-1)?.equals(frontend.startupMessage(asked, (3 << 16) | 9999))).toBe(true);
    client.destroy();
  });

  test('that sends no key lets the client in, and a cancel has nothing to do', async () => {
    const { client, told } = await logIn([say(OK, READY)]);
    expect(told).toEqual(['Authentication Ok', 'ReadyForQuery I']);
    await sendCancel(weir, 77, Buffer.from('keys'));
    client.destroy();
  });

  test('that sends a key of 256 bytes is cancelled by it', async () => {
    const { client, told } = await logIn([say(OK, LONG_KEY, READY)]);
    expect(told).toContain('BackendKeyData key of 256 bytes');
    client.send(frontend.query('SELECT 1'));
    cancels.length = 0;
    await sendCancel(weir, 77, Buffer.alloc(256, 9));
    await waitFor(
      () => cancels.length === 1,
      2_000,
      () => 'no cancel came',
    );
    expect(cancels[0]?.equals(frontend.cancelRequest(77, Buffer.alloc(256, 9)))).toBe(true);
    client.destroy();
  });

  test('that speaks 3.0 only says so itself', async () => {
    const { client, told } = await logIn([say(negotiate(0), OK, KEY, READY)]);
    expect(told.filter((line) => line.startsWith('Negotiate'))).toEqual(['NegotiateProtocolVersion 0003000000000000']);
    expect(told[0]).toContain('Negotiate');
    client.destroy();
  });

  test('that refuses after it has let in is heard to do both, notices too', async () => {
    const notice = message('N', Buffer.from('SNOTICE\0C00000\0Mhello\0\0'));
    const { told } = await logIn([say(OK, error('SFATAL\0VFATAL\0C53300\0Mfull\0'))]);
    expect(told).toEqual(['Authentication Ok', 'ErrorResponse S="FATAL" V="FATAL" C="53300" M="full"']);
    const { client, told: greeted } = await logIn([say(notice, OK, notice, KEY, READY)]);
    expect(greeted.filter((line) => line.includes('hello'))).toHaveLength(2);
    client.destroy();
  });

  test.each([
    ['without a SQLSTATE', 'SFATAL\0Mgo away\0', 'S="FATAL" M="go away"'],
    ['with a field that nobody knows', 'SFATAL\0C28000\0Mno\0?what\0', 'C="28000" M="no" ?="what"'],
    ['with nothing', '', ''],
  ])('that refuses %s is heard as it is', async (_what, fields, words) => {
    const { told } = await logIn([say(error(fields))]);
    expect(told).toEqual([expect.stringMatching(/^ErrorResponse/)]);
    expect(told[0]).toContain(words);
  });
});

describe('a server that cheats', () => {
  /** The client's own nonce, out of pgweir's client-first. */
  const nonceOf = (said: string): string => /r=([^,]*)$/.exec(said)?.[1] ?? '';
  const first = (said: string, rest = 'x,s=c2FsdA==,i=1'): Buffer => sasl(11, `r=${nonceOf(said)}${rest}`);

  test.each<[string, Script, string, RegExp]>([
    ['negotiates twice', [say(negotiate(2), negotiate(2), OK, READY)], '08P01', /second time/],
    ['is ready before it has let us in', [say(READY)], '08P01', /ready before/],
    ['asks without a code', [say(message('R'))], '08P01', /without a code/],
    ['sends rows', [say(OK, message('D', Buffer.alloc(2)))], '08P01', /message type 68/],
    ['wants COPY data', [say(message('G', Buffer.alloc(3)))], '08P01', /message type 71/],
    ['sends a length of 3', [say(frontend.messageWithLength('R', 3))], '08P01', /length 3/],
    ['sends a length of 1 GB', [say(frontend.messageWithLength('N', 1 << 30))], '08P01', /length 1073741824/],
    [
      'never stops talking',
      [say(OK, ...Array.from({ length: 70 }, () => message('N', Buffer.alloc(16_000, 65))))],
      '08P01',
      /says too much/,
    ],
    ['asks for the bare password', [say(message('R', int32(3)))], '28000', /without TLS/],
    ['asks for Kerberos', [say(message('R', int32(7)))], '28000', /authentication 7/],
    ['offers only what is unknown', [say(sasl(10, 'OAUTHBEARER\0\0'))], '28000', /no SASL mechanism/],
    ['lets us in without a proof', [say(OFFER), () => OK], '28000', /did not prove/],
    ['lets us in after half a proof', [say(OFFER), (said) => first(said), () => OK], '28000', /did not prove/],
    [
      'proves nothing',
      [say(OFFER), (said) => first(said), say(sasl(12, 'v=AAAA'), OK, READY)],
      '28000',
      /does not verify/,
    ],
    ['proves before it asks', [say(sasl(12, 'v=AAAA'))], '28000', /not begun/],
    ['wants hours of hashing', [say(OFFER), (said) => first(said, 'x,s=c2FsdA==,i=2000000000')], '28000', /iteration/],
    ['answers to another nonce', [say(OFFER), say(sasl(11, 'r=abc,s=c2FsdA==,i=1'))], '28000', /nonce/],
    [
      'sends an endless nonce',
      [say(OFFER), (said) => first(said, `${'x'.repeat(2_000)},s=c2FsdA==,i=1`)],
      '28000',
      /nonce/,
    ],
    ['sends no salt', [say(OFFER), (said) => first(said, 'x,s=,i=1')], '28000', /salt/],
    ['asks and then says nothing', [say(OFFER)], '08006', /too long|timeout/],
  ])('%s', async (_what, steps, sqlstate, words) => {
    const { client, messages } = await logIn(steps);
    const fields = readFields(messages.at(-1)?.body ?? Buffer.alloc(0));
    expect(messages.map(({ type }) => type)).toEqual(['E']);
    expect([fields.S, fields.C]).toEqual(['FATAL', sqlstate]);
    expect(fields.M).toMatch(words);
    expect(fields.M).not.toContain('secret');
    expect(await client.readUntilEnd()).toEqual([]);
    client.destroy();
  });
});

describe('with auth scram, a newer client', () => {
  const GREASED = (3 << 16) | 9999;
  const isProbe = (said: string): boolean => !said.includes('user');

  test.each<[string, (said: string) => Buffer, number]>([
    ['is told the version before it is asked', () => Buffer.concat([negotiate(2), OK, READY]), 0],
    [
      'is told by a server that negotiates at the login only',
      (said) => Buffer.concat(isProbe(said) ? [error('SFATAL\0C28000\0Mno\0')] : [negotiate(2), OK, READY]),
      2,
    ],
    [
      'is told by a server that speaks nonsense to the probe',
      (said) => (isProbe(said) ? Buffer.alloc(9) : Buffer.concat([negotiate(2), OK, READY])),
      2,
    ],
    ['is not told by a server that takes everything', () => Buffer.concat([OK, READY]), -1],
  ])('%s', async (_what, answer, place) => {
    const text = '"anna" "secret"\n';
    const asking = await startTestWeir({
      postgres: { host: '127.0.0.1', port: weir.settings.targets.primary.port },
      settings: { auth: { mode: 'scram', usersFile: { path: '/nowhere', text } }, limits: { loginTimeoutMs: 2_000 } },
    });
    try {
      script = [answer];
      for (const password of ['secret', 'secret', 'wrong']) {
        const client = await WireClient.connect(asking);
        const told = transcribe(await client.startup({ user: 'anna', password, version: GREASED }));
        const expected = password === 'wrong' && place > 0 ? -1 : place;
        expect(told.findIndex((line) => line.startsWith('Negotiate'))).toBe(expected);
        expect(told.filter((line) => line.startsWith('Negotiate'))).toHaveLength(expected < 0 ? 0 : 1);
        expect(told.at(-1)).toMatch(password === 'wrong' ? /C="28P01"/ : /^ReadyForQuery/);
        client.destroy();
      }
      // One probe, and a login for each right password.
      expect(asking.control.counters.leasesTaken).toBe(3);
    } finally {
      await asking.stop();
    }
  });
});
