// What clients do in the long state tests, as plain data: the same steps can be played against a bare server and through a
// pool, again from a seed, and again without some of them.

import * as frontend from '../support/frontend-messages.ts';

/** One unit that a client sends, answered by so many ReadyForQuery. */
export interface SendStep {
  readonly kind: 'send';
  readonly client: number;
  /** For people: what a failing run prints. */
  readonly label: string;
  readonly bytes: Buffer;
  readonly ready: number;
  /** It ends a hold, so that others can go on: without it a failure may be none. */
  readonly isRelease?: boolean;
}

/** A new session in the client's place; the one it has is left first. */
export interface LoginStep {
  readonly kind: 'login';
  readonly client: number;
  readonly user: string;
  readonly parameters: Readonly<Record<string, string>>;
}

export interface LeaveStep {
  readonly kind: 'leave';
  readonly client: number;
  /** With a word (Terminate), or by closing the socket. */
  readonly how: 'terminate' | 'vanish';
  readonly isRelease?: boolean;
}

/**
 * `waiter` is sent while all server connections may be held by others; then the others go on, and only then must it be
 * answered. What the waiter does may not depend on what the others do.
 */
export interface MeanwhileStep {
  readonly kind: 'meanwhile';
  readonly waiter: SendStep;
  readonly others: readonly (SendStep | LeaveStep)[];
}

export type Step = SendStep | LoginStep | LeaveStep | MeanwhileStep;

export function describeStep(step: Step): string {
  switch (step.kind) {
    case 'send':
      return `client ${step.client}: ${step.label}`;
    case 'login':
      return `client ${step.client} logs in as ${step.user} ${JSON.stringify(step.parameters)}`;
    case 'leave':
      return `client ${step.client} leaves (${step.how})`;
    case 'meanwhile':
      return [`${describeStep(step.waiter)} -- sent first, while:`, ...step.others.map(describeStep)].join('\n    ');
    default:
      return step satisfies never;
  }
}

/** A simple Query. */
export function simple(client: number, sql: string): SendStep {
  return { kind: 'send', client, label: sql, bytes: frontend.query(sql), ready: 1 };
}

/** Parse, Bind, Describe, Execute of the unnamed statement, and Sync. */
export function extended(client: number, sql: string): SendStep {
  const bytes = Buffer.concat([frontend.extendedQuery(sql), frontend.sync()]);
  return { kind: 'send', client, label: `${sql}  (extended)`, bytes, ready: 1 };
}

/** Messages of the extended protocol under a label of their own; the caller has counted their Syncs. */
export function messages(client: number, label: string, parts: readonly Buffer[], ready = 1): SendStep {
  return { kind: 'send', client, label, bytes: Buffer.concat(parts), ready };
}

/** The steps without those from `start` to `end`; releases stay for as long as their client does anything else. */
export function leaveOut(steps: readonly Step[], start: number, end: number): Step[] {
  const isRelease = (step: Step): boolean => 'isRelease' in step && step.isRelease === true;
  const rest = steps.filter((step, index) => index < start || index >= end || isRelease(step));
  const busy = new Set(rest.flatMap((step) => (isRelease(step) ? [] : clientsOf(step))));
  return rest.filter((step) => !isRelease(step) || clientsOf(step).some((client) => busy.has(client)));
}

function clientsOf(step: Step): readonly number[] {
  return step.kind === 'meanwhile' ? [step.waiter.client, ...step.others.map(({ client }) => client)] : [step.client];
}
