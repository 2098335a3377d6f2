// What the suites have in common: a road to the server, a suite that runs over one, and the outcome of its tests.

import type { BuiltSource } from './debian-source.ts';

/** How clients reach the server. Equal over every road is what the suites are to show. */
export interface Road {
  readonly name: string;
  readonly host: string;
  readonly port: number;
  /** The server itself, whichever road leads there. */
  readonly serverPort: number;
  readonly dataFolder: string;
  readonly user: string;
  /** What libpq is told besides host, port and user: PGSSLMODE, PGPASSWORD. */
  readonly environment: Readonly<Record<string, string>>;
}

export interface Workplace {
  readonly source: BuiltSource;
  readonly road: Road;
  /** A folder of the suite's own for this road, which the server's account can write to. */
  readonly folder: string;
  readonly account: { readonly uid: number; readonly gid: number } | null;
}

export interface TestOutcome {
  readonly name: string;
  readonly isOk: boolean;
  /** What a failing test printed or complained of, where that is known: equal text is an equal failure. */
  readonly output: string;
  /** Where to read on; empty where there is nothing more. */
  readonly place: string;
}

export interface Suite {
  readonly name: string;
  /** Lines of postgresql.conf that it wants: suites that want the same share a server. */
  readonly configuration: Readonly<Record<string, string>>;
  /** Sessions of one test wait for each other: with fewer server connections than that they could wait for ever. */
  readonly minPoolSize: number;
  run(workplace: Workplace): Promise<TestOutcome[]>;
}
