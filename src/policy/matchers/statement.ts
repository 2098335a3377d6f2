// Kinds of the statement and of the statements that run inside it (a DELETE in a WITH, the body of EXPLAIN ANALYZE).

import { findNearest } from '../../base/yaml-document.ts';
import { STATEMENT_KINDS } from '../../sql/statement-kinds.ts';
import type { Dimension } from './dimension.ts';
import { listWords, makeCondition, STAGE } from './dimension.ts';
import { compileGlobs } from './glob.ts';

/** A message that has no text has a kind of its own. */
const KINDS: ReadonlySet<string> = new Set([...STATEMENT_KINDS, 'function_call']);

export const statement: Dimension<string | string[]> = {
  stage: STAGE.shape,
  compile(value, tools) {
    const test = compileGlobs(value, tools.fail);
    [value].flat().forEach((word, index) => {
      if (word.includes('*') || KINDS.has(word)) return;
      const near = findNearest(word, [...KINDS]);
      const hint = near === null ? '' : ` (did you mean "${near}"?)`;
      tools.fail(`no statement is of kind "${word}"${hint}`, Array.isArray(value) ? index : null);
    });
    return makeCondition({
      key: 'statement',
      stage: STAGE.shape,
      wanted: listWords(value),
      holds: (context) => context.shape.kinds.some(test),
      seen: (context) => context.shape.kinds.join(', '),
    });
  },
};
