import type { Address, CloseReason, ConnInfo, ConnStats, QuicConn, QuicHandler, TlsId } from '../engine.ts';
import { hostOf } from '../address.ts';
import { H3_EXCESSIVE_LOAD, H3_INTERNAL_ERROR } from '../codes.ts';
import { WheelTimer } from '../../../lib/wheel.ts';
import { errorName, errorNumber, SHUTDOWN_READ, SHUTDOWN_WRITE, MAX_SEND, type Connection, type RecvInfo } from './binding.ts';
import { SendQueue } from '../sendqueue.ts';
import { nextSlot, type UdpSocket } from './socket.ts';
import { EMPTY, Stream } from '../stream.ts';
import type { Turn } from './turn.ts';

export const HANDSHAKING = 0;
export const OPEN = 1;
/** Closed on one side; quiche still answers stray packets for three PTO. */
export const ENDING = 2;
export const GONE = 3;

/** Whoever made the connection: a listening endpoint or a client. */
export interface ConnOwner {
  /** The handshake is done; false when the owner has refused it (and closed the connection) after all. */
  established(c: Conn): boolean;
  /** The handshake came to nothing: exactly once, instead of `onConnection`. */
  failed(c: Conn, why: CloseReason): void;
  /** After `onClose`. */
  ended(c: Conn): void;
  /** Nothing of it is left: its ids and its slot are free. */
  gone(c: Conn): void;
}

export interface ConnOptions {
  readonly key: number;
  readonly server: boolean;
  readonly q: Connection;
  readonly socket: UdpSocket;
  readonly host: string;
  readonly port: number;
  readonly remote: Address;
  readonly tls: TlsId;
  readonly needsCertificate: boolean;
  readonly sni: string | null;
  readonly handshakeMs: number;
  readonly streamWindow: number;
  readonly connWindow: number;
  readonly datagrams: boolean;
}

const TIMER_QUICHE = 0;
const TIMER_ACK = 1;
const TIMER_HANDSHAKE = 2;
const TIMER_POLL = 3;

/** Well below the 25 ms that we advertise. */
const ACK_DELAY_MS = 5;
/** Datagrams that arrive before an acknowledgement goes out alone. */
const ACK_EVERY = 8;
const POLL_MS = 100;
const STATS_MS = 1000;

const WRITE_MARK = 128 * 1024;
const WRITE_LOW = 32 * 1024;
const CONN_MARK = 1024 * 1024;
/** What an incremental stream gives to quiche before its equals have their turn. */
const SHARE = 8 * 1024;
/**
 * Packets per connection and flush: the others want their turn. Also what bounds a peer that acknowledges what it never got, since
 * quiche 0.18 lets its congestion window grow without end (an honest one's does, too: its size says nothing).
 */
const FLUSH_PACKETS = 64;
/** Stream bytes that quiche gets before it has to send. */
const OFFER = 32 * 1024;
const READ_PER_TURN = 1024 * 1024;
const PROBES = 50;
const HANDSHAKE_DATAGRAMS = 64;

/**
 * The byte budget bounds what quiche 0.18 keeps for a peer that feeds it without end (retired ids, path challenges, CRYPTO bytes,
 * fragments with gaps): datagram bytes that arrive must turn into delivered stream bytes, sent packets or finished requests.
 */
const BUDGET = 256 * 1024;
const BUDGET_PER_MS = (100 * 1024) / 60_000;
const CREDIT_DELIVERED = 4;
const CREDIT_PACKET = 200;
const CREDIT_STREAM = 3000;

/** Attempts to follow a client to another port, per second. */
const REBINDS = 8;
/** Freed with the connection: lets V8 see a part of the native memory that it pins. */
const BALLAST = 36 * 1024;

const NO_STATS: ConnStats = { rttMs: 0, lost: 0, sent: 0, received: 0 };

