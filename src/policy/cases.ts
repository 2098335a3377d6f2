// Rule cases: statements and what a document must do with them, as YAML. `pgweir test` and our own tests run them; no
// server is needed, only the parser.

import type { ValidateFunction } from 'ajv';
import casesSchema from '../../schemas/cases.schema.json' with { type: 'json' };
import { compileSchema } from '../base/schema-check.ts';
import type { DocumentProblem, PositionedDocument, ValuePath } from '../base/yaml-document.ts';
import { findSchemaProblems } from '../base/yaml-document.ts';
import { PHYSICAL_DATABASE, type ReplicationMode } from '../session/replication-mode.ts';
import { Portals, PreparedStatements, resolveStatements } from '../session/statements.ts';
import type { Subject } from '../session/subject.ts';
import type { TextFacts } from '../sql/facts.ts';
import { readReplicationCommand } from '../sql/replication.ts';
import { NOT_PREPARED_FACTS } from '../sql/unparsed.ts';
import type { CompiledRuleset } from './compiled-ruleset.ts';
import { RuleDocumentError, readDocument } from './document.ts';
import { complainOfClientAddress } from './matchers/address.ts';
import type { Verdict } from './verdict.ts';

interface CaseSession {
  readonly user?: string;
  readonly database?: string;
  readonly application_name?: string;
  readonly client_ip?: string;
  readonly in_transaction?: boolean;
  readonly replication?: ReplicationMode;
}

export interface CaseExpectation {
  readonly action?: 'allow' | 'deny' | 'route' | 'rate_limit' | 'max_concurrent' | 'kill_after_ms';
  readonly rule?: string;
  readonly observed?: string | readonly string[];
  readonly sqlstate?: string;
  readonly target?: 'primary' | 'replica';
}

export interface RuleCase extends CaseSession {
  readonly name?: string;
  readonly sql: string;
  readonly expect: CaseExpectation;
}

export interface CaseDocument {
  /** Path of the rule document, relative to the cases. */
  readonly rules: string | null;
  readonly defaults: CaseSession;
  readonly cases: readonly (RuleCase & { readonly line: number })[];
  readonly source: string;
}

export interface CaseResult {
  readonly name: string;
  readonly source: string;
  readonly line: number;
  readonly isPassed: boolean;
  /** What was expected against what came out, one line each; empty when passed. */
  readonly complaints: readonly string[];
}

/** What reads a text into facts: FactsCache does. The text has one character per byte. */
export interface FactsReader {
  read(latin1: string, encoding: string, isStandardStrings: boolean): TextFacts;
}

const MAX_NAME = 60;
let compiledSchema: ValidateFunction | null = null;

/** Reads and checks a document of cases. Throws RuleDocumentError. */
export function parseCases(text: string, source: string): CaseDocument {
  const read = readDocument(text, source);
  compiledSchema ??= compileSchema('cases', casesSchema);
  const problems = findSchemaProblems(read, compiledSchema);
  if (problems.length > 0) throw new RuleDocumentError(problems);
  const value = read.value as { rules?: string; defaults?: CaseSession; cases: RuleCase[] };
  const badAddresses = findBadAddresses(value, read);
  if (badAddresses.length > 0) throw new RuleDocumentError(badAddresses);
  return {
    rules: value.rules ?? null,
    defaults: value.defaults ?? {},
    cases: value.cases.map((entry, index) => ({ ...entry, line: read.problemAt(['cases', index], '').line })),
    source,
  };
}

/** A slip in an address would match no rule, and so pass for an exemption. */
function findBadAddresses(
  { defaults, cases }: { readonly defaults?: CaseSession; readonly cases: readonly RuleCase[] },
  read: PositionedDocument,
): DocumentProblem[] {
  const places: (readonly [ValuePath, CaseSession | undefined])[] = [
    [['defaults'], defaults],
    ...cases.map((entry, index) => [['cases', index], entry] as const),
  ];
  return places.flatMap(([path, session]) => {
    const complaint = session?.client_ip === undefined ? null : complainOfClientAddress(session.client_ip);
    return complaint === null ? [] : [read.problemAt([...path, 'client_ip'], complaint)];
  });
}

/**
 * What a text comes to as a Query on such a connection, of a session that has prepared nothing yet: its statements with those
 * behind them, and whether they run as one transaction.
 */
