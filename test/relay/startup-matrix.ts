// First packets of every kind, and what is said to them: byte by byte, but for what is new in every connection and for where in
// its source PostgreSQL found an error.

import { connect } from 'node:net';
import * as frontend from '../support/frontend-messages.ts';
import type { BackendMessage } from '../support/transcript.ts';
import type { WireAddress } from '../support/wire-client.ts';
import { describeFully } from './differential.ts';

export interface Opening {
  readonly name: string;
  /** Sent one after the other; each but the last is answered by one byte that is awaited. */
  readonly packets: readonly Buffer[];
}

const { int32, packet, sslRequest, gssencRequest } = frontend;

const version = (major: number, minor: number): Buffer => int32((major << 16) | minor);
const text = (body: string): Buffer => Buffer.from(body, 'latin1');
const startup = (code: Buffer, body: string): Buffer => packet(code, text(body));

const VERSIONS: readonly (readonly [string, Buffer, string])[] = [
  ['2.0', version(2, 0), ''],
  ['3.0', version(3, 0), ''],
  ['3.1', version(3, 1), ''],
  ['3.2', version(3, 2), ''],
  ['3.3', version(3, 3), ''],
  ['3.9999', version(3, 9999), '_pq_.test_protocol_negotiation\0\0'],
  ['4.0', version(4, 0), ''],
  ['0.0', version(0, 0), ''],
  ['1.0', version(1, 0), ''],
  ['4660.22136', version(0x1234, 0x5678), ''],
];

const [ssl, gss] = [sslRequest(), gssencRequest()];
const PREAMBLES: readonly (readonly [string, readonly Buffer[]])[] = [
  ['nothing', []],
  ['SSLRequest', [ssl]],
  ['GSSENCRequest', [gss]],
  ['GSSENCRequest and SSLRequest', [gss, ssl]],
  ['SSLRequest and GSSENCRequest', [ssl, gss]],
];

const USER = 'user\0weir\0database\0weir\0';
const fill = (bytes: number): string => 'x'.repeat(bytes);
/** A packet of so many bytes, its length word included. */
const ofLength = (bytes: number): string =>
  `${USER}application_name\0${fill(bytes - 8 - USER.length - 'application_name'.length - 3)}\0\0`;

const BODIES: readonly (readonly [string, string])[] = [
  ['user and database', `${USER}\0`],
  ['a user alone', 'user\0weir\0\0'],
  ['an empty database', 'user\0weir\0database\0\0\0'],
  ['no user', 'database\0weir\0\0'],
  ['an empty user', 'user\0\0database\0weir\0\0'],
  ['nothing', ''],
  ['only a terminator', '\0'],
  ['no terminator', USER],
  ['a value without its end', 'user\0weir'],
  ['a name without a value', `${USER}application_name\0`],
  ['bytes behind the terminator', `${USER}\0\0`],
  ['a user given twice', 'user\0nobody\0user\0weir\0database\0weir\0\0'],
  ['a database given twice', 'user\0weir\0database\0nowhere\0database\0weir\0\0'],
  ['a setting given twice', `${USER}application_name\0a\0application_name\0b\0\0`],
  ['a user longer than a name', `user\0weir${fill(100)}\0database\0weir\0\0`],
  ['a user who is not there', 'user\0nobody at all\0database\0weir\0\0'],
  ['a database that is not there', 'user\0weir\0database\0nowhere\0\0'],
  ['a setting that is not there', `${USER}no_such_setting\x001\0\0`],
  ['a value that no setting takes', `${USER}work_mem\0much\0\0`],
  ['protocol options', `${USER}_pq_.one\x001\0_pq_.two\0\0\0`],
  ['protocol options and no user', '_pq_.one\x001\0\0'],
  ['options', `${USER}options\0-c work_mem=1MB --geqo=off -c search_path=a,b\0\0`],
  ['options with an escaped blank', `${USER}options\0-c application_name=a\\ b\0\0`],
  ['options of a setting that is not there', `${USER}options\0-c no_such_setting=1\0\0`],
  ['options that are none', `${USER}options\0--\0\0`],
  ['an encoding', `${USER}client_encoding\0LATIN1\0\0`],
  ['an encoding that is not there', `${USER}client_encoding\0KLINGON\0\0`],
  ['bytes that are no UTF-8', `${USER}application_name\0\xe9\xff\0\0`],
  ['a bad word for replication', `${USER}replication\0maybe\0\0`],
  ['an empty name', `${USER}\0x\0\0`],
  ['a value of 9,000 bytes', `${USER}search_path\0${fill(9_000)}\0\0`],
  ['10,000 bytes', ofLength(10_000)],
  ['10,004 bytes', ofLength(10_004)],
  ['10,005 bytes', ofLength(10_005)],
];

