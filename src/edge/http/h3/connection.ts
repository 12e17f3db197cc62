import { WheelTimer, type TimerOwner } from '../../../lib/wheel.ts';
import type { ServerConnection } from '../message.ts';
import { StreamTable } from '../streamtable.ts';
import type { CloseReason, ConnInfo, ConnStats, QuicConn } from '../../quic/engine.ts';
import { Budget } from './budget.ts';
import { H3, type H3CodeName } from './codes.ts';
import { FRAME, GOAWAY_MAX, SETTING, UNI, writeIdFrame, writeSettings } from './frames.ts';
import type { Head } from './head.ts';
import type { H3Limits } from './options.ts';
import { peerHost, peerPort } from './peer.ts';
import { priority, readPriority } from './priority.ts';
import type { Shared } from './shared.ts';
import { RequestStream } from './stream.ts';
import { asciiLower } from './syntax.ts';
import { UniStreams } from './uni.ts';

/** Heads over a limit that end a connection. */
const MAX_TOO_LARGE = 5;
/** Priorities that came before their streams. */
const MAX_EARLY_PRIORITIES = 64;
/** Further ahead than any engine lets a client open streams. */
const MAX_SKIPPED = 65_536;

const TIMER = { NO_REQUEST: 0, KEEP_ALIVE: 1, DRAIN: 2, STALL: 3 } as const;

const SERVING = 0;
/** The first GOAWAY is out: the client knows, nothing is refused yet. */
const WARNED = 1;
/** The real GOAWAY is out. */
const REFUSING = 2;

/**
 * RFC 9114 s5.2 wants a round trip between the warning and the GOAWAY that counts. Three and a second at least: a warning that is lost is sent again,
 * a client that is busy reads it late, and what it begins before it has read it is to be served.
 */
const WARNING_ROUND_TRIPS = 3;
const MIN_WARNING_MS = 1000;
const MAX_WARNING_MS = 3000;
/** How long the last answer's bytes may take to get through before the connection is looked at again; engines cache their counters for a second. */
const LINGER_MS = 1100;
const MAX_LINGERS = 30;
/**
 * What the second GOAWAY gets when nothing else is on its way: a close overtakes what has not left, and a request that lies unread, also the first one,
 * may be sent again only by whom that GOAWAY has told so.
 */
const LEAVE_MS = 100;
/** How often in its time a stalled answer is looked for, and at least; the time may have become shorter since. */
const STALL_LOOKS = 4;
const STALL_LOOK_MS = 5000;
/** How often a connection without keep-alive looks whether that has changed. */
const KEEP_ALIVE_OFF_MS = 30_000;

/** One client connection. */
export class Connection implements ServerConnection, TimerOwner {
  readonly quic: QuicConn;
  readonly shared: Shared;
  readonly budget = new Budget();
  data: unknown = null;
  remoteAddress: string;
  remotePort: number;
  readonly sni: string | null;
  isClosed = false;
  closeCode = 0;
  private readonly uni: UniStreams;
  private readonly streams = new StreamTable<RequestStream>(2, 32);
  private readonly maxStreams: number;
  /** The highest request id seen; ids below it that have not shown up yet are in `skipped`. */
  private highest = -4;
  private skipped: Set<number> | null = null;
  private early: Map<number, string> | null = null;
  private tooLarge = 0;
  private controlId = -1;
  private phase = SERVING;
  /** With `REFUSING`: requests from this id on are rejected. */
  private refuseFrom = Infinity;
  /** When the last request was done, or the connection began. */
  private idleSince = 0;
  private lingers = 0;
  private lingerSent = -1;
  private readonly noRequest = new WheelTimer(this, TIMER.NO_REQUEST);
  private readonly keepAlive = new WheelTimer(this, TIMER.KEEP_ALIVE);
  private readonly drainTimer = new WheelTimer(this, TIMER.DRAIN);
  private readonly stallTimer = new WheelTimer(this, TIMER.STALL);

  constructor(shared: Shared, quic: QuicConn) {
    this.shared = shared;
    this.quic = quic;
    this.remoteAddress = peerHost(quic.remote);
    this.remotePort = peerPort(quic.remote);
    const { sni } = quic.info();
    this.sni = sni === null ? null : asciiLower(sni);
    this.maxStreams = shared.limits().maxStreams;
    this.uni = new UniStreams(this);
  }

