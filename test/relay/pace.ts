// Clients that send faster than a rate limit allows, and count what came of it.

import { setTimeout as sleep } from 'node:timers/promises';
import * as frontend from '../support/frontend-messages.ts';
import { type BackendMessage, readFields } from '../support/transcript.ts';
import { type WireAddress, WireClient } from '../support/wire-client.ts';

export interface PaceTally {
  /** Statements that were answered with their row, and those refused with 53400. */
  passed: number;
  refused: number;
  /** Anything else, by SQLSTATE. */
  readonly other: string[];
  /** From the first statement sent to the last answer. */
  elapsedMs: number;
  /**
   * Between the first and the last refusal, when the bucket was empty: how long, and how many passed. This is the rate
   * itself, free of the burst and of how fast the clients got going.
   */
  readonly empty: { passed: number; elapsedMs: number };
}

export function tallyAnswers(messages: readonly BackendMessage[], tally: PaceTally): void {
  for (const { type, body } of messages) {
    if (type === 'C') tally.passed++;
    if (type !== 'E') continue;
    const code = readFields(body).C ?? '';
    if (code === '53400') tally.refused++;
    else tally.other.push(code);
  }
}

export const emptyTally = (): PaceTally => ({
  passed: 0,
  refused: 0,
  other: [],
  elapsedMs: 0,
  empty: { passed: 0, elapsedMs: 0 },
});

/** `clients` sessions send one statement after another, without a pause, for `durationMs` behind the first refusal. */
export async function hammer(
  address: WireAddress,
  options: { applicationName: string; clients: number; durationMs: number },
): Promise<PaceTally> {
  const tally = emptyTally();
  const parameters = { application_name: options.applicationName };
  const clients = await Promise.all(
    Array.from({ length: options.clients }, () => WireClient.login(address, { parameters })),
  );
  let firstRefusal: { atMs: number; passed: number } | null = null;
  const startedAtMs = performance.now();
  const latestStartMs = startedAtMs + 2 * options.durationMs;
  await Promise.all(
    clients.map(async (client) => {
      while (performance.now() < (firstRefusal?.atMs ?? latestStartMs) + options.durationMs) {
        const refusedBefore = tally.refused;
        tallyAnswers(await client.query('SELECT 1'), tally);
        if (tally.refused === refusedBefore) continue;
        firstRefusal ??= { atMs: performance.now(), passed: tally.passed };
        tally.empty.elapsedMs = performance.now() - firstRefusal.atMs;
        tally.empty.passed = tally.passed - firstRefusal.passed;
      }
    }),
  );
  tally.elapsedMs = performance.now() - startedAtMs;
  await Promise.all(clients.map((client) => client.end()));
  return tally;
}

/**
 * Several applications send the same statements at the same moments: `perTick` every `tickMs` for `durationMs`, whether or
 * not the last ones are answered.
 */
export async function sendInStep(
  address: WireAddress,
  applicationNames: readonly string[],
  options: { tickMs: number; perTick: number; durationMs: number },
): Promise<PaceTally[]> {
  const clients = await Promise.all(
    applicationNames.map((name) => WireClient.login(address, { parameters: { application_name: name } })),
  );
  const burst = Buffer.concat(Array.from({ length: options.perTick }, () => frontend.query('SELECT 1')));
  const startedAtMs = performance.now();
  const ticks = Math.round(options.durationMs / options.tickMs);
  const reading = clients.map(async (client) => {
    const tally = emptyTally();
    tallyAnswers(await client.readUntilReady(ticks * options.perTick), tally);
    tally.elapsedMs = performance.now() - startedAtMs;
    return tally;
  });
  for (let tick = 0; tick < ticks; tick++) {
    const aheadMs = startedAtMs + tick * options.tickMs - performance.now();
    if (aheadMs > 0) await sleep(aheadMs);
    for (const client of clients) client.send(burst);
  }
  const tallies = await Promise.all(reading);
  await Promise.all(clients.map((client) => client.end()));
  return tallies;
}
