// Names that matter to one piece of work of a session, and to no later one.

export class WorkNames {
  readonly #session: { readonly work: number };
  readonly #names = new Set<string>();
  #work = -1;

  /** @param session `work`: number of the piece of work that goes on */
  constructor(session: { readonly work: number }) {
    this.#session = session;
  }

  add(name: string): void {
    this.#drop();
    this.#names.add(name);
  }

  has(name: string): boolean {
    this.#drop();
    return this.#names.has(name);
  }

  /** False where it was not there. */
  delete(name: string): boolean {
    this.#drop();
    return this.#names.delete(name);
  }

  /** What is left of earlier work. */
  #drop(): void {
    if (this.#work === this.#session.work) return;
    this.#work = this.#session.work;
    this.#names.clear();
  }
}
