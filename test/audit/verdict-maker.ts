// Rules, subjects, shapes and verdicts made by hand, for tests of what is recorded about them.

import type { Clock } from '../../src/base/clock.ts';
import type { CompiledRule, RuleAction, RuleDocumentEntry, RuleMode } from '../../src/policy/rule.ts';
import type { Ruleset } from '../../src/policy/ruleset.ts';
import type { RuleHit, Verdict } from '../../src/policy/verdict.ts';
import type { Subject } from '../../src/session/subject.ts';
import type { StatementShape } from '../../src/sql/facts.ts';

export class HandClock implements Clock {
  nowMs = 1_700_000_000_000;

  monotonicMs(): number {
    return this.nowMs;
  }

  wallMs(): number {
    return this.nowMs;
  }
}

export function makeRule(
  name: string,
  action: RuleAction,
  mode: RuleMode = 'enforce',
  document: Partial<RuleDocumentEntry> = {},
): CompiledRule {
  return {
    name,
    description: null,
    priority: 0,
    mode,
    action,
    definition: `${name}:${action}:${mode}`,
    document: { name, action, mode, ...document },
    counters: {
      matched: 0,
      refused: 0,
      routed: 0,
      killed: 0,
      killRaced: 0,
      waited: 0,
      wouldRefuse: 0,
      wouldRoute: 0,
      wouldKill: 0,
    },
  };
}

export function makeRuleset(version: string, epoch: number, rules: readonly CompiledRule[] = []): Ruleset {
  return {
    version,
    epoch,
    rules,
    document: { traffic_control: {} },
    hasRoutes: false,
    asksForTransaction: false,
    isNumberBlind: true,
    viewFor: () => {
      throw new Error('this ruleset only names a version');
    },
  };
}

export function makeSubject(parts: Partial<Subject> = {}): Subject {
  return { user: 'ana', database: 'shop', applicationName: 'web', clientIp: '10.1.2.3', ...parts };
}

export function makeShape(fingerprint: string, normalized = `select ${fingerprint}`): StatementShape {
  return {
    normalized,
    fingerprint,
    queryClass: 'read',
    kinds: ['select'],
    tables: [],
    functions: [],
    columns: [],
    isMissingWhere: false,
    unparsed: fingerprint === '' ? 'syntax' : null,
  };
}

export function makeHit(rule: CompiledRule, shape: StatementShape, effect: RuleHit['effect'] = 'observe'): RuleHit {
  return { rule, shape, effect, isObserved: rule.mode === 'observe' };
}

export function makeVerdict(
  ruleset: Ruleset,
  subject: Subject,
  hits: readonly RuleHit[],
  parts: Partial<Verdict> = {},
): Verdict {
  return {
    ruleset,
    subject,
    isInTransaction: false,
    shapes: hits.map((hit) => hit.shape),
    refusal: null,
    refusedBy: null,
    route: null,
    kill: null,
    limits: [],
    observedLimits: [],
    hits,
    ...parts,
  };
}
