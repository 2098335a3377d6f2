// sqlcommenter tags: every tag named must be there with one of its values (globs; `*` for any). Written by the client into
// a comment, so a hint like application_name. Comments are no part of a shape: tags are looked at for each text.

import type { Dimension } from './dimension.ts';
import { listWords, makeCondition, STAGE } from './dimension.ts';
import { compileGlobs } from './glob.ts';

export const tags: Dimension<Record<string, string | string[]>> = {
  stage: STAGE.text,
  compile(value, tools) {
    const wanted = Object.entries(value).map(([name, patterns]) => ({
      name,
      test: compileGlobs(patterns, (problem) => tools.fail(problem, name)),
    }));
    return makeCondition({
      key: 'tags',
      stage: STAGE.text,
      wanted: Object.entries(value)
        .map(([name, patterns]) => `${name}=${listWords(patterns)}`)
        .join(' and '),
      holds: (context) =>
        wanted.every(({ name, test }) => Object.hasOwn(context.tags, name) && test(context.tags[name] ?? '')),
      seen: (context) =>
        Object.entries(context.tags)
          .map(([name, text]) => `${name}=${text}`)
          .join(' '),
    });
  },
};
