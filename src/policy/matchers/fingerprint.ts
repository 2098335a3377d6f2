// The pg_query fingerprint: 16 hex digits, the same that other PostgreSQL tools print.

import type { Dimension } from './dimension.ts';
import { listWords, makeCondition, STAGE } from './dimension.ts';

export const fingerprint: Dimension<string | string[]> = {
  stage: STAGE.shape,
  compile(value) {
    const wanted = new Set([value].flat().map((digits) => digits.toLowerCase()));
    return makeCondition({
      key: 'fingerprint',
      stage: STAGE.shape,
      wanted: listWords(value),
      holds: (context) => wanted.has(context.shape.fingerprint),
      seen: (context) => context.shape.fingerprint,
    });
  },
};
