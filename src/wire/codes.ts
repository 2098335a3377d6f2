// The messages of protocol 3 as tables: byte, name, who sends it, how long it may be, how much of it is read. Everything
// else in wire/ and relay/ takes these from here. Source: PostgreSQL documentation, "Message Formats"; length limits as in
// PostgreSQL's own SocketBackend().

/** Messages that a client sends. */
export const FRONTEND = {
  bind: 0x42, // B
  close: 0x43, // C
  describe: 0x44, // D
  execute: 0x45, // E
  functionCall: 0x46, // F
  flush: 0x48, // H
  parse: 0x50, // P
  query: 0x51, // Q
  sync: 0x53, // S
  terminate: 0x58, // X
  copyDone: 0x63, // c
  copyData: 0x64, // d
  copyFail: 0x66, // f
  /** Password, SASLInitialResponse, SASLResponse, GSSResponse: only while logging in. */
  authentication: 0x70, // p
} as const;

/** Messages that a server sends. */
export const BACKEND = {
  parseComplete: 0x31, // 1
  bindComplete: 0x32, // 2
  closeComplete: 0x33, // 3
  notification: 0x41, // A
  commandComplete: 0x43, // C
  dataRow: 0x44, // D
  error: 0x45, // E
  copyInResponse: 0x47, // G
  copyOutResponse: 0x48, // H
  emptyQuery: 0x49, // I
  backendKeyData: 0x4b, // K
  notice: 0x4e, // N
  authentication: 0x52, // R
  parameterStatus: 0x53, // S
  rowDescription: 0x54, // T
  functionCallResponse: 0x56, // V
  copyBothResponse: 0x57, // W
  readyForQuery: 0x5a, // Z
  copyDone: 0x63, // c
  copyData: 0x64, // d
  noData: 0x6e, // n
  portalSuspended: 0x73, // s
  parameterDescription: 0x74, // t
  negotiateProtocolVersion: 0x76, // v
} as const;

/** Codes of Authentication messages: what the server asks for. Source: PostgreSQL documentation, "Message Formats". */
export const AUTHENTICATION = { ok: 0, cleartext: 3, md5: 5, sasl: 10, saslContinue: 11, saslFinal: 12 } as const;

/** What a Describe or Close is about. */
export const NAMED = { portal: 0x50, statement: 0x53 } as const;

/** Type byte and length word, with which every message begins but the startup packet. */
export const HEADER_BYTES = 5;

/** Transaction status bytes of ReadyForQuery. */
export const TRANSACTION = { idle: 0x49, open: 0x54, failed: 0x45 } as const;

/**
 * How much of a message is looked at before it goes on: `stream`: the header only, its body flows by undecoded; `head`:
 * the first bytes, up to the names it starts with; `whole`: all of it.
 */
export type Reading = 'stream' | 'head' | 'whole';

export interface MessageRule {
  readonly name: string;
  readonly reading: Reading;
  /** Bounds of the length word, which counts itself (4) but not the type byte. */
  readonly minLength: number;
  readonly maxLength: number;
}

/** PostgreSQL refuses small messages over this length before reading them (PQ_SMALL_MESSAGE_LIMIT). */
const SMALL = 10_000;
/** PQ_LARGE_MESSAGE_LIMIT: MaxAllocSize - 1. */
const LARGE = 0x3ffffffe;

/**
 * A table by type byte; a hole is a type that this side never sends. The tables are not frozen: one is read with every message, and V8
 * reads all of them more slowly once any is frozen.
 */
export type MessageTable = ReadonlyArray<MessageRule | undefined>;

function makeTable(rows: ReadonlyArray<readonly [number, string, Reading, number, number]>): MessageTable {
  const table = new Array<MessageRule | undefined>(256).fill(undefined);
  for (const [byte, name, reading, minLength, maxLength] of rows) {
    table[byte] = Object.freeze({ name, reading, minLength, maxLength });
  }
  return table;
}

