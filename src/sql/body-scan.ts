// What code that PostgreSQL keeps as a string may leave behind in the session: bodies of functions and of DO. Such code can
// only reach what it names, so all its words are gathered for whoever knows the database's objects; what statements do to
// the session by themselves, and calls of set_config, are read here. Code that builds statements out of pieces (EXECUTE) may
// do more than its text shows: it counts as hidden, and its strings as code.

import { type BodyToken, readTokens } from './body-tokens.ts';
import { builtinTracesOfWord } from './builtin-traces.ts';
import { RUNS_ARGUMENT, TRACE } from './trace-bits.ts';

export interface BodyScan {
  /** Words and quoted names, each once. */
  readonly words: ReadonlySet<string>;
  /** Bits of TRACE that statements and built-ins leave, and RUNS_ARGUMENT where it runs text. */
  readonly traces: number;
  /** Dotted settings that are set, strings that may be code included. */
  readonly customNames: readonly string[];
  /** All strings read as code, for where they are run; null where there are none. */
  readonly strings: BodyScan | null;
}

/** Strings in strings in strings. */
const MAX_DEPTH = 4;
/** EXPLAIN, with options or without, and CREATE TABLE AS. */
const BEFORE_EXECUTE = new Set(['explain', 'analyze', 'verbose', ')', 'as']);
/** Words after which a statement of PL/pgSQL begins. */
const STATEMENT_OPENERS = new Set(['begin', 'then', 'else', 'loop', 'atomic']);

const STARTING: ReadonlyMap<string, number> = new Map([
  ['reset', TRACE.settings],
  ['listen', TRACE.listen],
  ['unlisten', TRACE.listen],
  ['prepare', TRACE.preparedSql],
  ['deallocate', TRACE.preparedSql],
  ['discard', TRACE.hidden],
  ['do', TRACE.hidden | RUNS_ARGUMENT],
  ...['create', 'alter', 'drop', 'import', 'reassign', 'refresh'].map((word): [string, number] => [
    word,
    TRACE.hidden | TRACE.definition,
  ]),
  ...['reindex', 'cluster', 'vacuum', 'analyze', 'grant', 'revoke', 'comment', 'security'].map(
    (word): [string, number] => [word, TRACE.hidden],
  ),
]);
const ANYWHERE: ReadonlyMap<string, number> = new Map([
  ['execute', TRACE.hidden | RUNS_ARGUMENT],
  ['temp', TRACE.hidden | TRACE.temporary],
  ['temporary', TRACE.hidden | TRACE.temporary],
  ['hold', TRACE.heldCursor],
]);
const UNREADABLE = TRACE.hidden | TRACE.seed | TRACE.opaqueSetting;

/** Reads the body of a function in SQL or PL/pgSQL, or any text of SQL. */
export function scanBody(text: string): BodyScan {
  return new Scanner().scan(text, true, 0);
}

class Scanner {
  readonly #words = new Set<string>();
  readonly #customNames = new Set<string>();
  #traces = 0;
  #tokens: readonly BodyToken[] = [];
  #depth = 0;

