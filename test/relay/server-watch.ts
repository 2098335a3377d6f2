// Random programs crash PostgreSQL itself now and then (18.4, about once in 30,000): what is said around that is nobody's reference.

import { setTimeout as sleep } from 'node:timers/promises';
import { waitFor } from '../support/deadline.ts';
import { type WireAddress, WireClient } from '../support/wire-client.ts';

/** Tells a crash of the server, which ends every connection, from an end that concerns one. */
export class ServerWatch {
  readonly #address: WireAddress;
  #sentinel: WireClient | null = null;
  #recovery: Promise<void> | null = null;
  crashes = 0;

  constructor(address: WireAddress) {
    this.#address = address;
  }

  async begin(): Promise<void> {
    this.#sentinel = await WireClient.login(this.#address);
  }

  /** True where the server has crashed since there were so many crashes; it is up again then. */
  async hasCrashed(crashesBefore: number): Promise<boolean> {
    await sleep(500);
    if (this.#recovery === null && this.#sentinel?.socket.readable === false) {
      this.crashes++;
      this.#recovery = waitFor(
        async () => {
          await this.begin();
          return true;
        },
        30_000,
        () => 'the server does not come back',
      ).then(() => {
        this.#recovery = null;
      });
    }
    await this.#recovery;
    return this.crashes > crashesBefore;
  }

  async end(): Promise<void> {
    await this.#sentinel?.end();
  }
}
