// What a server has reported by ParameterStatus. Some of it is looked at with every statement, and all of it is compared when
// a client comes to another server connection: so both are kept at hand.

const MAX_INTERNED = 1_024;
/** Equal strings are one here, and compared at once. */
const interned = new Map<string, string>();

export class ReportedParameters {
  readonly #values = new Map<string, string>();
  #digest: string | null = null;
  /** Null where the server has not reported it. */
  applicationName: string | null = null;
  clientEncoding = 'UTF8';
  /** standard_conforming_strings: whether a backslash in '…' is just a backslash. */
  areStringsConforming = true;

  constructor(values: Iterable<readonly [name: string, value: string]> = []) {
    for (const [name, value] of values) this.set(name, value);
  }

  get(name: string): string | undefined {
    return this.#values.get(name);
  }

  set(name: string, value: string): void {
    this.#values.set(name, value);
    this.#digest = null;
    if (name === 'application_name') this.applicationName = intern(value);
    else if (name === 'client_encoding') this.clientEncoding = value;
    else if (name === 'standard_conforming_strings') this.areStringsConforming = value !== 'off';
  }

  isSameAs(other: ReportedParameters): boolean {
    return this.#digested() === other.#digested();
  }

  [Symbol.iterator](): IterableIterator<[name: string, value: string]> {
    return this.#values.entries();
  }

  #digested(): string {
    this.#digest ??= intern(JSON.stringify([...this.#values].sort(([one], [other]) => (one < other ? -1 : 1))));
    return this.#digest;
  }
}

function intern(text: string): string {
  const known = interned.get(text);
  if (known !== undefined) return known;
  if (interned.size >= MAX_INTERNED) interned.clear();
  interned.set(text, text);
  return text;
}
