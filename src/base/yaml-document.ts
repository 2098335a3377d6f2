// YAML (and so JSON) text as a value that still knows where each part stood, and JSON Schema errors told as a person
// would tell them, with line and column. Rule documents, settings and rule cases all come in through here.

import type { ErrorObject, ValidateFunction } from 'ajv';
import type { Document, ParsedNode } from 'yaml';
import {
  isAlias,
  isMap,
  isNode,
  isPair,
  isScalar,
  isSeq,
  LineCounter,
  parseDocument,
  visit,
  type YAMLError,
  YAMLParseError,
} from 'yaml';
import { describeError } from './errors.ts';

export interface DocumentProblem {
  readonly message: string;
  /** Where in the value: `rules[2].match.client_ip`; empty for the document itself. */
  readonly path: string;
  /** From 1. */
  readonly line: number;
  readonly column: number;
  /** The file's path, or a word such as `POST /rules`. */
  readonly source: string;
}

export type ValuePath = readonly (string | number)[];

const MAX_PROBLEMS = 50;
const NO_ANCHOR =
  'a word that begins with * is an alias to YAML, and there is no such anchor above: quote it if it is none';
const KEY_TWICE = 'Map keys must be unique';
/** Sorting out which errors echo others is quadratic, so a hostile document must not bring many. */
const MAX_ERRORS_READ = 400;
/** Past this many resolved aliases a document is an attack (a "billion laughs"), not a configuration. */
const MAX_ALIASES = 100;

/** Text that was read as YAML: its plain value, what was wrong with the text, and the way back to line and column. */
export class PositionedDocument {
  /** The plain value; `undefined` where `problems` is not empty. */
  readonly value: unknown;
  readonly problems: readonly DocumentProblem[];
  readonly source: string;
  readonly #text: string;
  readonly #document: Document.Parsed<ParsedNode>;
  readonly #lines: LineCounter;

  constructor(text: string, source: string) {
    this.source = source;
    this.#text = text;
    this.#lines = new LineCounter();
    this.#document = parseDocument(text, {
      lineCounter: this.#lines,
      prettyErrors: false,
      stringKeys: true,
      logLevel: 'error',
      // The library compares each key with each: a file of 60,000 keys, posted by mistake, would take it a minute.
      uniqueKeys: false,
    });
    if (this.#document.errors.length === 0) this.#document.errors.push(...findKeysTwice(this.#document));
    const problems = [...this.#document.errors, ...this.#document.warnings.filter(isTag)]
      .slice(0, MAX_PROBLEMS)
      .map((error) => this.#problemAtOffset(wordYamlError(error), '', error.pos[0]));
    let value: unknown;
    if (problems.length === 0) {
      try {
        value = this.#document.toJS({ maxAliasCount: MAX_ALIASES });
        if (text.includes('*')) refuseCycles(value);
      } catch (error) {
        problems.push(this.#findUnknownAlias() ?? this.#problemAtOffset(describeError(error), '', 0));
      }
    }
    this.problems = problems;
    this.value = value;
  }

  /** A problem at the value that `path` leads to, or at the nearest part of the way that exists. */
  problemAt(path: ValuePath, message: string, at: 'value' | 'key' = 'value'): DocumentProblem {
    return this.#problemAtOffset(message, describePath(path), this.#offsetOf(path, at));
  }

  /**
   * The text of one top-level key and its value, with all else blanked out so that lines and columns stay true; null
   * where the document is no map or has no such key.
   */
  isolateTopLevel(key: string): string | null {
    const contents = this.#document.contents;
    if (!isMap(contents)) return null;
    const pair = contents.items.find((item) => isScalar(item.key) && item.key.value === key);
    if (pair === undefined || !isScalar(pair.key)) return null;
    const start = pair.key.range?.[0] ?? 0;
    const end = isNode(pair.value) ? (pair.value.range?.[1] ?? start) : (pair.key.range?.[1] ?? start) + 1;
    const blank = (part: string): string => part.replace(/[^\r\n]/g, ' ');
    const before = blank(this.#text.slice(0, start));
    const behind = blank(this.#text.slice(end));
    const own = this.#text.slice(start, end);
    if (contents.flow !== true) return before + own + behind;
    // Only between its braces may a line begin anywhere, as those of JSON do.
    const first = contents.range[0];
    const last = contents.range[1] - 1 - end;
    return `${before.slice(0, first)}{${before.slice(first + 1)}${own}${behind.slice(0, last)}}${behind.slice(last + 1)}`;
  }

  /** The first alias without an anchor above it. The library refuses it too, but does not say where it stands. */
  #findUnknownAlias(): DocumentProblem | null {
    const anchors = new Set<string>();
    let problem: DocumentProblem | null = null;
    visit(this.#document, {
      Node: (_key, node) => {
        if (!isAlias(node)) {
          if (node.anchor !== undefined) anchors.add(node.anchor);
          return undefined;
        }
        if (anchors.has(node.source)) return undefined;
        problem = this.#problemAtOffset(NO_ANCHOR, '', startOf(node) ?? 0);
        return visit.BREAK;
      },
    });
    return problem;
  }

  #offsetOf(path: ValuePath, at: 'value' | 'key'): number {
    let node: unknown = this.#document.contents;
    let offset = startOf(node) ?? 0;
    path.forEach((step, index) => {
      const isLast = index === path.length - 1;
      if (isMap(node)) {
        const pair = node.items.find((item) => isScalar(item.key) && String(item.key.value) === String(step));
        if (!isPair(pair)) {
          node = undefined;
          return;
        }
        const keyStart = startOf(pair.key);
        const valueStart = startOf(pair.value);
        offset = (isLast && at === 'key' ? keyStart : (valueStart ?? keyStart)) ?? offset;
        node = pair.value;
      } else if (isSeq(node)) {
        node = node.items[Number(step)];
        offset = startOf(node) ?? offset;
      }
    });
    return offset;
  }

  #problemAtOffset(message: string, path: string, offset: number): DocumentProblem {
    const position = this.#lines.linePos(offset);
    return { message, path, line: Math.max(1, position.line), column: Math.max(1, position.col), source: this.source };
  }
}

