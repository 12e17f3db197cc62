import { H3_INTERNAL_ERROR } from '../codes.ts';
import type { Address, CloseReason, ConnInfo, ConnStats, Limits, QuicConn } from '../engine.ts';
import { SendQueue } from '../sendqueue.ts';
import { Stream } from '../stream.ts';
import { Inflow } from './inflow.ts';
import { weigh, type Segment } from './segment.ts';
import type { MemoryTurn } from './turn.ts';

const WRITE_MARK = 128 * 1024;
const WRITE_LOW = 32 * 1024;
/** What may be on its way: like a congestion window, it makes the order of sending matter. */
const IN_FLIGHT = 64 * 1024;
const SHARE = 4 * 1024;

/** One stream: the shared sending half, the receiving half, and the windows of both. */
class MemoryStream extends Stream {
  readonly inflow = new Inflow();
  sent = 0;
  sendLimit: number;
  window: number;
  windowSent: number;
  /** Reset by the peer, not told yet. */
  resetCode: number | null = null;
  stopCode: number | null = null;
  /** The batch in which its last news came. */
  newsIn = -1;
  told = false;

  constructor(id: number, readable: boolean, writable: boolean, sendLimit: number, window: number) {
    super(id, readable, writable, true);
    this.sendLimit = sendLimit;
    this.window = window;
    this.windowSent = window;
  }
}

export interface MemoryConnOptions {
  readonly key: number;
  readonly server: boolean;
  readonly remote: Address;
  readonly local: Address;
  readonly info: ConnInfo;
  readonly mine: Limits;
  readonly theirs: Limits;
  readonly idleMs: number;
  readonly onEnd: (c: MemoryConn) => void;
}

export class MemoryConn implements QuicConn {
  readonly key: number;
  readonly early = false;
  readonly remote: Address;
  readonly local: Address;
  readonly server: boolean;
  data: unknown = null;
  sentSegments = 0;
  sentBytes = 0;
  receivedSegments = 0;
  receivedBytes = 0;
  private readonly facts: ConnInfo;
  readonly mine: Limits;
  private readonly theirs: Limits;
  private readonly turn: MemoryTurn;
  private readonly onEnd: (c: MemoryConn) => void;
  private readonly streams = new Map<number, MemoryStream>();
  private readonly ended = new Set<number>();
  private readonly queue = new SendQueue();
  private state: 'open' | 'closing' | 'gone' = 'open';
  private announced = false;
  private onAnnounced: (() => void) | null = null;
  private peer: MemoryConn | null = null;
  /** What was sent before the other end was there. */
  private unsent: Segment[] = [];
  private why: CloseReason | null = null;
  private inFlight = 0;
  private sent = 0;
  private sendLimit: number;
  private consumed = 0;
  private windowSent: number;
  private peerBidi: number;
  private peerUni: number;
  private ownBidi: number;
  private ownUni: number;
  private nextUni: number;
  private inbox: Uint8Array[] = [];
  private idleAt = 0;
  private readonly idleMs: number;
  private cancelIdle: (() => void) | null = null;

  constructor(o: MemoryConnOptions, turn: MemoryTurn) {
    this.key = o.key;
    this.server = o.server;
    this.remote = o.remote;
    this.local = o.local;
    this.facts = o.info;
    this.mine = o.mine;
    this.theirs = o.theirs;
    this.turn = turn;
    this.onEnd = o.onEnd;
    this.sendLimit = o.theirs.connWindow;
    this.windowSent = o.mine.connWindow;
    this.peerBidi = o.mine.bidi;
    this.peerUni = o.mine.uni;
    this.ownBidi = o.theirs.bidi;
    this.ownUni = o.theirs.uni;
    this.nextUni = o.server ? 3 : 2;
    this.idleMs = o.idleMs;
    this.active();
    this.watchIdle(o.idleMs);
  }

  /** The other end has come into being. */
  pair(peer: MemoryConn): void {
    this.peer = peer;
    for (const s of this.unsent.splice(0)) this.carry(peer, s);
  }