  /** Our control stream and settings (RFC 9114 s6.2.1); no QPACK streams, since neither would carry anything (RFC 9204 s4.2). */
  start(): void {
    const limits = this.limits();
    this.controlId = this.quic.openUni();
    const buf = new Uint8Array(64);
    buf[0] = UNI.CONTROL;
    const end = writeSettings(buf, 1, [
      [SETTING.QPACK_MAX_TABLE_CAPACITY, 0],
      [SETTING.MAX_FIELD_SECTION_SIZE, limits.headerBytes],
      [SETTING.QPACK_BLOCKED_STREAMS, 0],
    ]);
    this.quic.write(this.controlId, buf, 0, end, false);
    const { wheel } = this.shared;
    this.idleSince = this.shared.now();
    wheel.arm(this.noRequest, limits.noRequestTimeoutMs);
    wheel.arm(this.keepAlive, limits.keepAliveMs || KEEP_ALIVE_OFF_MS);
    if (this.quic.stuck !== undefined) wheel.arm(this.stallTimer, stallLook(limits));
    this.shared.app.onConnection(this);
  }

  info(): ConnInfo {
    return this.quic.info();
  }

  stats(): ConnStats {
    return this.quic.stats();
  }

  limits(): H3Limits {
    return this.shared.limits();
  }

  // --- what the engine says

  onData(id: number, buf: Uint8Array, start: number, end: number, fin: boolean): void {
    if (this.isClosed) return;
    if ((id & 3) === 0) {
      const stream = this.streams.get(id) ?? this.open(id);
      if (stream !== null) stream.onData(buf, start, end, fin);
    } else if ((id & 3) === 2) this.uni.onData(id, buf, start, end, fin);
    // RFC 9114 s6.1: streams that only we could open.
    else this.fail('H3_STREAM_CREATION_ERROR', 'H14');
  }

  onReset(id: number, code: number): void {
    if (this.isClosed) return;
    if ((id & 3) === 2) return this.uni.onReset(id);
    if ((id & 3) !== 0) return this.fail('H3_STREAM_CREATION_ERROR', 'H14');
    const stream = this.streams.get(id) ?? this.open(id);
    stream?.onReset(code);
  }

  onStop(id: number, code: number): void {
    if (this.isClosed) return;
    // RFC 9114 s6.2.1: nobody may ask us to close it.
    if (id === this.controlId) return this.fail('H3_CLOSED_CRITICAL_STREAM', 'H6');
    if ((id & 3) !== 0) return;
    const stream = this.streams.get(id) ?? this.open(id);
    stream?.onStop(code);
  }

  onWritable(id: number): void {
    if (!this.isClosed) this.streams.get(id)?.onWritable();
  }

  onPath(): void {
    const { remoteAddress, remotePort } = this;
    this.remoteAddress = peerHost(this.quic.remote);
    this.remotePort = peerPort(this.quic.remote);
    this.shared.app.onMove(this, remoteAddress, remotePort);
  }

  onEngineClose(why: CloseReason): void {
    this.shut(why.code);
    this.shared.connections.delete(this);
    this.shared.app.onClose(this, why);
  }

  // --- request streams

  /** A stream of which nothing was heard before; null when its time is over, or it is not to be. */
  private open(id: number): RequestStream | null {
    if (!this.isNew(id)) return null;
    const { shared } = this;
    const limits = this.limits();
    this.budget.request();
    if (id >= this.refuseFrom) return this.refuse(id);
    if (this.streams.size >= this.maxStreams) {
      shared.app.onLimit(this, 'maxStreams');
      return this.refuse(id);
    }
    const stream = new RequestStream(this, id, shared.now());
    this.streams.add(stream);
    if (this.budget.requests >= limits.requestsPerConnection && this.phase === SERVING) {
      shared.app.onLimit(this, 'requestsPerConnection');
      this.drain();
    }
    return stream;
  }