/** `['rules', 2, 'match']` as `rules[2].match`. */
export function describePath(path: ValuePath): string {
  let described = '';
  for (const step of path) {
    if (typeof step === 'number') described += `[${step}]`;
    else described += described === '' ? step : `.${step}`;
  }
  return described;
}

/** One problem as `source:line:column: path: message`, the form that editors and terminals make clickable. */
export function formatProblem(problem: DocumentProblem): string {
  const where = `${problem.source}:${problem.line}:${problem.column}`;
  return problem.path === '' ? `${where}: ${problem.message}` : `${where}: ${problem.path}: ${problem.message}`;
}

/**
 * Checks the document's value against a compiled schema; empty when it holds. The schema must have been compiled with
 * `allErrors` and `verbose`.
 */
export function findSchemaProblems(document: PositionedDocument, validate: ValidateFunction): DocumentProblem[] {
  if (validate(document.value)) return [];
  const errors = dropEchoes(validate.errors ?? []);
  const problems = errors.map((error) => {
    const path = readPointer(error.instancePath, document.value);
    const unknownKey: unknown = error.params.additionalProperty ?? error.params.unevaluatedProperty;
    if (typeof unknownKey === 'string') return document.problemAt([...path, unknownKey], wordError(error), 'key');
    return document.problemAt(path, wordError(error));
  });
  const seen = new Set<string>();
  return problems
    .filter((problem) => {
      const key = formatProblem(problem);
      return seen.has(key) ? false : seen.add(key);
    })
    .sort((left, right) => left.line - right.line || left.column - right.column)
    .slice(0, MAX_PROBLEMS);
}

/** A choice (`anyOf`, `oneOf`) fails once for itself and once for each branch: keep what tells the author most. */
function dropEchoes(errors: readonly ErrorObject[]): ErrorObject[] {
  const plain = errors.slice(0, MAX_ERRORS_READ).filter((error) => error.keyword !== 'if');
  const choices = plain.filter((error) => error.keyword === 'anyOf' || error.keyword === 'oneOf');
  if (choices.length === 0) return plain;
  return plain.filter((error) => {
    const isChoice = choices.includes(error);
    const own = isChoice ? error : choices.find((choice) => isBranchOf(error, choice));
    if (own === undefined) return true;
    const branches = plain.filter((other) => other !== own && isBranchOf(other, own));
    const telling = branches.filter((other) => other.keyword !== 'type' || other.instancePath !== own.instancePath);
    return telling.length > 0 ? telling.includes(error) : isChoice;
  });
}

function isBranchOf(error: ErrorObject, choice: ErrorObject): boolean {
  const isAtOrBelow =
    error.instancePath === choice.instancePath || error.instancePath.startsWith(`${choice.instancePath}/`);
  return isAtOrBelow && error.schemaPath.startsWith(`${choice.schemaPath}/`);
}

/** What wordError reads of an error: of Ajv's own, and of one that comes through Fastify. */
export interface SchemaComplaint {
  readonly keyword: string;
  readonly instancePath: string;
  readonly params: Readonly<Record<string, unknown>>;
  readonly message?: string | undefined;
  /** The rest is there under Ajv's option `verbose`. */
  readonly data?: unknown;
  readonly schema?: unknown;
  readonly parentSchema?: Readonly<Record<string, unknown>> | undefined;
}

/** A password of digits is a number to YAML: what is told of it must not hold it. */
const SECRET = /\/(password|token)$/;

