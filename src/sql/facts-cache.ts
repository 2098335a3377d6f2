// Facts by text: known texts by one map look-up, new texts of a known shape by one scan, everything else by the grammar.
// A shape is shared by all its texts; a text that differs from a known one only in its literals is not kept.

import { decodeSql, isAsciiText } from './encoding.ts';
import { NO_STATEMENTS, type StatementShape, type TextFacts } from './facts.ts';
import { GenerationMap } from './generation-map.ts';
import { parserStats } from './parse.ts';
import { KIN, RecentTexts } from './recent-texts.ts';
import { ShapeScanner } from './shape.ts';
import { readStatements } from './statement-reader.ts';
import { NO_TAGS, readTags } from './tags.ts';
import { tooLongFacts, unparsedFacts } from './unparsed.ts';

export interface FactsCacheOptions {
  /** Texts kept, and again shapes kept. */
  readonly maxEntries: number;
  /** Estimate of what all that is kept may take. */
  readonly maxBytes: number;
  /** A longer text is not analysed: facts with `unparsed: 'too_long'`. */
  readonly maxAnalyzedBytes: number;
}

/** Plain counters, read when scraped. */
export interface FactsCacheStats {
  textHits: number;
  shapeHits: number;
  /** Texts that went through the grammar. */
  misses: number;
  /** Texts for which the facts are `unparsed`, counted once per miss. */
  unparsed: number;
}

/** What the reading of a text depends on besides its bytes. */
interface ReadingConditions {
  /** ASCII without a backslash reads the same under every encoding and setting. */
  readonly isUnconditional: boolean;
  readonly encoding: string;
  readonly areStringsConforming: boolean;
}

interface KnownText {
  readonly facts: TextFacts;
  readonly conditions: ReadingConditions;
}

/** A shape and the last text that had it: the same text twice in a row is worth keeping. */
interface KnownShape {
  readonly shape: StatementShape;
  lastText: string;
  lastFacts: TextFacts;
}

/** Estimates, in bytes, of what an entry takes besides its strings. */
const ENTRY_BYTES = 400;
const MAX_REMEMBERED_CHARACTERS = 1024;

const WORTH = { nothing: 0, bytes: 1, twins: 2 } as const;
type Worth = (typeof WORTH)[keyof typeof WORTH];

export class FactsCache {
  readonly stats: FactsCacheStats = { textHits: 0, shapeHits: 0, misses: 0, unparsed: 0 };
  readonly #maxAnalyzedBytes: number;
  readonly #texts: GenerationMap<KnownText>;
  readonly #shapes: GenerationMap<KnownShape>;
  /** One object per distinct shape, whichever road its texts take. */
  readonly #sharedShapes: GenerationMap<StatementShape>;
  readonly #scanner = new ShapeScanner();
  readonly #recent = new RecentTexts();
  /** As what the text that was read last is worth keeping by its bytes. */
  #worth: Worth = WORTH.nothing;
  /** What the grammar was asked last it may answer otherwise another time: that is not kept. */
  #isPostponed = false;

  constructor(options: FactsCacheOptions) {
    this.#maxAnalyzedBytes = options.maxAnalyzedBytes;
    this.#texts = new GenerationMap(options.maxEntries, options.maxBytes / 2);
    this.#shapes = new GenerationMap(options.maxEntries, options.maxBytes / 4);
    this.#sharedShapes = new GenerationMap(options.maxEntries, options.maxBytes / 4);
  }

  /** What is kept now, and how many entries were forgotten so far. */
  occupancy(): { texts: number; shapes: number; bytes: number; evictions: number } {
    return {
      texts: this.#texts.size,
      shapes: this.#shapes.size,
      bytes: this.#texts.bytes + this.#shapes.bytes + this.#sharedShapes.bytes,
      evictions: this.#texts.evictions + this.#shapes.evictions + this.#sharedShapes.evictions,
    };
  }

  /**
   * The facts of the text at `buffer[start, end)`, as `read` gives them.
   *
   * @param mayBeTwin where it is known but for the digits of numbers, the facts of that text will do; their `text` shows
   * other digits
   */
  readBytes(
    buffer: Buffer,
    start: number,
    end: number,
    encoding: string,
    areStringsConforming: boolean,
    mayBeTwin: boolean,
  ): TextFacts {
    const recent = this.#recent.find(buffer, start, end, mayBeTwin);
    if (recent !== null) {
      if (this.#recent.kin === KIN.same) this.stats.textHits++;
      else this.stats.shapeHits++;
      return recent;
    }
    const text = buffer.toString('latin1', start, end);
    const facts = this.read(text, encoding, areStringsConforming);
    if (this.#worth !== WORTH.nothing) this.#recent.keep(text, facts, this.#worth === WORTH.twins);
    return facts;
  }

  /**
   * The facts of one message's text.
   *
   * @param latin1 the statement's bytes, one character each, without the terminating NUL
   * @param encoding client_encoding as the server reports it
   * @param areStringsConforming standard_conforming_strings is on
   */
  read(latin1: string, encoding: string, areStringsConforming: boolean): TextFacts {
    const known = this.#texts.get(latin1, textBytes);
    if (known !== undefined && holdUnder(known.conditions, encoding, areStringsConforming)) {
      this.stats.textHits++;
      this.#worth = known.conditions.isUnconditional ? WORTH.bytes : WORTH.nothing;
      return known.facts;
    }
    this.#worth = WORTH.nothing;
    return this.#readNew(latin1, encoding, areStringsConforming);
  }

  #readNew(latin1: string, encoding: string, areStringsConforming: boolean): TextFacts {
    if (latin1.length > this.#maxAnalyzedBytes) {
      const facts = [tooLongFacts(decodeSql(latin1, encoding) ?? latin1)];
      return this.#countMiss(facts);
    }
    let isScanned = this.#scanner.scan(latin1);
    if (isScanned && !this.#scanner.hasNonAscii) {
      return this.#readScanned(latin1, latin1, { isUnconditional: true, encoding, areStringsConforming });
    }
    let text: string | null = latin1;
    let isUnconditional = false;
    if (isAsciiText(latin1)) {
      isUnconditional = !latin1.includes('\\');
    } else {
      text = decodeSql(latin1, encoding);
      isScanned = text !== null && this.#scanner.scan(text);
    }
    const conditions = { isUnconditional, encoding, areStringsConforming };
    if (text === null) return this.#keepText(latin1, [unparsedFacts(latin1, 'encoding')], conditions);
    if (isScanned) return this.#readScanned(latin1, text, conditions);
    // With standard_conforming_strings off a backslash in '…' may hide the closing quote from the grammar used here.
    if (!areStringsConforming && text.includes('\\')) {
      return this.#keepText(latin1, [unparsedFacts(text, 'syntax')], conditions);
    }
    const facts = this.#readByGrammar(text);
    return this.#isPostponed ? this.#countMiss(facts) : this.#keepText(latin1, facts, conditions);
  }

  #readByGrammar(text: string): TextFacts {
    const { postponed } = parserStats();
    const facts = this.#shareShapes(readStatements(text));
    this.#isPostponed = parserStats().postponed !== postponed;
    return facts;
  }

