// Runs random programs on the bare server and through several proxies, and compares what was said.

import fc from 'fast-check';
import { expect } from 'vitest';
import { makeHundredRules } from '../bench/hundred-rules.ts';
import { waitFor } from '../support/deadline.ts';
import type { SharedPostgres } from '../support/shared-postgres.ts';
import { startTestWeir, type TestWeir } from '../support/weir.ts';
import { WireClient } from '../support/wire-client.ts';
import { DATABASE, type Program, runProgram } from './differential.ts';
import { type PiecemealTarget, startPiecemealTarget } from './piecemeal-target.ts';
import { FIXTURE, RESET } from './programs.ts';
import {
  DENIED,
  FAILING,
  MASKED,
  makeReady,
  REFUSED,
  REFUSING_RULE,
  randomProgram,
  wildProgram,
} from './random-programs.ts';
import { ServerWatch } from './server-watch.ts';

/** Every statement under a kill rule that never fires: the gate that keeps later messages back must not be seen. */
export const KILL_ALL = `
traffic_control:
  rules:
${REFUSING_RULE}    - { name: all, match: {}, action: kill_after_ms, timeout_ms: 60000 }
`;
export const HUNDRED_AND_ONE = `${makeHundredRules()}${REFUSING_RULE}`;

export interface Proxies {
  readonly weirs: readonly TestWeir[];
  /** Puts the tables back as they were; before each run. */
  reset(): Promise<void>;
  /** Runs one program; where the server itself crashes of it, it is left out, and the server is up again afterwards. */
  survive(run: () => Promise<void>): Promise<void>;
  /** Rows of a query past pgweir, in the database of the programs. */
  rows(sql: string): Promise<(string | null)[][]>;
  stop(): Promise<void>;
}

/** A new database with the tables of the programs, and a connection to put them back. */
async function openDatabase(postgres: SharedPostgres): Promise<WireClient> {
  await postgres.query(`DROP DATABASE IF EXISTS ${DATABASE} WITH (FORCE)`);
  await postgres.query(`CREATE DATABASE ${DATABASE}`);
  const keeper = await WireClient.login({ host: postgres.host, port: postgres.primaryPort }, { database: DATABASE });
  await keeper.rows(FIXTURE);
  return keeper;
}

/** With a hundred rules; with every statement under a kill rule; with a server that speaks in pieces of three bytes. */
export async function startProxies(postgres: SharedPostgres): Promise<Proxies> {
  let keeper = await openDatabase(postgres);
  const address = { host: postgres.host, port: postgres.primaryPort };
  const watch = new ServerWatch(address);
  await watch.begin();
  const pieces: PiecemealTarget = await startPiecemealTarget(address, 3);
  const weirs = [
    await startTestWeir({ postgres, rules: HUNDRED_AND_ONE }),
    await startTestWeir({ postgres, rules: KILL_ALL }),
    await startTestWeir({ postgres: pieces, rules: KILL_ALL }),
  ];
  return {
    weirs,
    async reset() {
      await keeper.rows(RESET);
    },
    rows: (sql) => keeper.rows(sql),
    async survive(run) {
      const { crashes } = watch;
      try {
        await run();
      } catch (error) {
        if (!(await watch.hasCrashed(crashes))) throw error;
        console.log('the server itself crashed: a program is left out');
        keeper = await WireClient.login(address, { database: DATABASE });
      }
    },
    async stop() {
      await watch.end();
      for (const weir of weirs) await weir.stop();
      await pieces.stop();
      await keeper.end();
      await postgres.query(`DROP DATABASE ${DATABASE} WITH (FORCE)`);
    },
  };
}

/** The same program, with statements made ready before the rule that denies them comes into force. */
function denyLater(program: Program, weir: TestWeir): Program {
  const { text } = weir.settings.rules;
  const swap = (rules: string) => (): void => {
    weir.control.rules.post(rules, 'test', { actor: 'test' });
  };
  const [first, ...others] = program.steps;
  if (first === undefined) throw new Error('a program without steps');
  const ready = { ...makeReady(DENIED), before: swap(text.replace(REFUSING_RULE, '')) };
  return {
    name: `made ready before the swap:\n${program.name}`,
    steps: [ready, { ...first, before: swap(text) }, ...others],
  };
}

/**
 * Runs `count` programs of any messages at all, with a denied INSERT in many places, and prints the seed. Throws where one
 * of them ran, where a client waits in vain, or where a session is left.
 */
export async function searchForEvasions(proxies: Proxies, count: number): Promise<void> {
  const seed = Number(process.env.PGWEIR_TEST_SEED ?? Date.now() % 2 ** 31);
  console.log(`random programs against a denied INSERT: seed ${seed}`);
  await fc.assert(
    fc.asyncProperty(wildProgram, fc.nat(proxies.weirs.length - 1), fc.boolean(), (program, which, hasSwap) =>
      proxies.survive(async () => {
        const weir = proxies.weirs[which];
        if (weir === undefined) throw new Error(`there is no proxy ${which}`);
        const { pieceBytes } = program;
        const made = hasSwap ? denyLater(program.make(DENIED), weir) : program.make(DENIED);
        await proxies.reset();
        const place = `proxy ${which}, pieces ${pieceBytes}:\n${made.name}`;
        await runProgram(weir, { ...made, name: place }, pieceBytes === undefined ? {} : { pieceBytes });
        await waitFor(
          () => weir.control.sessions().length === 0,
          2_000,
          () => `a session is left: ${JSON.stringify(weir.control.sessions())} of ${place}`,
        );
        expect(await proxies.rows('SELECT is_called FROM secret_n_seq'), place).toEqual([['f']]);
        expect(weir.control.counters.errors.get('XX000'), `a mistake of pgweir's own: ${place}`).toBeUndefined();
      }),
    ),
    { numRuns: count, seed, endOnFailure: process.env.PGWEIR_TEST_NO_SHRINK !== undefined },
  );
}

/** Runs `count` programs and prints the seed; throws at the first that is answered differently, shrunk, with its seed. */
export async function compareRandomPrograms(postgres: SharedPostgres, proxies: Proxies, count: number): Promise<void> {
  const seed = Number(process.env.PGWEIR_TEST_SEED ?? Date.now() % 2 ** 31);
  console.log(`random protocol programs: seed ${seed}`);
  const bare = { host: postgres.host, port: postgres.primaryPort };
  await fc.assert(
    fc.asyncProperty(randomProgram, fc.nat(proxies.weirs.length - 1), (program, which) =>
      proxies.survive(async () => {
        const weir = proxies.weirs[which];
        if (weir === undefined) throw new Error(`there is no proxy ${which}`);
        const options = { maskErrors: MASKED, deadlineMs: 5_000 };
        await proxies.reset();
        const { name } = program.make(REFUSED);
        const expected = await runProgram(bare, program.make(FAILING), options);
        await proxies.reset();
        const { pieceBytes } = program;
        const cut = pieceBytes === undefined ? options : { ...options, pieceBytes };
        expect(
          await runProgram(weir, program.make(REFUSED), cut),
          `proxy ${which}, pieces ${pieceBytes}:\n${name}`,
        ).toEqual(expected);
        await waitFor(
          () => weir.control.sessions().length === 0,
          2_000,
          () =>
            `a session is left: ${JSON.stringify(weir.control.sessions())} of proxy ${which}, ${pieceBytes}:\n${name}`,
        );
      }),
    ),
    { numRuns: count, seed, endOnFailure: process.env.PGWEIR_TEST_NO_SHRINK !== undefined },
  );
}
