// The last decisions, in a ring that is written in place: a refusal storm costs no memory. Slots hold the few parts of a
// verdict and of a shape that a decision needs: the verdict would keep old rulesets alive, the shape all of a long text.

import type { Subject } from '../session/subject.ts';
import type { StatementShape } from '../sql/facts.ts';
import type { Decision, DecisionOutcome } from './decision.ts';
import { cutSample } from './sample.ts';

/** What the writer of a decision gives; the journal adds the number. */
export interface DecisionEntry {
  readonly atMs: number;
  readonly rulesVersion: string;
  readonly rule: string;
  readonly outcome: DecisionOutcome;
  /** Null where nothing was judged: a text over the size limit. */
  readonly shape: StatementShape | null;
  readonly subject: Subject;
  readonly sessionId: number;
  readonly isInTransaction: boolean;
}

/** A decision without its number. */
type Slot = Omit<Decision, 'id'>;

export interface DecisionFilter {
  readonly rule?: string | undefined;
  readonly outcome?: string | undefined;
  readonly sessionId?: number | undefined;
  readonly user?: string | undefined;
  readonly rulesVersion?: string | undefined;
}

export class DecisionJournal {
  readonly maxDecisions: number;
  readonly #prefix: string;
  readonly #slots: Slot[] = [];
  #count = 0;

  /** @param startedAtMs wall clock; makes ids unique across restarts. Throws RangeError for a bound below 1. */
  constructor(maxDecisions: number, startedAtMs: number) {
    if (!Number.isInteger(maxDecisions) || maxDecisions < 1) {
      throw new RangeError('maxDecisions must be a whole number above 0');
    }
    this.maxDecisions = maxDecisions;
    this.#prefix = Math.floor(startedAtMs).toString(36);
  }

  /** Decisions ever taken; those above `maxDecisions` are gone. */
  get count(): number {
    return this.#count;
  }

  /** Answers the decision's id. */
  append(entry: DecisionEntry): string {
    this.#slots[this.#count % this.maxDecisions] = makeSlot(entry);
    this.#count += 1;
    return `${this.#prefix}-${this.#count}`;
  }

  /** Newest first, at most `limit`. */
  list(limit: number, filter: DecisionFilter = {}): Decision[] {
    const found: Decision[] = [];
    const oldest = Math.max(0, this.#count - this.maxDecisions);
    for (let index = this.#count - 1; index >= oldest && found.length < limit; index -= 1) {
      const entry = this.#slots[index % this.maxDecisions];
      if (entry !== undefined && isWanted(entry, filter)) found.push(this.#describe(entry, index + 1));
    }
    return found;
  }

  /** The decision that a client saw in its error's DETAIL; null once it has left the ring. */
  find(id: string): Decision | null {
    const [prefix, digits] = id.split('-');
    const number = Number(digits);
    const isHeld =
      Number.isInteger(number) && number >= 1 && number <= this.#count && number > this.#count - this.maxDecisions;
    if (prefix !== this.#prefix || !isHeld) return null;
    const entry = this.#slots[(number - 1) % this.maxDecisions];
    return entry === undefined ? null : this.#describe(entry, number);
  }

  #describe(slot: Slot, number: number): Decision {
    return { id: `${this.#prefix}-${number}`, ...slot };
  }
}

function makeSlot({ shape, subject, ...entry }: DecisionEntry): Slot {
  return {
    atMs: entry.atMs,
    rulesVersion: entry.rulesVersion,
    rule: entry.rule,
    outcome: entry.outcome,
    fingerprint: shape?.fingerprint ?? '',
    queryClass: shape?.queryClass ?? 'unknown',
    normalized: cutSample(shape?.normalized ?? ''),
    user: subject.user,
    database: subject.database,
    applicationName: subject.applicationName,
    clientIp: subject.clientIp,
    sessionId: entry.sessionId,
    isInTransaction: entry.isInTransaction,
  };
}

function isWanted(slot: Slot, filter: DecisionFilter): boolean {
  return (
    (filter.rule === undefined || slot.rule === filter.rule) &&
    (filter.outcome === undefined || slot.outcome === filter.outcome) &&
    (filter.sessionId === undefined || slot.sessionId === filter.sessionId) &&
    (filter.user === undefined || slot.user === filter.user) &&
    (filter.rulesVersion === undefined || slot.rulesVersion === filter.rulesVersion)
  );
}
