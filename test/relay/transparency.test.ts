// A client must not be able to tell that it is talking to a proxy: every program says the same to it through pgweir, with a
// document of 100 rules loaded, as on the bare server, byte for byte.

import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import * as frontend from '../support/frontend-messages.ts';
import { sharedPostgres } from '../support/shared-postgres.ts';
import type { TestWeir } from '../support/weir.ts';
import { type Program, runProgram } from './differential.ts';
import { PROGRAMS } from './programs.ts';
import { compareRandomPrograms, type Proxies, searchForEvasions, startProxies } from './random-runs.ts';

const postgres = sharedPostgres();
const bare = { host: postgres.host, port: postgres.primaryPort };
let proxies: Proxies;

beforeAll(async () => {
  proxies = await startProxies(postgres);
});

afterAll(() => proxies?.stop());

beforeEach(() => proxies.reset());

/** One byte at a time where the program is short enough; long ones in some hundred pieces. */
function pieceBytesOf(program: Program): number {
  const longest = Math.max(...program.steps.map(({ send }) => send.length));
  return longest < 3_000 ? 1 : Math.ceil(longest / 300);
}

describe.each(PROGRAMS)('$name', (program) => {
  test('is answered as by the bare server, however its bytes are cut', async () => {
    const [hundred, killing, piecemeal] = proxies.weirs;
    const expected = await runProgram(bare, program);
    const compare = async (way: string, weir: TestWeir | undefined, pieceBytes?: number): Promise<void> => {
      if (weir === undefined) throw new Error(`no proxy for ${way}`);
      await proxies.reset();
      const options = { deadlineMs: 4_000, ...(pieceBytes === undefined ? {} : { pieceBytes }) };
      expect(await runProgram(weir, program, options), way).toEqual(expected);
      expect(weir.control.sessions(), way).toEqual([]);
    };
    await compare('whole', hundred);
    await compare('in pieces from the client', hundred, pieceBytesOf(program));
    await compare('in pieces from the server', piecemeal);
    await compare('under a kill rule', killing);
    await compare('under a kill rule, in pieces', killing, Math.max(7, pieceBytesOf(program)));
  });
});

test('a setting of two megabytes that the server reports is set and told as by the bare server', async () => {
  const long = `'${'x'.repeat(2 << 20)}'`;
  const steps = [`SET search_path = ${long}`, 'RESET search_path', 'SELECT 1'];
  const program = { name: 'a long path', steps: steps.map((sql) => ({ send: frontend.query(sql), until: 1 })) };
  const expected = await runProgram(bare, program);
  for (const weir of proxies.weirs.slice(0, 2)) expect(await runProgram(weir, program)).toEqual(expected);
});

test('random programs are answered as by the bare server, refused statements among them', async () => {
  await compareRandomPrograms(postgres, proxies, 120);
}, 60_000);

test('no order of messages slips a denied statement past its rule, or leaves a client waiting', async () => {
  await searchForEvasions(proxies, 100);
}, 60_000);