  /** RFC 9000 s2.1: opening a stream opens those below it; an id that is neither new nor skipped is a late event. */
  private isNew(id: number): boolean {
    if (id < this.highest) return this.skipped?.delete(id) === true;
    if (id === this.highest) return false;
    if (id > this.highest + 4) {
      if ((id - this.highest) / 4 > MAX_SKIPPED) {
        this.fail('H3_ID_ERROR', 'H19');
        return false;
      }
      this.skipped ??= new Set();
      for (let between = this.highest + 4; between < id; between += 4) this.skipped.add(between);
    }
    this.highest = id;
    return true;
  }

  /** Untouched, so that the client may send it elsewhere (RFC 9114 s4.1.1, s5.2). */
  private refuse(id: number): null {
    this.early?.delete(id);
    this.quic.stop(id, H3.H3_REQUEST_REJECTED);
    this.quic.reset(id, H3.H3_REQUEST_REJECTED);
    return null;
  }

  remove(stream: RequestStream): void {
    this.early?.delete(stream.id);
    if (!this.streams.delete(stream) || this.streams.size > 0 || this.isClosed) return;
    this.idleSince = this.shared.now();
    this.closeWhenDone();
  }

  // --- budgets

  /** A head over a limit; true when it was one too many. */
  countTooLarge(): boolean {
    if (++this.tooLarge < MAX_TOO_LARGE) return false;
    this.fail('H3_EXCESSIVE_LOAD', 'P1');
    return true;
  }

  countReset(stream: RequestStream, rule: string): void {
    if (!this.isClosed && !this.budget.reset(this.shared.now(), stream.head.startedAt)) this.fail('H3_EXCESSIVE_LOAD', rule);
  }

  dropped(reason: string, fields: number): void {
    for (; fields > 0; fields--) this.shared.app.onFieldDropped(this, reason);
  }

  // --- priorities

  onPriorityUpdate(id: number, value: string): void {
    const stream = this.streams.get(id);
    if (stream === null) {
      if (id > this.highest || this.skipped?.has(id) === true) this.keepEarly(id, value);
    } else if (!stream.hasHead) this.keepEarly(id, value);
    else {
      readPriority(value);
      stream.head.urgency = priority.urgency;
      stream.head.incremental = priority.incremental;
      this.quic.priority(id, priority.urgency, priority.incremental);
    }
  }

  private keepEarly(id: number, value: string): void {
    this.early ??= new Map();
    if (this.early.size < MAX_EARLY_PRIORITIES || this.early.has(id)) this.early.set(id, value);
  }

  /** RFC 9218 s7: what PRIORITY_UPDATE said stands above the header. */
  takeEarlyPriority(head: Head, id: number): void {
    const value = this.early?.get(id);
    if (value === undefined) return;
    this.early?.delete(id);
    readPriority(value);
    head.urgency = priority.urgency;
    head.incremental = priority.incremental;
  }

  // --- endings

  drain(): void {
    if (this.phase !== SERVING || this.isClosed) return;
    this.phase = WARNED;
    const { wheel } = this.shared;
    wheel.disarm(this.noRequest);
    this.quic.write(this.controlId, GOAWAY_MAX as Uint8Array, 0, GOAWAY_MAX.length, false);
    wheel.arm(this.drainTimer, Math.min(Math.max(WARNING_ROUND_TRIPS * this.quic.stats().rttMs, MIN_WARNING_MS), MAX_WARNING_MS));
  }

  private onWarned(): void {
    this.phase = REFUSING;
    this.refuseFrom = this.highest + 4;
    const buf = new Uint8Array(16);
    this.quic.write(this.controlId, buf, 0, writeIdFrame(buf, 0, FRAME.GOAWAY, this.refuseFrom), false);
    this.closeWhenDone(LEAVE_MS);
  }

  /** The last answer may still be on its way: closing would cut it off, so its bytes get time as long as they move. */
  private closeWhenDone(leastMs = 0): void {
    if (this.phase !== REFUSING || this.streams.size > 0 || this.isClosed) return;
    const lingers = this.budget.requests > 0 && this.shared.now() - this.idleSince < LINGER_MS;
    if (!lingers && leastMs === 0) return this.close(H3.H3_NO_ERROR, '');
    this.lingers = lingers ? 0 : MAX_LINGERS;
    this.lingerSent = this.quic.stats().sent;
    this.shared.wheel.arm(this.drainTimer, lingers ? LINGER_MS : leastMs);
  }

