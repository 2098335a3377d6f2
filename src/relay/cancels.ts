// CancelRequests of clients on their way to the server that runs what they mean.
//
// One that names a session of this pgweir goes where that session's statement runs, if one does. Any other is handed on to
// the primary as it is: several pgweir may stand behind one address, and the server checks the key itself.

import { describeError } from '../base/errors.ts';
import type { SessionPool } from '../pool/pool.ts';
import type { Connection } from './connection.ts';
import type { RelayContext } from './context.ts';

/** Cancels of strangers that may be on their way at once; each holds a server's slot for a moment. */
const MAX_STRANGERS = 32;

/**
 * The cancels of one session, one after the other. However many come while one is on its way, one more is sent for all of
 * them: it goes out after the last of them came, so none is lost.
 */
export class CancelLane {
  readonly #deliver: () => Promise<boolean>;
  #running: Promise<boolean> | null = null;
  #next: Promise<boolean> | null = null;
  readonly #onIdle: () => void;
  #wasUsed = false;

  /**
   * @param deliver sends one, and resolves when the server has taken it; false where nothing ran
   * @param onIdle none is on its way any more
   */
  constructor(deliver: () => Promise<boolean>, onIdle: () => void) {
    this.#deliver = deliver;
    this.#onIdle = onIdle;
  }

  get isBusy(): boolean {
    return this.#running !== null;
  }

  /** Whether one was sent since this was asked last. */
  takeWasUsed(): boolean {
    const wasUsed = this.#wasUsed;
    this.#wasUsed = false;
    return wasUsed;
  }

  /** Resolves when the server has taken a cancel that was sent after this call. */
  carry(): Promise<boolean> {
    if (this.#running === null) return this.#run();
    this.#next ??= this.#running
      .catch(() => false)
      .then(() => {
        this.#next = null;
        return this.#run();
      });
    return this.#next;
  }

  #run(): Promise<boolean> {
    this.#wasUsed = true;
    const running = this.#deliver().finally(() => {
      if (this.#running !== running) return;
      this.#running = null;
      if (this.#next === null) this.#onIdle();
    });
    this.#running = running;
    return running;
  }
}

/** Cancels what the session runs, where it runs. False where nothing does, or where the server gave no key. */
export async function cancelRunning(connection: Connection, pool: SessionPool): Promise<boolean> {
  const released = connection.ownServers.releaseWait();
  if (released !== null) await released;
  const lease = connection.hasServer ? connection.active.lease : null;
  if (lease === null || lease.key === null || connection.session.isQuiet) return false;
  await pool.cancelOn(lease);
  return true;
}

/** Takes every CancelRequest that comes in. */
export class CancelCarrier {
  readonly #context: RelayContext;
  #strangers = 0;

  constructor(context: RelayContext) {
    this.#context = context;
  }

  /**
   * Resolves, whatever comes of it, when the server has taken the cancel: the client's connection is closed then, in every
   * case without a word, so that nobody learns which keys there are.
   *
   * @param key process id and secret, one to one as Latin-1
   */
  async carry(key: string): Promise<void> {
    const { cancelKeys, counters, log } = this.#context;
    const connection = cancelKeys.find(key);
    try {
      if (connection !== null) await connection.cancel('client');
      else await this.#handOn(key);
    } catch (error) {
      counters.cancelsFailed++;
      log.warn({ session: connection?.session.id ?? null, reason: describeError(error) }, 'a cancel was not delivered');
    }
  }

  async #handOn(key: string): Promise<void> {
    const { counters, pool, settings } = this.#context;
    if (this.#strangers >= MAX_STRANGERS) {
      counters.cancelsFailed++;
      return;
    }
    this.#strangers++;
    try {
      await pool.cancel(settings.targets.primary, key);
      counters.cancelsFromClients++;
    } finally {
      this.#strangers--;
    }
  }
}
