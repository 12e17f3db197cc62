import type { QuicHandler } from '../engine.ts';
import type { Clock } from '../../../lib/clock.ts';
import type { Pace } from '../../../lib/pace.ts';
import { TimerWheel } from '../../../lib/wheel.ts';
import type { Conn } from './conn.ts';

/** How often the wheel of an engine turns: the finest delay that delayed acknowledgements and loss timers see. */
export const TICK_MS = 5;
/** Packets that one turn may send in all: half of the ring that they wait in. */
export const TURN_PACKETS = 1024;
const READ_BUFFER = 65536;
/** As many datagrams as libuv reads from a socket before it turns to others: there may be more. */
const READ_AT_ONCE = 32;
/** How often it reads on, when there was more, before it deals with what came: a connection's datagrams together cost little more than one of them. */
const READS = 8;

/**
 * One turn of the event loop for everything behind one socket set:
 *
 *     datagrams -> touch()        connections with news, each once; again while sockets hold more
 *     setImmediate -> run()       news to the handler, new connections, onTurnEnd, then all flushes
 *     write() outside -> want()   the same, without news
 */
export class Turn {
  readonly handler: QuicHandler;
  readonly clock: Clock;
  readonly wheel: TimerWheel;
  readonly report: (where: string, error: unknown) => void;
  /** Lent to `onData`: one for all connections. */
  readonly readBuffer = Buffer.allocUnsafeSlow(READ_BUFFER);
  /** Packets that this turn may still send. */
  packets = TURN_PACKETS;
  /** Takes what waits in front of the connections (new handshakes); true when more is left for the next turn. `behind`: sockets hold more. */
  admit: ((behind: boolean) => boolean) | null = null;
  /** Hears of the end of each turn, and may let the process rest. */
  pace: Pace | null = null;
  /** Whether anybody waits in front of the connections; null: it is a client, which has one. */
  newcomers: (() => boolean) | null = null;
  private dirty: Conn[] = [];
  private wanting: Conn[] = [];
  private scheduled = false;
  /** Datagrams of this turn, those of its reads but the last, and how many reads these were. */
  private arrivals = 0;
  private before = 0;
  private reads = 0;

  constructor(handler: QuicHandler, clock: Clock, report: (where: string, error: unknown) => void) {
    this.handler = handler;
    this.clock = clock;
    this.report = report;
    this.wheel = new TimerWheel(clock, (e) => report('quic_timer', e), TICK_MS);
  }

  /** A datagram has arrived: this turn is a batch even when it brings nothing else. */
  arrived(): void {
    this.arrivals++;
    this.schedule();
  }

  touch(c: Conn): void {
    if (!c.dirty) {
      c.dirty = true;
      this.dirty.push(c);
    }
    this.schedule();
  }

  want(c: Conn): void {
    if (!c.wanting) {
      c.wanting = true;
      this.wanting.push(c);
    }
    this.schedule();
  }

  stop(): void {
    this.wheel.stop();
  }

  schedule(): void {
    if (this.scheduled) return;
    this.scheduled = true;
    setImmediate(runTurn, this);
  }

  run(): void {
    this.scheduled = false;
    const behind = this.behind;
    this.packets = TURN_PACKETS;
    let told = this.arrivals > 0;
    this.arrivals = this.before = this.reads = 0;
    told = this.settle() || told;
    if (this.admit !== null && this.admitMore(behind)) this.schedule();
    told = this.settle() || told;
    if (told) this.endOfTurn();
    this.flushAll();
    this.pace?.turnEnded();
  }

  /**
   * Whether the turn has to wait until more has been read. Not when somebody waits for what it does: newcomers, and requests for streams that become
   * free.
   */
  readsOn(): boolean {
    if (!this.behind || this.newcomers === null || ++this.reads >= READS) return false;
    if (this.newcomers() || this.pace?.wanted() === true) return false;
    this.before = this.arrivals;
    this.scheduled = false;
    this.schedule();
    return true;
  }

  /** Sockets hold more than the last read has taken. */
  private get behind(): boolean {
    return this.arrivals - this.before >= READ_AT_ONCE;
  }

  private settle(): boolean {
    if (this.dirty.length === 0) return false;
    const list = this.dirty;
    this.dirty = [];
    for (let i = 0; i < list.length; i++) {
      const c = list[i] as Conn;
      c.dirty = false;
      try {
        c.settle();
      } catch (e) {
        c.crash('quic_event', e);
      }
    }
    return true;
  }

  private admitMore(behind: boolean): boolean {
    try {
      return this.admit?.(behind) ?? false;
    } catch (e) {
      this.report('quic_accept', e);
      return true;
    }
  }

  private endOfTurn(): void {
    try {
      this.handler.onTurnEnd();
    } catch (e) {
      this.report('quic_turn_end', e);
    }
  }

  private flushAll(): void {
    const list = this.wanting;
    this.wanting = [];
    for (let i = 0; i < list.length; i++) {
      const c = list[i] as Conn;
      c.wanting = false;
      if (this.packets <= 0) {
        this.want(c);
        continue;
      }
      try {
        c.flush();
      } catch (e) {
        c.crash('quic_flush', e);
      }
    }
  }
}

function runTurn(t: Turn): void {
  try {
    if (!t.readsOn()) t.run();
  } catch (e) {
    t.report('quic_turn', e);
  }
}