  /** The scanner has just read `text`: its fields describe it. */
  #readScanned(latin1: string, text: string, conditions: ReadingConditions): TextFacts {
    const known = this.#shapes.get(this.#scanner.key, shapeBytes);
    if (known === undefined) return this.#readNewShape(latin1, text, conditions);
    this.stats.shapeHits++;
    if (known.lastText === text) {
      this.#texts.set(latin1, { facts: Object.freeze(known.lastFacts), conditions }, textBytes);
      return known.lastFacts;
    }
    const { commentRanges, literalCount } = this.#scanner;
    const tags = commentRanges.length === 0 ? NO_TAGS : readTags(text, commentRanges);
    const facts: TextFacts = [{ text, shape: known.shape, tags, effect: null }];
    if (literalCount === 0 && commentRanges.length === 0) {
      // Without literals and comments a shape has few texts.
      this.#texts.set(latin1, { facts: Object.freeze(facts), conditions }, textBytes);
    } else if (text.length <= MAX_REMEMBERED_CHARACTERS) {
      known.lastText = text;
      known.lastFacts = facts;
      if (conditions.isUnconditional && commentRanges.length === 0) this.#worth = WORTH.twins;
    }
    return facts;
  }

  #readNewShape(latin1: string, text: string, conditions: ReadingConditions): TextFacts {
    const facts = this.#readByGrammar(text);
    if (this.#isPostponed) return this.#countMiss(facts);
    const [first] = facts;
    // The scanner lets one plain query through; should the grammar see more in it, only this text is known.
    if (first === undefined || facts.length !== 1 || first.effect !== null) {
      return this.#keepText(latin1, facts, conditions);
    }
    const isShort = text.length <= MAX_REMEMBERED_CHARACTERS;
    const known = { shape: first.shape, lastText: isShort ? text : '', lastFacts: isShort ? facts : NO_STATEMENTS };
    this.#shapes.set(this.#scanner.key, known, shapeBytes);
    return this.#countMiss(facts);
  }

  #keepText(latin1: string, facts: TextFacts, conditions: ReadingConditions): TextFacts {
    this.#texts.set(latin1, { facts, conditions }, textBytes);
    return this.#countMiss(facts);
  }

  #countMiss(facts: TextFacts): TextFacts {
    this.stats.misses++;
    if (facts[0] !== undefined && facts[0].shape.unparsed !== null) this.stats.unparsed++;
    return facts;
  }

  #shareShapes(facts: TextFacts): TextFacts {
    if (facts.length === 0) return facts;
    return Object.freeze(
      facts.map((statement) => Object.freeze({ ...statement, shape: this.#share(statement.shape) })),
    );
  }

  #share(shape: StatementShape): StatementShape {
    const identity = identityOf(shape);
    const shared = this.#sharedShapes.get(identity, sharedBytes);
    if (shared !== undefined) return shared;
    this.#sharedShapes.set(identity, shape, sharedBytes);
    return shape;
  }
}

/** A text that was read under these conditions reads the same under those settings. */
function holdUnder(conditions: ReadingConditions, encoding: string, areStringsConforming: boolean): boolean {
  if (conditions.isUnconditional) return true;
  return conditions.encoding === encoding && conditions.areStringsConforming === areStringsConforming;
}

function identityOf(shape: StatementShape): string {
  const { normalized, fingerprint, queryClass, kinds, tables, functions, columns, isMissingWhere, unparsed } = shape;
  return JSON.stringify([
    normalized,
    fingerprint,
    queryClass,
    kinds,
    tables,
    functions,
    columns,
    isMissingWhere,
    unparsed,
  ]);
}

function textBytes(latin1: string, known: KnownText): number {
  let bytes = latin1.length + ENTRY_BYTES;
  for (const statement of known.facts) bytes += 2 * statement.text.length + 200;
  return bytes;
}

function shapeBytes(key: string, known: KnownShape): number {
  return key.length + MAX_REMEMBERED_CHARACTERS + known.shape.normalized.length + ENTRY_BYTES;
}

function sharedBytes(identity: string, shape: StatementShape): number {
  return 2 * identity.length + shape.normalized.length + ENTRY_BYTES;
}
