// The application_name as the server last reported it. The client chooses it: a hint, never a security boundary.

import type { Dimension } from './dimension.ts';
import { listWords, makeCondition, STAGE } from './dimension.ts';
import { compileGlobs } from './glob.ts';

export const applicationName: Dimension<string | string[]> = {
  stage: STAGE.subject,
  compile(value, tools) {
    const test = compileGlobs(value, tools.fail);
    return makeCondition({
      key: 'application_name',
      stage: STAGE.subject,
      wanted: listWords(value),
      holds: (context) => test(context.subject.applicationName),
      seen: (context) => context.subject.applicationName,
    });
  },
};
