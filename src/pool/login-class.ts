// Server connections that are alike from their first byte: same target, user, database and startup packet, but for
// application_name, which is set again for each client. Within a class RESET leads every client back to its own values.

import { isSameSecret, type LoginSecret } from '../auth/verifier.ts';
import type { WeirError } from '../base/errors.ts';
import type { Endpoint } from '../config/settings.ts';
import { Backoff } from './backoff.ts';
import type { LoginRefused, Welcome } from './login.ts';
import type { ServerPool } from './server-pool.ts';

export class LoginClass<Side> {
  readonly key: string;
  readonly pool: ServerPool<Side>;
  /** A startup packet of the class, and what to prove it with: of the client that came last. */
  startup: Buffer;
  secret: LoginSecret;
  /** What the server said to the newest login; null before there was one. */
  welcome: Welcome | null = null;
  /** application_name of clients that bring none, as the server has it from the role or the options; null while it is not known. */
  defaultName: string | null = null;
  /** Why the last login failed, in the server's words: others need not ask again for a while. */
  failure: LoginRefused | WeirError | null = null;
  /** After logins that the server refused to this class, and maybe to no other: for its options, or its password. */
  readonly backoff = new Backoff();
  /** Clients and connections that are of it. */
  users = 0;

  constructor(key: string, pool: ServerPool<Side>, startup: Buffer, secret: LoginSecret) {
    this.key = key;
    this.pool = pool;
    this.startup = startup;
    this.secret = secret;
  }

  /** A new secret may be right where the last one was refused: nobody need wait to try it. */
  useSecret(secret: LoginSecret): void {
    if (isSameSecret(secret, this.secret)) return;
    this.secret = secret;
    this.failure = null;
    this.backoff.succeed();
  }

  isBackingOff(nowMs: number): boolean {
    return nowMs < this.backoff.untilMs || nowMs < this.pool.backoff.untilMs;
  }

  get endpoint(): Endpoint {
    return this.pool.endpoint;
  }
}

/** What two startup packets must have in common to be of one class. */
export function classKeyOf(minor: number, parameters: ReadonlyMap<string, string>): string {
  const rest = [...parameters].filter(([name]) => name !== 'application_name');
  return JSON.stringify([minor, ...rest.sort(([left], [right]) => (left < right ? -1 : 1))]);
}
