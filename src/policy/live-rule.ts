// A compiled rule with the parts that only this room uses: its match and its limiter.

import { createHash } from 'node:crypto';
import type { Limiter } from './limiter.ts';
import type { CompiledMatch } from './match.ts';
import type { CompiledRule, RuleAction, RuleCounters, RuleDocumentEntry, RuleMode } from './rule.ts';

export interface LiveRuleParts {
  readonly document: RuleDocumentEntry;
  readonly match: CompiledMatch;
  readonly definition: string;
  readonly counters: RuleCounters;
  readonly limiter: Limiter | null;
}

export class LiveRule implements CompiledRule {
  readonly name: string;
  readonly description: string | null;
  readonly priority: number;
  readonly mode: RuleMode;
  readonly action: RuleAction;
  readonly definition: string;
  readonly document: RuleDocumentEntry;
  readonly counters: RuleCounters;
  readonly match: CompiledMatch;
  readonly limiter: Limiter | null;
  readonly isObserved: boolean;
  /** Enforced allow or deny: the search ends where it matches. */
  readonly isFinal: boolean;
  /** Of a route rule. */
  readonly target: 'primary' | 'replica' | null;

  constructor(parts: LiveRuleParts) {
    const { document } = parts;
    this.name = document.name;
    this.description = document.description ?? null;
    this.priority = document.priority ?? 0;
    this.mode = modeOf(document);
    this.action = actionOf(document);
    this.definition = parts.definition;
    this.document = document;
    this.counters = parts.counters;
    this.match = parts.match;
    this.limiter = parts.limiter;
    this.isObserved = this.mode === 'observe';
    this.isFinal = this.mode === 'enforce' && (this.action === 'allow' || this.action === 'deny');
    this.target = targetOf(document);
    Object.freeze(this);
  }
}

export function modeOf(document: RuleDocumentEntry): RuleMode {
  return document.mode ?? (document.observe_only === true ? 'observe' : 'enforce');
}

export function actionOf(document: RuleDocumentEntry): RuleAction {
  return document.action === 'route_primary' || document.action === 'route_replica' ? 'route' : document.action;
}

export function targetOf(document: RuleDocumentEntry): 'primary' | 'replica' | null {
  if (document.action === 'route_primary') return 'primary';
  if (document.action === 'route_replica') return 'replica';
  return document.action === 'route' ? (document.target ?? null) : null;
}

/** Hash of what gives a rule its meaning, its description left out: defaults filled in, aliases resolved, lists as sets. */
export function hashDefinition(document: RuleDocumentEntry): string {
  return hashText(JSON.stringify(describeMeaning(document)), 16);
}

/** Equal texts for values that mean the same in a rule: order of keys, order in lists and lists of one do not count. */
export function writeCanonically(value: unknown): string {
  return JSON.stringify(canonicalize(value));
}

/** Hex digits of a SHA-256, shortened. */
export function hashText(text: string, digits: number): string {
  return createHash('sha256').update(text).digest('hex').slice(0, digits);
}

function describeMeaning(document: RuleDocumentEntry): unknown {
  const { description: _, observe_only: __, mode: ___, action: ____, target: _____, ...rest } = document;
  return canonicalize({
    ...rest,
    priority: document.priority ?? 0,
    mode: modeOf(document),
    action: actionOf(document),
    target: targetOf(document),
    match: document.match ?? {},
  });
}

/** Keys in order; a list means any of its elements, so its order and a list of one mean nothing. */
function canonicalize(value: unknown): unknown {
  if (Array.isArray(value)) {
    const elements = [...new Set(value.map((element) => JSON.stringify(canonicalize(element))))].sort();
    return elements.length === 1 ? JSON.parse(elements[0] ?? 'null') : elements;
  }
  if (typeof value !== 'object' || value === null) return value;
  return Object.entries(value)
    .filter(([, entry]) => entry !== undefined)
    .sort(([left], [right]) => (left < right ? -1 : 1))
    .map(([key, entry]) => [key, canonicalize(entry)]);
}