/** What is wrong with the value, without its place. */
export function wordError(error: SchemaComplaint): string {
  const { params } = error;
  switch (error.keyword) {
    case 'additionalProperties':
    case 'unevaluatedProperties': {
      const key = String(params.additionalProperty ?? params.unevaluatedProperty);
      const near = findNearest(key, Object.keys((error.parentSchema?.properties ?? {}) as object));
      return near === null ? `unknown key "${key}"` : `unknown key "${key}" (did you mean "${near}"?)`;
    }
    case 'required':
      return `missing key "${String(params.missingProperty)}"`;
    case 'enum': {
      const allowed = (params.allowedValues as unknown[]).map(String);
      const near = findNearest(String(error.data), allowed);
      const hint = near === null ? '' : ` (did you mean "${near}"?)`;
      return `${showValue(error.data)} is not one of ${allowed.join(', ')}${hint}`;
    }
    case 'const':
      return `must be ${showValue(params.allowedValue)}`;
    case 'type':
      return `must be ${nameTypes(params.type)}, not ${SECRET.test(error.instancePath) ? `a ${typeof error.data}` : nameOf(error.data)}`;
    case 'anyOf':
    case 'oneOf': {
      const branches = error.schema as { type?: unknown }[];
      const types = branches.flatMap((branch) => (branch.type === undefined ? [] : [branch.type].flat()));
      return types.length > 0
        ? `must be ${nameTypes(types)}, not ${nameOf(error.data)}`
        : 'fits none of the allowed forms';
    }
    case 'pattern':
      return `${showValue(error.data)} does not have the right form (${String(params.pattern)})`;
    case 'not':
    case 'false schema':
      return 'is not allowed here';
    default:
      return error.message ?? error.keyword;
  }
}

/** A tag that is not known is only a warning to the library, which drops it: `!admin` would be read as an empty text. */
function isTag({ code }: YAMLError): boolean {
  return code === 'TAG_RESOLVE_FAILED';
}

/** Without any of the text: a password that is not quoted can be a tag, an alias, or what stands behind a `|` or `>`. */
function wordYamlError({ code, message }: YAMLError): string {
  switch (code) {
    case 'MULTIPLE_DOCS':
      return 'a second document begins here; there must be only one';
    case 'TAG_RESOLVE_FAILED':
      return 'a word that begins with ! is a tag to YAML, and this one is not known: quote it if it is none';
    default:
      // Behind a colon the library puts what it has found.
      return message.replace(/: .*/s, '');
  }
}

/** Keys that their map has already, told as the library's own check would. */
function findKeysTwice(document: Document.Parsed<ParsedNode>): YAMLParseError[] {
  const found: YAMLParseError[] = [];
  visit(document, {
    Map: (_key, { items }) => {
      const keys = new Set<unknown>();
      for (const { key } of items) {
        if (!isScalar(key)) continue;
        const start = startOf(key) ?? 0;
        if (keys.has(key.value)) found.push(new YAMLParseError([start, start + 1], 'DUPLICATE_KEY', KEY_TWICE));
        if (found.length >= MAX_PROBLEMS) return visit.BREAK;
        keys.add(key.value);
      }
      return undefined;
    },
  });
  return found;
}

/** An alias inside its own anchor makes a value without an end. Throws Error. */
function refuseCycles(value: unknown): void {
  try {
    JSON.stringify(value);
  } catch {
    throw new Error('an alias refers to the part that holds it');
  }
}

function startOf(node: unknown): number | undefined {
  return isNode(node) ? node.range?.[0] : undefined;
}

/** A JSON pointer (RFC 6901) as a path; steps into arrays become numbers. */
function readPointer(pointer: string, root: unknown): (string | number)[] {
  let value: unknown = root;
  return pointer
    .split('/')
    .slice(1)
    .map((part) => {
      const key = part.replaceAll('~1', '/').replaceAll('~0', '~');
      const step = Array.isArray(value) ? Number(key) : key;
      value = typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[key] : undefined;
      return step;
    });
}

/** The names that people who write YAML use for JSON Schema's types. */
const TYPE_NAMES: Readonly<Record<string, string>> = {
  object: 'a map',
  array: 'a list',
  string: 'a string',
  boolean: 'true or false',
  integer: 'a whole number',
  number: 'a number',
  null: 'null',
};

function nameTypes(types: unknown): string {
  const names = [types].flat().map((type) => TYPE_NAMES[String(type)] ?? String(type));
  return [...new Set(names)].join(' or ');
}

function nameOf(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'a list';
  return typeof value === 'object' ? 'a map' : `${showValue(value)} (a ${typeof value})`;
}

function showValue(value: unknown): string {
  // JSON has no word for .nan and .inf.
  const shown = typeof value === 'number' ? String(value) : (JSON.stringify(value) ?? String(value));
  return shown.length > 80 ? `${shown.slice(0, 77)}…` : shown;
}

/** The candidate that is one or two keystrokes away, or null. */
export function findNearest(word: string, candidates: readonly string[]): string | null {
  let best: string | null = null;
  let bestDistance = Math.min(2, Math.floor(word.length / 2)) + 1;
  if (word.length > 64) return null;
  for (const candidate of candidates) {
    const distance = countEdits(word.toLowerCase(), candidate.toLowerCase());
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}

/** Levenshtein distance: insertions, deletions and replacements. */
function countEdits(left: string, right: string): number {
  let row = Array.from({ length: right.length + 1 }, (_, index) => index);
  for (let i = 1; i <= left.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= right.length; j += 1) {
      const replaced = (row[j - 1] ?? 0) + (left[i - 1] === right[j - 1] ? 0 : 1);
      next.push(Math.min(replaced, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[right.length] ?? 0;
}
