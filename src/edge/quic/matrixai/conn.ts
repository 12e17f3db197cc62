import type { Address, CloseReason, ConnInfo, ConnStats, QuicConn, QuicHandler, TlsId } from '../engine.ts';
import { hostOf } from '../address.ts';
import { H3_EXCESSIVE_LOAD, H3_INTERNAL_ERROR } from '../codes.ts';
import { Stream } from '../stream.ts';
import { specimens } from '../../../lib/specimens.ts';
import { WheelTimer } from '../../../lib/wheel.ts';
import { errorName, MAX_SEND, SHUTDOWN_READ, SHUTDOWN_WRITE, type Connection, type RecvInfo } from './binding.ts';
import { ByteBudget } from './budget.ts';
import { Inbound } from './inbound.ts';
import { Outbound } from './outbound.ts';
import { Rebinding } from './rebinding.ts';
import { nextSlot, type UdpSocket } from './socket.ts';
import { ENDING, GONE, HANDSHAKING, OPEN } from './state.ts';
import type { Turn } from './turn.ts';

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

/** Well below the 25 ms that peers assume. */
const ACK_DELAY_MS = 5;
/** Datagrams that arrive before an acknowledgement goes out alone. */
const ACK_EVERY = 8;
const POLL_MS = 100;
/** With more streams open it is not asked for each, whenever anything has come, whether the peer has lost interest: the timer does. */
const ASK_AT_ONCE = 16;
const STATS_MS = 1000;
/** Codes from here on name a TLS alert (RFC 9001 s4.8). */
const TLS_ALERT = 0x100;
/**
 * Packets per connection and flush: the others want their turn. Also what bounds a peer that acknowledges what it never got, since
 * quiche 0.18 lets its congestion window grow without end (an honest one's does, too: its size says nothing).
 */
const FLUSH_PACKETS = 64;
/** More than any honest handshake takes: quiche 0.18 would keep CRYPTO bytes without end. */
const HANDSHAKE_DATAGRAMS = 64;
/** Less is not worth a packet: its header and its seal are 40 bytes. */
const MIN_SEND = 64;
const REASON_BYTES = 256;
const BALLAST = 36 * 1024;

const NO_STATS: ConnStats = { rttMs: 0, lost: 0, sent: 0, received: 0 };

/** One connection: its life, its timers, and the application's commands. Bytes in and out are `inbound` and `outbound`. */
export class Conn implements QuicConn {
  readonly key: number;
  readonly early = false;
  /**
   * quiche 0.18 forgets a stream when its bytes are acknowledged and its end is known, although the packet with the end has not left
   * yet or was lost.
   */
  readonly losesBareEnds = true;
  readonly remote: Address;
  readonly local: Address;
  readonly server: boolean;
  readonly tls: TlsId;
  readonly needsCertificate: boolean;
  readonly sni: string | null;
  readonly socket: UdpSocket;
  readonly bornAt: number;
  readonly streams = new Map<number, Stream>();
  readonly budget: ByteBudget;
  data: unknown = null;
  q: Connection | null;
  state = HANDSHAKING;
  /** In the turn's lists. */
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
  /** Freed with the connection: lets V8 see a part of the native memory that it pins. */
  ballast: Buffer | null = Buffer.allocUnsafeSlow(BALLAST);
  private readonly turn: Turn;
  private readonly owner: ConnOwner;
  private readonly handler: QuicHandler;
  private readonly recvInfo: RecvInfo;
  private readonly inbound: Inbound;
  private readonly outbound: Outbound;
  private readonly rebinding = new Rebinding();
  private readonly datagrams: boolean;
  private readonly quicheTimer = new WheelTimer(this, TIMER_QUICHE);
  private readonly ackTimer = new WheelTimer(this, TIMER_ACK);
  private readonly handshakeTimer = new WheelTimer(this, TIMER_HANDSHAKE);
  private readonly pollTimer = new WheelTimer(this, TIMER_POLL);
  /** Streams of ours that have begun: three on a server, as many as it asks on a client. */
  private readonly opened = new Set<number>();
  private nextOwnUni: number;
  /** Streams that are paused or still behind: the budget is not owed what quiche holds of them. */
  private behindCount = 0;
  private sinceFlush = 0;
  private datagramsIn = 0;
  /** quiche has thrown: see whether it has closed. */
  private suspect = false;
  /** What quiche called the first error that it found. */
  private found = '';
  private failedHandshake = false;
  private told = false;
  private why: CloseReason | null = null;
  private cachedStats: ConnStats = NO_STATS;
  private statsAt = -Infinity;
  private cachedInfo: ConnInfo | null = null;

