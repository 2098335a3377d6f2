// What a server has reported by ParameterStatus. Some of it is looked at with every statement, and all of it is compared when
// a client comes to another server connection: so both are kept at hand.

const MAX_DIGESTS = 1_024;
/** Equal digests are one string here, and compared at once. */
const digests = new Map<string, string>();

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
    if (name === 'application_name') this.applicationName = value;
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

function intern(digest: string): string {
  const known = digests.get(digest);
  if (known !== undefined) return known;
  if (digests.size >= MAX_DIGESTS) digests.clear();
  digests.set(digest, digest);
  return digest;
}
