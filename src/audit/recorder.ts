// The one writer of what happened: rule counters, the observation matrix and the decision journal. Called on the road of
// every statement, so what is the same for the same verdict is looked up once and then only bumped.

import type { Clock } from '../base/clock.ts';
import { DECISION_BOUNDS_SECONDS, DURATION_BOUNDS_SECONDS, Histogram } from '../base/histogram.ts';
import type { CompiledRule } from '../policy/rule.ts';
import type { Ruleset } from '../policy/ruleset.ts';
import type { Refusal, RuleHit, Verdict } from '../policy/verdict.ts';
import type { Subject } from '../session/subject.ts';
import type { StatementShape } from '../sql/facts.ts';
import type { DecisionOutcome } from './decision.ts';
import { DecisionJournal } from './decision-journal.ts';
import type { ObservationCell } from './observation-matrix.ts';
import { ObservationMatrix } from './observation-matrix.ts';
import type { TallyField } from './tally.ts';

export interface RecorderOptions {
  readonly clock: Clock;
  readonly maxCells: number;
  readonly maxDecisions: number;
}

/** What was judged under one version of the rules. */
export interface VersionTally {
  readonly version: string;
  readonly firstEpoch: number;
  readonly sinceMs: number;
  /** Messages judged; of those: matched by no rule, and refused. */
  judged: number;
  unmatched: number;
  refused: number;
}

/** What a verdict bumps each time it is recorded. Parallel to `verdict.hits`. */
interface VerdictPlan {
  /** Null: the rule has since been given another meaning, only its own counters are bumped. */
  readonly cells: (ObservationCell | null)[];
  /** The second number that a hit bumps besides `matched`. */
  readonly effects: (PlannedEffect | null)[];
  /** Hits of kill rules in observe mode: they count when the statement has ended late. */
  readonly observedKills: readonly { readonly index: number; readonly timeoutMs: number }[];
}

/** The fields that a rule's counters and a cell's tally share. */
type PlannedEffect = 'wouldRefuse' | 'routed' | 'wouldRoute';
type CounterField = Exclude<TallyField, 'inTransaction'>;

const MAX_VERSIONS = 64;
/** Refusals in which no rule spoke have few names; a bound all the same. */
const MAX_RULELESS_NAMES = 16;
const MAX_TARGETS = 64;

export class Recorder {
  readonly matrix: ObservationMatrix;
  readonly decisions: DecisionJournal;
  /** Fed by the relay, in seconds. */
  readonly decisionDuration = new Histogram(DECISION_BOUNDS_SECONDS);
  readonly queueWait = new Histogram(DURATION_BOUNDS_SECONDS);
  /** Messages judged, and of those matched by no rule. */
  judged = 0;
  unmatched = 0;
  /** Messages of which a part could not be read, whatever on_unparsed then said. */
  unparsed = 0;
  readonly #clock: Clock;
  readonly #plans = new WeakMap<Verdict, VerdictPlan>();
  readonly #versions = new Map<string, VersionTally>();
  readonly #rulelessRefusals = new Map<string, number>();
  readonly #statementDurations = new Map<string, Histogram>();
  #ruleset: Ruleset | null = null;
  #version: VersionTally | null = null;

  constructor(options: RecorderOptions) {
    this.#clock = options.clock;
    this.matrix = new ObservationMatrix(options.maxCells);
    this.decisions = new DecisionJournal(options.maxDecisions, options.clock.wallMs());
  }

  /** Once for each judged message, before it is run or refused. */
  recordVerdict(verdict: Verdict): void {
    const version =
      verdict.ruleset === this.#ruleset && this.#version !== null ? this.#version : this.#follow(verdict.ruleset);
    version.judged += 1;
    this.judged += 1;
    const shapes = verdict.shapes;
    for (let index = 0; index < shapes.length; index += 1) {
      if ((shapes[index] as StatementShape).unparsed === null) continue;
      this.unparsed += 1;
      break;
    }
    const hits = verdict.hits;
    if (hits.length === 0) {
      version.unmatched += 1;
      this.unmatched += 1;
      return;
    }
    const nowMs = this.#clock.wallMs();
    const plan = this.#plans.get(verdict) ?? this.#plan(verdict, nowMs);
    for (let index = 0; index < hits.length; index += 1) {
      const hit = hits[index] as RuleHit;
      const effect = plan.effects[index] as PlannedEffect | null;
      hit.rule.counters.matched += 1;
      if (effect !== null) hit.rule.counters[effect] += 1;
      let cell = plan.cells[index] as ObservationCell | null;
      if (cell?.isEvicted === true) {
        cell = this.matrix.resolve(verdict, hit.rule, hit.shape, nowMs);
        plan.cells[index] = cell;
      }
      if (cell === null) continue;
      cell.lastSeenMs = nowMs;
      const { tally, line } = cell;
      tally.matched += 1;
      line.totals.matched += 1;
      if (verdict.isInTransaction) {
        tally.inTransaction += 1;
        line.totals.inTransaction += 1;
      }
      if (effect !== null) {
        tally[effect] += 1;
        line.totals[effect] += 1;
      }
    }
  }

