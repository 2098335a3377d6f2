// What an Execute or FETCH runs is what the server has under that name, whatever pgweir was sent for it since: a Bind, a unit
// of work or a DECLARE that fails, or is skipped, leaves the portal that was there. The kill rule shows which one was judged.

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import * as frontend from '../support/frontend-messages.ts';
import { sharedPostgres } from '../support/shared-postgres.ts';
import { type BackendMessage, readFields } from '../support/transcript.ts';
import { startTestWeir, type TestWeir } from '../support/weir.ts';
import { type WireAddress, WireClient } from '../support/wire-client.ts';

const postgres = sharedPostgres();
const bare: WireAddress = { host: postgres.host, port: postgres.primaryPort };
/** Takes no time past pgweir, where nothing would end it. */
const SLEEP =
  "SELECT pg_sleep(CASE current_setting('application_name') WHEN 'bare' THEN 0 ELSE 2 END) AS portal_killed";
const RULES = `
traffic_control:
  rules:
    - { name: not_for_long, match: { query_regex: portal_killed }, action: kill_after_ms, timeout_ms: 100 }
    - { name: none_inside, match: { query_regex: portal_inside, in_transaction: true }, action: deny }
`;

const { parse, bind, execute, describePortal, closePortal, flush, sync, query } = frontend;

/** What is sent at once, and the messages that end the answer: so many ReadyForQuery, or one of that type. */
type Turn = { readonly bytes: Buffer; readonly until: number | string };
const turn = (until: number | string, ...parts: readonly Buffer[]): Turn => ({ bytes: Buffer.concat(parts), until });
type Program = readonly [name: string, turns: readonly Turn[]];

const inLatin1 = (text: string): Buffer => Buffer.from(`${text}\0`, 'latin1');
const unit = (statement: string): Buffer => Buffer.concat([bind({ statement }), execute(), sync()]);
const run = (statement: string, portal: string): Buffer =>
  Buffer.concat([bind({ statement, portal }), execute(portal)]);

const prepared = turn(
  1,
  parse(SLEEP, 's'),
  parse('SELECT 1', 't'),
  parse('SAVEPOINT a', 'savepoint'),
  parse('ROLLBACK TO a', 'back'),
  parse('DECLARE p CURSOR FOR SELECT 1', 'cursor'),
  parse('FETCH ALL FROM p', 'fetch'),
  sync(),
);
const broken = parse('SELEC');
const back = Buffer.concat([run('back', 'r'), sync()]);
const again = (portal: string): Buffer => Buffer.concat([execute(portal), sync()]);
const open = (portal: string): Buffer =>
  Buffer.concat([query('BEGIN'), bind({ statement: 's', portal }), run('savepoint', 'x'), sync()]);

/** Over a portal of the sleep something fails that would have had its name; then the portal runs. */
const OVER: readonly (readonly [name: string, portal: string, failing: Buffer, last?: Buffer])[] = [
  ['a unit that is skipped', '', Buffer.concat([broken, unit('t')])],
  ['a Bind that is skipped', '', Buffer.concat([broken, bind({ statement: 't' }), sync()])],
  [
    'a Bind and its Execute that are skipped',
    '',
    Buffer.concat([broken, bind({ statement: 't' }), flush(), unit('t')]),
  ],
  ['a unit of a statement that nobody has', '', unit('nobody')],
  ['a Bind with a name that is skipped', 'p', Buffer.concat([broken, bind({ statement: 't', portal: 'p' }), sync()])],
  ['a Bind whose name is taken', 'p', Buffer.concat([bind({ statement: 't', portal: 'p' }), sync()])],
  [
    'a Bind whose name is taken, fetched from',
    'p',
    Buffer.concat([bind({ statement: 't', portal: 'p' }), sync()]),
    query('FETCH ALL FROM p'),
  ],
  [
    'a Bind whose name is taken, fetched from by EXECUTE of a FETCH',
    'p',
    Buffer.concat([bind({ statement: 't', portal: 'p' }), sync()]),
    query('EXECUTE "fetch"'),
  ],
  [
    'a Bind whose name is taken, fetched from by a prepared FETCH',
    'p',
    Buffer.concat([bind({ statement: 't', portal: 'p' }), sync()]),
    unit('fetch'),
  ],
  ['a DECLARE whose name is taken', 'p', query('DECLARE p CURSOR FOR SELECT 1')],
  ['a prepared DECLARE whose name is taken', 'p', unit('cursor')],
  ['a DECLARE in a Query that fails before it', 'p', query('SELECT 1 / 0; DECLARE p CURSOR FOR SELECT 1')],
];