export class Conn implements QuicConn {
  readonly key: number;
  readonly early = false;
  readonly remote: Address;
  readonly local: Address;
  readonly server: boolean;
  readonly tls: TlsId;
  readonly needsCertificate: boolean;
  readonly sni: string | null;
  readonly socket: UdpSocket;
  readonly bornAt: number;
  data: unknown = null;
  state = HANDSHAKING;
  dirty = false;
  wanting = false;
  handshakeMs = 0;
  /** Where the client is now; `remote` stays the validated address. */
  host: string;
  port: number;
  /** For the owner: what the limits count this connection by, its slot, its ids and the key of its first id. */
  limitKey = '';
  slot = -1;
  ids: number[] = [];
  initialKey: string | null = null;
  q: Connection | null;
  private readonly turn: Turn;
  private readonly owner: ConnOwner;
  private readonly handler: QuicHandler;
  private readonly recvInfo: RecvInfo;
  private readonly quicheTimer: WheelTimer;
  private readonly ackTimer: WheelTimer;
  private readonly handshakeTimer: WheelTimer;
  private readonly pollTimer: WheelTimer;
  private readonly streamWindow: number;
  private readonly connWindow: number;
  private readonly datagrams: boolean;
  ballast: Buffer | null;
  private readonly streams = new Map<number, Stream>();
  /** Streams that the peer still sends on and that did not end with their first bytes. */
  private bodies: Stream[] = [];
  private readonly queue = new SendQueue();
  /** Ids below these were seen, or are in `gaps`. */
  private nextBidi: number;
  private nextUni: number;
  private readonly gaps = new Set<number>();
  private nextOwnUni: number;
  /** Streams of ours that have begun: three on a server, as many as it asks on a client. */
  private readonly opened = new Set<number>();
  private pending = 0;
  private owing = 0;
  private pausedCount = 0;
  private received = 0;
  private credit = 0;
  private sinceFlush = 0;
  private datagramsIn = 0;
  private suspect = false;
  private told = false;
  private failedHandshake = false;
  private why: CloseReason | null = null;
  private cachedStats: ConnStats = NO_STATS;
  private statsAt = -Infinity;
  private cachedInfo: ConnInfo | null = null;
  private reboundAt = 0;
  private rebinds = REBINDS;
  private rebindsAt = 0;
  private sendCredit = Infinity;
  private offerLeft = 0;

  constructor(o: ConnOptions, turn: Turn, owner: ConnOwner) {
    this.key = o.key;
    this.remote = o.remote;
    this.local = o.socket.local;
    this.server = o.server;
    this.tls = o.tls;
    this.needsCertificate = o.needsCertificate;
    this.sni = o.sni;
    this.socket = o.socket;
    this.host = o.host;
    this.port = o.port;
    this.q = o.q;
    this.turn = turn;
    this.owner = owner;
    this.handler = turn.handler;
    this.bornAt = turn.clock.now();
    // Always the same: quiche 0.18 must never see a second path (it can be sent into an endless loop then).
    this.recvInfo = Object.freeze({
      from: Object.freeze({ host: hostOf(o.remote), port: o.port }),
      to: Object.freeze({ host: hostOf(o.socket.local), port: o.socket.port }),
    });
    this.quicheTimer = new WheelTimer(this, TIMER_QUICHE);
    this.ackTimer = new WheelTimer(this, TIMER_ACK);
    this.handshakeTimer = new WheelTimer(this, TIMER_HANDSHAKE);
    this.pollTimer = new WheelTimer(this, TIMER_POLL);
    this.streamWindow = o.streamWindow;
    this.connWindow = o.connWindow;
    this.datagrams = o.datagrams;
    this.ballast = Buffer.allocUnsafeSlow(BALLAST);
    this.nextBidi = o.server ? 0 : 1;
    this.nextUni = o.server ? 2 : 3;
    this.nextOwnUni = o.server ? 3 : 2;
    turn.wheel.arm(this.handshakeTimer, o.handshakeMs);
  }

  // What arrives

