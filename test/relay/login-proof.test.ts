// Clients that pgweir itself asks for a proof, against a server that asks in the same way: every right and wrong answer gets
// the same messages and the same end.

import { createHash, createHmac, pbkdf2Sync } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createLog } from '../../src/base/log.ts';
import type { Settings } from '../../src/config/settings.ts';
import * as frontend from '../support/frontend-messages.ts';
import { answerMd5 } from '../support/password-login.ts';
import { startPostgres, type TestPostgres } from '../support/postgres.ts';
import { transcribe } from '../support/transcript.ts';
import { startTestWeir, type TestWeir } from '../support/weir.ts';
import { ConnectionEnded, type LoginOptions, type WireAddress, WireClient } from '../support/wire-client.ts';

/** The database decides how the server asks. */
const DATABASES = { scram: 'asks_scram', md5: 'asks_md5' } as const;
type Mode = keyof typeof DATABASES;

const PASSWORD = 'right ✓ password';
const QUERY = 'SELECT CASE WHEN rolvaliduntil < now() THEN NULL ELSE rolpassword END FROM pg_authid WHERE rolname = $1';
const query: Settings['auth']['query'] = {
  user: 'weir',
  database: 'postgres',
  text: QUERY,
  cacheMs: 10_000,
  maxCachedUsers: 100,
};
/** Newer than any server. */
const GREASED = (3 << 16) | 9999;
const LONG_NAME = 'a'.repeat(63);

let postgres: TestPostgres;
let folder: string;
const weirs = new Map<string, TestWeir>();
const logged: string[] = [];
let verifiers: string[] = [];

beforeAll(async () => {
  postgres = await startPostgres({
    hbaLines: [
      'host all weir all trust',
      `host ${DATABASES.scram} all all scram-sha-256`,
      `host ${DATABASES.md5} all all md5`,
    ],
  });
  const quoted = `'${PASSWORD}'`;
  for (const sql of [
    `CREATE DATABASE ${DATABASES.scram}`,
    `CREATE DATABASE ${DATABASES.md5}`,
    `CREATE ROLE anna LOGIN PASSWORD ${quoted}`,
    `CREATE ROLE "${LONG_NAME}" LOGIN PASSWORD ${quoted}`,
    `CREATE ROLE expired LOGIN PASSWORD ${quoted} VALID UNTIL '2001-01-01'`,
    `CREATE ROLE nologin NOLOGIN PASSWORD ${quoted}`,
    'CREATE ROLE passwordless LOGIN',
    `CREATE ROLE crowded LOGIN PASSWORD ${quoted} CONNECTION LIMIT 0`,
    `SET password_encryption = 'md5'; CREATE ROLE old_one LOGIN PASSWORD ${quoted}`,
  ])
    await postgres.query(sql);
  folder = await mkdtemp(join(tmpdir(), 'weir-proof-'));
  const { rows } = await postgres.query('SELECT rolname, rolpassword FROM pg_authid WHERE rolpassword IS NOT NULL');
  verifiers = rows.map(({ rolpassword }) => String(rolpassword));
  const lines = rows
    .filter(({ rolname }) => rolname !== 'expired')
    .map(({ rolname, rolpassword }) => `"${String(rolname)}" "${String(rolpassword)}"`);
  const text = `; made by a test\n${lines.join('\n')}\n"plainly" "${PASSWORD}"\n`;
  await writeFile(join(folder, 'users'), text);
  const log = createLog('debug', { write: (line) => logged.push(line) });
  for (const mode of ['scram', 'md5'] as const) {
    const byFile = { mode, usersFile: { path: join(folder, 'users'), text } };
    const byQuery = { mode, query };
    for (const [source, auth] of Object.entries({ file: byFile, query: byQuery }))
      weirs.set(`${mode} ${source}`, await startTestWeir({ postgres, settings: { auth }, log }));
  }
});

