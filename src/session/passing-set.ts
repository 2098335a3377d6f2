// A set whose members count for one piece of work of a session: it is empty again for the next.

export class PassingSet<T> {
  readonly #current: () => number;
  readonly #members = new Set<T>();
  #work = -1;

  /** @param current number of the piece of work that goes on */
  constructor(current: () => number) {
    this.#current = current;
  }

  add(member: T): void {
    this.#drop();
    this.#members.add(member);
  }

  has(member: T): boolean {
    this.#drop();
    return this.#members.has(member);
  }

  /** False where it was not there. */
  delete(member: T): boolean {
    this.#drop();
    return this.#members.delete(member);
  }

  /** What is left of earlier work. */
  #drop(): void {
    const work = this.#current();
    if (this.#work === work) return;
    this.#work = work;
    this.#members.clear();
  }
}