  /** `onConnection` on the next turn, then `then`. */
  announce(then: (() => void) | null): void {
    this.onAnnounced = then;
    this.turn.touch(this);
  }

  // What arrives

  take(s: Segment): void {
    if (this.state === 'gone') return;
    this.receivedSegments++;
    this.receivedBytes += weigh(s);
    this.active();
    switch (s.kind) {
      case 'stream':
        this.takeStream(s.id, s.offset, s.bytes, s.fin);
        break;
      case 'reset':
        this.takeReset(s.id, s.code, s.size);
        break;
      case 'stop':
        this.takeStop(s.id, s.code);
        break;
      case 'window': {
        const known = this.streams.get(s.id);
        if (known !== undefined) known.sendLimit = Math.max(known.sendLimit, s.limit);
        break;
      }
      case 'credit':
        this.sendLimit = Math.max(this.sendLimit, s.limit);
        break;
      case 'streams':
        this.ownBidi = Math.max(this.ownBidi, s.bidi);
        this.ownUni = Math.max(this.ownUni, s.uni);
        break;
      case 'ack':
        this.inFlight -= s.bytes;
        break;
      case 'datagram':
        this.inbox.push(s.bytes);
        break;
      case 'ping':
        break;
      case 'close':
        if (this.state === 'open') this.why ??= s.why;
        this.finish();
    }
    if (this.queue.length > 0) this.turn.want(this);
  }

  private takeStream(id: number, offset: number, bytes: Uint8Array, fin: boolean): void {
    this.transmit({ kind: 'ack', bytes: bytes.length });
    const s = this.incoming(id);
    if (s === null || s.readDone) {
      // Nobody reads it: its bytes still count against the connection's window.
      this.release(bytes.length);
      return;
    }
    s.inflow.add(offset, bytes, fin);
    s.newsIn = this.turn.batch;
  }

  private takeReset(id: number, code: number, size: number): void {
    const s = this.incoming(id);
    if (s === null || s.readDone) return;
    this.release(s.inflow.discard() + Math.max(0, size - s.inflow.highest));
    s.resetCode = code;
  }

  private takeStop(id: number, code: number): void {
    const s = this.incoming(id);
    if (s === null || s.writeDone) return;
    s.stopCode = code;
    this.queue.remove(s);
    s.discard();
    s.writeDone = true;
    this.transmit({ kind: 'reset', id, code, size: s.sent });
  }

  private incoming(id: number): MemoryStream | null {
    const known = this.streams.get(id);
    if (known !== undefined) return known;
    const theirs = (id & 1) === (this.server ? 0 : 1);
    if (!theirs || this.ended.has(id)) return null;
    const uni = (id & 2) !== 0;
    const s = new MemoryStream(id, true, !uni, this.theirs.streamWindow, this.mine.streamWindow);
    this.streams.set(id, s);
    return s;
  }

  /** The news of this batch, to the handler. */
  tell(): void {
    const h = this.turn.handler;
    if (!this.announced) {
      this.announced = true;
      h.onConnection(this);
      this.onAnnounced?.();
    }
    for (const bytes of this.inbox.splice(0)) h.onDatagram(this, bytes, 0, bytes.length);
    for (const s of this.streams.values()) {
      this.tellData(s);
      if (s.resetCode !== null && !s.readDone) {
        const code = s.resetCode;
        s.readDone = true;
        h.onReset(this, s.id, code);
      }
      if (s.stopCode !== null && !s.told) {
        s.told = true;
        h.onStop(this, s.id, s.stopCode);
      }
      this.settle(s);
    }
    if (this.state !== 'open') this.end();
  }

  private tellData(s: MemoryStream): void {
    if (s.readDone) {
      // Stopped a moment ago, in the batch that its bytes came in: a late event.
      if (s.newsIn === this.turn.batch && s.inflow.news) this.tellChunk(s);
      return;
    }
    while (s.inflow.news && !s.paused && !s.readDone) this.tellChunk(s);
  }