  /**
   * A judged message that is refused: by the verdict itself, or by one of its limits. Answers the decision's id for the
   * error's DETAIL.
   */
  recordRefusal(verdict: Verdict, sessionId: number, refusal: Refusal): string {
    this.#follow(verdict.ruleset).refused += 1;
    const isByVerdict = refusal === verdict.refusal;
    const hit = isByVerdict ? findDenial(verdict) : findLimit(verdict, refusal.rule);
    if (hit === null) this.#countRuleless(refusal.rule);
    else this.#bump(verdict, hit, 'refused');
    const shape = hit?.shape ?? verdict.shapes[0] ?? null;
    return this.#append(verdict, sessionId, refusal.rule, isByVerdict ? 'refused' : 'limited', shape);
  }

  /** A message refused before it could be judged, as for its size. Answers the decision's id. */
  recordUnjudgedRefusal(subject: Subject, rulesVersion: string, sessionId: number, refusal: Refusal): string {
    this.#countRuleless(refusal.rule);
    return this.decisions.append({
      atMs: this.#clock.wallMs(),
      rulesVersion,
      rule: refusal.rule,
      outcome: 'refused',
      shape: null,
      subject,
      sessionId,
      isInTransaction: false,
    });
  }

  /** `waited`: an enforced limit held the message back, then let it through. `would_refuse`: an observed one had no room. */
  recordLimit(verdict: Verdict, hit: RuleHit, outcome: 'waited' | 'would_refuse'): void {
    this.#bump(verdict, hit, outcome === 'waited' ? 'waited' : 'wouldRefuse');
  }

  /**
   * A cancel of the verdict's kill rule has come to its end. `isRaced`: the answer was there before the cancel landed.
   * Answers the decision's id.
   */
  recordKill(verdict: Verdict, sessionId: number, isRaced: boolean): string {
    const rule = verdict.kill?.rule ?? null;
    const hit = rule === null ? null : (verdict.hits.find((candidate) => candidate.rule === rule) ?? null);
    if (hit !== null) this.#bump(verdict, hit, isRaced ? 'killRaced' : 'killed');
    const shape = hit?.shape ?? verdict.shapes[0] ?? null;
    return this.#append(verdict, sessionId, rule?.name ?? 'kill', isRaced ? 'kill_raced' : 'killed', shape);
  }