const KILLED: readonly Program[] = [
  [
    'a portal that was bound behind a Close of the one before',
    [
      turn('T', parse(SLEEP, 's'), closePortal(), bind({ statement: 's' }), describePortal(), flush()),
      turn(1, execute(), sync()),
    ],
  ],
  ...OVER.flatMap(([name, portal, failing, last = again(portal)]): Program[] => [
    [`the portal under ${name}`, [prepared, turn(2, open(portal)), turn(1, failing), turn(1, back), turn(1, last)]],
    [`the portal under ${name}, all at once`, [prepared, turn(5, open(portal), failing, back, last)]],
  ]),
  [
    'a cursor that was declared before another statement of its Query failed',
    [
      prepared,
      turn(1, query('BEGIN')),
      turn(1, query(`DECLARE p CURSOR FOR ${SLEEP}; SAVEPOINT a; SELECT 1 / 0`)),
      turn(1, back),
      turn(1, again('p')),
    ],
  ],
  [
    'a cursor that is declared again in the Query that closes it',
    [
      turn(1, query('BEGIN')),
      turn(1, query(`DECLARE p CURSOR FOR SELECT 1; CLOSE p; DECLARE p CURSOR FOR ${SLEEP}`)),
      turn(1, again('p')),
    ],
  ],
  [
    'EXECUTE of an EXECUTE',
    [turn(1, parse(SLEEP, 's'), sync()), turn(1, parse('EXECUTE s', 'e'), sync()), turn(1, query('EXECUTE e'))],
  ],
  [
    'EXECUTE of a FETCH',
    [
      turn(1, parse('FETCH ALL FROM p', 'fetch'), sync()),
      turn(2, query('BEGIN'), query(`DECLARE p CURSOR FOR ${SLEEP}`)),
      turn(1, query('EXECUTE "fetch"')),
    ],
  ],
  ['EXECUTE of a Parse by a name with é', [turn(1, parse(SLEEP, 'é'), sync()), turn(1, query('EXECUTE "é"'))]],
  ['EXECUTE of a PREPARE by a name with é', [turn(1, query(`PREPARE "é" AS ${SLEEP}`)), turn(1, query('EXECUTE "é"'))]],
  [
    'FETCH from a portal by a name with é',
    [
      turn(1, query('BEGIN')),
      turn(1, parse(SLEEP, 's'), bind({ statement: 's', portal: 'é' }), sync()),
      turn(1, query('FETCH ALL FROM "é"')),
    ],
  ],
  [
    'an Execute of a cursor by a name with é',
    [turn(1, query('BEGIN')), turn(1, query(`DECLARE "é" CURSOR FOR ${SLEEP}`)), turn(1, again('é'))],
  ],
  [
    'an Execute of a cursor by a name with é in Latin-1',
    [
      turn(2, query("SET client_encoding = 'LATIN1'"), query('BEGIN')),
      turn(1, frontend.message('Q', inLatin1(`DECLARE "é" CURSOR FOR ${SLEEP}`))),
      turn(1, frontend.message('E', inLatin1('é'), frontend.int32(0)), sync()),
    ],
  ],
  [
    'FETCH from a portal by a name with é in Latin-1',
    [
      turn(2, query("SET client_encoding = 'LATIN1'"), query('BEGIN')),
      turn(1, parse(SLEEP), frontend.message('B', inLatin1('é'), Buffer.alloc(7)), sync()),
      turn(1, frontend.message('Q', inLatin1('FETCH ALL FROM "é"'))),
    ],
  ],
];

