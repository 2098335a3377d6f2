// Random protocol programs at full speed: several lanes at once, each with one connection to the bare server and one to each
// proxy, which live on from program to program. Both sides of a lane have a database of their own, made alike, so they run at the
// same time. Every program has a seed of its own: it is repeated alone by PGWEIR_TEST_SEED=<its seed> PGWEIR_FUZZ_PROGRAMS=1.

import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import { withDeadline } from '../support/deadline.ts';
import type { SharedPostgres } from '../support/shared-postgres.ts';
import { type BackendMessage, readFields } from '../support/transcript.ts';
import { ConnectionEnded, type WireAddress, WireClient } from '../support/wire-client.ts';
import { describeFully, type Program, withoutSecrets } from './differential.ts';
import { FIXTURE } from './programs.ts';
import { FAILING, MASKED, type RandomProgram, REFUSED, randomProgram } from './random-programs.ts';
import { ServerWatch } from './server-watch.ts';

const TEMPLATE = 'fuzz_template';
/** A connection is given up after so many programs: what was said on it is kept as long as it lives. */
const PROGRAMS_PER_CONNECTION = 200;
/** Stands at the end of what was said where the other side ended the connection. */
const ENDED = '-';
/** The steps of a short program; its end alone takes some 150. */
const SHORT_BYTES = 300;
const PROGRAM_DEADLINE_MS = 60_000;
const APPLICATION_NAME = 'differential';
/** What other clients leave in their sessions meanwhile. */
const COMPANY = [
  'SELECT 1',
  "SET work_mem = '3MB'",
  "SET client_encoding = 'LATIN1'",
  'BEGIN; SELECT 2; COMMIT',
  'SELECT 1/0',
  'PREPARE a AS SELECT 77',
  'DEALLOCATE ALL',
];

/** Forgets what the last program has left. No TRUNCATE: it costs more than all the rest. */
const RESET = `
  DELETE FROM children; DELETE FROM parents; DELETE FROM items;
  INSERT INTO items VALUES (1, 'one'), (2, NULL), (3, 'drei ✓');
  SELECT lo_unlink(oid) FROM pg_largeobject_metadata WHERE oid = 424242;
`;

export interface FuzzOptions {
  readonly seed: number;
  readonly programs: number;
  readonly lanes: number;
  /** In each lane another client is at work at each proxy: where these share server connections, they change hands. */
  readonly hasCompany?: boolean;
}

export interface FuzzResult {
  readonly programs: number;
  readonly messages: number;
  /** Programs in which the bare server told of a mistake of its own (XX000): what comes behind it is nobody's reference. */
  readonly leftOut: number;
  /** How often the bare server itself crashed; the programs that ran then are left out, too. */
  readonly crashes: number;
  readonly seconds: number;
}

interface FuzzCase {
  readonly program: RandomProgram;
  readonly which: number;
  /** Where the bytes of a step are cut, as shares of its length. */
  readonly cuts: readonly number[];
}

function caseOf(proxies: number): fc.Arbitrary<FuzzCase> {
  return fc.record({
    program: randomProgram,
    which: fc.nat(proxies - 1),
    cuts: fc.oneof(fc.constant([]), fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 6 })),
  });
}

/** One side of a lane: a connection that is opened when it is needed. */
class Side {
  readonly #address: WireAddress;
  readonly #database: string;
  #client: WireClient | null = null;
  #programs = 0;

  constructor(address: WireAddress, database: string) {
    this.#address = address;
    this.#database = database;
  }

  /** What the program is answered, up to the bytes of its last step's mark or the end of the connection. */
  async run(program: Program, cuts: readonly number[] | null): Promise<readonly BackendMessage[]> {
    const client = await this.#prepare();
    const messages: BackendMessage[] = [];
    try {
      for (const { send, until, pauseMs } of program.steps) {
        await sendCut(client, send, cuts);
        if (pauseMs !== undefined) await sleep(pauseMs);
        if (!Buffer.isBuffer(until)) continue;
        for (;;) {
          const message = await client.readMessage();
          messages.push(message);
          if (message.type === 'D' && message.body.includes(until)) break;
        }
        messages.push(...(await client.readUntilReady()));
      }
    } catch (error) {
      await this.close();
      if (!(error instanceof ConnectionEnded)) throw error;
      messages.push({ type: ENDED, body: Buffer.alloc(0) });
    }
    return messages;
  }

