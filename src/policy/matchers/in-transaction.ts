// Whether the session stands inside a transaction block when the statement arrives.

import type { Dimension } from './dimension.ts';
import { makeCondition, STAGE } from './dimension.ts';

export const inTransaction: Dimension<boolean> = {
  stage: STAGE.transaction,
  compile(value) {
    return makeCondition({
      key: 'in_transaction',
      stage: STAGE.transaction,
      wanted: String(value),
      holds: (context) => context.isInTransaction === value,
      seen: (context) => String(context.isInTransaction),
    });
  },
};