  recv(msg: Buffer): void {
    const q = this.q;
    if (q === null) return;
    this.datagramsIn++;
    if (this.state === HANDSHAKING && this.datagramsIn > HANDSHAKE_DATAGRAMS) return;
    this.received += msg.length;
    this.sinceFlush++;
    if (this.sendCredit !== Infinity) this.gainCredit(msg.length);
    try {
      q.recv(msg, this.recvInfo);
    } catch (e) {
      // Anything else means that quiche has closed: the flush says so to the peer.
      if (errorName(e) !== 'BufferTooShort') this.suspect = true;
    }
    if (this.received - this.credit > BUDGET) this.overBudget();
    this.turn.touch(this);
  }

  /**
   * A packet from another port of the same host, as a NAT that forgot us makes it. Only when quiche could authenticate it
   * (its counter moves, which a forged or repeated packet does not do) the answers follow, at most three times what
   * comes from there until it has answered for a round trip.
   */
  recvRebound(msg: Buffer, port: number): boolean {
    const q = this.q;
    const now = this.turn.clock.now();
    if (q === null || this.state !== OPEN) return false;
    if (now - this.rebindsAt > 1000) {
      this.rebindsAt = now;
      this.rebinds = REBINDS;
    }
    if (this.rebinds-- <= 0) return false;
    const before = q.stats().recv;
    const length = msg.length;
    this.recv(msg);
    if (this.q === null || q.stats().recv === before) return false;
    this.port = port;
    this.reboundAt = now;
    this.sendCredit = 3 * length;
    this.turn.want(this);
    return true;
  }

  private gainCredit(length: number): void {
    const rtt = this.stats().rttMs;
    this.sendCredit = this.turn.clock.now() - this.reboundAt > rtt + 50 ? Infinity : this.sendCredit + 3 * length;
  }

  private overBudget(): void {
    const held =
      this.pausedCount === 0 ? 0 : Math.min(this.pausedCount * this.streamWindow, Math.max(this.connWindow, this.streamWindow)) * 1.25;
    const allowed = BUDGET + (this.turn.clock.now() - this.bornAt) * BUDGET_PER_MS + held;
    if (this.received - this.credit > allowed) this.close(true, H3_EXCESSIVE_LOAD, 'budget');
  }

  /** The news of this turn, to the handler. */
  settle(): void {
    const q = this.q;
    if (q === null) return;
    if (this.state === HANDSHAKING) this.settleHandshake(q);
    if (this.state === OPEN) {
      if (this.streams.size > 0) this.pollStops(q);
      this.readAll(q);
      if (!this.pollTimer.armed && this.state === OPEN) this.turn.wheel.arm(this.pollTimer, POLL_MS);
    }
    if (this.q === null) return;
    if (this.suspect || q.isDraining()) this.checkEnd(q);
    if (this.suspect || this.state !== OPEN || this.queue.length > 0 || this.sinceFlush >= ACK_EVERY) this.turn.want(this);
    else if (this.sinceFlush > 0 && !this.ackTimer.armed) this.turn.wheel.arm(this.ackTimer, ACK_DELAY_MS);
  }

  private settleHandshake(q: Connection): void {
    if (!q.isEstablished()) return;
    this.turn.wheel.release(this.handshakeTimer);
    this.handshakeMs = this.turn.clock.now() - this.bornAt;
    this.turn.want(this);
    if (!this.owner.established(this)) return;
    this.state = OPEN;
    this.handler.onConnection(this);
  }

  private readAll(q: Connection): void {
    if (this.datagrams) this.readDatagrams(q);
    if (!q.isReadable()) return;
    let left = READ_PER_TURN;
    const bodies = this.bodies;
    if (bodies.length > 0 && bodies.length <= PROBES) {
      for (let i = bodies.length - 1; i >= 0; i--) {
        const s = bodies[i] as Stream;
        if (s.readDone) this.dropBody(i);
        else if (!s.paused && q.streamReadable(s.id)) left -= this.read(q, s);
        if (this.state !== OPEN) return;
      }
    }
    while (q.streamReadable(this.nextBidi) && this.state === OPEN) {
      const id = this.nextBidi;
      this.nextBidi += 4;
      left -= this.read(q, this.peerStream(id, this.server));
    }
    while (q.streamReadable(this.nextUni) && this.state === OPEN) {
      const id = this.nextUni;
      this.nextUni += 4;
      left -= this.read(q, this.peerStream(id, false));
    }
    if (this.state === OPEN && q.isReadable()) this.readRest(q);
    if (left < 0) this.turn.touch(this);
  }

