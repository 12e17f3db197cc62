import type { QuicHandler } from '../engine.ts';
import type { MemoryConn } from './conn.ts';
import type { MemoryNetwork } from './network.ts';
import type { Segment } from './segment.ts';

export type Report = (where: string, error: unknown) => void;

interface Arrival {
  readonly conn: MemoryConn;
  readonly segment: Segment;
}

/**
 * One side's event loop: what has arrived is taken in first, then told, then the turn ends, then everybody flushes.
 * Because taking in comes before telling, the handler hears of bytes on streams that it has stopped a moment ago: late
 * events, which every handler must bear.
 */
export class MemoryTurn {
  readonly handler: QuicHandler;
  readonly network: MemoryNetwork;
  readonly report: Report;
  /** Which batch this is: late events are those of the current one. */
  batch = 0;
  private inbox: Arrival[] = [];
  private touched: MemoryConn[] = [];
  private wanting = new Set<MemoryConn>();
  private scheduled = false;

  constructor(handler: QuicHandler, network: MemoryNetwork, report: Report) {
    this.handler = handler;
    this.network = network;
    this.report = report;
  }

  arrive(conn: MemoryConn, segment: Segment): void {
    this.inbox.push({ conn, segment });
    this.schedule();
  }

  touch(c: MemoryConn): void {
    if (!this.touched.includes(c)) this.touched.push(c);
    this.schedule();
  }

  want(c: MemoryConn): void {
    this.wanting.add(c);
    this.schedule();
  }

  private schedule(): void {
    if (this.scheduled) return;
    this.scheduled = true;
    this.network.soon(() => this.run());
  }

  run(): void {
    this.scheduled = false;
    this.batch++;
    const inbox = this.inbox;
    this.inbox = [];
    for (const a of inbox) {
      a.conn.take(a.segment);
      if (!this.touched.includes(a.conn)) this.touched.push(a.conn);
    }
    const touched = this.touched;
    this.touched = [];
    for (const c of touched) this.guard('memory_event', c, () => c.tell());
    if (inbox.length > 0 || touched.length > 0) this.endOfTurn();
    const wanting = this.wanting;
    this.wanting = new Set();
    for (const c of wanting) this.guard('memory_flush', c, () => c.flush());
  }

  private guard(where: string, c: MemoryConn, step: () => void): void {
    try {
      step();
    } catch (e) {
      c.crash(where, e);
    }
  }

  private endOfTurn(): void {
    try {
      this.handler.onTurnEnd();
    } catch (e) {
      this.report('memory_turn_end', e);
    }
  }
}
