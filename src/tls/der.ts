// The little of DER (ITU-T X.690) that certificates need to be looked into: one element at a time, inside given bounds.

export interface DerElement {
  /** Identifier octet: class, constructed bit and tag number in one; certificates use no longer form. */
  readonly tag: number;
  readonly bytes: Buffer;
  /** The contents are `bytes[start, end)`. */
  readonly start: number;
  readonly end: number;
}

export const DER = {
  boolean: 0x01,
  octetString: 0x04,
  objectIdentifier: 0x06,
  sequence: 0x30,
  /** `[n]`, constructed. */
  context: (number: number): number => 0xa0 | number,
} as const;

/** The element at `at`. Throws RangeError where its length does not fit into `end`. */
export function readElement(bytes: Buffer, at: number, end: number): DerElement {
  const tag = bytes[at] ?? 0;
  const first = bytes[at + 1] ?? 0x80;
  const lengthBytes = first < 0x80 ? 0 : first & 0x7f;
  if (lengthBytes > 4 || first === 0x80 || at + 2 + lengthBytes > end)
    throw new RangeError('a DER length is out of its bounds');
  const length = lengthBytes === 0 ? first : bytes.readUIntBE(at + 2, lengthBytes);
  const start = at + 2 + lengthBytes;
  if (start + length > end) throw new RangeError('a DER element is longer than what holds it');
  return { tag, bytes, start, end: start + length };
}

/** The elements inside a constructed one. */
export function readChildren({ bytes, start, end }: DerElement): DerElement[] {
  const children: DerElement[] = [];
  for (let at = start; at < end; ) {
    const child = readElement(bytes, at, end);
    children.push(child);
    at = child.end;
  }
  return children;
}

export function contentsOf(element: DerElement): Buffer {
  return element.bytes.subarray(element.start, element.end);
}

/** An object identifier in dots, such as 1.2.840.113549.1.1.11. */
export function readObjectIdentifier(element: DerElement): string {
  const parts: number[] = [];
  let part = 0;
  for (const byte of contentsOf(element)) {
    part = part * 128 + (byte & 0x7f);
    if (byte < 0x80) {
      parts.push(part);
      part = 0;
    }
  }
  const first = parts.shift() ?? 0;
  const root = Math.min(2, Math.floor(first / 40));
  return [root, first - root * 40, ...parts].join('.');
}
