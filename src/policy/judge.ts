// The judge: a ruleset as one subject sees it. Three steps, each remembered: rules that can match this subject (once),
// rules that can match this shape (once per shape), and what the text itself decides (once per text, and only where a
// rule that is still open looks at raw text or tags). test/bench/policy-bench.ts measures each.

import type { Subject } from '../session/subject.ts';
import type { StatementFacts, StatementShape, TextFacts } from '../sql/facts.ts';
import type { VerdictFrame } from './assemble.ts';
import { assembleVerdict, combineVerdicts } from './assemble.ts';
import type { CompiledRuleset } from './compiled-ruleset.ts';
import type { LiveRule } from './live-rule.ts';
import type { CompiledMatch } from './match.ts';
import { reduceMatch } from './match.ts';
import { STAGE } from './matchers/dimension.ts';
import type { PatternSet } from './matchers/pattern-set.ts';
import type { SubjectView } from './ruleset.ts';
import type { Verdict } from './verdict.ts';

/** A rule that may match; `rest` is null where nothing is left to decide. */
interface Candidate {
  readonly rule: LiveRule;
  readonly rest: CompiledMatch | null;
}

/** What is known of one shape, inside or outside a transaction. */
interface ShapeJudgement {
  readonly candidates: readonly Candidate[];
  readonly hasOpen: boolean;
  readonly needsRawText: boolean;
  /** The verdict where no open candidate matches: nearly always the one. */
  readonly plain: Verdict;
}

interface ShapeEntry {
  idle: ShapeJudgement | null;
  busy: ShapeJudgement | null;
}

interface TextEntry {
  idle: Verdict | null;
  busy: Verdict | null;
}

export class RulesetView implements SubjectView {
  readonly ruleset: CompiledRuleset;
  readonly subject: Subject;
  readonly #rules: readonly Candidate[];
  readonly #idleFrame: VerdictFrame;
  readonly #busyFrame: VerdictFrame;
  readonly #needsNormalizedText: boolean;
  readonly #rawPatterns: readonly number[];
  #rawSet: PatternSet | null = null;
  /** Weak, so that a text that the facts cache has dropped is dropped here too. Bounded by the ruleset's memo budget. */
  #shapes = new WeakMap<StatementShape, ShapeEntry>();
  #texts = new WeakMap<TextFacts, TextEntry>();
  #memoEpoch = 0;

