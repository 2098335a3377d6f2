// The slow road: a text through PostgreSQL's grammar into facts, statement by statement.

import { effectOf } from './effects.ts';
import { NO_STATEMENTS, type StatementFacts, type StatementShape, type TextFacts } from './facts.ts';
import { hideOwnSetting, lexSql } from './lexer.ts';
import { fingerprintSql, type ParsedStatement, parseSql } from './parse.ts';
import { readTags } from './tags.ts';
import type { TreeNode } from './tree.ts';
import { unparsedFacts } from './unparsed.ts';
import { walkStatement } from './walk.ts';

/** The facts of every statement of a decoded text. One part unreadable: all of it is, as in PostgreSQL nothing runs. */
export function readStatements(text: string): TextFacts {
  const outcome = parseSql(text);
  if (!outcome.isParsed) return Object.freeze([unparsedFacts(text, outcome.reason)]);
  const [first, second] = outcome.statements;
  if (first === undefined) return NO_STATEMENTS;
  if (second === undefined) return Object.freeze([readStatement(text, first.tree)]);
  const slices = sliceStatements(text, outcome.statements);
  return Object.freeze(
    outcome.statements.map((statement, index) => readStatement(slices[index] ?? text, statement.tree)),
  );
}

function readStatement(text: string, tree: TreeNode): StatementFacts {
  const { normalized, commentRanges, asEnd } = lexSql(text);
  const shape: StatementShape = {
    normalized: hideOwnSetting(normalized),
    fingerprint: fingerprintSql(text),
    ...walkStatement(tree),
    unparsed: null,
  };
  const effect = effectOf(tree, () => readPrepared(text, asEnd));
  for (const list of [shape.kinds, shape.tables, shape.functions, shape.columns]) Object.freeze(list);
  return Object.freeze({ text, shape: Object.freeze(shape), tags: readTags(text, commentRanges), effect });
}

/** The statement inside `PREPARE name (types) AS …`: its tree has no offsets, so its text is read by itself. */
function readPrepared(text: string, asEnd: number): StatementFacts {
  const innerText = asEnd < 0 ? text : text.slice(asEnd).trim();
  const [inner] = asEnd < 0 ? [] : readStatements(innerText);
  return inner ?? unparsedFacts(innerText, 'syntax');
}

/**
 * Each statement's text runs from the end of its neighbour (so it keeps the comments before it) to its own end; the last
 * one keeps what follows.
 */
function sliceStatements(text: string, statements: readonly ParsedStatement[]): string[] {
  const bytes = Buffer.from(text);
  let startByte = 0;
  return statements.map(({ endByte }, index) => {
    const isLast = index === statements.length - 1;
    const slice = bytes.toString('utf8', startByte, isLast ? bytes.length : endByte);
    startByte = endByte + 1;
    return slice.replace(/^[\s;]+/, '').trimEnd();
  });
}
