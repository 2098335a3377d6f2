// What a client sees of a shared server's settings by ParameterStatus: each change of its own view once, and nothing of others'.

import type { Member } from '../../pool/member.ts';
import { nameText } from '../../pool/server-pool.ts';
import type { TransactionPool } from '../../pool/transaction-pool.ts';
import { makeParameterStatus } from '../../wire/writer.ts';
import type { Connection } from '../connection.ts';
import type { ServerSide } from '../server-side.ts';

export class ClientView {
  readonly #connection: Connection;
  /** application_name as RESET gives it. */
  readonly #startupName: string;

  constructor(connection: Connection, startupName: string) {
    this.#connection = connection;
    this.#startupName = startupName;
  }

  get applicationName(): string {
    return this.#connection.session.parameters.get('application_name') ?? this.#startupName;
  }

  /** What a ParameterStatus of its server says to the client: RESET leads to the client's own name, not to another's. */
  word({ startupName }: Member<ServerSide>, name: string, value: string): string {
    const isForeign = name === 'application_name' && value === startupName && value !== this.#startupName;
    return isForeign && this.#isResetting() ? this.#startupName : value;
  }

  /** The client hears of what is otherwise on that server than it was where it came from. */
  show({ reported }: Member<ServerSide>): void {
    const { session, client } = this.#connection;
    for (const [name, value] of reported) {
      if (session.parameters.get(name) === value) continue;
      session.setParameter(name, value);
      client.outlet.write(makeParameterStatus(name, value));
    }
  }

  /** RESET gave the server another client's name: it gets this one's again. */
  async restore(pool: TransactionPool<ServerSide>, member: Member<ServerSide>): Promise<void> {
    await pool.say(member, nameText(this.applicationName));
    // As the server has it in the end: it drops what it cannot show.
    this.#connection.session.setParameter('application_name', member.applicationName);
  }

  #isResetting(): boolean {
    const facts = this.#connection.lastRun?.facts ?? [];
    return facts.some(({ effect, shape }) => effect?.type === 'discard_all' || shape.kinds[0] === 'reset');
  }
}
