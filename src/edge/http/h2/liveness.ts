import { WheelTimer, type TimerOwner } from '../../../lib/wheel.ts';
import { Acks } from './acks.ts';
import { Pinger } from './pinger.ts';
import type { H2Session } from './session.ts';

const READY = 0;
const KEEP_ALIVE = 1;
const CONFIRM = 2;
const CLOSE = 3;

/** How long a reset may stay unconfirmed, and how long the last bytes may take to leave. */
const CONFIRM_MS = 5000;
const CLOSE_MS = 1000;

/** All that a session does because time passes. */
export class Liveness implements TimerOwner {
  private readonly session: H2Session;
  private readonly pinger = new Pinger();
  private readonly acks = new Acks();
  private readonly timers: readonly WheelTimer[];
  /** Bytes have arrived since this was last looked at. */
  private heard = true;
  /** The keepalive timer runs. */
  private watching = false;
  /** The PING that is out was sent behind the barrier: its answer confirms. */
  private confirms = false;
  /** The same of SETTINGS. */
  private ackConfirms = false;
  /** The confirmation timer runs for the answer, and not until there can be a question. */
  private asked = false;

  constructor(session: H2Session) {
    this.session = session;
    this.timers = [READY, KEEP_ALIVE, CONFIRM, CLOSE].map((kind) => new WheelTimer(this, kind));
    this.arm(READY, session.options.readyMs);
  }

  ready(): void {
    this.session.options.wheel.release(this.timers[READY] as WheelTimer);
  }

  /** Any bytes. */
  bytes(): void {
    this.heard = true;
  }

  /** HEADERS or DATA. */
  traffic(): void {
    this.pinger.heard();
  }

  /** The answer to our PING. */
  ponged(): void {
    if (!this.pinger.outstanding) return;
    this.pinger.answered();
    if (this.confirms && this.session.resets.confirm()) this.confirmed();
  }

  /** SETTINGS of ours are acknowledged. */
  acknowledged(): void {
    if (this.acks.come() && this.ackConfirms && this.session.resets.confirm()) this.confirmed();
  }

  /** A response begins: the peer has read all that was sent before its request. */
  answeredOn(id: number): void {
    if (this.session.resets.heard(id)) this.confirmed();
  }

  /** The first stream after none: a connection that was silent for long may be dead, and the request would wait. */
  wake(idleMs: number): void {
    const { keepAliveMs } = this.session.options;
    if (keepAliveMs === 0) return;
    if (idleMs >= keepAliveMs && this.pinger.allowed(this.session.now())) this.ping();
    else if (!this.watching) this.watch(keepAliveMs);
  }

  /** Asks the peer to confirm resets. The answer to a later stream does so, too, but there is none where they take up all streams. */
  seekConfirmation(): void {
    const { session } = this;
    if (!session.resets.wantsBarrier || session.dead) return;
    session.resets.setBarrier();
    this.confirms = false;
    this.ackConfirms = false;
    this.ask();
  }

  /** By PING where that is welcome, else by SETTINGS, now or soon; if nothing answers, time confirms. */
  private ask(): void {
    const { session } = this;
    const now = session.now();
    const welcome = session.options.keepAliveMs > 0 && this.pinger.allowed(now);
    const wait = welcome ? 0 : this.acks.wait(now);
    // Who owes an answer is not asked again.
    this.asked = wait === 0 || wait === Infinity;
    this.arm(CONFIRM, this.asked ? CONFIRM_MS : wait);
    if (welcome) return this.ping();
    if (wait > 0) return;
    this.ackConfirms = true;
    this.acks.asked(now);
    session.writer.ourSettings();
  }

  /** The session is over; `closing`: its last bytes are still to leave. */
  over(closing: boolean): void {
    this.stop();
    if (closing) this.arm(CLOSE, CLOSE_MS);
  }

  stop(): void {
    for (const timer of this.timers) this.session.options.wheel.release(timer);
  }

  onTimer(kind: number): void {
    try {
      this.due(kind);
    } catch (e) {
      this.session.internal('h2_timer', e);
    }
  }

  private due(kind: number): void {
    if (kind === READY) this.session.expire('connect_timeout', `no SETTINGS in time`);
    else if (kind === KEEP_ALIVE) this.keepAlive();
    else if (kind === CLOSE) this.session.closeNow();
    else if (!this.asked) this.ask();
    else if (this.session.resets.confirm()) this.confirmed();
  }

  private confirmed(): void {
    this.seekConfirmation();
    this.session.released();
  }

  private keepAlive(): void {
    const { session } = this;
    const { keepAliveMs, keepAliveTimeoutMs } = session.options;
    this.watching = false;
    if (this.pinger.outstanding && !this.heard && session.now() - this.pinger.sentAt >= keepAliveTimeoutMs) {
      return session.expire('backend_closed', `no answer to PING within ${keepAliveTimeoutMs} ms`);
    }
    if (session.active === 0) return;
    if (!this.heard && this.pinger.allowed(session.now())) return this.ping();
    this.heard = false;
    this.watch(keepAliveMs);
  }

  private ping(): void {
    const { session } = this;
    this.heard = false;
    this.confirms = true;
    this.pinger.sent(session.now());
    session.writer.ourPing();
    this.watch(session.options.keepAliveTimeoutMs);
  }

  private watch(ms: number): void {
    this.watching = true;
    this.arm(KEEP_ALIVE, ms);
  }

  private arm(kind: number, ms: number): void {
    this.session.options.wheel.arm(this.timers[kind] as WheelTimer, ms);
  }
}
