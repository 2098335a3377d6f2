// A queue that anybody may leave from anywhere: its members know their neighbours.

export interface Standing<One> {
  before: One | null;
  behind: One | null;
  isInLine: boolean;
}

/** Who waits, in order. Whoever goes takes no time to find. */
export class WaitingLine<One extends Standing<One>> {
  #first: One | null = null;
  #last: One | null = null;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** Who has waited longest. */
  get first(): One | null {
    return this.#first;
  }

  /** It must not stand in a line. */
  add(one: One): void {
    const before = this.#last;
    one.before = before;
    if (before === null) this.#first = one;
    else before.behind = one;
    this.#last = one;
    one.isInLine = true;
    this.#size++;
  }

  /** The same in front of all others. */
  addFirst(one: One): void {
    const behind = this.#first;
    one.behind = behind;
    if (behind === null) this.#last = one;
    else behind.before = one;
    this.#first = one;
    one.isInLine = true;
    this.#size++;
  }

  /** Nothing happens where it does not stand in it. */
  delete(one: One): void {
    if (!one.isInLine) return;
    const { before, behind } = one;
    if (before === null) this.#first = behind;
    else before.behind = behind;
    if (behind === null) this.#last = before;
    else behind.before = before;
    one.before = null;
    one.behind = null;
    one.isInLine = false;
    this.#size--;
  }
}
