// The user that logged in, exactly or by globs.

import type { Dimension } from './dimension.ts';
import { listWords, makeCondition, STAGE } from './dimension.ts';
import { compileGlobs } from './glob.ts';

export const user: Dimension<string | string[]> = {
  stage: STAGE.subject,
  compile(value, tools) {
    const test = compileGlobs(value, tools.fail);
    return makeCondition({
      key: 'user',
      stage: STAGE.subject,
      wanted: listWords(value),
      holds: (context) => test(context.subject.user),
      seen: (context) => context.subject.user,
    });
  },
};