  constructor(ruleset: CompiledRuleset, subject: Subject) {
    this.ruleset = ruleset;
    this.subject = subject;
    const context = ruleset.context;
    context.subject = subject;
    const rules: Candidate[] = [];
    for (const rule of ruleset.rules) {
      if (rule.mode === 'off') continue;
      const reduced = reduceMatch(rule.match, context, STAGE.subject);
      if (reduced === false) continue;
      rules.push({ rule, rest: reduced === true ? null : reduced });
      if (reduced === true && rule.isFinal) break;
    }
    this.#rules = rules;
    this.#needsNormalizedText = rules.some((candidate) => (candidate.rest?.normalizedPatterns.length ?? 0) > 0);
    this.#rawPatterns = [...new Set(rules.flatMap((candidate) => candidate.rest?.rawPatterns ?? []))].sort(
      (a, b) => a - b,
    );
    const { defaultAction, onUnparsed } = ruleset;
    this.#idleFrame = { ruleset, subject, isInTransaction: false, defaultAction, onUnparsed };
    this.#busyFrame = { ruleset, subject, isInTransaction: true, defaultAction, onUnparsed };
  }

  judge(statements: TextFacts, isInTransaction: boolean): Verdict {
    if (this.#memoEpoch !== this.ruleset.memo.epoch) this.#forget();
    const only = statements.length === 1 ? statements[0] : undefined;
    if (only !== undefined) {
      const judgement = this.#judgeShape(only.shape, isInTransaction);
      if (!judgement.hasOpen) return judgement.plain;
    }
    const known = this.#texts.get(statements);
    if (known !== undefined) {
      const verdict = isInTransaction ? known.busy : known.idle;
      if (verdict !== null) return verdict;
    } else if (only !== undefined && !Object.isFrozen(statements)) {
      // A text that is not kept comes but once: an entry for it would cost more than the judgement.
      return this.#judgeText(only, isInTransaction);
    }
    const verdict =
      only === undefined ? this.#judgeAll(statements, isInTransaction) : this.#judgeText(only, isInTransaction);
    const entry = known ?? this.#addText(statements);
    if (isInTransaction) entry.busy = verdict;
    else entry.idle = verdict;
    return verdict;
  }

  #judgeAll(statements: TextFacts, isInTransaction: boolean): Verdict {
    const frame = isInTransaction ? this.#busyFrame : this.#idleFrame;
    return combineVerdicts(
      frame,
      statements.map((facts) => this.#judgeText(facts, isInTransaction)),
    );
  }

  #judgeText(facts: StatementFacts, isInTransaction: boolean): Verdict {
    const judgement = this.#judgeShape(facts.shape, isInTransaction);
    if (!judgement.hasOpen) return judgement.plain;
    const context = this.ruleset.context;
    context.subject = this.subject;
    context.shape = facts.shape;
    context.isInTransaction = isInTransaction;
    context.tags = facts.tags;
    if (judgement.needsRawText) {
      this.#rawSet ??= this.ruleset.rawSetFor(this.#rawPatterns);
      context.rawHits = this.#rawSet.match(facts.text);
    }
    const { candidates } = judgement;
    for (let index = 0; index < candidates.length; index += 1) {
      const rest = (candidates[index] as Candidate).rest;
      if (rest !== null && reduceMatch(rest, context, STAGE.text) === true) {
        return this.#assembleOpen(judgement, facts.shape, isInTransaction, index);
      }
    }
    return judgement.plain;
  }

  /** `firstOpen`: the first candidate that is known to match by its text. The context is still set. */
  #assembleOpen(
    judgement: ShapeJudgement,
    shape: StatementShape,
    isInTransaction: boolean,
    firstOpen: number,
  ): Verdict {
    const matched: LiveRule[] = [];
    for (let index = 0; index < judgement.candidates.length; index += 1) {
      const { rule, rest } = judgement.candidates[index] as Candidate;
      const isMatched =
        rest === null ||
        index === firstOpen ||
        (index > firstOpen && reduceMatch(rest, this.ruleset.context, STAGE.text) === true);
      if (!isMatched) continue;
      matched.push(rule);
      if (rule.isFinal) break;
    }
    return assembleVerdict(isInTransaction ? this.#busyFrame : this.#idleFrame, shape, matched);
  }

  #judgeShape(shape: StatementShape, isInTransaction: boolean): ShapeJudgement {
    let entry = this.#shapes.get(shape);
    if (entry === undefined) {
      entry = { idle: null, busy: null };
      this.#shapes.set(shape, entry);
      this.#countMemo();
    }
    const known = isInTransaction ? entry.busy : entry.idle;
    if (known !== null) return known;
    const judged = this.#examineShape(shape, isInTransaction);
    if (isInTransaction) entry.busy = judged;
    else entry.idle = judged;
    return judged;
  }

  #examineShape(shape: StatementShape, isInTransaction: boolean): ShapeJudgement {
    const context = this.ruleset.context;
    context.subject = this.subject;
    context.shape = shape;
    context.isInTransaction = isInTransaction;
    if (this.#needsNormalizedText) context.normalizedHits = this.ruleset.normalizedSet.match(shape.normalized);
    const candidates: Candidate[] = [];
    const certain: LiveRule[] = [];
    let needsRawText = false;
    for (const candidate of this.#rules) {
      const reduced = candidate.rest === null ? true : reduceMatch(candidate.rest, context, STAGE.transaction);
      if (reduced === false) continue;
      if (reduced === true) {
        candidates.push({ rule: candidate.rule, rest: null });
        certain.push(candidate.rule);
        if (candidate.rule.isFinal) break;
      } else {
        candidates.push({ rule: candidate.rule, rest: reduced });
        if (reduced.rawPatterns.length > 0) needsRawText = true;
      }
    }
    return {
      candidates,
      hasOpen: candidates.length > certain.length,
      needsRawText,
      plain: assembleVerdict(isInTransaction ? this.#busyFrame : this.#idleFrame, shape, certain),
    };
  }

  #addText(statements: TextFacts): TextEntry {
    const entry: TextEntry = { idle: null, busy: null };
    this.#texts.set(statements, entry);
    this.#countMemo();
    return entry;
  }

  #countMemo(): void {
    const { memo } = this.ruleset;
    memo.entries += 1;
    memo.misses += 1;
    if (memo.entries > memo.maxEntries) {
      memo.entries = 0;
      memo.epoch += 1;
      memo.flushes += 1;
    }
  }

  #forget(): void {
    this.#memoEpoch = this.ruleset.memo.epoch;
    this.#shapes = new WeakMap();
    this.#texts = new WeakMap();
  }
}
