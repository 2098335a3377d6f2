// A client that is not let in, in PostgreSQL's own words. Nothing in it tells whether the user exists.

export class AuthRefused extends Error {
  override readonly name = 'AuthRefused';
  readonly sqlstate: string;
  readonly detail: string | null;

  constructor(sqlstate: string, message: string, detail: string | null = null) {
    super(message);
    this.sqlstate = sqlstate;
    this.detail = detail;
  }
}

/** For every way to fail a password: wrong, expired, none, no such user. */
export function refusePassword(user: string): AuthRefused {
  return new AuthRefused('28P01', `password authentication failed for user "${user}"`);
}
