import type { Address, ConnInfo, ConnStats, QuicConn, QuicHandler, TlsId } from '../../src/edge/quic/engine.ts';

/** 127.0.0.1:4433 */
export const LOOPBACK: Address = Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 1, 0x11, 0x51);

export interface FakeWrite {
  readonly id: number;
  readonly bytes: Buffer;
  readonly fin: boolean;
}

/** An engine's connection that does nothing but write down what it is told, for tests that want to see each call. */
export class FakeConn implements QuicConn {
  readonly key: number;
  readonly early = false;
  remote: Address = LOOPBACK;
  readonly local: Address = LOOPBACK;
  data: unknown = null;
  sni: string | null = 'a.test';
  rttMs = 20;
  sent = 0;
  readonly writes: FakeWrite[] = [];
  readonly resets: [id: number, code: number][] = [];
  readonly stops: [id: number, code: number][] = [];
  readonly priorities: [id: number, urgency: number, incremental: boolean][] = [];
  readonly pauses: [id: number, paused: boolean][] = [];
  pings = 0;
  closed: { app: boolean; code: number; reason: string } | null = null;
  /** Streams above their mark: `write` says false. */
  readonly full = new Set<number>();
  /** Makes it the connection of an engine that says which streams the peer has had no room for. */
  stuck?: (ms: number) => readonly number[];
  losesBareEnds?: boolean;
  private nextUni = 3;
  private readonly handler: QuicHandler;

  constructor(handler: QuicHandler, key = 1) {
    this.handler = handler;
    this.key = key;
  }

  // --- what the peer does; each call is a batch of its own

  open(): this {
    this.handler.onConnection(this);
    return this;
  }

  feed(id: number, bytes: Uint8Array, fin = false): void {
    this.feedAll([[id, bytes, fin]]);
  }

  /** Several events in one batch. The buffer is wiped behind each call: it is lent, not given. */
  feedAll(chunks: readonly (readonly [id: number, bytes: Uint8Array, fin: boolean])[]): void {
    for (const [id, bytes, fin] of chunks) {
      const lent = new Uint8Array(bytes.length + 6);
      lent.set(bytes, 3);
      this.handler.onData(this, id, lent, 3, 3 + bytes.length, fin);
      lent.fill(0xee);
    }
    this.handler.onTurnEnd();
  }

  peerReset(id: number, code: number): void {
    this.handler.onReset(this, id, code);
    this.handler.onTurnEnd();
  }

  peerStop(id: number, code: number): void {
    this.handler.onStop(this, id, code);
    this.handler.onTurnEnd();
  }

  drained(id: number): void {
    this.full.delete(id);
    this.handler.onWritable(this, id);
    this.handler.onTurnEnd();
  }

  peerClose(code: number, app = true): void {
    this.handler.onClose(this, { side: 'remote', app, code, reason: '' });
    this.handler.onTurnEnd();
  }

  /** After a close of ours, as every engine does. */
  finishClose(): void {
    this.handler.onClose(this, { side: 'local', app: true, code: this.closed?.code ?? 0, reason: '' });
  }

  // --- what was written

  bytesOn(id: number): Buffer {
    return Buffer.concat(this.writes.filter((w) => w.id === id).map((w) => w.bytes));
  }

  finOn(id: number): boolean {
    return this.writes.some((w) => w.id === id && w.fin);
  }

  // --- QuicConn

  info(): ConnInfo {
    return { sni: this.sni, alpn: 'h3', tls: 1 as TlsId, resumed: false, peerChain: null, handshakeMs: 1 };
  }

  stats(): ConnStats {
    return { rttMs: this.rttMs, lost: 0, sent: this.sent, received: 0 };
  }

  write(id: number, buf: Uint8Array, start: number, end: number, fin: boolean): boolean {
    this.writes.push({ id, bytes: Buffer.from(buf.subarray(start, end)), fin });
    return !this.full.has(id);
  }

  openUni(): number {
    const id = this.nextUni;
    this.nextUni += 4;
    return id;
  }

  pause(id: number): void {
    this.pauses.push([id, true]);
  }

  resume(id: number): void {
    this.pauses.push([id, false]);
  }

  reset(id: number, code: number): void {
    this.resets.push([id, code]);
  }

  stop(id: number, code: number): void {
    this.stops.push([id, code]);
  }

  priority(id: number, urgency: number, incremental: boolean): void {
    this.priorities.push([id, urgency, incremental]);
  }

  datagram(): boolean {
    return false;
  }

  ping(): void {
    this.pings++;
  }

  close(app: boolean, code: number, reason: string): void {
    this.closed ??= { app, code, reason };
  }
}