  async #prepare(): Promise<WireClient> {
    if (this.#programs >= PROGRAMS_PER_CONNECTION) await this.close();
    this.#programs++;
    this.#client ??= await WireClient.login(
      this.#address,
      { database: this.#database, parameters: { application_name: APPLICATION_NAME } },
      PROGRAM_DEADLINE_MS,
    );
    await this.#client.rows('DISCARD ALL');
    await this.#client.rows(RESET);
    return this.#client;
  }

  async close(): Promise<void> {
    this.#programs = 0;
    const client = this.#client;
    this.#client = null;
    await client?.end().catch(() => undefined);
  }
}

async function sendCut(client: WireClient, bytes: Buffer, cuts: readonly number[] | null): Promise<void> {
  const offsets = (cuts ?? []).map((share) => Math.floor(share * bytes.length)).toSorted((a, b) => a - b);
  let from = 0;
  for (const offset of [...offsets, bytes.length]) {
    if (offset === from) continue;
    client.socket.write(bytes.subarray(from, offset));
    from = offset;
    if (from < bytes.length) await new Promise<void>((resolve) => setImmediate(resolve));
  }
}

/** Same messages, but for what differs from connection to connection, and for the words of an error that stands for another. */
function isSame(one: BackendMessage, other: BackendMessage): boolean {
  if (one.type !== other.type) return false;
  if (withoutSecrets(one).equals(withoutSecrets(other))) return true;
  return (
    one.type === 'E' && MASKED.includes(readFields(one.body).C ?? '') && MASKED.includes(readFields(other.body).C ?? '')
  );
}

/**
 * The first message that differs, or -1. A server that closes with bytes unread resets the connection, and its last words may
 * be lost on the way: where both sides were ended, what arrived of them is compared.
 */
function findDifference(expected: readonly BackendMessage[], said: readonly BackendMessage[]): number {
  const haveEnded = expected.at(-1)?.type === ENDED && said.at(-1)?.type === ENDED;
  const length = haveEnded ? Math.min(expected.length, said.length) - 1 : Math.max(expected.length, said.length);
  for (let at = 0; at < length; at++) {
    const [one, other] = [expected[at], said[at]];
    if (one === undefined || other === undefined || !isSame(one, other)) return at;
  }
  return -1;
}

class Lane {
  readonly #bare: Side;
  readonly #proxied: readonly Side[];

  constructor(bare: Side, proxied: readonly Side[]) {
    this.#bare = bare;
    this.#proxied = proxied;
  }