  /**
   * A message has run for this long on the server: kill rules in observe mode count what they would have killed.
   * `earlierMs`: what it had run for before it was suspended, which has been recorded.
   */
  recordEnd(verdict: Verdict, serverMs: number, earlierMs = 0): void {
    if (verdict.hits.length === 0) return;
    const kills = (this.#plans.get(verdict) ?? this.#plan(verdict, this.#clock.wallMs())).observedKills;
    for (const kill of kills) {
      const hit = verdict.hits[kill.index];
      const isLate = earlierMs <= kill.timeoutMs && earlierMs + serverMs > kill.timeoutMs;
      if (hit !== undefined && isLate) this.#bump(verdict, hit, 'wouldKill');
    }
  }

  /** The histogram of statement times on one target; the relay keeps it and feeds it. */
  statementDuration(target: string): Histogram {
    const known = this.#statementDurations.get(target);
    if (known !== undefined) return known;
    const created = new Histogram(DURATION_BOUNDS_SECONDS);
    if (this.#statementDurations.size < MAX_TARGETS) this.#statementDurations.set(target, created);
    return created;
  }

  statementDurations(): ReadonlyMap<string, Histogram> {
    return this.#statementDurations;
  }

  /** Newest version last; at most MAX_VERSIONS, older ones are forgotten. */
  versions(): VersionTally[] {
    return [...this.#versions.values()];
  }

  /** Refusals in which no rule spoke, by what did: `default_action`, `on_unparsed`, `max_statement_bytes`. */
  rulelessRefusals(): ReadonlyMap<string, number> {
    return this.#rulelessRefusals;
  }

  #follow(ruleset: Ruleset): VersionTally {
    if (ruleset === this.#ruleset && this.#version !== null) return this.#version;
    let version = this.#versions.get(ruleset.version);
    if (version === undefined) {
      const sinceMs = this.#clock.wallMs();
      version = { version: ruleset.version, firstEpoch: ruleset.epoch, sinceMs, judged: 0, unmatched: 0, refused: 0 };
      this.#versions.set(ruleset.version, version);
      if (this.#versions.size > MAX_VERSIONS) {
        for (const oldest of this.#versions.keys()) {
          this.#versions.delete(oldest);
          break;
        }
      }
    }
    this.#ruleset = ruleset;
    this.#version = version;
    return version;
  }

  #plan(verdict: Verdict, nowMs: number): VerdictPlan {
    const observedKills: { index: number; timeoutMs: number }[] = [];
    verdict.hits.forEach((hit, index) => {
      const timeoutMs = hit.rule.document.timeout_ms;
      if (!hit.isObserved || hit.effect !== 'kill' || timeoutMs === undefined) return;
      // A cancel ends the message as a whole: it counts once, for the first statement, as a kill does.
      const isCounted = observedKills.some((kill) => verdict.hits[kill.index]?.rule === hit.rule);
      if (!isCounted) observedKills.push({ index, timeoutMs });
    });
    const plan: VerdictPlan = {
      cells: verdict.hits.map((hit) => this.matrix.resolve(verdict, hit.rule, hit.shape, nowMs)),
      effects: planEffects(verdict),
      observedKills,
    };
    this.#plans.set(verdict, plan);
    return plan;
  }

  /** For what happens after the match: an evicted cell is not admitted again for it, `other` takes the number. */
  #bump(verdict: Verdict, hit: RuleHit, field: CounterField): void {
    hit.rule.counters[field] += 1;
    const plan = this.#plans.get(verdict) ?? this.#plan(verdict, this.#clock.wallMs());
    const index = verdict.hits.findIndex((other) => other.rule === hit.rule && other.shape === hit.shape);
    const cell = plan.cells[index] ?? null;
    if (cell === null || this.matrix.line(hit.rule.name) !== cell.line) return;
    (cell.isEvicted ? cell.line.other : cell.tally)[field] += 1;
    cell.line.totals[field] += 1;
  }

  #append(
    verdict: Verdict,
    sessionId: number,
    rule: string,
    outcome: DecisionOutcome,
    shape: StatementShape | null,
  ): string {
    return this.decisions.append({
      atMs: this.#clock.wallMs(),
      rulesVersion: verdict.ruleset.version,
      rule,
      outcome,
      shape,
      subject: verdict.subject,
      sessionId,
      isInTransaction: verdict.isInTransaction,
    });
  }

  #countRuleless(name: string): void {
    const isFull = this.#rulelessRefusals.size >= MAX_RULELESS_NAMES && !this.#rulelessRefusals.has(name);
    const counted = isFull ? 'other' : name;
    this.#rulelessRefusals.set(counted, (this.#rulelessRefusals.get(counted) ?? 0) + 1);
  }
}

const NO_RULES: ReadonlySet<CompiledRule> = new Set();

function planEffects(verdict: Verdict): (PlannedEffect | null)[] {
  const routing = verdict.hits.filter((hit) => hit.isObserved && hit.effect === 'route');
  const routesAll = routing.length === 0 ? NO_RULES : listRoutesOfAll(verdict, routing);
  return verdict.hits.map((hit) => planEffect(hit, verdict, routesAll));
}

/** As enforced ones: a message goes where all of it goes, and nowhere when it is refused. */
function listRoutesOfAll({ refusal, shapes }: Verdict, routing: readonly RuleHit[]): ReadonlySet<CompiledRule> {
  const routesAll = new Set<CompiledRule>();
  for (const [rule, hits] of Map.groupBy(routing, (hit) => hit.rule)) {
    const routed = new Set(hits.map((hit) => hit.shape));
    if (refusal === null && shapes.every((shape) => routed.has(shape))) routesAll.add(rule);
  }
  return routesAll;
}

function planEffect(hit: RuleHit, verdict: Verdict, routesAll: ReadonlySet<CompiledRule>): PlannedEffect | null {
  if (hit.effect === 'deny') return hit.isObserved ? 'wouldRefuse' : null;
  if (hit.effect !== 'route') return null;
  if (hit.isObserved) return routesAll.has(hit.rule) ? 'wouldRoute' : null;
  const isTaken = verdict.refusal === null && verdict.route?.rule === hit.rule;
  return isTaken ? 'routed' : null;
}

function findDenial(verdict: Verdict): RuleHit | null {
  const rule: CompiledRule | null = verdict.refusedBy;
  if (rule === null) return null;
  return verdict.hits.find((hit) => hit.rule === rule && hit.effect === 'deny' && !hit.isObserved) ?? null;
}

function findLimit(verdict: Verdict, ruleName: string): RuleHit | null {
  return verdict.limits.find((hit) => hit.rule.name === ruleName) ?? null;
}
