// The one registry of errors that pgweir itself says: code, SQLSTATE, log level, words. Code branches on `code`, never on
// text; docs and tests read the table.

export type LogLevel = 'debug' | 'info' | 'warn' | 'error';

export interface ErrorEntry {
  readonly sqlstate: string;
  readonly severity: 'ERROR' | 'FATAL';
  readonly level: LogLevel;
  readonly text: string;
  /** More for the client, where PostgreSQL says more: its DETAIL. */
  readonly more?: string;
}

const MAN_IN_THE_MIDDLE =
  'This could be either a client-software bug or evidence of an attempted man-in-the-middle attack.';

/** SQLSTATEs from PostgreSQL's own table (errcodes.txt); a client library maps them to its exception classes. */
export const ERRORS = {
  protocol_violation: { sqlstate: '08P01', severity: 'FATAL', level: 'info', text: 'protocol violation' },
  unknown_message_type: {
    sqlstate: '08P01',
    severity: 'FATAL',
    level: 'info',
    text: 'invalid frontend message type',
  },
  bad_startup_layout: {
    sqlstate: '08P01',
    severity: 'FATAL',
    level: 'info',
    text: 'invalid startup packet layout: expected terminator as last byte',
  },
  unsupported_protocol: { sqlstate: '0A000', severity: 'FATAL', level: 'info', text: 'unsupported frontend protocol' },
  no_user: {
    sqlstate: '28000',
    severity: 'FATAL',
    level: 'info',
    text: 'no PostgreSQL user name specified in startup packet',
  },
  plaintext_after_ssl_request: {
    sqlstate: '08P01',
    severity: 'FATAL',
    level: 'warn',
    text: 'received unencrypted data after SSL request',
    more: MAN_IN_THE_MIDDLE,
  },
  plaintext_after_gssenc_request: {
    sqlstate: '08P01',
    severity: 'FATAL',
    level: 'warn',
    text: 'received unencrypted data after GSSAPI encryption request',
    more: MAN_IN_THE_MIDDLE,
  },
  tls_required: {
    sqlstate: '28000',
    severity: 'FATAL',
    level: 'info',
    text: 'no encryption: pgweir takes connections over TLS only',
  },
  tls_handshake_failed: { sqlstate: '08006', severity: 'FATAL', level: 'info', text: 'TLS handshake failed' },
  client_certificate_invalid: {
    sqlstate: '28000',
    severity: 'FATAL',
    level: 'info',
    text: 'connection requires a valid client certificate',
  },
  login_timeout: { sqlstate: '08006', severity: 'FATAL', level: 'info', text: 'login took too long' },
  too_many_clients: {
    sqlstate: '53300',
    severity: 'FATAL',
    level: 'warn',
    text: 'pgweir has too many clients already',
  },
  target_unreachable: {
    sqlstate: '08001',
    severity: 'FATAL',
    level: 'error',
    text: 'pgweir cannot reach the database',
  },
  target_tls_failed: {
    sqlstate: '08001',
    severity: 'FATAL',
    level: 'error',
    text: 'pgweir could not encrypt the connection to the database',
  },
  target_login_failed: {
    sqlstate: '28000',
    severity: 'FATAL',
    level: 'error',
    text: 'pgweir could not log in to the database',
  },
  auth_query_failed: {
    sqlstate: '58000',
    severity: 'FATAL',
    level: 'error',
    text: 'pgweir could not look the user up in the database',
  },
  target_protocol_violation: {
    sqlstate: '08P01',
    severity: 'FATAL',
    level: 'error',
    text: 'the database broke the protocol',
  },
  statement_refused: {
    sqlstate: '58000',
    severity: 'FATAL',
    level: 'error',
    text: "the database refused a statement of pgweir's own",
  },
  target_gone: { sqlstate: '08006', severity: 'FATAL', level: 'warn', text: 'the database closed the connection' },
  session_not_moved: {
    sqlstate: '08006',
    severity: 'FATAL',
    level: 'warn',
    text: 'the session cannot go on on another server connection',
  },
  shutting_down: {
    sqlstate: '57P01',
    severity: 'FATAL',
    level: 'info',
    text: 'terminating connection because pgweir is shutting down',
  },
  terminated_by_admin: {
    sqlstate: '57P01',
    severity: 'FATAL',
    level: 'info',
    text: 'terminating connection due to administrator command',
  },
  wait_cancelled: {
    sqlstate: '57014',
    severity: 'ERROR',
    level: 'info',
    text: 'canceling statement due to user request',
  },
  pool_exhausted: {
    sqlstate: '53300',
    severity: 'ERROR',
    level: 'warn',
    text: 'no server connection became free within pool.query_wait_ms',
  },
  idle_in_transaction: {
    sqlstate: '25P03',
    severity: 'FATAL',
    level: 'info',
    text: 'terminating connection due to idle-in-transaction timeout',
  },
  statement_too_long: {
    sqlstate: '54000',
    severity: 'ERROR',
    level: 'warn',
    text: 'statement is longer than max_statement_bytes',
  },
  name_too_long: {
    sqlstate: '54000',
    severity: 'ERROR',
    level: 'warn',
    text: 'name of a portal or prepared statement is too long',
  },
  internal: { sqlstate: 'XX000', severity: 'FATAL', level: 'error', text: 'internal error' },
} as const satisfies Record<string, ErrorEntry>;

export type ErrorCode = keyof typeof ERRORS;

/** Their words and the detail are one sentence of PostgreSQL's own. */
const ONE_SENTENCE: ReadonlySet<ErrorCode> = new Set(['unsupported_protocol', 'unknown_message_type']);

/** What a client is told. */
export function wordError(code: ErrorCode, detail: string | null): string {
  const { text } = ERRORS[code];
  if (detail === null) return text;
  return ONE_SENTENCE.has(code) ? `${text} ${detail}` : `${text}: ${detail}`;
}

/** An error with an entry in the registry. `detail` may be shown to the client; it never holds a literal or a credential. */
export class WeirError extends Error {
  override readonly name = 'WeirError';
  readonly code: ErrorCode;
  readonly detail: string | null;

  constructor(code: ErrorCode, detail: string | null = null, options?: ErrorOptions) {
    super(detail === null ? ERRORS[code].text : `${ERRORS[code].text}: ${detail}`, options);
    this.code = code;
    this.detail = detail;
  }

  get sqlstate(): string {
    return ERRORS[this.code].sqlstate;
  }
}

/** The message of anything thrown, without its stack. */
export function describeError(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
