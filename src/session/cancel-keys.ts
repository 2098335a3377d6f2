// Which session a CancelRequest means. The client holds the server's own key, so pg_backend_pid() and what the driver
// believes agree; the map tells whose it is.

export class CancelKeys<Owner> {
  readonly #owners = new Map<string, Owner>();

  /** @param key process id and secret, one to one as Latin-1 */
  register(key: string, owner: Owner): void {
    this.#owners.set(key, owner);
  }

  find(key: string): Owner | null {
    return this.#owners.get(key) ?? null;
  }

  forget(key: string, owner: Owner): void {
    if (this.#owners.get(key) === owner) this.#owners.delete(key);
  }
}
