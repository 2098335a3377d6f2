// A client must not be able to tell that it is talking to a proxy: every program says the same to it through pgweir, with a
// document of 100 rules loaded, as on the bare server, byte for byte.

import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { makeHundredRules } from '../bench/hundred-rules.ts';
import { sharedPostgres } from '../support/shared-postgres.ts';
import { startTestWeir, type TestWeir } from '../support/weir.ts';
import { type Program, runProgram } from './differential.ts';
import { type PiecemealTarget, startPiecemealTarget } from './piecemeal-target.ts';
import { FIXTURE, PROGRAMS, RESET } from './programs.ts';

const postgres = sharedPostgres();
const bare = { host: postgres.host, port: postgres.primaryPort };
/** Every statement under a kill rule: the gate that keeps later messages back must not be seen either. */
const KILL_ALL = `
traffic_control:
  rules: [ { name: all, match: {}, action: kill_after_ms, timeout_ms: 60000 } ]
`;
let hundred: TestWeir;
let killing: TestWeir;
let pieces: PiecemealTarget;
let piecemeal: TestWeir;

beforeAll(async () => {
  await postgres.query(FIXTURE);
  hundred = await startTestWeir({ postgres, rules: makeHundredRules() });
  killing = await startTestWeir({ postgres, rules: KILL_ALL });
  pieces = await startPiecemealTarget(bare, 3);
  piecemeal = await startTestWeir({ postgres: pieces, rules: makeHundredRules() });
});

afterAll(async () => {
  await hundred?.stop();
  await killing?.stop();
  await piecemeal?.stop();
  await pieces?.stop();
});

beforeEach(() => postgres.query(RESET));

/** One byte at a time where the program is short enough; long ones in some hundred pieces. */
function pieceBytesOf(program: Program): number {
  const longest = Math.max(...program.steps.map(({ send }) => send.length));
  return longest < 3_000 ? 1 : Math.ceil(longest / 300);
}

describe.each(PROGRAMS)('$name', (program) => {
  test('is answered as by the bare server, however its bytes are cut', async () => {
    const expected = await runProgram(bare, program);
    const compare = async (way: string, weir: TestWeir, pieceBytes?: number): Promise<void> => {
      await postgres.query(RESET);
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
