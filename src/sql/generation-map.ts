// A bounded map that keeps what is used: two generations, so that a hit costs one look-up and no bookkeeping. When the
// young generation is full it becomes the old one, and what was not used since the last time is forgotten.

export class GenerationMap<V> {
  readonly #maxEntries: number;
  readonly #maxBytes: number;
  #young = new Map<string, V>();
  #old = new Map<string, V>();
  #youngBytes = 0;
  #oldBytes = 0;
  /** Entries forgotten to keep the bounds. */
  evictions = 0;

  /** Both bounds hold for the two generations together. */
  constructor(maxEntries: number, maxBytes: number) {
    this.#maxEntries = Math.max(1, Math.floor(maxEntries / 2));
    this.#maxBytes = maxBytes / 2;
  }

  get size(): number {
    return this.#young.size + this.#old.size;
  }

  get bytes(): number {
    return this.#youngBytes + this.#oldBytes;
  }

  /** `bytes` as given to `set`; needed again because a hit in the old generation moves the entry. */
  get(key: string, bytesOf: (key: string, value: V) => number): V | undefined {
    const young = this.#young.get(key);
    if (young !== undefined) return young;
    const old = this.#old.get(key);
    if (old === undefined) return undefined;
    const bytes = bytesOf(key, old);
    this.#old.delete(key);
    this.#oldBytes -= bytes;
    this.#add(key, old, bytes);
    return old;
  }

  /** An entry too large for its generation is not kept. */
  set(key: string, value: V, bytesOf: (key: string, value: V) => number): void {
    const bytes = bytesOf(key, value);
    if (bytes > this.#maxBytes / 4) return;
    const known = this.get(key, bytesOf);
    if (known !== undefined) {
      this.#young.delete(key);
      this.#youngBytes -= bytesOf(key, known);
    }
    this.#add(key, value, bytes);
  }

  #add(key: string, value: V, bytes: number): void {
    if (this.#young.size >= this.#maxEntries || this.#youngBytes + bytes > this.#maxBytes) {
      this.evictions += this.#old.size;
      this.#old = this.#young;
      this.#oldBytes = this.#youngBytes;
      this.#young = new Map();
      this.#youngBytes = 0;
    }
    this.#young.set(key, value);
    this.#youngBytes += bytes;
  }
}
