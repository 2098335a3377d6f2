// Settings as the program uses them: complete, with defaults filled in, units in the names. The file that people write
// is described by schemas/settings.schema.json (snake_case, same order).

import type { ListenTls, TargetsTls } from '../tls/settings.ts';

/** Where a PostgreSQL server listens. `host` is an address, a name, or an absolute path: the folder of a Unix socket. */
export interface Endpoint {
  readonly name: string;
  readonly host: string;
  readonly port: number;
}

export interface Credential {
  readonly user: string;
  /** Null for servers that trust this machine. Never logged. */
  readonly password: string | null;
  /** Where the password came from; read again when it changes. */
  readonly passwordFile?: string;
}

/** How pgweir asks the database for a user's verifier. */
export interface AuthQuery {
  /** As whom; its password, if it needs one, stands in the credentials or in the users file. */
  readonly user: string;
  readonly database: string;
  /** With the user's name as $1; the last column of the first row is the verifier. */
  readonly text: string;
  /** How long an answer is kept; 0: not at all. */
  readonly cacheMs: number;
  readonly maxCachedUsers: number;
}

/**
 * How server connections are shared. All but `mode` counts in mode `transaction` only. A pool is what one user has in one
 * database of one target.
 */
export interface PoolSettings {
  /** `session`: each client has a server connection of its own. `transaction`: clients share them. */
  readonly mode: 'session' | 'transaction';
  /** Server connections of one pool at most, the reserve not counted. */
  readonly size: number;
  /** So many a pool that has been used keeps open. */
  readonly minIdle: number;
  /** More connections of a pool, when a client has waited `reserveAfterMs`. */
  readonly reserveSize: number;
  readonly reserveAfterMs: number;
  /** On one target; null: no limit. */
  readonly maxPerDatabase: number | null;
  readonly maxPerUser: number | null;
  readonly maxPerTarget: number | null;
  /** Then the statement fails with 53300. */
  readonly queryWaitMs: number;
  readonly serverLifetimeMs: number;
  readonly serverIdleMs: number;
  /** Then the client gets 25P03 and its connection ends; 0: no limit. */
  readonly idleInTransactionMs: number;
  /** How long, at most, a refused login is answered again without asking the server. */
  readonly loginRetryMs: number;
  /** Kept on one server connection. */
  readonly maxPreparedStatements: number;
  /** `discard`: clients promise not to call currval and lastval outside the transaction that drew. */
  readonly sequences: 'keep' | 'discard';
  /** `own`: a login opens a server connection where there is room; `shared`: only where no like one is free. */
  readonly logins: 'own' | 'shared';
  /** `avoid`: never the same server connection twice in a row where another can be had; for tests. */
  readonly affinity: 'prefer' | 'avoid';
}

export interface Settings {
  readonly listen: {
    readonly host: string;
    /** 0 takes whichever port is free. */
    readonly port: number;
    /** Folder in which `.s.PGSQL.<port>` is made, or null for no Unix socket. */
    readonly unixSocketDirectory: string | null;
    readonly tls: ListenTls;
  };
  readonly targets: {
    readonly primary: Endpoint;
    readonly replicas: readonly Endpoint[];
    readonly tls: TargetsTls;
  };
  readonly auth: {
    readonly mode: 'passthrough' | 'trust' | 'scram' | 'md5' | 'certificate';
    /** `trust` on a listener that is neither loopback nor a Unix socket is refused unless this is set. */
    readonly isRemoteTrustAllowed: boolean;
    /**
     * How pgweir logs in for a client, in all modes but passthrough. A user without an entry gets in by the SCRAM keys of
     * the client's own login, or where the server asks for no password.
     */
    readonly credentials: readonly Credential[];
    /** For `scram` and `md5`: verifiers, in PgBouncer's format. The text is as it was at the start; never logged. */
    readonly usersFile: { readonly path: string; readonly text: string } | null;
    /** For users who do not stand in the users file. */
    readonly query: AuthQuery | null;
    /** For `certificate`: who may be whom. Empty: the CN is the user. */
    readonly certificateUsers: readonly { readonly commonName: string; readonly user: string }[];
  };
  readonly limits: {
    readonly maxClients: number;
    readonly maxStatementBytes: number;
    readonly maxAnalyzedBytes: number;
    readonly loginTimeoutMs: number;
    readonly connectTimeoutMs: number;
    readonly drainMs: number;
    readonly minSigtermDelayMs: number;
  };
  readonly pool: PoolSettings;
  readonly admin: {
    readonly host: string;
    readonly port: number;
    /** Required where `host` is not loopback. Never logged. */
    readonly token: string | null;
    /** Absolute path of the file that the token came from; it is read again when it changes. */
    readonly tokenFile?: string;
  };
  readonly health: { readonly host: string; readonly port: number };
  readonly rules: {
    /** Path of the rule document, or null where the rules stand in the settings file itself. */
    readonly file: string | null;
    /** Absolute path of the settings file where no rule document is named: SIGHUP reads its rules again. */
    readonly settingsFile?: string;
    /** The rule document's text and where it came from, for error messages with line and column. */
    readonly text: string;
    readonly source: string;
    /** Rules that are no good at the start: `exit`, or go on with the last good ones in the state directory. */
    readonly onInvalidStart: 'exit' | 'last_good';
  };
  readonly observations: { readonly maxCells: number; readonly maxDecisions: number };
  /** Folder where posted rules survive a restart, or null. */
  readonly stateDirectory: string | null;
  readonly log: { readonly level: 'debug' | 'info' | 'warn' | 'error' | 'silent' };
}