  /** Runs it on both sides at once; how many messages were compared, or null where they cannot be. Throws where one differs. */
  async run({ program, which, cuts }: FuzzCase): Promise<number | null> {
    const side = this.#proxied[which];
    if (side === undefined) throw new Error(`there is no proxy ${which}`);
    const [expected, said] = await withDeadline(
      Promise.all([this.#bare.run(program.make(FAILING), null), side.run(program.make(REFUSED), cuts)]),
      PROGRAM_DEADLINE_MS,
      () => `proxy ${which} hangs:\n${program.make(REFUSED).name}`,
    );
    if (expected.some(({ type, body }) => type === 'E' && readFields(body).C === 'XX000')) {
      await this.close();
      return null;
    }
    const at = findDifference(expected, said);
    if (at < 0) return said.length;
    const show = (messages: readonly BackendMessage[]): string =>
      describeFully(messages.slice(Math.max(0, at - 3), at + 4), []).join('\n  ');
    throw new Error(
      `proxy ${which}, cuts ${JSON.stringify(cuts)}, message ${at}\n${program.make(REFUSED).name}\nexpected\n  ${show(expected)}\nsaid\n  ${show(said)}`,
    );
  }

  async close(): Promise<void> {
    await Promise.all([this.#bare, ...this.#proxied].map((side) => side.close()));
  }
}

/** Sessions one after another, until `isOver`. The server may be down for a while, and then so are they. */
async function keepCompany(address: WireAddress, database: string, isOver: () => boolean): Promise<void> {
  while (!isOver()) {
    try {
      const options = { database, parameters: { application_name: APPLICATION_NAME } };
      const client = await WireClient.login(address, options, PROGRAM_DEADLINE_MS);
      for (let round = 0; round < PROGRAMS_PER_CONNECTION && !isOver(); round++) {
        await client.query(COMPANY[round % COMPANY.length] ?? '');
        await sleep(round % 5);
      }
      await client.end();
    } catch {
      await sleep(200);
    }
  }
}

async function createDatabases(postgres: SharedPostgres, names: readonly string[]): Promise<void> {
  await dropDatabases(postgres, [TEMPLATE, ...names]);
  await postgres.query(`CREATE DATABASE ${TEMPLATE}`);
  const maker = await WireClient.login({ host: postgres.host, port: postgres.primaryPort }, { database: TEMPLATE });
  await maker.rows(FIXTURE);
  await maker.end();
  for (const name of names) await postgres.query(`CREATE DATABASE ${name} TEMPLATE ${TEMPLATE}`);
}

async function dropDatabases(postgres: SharedPostgres, names: readonly string[]): Promise<void> {
  for (const name of names) await postgres.query(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`);
}

/** Runs the programs on the bare server and through the proxies, in turn; throws at the first that is answered differently. */
export async function fuzz(
  postgres: SharedPostgres,
  proxies: readonly WireAddress[],
  { seed, programs, lanes, hasCompany }: FuzzOptions,
): Promise<FuzzResult> {
  const bare: WireAddress = { host: postgres.host, port: postgres.primaryPort };
  const laneNumbers = Array.from({ length: lanes }, (_, index) => index);
  const names = laneNumbers.flatMap((lane) => [`fuzz_bare_${lane}`, `fuzz_weir_${lane}`]);
  await createDatabases(postgres, names);
  const arbitrary = caseOf(proxies.length);
  const watch = new ServerWatch(bare);
  await watch.begin();
  const startedAt = performance.now();
  let next = 0;
  let messages = 0;
  let leftOut = 0;
  let hasFailed = false;
  const work = async (number: number): Promise<void> => {
    const lane = new Lane(
      new Side(bare, `fuzz_bare_${number}`),
      proxies.map((address) => new Side(address, `fuzz_weir_${number}`)),
    );
    try {
      while (next < programs && !hasFailed) {
        const programSeed = (seed + next++) | 0;
        const [made] = fc.sample(arbitrary, { seed: programSeed, numRuns: 1 });
        if (made === undefined) throw new Error('no program was made');
        const crashesBefore = watch.crashes;
        try {
          const compared = await lane.run(made);
          if (compared === null) leftOut++;
          else messages += compared;
        } catch (error) {
          await lane.close();
          if (await watch.hasCrashed(crashesBefore)) {
            leftOut++;
            continue;
          }
          throw new Error(`PGWEIR_TEST_SEED=${programSeed} PGWEIR_FUZZ_PROGRAMS=1: ${String(error)}`, { cause: error });
        }
      }
    } catch (error) {
      hasFailed = true;
      throw error;
    } finally {
      await lane.close();
    }
  };
  let isOver = false;
  const company = laneNumbers.flatMap((lane) =>
    hasCompany === true ? proxies.map((address) => keepCompany(address, `fuzz_weir_${lane}`, () => isOver)) : [],
  );
  const outcomes = await Promise.allSettled(laneNumbers.map(work));
  isOver = true;
  await Promise.all(company);
  const seconds = (performance.now() - startedAt) / 1_000;
  await watch.end();
  for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason;
  await dropDatabases(postgres, [...names, TEMPLATE]);
  return { programs, messages, leftOut, crashes: watch.crashes, seconds };
}

/** Short programs, each cut in two at every byte of its longest step. Returns how many cuts were tried. */
export async function cutEverywhere(
  postgres: SharedPostgres,
  proxies: readonly WireAddress[],
  { seed, programs }: Pick<FuzzOptions, 'seed' | 'programs'>,
): Promise<number> {
  const bare: WireAddress = { host: postgres.host, port: postgres.primaryPort };
  const names = ['fuzz_bare_cut', 'fuzz_weir_cut'] as const;
  await createDatabases(postgres, names);
  const lane = new Lane(
    new Side(bare, names[0]),
    proxies.map((address) => new Side(address, names[1])),
  );
  const longestStep = (program: RandomProgram): number =>
    Math.max(...program.make(REFUSED).steps.map(({ send }) => send.length));
  const isShort = (program: RandomProgram): boolean => longestStep(program) < SHORT_BYTES;
  let tried = 0;
  try {
    for (const program of fc.sample(randomProgram.filter(isShort), { seed, numRuns: programs })) {
      const bytes = longestStep(program);
      for (let at = 1; at < bytes; at++, tried++)
        await lane.run({ program, which: at % proxies.length, cuts: [(at + 0.5) / bytes] });
    }
  } finally {
    await lane.close();
  }
  await dropDatabases(postgres, [...names, TEMPLATE]);
  return tried;
}
