// Columns that the statement names. `select *` names none but `*`: to catch it as well, add '\*'.

import type { Dimension } from './dimension.ts';
import { listWords, makeCondition, STAGE } from './dimension.ts';
import { compileNamePatterns } from './name-pattern.ts';

export const columns: Dimension<string | string[]> = {
  stage: STAGE.shape,
  compile(value, tools) {
    const test = compileNamePatterns(value, tools.fail);
    return makeCondition({
      key: 'columns',
      stage: STAGE.shape,
      wanted: listWords(value),
      holds: (context) => test(context.shape.columns),
      seen: (context) => context.shape.columns.join(', '),
    });
  },
};
