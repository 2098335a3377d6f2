// The database of the session, exactly or by globs.

import type { Dimension } from './dimension.ts';
import { listWords, makeCondition, STAGE } from './dimension.ts';
import { compileGlobs } from './glob.ts';

export const database: Dimension<string | string[]> = {
  stage: STAGE.subject,
  compile(value, tools) {
    const test = compileGlobs(value, tools.fail);
    return makeCondition({
      key: 'database',
      stage: STAGE.subject,
      wanted: listWords(value),
      holds: (context) => test(context.subject.database),
      seen: (context) => context.subject.database,
    });
  },
};
