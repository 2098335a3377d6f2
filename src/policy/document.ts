// A rule document from its text: YAML (JSON is YAML), checked against schemas/rules.schema.json, every complaint with
// line, column and path. What the schema cannot say (patterns, prefixes, names used twice) is compile.ts's part.

import type { ValidateFunction } from 'ajv';
import rulesSchema from '../../schemas/rules.schema.json' with { type: 'json' };
import { compileSchema } from '../base/schema-check.ts';
import type { DocumentProblem, ValuePath } from '../base/yaml-document.ts';
import { findSchemaProblems, formatProblem, PositionedDocument } from '../base/yaml-document.ts';
import type { RuleDocument } from './rule.ts';

export const MAX_DOCUMENT_BYTES = 1024 * 1024;
/** A document nested deeper than this is an attack on the stack, not a set of rules. */
const MAX_DEPTH = 64;
const TOO_DEEP = 'the document is nested too deeply';

/** The document cannot be used. `problems` is never empty. */
export class RuleDocumentError extends Error {
  override readonly name = 'RuleDocumentError';
  readonly problems: readonly DocumentProblem[];

  constructor(problems: readonly DocumentProblem[]) {
    super(problems.map(formatProblem).join('\n'));
    this.problems = problems;
  }
}

/** Makes a problem at a place of the document; compile.ts tells its findings through it. */
export type ProblemAt = (path: ValuePath, message: string, at?: 'value' | 'key') => DocumentProblem;

export interface ParsedRuleDocument {
  /** Plain data. */
  readonly document: RuleDocument;
  readonly source: string;
  readonly problemAt: ProblemAt;
}

let compiledSchema: ValidateFunction | null = null;

/** Reads and checks the text. `source` names it in problems. Throws RuleDocumentError. */
export function parseRuleDocument(text: string, source: string): ParsedRuleDocument {
  const read = readDocument(text, source);
  compiledSchema ??= compileSchema('rules', rulesSchema);
  const problems = findSchemaProblems(read, compiledSchema);
  if (problems.length > 0) throw new RuleDocumentError(problems.map((problem) => nameAction(problem, read.value)));
  return {
    document: read.value as RuleDocument,
    source,
    problemAt: (path, message, at) => read.problemAt(path, message, at),
  };
}

/** YAML text within bounds, its value still unchecked. Throws RuleDocumentError. */
export function readDocument(text: string, source: string): PositionedDocument {
  const refuse = (message: string): RuleDocumentError =>
    new RuleDocumentError([{ message, path: '', line: 1, column: 1, source }]);
  if (Buffer.byteLength(text) > MAX_DOCUMENT_BYTES)
    throw refuse(`the document is larger than ${MAX_DOCUMENT_BYTES} bytes`);
  let read: PositionedDocument;
  try {
    read = new PositionedDocument(text, source);
  } catch (error) {
    // The YAML reader recurses: text nested a thousand deep ends its stack before any depth can be counted.
    if (error instanceof RangeError) throw refuse(TOO_DEEP);
    throw error;
  }
  if (read.problems.some((problem) => problem.message.startsWith('Maximum call stack'))) throw refuse(TOO_DEEP);
  if (read.problems.length > 0) throw new RuleDocumentError(read.problems);
  if (isDeeperThan(read.value, MAX_DEPTH)) throw refuse(TOO_DEEP);
  return read;
}

/** "missing key" alone does not say which action wants it. */
function nameAction(problem: DocumentProblem, value: unknown): DocumentProblem {
  const place = /^traffic_control\.rules\[(\d+)\]$/.exec(problem.path);
  const missing = /^missing key "(\w+)"$/.exec(problem.message)?.[1];
  if (place === null || missing === undefined || missing === 'name' || missing === 'action') return problem;
  const rule = (value as RuleDocument).traffic_control.rules?.[Number(place[1])];
  return rule === undefined ? problem : { ...problem, message: `action ${rule.action} needs the key "${missing}"` };
}

function isDeeperThan(value: unknown, depth: number): boolean {
  if (typeof value !== 'object' || value === null) return false;
  return depth === 0 || Object.values(value).some((entry) => isDeeperThan(entry, depth - 1));
}
