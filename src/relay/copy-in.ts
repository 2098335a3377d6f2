// COPY data on its way from the client, as both sides see it.

export class CopyIn {
  /** The server takes COPY data from the client. */
  isRunning = false;
  /** The server sends data too, as long as it likes: a replication stream (CopyBothResponse). */
  isBothWays = false;
  /**
   * Syncs that came among COPY data, and after which none has come yet. While it takes data the server ignores them, so they
   * are kept back; it would answer them if the COPY had failed by then, so they are sent when it fails.
   */
  keptSyncs = 0;

  begin(isRunning: boolean, isBothWays: boolean): void {
    this.keptSyncs = 0;
    this.isRunning = isRunning;
    this.isBothWays = isBothWays;
  }

  /** The client has sent CopyDone or CopyFail. True where the server had been taking data until then. */
  end(): boolean {
    const wasRunning = this.isRunning;
    this.keptSyncs = 0;
    this.isRunning = false;
    this.isBothWays = false;
    return wasRunning;
  }

  /** The server has given the COPY up. Returns how many Syncs were kept back that it has to answer now. */
  fail(): number {
    const { keptSyncs } = this;
    this.keptSyncs = 0;
    this.isRunning = false;
    this.isBothWays = false;
    return keptSyncs;
  }
}