  /** Streams out of order, and many bodies at once: by quiche's list, which costs ten probes and must be used up before anything else. */
  private readRest(q: Connection): void {
    const ids = [...q.readable()];
    for (let i = 0; i < ids.length && this.state === OPEN; i++) {
      const id = ids[i] as number;
      const s = this.streams.get(id) ?? this.late(id);
      if (s === null) this.swallow(q, id);
      else if (!s.readDone && !s.paused) this.read(q, s);
    }
  }

  /** A stream that the peer opened out of order; null when it has already ended here. */
  private late(id: number): Stream | null {
    const uni = (id & 2) !== 0;
    if ((id & 1) !== (this.server ? 0 : 1)) return null;
    let next = uni ? this.nextUni : this.nextBidi;
    if (id >= next) {
      for (; next < id; next += 4) this.gaps.add(next);
      if (uni) this.nextUni = id + 4;
      else this.nextBidi = id + 4;
    } else if (!this.gaps.delete(id)) return null;
    return this.peerStream(id, !uni);
  }

  private peerStream(id: number, writable: boolean): Stream {
    const s = new Stream(id, true, writable, true);
    this.streams.set(id, s);
    return s;
  }

  /** Hands over what a stream has; returns how much. Its buffer is lent. */
  private read(q: Connection, s: Stream): number {
    const buf = this.turn.readBuffer;
    let total = 0;
    while (!s.paused && !s.readDone && total < READ_PER_TURN / 4 && this.state === OPEN) {
      let got: [number, boolean] | null;
      try {
        got = q.streamRecv(s.id, buf);
      } catch (e) {
        this.readFailed(s, e);
        return total;
      }
      if (got === null) break;
      const n = got[0];
      const fin = got[1];
      total += n;
      this.credit += n * CREDIT_DELIVERED;
      if (fin) s.readDone = true;
      if (n > 0 || fin) this.handler.onData(this, s.id, buf, 0, n, fin);
      if (n < buf.length) break;
    }
    // Windows have moved: something to say even when nothing has arrived.
    if (total > 0 && this.sinceFlush === 0) this.sinceFlush = 1;
    if (s.readDone) this.settled(s);
    else if (s.body < 0 && this.state === OPEN) this.addBody(s);
    if (total >= READ_PER_TURN / 4) this.turn.touch(this);
    return total;
  }

  private readFailed(s: Stream, e: unknown): void {
    const name = errorName(e);
    if (name === 'Done' || s.readDone) return;
    s.readDone = true;
    this.unpause(s);
    this.handler.onReset(this, s.id, name === 'StreamReset' ? errorNumber(e) : 0);
    this.settled(s);
  }

  /** Bytes of a stream that has already ended here: quiche lists it until they are taken. */
  private swallow(q: Connection, id: number): void {
    try {
      while (q.streamRecv(id, this.turn.readBuffer) !== null);
    } catch {
      // Reset or gone: that is what we want.
    }
  }

  private readDatagrams(q: Connection): void {
    const buf = this.turn.readBuffer;
    for (let i = 0; i < 64 && this.state === OPEN; i++) {
      const n = q.dgramRecv(buf) as number | null;
      if (n === null) return;
      this.credit += n * CREDIT_DELIVERED;
      this.handler.onDatagram(this, buf, 0, n);
    }
  }

  private addBody(s: Stream): void {
    s.body = this.bodies.length;
    this.bodies.push(s);
  }

  private dropBody(i: number): void {
    const last = this.bodies.pop();
    if (last === undefined) return;
    if (i < this.bodies.length) {
      (this.bodies[i] as Stream).body = -1;
      this.bodies[i] = last;
      last.body = i;
    } else last.body = -1;
  }

