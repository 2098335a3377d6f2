// RE2 on the normalised text: literals are `?`, comments are gone, white space is folded. Known once per shape.

import type { Dimension } from './dimension.ts';
import { eachValue, listWords, makeCondition, STAGE } from './dimension.ts';

export const fingerprintRegex: Dimension<string | string[]> = {
  stage: STAGE.shape,
  compile(value, tools) {
    const ids = eachValue(value, (pattern, index) => tools.addNormalizedPattern(pattern, index));
    return makeCondition({
      key: 'fingerprint_regex',
      stage: STAGE.shape,
      normalizedPatterns: ids,
      wanted: listWords(value),
      holds: (context) => context.normalizedHits.some((hit) => ids.includes(hit)),
      seen: (context) => context.shape.normalized,
    });
  },
};