  constructor(o: ConnOptions, turn: Turn, owner: ConnOwner) {
    this.key = o.key;
    this.server = o.server;
    this.q = o.q;
    this.socket = o.socket;
    this.host = o.host;
    this.port = o.port;
    this.remote = o.remote;
    this.local = o.socket.local;
    this.tls = o.tls;
    this.needsCertificate = o.needsCertificate;
    this.sni = o.sni;
    this.datagrams = o.datagrams;
    this.turn = turn;
    this.owner = owner;
    this.handler = turn.handler;
    this.bornAt = turn.clock.now();
    this.budget = new ByteBudget(this.bornAt, o.streamWindow, o.connWindow);
    this.inbound = new Inbound(this, turn.handler, turn.readBuffer, o.datagrams);
    this.outbound = new Outbound(this, turn.handler, turn.clock);
    // Always the same: quiche 0.18 must never see a second path (it can be sent into an endless loop then).
    this.recvInfo = Object.freeze({
      from: Object.freeze({ host: hostOf(o.remote), port: o.port }),
      to: Object.freeze({ host: hostOf(o.socket.local), port: o.socket.port }),
    });
    this.nextOwnUni = o.server ? 3 : 2;
    turn.wheel.arm(this.handshakeTimer, o.handshakeMs);
  }

  // What arrives

  recv(msg: Buffer): void {
    const q = this.q;
    if (q === null) return;
    this.datagramsIn++;
    if (this.state === HANDSHAKING && this.datagramsIn > HANDSHAKE_DATAGRAMS) return;
    this.sinceFlush++;
    if (this.rebinding.credit !== Infinity) this.rebinding.received(this.turn.clock.now(), this.stats().rttMs, msg.length);
    try {
      q.recv(msg, this.recvInfo);
    } catch (e) {
      // Anything else means that quiche has closed: the flush says so to the peer.
      const name = errorName(e);
      if (name !== 'BufferTooShort') {
        this.suspect = true;
        if (this.found === '') this.found = name;
      }
    }
    if (this.budget.take(msg.length) && this.budget.exceeded(this.turn.clock.now(), this.behindCount)) {
      this.close(true, H3_EXCESSIVE_LOAD, 'budget');
    }
    this.turn.touch(this);
  }

  /**
   * A packet from another port of the same host, as a NAT that forgot us makes it. Only when quiche could authenticate it
   * (its counter moves, which a forged or repeated packet does not do) the answers follow.
   */
  recvRebound(msg: Buffer, port: number): boolean {
    const q = this.q;
    const now = this.turn.clock.now();
    if (q === null || this.state !== OPEN || !this.rebinding.mayTry(now)) return false;
    const before = q.stats().recv;
    const length = msg.length;
    this.recv(msg);
    if (q.stats().recv === before) return false;
    this.port = port;
    this.rebinding.moved(now, length);
    this.turn.want(this);
    return true;
  }