  scan(text: string, isStatement: boolean, depth: number): BodyScan {
    this.#tokens = readTokens(text);
    this.#depth = depth;
    const strings: BodyScan[] = [];
    let isStart = isStatement;
    for (const [index, token] of this.#tokens.entries()) {
      if (token.kind === 'word' || token.kind === 'quoted') this.#readName(token, index, isStart);
      else if (token.kind === 'unreadable') this.#traces |= UNREADABLE;
      else if (token.kind === 'string' && depth < MAX_DEPTH) {
        // What stands behind || goes on with a statement that began before.
        strings.push(new Scanner().scan(token.text, this.#tokens[index - 1]?.text !== '|', depth + 1));
      }
      isStart = isOpener(token);
    }
    const joined = joinScans(strings);
    for (const name of joined?.customNames ?? []) this.#customNames.add(name);
    return { words: this.#words, traces: this.#traces, customNames: [...this.#customNames], strings: joined };
  }

  #readName(token: BodyToken, index: number, isStart: boolean): void {
    const { text } = token;
    if (text === 'set_config') {
      if (this.#tokens[index + 1]?.text === '(') this.#readSetConfig(index + 2);
      return;
    }
    this.#words.add(text);
    this.#traces |= builtinTracesOfWord(text);
    // SELECT INTO makes a table there, without a word of TEMPORARY.
    if (text === 'pg_temp') this.#traces |= TRACE.hidden | TRACE.temporary;
    if (token.kind !== 'word') return;
    this.#traces |= ANYWHERE.get(text) ?? 0;
    if (text === 'execute' && this.#isOfPrepared(index, isStart)) this.#traces |= TRACE.preparedSql;
    if (!isStart) return;
    this.#traces |= STARTING.get(text) ?? 0;
    if (text === 'set') this.#readSet(index + 1);
    if (text === 'load' && this.#tokens[index + 1]?.kind !== 'sign') this.#traces |= TRACE.library;
  }

  /** EXECUTE of a prepared statement, in a string that is SQL; that of PL/pgSQL has a text behind it. */
  #isOfPrepared(index: number, isStart: boolean): boolean {
    if (this.#depth === 0) return false;
    const before = this.#tokens[index - 1]?.text ?? '';
    return (isStart || BEFORE_EXECUTE.has(before)) && this.#tokens[index + 1]?.kind !== 'sign';
  }

  /** SET, from the token behind it on. */
  #readSet(start: number): void {
    let at = start;
    const first = this.#tokens[at]?.text;
    const isLocal = first === 'local';
    const isSession =
      first === 'session' && !['authorization', 'characteristics'].includes(this.#tokens[at + 1]?.text ?? '');
    if (isLocal || isSession) at++;
    const token = this.#tokens[at];
    if (token === undefined || (token.kind !== 'word' && token.kind !== 'quoted')) {
      // `set := 1` writes a variable.
      if (token?.text !== ':' && token?.text !== '=') this.#traces |= TRACE.settings | TRACE.opaqueSetting;
      return;
    }
    if (token.text === 'constraints' || token.text === 'transaction') return;
    let name = token.text;
    for (; this.#tokens[at + 1]?.text === '.'; at += 2) name += `.${this.#tokens[at + 2]?.text ?? ''}`;
    this.#noteSetting(name, isLocal);
  }

  /** The arguments of set_config, from the first token behind the parenthesis on. */
  #readSetConfig(start: number): void {
    const call = readArguments(this.#tokens, start);
    const name = literalOf(call[0] ?? []);
    const [isLocal, more] = call[2] ?? [];
    if (name === null) this.#traces |= TRACE.settings | TRACE.opaqueSetting;
    else this.#noteSetting(name, isLocal?.kind === 'word' && isLocal.text === 'true' && more === undefined);
  }

  #noteSetting(written: string, isLocal: boolean): void {
    const name = written.toLowerCase();
    if (name === 'seed') {
      this.#traces |= TRACE.seed;
      return;
    }
    // A placeholder stays as '' even when its value was local.
    if (name.includes('.')) this.#customNames.add(name);
    if (!isLocal || name.includes('.')) this.#traces |= TRACE.settings;
  }
}

function joinScans(scans: readonly BodyScan[]): BodyScan | null {
  if (scans.length === 0) return null;
  return {
    words: new Set(scans.flatMap(({ words }) => [...words])),
    traces: scans.reduce((traces, scan) => traces | scan.traces, 0),
    customNames: scans.flatMap(({ customNames }) => customNames),
    strings: joinScans(scans.flatMap(({ strings }) => (strings === null ? [] : [strings]))),
  };
}

function isOpener({ kind, text }: BodyToken): boolean {
  if (kind === 'sign') return text === ';' || text === '>';
  return kind === 'word' && STATEMENT_OPENERS.has(text);
}

function readArguments(tokens: readonly BodyToken[], start: number): BodyToken[][] {
  const call: BodyToken[][] = [[]];
  let depth = 0;
  for (let at = start; at < tokens.length; at++) {
    const token = tokens[at];
    if (token === undefined) break;
    if (token.kind === 'sign') {
      if (token.text === ')' && depth === 0) break;
      if (token.text === '(') depth++;
      if (token.text === ')') depth--;
      if (token.text === ',' && depth === 0) {
        call.push([]);
        continue;
      }
    }
    call.at(-1)?.push(token);
  }
  return call;
}

/** A string, alone or cast. */
function literalOf(argument: readonly BodyToken[]): string | null {
  const [first, colon, , type, more] = argument;
  if (first?.kind !== 'string') return null;
  if (colon === undefined) return first.text;
  return colon.text === ':' && type?.kind === 'word' && more === undefined ? first.text : null;
}

/** Where a statement may begin, in strings too. */
const DEFINES = /(?:^|[;'"$]|\*\/)[ \t]*(?:create|alter|drop|import|reassign|refresh)\s/im;

/** For text that is not SQL, that the grammar could not read, or that is too long to be read token by token. */
export function scanCoarsely(text: string): { readonly traces: number; readonly customNames: readonly string[] } {
  const customNames = new Set<string>();
  let traces = TRACE.hidden as number;
  if (DEFINES.test(text)) traces |= TRACE.definition;
  if (/\bsetseed\b|\bset\s+(?:local\s+|session\s+)?"?seed\b/i.test(text)) traces |= TRACE.seed;
  if (/\bload\s+(?:e?'|\$)/i.test(text)) traces |= TRACE.library;
  if (/\bdblink_connect|\bpg_replication_origin_session_|\bpg_backup_st|\bpg_st(?:art|op)_backup/i.test(text)) {
    traces |= TRACE.extension;
  }
  for (const [, name = ''] of text.matchAll(/\bset_config\s*\(\s*(?:''?([\w$.]+)''?\s*,)?/gi)) {
    if (name === '') traces |= TRACE.opaqueSetting;
    else if (name.includes('.')) customNames.add(name.toLowerCase());
    else if (name.toLowerCase() === 'seed') traces |= TRACE.seed;
  }
  for (const [, name = ''] of text.matchAll(
    /\bset\s+(?:local\s+|session\s+)?("?[\w$]+"?(?:\s*\.\s*"?[\w$]+"?)+)\s*(?:=|to\b)/gi,
  )) {
    customNames.add(name.replace(/["\s]/g, '').toLowerCase());
  }
  return { traces, customNames: [...customNames] };
}

/** State that a procedural language keeps for the session, by the language. Of others everything is possible. */
const SHARED_STATE: ReadonlyMap<string, RegExp> = new Map([
  ['plperl', /[%$]_SHARED\b|\bour\b/],
  ['plperlu', /[%$]_SHARED\b|\bour\b/],
  ['plpython3u', /\b[GS]D\b|\bglobal\b|\bsys\.|\bbuiltins\b/],
  ['pltcl', /\bGD\b|\bglobal\b|::|\bupvar\b/],
  ['pltclu', /\bGD\b|\bglobal\b|::|\bupvar\b/],
]);

/** The body of a function in a language other than SQL and PL/pgSQL. */
export function scanForeignBody(text: string, language: string): ReturnType<typeof scanCoarsely> {
  const found = scanCoarsely(text);
  const isShared = SHARED_STATE.get(language)?.test(text) ?? true;
  return isShared ? { ...found, traces: found.traces | TRACE.extension } : found;
}
