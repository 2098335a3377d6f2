// A compiled rule document as the other rooms see it. Frozen: a change is a new ruleset, never a mutation of this one.
// compiled-ruleset.ts and judge.ts are behind these interfaces.

import type { Subject } from '../session/subject.ts';
import type { TextFacts } from '../sql/facts.ts';
import type { CompiledRule, RuleDocument } from './rule.ts';
import type { Verdict } from './verdict.ts';

export interface Ruleset {
  /** Hash of the document's meaning: 12 hex digits. Two documents that mean the same have the same version. */
  readonly version: string;
  /** Rises by one with every swap of this process. */
  readonly epoch: number;
  readonly document: RuleDocument;
  /** In order of evaluation. */
  readonly rules: readonly CompiledRule[];
  /** Some rule routes: only then does the relay look for targets. */
  readonly hasRoutes: boolean;
  /** Some rule asks whether a statement runs in a transaction. */
  readonly asksForTransaction: boolean;
  /** Statements that differ in the digits of numbers only are judged alike, whatever the digits are. */
  readonly isNumberBlind: boolean;
  /** Remembered by the subject's content; bounded. */
  viewFor(subject: Subject): SubjectView;
}

/** A ruleset as one subject sees it: the rules that can never match the subject are already gone. */
export interface SubjectView {
  readonly ruleset: Ruleset;
  readonly subject: Subject;
  /**
   * Without side effects, and remembered: known text costs one map look-up, new text of a known shape one pass of the
   * regular expressions that could still match it.
   */
  judge(statements: TextFacts, isInTransaction: boolean): Verdict;
}
