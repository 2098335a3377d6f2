// Functions that the statement calls by name, at any depth; what they call in turn is not visible.

import type { Dimension } from './dimension.ts';
import { listWords, makeCondition, STAGE } from './dimension.ts';
import { compileNamePatterns } from './name-pattern.ts';

export const functions: Dimension<string | string[]> = {
  stage: STAGE.shape,
  compile(value, tools) {
    const test = compileNamePatterns(value, tools.fail);
    return makeCondition({
      key: 'functions',
      stage: STAGE.shape,
      wanted: listWords(value),
      holds: (context) => test(context.shape.functions),
      seen: (context) => context.shape.functions.join(', '),
    });
  },
};
