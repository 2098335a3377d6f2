// What a statement that one client prepares would mean to another: the settings that literals are read by, and the
// definitions as they are known now.

import type { Catalog } from '../../pool/catalogs.ts';
import type { Belongings } from '../../session/belongings.ts';
import type { Circumstances } from '../../session/preparation.ts';
import { type CatalogKnowledge, NO_KNOWLEDGE } from '../../sql/catalog-knowledge.ts';
import { TRACE } from '../../sql/traces.ts';

/** What may have been left that changes what a text means, and that nobody has asked the server about yet. */
const UNCERTAIN: number =
  TRACE.settings | TRACE.hidden | TRACE.temporary | TRACE.opaqueSetting | TRACE.library | TRACE.extension;
/** Settings that the server reads literals by when it analyses a statement. */
const READING: ReadonlySet<string> = new Set([
  'array_nulls',
  'backslash_quote',
  'client_encoding',
  'datestyle',
  'default_text_search_config',
  'intervalstyle',
  'lc_monetary',
  'lc_time',
  'standard_conforming_strings',
  'timezone',
  'timezone_abbreviations',
  'transform_null_equals',
  'xmloption',
]);

const moments = new WeakMap<Belongings, WeakMap<CatalogKnowledge, Circumstances>>();
const lasting = new WeakMap<Belongings, Circumstances>();

// Most clients have the same belongings in the same database: the last answer is at hand.
let lastBelongings: Belongings | null = null;
let lastKnowledge: CatalogKnowledge | null = null;
let last: Circumstances | null = null;

/** Null where they are not certain, because the server has not been asked yet about `traces` (bits of TRACE). */
export function circumstancesOf(belongings: Belongings, catalog: Catalog, traces: number): Circumstances | null {
  if ((traces & UNCERTAIN) !== 0) return null;
  const { knowledge } = catalog;
  // Doubtful knowledge is another object.
  if (knowledge !== catalog.last || knowledge === NO_KNOWLEDGE) return lastingOf(belongings);
  if (belongings !== lastBelongings || knowledge !== lastKnowledge) {
    lastBelongings = belongings;
    lastKnowledge = knowledge;
    last = momentOf(belongings, knowledge);
  }
  return last;
}

function lastingOf(belongings: Belongings): Circumstances {
  let made = lasting.get(belongings);
  if (made === undefined) {
    made = Object.freeze({ reading: readingOf(belongings), isMoment: false });
    lasting.set(belongings, made);
  }
  return made;
}

function momentOf(belongings: Belongings, knowledge: CatalogKnowledge): Circumstances {
  let known = moments.get(belongings);
  if (known === undefined) {
    known = new WeakMap();
    moments.set(belongings, known);
  }
  let made = known.get(knowledge);
  if (made === undefined) {
    made = Object.freeze({ reading: readingOf(belongings), isMoment: true });
    known.set(knowledge, made);
  }
  return made;
}

function readingOf({ settings }: Belongings): string {
  return JSON.stringify([...settings].filter(([name]) => READING.has(name) || name.includes('.')));
}