  /** Whether a peer has lost interest shows only when one asks (quiche raises no event for STOP_SENDING). */
  private pollStops(q: Connection): void {
    for (const s of this.streams.values()) {
      if (s.writeDone || !s.begun) continue;
      try {
        q.streamCapacity(s.id);
      } catch (e) {
        this.stopped(s, errorNumber(e), errorName(e));
        if (this.state !== OPEN) return;
      }
    }
  }

  private stopped(s: Stream, code: number, name: string): void {
    if (s.writeDone) return;
    this.forget(s);
    s.writeDone = true;
    this.handler.onStop(this, s.id, name === 'StreamStopped' ? code : 0);
    this.settled(s);
  }

  private settled(s: Stream): void {
    if (!s.readDone || !s.writeDone) return;
    if (this.streams.delete(s.id)) this.credit += CREDIT_STREAM;
    if (s.body >= 0) this.dropBody(s.body);
  }

  // What the application says

  write(id: number, buf: Uint8Array, start: number, end: number, fin: boolean): boolean {
    if (this.state !== OPEN) return true;
    const s = this.streams.get(id) ?? this.ownStream(id);
    if (s === null || s.writeDone || s.finWaits) return true;
    const n = end - start;
    if (n > 0) {
      const copy = Buffer.allocUnsafe(n);
      copy.set(start === 0 && end === buf.length ? buf : buf.subarray(start, end));
      s.push(copy);
      this.pending += n;
    } else if (!fin) return !s.owed;
    if (fin) s.finWaits = true;
    this.queue.add(s);
    this.turn.want(this);
    if (fin || (s.pending <= WRITE_MARK && this.pending <= CONN_MARK)) return true;
    if (!s.owed) {
      s.owed = true;
      this.owing++;
    }
    return false;
  }

  /** Streams that we open come into being with their first write: 0, 4, ... of a client, and the unidirectional ones. */
  private ownStream(id: number): Stream | null {
    const uni = (id & 2) !== 0;
    if ((id & 1) !== (this.server ? 1 : 0)) return null;
    if ((uni ? id >= this.nextOwnUni : this.server) || this.opened.has(id)) return null;
    this.opened.add(id);
    const s = new Stream(id, !uni, true, false);
    this.streams.set(id, s);
    if (!uni) this.addBody(s);
    return s;
  }

  openUni(): number {
    const id = this.nextOwnUni;
    this.nextOwnUni += 4;
    return id;
  }

  pause(id: number): void {
    const s = this.streams.get(id);
    if (s === undefined || s.paused || s.readDone) return;
    s.paused = true;
    this.pausedCount++;
  }

  resume(id: number): void {
    const s = this.streams.get(id);
    if (s === undefined || !s.paused) return;
    this.unpause(s);
    if (this.state === OPEN) this.turn.touch(this);
  }

  private unpause(s: Stream): void {
    if (!s.paused) return;
    s.paused = false;
    this.pausedCount--;
  }

  reset(id: number, code: number): void {
    const s = this.streams.get(id);
    if (s === undefined || s.writeDone || this.state !== OPEN) return;
    this.forget(s);
    s.writeDone = true;
    this.shutdown(s, SHUTDOWN_WRITE, code);
  }

  stop(id: number, code: number): void {
    const s = this.streams.get(id);
    if (s === undefined || s.readDone || this.state !== OPEN) return;
    this.unpause(s);
    s.readDone = true;
    // What was on its way is thrown away by quiche without being delivered.
    this.credit += this.streamWindow;
    if (s.begun) this.shutdown(s, SHUTDOWN_READ, code);
    else s.stopWaits = code;
  }

  private shutdown(s: Stream, direction: number, code: number): void {
    try {
      this.q?.streamShutdown(s.id, direction, code);
    } catch {
      // A stream that quiche does not know (yet or any more) needs no shutdown.
    }
    this.settled(s);
    this.turn.want(this);
  }

