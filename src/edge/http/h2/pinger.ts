/** Servers of gRPC end connections on which PINGs without traffic come closer than this (grpc-go's MinTime). */
const APART_MS = 300_000;

/**
 * When a PING may be sent. Servers count PINGs that come without traffic of theirs in between, and end the connection
 * after a few; what they sent after their last answer wipes their count.
 */
export class Pinger {
  outstanding = false;
  sentAt = -1;
  private traffic = true;

  /** HEADERS or DATA arrived. */
  heard(): void {
    this.traffic = true;
  }

  allowed(now: number): boolean {
    return !this.outstanding && (this.sentAt < 0 || this.traffic || now - this.sentAt >= APART_MS);
  }

  sent(now: number): void {
    this.outstanding = true;
    this.sentAt = now;
  }

  answered(): void {
    this.outstanding = false;
    this.traffic = false;
  }
}
