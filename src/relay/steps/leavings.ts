// What the statements of one client may have left behind in its session, added up until the server is asked.

import type { Catalog } from '../../pool/catalogs.ts';
import { type Belongings, makeBelongings, NO_BELONGINGS, PERHAPS_EMPTY } from '../../session/belongings.ts';
import { readTokens } from '../../sql/body-tokens.ts';
import type { StatementFacts, TextFacts } from '../../sql/facts.ts';
import { customSettingsIn, discardedBy, TRACE, traceOf, UNASKABLE } from '../../sql/traces.ts';

/** Names of custom settings that are followed for one client; who makes more keeps its connection, or stays on the primary. */
export const MAX_CUSTOM_NAMES = 256;

export interface Changes {
  /** Definitions may change. */
  readonly isDefinition: boolean;
  /** Sequences are drawn from, which nobody follows. */
  readonly hasDrawn: boolean;
}

const NONE: Changes = Object.freeze({ isDefinition: false, hasDrawn: false });

export class Leavings {
  /** Bits of TRACE: what may have been left behind since the server was asked last. */
  traces = 0;
  /** What no question can find (UNASKABLE), until a DISCARD ends it. */
  unaskable = 0;
  readonly #catalog: Catalog;
  readonly #followsSequences: boolean;
  readonly #customNames = new Set<string>();
  /** Definitions were changed since, it may be in the transaction that is open. */
  #hasDefined = false;

  constructor(catalog: Catalog, sequences: 'keep' | 'discard') {
    this.#catalog = catalog;
    this.#followsSequences = sequences === 'keep';
  }

  /** These statements are about to run. */
  add(statements: TextFacts, belongings: Belongings): Changes {
    let traces = 0;
    for (const statement of statements) {
      const own = traceOf(statement, this.#catalog.knowledge) | this.#followPrepared(statement);
      this.#hasDefined ||= (own & TRACE.definition) !== 0;
      if (own !== 0) traces |= this.#refine(statement, own, belongings);
    }
    if (traces === 0) return NONE;
    const hasDrawn = !this.#followsSequences && (traces & TRACE.sequence) !== 0;
    if (hasDrawn) traces &= ~TRACE.sequence;
    this.traces |= traces & ~UNASKABLE & ~TRACE.definition;
    this.unaskable |= traces & UNASKABLE;
    return { isDefinition: (traces & TRACE.definition) !== 0, hasDrawn };
  }

  /** Custom settings that the server has to be asked for by name: it lists none. */
  names(belongings: Belongings): string[] {
    const names = new Set([...this.#customNames, ...belongings.custom.keys()]);
    if ((this.traces & TRACE.hidden) !== 0) for (const name of this.#catalog.customSettings) names.add(name);
    return [...names];
  }

  /** What DISCARD ALL leaves: custom settings lose their values, but are known, if they ever were. */
  remains(belongings: Belongings): Belongings {
    const names = this.names(belongings);
    return names.length === 0
      ? NO_BELONGINGS
      : makeBelongings({ custom: new Map(names.map((name) => [name, PERHAPS_EMPTY])) });
  }

  /** The server has told what is there. */
  settle(): void {
    this.traces = 0;
    this.#hasDefined = false;
    this.#customNames.clear();
  }

  /** That statement has been completed. */
  noteDone(statement: StatementFacts): void {
    if (this.unaskable !== 0) this.unaskable &= ~discardedBy(statement);
  }

  /** Definitions of a prepared transaction change when that is committed, by whomever. */
  #followPrepared({ shape, text }: StatementFacts): number {
    const [kind] = shape.kinds;
    if (kind === 'prepare_transaction' && this.#hasDefined) this.#catalog.notePrepared(nameOf(text));
    return kind === 'commit_prepared' && this.#catalog.hasPrepared(nameOf(text)) ? TRACE.definition : 0;
  }

  #refine(statement: StatementFacts, traces: number, belongings: Belongings): number {
    const { effect } = statement;
    if ((traces & (TRACE.settings | TRACE.hidden)) === 0) return traces;
    // ParameterStatus tells.
    if (effect?.type === 'set' && effect.name === 'application_name') return traces & ~TRACE.settings;
    const names = customSettingsIn(statement);
    if (names.length === 0) return traces;
    if (effect?.type === 'set' && effect.isLocal && names.every((name) => belongings.custom.has(name)))
      return traces & ~TRACE.settings;
    for (const name of names) this.#customNames.add(name);
    return this.#customNames.size > MAX_CUSTOM_NAMES ? traces | TRACE.opaqueSetting : traces;
  }
}

/** The one string of PREPARE TRANSACTION and COMMIT PREPARED. */
function nameOf(text: string): string {
  return readTokens(text).find(({ kind }) => kind === 'string')?.text ?? '';
}
