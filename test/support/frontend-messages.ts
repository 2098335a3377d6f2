// Messages of a client, built by hand for tests: deliberately without the code under test. Layouts are from the
// PostgreSQL manual, "Frontend/Backend Protocol", Message Formats.

export const PROTOCOL_3_0 = 0x0003_0000;
export const PROTOCOL_3_2 = 0x0003_0002;
export const SSL_REQUEST_CODE = 80_877_103;
export const GSSENC_REQUEST_CODE = 80_877_104;
export const CANCEL_REQUEST_CODE = 80_877_102;

/** Signed or unsigned: counts go up to 65,535. */
export function int16(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16BE(value & 0xffff);
  return bytes;
}

export function int32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(value);
  return bytes;
}

/** A string as the protocol has it: UTF-8 with a zero byte at its end. */
export function cstring(text: string): Buffer {
  return Buffer.concat([Buffer.from(text, 'utf8'), Buffer.alloc(1)]);
}

/** A typed message with a correct length. */
export function message(type: string, ...parts: readonly Buffer[]): Buffer {
  const body = Buffer.concat(parts);
  return Buffer.concat([Buffer.from(type, 'latin1'), int32(body.length + 4), body]);
}

/** A typed message with any length word at all: for malformed frames. */
export function messageWithLength(type: string, length: number, body: Buffer = Buffer.alloc(0)): Buffer {
  return Buffer.concat([Buffer.from(type, 'latin1'), int32(length | 0), body]);
}

/** A packet without a type byte: StartupMessage, SSLRequest, GSSENCRequest, CancelRequest. */
export function packet(...parts: readonly Buffer[]): Buffer {
  const body = Buffer.concat(parts);
  return Buffer.concat([int32(body.length + 4), body]);
}

export function startupMessage(parameters: Readonly<Record<string, string>>, version = PROTOCOL_3_0): Buffer {
  const pairs = Object.entries(parameters).flatMap(([name, value]) => [cstring(name), cstring(value)]);
  return packet(int32(version), ...pairs, Buffer.alloc(1));
}

export const sslRequest = (): Buffer => packet(int32(SSL_REQUEST_CODE));
export const gssencRequest = (): Buffer => packet(int32(GSSENC_REQUEST_CODE));
export const cancelRequest = (pid: number, key: Buffer): Buffer => packet(int32(CANCEL_REQUEST_CODE), int32(pid), key);

export const query = (sql: string): Buffer => message('Q', cstring(sql));
export const sync = (): Buffer => message('S');
export const flush = (): Buffer => message('H');
export const terminate = (): Buffer => message('X');
export const copyData = (bytes: Buffer): Buffer => message('d', bytes);
export const copyDone = (): Buffer => message('c');
export const copyFail = (reason: string): Buffer => message('f', cstring(reason));
export const password = (text: string): Buffer => message('p', cstring(text));

export function parse(sql: string, name = '', parameterTypes: readonly number[] = []): Buffer {
  return message('P', cstring(name), cstring(sql), int16(parameterTypes.length), ...parameterTypes.map(int32));
}

/** Values are sent as text; null is NULL. */
export function bind(
  options: {
    portal?: string;
    statement?: string;
    values?: readonly (string | Buffer | null)[];
    valueFormats?: readonly number[];
    resultFormats?: readonly number[];
  } = {},
): Buffer {
  const values = (options.values ?? []).flatMap((value) => {
    if (value === null) return [int32(-1)];
    const bytes = Buffer.from(value);
    return [int32(bytes.length), bytes];
  });
  const valueFormats = options.valueFormats ?? [];
  const resultFormats = options.resultFormats ?? [];
  return message(
    'B',
    cstring(options.portal ?? ''),
    cstring(options.statement ?? ''),
    int16(valueFormats.length),
    ...valueFormats.map(int16),
    int16((options.values ?? []).length),
    ...values,
    int16(resultFormats.length),
    ...resultFormats.map(int16),
  );
}

export const describeStatement = (name = ''): Buffer => message('D', Buffer.from('S'), cstring(name));
export const describePortal = (name = ''): Buffer => message('D', Buffer.from('P'), cstring(name));
export const execute = (portal = '', maxRows = 0): Buffer => message('E', cstring(portal), int32(maxRows));
export const closeStatement = (name = ''): Buffer => message('C', Buffer.from('S'), cstring(name));
export const closePortal = (name = ''): Buffer => message('C', Buffer.from('P'), cstring(name));

/** Arguments and result as text. */
export function functionCall(oid: number, values: readonly (string | null)[]): Buffer {
  const encoded = values.flatMap((value) => {
    if (value === null) return [int32(-1)];
    const bytes = Buffer.from(value);
    return [int32(bytes.length), bytes];
  });
  return message('F', int32(oid), int16(0), int16(values.length), ...encoded, int16(0));
}

/** Parse, Bind, Describe, Execute of the unnamed statement, without Sync. */
export function extendedQuery(sql: string, values: readonly (string | null)[] = []): Buffer {
  return Buffer.concat([parse(sql), bind({ values }), describePortal(), execute()]);
}
