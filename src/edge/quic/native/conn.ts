import { H3_INTERNAL_ERROR } from '../codes.ts';
import type { Address, ConnInfo, ConnStats, QuicConn, TlsId } from '../engine.ts';
import type { Link } from './link.ts';
import {
  COMMAND_DATAGRAM,
  COMMAND_PAUSE,
  COMMAND_PING,
  COMMAND_PRIORITY,
  COMMAND_RESET,
  COMMAND_RESUME,
  COMMAND_SEND,
  COMMAND_STOP,
  FIN,
  INCREMENTAL,
  WANT_WRITABLE,
} from './records.ts';

const WRITE_MARK = 128 * 1024;
const CONN_MARK = 1024 * 1024;
/** What the addon holds of a connection at most when it says WRITABLE. */
const CONN_LOW = CONN_MARK / 2;
/** In the place of a stream's count: `write` was false, and WRITABLE is to come. */
const OWED = -1;
/** Streams that are counted at once; more are only those that were ended by their peers and written to all the same. */
const COUNTED = 4096;
const STATS_MS = 1000;
const REASON_BYTES = 256;

const NO_STATS: ConnStats = { rttMs: 0, lost: 0, sent: 0, received: 0 };
const NO_INFO: ConnInfo = { sni: null, alpn: '', tls: 0 as TlsId, resumed: false, peerChain: null, handshakeMs: 0 };
const NO_REASON = new Uint8Array(0);

export interface ConnFacts {
  readonly key: number;
  readonly slot: number;
  readonly generation: number;
  readonly early: boolean;
  readonly remote: Address;
  readonly local: Address;
  /** The longest DATAGRAM that may be sent; 0: none. */
  readonly maxDatagram: number;
  readonly server: boolean;
}

/** One connection: its commands become records, and it knows how much it has sent since it was last told to go on. */
export class NativeConn implements QuicConn {
  readonly key: number;
  readonly early: boolean;
  readonly slot: number;
  readonly generation: number;
  remote: Address;
  local: Address;
  data: unknown = null;
  /** Neither closed here nor told that it is over. */
  open = true;
  private readonly link: Link;
  private readonly maxDatagram: number;
  private nextOwnUni: number;
  /** Bytes per stream since its last WRITABLE, or OWED. */
  private readonly counts = new Map<number, number>();
  private total = 0;
  private loweredAt = -1;
  private cachedStats: ConnStats = NO_STATS;
  private statsAt = -Infinity;
  private cachedInfo: ConnInfo | null = null;

  constructor(link: Link, f: ConnFacts) {
    this.link = link;
    this.key = f.key;
    this.slot = f.slot;
    this.generation = f.generation;
    this.early = f.early;
    this.remote = f.remote;
    this.local = f.local;
    this.maxDatagram = f.maxDatagram;
    this.nextOwnUni = f.server ? 3 : 2;
  }

  write(id: number, buf: Uint8Array, start: number, end: number, fin: boolean): boolean {
    if (!this.open) return true;
    const length = end - start;
    let flags = FIN;
    let more = true;
    if (fin) {
      if (this.counts.size > 0) this.counts.delete(id);
    } else {
      const before = this.counts.get(id) ?? 0;
      if (length === 0) return before !== OWED;
      flags = before === OWED ? 0 : this.count(id, before + length, length);
      more = before !== OWED && flags === 0;
    }
    this.total += length;
    this.link.commands.long(COMMAND_SEND, this.slot, this.generation, id, buf, start, end, flags);
    return more;
  }

  /** WANT_WRITABLE when that is enough for now. */
  private count(id: number, bytes: number, length: number): number {
    const enough = bytes > WRITE_MARK || this.total + length > CONN_MARK;
    if (this.counts.size >= COUNTED) this.counts.clear();
    this.counts.set(id, enough ? OWED : bytes);
    return enough ? WANT_WRITABLE : 0;
  }

  /** Little is left of this stream in the addon, and of the connection as well. */
  writable(id: number): void {
    this.counts.delete(id);
    // Once per batch: what was written since then is not in what the addon spoke of.
    if (this.loweredAt === this.link.batches) return;
    this.loweredAt = this.link.batches;
    this.total = Math.min(this.total, CONN_LOW);
  }

  /** Nothing will be written to this stream any more. */
  forget(id: number): void {
    if (this.counts.size > 0) this.counts.delete(id);
  }

  openUni(): number {
    const id = this.nextOwnUni;
    this.nextOwnUni += 4;
    return id;
  }

  pause(id: number): void {
    this.say(COMMAND_PAUSE, id, 0);
  }

  resume(id: number): void {
    this.say(COMMAND_RESUME, id, 0);
  }

  priority(id: number, urgency: number, incremental: boolean): void {
    this.say(COMMAND_PRIORITY, id, urgency | (incremental ? INCREMENTAL : 0));
  }

  ping(): void {
    this.say(COMMAND_PING, 0, 0);
  }

  private say(kind: number, id: number, flags: number): void {
    if (this.open) this.link.commands.plain(kind, this.slot, this.generation, id, flags);
  }

  reset(id: number, code: number): void {
    if (!this.open) return;
    this.forget(id);
    this.link.commands.coded(COMMAND_RESET, this.slot, this.generation, id, code);
  }

  stop(id: number, code: number): void {
    if (this.open) this.link.commands.coded(COMMAND_STOP, this.slot, this.generation, id, code);
  }

  datagram(buf: Uint8Array, start: number, end: number): boolean {
    if (!this.open || this.maxDatagram === 0 || end - start > this.maxDatagram) return false;
    this.link.commands.bytes(COMMAND_DATAGRAM, this.slot, this.generation, 0, buf, start, end, 0);
    return true;
  }

  stuck(ms: number): readonly number[] {
    return this.open ? this.link.stuck(this, ms) : [];
  }

  close(app: boolean, code: number, reason: string): void {
    if (!this.open) return;
    const bytes = reason === '' ? NO_REASON : Buffer.from(reason).subarray(0, REASON_BYTES);
    this.link.commands.close(this.slot, this.generation, app, code, bytes);
    this.ended();
  }

  /** An exception of the handler: this connection ends, nothing else. */
  crash(where: string, e: unknown): void {
    this.link.report(where, e);
    this.close(true, H3_INTERNAL_ERROR, '');
  }

  ended(): void {
    this.open = false;
    this.counts.clear();
  }

  info(): ConnInfo {
    return this.cachedInfo ?? this.readInfo();
  }

  private readInfo(): ConnInfo {
    this.cachedInfo = this.link.info(this);
    return this.cachedInfo ?? NO_INFO;
  }

  stats(): ConnStats {
    const now = this.link.clock.now();
    if (now - this.statsAt >= STATS_MS) {
      this.statsAt = now;
      this.cachedStats = this.link.connStats(this) ?? this.cachedStats;
    }
    return this.cachedStats;
  }
}
