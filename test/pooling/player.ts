// Plays steps on two roads at once, every client with a session on each: the bare server, which is always right, and the
// road under test. Whatever is said must be the same, message by message.

import { type BackendMessage, transcribe } from '../support/transcript.ts';
import { ConnectionEnded, type WireAddress, WireClient } from '../support/wire-client.ts';
import { describeStep, type LeaveStep, type LoginStep, type SendStep, type Step } from './steps.ts';

/** The session is over; a step of it stands in the transcript as this line. */
const ENDED = '(the other side ended the connection)';

/** What a session answered to one step. */
export interface Answer {
  /** In the order of the wire, without what may come at any time. */
  readonly lines: readonly string[];
  /** ParameterStatus, sorted: where in the answer they stand is not compared, which ones there are is. */
  readonly parameters: readonly string[];
  readonly notifications: readonly string[];
}

/** The road under test said something else than the bare server, or nothing at all. */
export class Difference extends Error {
  readonly step: Step;
  /** How many other clients had an open transaction when an answer did not come; null where it was another answer. */
  readonly othersInTransaction: number | null;
  constructor(step: Step, what: string, othersInTransaction: number | null = null) {
    super(`${describeStep(step)}\n${what}`);
    this.step = step;
    this.othersInTransaction = othersInTransaction;
  }
}

export interface Roads {
  readonly database: string;
  readonly oracle: WireAddress;
  readonly subject: WireAddress;
  /** Who holds what, for a failing run. */
  readonly explain: () => string;
}

export interface PlayerOptions {
  /** Each wait for one message. */
  readonly deadlineMs?: number;
  /** Applied to each line before it is compared, for what differs between two servers. */
  readonly mask?: (line: string) => string;
}

interface Session {
  readonly oracle: WireClient;
  readonly subject: WireClient;
}

const PLAIN_LOGIN = { user: 'weir', parameters: {} };

export class Player {
  readonly #roads: Roads;
  readonly #deadlineMs: number;
  readonly #mask: (line: string) => string;
  readonly #sessions = new Map<number, Session>();
  /** How each client logged in last; a step of a client that is not there logs it in again. */
  readonly #logins = new Map<
    number,
    { readonly user: string; readonly parameters: Readonly<Record<string, string>> }
  >();

  constructor(roads: Roads, options: PlayerOptions = {}) {
    this.#roads = roads;
    this.#deadlineMs = options.deadlineMs ?? 10_000;
    this.#mask = options.mask ?? ((line) => line);
  }

  /** The transaction status of a client's session as the bare server sees it; null where it has none. */
  status(client: number): string | null {
    return this.#sessions.get(client)?.oracle.status ?? null;
  }

  /** One step on both roads. Rejects with Difference; the bare server's answer where there is one. */
  async play(step: Step): Promise<Answer | null> {
    switch (step.kind) {
      case 'send':
        return this.#playSend(step);
      case 'login':
        return this.#playLogin(step);
      case 'leave':
        await this.#playLeave(step);
        return null;
      case 'meanwhile': {
        const session = await this.#sessionOf(step.waiter);
        const [expected] = await this.#ask(step.waiter, session.oracle, session.oracle);
        session.subject.send(step.waiter.bytes);
        for (const other of step.others) await this.play(other);
        const actual = await this.#hear(step, session.subject, step.waiter.ready);
        this.#compare(step, session, step.waiter.client, expected, actual);
        return expected;
      }
      default:
        return step satisfies never;
    }
  }

  /** Every session is ended without a word, on both roads. */
  destroy(): void {
    for (const session of this.#sessions.values()) {
      session.oracle.destroy();
      session.subject.destroy();
    }
    this.#sessions.clear();
  }

