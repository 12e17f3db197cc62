/**
 * Bounds what quiche 0.18 keeps for a peer that feeds it without end (retired ids, path challenges, CRYPTO bytes, fragments with
 * gaps): datagram bytes that arrive must turn into delivered stream bytes, sent packets or finished streams.
 */
const BUDGET = 256 * 1024;
const PER_MS = (100 * 1024) / 60_000;
const DELIVERED = 4;
const PACKET = 200;
const STREAM = 3000;
/** Bytes of streams that the reader has paused arrive inside datagrams with headers. */
const OVERHEAD = 1.25;

export class ByteBudget {
  private readonly bornAt: number;
  private readonly streamWindow: number;
  private readonly connWindow: number;
  private received = 0;
  private credit = 0;

  constructor(bornAt: number, streamWindow: number, connWindow: number) {
    this.bornAt = bornAt;
    this.streamWindow = streamWindow;
    this.connWindow = connWindow;
  }

  /** A datagram has come; true when it is time to ask `exceeded`. */
  take(bytes: number): boolean {
    this.received += bytes;
    return this.received - this.credit > BUDGET;
  }

  delivered(bytes: number): void {
    this.credit += bytes * DELIVERED;
  }

  sent(packets: number): void {
    this.credit += packets * PACKET;
  }

  finished(): void {
    this.credit += STREAM;
  }

  /** What is on its way on a stopped stream is thrown away without being delivered. */
  stopped(): void {
    this.credit += this.streamWindow;
  }

  /** Bytes of which nothing has come: quiche may keep what they said. */
  get owed(): number {
    return this.received - this.credit;
  }

  /** With `paused` streams their windows may fill, all together up to the connection's window. */
  exceeded(now: number, paused: number): boolean {
    const held = Math.min(paused * this.streamWindow, Math.max(this.connWindow, this.streamWindow)) * OVERHEAD;
    return this.received - this.credit > BUDGET + (now - this.bornAt) * PER_MS + held;
  }
}
