// Tags that tools put into comments: sqlcommenter (`/*route='%2Fusers',controller='x'*/`, google.github.io/sqlcommenter/spec)
// and Rails' older marginalia (`/*application:Shop,controller:users*/`). Which comments there are is the scanners' business.

export type Tags = Readonly<Record<string, string>>;

export const NO_TAGS: Tags = Object.freeze({});

/** Far above what tools write; more are left out. */
const MAX_TAGS = 64;
const QUOTED_TAG = /\s*([^\s=,']+)\s*=\s*'((?:[^'\\]|\\.)*)'\s*(,|$)/y;
const COLON_TAG = /\s*([A-Za-z_][\w.-]*):([^\s,='"]+)\s*(,|$)/y;

/**
 * The tags of a text's block comments, given as pairs of offsets. A comment that is not wholly tags has none; where two
 * comments have the same key, the later one holds.
 */
export function readTags(text: string, commentRanges: readonly number[]): Tags {
  let tags: Record<string, string> | null = null;
  for (let index = 0; index + 1 < commentRanges.length; index += 2) {
    const start = commentRanges[index] ?? 0;
    const end = commentRanges[index + 1] ?? 0;
    // Line comments are people's; `/*+` is a hint for pg_hint_plan.
    if (text.charCodeAt(start) !== 47 || text.charCodeAt(start + 2) === 43) continue;
    const comment = text.slice(start + 2, end - 2);
    const pairs = readPairs(comment, QUOTED_TAG) ?? readPairs(comment, COLON_TAG);
    if (pairs === null) continue;
    // No prototype: a key named __proto__ is a key like any other.
    tags ??= Object.create(null) as Record<string, string>;
    for (const [key, value] of pairs) tags[key] = value;
  }
  return tags === null ? NO_TAGS : Object.freeze(tags);
}

function readPairs(comment: string, pattern: RegExp): [string, string][] | null {
  const pairs: [string, string][] = [];
  let at = 0;
  while (pairs.length < MAX_TAGS) {
    pattern.lastIndex = at;
    const found = pattern.exec(comment);
    if (found === null) return null;
    const value = found[2] ?? '';
    // The spec's order: meta characters are escaped after URL encoding.
    pairs.push(
      pattern === QUOTED_TAG
        ? [decodeUrl(found[1] ?? ''), decodeUrl(value.replace(/\\(.)/g, '$1'))]
        : [found[1] ?? '', value],
    );
    if (found[3] !== ',') return pairs;
    at = pattern.lastIndex;
  }
  return pairs;
}

function decodeUrl(encoded: string): string {
  if (!encoded.includes('%')) return encoded;
  try {
    return decodeURIComponent(encoded);
  } catch {
    // Not URL encoding after all: as written.
    return encoded;
  }
}
