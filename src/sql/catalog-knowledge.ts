// What is known of a database's objects: which relations and functions run no code that a statement's text does not show,
// and what such code may leave behind in the session, as bits of TRACE (trace-bits.ts). Answers are by bare name over every
// schema, because search_path decides at run time which object of a name is meant. Read by pool/catalog-reader.ts.

import { MAY_RUN_ARGUMENT, TRACE, UNASKABLE } from './trace-bits.ts';

export interface CatalogKnowledge {
  /** What reading and writing a relation may leave; zero for a plain table. A relation that is not known hides code. */
  tracesOfRelation(name: string): number;
  /** Inserting into some relation of that name draws from a sequence: a serial or identity column, a nextval() default. */
  drawsSequence(name: string): boolean;
  /** What calling a function outside pg_catalog may leave; null where there is none of that name. */
  tracesOfFunction(name: string): number | null;
  /** What is behind a word in the body of a function: a function, a relation, or (zero) neither. */
  tracesOfWord(word: string): number;
  /** What operators, casts, types and domains of users may leave: any expression may use them. */
  readonly operatorTraces: number;
  /** What event triggers on DDL may leave. */
  readonly definitionTraces: number;
  /** What no question finds and some function of this database may leave, for texts that could not be read. */
  readonly hiddenTraces: number;
  /** Functions with traces that `row.name` calls as well, because they take a row. */
  readonly attributeFunctions: ReadonlyMap<string, number>;
  /** Dotted setting names that functions set. */
  readonly customSettings: readonly string[];
  /** A login event trigger fires for each server connection. */
  readonly hasLoginTrigger: boolean;
  /** The asking role may run DO. */
  readonly hasPlpgsql: boolean;
}

export interface KnownObjects {
  /** Bits of TRACE by bare name, zero for what is plain. */
  readonly relations: ReadonlyMap<string, number>;
  readonly drawing: ReadonlySet<string>;
  readonly functions: ReadonlyMap<string, number>;
  readonly attributeFunctions: ReadonlyMap<string, number>;
  readonly operatorTraces: number;
  readonly definitionTraces: number;
  readonly hiddenTraces: number;
  readonly customSettings: readonly string[];
  readonly hasLoginTrigger: boolean;
  readonly hasPlpgsql: boolean;
}

const HIDDEN: number = TRACE.hidden;

/** An object that is not known was made since, or is temporary. */
export function makeKnowledge(known: KnownObjects): CatalogKnowledge {
  return Object.freeze({
    tracesOfRelation: (name) => {
      let traces = -1;
      for (const bare of bareNames(name)) {
        const found = known.relations.get(bare);
        if (found !== undefined) traces = traces < 0 ? found : traces | found;
      }
      return traces < 0 ? HIDDEN : traces;
    },
    drawsSequence: (name) => bareNames(name).some((bare) => known.drawing.has(bare)),
    tracesOfFunction: (name) => known.functions.get(name.slice(name.lastIndexOf('.') + 1)) ?? null,
    tracesOfWord: (word) => (known.relations.get(word) ?? 0) | (known.functions.get(word) ?? 0),
    attributeFunctions: known.attributeFunctions,
    operatorTraces: known.operatorTraces,
    definitionTraces: known.definitionTraces,
    hiddenTraces: known.hiddenTraces,
    customSettings: known.customSettings,
    hasLoginTrigger: known.hasLoginTrigger,
    hasPlpgsql: known.hasPlpgsql,
  } satisfies CatalogKnowledge);
}

/** `schema.name` as facts have it; a quoted name may hold dots of its own. */
function bareNames(name: string): string[] {
  const names = [name];
  for (let dot = name.indexOf('.'); dot >= 0; dot = name.indexOf('.', dot + 1)) names.push(name.slice(dot + 1));
  return names;
}

const ANYTHING: number = HIDDEN | UNASKABLE;

/** Nothing is known: every relation, function and operator may hide code that leaves what no question finds. */
export const NO_KNOWLEDGE: CatalogKnowledge = Object.freeze({
  tracesOfRelation: () => ANYTHING,
  drawsSequence: () => true,
  tracesOfFunction: () => ANYTHING | MAY_RUN_ARGUMENT,
  tracesOfWord: () => ANYTHING,
  operatorTraces: ANYTHING,
  definitionTraces: ANYTHING,
  hiddenTraces: UNASKABLE,
  attributeFunctions: new Map<string, number>(),
  customSettings: Object.freeze([]),
  hasLoginTrigger: false,
  hasPlpgsql: true,
});

/**
 * Knowledge that may be out of date, while definitions change: anything may hide code now, but what no question finds is
 * still judged by what was known, so that no session is pinned for a function that it does not call.
 *
 * @param added bits of TRACE that the new definitions mention (`definedTraces`)
 */
export function makeDoubtful(last: CatalogKnowledge, added: number): CatalogKnowledge {
  const doubt = HIDDEN | added;
  return Object.freeze({
    ...last,
    tracesOfRelation: (name) => doubt | last.tracesOfRelation(name),
    drawsSequence: (name) => last.drawsSequence(name),
    tracesOfFunction: (name) => doubt | MAY_RUN_ARGUMENT | (last.tracesOfFunction(name) ?? 0),
    tracesOfWord: (word) => doubt | last.tracesOfWord(word),
    operatorTraces: doubt | last.operatorTraces,
    definitionTraces: doubt | last.definitionTraces,
    hiddenTraces: added | last.hiddenTraces,
  } satisfies CatalogKnowledge);
}