export const FRONTEND_TABLE = makeTable([
  [FRONTEND.bind, 'Bind', 'head', 4, LARGE],
  [FRONTEND.close, 'Close', 'whole', 4, SMALL],
  [FRONTEND.describe, 'Describe', 'whole', 4, SMALL],
  [FRONTEND.execute, 'Execute', 'whole', 4, SMALL],
  [FRONTEND.functionCall, 'FunctionCall', 'stream', 4, LARGE],
  [FRONTEND.flush, 'Flush', 'whole', 4, SMALL],
  [FRONTEND.parse, 'Parse', 'whole', 4, LARGE],
  [FRONTEND.query, 'Query', 'whole', 4, LARGE],
  [FRONTEND.sync, 'Sync', 'whole', 4, SMALL],
  [FRONTEND.terminate, 'Terminate', 'whole', 4, SMALL],
  [FRONTEND.copyDone, 'CopyDone', 'whole', 4, SMALL],
  [FRONTEND.copyData, 'CopyData', 'stream', 4, LARGE],
  [FRONTEND.copyFail, 'CopyFail', 'whole', 4, SMALL],
]);

/** While logging in only this one is legal; PostgreSQL bounds it at PG_MAX_AUTH_TOKEN_LENGTH. */
export const LOGIN_TABLE = makeTable([[FRONTEND.authentication, 'authentication response', 'stream', 4, 65_535]]);

const ANY = 0x7fffffff;

export const BACKEND_TABLE = makeTable([
  [BACKEND.parseComplete, 'ParseComplete', 'whole', 4, 4],
  [BACKEND.bindComplete, 'BindComplete', 'whole', 4, 4],
  [BACKEND.closeComplete, 'CloseComplete', 'whole', 4, 4],
  [BACKEND.notification, 'NotificationResponse', 'stream', 4, ANY],
  [BACKEND.commandComplete, 'CommandComplete', 'whole', 5, 1024],
  [BACKEND.dataRow, 'DataRow', 'stream', 4, ANY],
  [BACKEND.error, 'ErrorResponse', 'head', 5, ANY],
  [BACKEND.copyInResponse, 'CopyInResponse', 'stream', 4, ANY],
  [BACKEND.copyOutResponse, 'CopyOutResponse', 'stream', 4, ANY],
  [BACKEND.emptyQuery, 'EmptyQueryResponse', 'whole', 4, 4],
  [BACKEND.backendKeyData, 'BackendKeyData', 'whole', 12, 264],
  [BACKEND.notice, 'NoticeResponse', 'stream', 4, ANY],
  [BACKEND.authentication, 'Authentication', 'whole', 8, 65_535],
  [BACKEND.parameterStatus, 'ParameterStatus', 'whole', 6, ANY],
  [BACKEND.rowDescription, 'RowDescription', 'whole', 4, ANY],
  [BACKEND.functionCallResponse, 'FunctionCallResponse', 'stream', 4, ANY],
  [BACKEND.copyBothResponse, 'CopyBothResponse', 'stream', 4, ANY],
  [BACKEND.readyForQuery, 'ReadyForQuery', 'whole', 5, 5],
  [BACKEND.copyDone, 'CopyDone', 'stream', 4, 4],
  [BACKEND.copyData, 'CopyData', 'stream', 4, ANY],
  [BACKEND.noData, 'NoData', 'whole', 4, 4],
  [BACKEND.portalSuspended, 'PortalSuspended', 'whole', 4, 4],
  [BACKEND.parameterDescription, 'ParameterDescription', 'whole', 4, ANY],
  [BACKEND.negotiateProtocolVersion, 'NegotiateProtocolVersion', 'stream', 4, 65_535],
]);

/** Request codes that stand where a protocol version would be in a startup packet. */
export const REQUEST = {
  cancel: 80877102,
  ssl: 80877103,
  gssenc: 80877104,
} as const;
