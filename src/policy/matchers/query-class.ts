// What the statement may do at the strongest: read, write, ddl, transaction, session, copy, utility, replication or unknown.

import type { Dimension } from './dimension.ts';
import { listWords, makeCondition, STAGE } from './dimension.ts';

export const queryClass: Dimension<string | string[]> = {
  stage: STAGE.shape,
  compile(value) {
    const wanted = new Set<string>([value].flat());
    return makeCondition({
      key: 'query_class',
      stage: STAGE.shape,
      wanted: listWords(value),
      holds: (context) => wanted.has(context.shape.queryClass),
      seen: (context) => context.shape.queryClass,
    });
  },
};
