// What people choose about TLS, as src/config/settings.ts holds it: for the clients' door and for the way to the servers.

export type TlsVersion = 'TLSv1.2' | 'TLSv1.3';

/** TLS between clients and pgweir. Paths are absolute. */
export interface ListenTls {
  /** `allow` takes clients with TLS and without, as a `host` line of pg_hba.conf; `require` as a `hostssl` line. */
  readonly mode: 'disable' | 'allow' | 'require';
  readonly certificateFile: string | null;
  readonly keyFile: string | null;
  /** Authorities that sign client certificates. */
  readonly clientCaFile: string | null;
  readonly clientCertificate: 'none' | 'optional' | 'require';
  readonly minVersion: TlsVersion;
}

/** TLS between pgweir and the servers. A server on a Unix socket is never asked for it. */
export interface TargetsTls {
  /** As libpq's sslmode, but `require` does not verify even where there is a CA, and `prefer` does not fall back after a failed handshake. */
  readonly mode: 'disable' | 'prefer' | 'require' | 'verify-ca' | 'verify-full';
  /** Null with `verify-full`: the public authorities that Node knows. */
  readonly caFile: string | null;
  /** pgweir's own certificate, for servers that ask for one. */
  readonly certificateFile: string | null;
  readonly keyFile: string | null;
  /** `direct` begins with the handshake and saves a round trip; PostgreSQL 17 and later. */
  readonly negotiation: 'postgres' | 'direct';
  readonly minVersion: TlsVersion;
  /** The name that is sent (SNI) and verified in place of the target's host. */
  readonly serverName: string | null;
}
