// A statement's bytes as text, by the session's client_encoding. In some encodings the second byte of a character can be a
// quote or a backslash, so text that is not surely decoded as the server does it is refused rather than guessed.

/** PostgreSQL's name → WHATWG label (encoding.spec.whatwg.org), where both read the same bytes as the same characters. */
const LABELS: Readonly<Record<string, string>> = {
  UTF8: 'utf-8',
  LATIN2: 'iso-8859-2',
  LATIN3: 'iso-8859-3',
  LATIN4: 'iso-8859-4',
  LATIN5: 'windows-1254',
  LATIN6: 'iso-8859-10',
  LATIN7: 'iso-8859-13',
  LATIN8: 'iso-8859-14',
  LATIN9: 'iso-8859-15',
  LATIN10: 'iso-8859-16',
  ISO_8859_5: 'iso-8859-5',
  ISO_8859_6: 'iso-8859-6',
  ISO_8859_7: 'iso-8859-7',
  ISO_8859_8: 'iso-8859-8',
  WIN866: 'ibm866',
  WIN874: 'windows-874',
  WIN1250: 'windows-1250',
  WIN1251: 'windows-1251',
  WIN1252: 'windows-1252',
  WIN1253: 'windows-1253',
  WIN1254: 'windows-1254',
  WIN1255: 'windows-1255',
  WIN1256: 'windows-1256',
  WIN1257: 'windows-1257',
  WIN1258: 'windows-1258',
  KOI8R: 'koi8-r',
  KOI8U: 'koi8-u',
  EUC_JP: 'euc-jp',
  EUC_KR: 'euc-kr',
  EUC_CN: 'gbk',
  SJIS: 'shift_jis',
  BIG5: 'big5',
  GBK: 'gbk',
  GB18030: 'gb18030',
};

/** What is left of UHC without its extension: KS X 1001. */
const KOREAN = 'euc-kr';
/** What it makes of two bytes that are no character. */
const REPLACEMENT = 0xfffd;

/** Encodings in which WHATWG reads a lone byte 0x80 as a character, while to PostgreSQL it begins one of two bytes. */
const LONE_0X80: Readonly<Record<string, string>> = {
  SJIS: '\u0080',
  GBK: '\u20ac',
  GB18030: '\u20ac',
  EUC_CN: '\u20ac',
};

const decoders = new Map<string, InstanceType<typeof TextDecoder>>();

/** True when bytes, given as a latin1 string, are ASCII and so already the text in every client encoding. */
export function isAsciiText(latin1: string): boolean {
  return !/[\u0080-\u00ff]/.test(latin1);
}

/**
 * Bytes, given as a latin1 string, as text. Null when they are not valid in that encoding, or when the encoding (JOHAB,
 * EUC_TW, MULE_INTERNAL, SHIFT_JIS_2004, EUC_JIS_2004) has no decoder here.
 */
export function decodeSql(latin1: string, encoding: string): string | null {
  if (encoding === 'LATIN1' || isAsciiText(latin1)) return latin1;
  // SQL_ASCII means "unconverted": no server encoding has ASCII bytes inside a character, so either reading is safe.
  if (encoding === 'SQL_ASCII') return decodeBytes(latin1, 'utf-8') ?? latin1;
  if (encoding === 'UHC') return decodeUhc(latin1);
  const label = LABELS[encoding];
  if (label === undefined) return null;
  const text = decodeBytes(latin1, label);
  const suspect = LONE_0X80[encoding];
  return text !== null && suspect !== undefined && text.includes(suspect) ? null : text;
}

/**
 * Node's decoder of that name does not know the extension, of which the second byte can be a letter. By a table: thousands of calls
 * of a decoder between the syllables of the extension would hold up everybody.
 */
function decodeUhc(latin1: string): string | null {
  uhc ??= listUhc();
  const units = new Uint16Array(latin1.length);
  let count = 0;
  for (let at = 0; at < latin1.length; at++) {
    const lead = latin1.charCodeAt(at);
    const unit = lead < 0x80 ? lead : uhc[placeInUhc(lead, latin1.charCodeAt(++at))];
    if (unit === undefined || unit < 0) return null;
    units[count++] = unit;
  }
  return Buffer.from(units.buffer, 0, 2 * count).toString('utf16le');
}

/** UTF-16 by lead and trail byte; -1: nothing. */
let uhc: Int32Array | null = null;

function placeInUhc(lead: number, trail: number): number {
  return (lead - 0x80) * 256 + trail;
}

/** The extension has the syllables that KS X 1001 lacks, in the order of Unicode, where that leaves room. */
function listUhc(): Int32Array {
  const table = new Int32Array(128 * 256).fill(-1);
  const pairs: number[] = [];
  for (let lead = 0xa1; lead <= 0xfe; lead++) for (let trail = 0xa1; trail <= 0xfe; trail++) pairs.push(lead, trail);
  // In one piece: thousands of calls would take 100 ms.
  const decoded = new TextDecoder(KOREAN).decode(Buffer.from(pairs));
  for (let at = 0; at < decoded.length; at++) {
    const code = decoded.charCodeAt(at);
    if (code !== REPLACEMENT) table[placeInUhc(pairs[2 * at] as number, pairs[2 * at + 1] as number)] = code;
  }
  const known = new Set(table);
  let lead = 0x81;
  let trail = 0x40;
  for (let code = 0xac00; code <= 0xd7a3; code++) {
    if (known.has(code)) continue;
    trail++;
    if (trail === 0x5b) trail = 0x61;
    else if (trail === 0x7b) trail = 0x81;
    else if (trail > (lead <= 0xa0 ? 0xfe : 0xa0)) {
      lead++;
      trail = 0x41;
    }
    table[placeInUhc(lead, trail)] = code;
  }
  return table;
}

function decodeBytes(latin1: string, label: string): string | null {
  let decoder = decoders.get(label);
  if (decoder === undefined) {
    // ignoreBOM keeps a byte order mark in the text: PostgreSQL does not skip it either.
    decoder = new TextDecoder(label, { fatal: true, ignoreBOM: true });
    decoders.set(label, decoder);
  }
  try {
    return decoder.decode(Buffer.from(latin1, 'latin1'));
  } catch {
    return null;
  }
}
