// Tables that the statement names, at any depth. A bare name means what search_path makes of it; see name-pattern.ts.

import type { Dimension } from './dimension.ts';
import { listWords, makeCondition, STAGE } from './dimension.ts';
import { compileNamePatterns } from './name-pattern.ts';

export const tables: Dimension<string | string[]> = {
  stage: STAGE.shape,
  compile(value, tools) {
    const test = compileNamePatterns(value, tools.fail);
    return makeCondition({
      key: 'tables',
      stage: STAGE.shape,
      wanted: listWords(value),
      holds: (context) => test(context.shape.tables),
      seen: (context) => context.shape.tables.join(', '),
    });
  },
};
