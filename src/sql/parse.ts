// PostgreSQL's own grammar (libpg-query, WASM): the only file that knows the parser. Text in, syntax tree or a reason out;
// never an exception for text that cannot be read.

import { setFlagsFromString } from 'node:v8';
import createInstance, { type LibPgQueryInstance } from 'libpg-query/wasm/libpg-query.js';
import type { UnparsedReason } from './facts.ts';
import { lexSql } from './lexer.ts';
import { isTreeNode, type TreeNode } from './tree.ts';

/** One statement of a text: its tree, `{ SelectStmt: { … } }`, and where it ends. Offsets are UTF-8 bytes. */
export interface ParsedStatement {
  readonly tree: TreeNode;
  readonly endByte: number;
}

export type ParseOutcome =
  | { readonly isParsed: true; readonly statements: readonly ParsedStatement[] }
  | { readonly isParsed: false; readonly reason: UnparsedReason };

/** Counters of this process, read when scraped. */
export interface ParserStats {
  parses: number;
  failures: number;
  /** Fresh WASM instances made because one trapped (text too deep) or its memory had grown too far. */
  replacements: number;
  /** Texts that a worn instance was not given: another time they may be read. */
  postponed: number;
}

/** WASM memory never shrinks; an instance begins with 128 MiB of address space and is replaced beyond this. */
const MAX_INSTANCE_BYTES = 256 * 1024 * 1024;
/**
 * A trap leaves the C side's stack as deep as it was. After some twenty of them it runs into the data below it, and calls never
 * return; until the instance is replaced, a worn one only gets texts that are too short to be deep (a trap takes 20 000
 * characters).
 */
const MAX_TRAPS = 4;
const MAX_SHALLOW_CHARACTERS = 8 * 1024;
const FINGERPRINT = /^[0-9a-f]{16}$/;

const encoder = new TextEncoder();
const decoder = new TextDecoder();
const stats: ParserStats = { parses: 0, failures: 0, replacements: 0, postponed: 0 };
/** The time that libpg-query takes grows with the square of the number of comments: at 16,000 of them it is seconds. */
const MAX_COMMENTS = 256;
const COMMENT_START = /--|\/\*/g;

let current: LibPgQueryInstance | null = null;
let isReplacing = false;
/** Of the current instance. */
let traps = 0;

/**
 * Makes the parser ready; everything else here is synchronous and throws an Error before this has been awaited once.
 *
 * V8's optimising compiler takes 600 MB of transient memory for the grammar's one huge function (measured: peak RSS 690 MB
 * against 97 MB) and makes a parse 11 µs instead of 13 µs, so WebAssembly of this process stays with the baseline compiler.
 * Both flags are needed: set at run time, neither implies the other.
 */
export async function loadParser(): Promise<void> {
  if (current !== null) return;
  setFlagsFromString('--no-wasm-tier-up');
  setFlagsFromString('--no-wasm-dynamic-tiering');
  current = await createInstance();
}

/** Live counters: a reader must not change them. */
export function parserStats(): Readonly<ParserStats> {
  return stats;
}

/** Reads a text of any number of statements. Reasons: `nul_byte`, `syntax`, `too_deep`. */
export function parseSql(text: string): ParseOutcome {
  const readable = withFewComments(text);
  let outcome = parseAsIs(readable);
  const mayHelp = !outcome.isParsed && outcome.reason === 'syntax' && readable === text;
  const withoutComments = mayHelp ? blankComments(text) : null;
  if (withoutComments !== null) outcome = parseAsIs(withoutComments);
  if (!outcome.isParsed) stats.failures++;
  return outcome;
}

function parseAsIs(text: string): ParseOutcome {
  // libpg-query takes a C string: what stands behind a NUL would go unread.
  if (text.includes('\0')) return failWith('nul_byte');
  const instance = loadedInstance();
  if (isTooRisky(text)) return failWith('too_deep');
  stats.parses++;
  try {
    const answer = readTree(instance, text);
    if (answer.error !== null) return failWith(reasonOf(answer.error));
    return { isParsed: true, statements: statementsOf(JSON.parse(answer.json), text) };
  } catch (error) {
    return failWith(recover(error));
  } finally {
    if (instance.HEAPU8.length > MAX_INSTANCE_BYTES) replaceInstance();
  }
}

/** The public pg_query fingerprint of a text: 16 hex digits, or the empty string when it cannot be read. */
export function fingerprintSql(text: string): string {
  const readable = withFewComments(text);
  const fingerprint = fingerprintAsIs(readable);
  const withoutComments = fingerprint === '' && readable === text ? blankComments(text) : null;
  return (withoutComments === null ? fingerprint : fingerprintAsIs(withoutComments)) ?? '';
}

/** Empty where its syntax cannot be read, null where something else stands in the way. */
function fingerprintAsIs(text: string): string | null {
  if (text.includes('\0') || isTooRisky(text)) return null;
  const instance = loadedInstance();
  try {
    const fingerprint = callForString(instance, instance._wasm_fingerprint, text);
    // libpg-query answers with the error's message in the fingerprint's place.
    return FINGERPRINT.test(fingerprint) ? fingerprint : '';
  } catch (error) {
    recover(error);
    return null;
  }
}

/** PostgreSQL's scanner: JSON of the tokens. Slow (2 µs a token); tests hold our own scanners against it. */
export function scanSql(text: string): string {
  const instance = loadedInstance();
  return callForString(instance, instance._wasm_scan, text);
}

