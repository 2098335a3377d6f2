// Decides what a cell of the table says: the same program's report on the bare server and through pgweir, side by side.

import { CHECKS, type Check, type Report } from './checks.ts';

export type Outcome =
  /** Right on both paths, and the same on both. */
  | { readonly kind: 'equal'; readonly detail: string }
  /** The driver has no API for it. */
  | { readonly kind: 'no API'; readonly detail: string }
  /** Wrong through pgweir, or not what the bare server gave. */
  | { readonly kind: 'different'; readonly direct: string; readonly weir: string }
  /** The program is wrong on the bare server already: says nothing about pgweir, and is never a pass. */
  | { readonly kind: 'broken'; readonly direct: string; readonly weir: string };

/** The decision that the bare server's stand-in for a refusal names; see ground.ts. */
export const BARE_DECISION = 'bare';

const DECISION = /("decision_id":\s*")([^"]*)(")/g;

/** Checks in which a rule must have spoken on pgweir's side. */
const REFUSALS: readonly Check[] = ['refused', 'refused_in_transaction', 'refused_in_batch'];

/** One outcome for each check; a check without a report counts as failed on that path. */
export function compareReports(direct: readonly Report[], weir: readonly Report[]): Map<Check, Outcome> {
  const find = (reports: readonly Report[], check: Check): Report =>
    reports.find((report) => report.check === check) ?? { check, isOk: false, detail: 'no report' };
  return new Map(CHECKS.map((check) => [check, compareReport(find(direct, check), find(weir, check))]));
}

function compareReport(direct: Report, weir: Report): Outcome {
  const texts = { direct: direct.detail, weir: weir.detail };
  if (direct.isOk === null && weir.isOk === null) return { kind: 'no API', detail: direct.detail };
  if (direct.isOk !== true) return { kind: 'broken', ...texts };
  if (weir.isOk !== true) return { kind: 'different', ...texts };
  const isEqual = direct.check === 'limited' ? isLimitSeen(direct, weir) : isSameText(direct, weir);
  return isEqual ? { kind: 'equal', detail: weir.detail } : { kind: 'different', ...texts };
}

/** The bare server lets both looks pass; a limit of one look refuses the second with 53400 (configuration_limit_exceeded). */
function isLimitSeen(direct: Report, weir: Report): boolean {
  return /\bsecond: ok\b/.test(direct.detail) && /\bsecond: 53400\b/.test(weir.detail);
}

function isSameText(direct: Report, weir: Report): boolean {
  if (!REFUSALS.includes(direct.check)) return direct.detail === weir.detail;
  const blank = (text: string): string => text.replace(DECISION, '$1…$3');
  const isByBareServer = (text: string): boolean => decisionsIn(text).includes(BARE_DECISION);
  const isRuleSeen = decisionsIn(weir.detail).length === decisionsIn(direct.detail).length;
  return blank(direct.detail) === blank(weir.detail) && isRuleSeen && !isByBareServer(weir.detail);
}

function decisionsIn(text: string): string[] {
  return [...text.matchAll(DECISION)].map((match) => match[2] ?? '');
}
