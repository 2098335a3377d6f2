// Kinds of the statement and of the statements that run inside it (a DELETE in a WITH, the body of EXPLAIN ANALYZE).

import type { Dimension } from './dimension.ts';
import { listWords, makeCondition, STAGE } from './dimension.ts';
import { compileGlobs } from './glob.ts';

export const statement: Dimension<string | string[]> = {
  stage: STAGE.shape,
  compile(value, tools) {
    const test = compileGlobs(value, tools.fail);
    return makeCondition({
      key: 'statement',
      stage: STAGE.shape,
      wanted: listWords(value),
      holds: (context) => context.shape.kinds.some(test),
      seen: (context) => context.shape.kinds.join(', '),
    });
  },
};
