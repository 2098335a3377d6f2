// One client of the routing tests, which says things in each of the protocol's ways and answers by first columns.

import * as frontend from '../support/frontend-messages.ts';
import { type BackendMessage, readFields, readRow } from '../support/transcript.ts';
import type { WireClient } from '../support/wire-client.ts';

/** Reads go to the replica, but for those that say `stay`. */
export const ROUTING_RULES = `
traffic_control:
  rules:
    - { name: stay, priority: 10, match: { query_regex: 'stay' }, action: route_primary }
    - { name: reads, match: { query_class: read }, action: route_replica }
`;
/** 't' on the standby, 'f' on the primary. */
export const WHERE = 'SELECT pg_is_in_recovery()';

export type FirstColumn = (string | null | undefined)[];

export const codesOf = (messages: readonly BackendMessage[]): string[] =>
  messages.filter(({ type }) => type === 'E').map(({ body }) => readFields(body).C ?? '');
export const valuesOf = (messages: readonly BackendMessage[]): FirstColumn =>
  messages.filter(({ type }) => type === 'D').map(({ body }) => readRow(body)[0]);

/** Ways to say something through whichever client there is at that moment. */
export function talkThrough(current: () => WireClient) {
  /** The first column of all rows; an error is shown by its SQLSTATE. */
  async function send(...parts: Buffer[]): Promise<FirstColumn> {
    current().send(...parts);
    const messages = await current().readUntilReady();
    return [...valuesOf(messages), ...codesOf(messages)];
  }
  return {
    send,
    simple: (sql: string) => send(frontend.query(sql)),
    extended: (sql: string) => send(frontend.extendedQuery(sql), frontend.sync()),
    prepare: (name: string, sql: string) => send(frontend.parse(sql, name), frontend.sync()),
    use: (statement: string) =>
      send(frontend.bind({ statement }), frontend.describePortal(), frontend.execute(), frontend.sync()),
  };
}
