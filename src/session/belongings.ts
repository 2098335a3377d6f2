// The session state that follows a client from one server connection to the next. Immutable, and equal content is the
// same object: whether a connection fits a client is one comparison.

export interface Belongings {
  /** Settings that differ from the connection's own defaults, by lower-case name, as pg_settings shows them. */
  readonly settings: ReadonlyMap<string, string>;
  /** Placeholder settings such as `myapp.user`: pg_settings does not list them, and they never go away. */
  readonly custom: ReadonlyMap<string, string>;
  /** SET ROLE; null for none. */
  readonly role: string | null;
  /** SET SESSION AUTHORIZATION; null for the user of the login. */
  readonly sessionUser: string | null;
  /** Equal for equal content. */
  readonly signature: string;
}

/** Value of a placeholder that may be there, and then is empty; no setting can have it. */
export const PERHAPS_EMPTY = '\0';

const NONE: ReadonlyMap<string, string> = new Map();

const interned = new Map<string, WeakRef<Belongings>>();
const forgotten = new FinalizationRegistry<string>((signature) => {
  if (interned.get(signature)?.deref() === undefined) interned.delete(signature);
});

export interface BelongingsParts {
  readonly settings?: ReadonlyMap<string, string>;
  readonly custom?: ReadonlyMap<string, string>;
  readonly role?: string | null;
  readonly sessionUser?: string | null;
}

/** The one object of that content. */
export function makeBelongings(parts: BelongingsParts): Belongings {
  const settings = sorted(parts.settings ?? NONE);
  const custom = sorted(parts.custom ?? NONE);
  const role = parts.role ?? null;
  const sessionUser = parts.sessionUser ?? null;
  const signature = JSON.stringify([[...settings], [...custom], role, sessionUser]);
  const known = interned.get(signature)?.deref();
  if (known !== undefined) return known;
  const made: Belongings = Object.freeze({ settings, custom, role, sessionUser, signature });
  interned.set(signature, new WeakRef(made));
  forgotten.register(made, signature);
  return made;
}

/** What a session has before it has set anything. */
export const NO_BELONGINGS: Belongings = makeBelongings({});

function sorted(map: ReadonlyMap<string, string>): ReadonlyMap<string, string> {
  return new Map([...map].sort(([left], [right]) => (left < right ? -1 : left > right ? 1 : 0)));
}