/** The text, or where libpg-query would take too long for all its comments, the same without them. */
function withFewComments(text: string): string {
  let count = 0;
  COMMENT_START.lastIndex = 0;
  while (COMMENT_START.test(text)) if (++count > MAX_COMMENTS) return blankComments(text) ?? text;
  return text;
}

/**
 * A text with spaces for its comments, byte by byte; null where it has none. PostgreSQL's grammar never sees comments, but here they
 * are tokens, and where it looks ahead by one token (NOT IN, NULLS FIRST, WITH TIME, U&'…' UESCAPE …) a comment between the two
 * is a syntax error.
 */
function blankComments(text: string): string | null {
  const { commentRanges } = lexSql(text);
  if (commentRanges.length === 0) return null;
  let blanked = '';
  let from = 0;
  for (let index = 0; index < commentRanges.length; index += 2) {
    const [start = 0, end = 0] = commentRanges.slice(index, index + 2);
    blanked += text.slice(from, start) + ' '.repeat(Buffer.byteLength(text.slice(start, end)));
    from = end;
  }
  return blanked + text.slice(from);
}

function loadedInstance(): LibPgQueryInstance {
  if (current === null) throw new Error('the SQL parser is not loaded: await loadParser() first');
  return current;
}

function isTooRisky(text: string): boolean {
  if (traps < MAX_TRAPS || text.length <= MAX_SHALLOW_CHARACTERS) return false;
  stats.postponed++;
  // No trap follows that would try again, should the last attempt have failed.
  replaceInstance();
  return true;
}

function failWith(reason: UnparsedReason): ParseOutcome {
  return { isParsed: false, reason };
}

function reasonOf(message: string): UnparsedReason {
  return message.startsWith('memory exhausted') || message.startsWith('stack depth') ? 'too_deep' : 'syntax';
}

/**
 * A trap in WASM (the native stack ran out in a deep tree) leaves the C side's memory contexts behind: the instance
 * still answers, but leaks, so a fresh one takes over as soon as it is ready.
 */
function recover(error: unknown): UnparsedReason {
  // A tree that is not JSON would be libpg-query's fault; the statement still counts as unread.
  if (error instanceof SyntaxError) return 'syntax';
  const isTrap = error instanceof RangeError || (error instanceof Error && error.name === 'RuntimeError');
  if (!isTrap) throw error;
  traps++;
  replaceInstance();
  return 'too_deep';
}

function replaceInstance(): void {
  if (isReplacing) return;
  isReplacing = true;
  createInstance().then(
    (instance) => {
      current = instance;
      traps = 0;
      stats.replacements++;
      isReplacing = false;
    },
    () => {
      // Out of memory: the old instance goes on, and the next trap, or text that it is not given, tries again.
      isReplacing = false;
    },
  );
}

function readTree(instance: LibPgQueryInstance, text: string): { json: string; error: string | null } {
  const textPointer = copyIn(instance, text);
  let result = 0;
  try {
    result = instance._wasm_parse_query_raw(textPointer);
    if (result === 0) throw new RangeError('libpg-query has no memory');
    const errorPointer = instance.getValue(result + 8, 'i32');
    if (errorPointer !== 0) return { json: '', error: copyOut(instance, instance.getValue(errorPointer, 'i32')) };
    return { json: copyOut(instance, instance.getValue(result, 'i32')), error: null };
  } finally {
    instance._free(textPointer);
    if (result !== 0) instance._wasm_free_parse_result(result);
  }
}

function callForString(instance: LibPgQueryInstance, call: (pointer: number) => number, text: string): string {
  const textPointer = copyIn(instance, text);
  let result = 0;
  try {
    result = call(textPointer);
    return copyOut(instance, result);
  } finally {
    instance._free(textPointer);
    if (result !== 0) instance._wasm_free_string(result);
  }
}

function copyIn(instance: LibPgQueryInstance, text: string): number {
  const capacity = text.length * 3 + 1;
  const pointer = instance._malloc(capacity);
  if (pointer === 0) throw new RangeError('libpg-query has no memory');
  const { written } = encoder.encodeInto(text, instance.HEAPU8.subarray(pointer, pointer + capacity));
  instance.HEAPU8[pointer + written] = 0;
  return pointer;
}

function copyOut(instance: LibPgQueryInstance, pointer: number): string {
  if (pointer === 0) return '';
  const end = instance.HEAPU8.indexOf(0, pointer);
  return decoder.decode(instance.HEAPU8.subarray(pointer, end));
}

/** Field names follow libpg-query's JSON: zero offsets are left out, and `stmt_len` is missing for "to the end". */
function statementsOf(result: unknown, text: string): ParsedStatement[] {
  if (!isTreeNode(result) || !Array.isArray(result.stmts)) return [];
  const statements: ParsedStatement[] = [];
  for (const raw of result.stmts) {
    if (!isTreeNode(raw) || !isTreeNode(raw.stmt)) continue;
    const startByte = typeof raw.stmt_location === 'number' ? raw.stmt_location : 0;
    const endByte = typeof raw.stmt_len === 'number' ? startByte + raw.stmt_len : Buffer.byteLength(text);
    statements.push({ tree: raw.stmt, endByte });
  }
  return statements;
}