  priority(id: number, urgency: number, incremental: boolean): void {
    const s = this.streams.get(id);
    if (s === undefined || (s.urgency === urgency && s.incremental === incremental)) return;
    s.urgency = urgency;
    s.incremental = incremental;
    this.queue.reorder(s);
    if (!s.begun) return;
    try {
      // quiche's default is 127; what it already holds shall leave in our order, too.
      this.q?.streamPriority(id, 127 + (urgency - 3) * 8, incremental);
    } catch {
      // Collected in the meantime.
    }
  }

  datagram(buf: Uint8Array, start: number, end: number): boolean {
    if (this.state !== OPEN || !this.datagrams || this.q === null) return false;
    try {
      const max = this.q.dgramMaxWritableLen();
      if (max === null || end - start > max || this.q.isDgramSendQueueFull()) return false;
      if (this.q.dgramSend(buf.subarray(start, end)) === null) return false;
    } catch {
      return false;
    }
    this.turn.want(this);
    return true;
  }

  ping(): void {
    if (this.state !== OPEN) return;
    this.q?.sendAckEliciting();
    this.turn.want(this);
  }

  close(app: boolean, code: number, reason: string): void {
    if (this.state > OPEN || this.q === null) return;
    if (this.why === null) this.why = { side: 'local', app, code, reason };
    try {
      this.q.close(app, code, Buffer.from(reason).subarray(0, 256));
    } catch {
      this.suspect = true;
    }
    this.end();
  }

  /** Handshaking or open no more: streams are forgotten at once, the ending is told at the end of the turn. */
  private end(): void {
    this.failedHandshake = this.state === HANDSHAKING;
    this.state = ENDING;
    this.queue.clear();
    this.streams.clear();
    this.bodies = [];
    this.gaps.clear();
    this.pending = 0;
    this.turn.want(this);
  }

  /** An exception of the handler or of ours: this connection ends, nothing else. */
  crash(where: string, e: unknown): void {
    this.turn.report(where, e);
    if (this.state >= ENDING) {
      this.dispose();
      return;
    }
    try {
      this.close(true, H3_INTERNAL_ERROR, '');
    } catch (again) {
      this.turn.report(where, again);
      this.dispose();
    }
  }

  info(): ConnInfo {
    return (this.cachedInfo ??= this.readInfo());
  }

  private readInfo(): ConnInfo {
    const q = this.q;
    const alpn = q === null ? '' : Buffer.from(q.applicationProto()).toString('latin1');
    return {
      sni: this.sni,
      alpn,
      tls: this.tls,
      resumed: q?.isResumed() ?? false,
      peerChain: q?.peerCertChain() ?? null,
      handshakeMs: this.handshakeMs,
    };
  }

  stats(): ConnStats {
    if (this.turn.clock.now() - this.statsAt >= STATS_MS) this.readStats();
    return this.cachedStats;
  }

  private readStats(): void {
    const path = this.q?.pathStats()[0];
    if (path === undefined) return;
    this.statsAt = this.turn.clock.now();
    this.cachedStats = { rttMs: path.rtt, lost: path.lost, sent: path.sent, received: path.recv };
  }

  // What leaves

  flush(): void {
    const q = this.q;
    if (q === null) return;
    this.sinceFlush = 0;
    this.turn.wheel.disarm(this.ackTimer);
    let room = Math.min(FLUSH_PACKETS, this.turn.packets);
    for (;;) {
      if (this.queue.length > 0 && this.state === OPEN) this.offer(q);
      const sent = this.send(q, room);
      room -= sent;
      if (this.owing > 0 && this.state === OPEN) this.payDebts();
      if (sent === 0 || room <= 0 || this.queue.length === 0) break;
    }
    if (room <= 0) this.turn.want(this);
    if (this.q === null) return;
    if (this.suspect || this.state === ENDING) this.checkEnd(q);
    this.armQuiche(q);
  }

