// Who is asking: the part of a session that rules match on. A frozen value; a session whose application_name changes
// gets a new one.

export interface Subject {
  readonly user: string;
  readonly database: string;
  /** As the server last reported it. A hint from the client, never a security boundary. */
  readonly applicationName: string;
  /** Textual address, IPv4-mapped IPv6 as IPv4, or `unix` for a client on a Unix socket. */
  readonly clientIp: string;
}
