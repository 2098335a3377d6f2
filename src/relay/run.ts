// One statement on its way: what was decided about it, and what must happen when the server has answered it.

import type { Hold } from '../policy/limit-gate.ts';
import type { Refusal, Verdict } from '../policy/verdict.ts';
import type { Portal, PreparedStatement } from '../session/statements.ts';
import type { TextFacts } from '../sql/facts.ts';
import type { KillWatch } from './steps/kill.ts';

export class Run {
  /** The statements of the message itself, without those behind an EXECUTE. */
  readonly facts: TextFacts;
  /** Null for a message that was never judged: it was too long to read. */
  readonly verdict: Verdict | null;
  /** Not null: another message was sent in its place, and the server's error is to be worded like this. */
  refusal: Refusal | null = null;
  /** It is one statement that leaves nothing to follow (sql/plain.ts). */
  isPlain = false;
  decisionId = '';
  /** A place under max_concurrent, given back when the statement has ended. */
  hold: Hold | null = null;
  portal: Portal | null = null;
  /** It is the first Execute of `portal`. */
  beginsPortal = false;
  kill: KillWatch | null = null;
  /** To be done when a statement under kill_after_ms has ended by itself, and nothing can be cancelled by mistake. */
  onEnded: (() => void) | null = null;
  /** When it went to the server, in ms of the monotonic clock. */
  sentAtMs = 0;
  /** For how much of the time since then the client owed COPY data. */
  dataMs = 0;
  /** By the place of an EXECUTE among its statements: what it names, as far as that was known when it went to the server. */
  executed: Map<number, PreparedStatement> | null = null;
  /** How many of its statements the server has completed. */
  completed = 0;
  /** SQLSTATE of the server's error, or null. */
  sqlstate: string | null = null;

  constructor(facts: TextFacts, verdict: Verdict | null) {
    this.facts = facts;
    this.verdict = verdict;
  }

  /** The server has refused it, or skipped it without a look: nothing of its portal has run, and the next Execute is judged. */
  fail(): void {
    if (this.portal !== null && this.beginsPortal) this.portal.hasRun = false;
  }

  /** It has ended after so long. Returns how long the server has worked on earlier Executes of the same portal. */
  addServerTime(ranMs: number): number {
    if (this.portal === null) return 0;
    const earlierMs = this.portal.usedMs;
    this.portal.usedMs += ranMs - this.dataMs;
    return earlierMs;
  }
}