  /** The news of this turn, to the handler. */
  settle(): void {
    const q = this.q;
    if (q === null) return;
    if (this.state === HANDSHAKING) this.settleHandshake(q);
    if (this.state === OPEN) {
      if (this.streams.size <= ASK_AT_ONCE) this.outbound.pollStops(q);
      if (this.state === OPEN) this.inbound.readAll(q);
      if (this.state === OPEN && !this.pollTimer.armed) this.turn.wheel.arm(this.pollTimer, POLL_MS);
    }
    if (this.suspect || q.isDraining()) this.checkEnd(q);
    if (this.state !== OPEN || this.outbound.waiting || this.sinceFlush >= ACK_EVERY) this.turn.want(this);
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

  /** Windows have moved: something to say even when nothing has arrived. */
  consumed(): void {
    if (this.sinceFlush === 0) this.sinceFlush = 1;
  }

  /** There is more to read than one turn may take. */
  again(): void {
    this.turn.touch(this);
  }

  /** A stream whose directions have both ended is forgotten. */
  settleStream(s: Stream): void {
    if (!s.readDone || !s.writeDone || !this.streams.delete(s.id)) return;
    this.budget.finished();
    specimens.quicStream = s;
  }

  // What the application says

  write(id: number, buf: Uint8Array, start: number, end: number, fin: boolean): boolean {
    if (this.state !== OPEN) return true;
    const s = this.streams.get(id) ?? this.ownStream(id);
    if (s === null || s.writeDone || s.finWaits) return true;
    this.turn.want(this);
    return this.outbound.write(s, buf, start, end, fin);
  }

  /** Streams that we open come into being with their first write: 0, 4, ... of a client, and the unidirectional ones. */
  private ownStream(id: number): Stream | null {
    const uni = (id & 2) !== 0;
    if ((id & 1) !== (this.server ? 1 : 0)) return null;
    if ((uni ? id >= this.nextOwnUni : this.server) || this.opened.has(id)) return null;
    this.opened.add(id);
    const s = new Stream(id, !uni, true, false);
    this.streams.set(id, s);
    if (!uni) this.inbound.follow(s);
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
    if (s.behind) return;
    s.behind = true;
    this.behindCount++;
  }

  resume(id: number): void {
    const s = this.streams.get(id);
    if (s === undefined || !s.paused) return;
    s.paused = false;
    if (this.state !== OPEN) return;
    if (this.q?.streamReadable(id) !== true) this.caughtUp(s);
    this.turn.touch(this);
  }

  /** All that has come of it is read, or will not be. */
  caughtUp(s: Stream): void {
    s.paused = false;
    if (!s.behind) return;
    s.behind = false;
    this.behindCount--;
  }

  reset(id: number, code: number): void {
    const s = this.streams.get(id);
    if (s === undefined || s.writeDone || this.state !== OPEN) return;
    this.outbound.forget(s);
    s.writeDone = true;
    this.shutdown(s, SHUTDOWN_WRITE, code);
    this.settleStream(s);
  }

  stop(id: number, code: number): void {
    const s = this.streams.get(id);
    if (s === undefined || s.readDone || this.state !== OPEN) return;
    this.caughtUp(s);
    s.readDone = true;
    this.budget.stopped();
    if (s.begun) this.shutdown(s, SHUTDOWN_READ, code);
    else s.stopWaits = code;
    this.inbound.ended(s);
  }

  private shutdown(s: Stream, direction: number, code: number): void {
    try {
      this.q?.streamShutdown(s.id, direction, code);
    } catch {
      // A stream that quiche does not know (yet or any more) needs no shutdown.
    }
    this.turn.want(this);
  }

  priority(id: number, urgency: number, incremental: boolean): void {
    const s = this.streams.get(id);
    if (s === undefined || (s.urgency === urgency && s.incremental === incremental)) return;
    s.urgency = urgency;
    s.incremental = incremental;
    this.outbound.priority(s, this.q);
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

  stuck(ms: number): readonly number[] {
    return this.outbound.stuck(this.turn.clock.now() - ms);
  }

  close(app: boolean, code: number, reason: string): void {
    if (this.state > OPEN || this.q === null) return;
    if (this.why === null) this.why = { side: 'local', app, code, reason };
    try {
      this.q.close(app, code, Buffer.from(reason).subarray(0, REASON_BYTES));
    } catch {
      this.suspect = true;
    }
    this.end();
  }

  info(): ConnInfo {
    return (this.cachedInfo ??= this.readInfo());
  }

  private readInfo(): ConnInfo {
    const q = this.q;
    return {
      sni: this.sni,
      alpn: q === null ? '' : Buffer.from(q.applicationProto()).toString('latin1'),
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
      if (this.state === OPEN && this.outbound.waiting) this.outbound.offer(q);
      const sent = this.send(q, room);
      room -= sent;
      if (this.state === OPEN) this.outbound.payDebts();
      if (sent === 0 || room <= 0 || !this.outbound.waiting) break;
    }
    if (room <= 0) this.turn.want(this);
    if (this.suspect || this.state === ENDING) this.checkEnd(q);
    if (this.q !== null) this.armQuiche(q);
  }

  private send(q: Connection, room: number): number {
    if (this.socket.blocked) {
      this.turn.wheel.arm(this.ackTimer, ACK_DELAY_MS);
      return 0;
    }
    let sent = 0;
    while (sent < room && this.rebinding.credit >= MIN_SEND) {
      const slot = nextSlot();
      // A client that only acknowledges gives little credit: a small packet makes it answer, a large one would wait for ever.
      const { credit } = this.rebinding;
      let made: [number, unknown] | null;
      try {
        made = q.send(credit < MAX_SEND ? slot.subarray(0, credit) : slot);
      } catch {
        this.suspect = true;
        break;
      }
      if (made === null) break;
      const n = made[0];
      this.socket.send(slot, n, this.port, this.host);
      this.rebinding.credit -= n;
      sent++;
    }
    this.turn.packets -= sent;
    this.budget.sent(sent);
    return sent;
  }

  // Timers

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

  /** While requests are open; control streams alone are no reason to wake up. */
  private onPoll(q: Connection): void {
    if (this.state !== OPEN) return;
    this.outbound.pollStops(q);
    this.inbound.pollEnds(q);
    if (this.state !== OPEN) return;
    const resets = this.inbound.forgetResets(q);
    if (resets) this.turn.want(this);
    if (resets || this.hasRequests()) this.turn.wheel.arm(this.pollTimer, POLL_MS);
  }

  private hasRequests(): boolean {
    for (const s of this.streams.values()) if ((s.id & 2) === 0) return true;
    return false;
  }

  private onHandshakeTimer(): void {
    this.why = { side: 'timeout', app: false, code: 0, reason: 'handshake' };
    this.dispose();
  }

  // How it ends

  /** Handshaking or open no more: streams are forgotten at once, the ending is told at the end of the turn. */
  private end(): void {
    this.failedHandshake = this.state === HANDSHAKING;
    this.state = ENDING;
    this.inbound.clear();
    this.outbound.clear();
    this.streams.clear();
    this.turn.want(this);
  }

  /** An exception of the handler or of ours: this connection ends, nothing else. */
  crash(where: string, e: unknown): void {
    this.turn.report(where, e);
    if (this.state >= ENDING) this.dispose();
    else this.close(true, H3_INTERNAL_ERROR, '');
  }

  private checkEnd(q: Connection): void {
    this.suspect = false;
    const closed = q.isClosed();
    if (closed || q.isDraining() || q.localError() !== null) {
      if (this.why === null) this.why = reasonOf(q, closed, this.found);
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

function reasonOf(q: Connection, closed: boolean, found: string): CloseReason {
  const peer = q.peerError();
  if (peer !== null) return { side: 'remote', app: peer.isApp, code: peer.errorCode, reason: Buffer.from(peer.reason).toString('latin1') };
  const local = q.localError();
  if (local !== null) {
    const { isApp, errorCode } = local;
    const said = Buffer.from(local.reason).toString('latin1');
    return { side: 'local', app: isApp, code: errorCode, reason: said === '' && !isApp && errorCode < TLS_ALERT ? found : said };
  }
  if (closed && q.isTimedOut()) return { side: 'timeout', app: false, code: 0, reason: 'idle' };
  return { side: 'reset', app: false, code: 0, reason: '' };
}
