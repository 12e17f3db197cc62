import type { Clock } from '../../../lib/clock.ts';
import type { TimerWheel } from '../../../lib/wheel.ts';
import type { QuicConn } from '../../quic/engine.ts';
import type { ServerApp } from '../message.ts';
import type { Connection } from './connection.ts';
import type { H3Limits, H3ServerOptions } from './options.ts';
import { Outbox } from './outbox.ts';

/** Whoever wants to hear that its answer has left. */
export interface SentListener {
  readonly connection: Connection;
  notifySent(): void;
}

/** What all connections of one listener share. */
export class Shared {
  private readonly clock: Clock;
  readonly wheel: TimerWheel;
  readonly app: ServerApp;
  readonly limits: () => H3Limits;
  readonly onInternalError: (where: string, error: unknown) => void;
  readonly outbox = new Outbox();
  readonly connections = new Set<Connection>();
  draining = false;
  /** Connections that are sent away alone. */
  leaves: (c: QuicConn) => boolean = () => false;
  private done: SentListener[] = [];
  private notified: SentListener[] = [];
  private isScheduled = false;
  /** The time as this turn has read it, or -1. */
  private time = -1;
  private readonly onMicrotask = (): void => {
    this.isScheduled = false;
    this.endTurn();
  };

  constructor(o: H3ServerOptions) {
    this.clock = o.clock;
    this.wheel = o.wheel;
    this.app = o.app;
    this.limits = o.limits;
    this.onInternalError = o.onInternalError;
  }

  /** Read once per turn: a batch brings many requests, and none of their deadlines is that exact. */
  now(): number {
    if (this.time < 0) {
      this.time = this.clock.now();
      this.schedule();
    }
    return this.time;
  }

  /** A turn of its own, such as a timer's, begins. */
  beginTurn(): void {
    this.time = -1;
  }

  /** Sees to it that what is held leaves before anything else happens: at the end of the batch, or of the current callback. */
  schedule(): void {
    if (this.isScheduled) return;
    this.isScheduled = true;
    queueMicrotask(this.onMicrotask);
  }

  sent(listener: SentListener): void {
    this.done.push(listener);
    this.schedule();
  }

  endTurn(): void {
    this.time = -1;
    try {
      this.outbox.flush();
    } catch (e) {
      this.onInternalError('flush', e);
    }
    while (this.done.length > 0) this.notify();
  }

  private notify(): void {
    const now = this.done;
    this.done = this.notified;
    this.notified = now;
    for (const listener of now) {
      try {
        listener.notifySent();
      } catch (e) {
        listener.connection.crash('response_sent', e);
      }
    }
    now.length = 0;
  }
}
