// An UPDATE or DELETE that would run, at any depth, has no WHERE.

import type { Dimension } from './dimension.ts';
import { makeCondition, STAGE } from './dimension.ts';

export const missingWhere: Dimension<boolean> = {
  stage: STAGE.shape,
  compile(value) {
    return makeCondition({
      key: 'missing_where',
      stage: STAGE.shape,
      wanted: String(value),
      holds: (context) => context.shape.isMissingWhere === value,
      seen: (context) => String(context.shape.isMissingWhere),
    });
  },
};
