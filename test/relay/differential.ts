// Runs one protocol program against a server or a proxy and writes down everything it said, so that two runs can be compared
// message by message and byte by byte.

import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import * as frontend from '../support/frontend-messages.ts';
import { type BackendMessage, readCstrings, transcribe } from '../support/transcript.ts';
import { ConnectionEnded, type WireAddress, WireClient } from '../support/wire-client.ts';

/** What is sent, and what to wait for before the next step. */
export interface Step {
  /** Done before anything is sent. */
  readonly before?: () => void;
  readonly send: Buffer;
  /** So many ReadyForQuery, or a message of that type, or one with these bytes in it, or nothing. */
  readonly until: number | string | Buffer | null;
  /** Waits so long after sending: what was sent so far may be answered before the next step is taken. */
  readonly pauseMs?: number;
}

export interface Program {
  readonly name: string;
  readonly steps: readonly Step[];
  /** Further startup parameters. */
  readonly parameters?: Readonly<Record<string, string>>;
}

export interface RunOptions {
  /** Sends every step in pieces of so many bytes. */
  readonly pieceBytes?: number;
  readonly deadlineMs?: number;
  readonly maskErrors?: readonly string[];
}

/** A database of its own: its tables, notifications and names are nobody else's. */
export const DATABASE = 'differential';

/** Stands at the end of a transcript whose connection the other side ended before the program was through. */
const ENDED = '(the other side ended the connection)';

/** All messages of a run, login and goodbye included, one line each. Rejects when an awaited message does not come. */
export async function runProgram(
  address: WireAddress,
  program: Program,
  options: RunOptions = {},
): Promise<readonly string[]> {
  const client = await WireClient.connect(address, options.deadlineMs ?? 10_000);
  const messages: BackendMessage[] = [];
  const describe = (): string[] => describeFully(messages, options.maskErrors ?? []);
  try {
    messages.push(
      ...(await client.startup({
        database: DATABASE,
        parameters: { application_name: 'differential', ...program.parameters },
      })),
    );
    for (const { before, send, until, pauseMs } of program.steps) {
      before?.();
      if (options.pieceBytes === undefined) client.send(send);
      else await client.sendInPieces(send, options.pieceBytes);
      if (pauseMs !== undefined) await sleep(pauseMs);
      for (let left = until === null ? 0 : typeof until === 'number' ? until : 1; left > 0; ) {
        const message = await client.readMessage();
        messages.push(message);
        if (until !== null && isAwaited(message, until)) left--;
      }
    }
    client.socket.end(frontend.terminate());
    messages.push(...(await client.readUntilEnd()));
    return describe();
  } catch (error) {
    if (error instanceof ConnectionEnded) return [...describe(), ENDED];
    const tail = describe().slice(-12).join('\n');
    throw new Error(`${program.name}: ${String(error)}; so far:\n${tail}`, { cause: error });
  } finally {
    client.destroy();
  }
}

function isAwaited({ type, body }: BackendMessage, until: number | string | Buffer): boolean {
  if (typeof until === 'number') return type === 'Z';
  return typeof until === 'string' ? type === until : type === 'D' && body.includes(until);
}

/** Readable lines, each with a hash of the body: every byte counts but pids, keys, salts and the OIDs of masked tables. */
export function describeFully(messages: readonly BackendMessage[], maskErrors: readonly string[]): string[] {
  return messages.map((message) => {
    const [line = ''] = transcribe([message], { maskErrors });
    const shown = line.length > 300 ? `${line.slice(0, 300)}…` : line;
    if (line.endsWith('(masked)')) return shown;
    return `${shown} #${createHash('sha1').update(withoutSecrets(message)).digest('hex').slice(0, 12)}`;
  });
}

/** Parts of a message that differ from connection to connection are left out. */
export function withoutSecrets({ type, body }: BackendMessage): Buffer {
  switch (type) {
    case 'K':
      return Buffer.from([body.length]);
    case 'R':
      return body.subarray(0, 4);
    case 'A':
      return body.subarray(4);
    case 'T':
      return withoutTableOids(body);
    case 'S':
      // Of the startup parameters this one alone says who is asking.
      return readCstrings(body)[0] === 'session_authorization' ? Buffer.alloc(0) : body;
    default:
      return body;
  }
}

/** A temporary table has another OID in every session. */
function withoutTableOids(body: Buffer): Buffer {
  const masked = Buffer.from(body);
  let offset = 2;
  for (let left = body.readInt16BE(0); left > 0; left--) {
    const end = body.indexOf(0, offset);
    masked.writeInt32BE(0, end + 1);
    offset = end + 19;
  }
  return masked;
}
