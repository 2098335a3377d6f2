// How a connection is carried: what a login may build on.

export interface PeerCertificate {
  /** CN of the subject, or null where it has none. */
  readonly commonName: string | null;
  /** The subject as one line, RFC 2253 order, for logs. */
  readonly subject: string;
}

export interface Transport {
  /** TLS is up. */
  readonly isEncrypted: boolean;
  /** What the peer has shown and what was verified against the configured authority; null where it showed none. */
  readonly peer: PeerCertificate | null;
  /**
   * Hash of the certificate of that connection's server side (tls-server-end-point, RFC 5929 section 4.1); null without TLS,
   * and for certificates signed without a hash function (Ed25519). A client's channel binding holds for a server only where
   * both their connections have the same one.
   */
  readonly serverEndPoint: Buffer | null;
}

export const PLAIN_TRANSPORT: Transport = Object.freeze({ isEncrypted: false, peer: null, serverEndPoint: null });