export function readAs(
  replication: ReplicationMode,
  sql: string,
  facts: FactsReader,
): { readonly statements: TextFacts; readonly isBlock: boolean } {
  const latin1 = Buffer.from(sql, 'utf8').toString('latin1');
  const command = replication === 'none' ? null : readReplicationCommand(latin1, 'UTF8');
  const own = command === null ? facts.read(latin1, 'UTF8', true) : [command];
  const statements = resolveStatements(own, new PreparedStatements(), new Portals(), NOT_PREPARED_FACTS);
  return { statements, isBlock: own.length > 1 };
}

/** Judges each case under the ruleset. */
export function runCases(document: CaseDocument, ruleset: CompiledRuleset, facts: FactsReader): CaseResult[] {
  return document.cases.map((entry) => {
    const session = { ...document.defaults, ...entry };
    const subject: Subject = {
      user: session.user ?? 'app',
      database: session.replication === 'physical' ? PHYSICAL_DATABASE : (session.database ?? 'app'),
      applicationName: session.application_name ?? '',
      clientIp: session.client_ip ?? '127.0.0.1',
    };
    const { statements, isBlock } = readAs(session.replication ?? 'none', entry.sql, facts);
    const verdict = ruleset.viewFor(subject).judge(statements, isBlock || session.in_transaction === true);
    const complaints = findComplaints(entry.expect, verdict);
    return {
      name: entry.name ?? shorten(entry.sql),
      source: document.source,
      line: entry.line,
      isPassed: complaints.length === 0,
      complaints,
    };
  });
}

function findComplaints(expected: CaseExpectation, verdict: Verdict): string[] {
  const complaints: string[] = [];
  const { refusal } = verdict;
  const enforced = verdict.hits.filter(
    (hit) => !hit.isObserved && hit.effect !== 'observe' && hit.effect !== 'shadowed',
  );
  const acting = refusal === null ? enforced.map((hit) => hit.rule) : [];
  const outcome =
    refusal === null
      ? describeRules(acting.map((rule) => `${rule.name} (${rule.action})`))
      : `refused by ${refusal.rule}`;
  const complain = (wanted: string): void => {
    complaints.push(`expected ${wanted}, got: ${outcome}`);
  };
  const { action, rule } = expected;
  if (action === 'deny') {
    if (refusal === null || (rule !== undefined && refusal.rule !== rule))
      complain(`deny${rule === undefined ? '' : ` by ${rule}`}`);
  } else if (action === 'allow') {
    if (refusal !== null || (rule !== undefined && !acting.some((one) => one.name === rule))) {
      complain(`allow${rule === undefined ? '' : ` with ${rule}`}`);
    }
  } else if (action !== undefined) {
    if (!acting.some((one) => one.action === action && (rule === undefined || one.name === rule))) {
      complain(`${action}${rule === undefined ? '' : ` by ${rule}`}`);
    }
  } else if (rule !== undefined && refusal?.rule !== rule && !acting.some((one) => one.name === rule))
    complain(`rule ${rule}`);
  if (expected.sqlstate !== undefined && refusal?.sqlstate !== expected.sqlstate) {
    complaints.push(`expected SQLSTATE ${expected.sqlstate}, got: ${refusal?.sqlstate ?? 'no refusal'}`);
  }
  if (expected.target !== undefined && verdict.route?.target !== expected.target) {
    complaints.push(`expected the ${expected.target}, got: ${verdict.route?.target ?? 'no route'}`);
  }
  if (expected.observed !== undefined) {
    const wanted = [expected.observed].flat().sort();
    const hits = verdict.hits.filter((hit) => hit.isObserved || hit.effect === 'observe');
    const seen = [...new Set(hits.map((hit) => hit.rule.name))].sort();
    if (wanted.join('\0') !== seen.join('\0')) {
      complaints.push(`expected to be observed by ${describeRules(wanted)}, got: ${describeRules(seen)}`);
    }
  }
  return complaints;
}

function describeRules(names: readonly string[]): string {
  return names.length === 0 ? 'no rule' : names.join(', ');
}

function shorten(sql: string): string {
  const folded = sql.replace(/\s+/g, ' ').trim();
  return folded.length > MAX_NAME ? `${folded.slice(0, MAX_NAME - 1)}…` : folded;
}