  private send(q: Connection, room: number): number {
    let sent = 0;
    if (this.socket.blocked) {
      this.turn.wheel.arm(this.ackTimer, ACK_DELAY_MS);
      return 0;
    }
    while (sent < room && this.sendCredit >= MAX_SEND) {
      const slot = nextSlot();
      let made: [number, unknown] | null;
      try {
        made = q.send(slot);
      } catch {
        this.suspect = true;
        break;
      }
      if (made === null) break;
      const n = made[0];
      this.socket.send(slot, n, this.port, this.host);
      this.sendCredit -= n;
      sent++;
    }
    this.turn.packets -= sent;
    this.credit += sent * CREDIT_PACKET;
    return sent;
  }

  /**
   * Gives quiche what it takes, in the queue's order, but no more than it can send next: what it holds already leaves in its
   * own order, and a congestion window may be large.
   */
  private offer(q: Connection): void {
    const items = this.queue.items;
    this.offerLeft = OFFER;
    for (let i = 0; i < items.length && this.offerLeft > 0;) {
      const s = items[i] as Stream;
      const took = this.offerStream(q, s);
      if (this.state !== OPEN) return;
      if (s.owed && s.pending <= WRITE_LOW && this.pending <= CONN_MARK / 2) {
        // Before anybody behind it has a chance: what is more urgent shall not wait for its own next bytes.
        this.pay(s);
        if (this.state !== OPEN) return;
        if (s.queued >= 0 && !s.stalled) {
          i = Math.min(i, s.queued);
          continue;
        }
      }
      if (s.queued !== i) continue;
      // Not moved: it waits for capacity of its own or of the connection, and the next may have some.
      if (took && s.incremental && !s.stalled) {
        this.queue.rotate(s);
        if (s.queued === i && !s.stalled) continue;
      } else i++;
    }
  }

  /** True when anything was taken. A stream with nothing left leaves the queue. */
  private offerStream(q: Connection, s: Stream): boolean {
    const limit = Math.min(s.incremental ? SHARE : OFFER, this.offerLeft);
    let total = 0;
    try {
      if (s.stalled && s.pending > 0 && q.streamCapacity(s.id) === 0) return false;
      s.stalled = false;
      do {
        const chunk = s.pending > 0 ? s.peek(limit - total) : EMPTY;
        const fin = s.finWaits && chunk.length === s.pending;
        const n = q.streamSend(s.id, chunk, fin);
        if (n === null) {
          // Blocked, or dead: asking for capacity throws for the dead.
          q.streamCapacity(s.id);
          s.stalled = true;
          return total > 0;
        }
        if (!s.begun) this.begin(q, s);
        s.took(n);
        this.pending -= n;
        total += n;
        this.offerLeft -= n;
        if (n < chunk.length) {
          s.stalled = true;
          return total > 0;
        }
        if (fin) {
          this.queue.remove(s);
          s.writeDone = true;
          this.settled(s);
          return true;
        }
      } while (s.pending > 0 && total < limit);
      if (s.pending === 0 && !s.finWaits) this.queue.remove(s);
      return true;
    } catch (e) {
      this.sendFailed(s, e);
      return false;
    }
  }

  private begin(q: Connection, s: Stream): void {
    s.begun = true;
    if (s.stopWaits >= 0) q.streamShutdown(s.id, SHUTDOWN_READ, s.stopWaits);
    if (s.urgency !== 3 || s.incremental) q.streamPriority(s.id, 127 + (s.urgency - 3) * 8, s.incremental);
  }

  private sendFailed(s: Stream, e: unknown): void {
    const name = errorName(e);
    // A stream beyond the peer's limit waits for it to be raised.
    if (name === 'StreamLimit' || (!s.begun && name === 'InvalidStreamState')) {
      s.stalled = false;
      return;
    }
    this.stopped(s, errorNumber(e), name);
  }

  private forget(s: Stream): void {
    if (s.owed) this.owing--;
    this.queue.remove(s);
    this.pending -= s.discard();
  }

  /** `onWritable` for the streams that are below the mark again, the most urgent first. */
  private payDebts(): void {
    if (this.pending > CONN_MARK / 2) return;
    const due: Stream[] = [];
    for (const s of this.streams.values()) if (s.owed && s.pending <= WRITE_LOW) due.push(s);
    if (due.length > 1) due.sort((a, b) => a.urgency - b.urgency || a.id - b.id);
    for (const s of due) {
      if (s.owed && this.state === OPEN) this.pay(s);
    }
  }

