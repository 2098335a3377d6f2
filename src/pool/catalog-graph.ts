// From the rows of a database's catalogs to what its objects may leave behind in a session: each relation and function gets
// the bits of TRACE of its own and of all that it may reach.

import { type BodyScan, scanBody, scanForeignBody } from '../sql/body-scan.ts';
import { builtinTracesOfWord } from '../sql/builtin-traces.ts';
import { type CatalogKnowledge, makeKnowledge } from '../sql/catalog-knowledge.ts';
import { GenerationMap } from '../sql/generation-map.ts';
import { RUNS_ARGUMENT, TRACE, UNASKABLE } from '../sql/trace-bits.ts';
import { extensionTraces } from './extension-functions.ts';

type Oid = string;

/** Rows as catalog-reader.ts reads them. */
export interface CatalogObjects {
  /** relkind as in pg_class. */
  readonly relations: readonly (readonly [oid: Oid, name: string, kind: string])[];
  /** Of users. `body` is null where it was not read. */
  readonly functions: readonly (readonly [
    oid: Oid,
    name: string,
    language: string,
    volatility: string,
    extension: string | null,
    kind: string,
    settings: readonly string[] | null,
    takesRow: boolean,
    body: string | null,
  ])[];
  readonly uses: readonly (readonly [what: 'relation' | 'function' | 'operator', owner: Oid, uses: Oid])[];
  /** Who calls, in expressions that the catalogs keep, one of PostgreSQL's own functions that leave something. */
  readonly calls: readonly (readonly [what: 'relation' | 'function' | 'operator', owner: Oid, builtin: string])[];
  readonly drawing: readonly Oid[];
  readonly reads: readonly (readonly [view: Oid, relation: Oid])[];
  readonly reaches: readonly (readonly [from: Oid, to: Oid])[];
  /** Relations with rules of users. */
  readonly rules: readonly Oid[];
  readonly events: readonly (readonly [event: string, uses: Oid])[];
  readonly languages: readonly string[];
}

interface Node {
  readonly name: string;
  traces: number;
  readonly reached: Set<Node>;
  /** Reached as well where it runs text. */
  readonly inStrings: Set<Node>;
  draws: boolean;
  isCompiled: boolean;
  scan: BodyScan | null;
}

/** Bodies are scanned once, and not again with every reading of the catalogs. */
const scans = new GenerationMap<BodyScan>(4_096, 32 * 1024 * 1024);
const scanBytes = (body: string, { words }: BodyScan): number => 2 * body.length + 40 * words.size + 400;

/** Anything that can be asked for, and all that cannot. */
const ANYTHING = TRACE.hidden | UNASKABLE;

export function concludeKnowledge(objects: CatalogObjects): CatalogKnowledge {
  return new Graph(objects).conclude();
}

class Graph {
  readonly #objects: CatalogObjects;
  readonly #relations = new Map<Oid, Node>();
  readonly #functions = new Map<Oid, Node>();
  readonly #byWord = new Map<string, Node[]>();
  readonly #customSettings = new Set<string>();
  readonly #operators = makeNode('');

  constructor(objects: CatalogObjects) {
    this.#objects = objects;
  }