afterAll(async () => {
  for (const weir of weirs.values()) {
    const pages = ['metrics'].map((path) => `${weir.healthUrl}/${path}`);
    pages.push(...['sessions', 'targets', 'decisions', 'observations'].map((path) => `${weir.adminUrl}/${path}`));
    for (const page of pages) logged.push(await (await fetch(page)).text());
    await weir.stop();
  }
  // Of everything above: what was tried, right or wrong, and what it was checked by.
  const log = logged.join('');
  expect(log).toContain('a login was refused');
  expect(log).toContain('# TYPE pgweir_');
  expect(log).toContain('the database refused a login');
  for (const secret of [PASSWORD, 'wrong', ...verifiers]) expect(log).not.toContain(secret);
  expect(log).not.toMatch(/SCRAM-SHA-256\$|\bmd5[0-9a-f]{32}|[A-Za-z0-9+/]{43}=/);
  await postgres.stop();
  await rm(folder, { recursive: true, force: true });
});

function addressOf(mode: Mode, source: string): WireAddress {
  const weir = weirs.get(`${mode} ${source}`);
  if (weir === undefined) throw new Error(`no pgweir for ${mode} by ${source}`);
  return weir;
}

async function tellLogin(address: WireAddress, options: LoginOptions): Promise<string[]> {
  const client = await WireClient.connect(address);
  try {
    return transcribe(await client.startup(options));
  } finally {
    client.destroy();
  }
}

/** What the client says next, given the body of the last Authentication message. */
type Answer = (asked: Buffer) => Buffer;

/** Startup, then one answer after each question; all that was said, and how it ended. */
async function converse(address: WireAddress, options: LoginOptions, answers: readonly Answer[]): Promise<string[]> {
  const client = await WireClient.connect(address);
  const { user = 'anna', database = '' } = options;
  const told: string[] = [];
  try {
    client.send(frontend.startupMessage({ user, database }, options.version));
    const left = [...answers];
    for (;;) {
      const message = await client.readMessage();
      told.push(...transcribe([message]));
      if (message.type === 'Z') return [...told, 'stays open'];
      if (message.type !== 'R') continue;
      const code = message.body.readInt32BE(0);
      const answer = code === 0 || code === 12 ? undefined : left.shift();
      if (answer !== undefined) client.send(answer(message.body.subarray(4)));
    }
  } catch (error) {
    if (error instanceof ConnectionEnded) return [...told, 'closed'];
    throw error;
  } finally {
    client.destroy();
  }
}

const hmac = (key: Buffer, text: string): Buffer => createHmac('sha256', key).update(text, 'latin1').digest();
const initial = (first: string, mechanism = 'SCRAM-SHA-256', length?: number): Buffer =>
  frontend.message(
    'p',
    frontend.cstring(mechanism),
    frontend.int32(length ?? Buffer.byteLength(first, 'latin1')),
    Buffer.from(first, 'latin1'),
  );
const response = (text: string): Buffer => frontend.message('p', Buffer.from(text, 'latin1'));

const BARE = 'n=,r=clientnonce';

/** client-final for the server-first in `asked`; `shape` may spoil it. */
function final(
  asked: Buffer,
  shape: (parts: { c: string; r: string; proof: string }) => string = ({ c, r, proof }) => `c=${c},r=${r},p=${proof}`,
  extra = '',
): Buffer {
  const serverFirst = asked.toString('latin1');
  const [r = '', s = '', i = ''] = serverFirst.split(',').map((part) => part.slice(2));
  const salted = pbkdf2Sync(PASSWORD.normalize('NFKC'), Buffer.from(s, 'base64'), Number(i), 32, 'sha256');
  const clientKey = hmac(salted, 'Client Key');
  const authMessage = `${BARE},${serverFirst},c=biws,r=${r}${extra}`;
  const signature = hmac(createHash('sha256').update(clientKey).digest(), authMessage);
  const proof = Buffer.from(clientKey.map((byte, index) => byte ^ (signature[index] ?? 0))).toString('base64');
  return response(shape({ c: 'biws', r, proof }));
}

