import type { TimerOwner, TimerWheel } from '../../lib/wheel.ts';
import { WheelTimer } from '../../lib/wheel.ts';
import type { BackendFailure, ClientRequest, ResponseHandler } from '../http/message.ts';
import { Allowance } from './allowance.ts';
import type { BackendSession, Connect, SessionEvents, Target } from './session.ts';

/** How many requests wait for a stream, over all pools of a worker. */
export interface PendingCount {
  value: number;
}

export interface PoolLimits {
  /** Connections per endpoint and worker at most. */
  readonly connections: number;
  /** Streams on the least busy connection from which on another one is opened beside it, up to `spread` connections. */
  readonly busy: number;
  readonly spread: number;
  /** An unused connection beyond the first is closed after such a period; the first one too, after four of them. */
  readonly idleMs: number;
}

export const POOL_LIMITS: PoolLimits = { connections: 16, busy: 100, spread: 2, idleMs: 30_000 };

const FRUITLESS_MAX = 3;
/** Requests of one turn that share a write and a packet, however busy their connection is by then. */
const TOGETHER = 128;

/** A request that waits for a stream. One intrusive list per pool, so that cancelling costs nothing. */
export class Waiting {
  readonly request: ClientRequest;
  readonly end: boolean;
  readonly handler: ResponseHandler;
  readonly again: boolean;
  pool: Pool | null;
  prev: Waiting | null = null;
  next: Waiting | null = null;

  constructor(pool: Pool, request: ClientRequest, end: boolean, handler: ResponseHandler, again: boolean) {
    this.pool = pool;
    this.request = request;
    this.end = end;
    this.handler = handler;
    this.again = again;
  }

  /** Nothing is called afterwards. */
  cancel(): void {
    this.pool?.forget(this);
  }
}

/** The connections of one endpoint: few, filled up, grown under load, let go when idle. */
export class Pool implements SessionEvents, TimerOwner {
  private readonly target: Target;
  private readonly connect: Connect;
  private readonly limits: PoolLimits;
  private readonly pending: PendingCount;
  private readonly wheel: TimerWheel;
  private readonly idleTimer: WheelTimer;
  private readonly sessions: BackendSession[] = [];
  private readonly dials = new Set<() => void>();
  private readonly allowance = new Allowance();
  /** How many streams each connection had opened by the end of the last idle period; most pools have none. */
  private seen: ReadonlyMap<BackendSession, number> | null = null;
  private head: Waiting | null = null;
  private tail: Waiting | null = null;
  private quietRounds = 0;
  private retired = false;
  private fruitless = 0;
  private lastTimeoutMs = 1000;
  /** The connection that was chosen last, and how many streams it may have to be chosen again without a look at the others. */
  private favourite: BackendSession | null = null;
  private favourBelow = 0;

  constructor(target: Target, connect: Connect, limits: PoolLimits, pending: PendingCount, wheel: TimerWheel) {
    this.target = target;
    this.connect = connect;
    this.limits = limits;
    this.pending = pending;
    this.wheel = wheel;
    this.idleTimer = new WheelTimer(this);
  }

  get connections(): number {
    return this.sessions.length;
  }

  get connecting(): number {
    return this.dials.size;
  }

  /**
   * null: the request is on its way, `onRequestSent` was called. Otherwise it waits for a connection or a stream.
   * `again`: it was refused once and will not be tried a third time, so it goes first.
   */
  open(request: ClientRequest, end: boolean, handler: ResponseHandler, connectTimeoutMs: number, again = false): Waiting | null {
    if (this.head === null || again) {
      const session = this.choose(again);
      if (session !== null) {
        if (session.active >= this.limits.busy && this.sessions.length + this.dials.size < this.limits.spread) this.dial(connectTimeoutMs);
        if (session.open(request, end, handler)) return null;
      }
    }
    const waiting = new Waiting(this, request, end, handler, again);
    if (again) this.putFirst(waiting);
    else this.append(waiting);
    this.grow(connectTimeoutMs);
    return waiting;
  }

  forget(w: Waiting): void {
    if (w.pool === null) return;
    w.pool = null;
    if (w.prev !== null) w.prev.next = w.next;
    else this.head = w.next;
    if (w.next !== null) w.next.prev = w.prev;
    else this.tail = w.prev;
    w.prev = null;
    w.next = null;
    this.pending.value--;
  }

  /** Takes no new requests; what runs may finish. */
  retire(): void {
    this.retired = true;
    if (this.head === null) for (const cancel of this.dials) cancel();
    if (this.head === null) this.dials.clear();
    for (const s of this.sessions.slice()) s.shutdown();
    this.wheel.release(this.idleTimer);
  }

  close(): void {
    this.retired = true;
    this.wheel.release(this.idleTimer);
    for (const cancel of this.dials) cancel();
    this.dials.clear();
    this.failWaiting({ reason: 'draining', unseen: false, detail: 'the worker is closing' });
    for (const s of this.sessions.slice()) s.destroy();
  }

  onReady(session: BackendSession): void {
    this.sessions.push(session);
    this.quietRounds = 0;
    this.wheel.arm(this.idleTimer, this.limits.idleMs);
    this.serve(session);
    this.keepUp(session);
    if (this.retired) session.shutdown();
  }

  /** With other connections or attempts left, the waiting requests have something to wait for; else they fail together, and nobody has seen them. */
  onFailed(failure: BackendFailure): void {
    if (this.dials.size > 0) return;
    if (this.sessions.length === 0) this.failWaiting({ ...failure, unseen: true });
    else this.serveAnyhow();
  }

  onCapacity(session: BackendSession): void {
    this.allowance.ended(session);
    this.serve(session);
    this.keepUp(session);
  }