  conclude(): CatalogKnowledge {
    this.#addRelations();
    this.#addFunctions();
    this.#connect();
    this.#connectWords();
    this.#spread();
    const { events, languages } = this.#objects;
    const definitionTraces = events
      .filter(([event]) => event !== 'login')
      .reduce((traces, [, oid]) => traces | (this.#functions.get(oid)?.traces ?? 0), 0);
    let hiddenTraces = 0;
    for (const { traces } of this.#functions.values()) hiddenTraces |= traces & UNASKABLE;
    return makeKnowledge({
      relations: tracesByName(this.#relations.values()),
      drawing: new Set([...this.#relations.values()].filter(({ draws }) => draws).map(({ name }) => name)),
      functions: tracesByName(this.#functions.values()),
      attributeFunctions: this.#attributeFunctions(),
      operatorTraces: this.#operators.traces & ~RUNS_ARGUMENT,
      definitionTraces: definitionTraces & ~RUNS_ARGUMENT,
      hiddenTraces,
      customSettings: [...this.#customSettings],
      hasLoginTrigger: events.some(([event]) => event === 'login'),
      hasPlpgsql: languages.includes('plpgsql'),
    });
  }

  #addRelations(): void {
    for (const [oid, name, kind] of this.#objects.relations) {
      const node = makeNode(name);
      // Foreign tables are other people's code.
      if (kind === 'f') node.traces = TRACE.hidden;
      this.#relations.set(oid, node);
      this.#nameWord(node);
    }
    for (const oid of this.#objects.rules) {
      const node = this.#relations.get(oid);
      if (node !== undefined) node.traces |= TRACE.hidden;
    }
    for (const oid of this.#objects.drawing) {
      const node = this.#relations.get(oid);
      if (node !== undefined) node.draws = true;
    }
  }

  #addFunctions(): void {
    for (const [oid, name, language, volatility, extension, , settings, , body] of this.#objects.functions) {
      const node = makeNode(name);
      this.#functions.set(oid, node);
      this.#nameWord(node);
      if (language === 'internal') node.traces = builtinTracesOfWord(body ?? '');
      else if (language === 'c') {
        node.isCompiled = true;
        node.traces = extensionTraces(name, volatility, extension);
      } else if (body === null) node.traces = ANYTHING;
      else if (language === 'sql' || language === 'plpgsql') this.#readBody(node, body);
      else this.#readForeignBody(node, body, language);
      // Of its SET clauses a placeholder stays, though empty.
      const names = (settings ?? []).map((setting) => setting.slice(0, setting.indexOf('=')));
      this.#noteCustom(
        node,
        names.filter((setting) => setting.includes('.')),
      );
    }
  }

  #readBody(node: Node, written: string): void {
    const body = withoutHeader(written);
    let scan = scans.get(body, scanBytes);
    if (scan === undefined) {
      scan = scanBody(body);
      scans.set(body, scan, scanBytes);
    }
    node.scan = scan;
    node.traces |= scan.traces;
    this.#noteCustom(node, scan.customNames);
  }

  /** Settings that have to be asked for by name, which a caller's text does not have: so the call counts as hidden. */
  #noteCustom(node: Node, names: readonly string[]): void {
    if (names.length > 0) node.traces |= TRACE.hidden | TRACE.settings;
    for (const name of names) this.#customSettings.add(name.toLowerCase());
  }

  #readForeignBody(node: Node, body: string, language: string): void {
    const { traces, customNames } = scanForeignBody(body, language);
    node.traces |= traces;
    this.#noteCustom(node, customNames);
  }

  #connect(): void {
    for (const [what, owner, builtin] of this.#objects.calls) {
      const node =
        what === 'operator' ? this.#operators : (what === 'function' ? this.#functions : this.#relations).get(owner);
      if (node !== undefined) node.traces |= builtinTracesOfWord(builtin);
    }
    for (const [what, owner, uses] of this.#objects.uses) {
      const used = this.#functions.get(uses);
      if (used === undefined) continue;
      // Compiled code behind an operator or a type often is volatile only because nobody has said what it is.
      if (what === 'operator' && used.isCompiled) continue;
      if (what === 'operator') this.#operators.reached.add(used);
      else if (what === 'function') this.#functions.get(owner)?.reached.add(used);
      else this.#relations.get(owner)?.reached.add(used);
    }
    const { reads } = this.#objects;
    for (const [from, to] of [...reads, ...this.#objects.reaches]) {
      const reached = this.#relations.get(to);
      if (reached !== undefined) this.#relations.get(from)?.reached.add(reached);
    }
    // A view that can be written to writes to what it reads.
    for (let isGrowing = true; isGrowing; ) {
      isGrowing = false;
      for (const [view, table] of reads) {
        const node = this.#relations.get(view);
        if (node === undefined || node.draws || this.#relations.get(table)?.draws !== true) continue;
        node.draws = true;
        isGrowing = true;
      }
    }
  }

  /** A body reaches whatever one of its words is the name of. */
  #connectWords(): void {
    for (const node of this.#functions.values()) {
      for (let { scan } = node, reached = node.reached; scan !== null; scan = scan.strings, reached = node.inStrings) {
        const isInserting = ['insert', 'merge', 'copy'].some((word) => scan?.words.has(word));
        for (const word of scan.words) {
          for (const named of this.#byWord.get(word) ?? []) {
            reached.add(named);
            if (isInserting && named.draws) node.traces |= TRACE.sequence;
          }
        }
      }
    }
  }

  /** Until nothing changes: every node gets the bits of all that it reaches. */
  #spread(): void {
    const nodes = [...this.#relations.values(), ...this.#functions.values(), this.#operators].filter(
      ({ reached, inStrings }) => reached.size + inStrings.size > 0,
    );
    for (let isGrowing = true; isGrowing; ) {
      isGrowing = false;
      for (const node of nodes) {
        let { traces } = node;
        for (const reached of node.reached) traces |= reached.traces;
        if ((traces & RUNS_ARGUMENT) !== 0) {
          for (const reached of node.inStrings) traces |= reached.traces;
          for (let strings = node.scan?.strings ?? null; strings !== null; strings = strings.strings)
            traces |= strings.traces;
        }
        if (traces === node.traces) continue;
        node.traces = traces;
        isGrowing = true;
      }
    }
  }

  #attributeFunctions(): ReadonlyMap<string, number> {
    const found = new Map<string, number>();
    for (const [oid, name, , , , , , takesRow] of this.#objects.functions) {
      const traces = this.#functions.get(oid)?.traces ?? 0;
      if (takesRow && traces !== 0) found.set(name, (found.get(name) ?? 0) | traces);
    }
    return found;
  }

  #nameWord(node: Node): void {
    const named = this.#byWord.get(node.name);
    if (named === undefined) this.#byWord.set(node.name, [node]);
    else named.push(node);
  }
}

function makeNode(name: string): Node {
  return { name, traces: 0, reached: new Set(), inStrings: new Set(), draws: false, isCompiled: false, scan: null };
}

function tracesByName(nodes: Iterable<Node>): Map<string, number> {
  const traces = new Map<string, number>();
  for (const node of nodes) traces.set(node.name, (traces.get(node.name) ?? 0) | node.traces);
  return traces;
}

/** A body of standard SQL comes with the words of CREATE FUNCTION before it (pg_get_functiondef). */
function withoutHeader(body: string): string {
  const [, standard] =
    /^CREATE OR REPLACE (?:FUNCTION|PROCEDURE) [\s\S]*?\n\s*(BEGIN ATOMIC\b[\s\S]*|RETURN\b[\s\S]*)$/.exec(body) ?? [];
  return standard ?? body;
}