const begin: Answer = () => initial(`n,,${BARE}`);

describe.each(['file', 'query'])('with verifiers by %s', (source) => {
  describe.each(['scram', 'md5'] as const)('and auth %s', (mode) => {
    const database = DATABASES[mode];
    test.each<[string, LoginOptions]>([
      ['the right password', { user: 'anna', password: PASSWORD }],
      ['the right password and protocol 3.2', { user: 'anna', password: PASSWORD, version: frontend.PROTOCOL_3_2 }],
      ['protocol 3.9999', { user: 'anna', password: PASSWORD, version: GREASED }],
      ['a protocol option', { user: 'anna', password: PASSWORD, parameters: { '_pq_.one': '1', '_pq_.two': '' } }],
      ['a setting', { user: 'anna', password: PASSWORD, parameters: { application_name: 'x' } }],
      ['a wrong password', { user: 'anna', password: 'wrong' }],
      ['an empty password', { user: 'anna', password: '' }],
      ['an overlong password', { user: 'anna', password: 'x'.repeat(100_000) }],
      ['an unknown user', { user: 'nobody', password: PASSWORD }],
      ['a name of 63 bytes', { user: LONG_NAME, password: PASSWORD }],
      ['a name that is cut to 63 bytes', { user: `${LONG_NAME}bc`, password: PASSWORD }],
      ['a user with a quote and a backslash', { user: `"'\\;--`, password: PASSWORD }],
      ['an expired password', { user: 'expired', password: PASSWORD }],
      ['a role that may not log in', { user: 'nologin', password: PASSWORD }],
      ['a role that may not log in, wrong password', { user: 'nologin', password: 'wrong' }],
      ['a role without a password', { user: 'passwordless', password: PASSWORD }],
      ['a role without a place left', { user: 'crowded', password: PASSWORD }],
      ['an md5 verifier', { user: 'old_one', password: PASSWORD }],
      ['an md5 verifier and a wrong password', { user: 'old_one', password: 'wrong' }],
      ['an unknown database', { user: 'anna', password: PASSWORD, database: 'nowhere' }],
      ['a setting that does not exist', { user: 'anna', password: PASSWORD, parameters: { no_such: '1' } }],
    ])('%s gets what the bare server gives', async (_name, options) => {
      const told = await tellLogin(addressOf(mode, source), { database, ...options });
      // The server decides by the database how it asks: in an unknown one it would ask nobody.
      const isAsked = options.database === undefined;
      const direct = await tellLogin(postgres, { database, ...options });
      const asked = (line: string): boolean => isAsked || !/Authentication SASL/.test(line);
      expect(told.filter(asked)).toEqual(direct);
      const isNegotiated = options.version === GREASED || options.parameters?.['_pq_.one'] !== undefined;
      expect(told.filter((line) => line.startsWith('Negotiate'))).toHaveLength(isNegotiated ? 1 : 0);
    });
  });

  test.each<[string, readonly Answer[], number?]>([
    ['a right exchange', [begin, (asked) => final(asked)]],
    [
      'an extension in client-final',
      [begin, (asked) => final(asked, ({ c, r, proof }) => `c=${c},r=${r},x=1,p=${proof}`, ',x=1')],
    ],
    [
      'an extension that the proof does not cover',
      [begin, (asked) => final(asked, ({ c, r, proof }) => `c=${c},r=${r},x=1,p=${proof}`)],
    ],
    [
      'no initial response, then one',
      [() => initial('', 'SCRAM-SHA-256', -1), () => response(`n,,${BARE}`), (asked) => final(asked)],
    ],
    ['a y flag without TLS', [() => initial('y,,n=,r=x'), () => response('c=eSws,r=x,p=AAAA')]],
    ['a flag that changes', [() => initial('y,,n=,r=x'), (asked) => final(asked)]],
    ['-PLUS without TLS', [() => initial(`p=tls-server-end-point,,${BARE}`, 'SCRAM-SHA-256-PLUS')]],
    ['an unknown mechanism', [() => initial(`n,,${BARE}`, 'SCRAM-SHA-1')]],
    ['no mechanism', [() => initial(`n,,${BARE}`, '')]],
    ['an unknown mechanism with a bad length', [() => initial(`n,,${BARE}`, 'X', 7)]],
    ['a mechanism without an end', [() => frontend.message('p', Buffer.from('SCRAM-SHA-256'))]],
    ['no length', [() => frontend.message('p', frontend.cstring('SCRAM-SHA-256'))]],
    ['half a length', [() => frontend.message('p', frontend.cstring('SCRAM-SHA-256'), Buffer.alloc(2))]],
    ['a length that is too long', [() => initial(`n,,${BARE}`, 'SCRAM-SHA-256', 9999)]],
    ['a length that is too short', [() => initial(`n,,${BARE}`, 'SCRAM-SHA-256', 3)]],
    ['a length of -2', [() => initial('', 'SCRAM-SHA-256', -2)]],
    ['a length of -1 with a response', [() => initial(`n,,${BARE}`, 'SCRAM-SHA-256', -1)]],
    ['an empty message', [() => frontend.message('p')]],
    ['an empty client-first', [() => initial('')]],
    ...[
      'x,,n=,r=a',
      'n',
      'n,',
      'n,,',
      'nx,n=,r=a',
      'n,a=bob,n=,r=a',
      'n,b,n=,r=a',
      'n,,m=1,n=,r=a',
      'n,,r=a',
      'n,,n,r=a',
      'n,,n=,x=a',
      'n,,n=,r=a\x01b',
      'n,,n=,r=\u00e4',
      'n,,n=,r=a,1=2',
      'n,,n=,r=a,x',
      'n,,n=,r=a,x=1,',
      'n,,n=,r=a\0b',
      'p=tls-unique,,n=,r=a',
      '\u00ff',
      '\x01,,n=,r=a',
      ' ',
      ',',
      'n,,n=u,r=',
      `n,,n=,r=${'r'.repeat(900)}`,
    ].map((first): [string, readonly Answer[]] => [
      `client-first ${JSON.stringify(first.slice(0, 30))}`,
      [() => initial(first), (asked) => final(asked)],
    ]),
    ['-PLUS with another binding', [() => initial(`p=tls-unique,,${BARE}`, 'SCRAM-SHA-256-PLUS')]],
    ['a wrong nonce', [begin, (asked) => final(asked, ({ c, proof }) => `c=${c},r=other,p=${proof}`)]],
    [
      'a nonce that is cut',
      [begin, (asked) => final(asked, ({ c, r, proof }) => `c=${c},r=${r.slice(0, -1)},p=${proof}`)],
    ],
    ['a nonce that goes on', [begin, (asked) => final(asked, ({ c, r, proof }) => `c=${c},r=${r}x,p=${proof}`)]],
    ['a wrong binding', [begin, (asked) => final(asked, ({ r, proof }) => `c=AAAA,r=${r},p=${proof}`)]],
    ['no binding', [begin, (asked) => final(asked, ({ r, proof }) => `r=${r},p=${proof}`)]],
    ['no proof', [begin, (asked) => final(asked, ({ c, r }) => `c=${c},r=${r}`)]],
    ['an empty proof', [begin, (asked) => final(asked, ({ c, r }) => `c=${c},r=${r},p=`)]],
    ['half a proof', [begin, (asked) => final(asked, ({ c, r, proof }) => `c=${c},r=${r},p=${proof.slice(0, 20)}`)]],
    [
      'base64 that is cut',
      [begin, (asked) => final(asked, ({ c, r, proof }) => `c=${c},r=${r},p=${proof.slice(0, -1)}`)],
    ],
    ['what is no base64', [begin, (asked) => final(asked, ({ c, r }) => `c=${c},r=${r},p=${'*'.repeat(44)}`)]],
    [
      'something behind the proof',
      [begin, (asked) => final(asked, ({ c, r, proof }) => `c=${c},r=${r},p=${proof},x=1`)],
    ],
    ['a NUL in client-final', [begin, (asked) => final(asked, ({ c, r, proof }) => `c=${c},r=${r},p=${proof}\0`)]],
    ['an empty client-final', [begin, () => response('')]],
    [
      'a bad attribute in client-final',
      [begin, (asked) => final(asked, ({ c, r, proof }) => `c=${c},r=${r},1=1,p=${proof}`)],
    ],
    ['client-first twice', [begin, begin]],
    [
      'a wrong proof',
      [begin, (asked) => final(asked, ({ c, r }) => `c=${c},r=${r},p=${Buffer.alloc(32).toString('base64')}`)],
    ],
    ['a query in its place', [() => frontend.query('SELECT 1')]],
    ['a query in place of client-final', [begin, () => frontend.query('SELECT 1')]],
    ['an unknown message', [() => frontend.message('!')]],
    ['a message of 1,025 bytes', [() => frontend.message('p', Buffer.alloc(1021))]],
    ['a message of 1,024 bytes', [() => frontend.message('p', Buffer.alloc(1020))]],
    ['a client-final of 1,025 bytes', [begin, () => frontend.message('p', Buffer.alloc(1021))]],
    ['a message of 65,536 bytes', [() => frontend.messageWithLength('p', 65_536)]],
    ['a length word of 3', [() => frontend.messageWithLength('p', 3)]],
    ['a length word of -1', [() => frontend.messageWithLength('p', -1)]],
    ['a length word of 1 GB', [() => frontend.messageWithLength('p', 1 << 30)]],
    ['a password', [() => frontend.password(PASSWORD)]],
  ])('a SCRAM client that sends %s gets what the bare server gives', async (_name, answers) => {
    for (const user of ['anna', 'nobody', 'expired']) {
      const options = { user, database: DATABASES.scram };
      const told = await converse(addressOf('scram', source), options, answers);
      expect(told).toEqual(await converse(postgres, options, answers));
    }
  });

  test.each<[string, Answer]>([
    ['the right answer', (salt) => frontend.password(answerMd5('old_one', PASSWORD, salt))],
    ['a wrong answer', (salt) => frontend.password(answerMd5('old_one', 'wrong', salt))],
    ['an answer for another user', (salt) => frontend.password(answerMd5('anna', PASSWORD, salt))],
    ['the bare password', () => frontend.password(PASSWORD)],
    ['nothing', () => frontend.password('')],
    ['an empty message', () => frontend.message('p')],
    ['no NUL', (salt) => frontend.message('p', Buffer.from(answerMd5('old_one', PASSWORD, salt)))],
    [
      'two NULs',
      (salt) => frontend.message('p', frontend.cstring(answerMd5('old_one', PASSWORD, salt)), Buffer.alloc(1)),
    ],
    ['10,000 bytes', () => frontend.password('x'.repeat(10_000))],
    ['65,531 bytes', () => frontend.password('x'.repeat(65_530))],
    ['65,532 bytes', () => frontend.messageWithLength('p', 65_536)],
    ['a length word of 3', () => frontend.messageWithLength('p', 3)],
    ['a query', () => frontend.query('SELECT 1')],
    ['a SASL message', () => initial(`n,,${BARE}`)],
  ])('an md5 client that sends %s gets what the bare server gives', async (_name, answer) => {
    const options = { user: 'old_one', database: DATABASES.md5 };
    const told = await converse(addressOf('md5', source), options, [answer]);
    expect(told).toEqual(await converse(postgres, options, [answer]));
  });
});
