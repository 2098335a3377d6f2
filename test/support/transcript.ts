// What a server said, as lines of text that can be compared message by message.

export interface BackendMessage {
  /** The type byte as a character. */
  readonly type: string;
  readonly body: Buffer;
}

export interface TranscriptOptions {
  /**
   * Write `ErrorResponse` without its fields, for a refusal that is compared with an error of PostgreSQL's own.
   * A list masks only errors with these SQLSTATEs.
   */
  readonly maskErrors?: boolean | readonly string[];
  /** Process ids, keys and salts differ from connection to connection; masked unless false. */
  readonly maskSecrets?: boolean;
  /** ParameterStatus and NOTICE are kept unless named here, such as `ParameterStatus`. */
  readonly leaveOut?: readonly string[];
}

const NAMES: Readonly<Record<string, string>> = {
  R: 'Authentication',
  K: 'BackendKeyData',
  S: 'ParameterStatus',
  Z: 'ReadyForQuery',
  T: 'RowDescription',
  D: 'DataRow',
  C: 'CommandComplete',
  I: 'EmptyQueryResponse',
  E: 'ErrorResponse',
  N: 'NoticeResponse',
  A: 'NotificationResponse',
  '1': 'ParseComplete',
  '2': 'BindComplete',
  '3': 'CloseComplete',
  n: 'NoData',
  s: 'PortalSuspended',
  t: 'ParameterDescription',
  G: 'CopyInResponse',
  H: 'CopyOutResponse',
  W: 'CopyBothResponse',
  d: 'CopyData',
  c: 'CopyDone',
  V: 'FunctionCallResponse',
  v: 'NegotiateProtocolVersion',
};

export function nameOf(type: string): string {
  return NAMES[type] ?? `Unknown(${type})`;
}

/** One line per message. */
export function transcribe(messages: readonly BackendMessage[], options: TranscriptOptions = {}): string[] {
  return messages
    .filter((message) => !(options.leaveOut ?? []).includes(nameOf(message.type)))
    .map((message) => {
      const fields = describeBody(message, options);
      return fields === '' ? nameOf(message.type) : `${nameOf(message.type)} ${fields}`;
    });
}

/** The fields of an ErrorResponse or NoticeResponse by their code letter (S, V, C, M, D, H, P, …). */
export function readFields(body: Buffer): Record<string, string> {
  const fields: Record<string, string> = {};
  let offset = 0;
  while (offset < body.length && body[offset] !== 0) {
    const end = body.indexOf(0, offset + 1);
    if (end < 0) break;
    fields[String.fromCharCode(body[offset] ?? 0)] = body.toString('utf8', offset + 1, end);
    offset = end + 1;
  }
  return fields;
}

/** The columns of a DataRow as text; null is NULL. */
export function readRow(body: Buffer): (string | null)[] {
  const columns: (string | null)[] = [];
  let offset = 2;
  for (let left = body.readInt16BE(0); left > 0; left--) {
    const length = body.readInt32BE(offset);
    offset += 4;
    columns.push(length < 0 ? null : body.toString('utf8', offset, offset + length));
    offset += Math.max(0, length);
  }
  return columns;
}

export function readCstrings(body: Buffer, start = 0): string[] {
  const texts: string[] = [];
  for (let offset = start; offset < body.length; ) {
    const end = body.indexOf(0, offset);
    if (end < 0) break;
    texts.push(body.toString('utf8', offset, end));
    offset = end + 1;
  }
  return texts;
}

function describeBody({ type, body }: BackendMessage, options: TranscriptOptions): string {
  const isMasked = options.maskSecrets !== false;
  switch (type) {
    case 'R':
      return describeAuthentication(body, isMasked);
    case 'K':
      return isMasked ? `key of ${body.length - 4} bytes` : `${body.readInt32BE(0)} ${body.toString('hex', 4)}`;
    case 'S':
      return readCstrings(body).join('=');
    case 'C':
      return readCstrings(body).join(' ');
    case 'Z':
      return body.toString('latin1');
    case 'D':
      return JSON.stringify(readRow(body));
    case 'T':
      return describeColumns(body);
    case 'E':
    case 'N':
      return describeError(body, type === 'E' ? (options.maskErrors ?? false) : false);
    case 'A':
      return `${isMasked ? 'pid' : body.readInt32BE(0)} ${readCstrings(body, 4).join(' ')}`;
    case 't':
      return Array.from({ length: body.readInt16BE(0) }, (_, index) => body.readInt32BE(2 + index * 4)).join(' ');
    case 'd':
      return body.length > 200 ? `${body.length} bytes` : JSON.stringify(body.toString('latin1'));
    default:
      return body.toString('hex');
  }
}

function describeAuthentication(body: Buffer, isMasked: boolean): string {
  const code = body.readInt32BE(0);
  const names: Readonly<Record<number, string>> = {
    0: 'Ok',
    3: 'CleartextPassword',
    5: 'MD5Password',
    11: 'SASLContinue',
    12: 'SASLFinal',
  };
  if (code === 10)
    return `SASL ${readCstrings(body, 4)
      .filter((text) => text !== '')
      .join(' ')}`;
  const rest = isMasked || body.length === 4 ? '' : ` ${body.toString('hex', 4)}`;
  return `${names[code] ?? code}${rest}`;
}

function describeError(body: Buffer, mask: boolean | readonly string[]): string {
  const fields = readFields(body);
  const isMasked = typeof mask === 'boolean' ? mask : mask.includes(fields.C ?? '');
  if (isMasked) return '(masked)';
  // File, line and routine are where in the server's source it happened: not part of any promise.
  return Object.entries(fields)
    .filter(([code]) => !'FLR'.includes(code))
    .map(([code, text]) => `${code}=${JSON.stringify(text)}`)
    .join(' ');
}

function describeColumns(body: Buffer): string {
  const columns: string[] = [];
  let offset = 2;
  for (let left = body.readInt16BE(0); left > 0; left--) {
    const end = body.indexOf(0, offset);
    const name = body.toString('utf8', offset, end);
    columns.push(`${name}:${body.readInt32BE(end + 7)}${body.readInt16BE(end + 17) === 1 ? ':binary' : ''}`);
    offset = end + 19;
  }
  return columns.join(' ');
}
