// Which session a CancelRequest means. In mode session the client holds the server's own key, so pg_backend_pid() and what
// the driver believes agree. In mode transaction servers come and go: the key then begins with the process id of the first,
// and its secret is pgweir's own. The map tells whose a key is.

import { timingSafeEqual } from 'node:crypto';

/** Bytes of the process id, with which a key begins; what follows is the secret. */
const PROCESS_ID_BYTES = 4;

interface Entry<Owner> {
  readonly secret: Buffer;
  readonly owner: Owner;
}

export class CancelKeys<Owner> {
  /** By process id, which is no secret. Nearly always one: two servers may have processes of the same number. */
  readonly #entries = new Map<string, readonly Entry<Owner>[]>();

  /** @param key process id and secret, one to one as Latin-1 */
  register(key: string, owner: Owner): void {
    const processId = key.slice(0, PROCESS_ID_BYTES);
    const others = this.#entries.get(processId) ?? [];
    this.#entries.set(processId, [...others, { secret: secretOf(key), owner }]);
  }

  /** Whose key it is, or null. How long that takes does not tell how much of a secret was right. */
  find(key: string): Owner | null {
    const secret = secretOf(key);
    const entries = this.#entries.get(key.slice(0, PROCESS_ID_BYTES)) ?? [];
    return entries.findLast((entry) => isEqual(entry.secret, secret))?.owner ?? null;
  }

  /** The session has ended; a later one with the same key keeps it. */
  forget(key: string, owner: Owner): void {
    const processId = key.slice(0, PROCESS_ID_BYTES);
    const secret = secretOf(key);
    const kept = (this.#entries.get(processId) ?? []).filter(
      (entry) => entry.owner !== owner || !isEqual(entry.secret, secret),
    );
    if (kept.length > 0) this.#entries.set(processId, kept);
    else this.#entries.delete(processId);
  }
}

function secretOf(key: string): Buffer {
  return Buffer.from(key.slice(PROCESS_ID_BYTES), 'latin1');
}

/** The length need not be compared in constant time: it follows from the protocol's version. */
function isEqual(one: Buffer, other: Buffer): boolean {
  return one.length === other.length && timingSafeEqual(one, other);
}
