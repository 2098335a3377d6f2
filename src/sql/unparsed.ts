// Facts of what could not be read: a class of its own (`unknown`), a reason, and no literal.

import type { StatementFacts, StatementShape, UnparsedReason } from './facts.ts';
import { redactSql } from './lexer.ts';
import { NO_TAGS } from './tags.ts';

const NOTHING: readonly string[] = Object.freeze([]);

/** A shape without a tree. `kinds` is empty but for messages that have a name of their own. */
function makeUnparsedShape(
  normalized: string,
  unparsed: UnparsedReason,
  kinds: readonly string[] = NOTHING,
): StatementShape {
  return Object.freeze({
    normalized,
    fingerprint: '',
    queryClass: 'unknown',
    kinds: Object.freeze([...kinds]),
    tables: NOTHING,
    functions: NOTHING,
    columns: NOTHING,
    isMissingWhere: false,
    unparsed,
  });
}

/** A FunctionCall message: an OID and arguments, no text. */
export const FUNCTION_CALL_FACTS: StatementFacts = Object.freeze({
  text: '',
  shape: makeUnparsedShape('', 'function_call', ['function_call']),
  tags: NO_TAGS,
  effect: null,
});

/** EXECUTE or Bind of a name that the session never prepared. */
export const NOT_PREPARED_FACTS: StatementFacts = Object.freeze({
  text: '',
  shape: makeUnparsedShape('', 'not_prepared'),
  tags: NO_TAGS,
  effect: null,
});

const TOO_LONG_SHAPE = makeUnparsedShape('(longer than max_analyzed_bytes)', 'too_long');

/** A text that was not analysed for its length: regular expressions still see all of it. */
export function tooLongFacts(text: string): StatementFacts {
  return Object.freeze({ text, shape: TOO_LONG_SHAPE, tags: NO_TAGS, effect: null });
}

/** A text that the grammar, the decoder or the bounds refused. */
export function unparsedFacts(text: string, reason: UnparsedReason): StatementFacts {
  return Object.freeze({ text, shape: makeUnparsedShape(redactSql(text), reason), tags: NO_TAGS, effect: null });
}