  private pay(s: Stream): void {
    s.owed = false;
    this.owing--;
    this.handler.onWritable(this, s.id);
  }

  private armQuiche(q: Connection): void {
    const ms = q.timeout();
    // Truncated to milliseconds: one more, or the timer comes too early and does nothing.
    if (ms !== null) this.turn.wheel.arm(this.quicheTimer, ms + 1);
  }

  onTimer(kind: number): void {
    const q = this.q;
    if (q === null) return;
    try {
      if (kind === TIMER_ACK) this.turn.want(this);
      else if (kind === TIMER_QUICHE) this.onQuicheTimer(q);
      else if (kind === TIMER_POLL) this.onPoll(q);
      else if (this.state === HANDSHAKING) this.onHandshakeTimer();
    } catch (e) {
      this.crash('quic_timer', e);
    }
  }

  private onQuicheTimer(q: Connection): void {
    const ms = q.timeout();
    if (ms !== null && ms > 0) {
      this.turn.wheel.arm(this.quicheTimer, ms + 1);
      return;
    }
    q.onTimeout();
    if (q.isClosed()) this.checkEnd(q);
    else this.turn.want(this);
  }

  private onPoll(q: Connection): void {
    if (this.state !== OPEN) return;
    this.pollStops(q);
    if (this.state === OPEN && this.streams.size > this.idleStreams()) this.turn.wheel.arm(this.pollTimer, POLL_MS);
  }

  /** Control streams live as long as the connection: no reason to wake up for them. */
  private idleStreams(): number {
    let n = 0;
    for (const s of this.streams.values()) if ((s.id & 2) !== 0) n++;
    return n;
  }

  private onHandshakeTimer(): void {
    this.why = { side: 'timeout', app: false, code: 0, reason: 'handshake' };
    this.end();
    this.tell();
    this.dispose();
  }

  // How it ends

  private checkEnd(q: Connection): void {
    this.suspect = false;
    const closed = q.isClosed();
    if (closed || q.isDraining() || q.localError() !== null) {
      if (this.why === null) this.why = reasonOf(q, closed);
      if (this.state < ENDING) this.end();
    }
    if (this.state === ENDING) this.tell();
    if (closed) this.dispose();
  }

  private tell(): void {
    if (this.told) return;
    this.told = true;
    const why = this.why as CloseReason;
    if (this.failedHandshake) {
      this.owner.failed(this, why);
      return;
    }
    try {
      this.handler.onClose(this, why);
    } catch (e) {
      this.turn.report('quic_close', e);
    }
    this.owner.ended(this);
  }

  /** Drops every reference: native memory goes when V8 finds that nobody holds it. */
  dispose(): void {
    if (this.state === GONE) return;
    if (this.state < ENDING) this.end();
    if (this.why === null) this.why = { side: 'local', app: false, code: 0, reason: '' };
    this.tell();
    this.state = GONE;
    this.q = null;
    this.ballast = null;
    this.turn.wheel.release(this.quicheTimer);
    this.turn.wheel.release(this.ackTimer);
    this.turn.wheel.release(this.handshakeTimer);
    this.turn.wheel.release(this.pollTimer);
    this.owner.gone(this);
  }
}

function reasonOf(q: Connection, closed: boolean): CloseReason {
  const peer = q.peerError();
  if (peer !== null) return { side: 'remote', app: peer.isApp, code: peer.errorCode, reason: Buffer.from(peer.reason).toString('latin1') };
  const local = q.localError();
  if (local !== null)
    return { side: 'local', app: local.isApp, code: local.errorCode, reason: Buffer.from(local.reason).toString('latin1') };
  if (closed && q.isTimedOut()) return { side: 'timeout', app: false, code: 0, reason: 'idle' };
  return { side: 'reset', app: false, code: 0, reason: '' };
}