const REFUSED: readonly Program[] = [
  [
    'a unit behind COMMIT AND CHAIN',
    [
      turn(1, parse('SELECT 1 AS portal_inside', 'i'), sync()),
      turn(1, query('BEGIN')),
      turn(2, query('COMMIT AND CHAIN'), unit('i')),
    ],
  ],
  [
    'a Query behind ROLLBACK AND CHAIN',
    [turn(1, query('BEGIN')), turn(2, query('ROLLBACK AND CHAIN'), query('SELECT 1 AS portal_inside'))],
  ],
  [
    'a Query behind EXECUTE of an EXECUTE of a BEGIN',
    [
      turn(1, parse('BEGIN', 'b'), sync()),
      turn(1, parse('EXECUTE b', 'e'), sync()),
      turn(2, query('EXECUTE e'), query('SELECT 1 AS portal_inside')),
    ],
  ],
  [
    'a Query behind EXECUTE of a BEGIN',
    [turn(1, parse('BEGIN', 'b'), sync()), turn(2, query('EXECUTE b'), query('SELECT 1 AS portal_inside'))],
  ],
];

const codesOf = (messages: readonly BackendMessage[]): string[] =>
  messages.filter(({ type }) => type === 'E').map(({ body }) => readFields(body).C ?? '');

/** The errors of all turns. */
async function converse(address: WireAddress, turns: readonly Turn[]): Promise<string[]> {
  const client = await WireClient.login(address, {
    parameters: { application_name: address === bare ? 'bare' : 'judged' },
  });
  const codes: string[] = [];
  try {
    for (const { bytes, until } of turns) {
      client.send(bytes);
      codes.push(
        ...codesOf(await (typeof until === 'string' ? client.readUntil(until) : client.readUntilReady(until))),
      );
    }
    return codes;
  } finally {
    await client.end();
  }
}

describe.each(['session', 'transaction'] as const)('in %s mode', (mode) => {
  let weir: TestWeir;

  beforeAll(async () => {
    const pool = mode === 'session' ? {} : { mode, size: 2, affinity: 'avoid' as const };
    weir = await startTestWeir({ postgres, rules: RULES, settings: { pool } });
  });
  afterAll(() => weir?.stop());

  test.each(KILLED)('%s is killed', async (_name, turns) => {
    const [said, expected] = await Promise.all([converse(weir, turns), converse(bare, turns)]);
    expect(said).toEqual([...expected, '57014']);
  });

  test.each(REFUSED)('%s in one piece is in a transaction', async (_name, turns) => {
    expect(await converse(bare, turns)).toEqual([]);
    expect(await converse(weir, turns)).toEqual(['42501']);
  });

  test('a Bind whose names do not come into sight is refused: to the server they are shorter ones', async () => {
    const long = 'p'.repeat(200_000);
    const toPortal = [bind({ statement: 's', portal: long }), execute(long.slice(0, 63)), sync()];
    expect(await converse(weir, [prepared, turn(1, ...toPortal)])).toEqual(['54000']);
    const ofStatement = [parse(SLEEP, long.slice(0, 63)), bind({ statement: long }), execute(), sync()];
    expect(await converse(weir, [turn(1, ...ofStatement)])).toEqual(['54000']);
  });

  test('a statement outside of a transaction is let through by the rule for those inside', async () => {
    const turns = [turn(1, query('BEGIN')), turn(2, query('COMMIT AND NO CHAIN'), query('SELECT 1 AS portal_inside'))];
    expect(await converse(weir, turns)).toEqual([]);
  });
});
