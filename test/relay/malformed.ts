// Frames that are none, in every state that a session can be in: what is sent before, what is broken, and how it ends. The
// bare server tells what is right.

import { setTimeout as sleep } from 'node:timers/promises';
import * as frontend from '../support/frontend-messages.ts';
import type { BackendMessage } from '../support/transcript.ts';
import { type WireAddress, WireClient } from '../support/wire-client.ts';
import { describeFully } from './differential.ts';

export interface State {
  readonly name: string;
  /** Sent before the frame. */
  readonly prepare: readonly Buffer[];
  /** Much is said in it: only some of the frames are tried. */
  readonly isLong?: boolean;
  /** The last message that is awaited before the frame goes out; null: it goes out in the same write. */
  readonly until: string | null;
}

const { query, parse, bind, execute, sync, flush, extendedQuery, copyData, copyDone, terminate } = frontend;
/** More than the buffers between server and client hold. */
const ROWS = "SELECT repeat('x', 8000) FROM generate_series(1, 300)";

export const STATES: readonly State[] = [
  { name: 'idle', prepare: [], until: null },
  { name: 'in a transaction', prepare: [query('BEGIN')], until: 'Z' },
  { name: 'in a failed transaction', prepare: [query('BEGIN; SELECT 1/0')], until: 'Z' },
  { name: 'behind a query', prepare: [query('SELECT pg_sleep(0.002)')], until: null },
  { name: 'behind an unanswered pipeline', prepare: [parse('SELECT 1'), bind()], until: null },
  { name: 'behind a pipeline with its Sync', prepare: [extendedQuery('SELECT 1'), sync()], until: null },
  { name: 'after an error in a pipeline', prepare: [extendedQuery('SELECT 1/0')], until: 'E' },
  {
    name: 'behind a suspended portal',
    prepare: [parse(ROWS), bind(), execute('', 2), flush()],
    until: 's',
  },
  { name: 'in COPY IN', prepare: [query('COPY malformed FROM STDIN')], until: 'G' },
  {
    name: 'in COPY IN, behind data',
    prepare: [query('COPY malformed FROM STDIN'), copyData(Buffer.from('1\n'))],
    until: 'G',
  },
  { name: 'in COPY IN by a portal', prepare: [extendedQuery('COPY malformed FROM STDIN'), flush()], until: 'G' },
  { name: 'after a COPY IN', prepare: [query('COPY malformed FROM STDIN'), copyDone()], until: null },
  { name: 'while COPY OUT runs', prepare: [query(`COPY (${ROWS}) TO STDOUT`)], until: 'H', isLong: true },
  { name: 'while rows stream', prepare: [query(ROWS)], until: 'T', isLong: true },
  { name: 'after Terminate', prepare: [query('SELECT 1'), terminate()], until: null },
];

export interface Frame {
  readonly name: string;
  readonly bytes: Buffer;
}

const LENGTHS = [-2_147_483_648, -1, 0, 3, 4, 10_001, 0x3ffffffe, 0x3fffffff, 2_147_483_647];
const TYPES = 'QPBDECFHSdcfX';
const UNKNOWN = ['p', 'R', 'Z', '!', '\0', '\u00ff'];

/** Every type with lengths that it cannot have, or that promise what never comes; and types that there are not. */
export const FRAMES: readonly Frame[] = [
  ...[...TYPES].flatMap((type) =>
    LENGTHS.map((length) => ({
      name: `${type} of length ${length}`,
      bytes: frontend.messageWithLength(type, length, Buffer.alloc(length === 4 ? 0 : 8)),
    })),
  ),
  ...UNKNOWN.map((type) => ({ name: `type ${JSON.stringify(type)}`, bytes: frontend.message(type, Buffer.from('x')) })),
  ...[1, 3, 4].map((bytes) => ({ name: `${bytes} bytes of a header`, bytes: query('SELECT 1').subarray(0, bytes) })),
  { name: 'half a Query', bytes: query('SELECT 1').subarray(0, 9) },
  { name: 'an HTTP request', bytes: Buffer.from('GET / HTTP/1.1\r\nHost: db\r\n\r\n') },
  { name: 'zeroes', bytes: Buffer.alloc(64) },
  { name: 'a startup message', bytes: frontend.startupMessage({ user: 'weir' }) },
];

const body = (type: string, text: string): Buffer => frontend.message(type, Buffer.from(text, 'latin1'));