  /** Every session is ended politely. */
  async end(): Promise<void> {
    for (const client of [...this.#sessions.keys()]) await this.#playLeave({ kind: 'leave', client, how: 'terminate' });
  }

  async #playSend(step: SendStep): Promise<Answer> {
    const session = await this.#sessionOf(step);
    const [expected, actual] = await this.#ask(step, session.oracle, session.subject);
    this.#compare(step, session, step.client, expected, actual);
    return expected;
  }

  /** Both are asked at once; the same client twice is asked once. */
  async #ask(step: SendStep, oracle: WireClient, subject: WireClient): Promise<[Answer, Answer]> {
    oracle.send(step.bytes);
    if (oracle === subject) {
      const answer = await this.#hear(step, oracle, step.ready);
      return [answer, answer];
    }
    subject.send(step.bytes);
    // The oracle first: an answer that the bare server does not give either is a mistake of the test.
    const heard = this.#hear(step, subject, step.ready);
    heard.catch(() => undefined);
    return [await this.#hear(step, oracle, step.ready), await heard];
  }

  async #hear(step: Step, client: WireClient, ready: number): Promise<Answer> {
    const said: BackendMessage[] = [];
    const extra: string[] = [];
    try {
      for (let left = ready; left > 0; ) {
        const message = await client.readMessage();
        said.push(message);
        if (message.type === 'Z') left--;
      }
    } catch (error) {
      const lines = transcribe(said).join('\n');
      if (!(error instanceof ConnectionEnded)) {
        const others = [...this.#sessions.values()].filter(({ oracle, subject }) => {
          return subject !== client && oracle !== client && oracle.status !== 'I';
        });
        throw new Difference(step, `${String(error)}; so far:\n${lines}\n${this.#explain()}`, others.length);
      }
      extra.push(ENDED);
    }
    return this.#describe(said, extra);
  }

  #describe(said: readonly BackendMessage[], extra: readonly string[]): Answer {
    const pick = (isPicked: (type: string) => boolean): string[] =>
      transcribe(said.filter(({ type }) => isPicked(type))).map(this.#mask);
    return {
      lines: [...pick((type) => type !== 'S' && type !== 'A'), ...extra],
      parameters: pick((type) => type === 'S').sort(),
      notifications: pick((type) => type === 'A'),
    };
  }

  #compare(step: Step, session: Session, client: number, expected: Answer, actual: Answer): void {
    for (const part of ['lines', 'parameters', 'notifications'] as const) {
      const [wanted, got] = [expected[part], actual[part]];
      if (wanted.length === got.length && wanted.every((line, index) => line === got[index])) continue;
      throw new Difference(
        step,
        [`${part} of the bare server:`, ...wanted, `${part} of the road under test:`, ...got, this.#explain()].join(
          '\n',
        ),
      );
    }
    if (!expected.lines.includes(ENDED)) return;
    session.oracle.destroy();
    session.subject.destroy();
    this.#sessions.delete(client);
  }

  /** Which client is which session of the road, and what the road says of them. */
  #explain(): string {
    const clients = [...this.#sessions].map(
      ([client, { oracle, subject }]) => `client ${client} (port ${subject.socket.localPort ?? 0}): ${oracle.status}`,
    );
    return [...clients, this.#roads.explain()].join('\n');
  }

  async #sessionOf(step: SendStep): Promise<Session> {
    const known = this.#sessions.get(step.client);
    if (known !== undefined) return known;
    await this.#playLogin({ kind: 'login', client: step.client, ...(this.#logins.get(step.client) ?? PLAIN_LOGIN) });
    const session = this.#sessions.get(step.client);
    if (session === undefined) throw new Error(`client ${step.client} cannot log in`);
    return session;
  }

  async #playLogin(step: LoginStep): Promise<Answer> {
    const { client, user, parameters } = step;
    if (this.#sessions.has(client)) await this.#playLeave({ kind: 'leave', client, how: 'terminate' });
    this.#logins.set(client, { user, parameters });
    const heard = async (address: WireAddress): Promise<[WireClient, BackendMessage[]]> => {
      const wire = await WireClient.connect(address, this.#deadlineMs);
      try {
        return [wire, await wire.startup({ user, database: this.#roads.database, parameters })];
      } catch (error) {
        wire.destroy();
        throw new Difference(step, `${String(error)}\n${this.#roads.explain()}`);
      }
    };
    const entering = heard(this.#roads.subject);
    entering.catch(() => undefined);
    const [oracle, expected] = await heard(this.#roads.oracle);
    const [subject, actual] = await entering;
    const session = { oracle, subject };
    // How one proves who one is differs between the two, and so do the keys.
    const settled = (said: readonly BackendMessage[]): Answer =>
      this.#describe(
        said.filter(({ type }) => type !== 'R' && type !== 'K'),
        [],
      );
    const answer = settled(expected);
    this.#compare(step, session, client, answer, settled(actual));
    if (expected.at(-1)?.type === 'Z') this.#sessions.set(client, session);
    else this.#logins.delete(client);
    return answer;
  }

  async #playLeave(step: LeaveStep): Promise<void> {
    const session = this.#sessions.get(step.client);
    if (session === undefined) return;
    this.#sessions.delete(step.client);
    if (step.how === 'vanish') {
      session.oracle.destroy();
      session.subject.destroy();
      return;
    }
    await Promise.all([session.oracle.end(), session.subject.end()]);
  }
}