  private tellChunk(s: MemoryStream): void {
    const { bytes, fin } = s.inflow.take();
    this.release(bytes.length);
    this.widen(s);
    if (fin) s.readDone = true;
    // A copy: whoever keeps the buffer beyond its time shall see it change.
    const lent = Uint8Array.from(bytes);
    try {
      this.turn.handler.onData(this, s.id, lent, 0, lent.length, fin);
    } finally {
      lent.fill(0xee);
    }
  }

  private widen(s: MemoryStream): void {
    if (s.readDone || s.windowSent - s.inflow.consumed > s.window / 2) return;
    s.windowSent = s.inflow.consumed + s.window;
    this.transmit({ kind: 'window', id: s.id, limit: s.windowSent });
  }

  private release(bytes: number): void {
    this.consumed += bytes;
    if (this.windowSent - this.consumed > this.mine.connWindow / 2) return;
    this.windowSent = this.consumed + this.mine.connWindow;
    this.transmit({ kind: 'credit', limit: this.windowSent });
  }

  private settle(s: MemoryStream): void {
    if (!s.readDone || !s.writeDone || !this.streams.delete(s.id)) return;
    this.ended.add(s.id);
    if ((s.id & 1) !== (this.server ? 0 : 1)) return;
    if ((s.id & 2) === 0) this.peerBidi++;
    else this.peerUni++;
    this.transmit({ kind: 'streams', bidi: this.peerBidi, uni: this.peerUni });
  }

  // What the application says

  write(id: number, buf: Uint8Array, start: number, end: number, fin: boolean): boolean {
    if (this.state !== 'open') return true;
    const s = this.streams.get(id) ?? this.outgoing(id);
    if (s === null || s.writeDone || s.finWaits) return true;
    if (end > start) s.push(Uint8Array.prototype.slice.call(buf, start, end));
    else if (!fin) return !s.owed;
    if (fin) s.finWaits = true;
    this.queue.add(s);
    this.turn.want(this);
    if (fin || s.pending <= WRITE_MARK) return true;
    s.owed = true;
    return false;
  }

  private outgoing(id: number): MemoryStream | null {
    const uni = (id & 2) !== 0;
    if ((id & 1) !== (this.server ? 1 : 0) || this.ended.has(id)) return null;
    if (uni ? id >= this.nextUni : this.server) return null;
    const s = new MemoryStream(id, !uni, true, this.theirs.streamWindow, this.mine.streamWindow);
    this.streams.set(id, s);
    return s;
  }

  openUni(): number {
    const id = this.nextUni;
    this.nextUni += 4;
    return id;
  }

  pause(id: number): void {
    const s = this.streams.get(id);
    if (s !== undefined && !s.readDone) s.paused = true;
  }

  resume(id: number): void {
    const s = this.streams.get(id);
    if (s === undefined || !s.paused) return;
    s.paused = false;
    this.turn.touch(this);
  }

  reset(id: number, code: number): void {
    const s = this.streams.get(id) ?? null;
    if (s === null || s.writeDone || this.state !== 'open') return;
    this.queue.remove(s);
    s.discard();
    s.writeDone = true;
    this.transmit({ kind: 'reset', id, code, size: s.sent });
    this.settle(s);
  }

  stop(id: number, code: number): void {
    const s = this.streams.get(id);
    if (s === undefined || s.readDone || this.state !== 'open') return;
    s.paused = false;
    s.readDone = true;
    this.transmit({ kind: 'stop', id, code });
    // What came in this batch is still told: late events are the rule here.
    if (s.newsIn !== this.turn.batch) {
      this.release(s.inflow.discard());
      this.settle(s);
    }
  }

  priority(id: number, urgency: number, incremental: boolean): void {
    const s = this.streams.get(id);
    if (s === undefined) return;
    s.urgency = urgency;
    s.incremental = incremental;
    this.queue.reorder(s);
  }

  datagram(buf: Uint8Array, start: number, end: number): boolean {
    if (this.state !== 'open' || !this.theirs.datagrams || end - start > 1200) return false;
    this.transmit({ kind: 'datagram', bytes: Uint8Array.prototype.slice.call(buf, start, end) });
    return true;
  }

  ping(): void {
    if (this.state === 'open') this.transmit({ kind: 'ping' });
  }