  private onLinger(): void {
    if (this.streams.size > 0) return;
    const { sent } = this.quic.stats();
    if (this.hasUnread()) this.lingers = 0;
    else if (sent === this.lingerSent || ++this.lingers >= MAX_LINGERS) return this.close(H3.H3_NO_ERROR, '');
    this.lingerSent = sent;
    this.shared.wheel.arm(this.drainTimer, LINGER_MS);
  }

  /** An answer was given to the engine whole, and the client has no room for the rest of it. Who does not read for too long is `onStallLook`'s. */
  private hasUnread(): boolean {
    return this.quic.stuck?.(0).some((id) => (id & 3) === 0) === true;
  }

  close(code: number, reason: string): void {
    if (this.isClosed) return;
    this.shared.outbox.flush();
    this.quic.close(true, code, reason);
    this.shut(code, 'drained');
  }

  /** A connection error of the client. */
  fail(code: H3CodeName, rule: string): void {
    if (this.isClosed) return;
    this.quic.close(true, H3[code], '');
    this.shut(H3[code]);
    this.shared.app.onProtocolError(this, 'connection', code, rule);
  }

  /** An exception of ours ends the connection in which it happened, and nothing else. */
  crash(where: string, error: unknown): void {
    this.shared.onInternalError(where, error);
    if (this.isClosed) return;
    this.quic.close(true, H3.H3_INTERNAL_ERROR, '');
    this.shut(H3.H3_INTERNAL_ERROR);
  }

  private shut(code: number, abort: 'closed' | 'drained' = 'closed'): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.closeCode = code;
    const { wheel } = this.shared;
    wheel.release(this.noRequest);
    wheel.release(this.keepAlive);
    wheel.release(this.drainTimer);
    wheel.release(this.stallTimer);
    for (const stream of this.streams.takeAll()) {
      try {
        stream.onConnectionEnd(code, abort);
      } catch (e) {
        this.shared.onInternalError('request_abort', e);
      }
    }
  }

  onTimer(kind: number): void {
    this.shared.beginTurn();
    try {
      this.onDue(kind);
    } catch (e) {
      this.crash('connection_timer', e);
    }
  }

  private onDue(kind: number): void {
    if (this.isClosed) return;
    if (kind === TIMER.NO_REQUEST) this.onNoRequest();
    else if (kind === TIMER.KEEP_ALIVE) this.onKeepAlive();
    else if (kind === TIMER.STALL) this.onStallLook();
    else if (this.phase === WARNED) this.onWarned();
    else this.onLinger();
  }

  /** Armed once and moved on when it is due, rather than with each request. */
  private onNoRequest(): void {
    if (this.phase !== SERVING) return;
    const { wheel, app } = this.shared;
    const timeout = this.limits().noRequestTimeoutMs;
    const left = this.streams.size > 0 ? timeout : this.idleSince + timeout - this.shared.now();
    if (left > 0) return wheel.arm(this.noRequest, left);
    app.onLimit(this, 'noRequestTimeout');
    this.drain();
  }

  /** Also answers that were given to the engine whole: their bytes wait there as long as the client lets them. */
  private onStallLook(): void {
    const limits = this.limits();
    const { responseStallMs } = limits;
    for (const id of this.quic.stuck?.(responseStallMs) ?? []) {
      if (this.isClosed) return;
      const stream = this.streams.get(id);
      if (stream !== null && !stream.isSendDone) stream.onStall();
      else if ((id & 3) === 0) {
        this.shared.app.onLimit(this, 'responseStall');
        this.quic.reset(id, H3.H3_REQUEST_CANCELLED);
      }
    }
    if (!this.isClosed) this.shared.wheel.arm(this.stallTimer, stallLook(limits));
  }

  private onKeepAlive(): void {
    const { keepAliveMs } = this.limits();
    if (keepAliveMs > 0 && (this.streams.size > 0 || this.hasUnread())) this.quic.ping();
    this.shared.wheel.arm(this.keepAlive, keepAliveMs || KEEP_ALIVE_OFF_MS);
  }
}

function stallLook({ responseStallMs }: H3Limits): number {
  return Math.min(responseStallMs / STALL_LOOKS, STALL_LOOK_MS);
}
