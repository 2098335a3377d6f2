// RE2 on the statement's raw text, comments and literals included. The only dimension besides tags that looks at a text
// itself, and so the only ones that cost something for each new text.

import type { Dimension } from './dimension.ts';
import { eachValue, listWords, makeCondition, STAGE } from './dimension.ts';

export const queryRegex: Dimension<string | string[]> = {
  stage: STAGE.text,
  compile(value, tools) {
    const ids = eachValue(value, (pattern, index) => tools.addRawPattern(pattern, index));
    return makeCondition({
      key: 'query_regex',
      stage: STAGE.text,
      rawPatterns: ids,
      wanted: listWords(value),
      holds: (context) => context.rawHits.length > 0 && context.rawHits.some((hit) => ids.includes(hit)),
      seen: (context) =>
        context.rawHits.some((hit) => ids.includes(hit)) ? 'found in the text' : 'not found in the text',
    });
  },
};