/** Well framed, but wrong inside. What follows shows whether both sides still agree on where they are. */
export const BODIES: readonly Frame[] = [
  { name: 'Query without its NUL', bytes: body('Q', 'SELECT 1') },
  { name: 'Query with a NUL inside', bytes: body('Q', 'SELECT 1\0SELECT 2\0') },
  { name: 'Query of bytes that are no UTF-8', bytes: body('Q', 'SELECT \xff\xfe\0') },
  { name: 'Parse without its text', bytes: body('P', 'name\0') },
  { name: 'Parse with a count of types and no types', bytes: body('P', '\0SELECT 1\0\0\x05') },
  { name: 'Parse with a negative count of types', bytes: body('P', '\0SELECT 1\0\xff\xff') },
  { name: 'Bind without names', bytes: body('B', 'x') },
  { name: 'Bind with formats that are not there', bytes: body('B', '\0\0\0\x05\0\0\0\0') },
  { name: 'Bind with a negative count', bytes: body('B', '\0\0\0\0\xff\xff\0\0') },
  { name: 'Bind with a value of a negative length', bytes: body('B', '\0\0\0\0\0\x01\xff\xff\xff\xf0\0\0') },
  { name: 'Bind with a value longer than itself', bytes: body('B', '\0\0\0\0\0\x01\0\0\xff\xff') },
  { name: 'Bind with bytes behind its end', bytes: body('B', '\0\0\0\0\0\0\0\0xyz') },
  { name: 'Describe of no kind', bytes: body('D', 'X\0') },
  { name: 'Describe without its NUL', bytes: body('D', 'Sname') },
  { name: 'Execute without a count', bytes: body('E', '\0') },
  { name: 'Execute with a negative count', bytes: body('E', '\0\xff\xff\xff\xff') },
  { name: 'Execute with bytes behind its end', bytes: body('E', '\0\0\0\0\0xyz') },
  { name: 'Close of no kind', bytes: body('C', 'X\0') },
  { name: 'FunctionCall without a body', bytes: body('F', '') },
  { name: 'FunctionCall with arguments that are not there', bytes: body('F', '\0\0\0\x59\0\0\0\x07\0\0') },
  {
    name: 'FunctionCall with an argument of a negative length',
    bytes: body('F', '\0\0\0\x59\0\0\0\x01\xff\xff\xff\xf0\0\0'),
  },
  { name: 'Sync with a body', bytes: body('S', 'x') },
  { name: 'Flush with a body', bytes: body('H', 'x') },
  { name: 'CopyFail without its NUL', bytes: body('f', 'no') },
  { name: 'CopyDone with a body', bytes: body('c', 'x') },
  { name: 'Terminate with a body', bytes: body('X', 'x') },
];

export interface Ending {
  readonly name: string;
  readonly bytes: Buffer;
}

export const HALF_CLOSE: Ending = { name: 'half-close', bytes: Buffer.alloc(0) };
export const GOES_ON: Ending = {
  name: 'goes on',
  bytes: Buffer.concat([sync(), query("SELECT 'still here'"), terminate()]),
};

/** Everything said from the first byte to the end of the connection, which must come. */
export async function provoke(
  address: WireAddress,
  state: State,
  frame: Frame,
  ending: Ending,
  pieceBytes?: number,
): Promise<readonly string[]> {
  const client = await WireClient.login(address, { parameters: { application_name: 'malformed' } });
  const messages: BackendMessage[] = [];
  try {
    const before = Buffer.concat(state.prepare);
    const last = Buffer.concat([frame.bytes, ending.bytes]);
    if (state.until !== null) {
      client.send(before);
      messages.push(...(await client.readUntil(state.until)));
    }
    const bytes = state.until === null ? Buffer.concat([before, last]) : last;
    if (pieceBytes === undefined) client.send(bytes);
    else await client.sendInPieces(bytes, pieceBytes);
    await sleep(0);
    client.socket.end();
    messages.push(...(await client.readUntilEnd()));
    return describeFully(messages, []);
  } catch (error) {
    throw new Error(`${state.name}, ${frame.name}, ${ending.name}: ${String(error)}`, { cause: error });
  } finally {
    client.destroy();
  }
}

/** What may be said in the place of a password. */
export const ANSWERS: readonly Frame[] = [
  { name: 'a Query', bytes: query('SELECT 1') },
  { name: 'Terminate', bytes: terminate() },
  { name: 'an unknown type', bytes: frontend.message('!', Buffer.from('x')) },
  { name: 'an empty password', bytes: frontend.password('') },
  { name: 'a wrong password and a Query', bytes: Buffer.concat([frontend.password('wrong'), query('SELECT 1')]) },
  { name: 'a password without its NUL', bytes: body('p', 'wrong') },
  { name: 'a password with a NUL inside', bytes: body('p', 'wr\0ong\0') },
  { name: 'a password of 5,000 bytes', bytes: frontend.password('x'.repeat(5_000)) },
  ...[-1, 0, 3, 4, 65_535, 65_536, 0x3fffffff].map((length) => ({
    name: `a password of length ${length}`,
    bytes: frontend.messageWithLength('p', length, Buffer.alloc(length === 4 ? 0 : 8)),
  })),
  { name: 'nothing', bytes: Buffer.alloc(0) },
];

/** Everything said to that user from the first byte to the end, where the frame answers what the server asks first. */
export async function provokeLogin(address: WireAddress, user: string, { bytes }: Frame): Promise<readonly string[]> {
  const client = await WireClient.connect(address);
  try {
    client.send(frontend.startupMessage({ user, database: 'weir' }));
    const messages = [await client.readMessage()];
    client.socket.end(bytes);
    messages.push(...(await client.readUntilEnd()));
    return describeFully(messages, []);
  } finally {
    client.destroy();
  }
}