  onClosed(session: BackendSession): void {
    this.allowance.closed(session);
    if (session === this.favourite) this.favourite = null;
    const at = this.sessions.indexOf(session);
    if (at >= 0) this.sessions.splice(at, 1);
    if (this.head === null) return;
    if (this.sessions.length > 0) {
      // Its place is free, and the streams of the others may last for hours.
      if (session.opened > 0) this.grow(this.lastTimeoutMs);
      return;
    }
    // A backend that accepts and closes must not keep us dialling: after a few connections that served nobody, the waiting fail.
    if (++this.fruitless >= FRUITLESS_MAX) {
      this.failWaiting({ reason: 'backend_closed', unseen: true, detail: 'the endpoint closes its connections before they can be used' });
    } else if (this.dials.size === 0) {
      this.dial(this.lastTimeoutMs);
    }
  }

  /** Every idle period: connections that did nothing go, the last one after four quiet periods. */
  onTimer(): void {
    const idle = this.sessions.filter((s) => s.active === 0 && s.opened === this.seen?.get(s));
    this.seen = new Map(this.sessions.map((s) => [s, s.opened]));
    if (idle.length === this.sessions.length) {
      this.quietRounds++;
      const keep = this.quietRounds >= 4 ? 0 : 1;
      for (const s of idle.slice(keep)) s.shutdown();
    } else {
      this.quietRounds = 0;
      // The last one found idle is kept back as room for the next burst.
      for (const s of idle.slice(1)) s.shutdown();
    }
    if (this.sessions.length > 0 && !this.retired) this.wheel.arm(this.idleTimer, this.limits.idleMs);
    else this.seen = null;
  }

  /** The least busy one; but what a turn brings goes to one connection, as far as that does not leave the others behind. */
  private choose(again: boolean): BackendSession | null {
    const { favourite } = this;
    if (favourite !== null && favourite.writing && favourite.active < this.favourBelow && this.allowance.room(favourite, again) > 0) {
      return favourite;
    }
    let best: BackendSession | null = null;
    let writing: BackendSession | null = null;
    for (const s of this.sessions) {
      if (this.allowance.room(s, again) <= 0) continue;
      if (best === null || s.active < best.active) best = s;
      if (s.writing && (writing === null || s.active < writing.active)) writing = s;
    }
    if (best === null) return null;
    this.favourBelow = best.active + TOGETHER;
    this.favourite = writing !== null && writing.active < this.favourBelow ? writing : best;
    return this.favourite;
  }

  /** The favourite must not stay far ahead of one that has less to do than when it was chosen. */
  private keepUp(session: BackendSession): void {
    if (session.active + TOGETHER < this.favourBelow) this.favourBelow = session.active + TOGETHER;
  }

  private serve(session: BackendSession): void {
    while (this.head !== null && this.allowance.room(session, this.head.again) > 0) {
      const w = this.head;
      this.forget(w);
      this.fruitless = 0;
      if (!session.open(w.request, w.end, w.handler)) {
        w.pool = this;
        this.putFirst(w);
        return;
      }
    }
    this.grow(this.lastTimeoutMs);
  }

  /** One attempt at a time while it is not known whether the endpoint answers; more once it does. */
  private grow(timeoutMs: number): void {
    if (this.head === null || this.dials.size > 0) return;
    if (this.sessions.length < this.limits.connections) this.dial(timeoutMs);
    else this.serveAnyhow();
  }

  /** There will be no further connection: to be refused is better than to wait for ever. */
  private serveAnyhow(): void {
    if (this.head === null || !this.allowance.forget()) return;
    for (const s of this.sessions.slice()) this.serve(s);
  }

  private dial(timeoutMs: number): void {
    this.lastTimeoutMs = timeoutMs;
    const attempt = new Attempt(this);
    const cancel = this.connect(this.target, timeoutMs, attempt);
    attempt.cancel = cancel;
    if (!attempt.done) this.dials.add(cancel);
  }

  /** An attempt is over: it no longer counts as one that the waiting may wait for. */
  dialled(cancel: (() => void) | null): void {
    if (cancel !== null) this.dials.delete(cancel);
  }

  private append(w: Waiting): void {
    w.prev = this.tail;
    if (this.tail !== null) this.tail.next = w;
    else this.head = w;
    this.tail = w;
    this.pending.value++;
  }

  private putFirst(w: Waiting): void {
    w.next = this.head;
    if (this.head !== null) this.head.prev = w;
    else this.tail = w;
    this.head = w;
    this.pending.value++;
  }

  /** Those that wait now, not those that a failure makes wait again (a retry may come back to this pool). */
  private failWaiting(failure: BackendFailure): void {
    let left = 0;
    for (let w = this.head; w !== null; w = w.next) left++;
    for (; left > 0 && this.head !== null; left--) {
      const w = this.head;
      this.forget(w);
      w.handler.onResponseFailure(failure);
    }
  }
}

/** The events of one connection, from its attempt on. */
class Attempt implements SessionEvents {
  private readonly pool: Pool;
  cancel: (() => void) | null = null;
  done = false;

  constructor(pool: Pool) {
    this.pool = pool;
  }

  onReady(session: BackendSession): void {
    this.finish();
    this.pool.onReady(session);
  }

  onFailed(failure: BackendFailure): void {
    this.finish();
    this.pool.onFailed(failure);
  }

  onCapacity(session: BackendSession): void {
    this.pool.onCapacity(session);
  }

  onClosed(session: BackendSession): void {
    this.pool.onClosed(session);
  }

  private finish(): void {
    this.done = true;
    this.pool.dialled(this.cancel);
  }
}
