// What a connection holds of its login: the questions that pgweir asks the client, what it can then log in to servers with,
// and the login that it does right now.

import type { LoginSecret } from '../auth/verifier.ts';
import type { LoginDialogue } from './steps/login-dialogue.ts';

export class ClientLogin {
  /** Where pgweir itself asks who the client is, right now. */
  dialogue: LoginDialogue | null = null;
  /** Null before the client has proved who it is, and where it does that to the server. */
  secret: LoginSecret | null = null;
  /** A login that pgweir does for the client right now: of no use to anybody when the client is gone. */
  pending: AbortController | null = null;

  /** The connection closes. */
  abandon(): void {
    this.pending?.abort();
    this.dialogue?.abandon();
  }
}