  close(app: boolean, code: number, reason: string): void {
    if (this.state !== 'open') return;
    this.why = { side: 'local', app, code, reason };
    this.transmit({ kind: 'close', why: { side: 'remote', app, code, reason } });
    this.finish();
  }

  crash(where: string, e: unknown): void {
    this.turn.report(where, e);
    this.close(true, H3_INTERNAL_ERROR, '');
  }

  info(): ConnInfo {
    return this.facts;
  }

  stats(): ConnStats {
    return { rttMs: 0, lost: 0, sent: this.sentSegments, received: this.receivedSegments };
  }

  // What leaves

  flush(): void {
    if (this.state !== 'open') {
      this.end();
      return;
    }
    const items = this.queue.items;
    for (let i = 0; i < items.length && this.inFlight < IN_FLIGHT;) {
      const s = items[i] as MemoryStream;
      if (!this.offer(s)) i++;
      else if (s.incremental && s.queued === i) this.queue.rotate(s);
    }
    this.payDebts();
  }

  /** One piece of a stream; false when it has to wait. */
  private offer(s: MemoryStream): boolean {
    if (!this.mayOpen(s.id)) return false;
    const chunk = s.peek(s.incremental ? SHARE : WRITE_MARK);
    const room = Math.min(s.sendLimit - s.sent, this.sendLimit - this.sent, IN_FLIGHT - this.inFlight);
    const n = chunk.length === 0 ? 0 : this.turn.network.piece(Math.min(chunk.length, Math.max(0, room)));
    if (chunk.length > 0 && room <= 0) return false;
    const bytes = chunk.subarray(0, n);
    s.took(n);
    const fin = s.finWaits && s.pending === 0;
    this.transmit({ kind: 'stream', id: s.id, offset: s.sent, bytes, fin });
    s.sent += n;
    this.sent += n;
    this.inFlight += n;
    if (s.pending === 0) this.queue.remove(s);
    if (fin) {
      s.writeDone = true;
      this.settle(s);
    }
    return true;
  }

  private mayOpen(id: number): boolean {
    if ((id & 1) !== (this.server ? 1 : 0)) return true;
    return id >> 2 < ((id & 2) === 0 ? this.ownBidi : this.ownUni);
  }

  private payDebts(): void {
    const due = [...this.streams.values()]
      .filter((s) => s.owed && s.pending <= WRITE_LOW)
      .sort((a, b) => a.urgency - b.urgency || a.id - b.id);
    for (const s of due) {
      if (!s.owed || this.state !== 'open') continue;
      s.owed = false;
      this.turn.handler.onWritable(this, s.id);
    }
  }

  private transmit(segment: Segment): void {
    if (this.state === 'gone') return;
    this.sentSegments++;
    this.sentBytes += weigh(segment);
    this.active();
    if (this.peer === null) this.unsent.push(segment);
    else this.carry(this.peer, segment);
  }

  private carry(peer: MemoryConn, segment: Segment): void {
    this.turn.network.carry(segment.kind === 'datagram', () => peer.turn.arrive(peer, segment));
  }

  // How it ends

  private active(): void {
    this.idleAt = this.turn.network.clock.now() + this.idleMs;
  }

  private watchIdle(ms: number): void {
    this.cancelIdle = this.turn.network.clock.after(ms, () => {
      const left = this.idleAt - this.turn.network.clock.now();
      if (this.state !== 'open') return;
      if (left > 0) this.watchIdle(left);
      else {
        this.why = { side: 'timeout', app: false, code: 0, reason: 'idle' };
        this.finish();
      }
    });
  }

  private finish(): void {
    if (this.state === 'open') this.state = 'closing';
    this.turn.touch(this);
    this.turn.want(this);
  }

  private end(): void {
    if (this.state === 'gone') return;
    this.state = 'gone';
    this.cancelIdle?.();
    this.queue.clear();
    this.streams.clear();
    if (this.announced) {
      try {
        this.turn.handler.onClose(this, this.why as CloseReason);
      } catch (e) {
        this.turn.report('memory_close', e);
      }
    }
    this.onEnd(this);
  }
}