const CANCEL = frontend.CANCEL_REQUEST_CODE;
const RAW: readonly (readonly [string, readonly Buffer[]])[] = [
  ['nothing', [Buffer.alloc(0)]],
  ...[-2_147_483_648, -1, 0, 3, 4, 7, 10_005, 2_147_483_647].map(
    (length) => [`a length of ${length}`, [Buffer.concat([int32(length), Buffer.alloc(20)])]] as const,
  ),
  ['three bytes', [Buffer.from([0, 0, 0])]],
  ['half a packet', [startup(version(3, 0), `${USER}\0`).subarray(0, 20)]],
  ['an HTTP request', [Buffer.from('GET / HTTP/1.1\r\n\r\n')]],
  ['a message', [frontend.query('SELECT 1')]],
  ['SSLRequest twice', [ssl, ssl]],
  ['GSSENCRequest twice', [gss, gss]],
  ['SSLRequest around GSSENCRequest', [ssl, gss, ssl]],
  [
    'SSLRequest with a body',
    [packet(int32(frontend.SSL_REQUEST_CODE), Buffer.alloc(9)), startup(version(3, 0), `${USER}\0`)],
  ],
  ['SSLRequest and a startup message in one', [Buffer.concat([ssl, startup(version(3, 0), `${USER}\0`)])]],
  ['GSSENCRequest and a startup message in one', [Buffer.concat([gss, startup(version(3, 0), `${USER}\0`)])]],
  ['SSLRequest and then a cancel', [ssl, frontend.cancelRequest(1, Buffer.alloc(4))]],
  ...[0, 1, 3, 4, 32, 256, 257].map(
    (bytes) => [`a cancel with ${bytes} bytes of key`, [frontend.cancelRequest(1, Buffer.alloc(bytes))]] as const,
  ),
  ['a cancel without a process', [packet(int32(CANCEL), Buffer.alloc(2))]],
];

export const OPENINGS: readonly Opening[] = [
  ...VERSIONS.flatMap(([name, code, options]) =>
    PREAMBLES.map(([before, packets]) => ({
      name: `${name} behind ${before}`,
      packets: [...packets, startup(code, `${USER}${options}\0`)],
    })),
  ),
  ...VERSIONS.flatMap(([name, code, options]) =>
    BODIES.map(([what, body]) => ({ name: `${name} with ${what}`, packets: [startup(code, `${options}${body}`)] })),
  ),
  ...RAW.map(([name, packets]) => ({ name, packets })),
];

/** Those that are cut at every byte. */
export const CUT_OPENINGS: readonly Opening[] = [
  { name: 'a startup message', packets: [startup(version(3, 2), `${USER}\0`)] },
  { name: 'a request for another version', packets: [startup(version(3, 9999), `${USER}_pq_.x\0y\0\0`)] },
  { name: 'a bad layout', packets: [startup(version(3, 0), `${USER}\0\0`)] },
  { name: 'an old version', packets: [startup(version(2, 0), `${USER}\0`)] },
  { name: 'SSLRequest and a startup message', packets: [ssl, startup(version(3, 0), `${USER}\0`)] },
];

/** What an open session is asked, to see that it is one; then the goodbye. */
const AFTER = Buffer.concat([frontend.query("SELECT 'in'"), frontend.terminate()]);

/**
 * Everything that is said to the opening and, where it lets the client in, to one query. `cutAt`: the last packet is sent in two
 * pieces, cut there.
 */
export function open(address: WireAddress, { name, packets }: Opening, cutAt?: number): Promise<readonly string[]> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: address.host, port: address.port, noDelay: true });
    const chunks: Buffer[] = [];
    let sent = 0;
    let isAskedAfter = false;
    const timer = setTimeout(() => {
      socket.destroy();
      reject(new Error(`${name}: not over after 10 s; so far ${JSON.stringify(describe(Buffer.concat(chunks)))}`));
    }, 10_000);
    const sendNext = (): void => {
      const next = packets[sent];
      if (next === undefined) return;
      sent++;
      const isLast = sent === packets.length;
      if (!isLast) socket.write(next);
      else if (cutAt === undefined) socket.end(Buffer.concat([next, AFTER]));
      else {
        isAskedAfter = true;
        socket.write(next.subarray(0, cutAt));
        setTimeout(() => socket.end(Buffer.concat([next.subarray(cutAt), AFTER])), 2);
      }
    };
    socket.on('connect', sendNext);
    socket.on('data', (chunk) => {
      chunks.push(chunk);
      if (!isAskedAfter && Buffer.concat(chunks).length === sent) sendNext();
    });
    socket.on('error', () => undefined);
    socket.on('close', () => {
      clearTimeout(timer);
      resolve(describe(Buffer.concat(chunks)));
    });
  });
}

/** Leading bytes that answer requests for encryption, then messages; what cannot be framed as it is. */
function describe(bytes: Buffer): string[] {
  const lines: string[] = [];
  let at = 0;
  while (bytes[at] === 0x4e && (bytes[at + 1] !== 0 || at + 1 === bytes.length)) {
    lines.push('N');
    at++;
  }
  const messages: BackendMessage[] = [];
  while (bytes.length - at >= 5 && bytes.length - at > bytes.readUInt32BE(at + 1)) {
    const end = at + 1 + bytes.readUInt32BE(at + 1);
    messages.push({ type: bytes.toString('latin1', at, at + 1), body: bytes.subarray(at + 5, end) });
    at = end;
  }
  lines.push(
    ...describeFully(messages, []).map((line) =>
      line.startsWith('ErrorResponse') ? line.replace(/ #\w+$/, '') : line,
    ),
  );
  if (at < bytes.length) lines.push(`as it came: ${bytes.toString('latin1', at)}`);
  return lines;
}
