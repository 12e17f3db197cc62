import type { QuicHandler } from '../engine.ts';
import { Stream } from '../stream.ts';
import { errorName, errorNumber, type Connection } from './binding.ts';
import type { Conn } from './conn.ts';
import { OPEN } from './state.ts';

/** Above this many open bodies quiche's list of readable streams is cheaper than asking for each. */
const PROBES = 50;
/** What one stream may hand over in one turn. */
const READ_PER_TURN = 256 * 1024;
const DATAGRAMS_PER_TURN = 64;
/** Reset streams that are looked at in one go. */
const RESETS_PER_LOOK = 32;

/**
 * What quiche has received, to the handler. Its iterator of readable streams costs ten times a question about one stream, so
 * the next ids and the open bodies are asked for one by one; only what comes out of order needs the list.
 */
export class Inbound {
  private readonly conn: Conn;
  private readonly handler: QuicHandler;
  private readonly buffer: Buffer;
  private readonly server: boolean;
  private readonly datagrams: boolean;
  /** Streams that the peer still sends on and that did not end with their first bytes. */
  private bodies: Stream[] = [];
  /** Ids below these were seen, or are in `gaps`. */
  private nextBidi: number;
  private nextUni: number;
  private readonly gaps = new Set<number>();
  /**
   * Streams that the peer has reset. quiche 0.18 forgets such a stream, and lets the peer open another one, only when it is read
   * once more after our direction has ended.
   */
  private readonly resets: number[] = [];

  constructor(conn: Conn, handler: QuicHandler, buffer: Buffer, datagrams: boolean) {
    this.conn = conn;
    this.handler = handler;
    this.buffer = buffer;
    this.server = conn.server;
    this.datagrams = datagrams;
    this.nextBidi = conn.server ? 0 : 1;
    this.nextUni = conn.server ? 2 : 3;
  }

  readAll(q: Connection): void {
    if (this.datagrams) this.readDatagrams(q);
    if (!q.isReadable()) return;
    const conn = this.conn;
    if (this.bodies.length > 0 && this.bodies.length <= PROBES) this.readBodies(q);
    while (conn.state === OPEN && q.streamReadable(this.nextBidi)) {
      const id = this.nextBidi;
      this.nextBidi += 4;
      this.read(q, this.begin(id, this.server));
    }
    while (conn.state === OPEN && q.streamReadable(this.nextUni)) {
      const id = this.nextUni;
      this.nextUni += 4;
      this.read(q, this.begin(id, false));
    }
    if (conn.state === OPEN && q.isReadable()) this.readRest(q);
  }

  /** Downwards: a body that ends is replaced by the last one, which was asked already. */
  private readBodies(q: Connection): void {
    for (let i = this.bodies.length - 1; i >= 0; i--) {
      const s = this.bodies[i];
      if (s === undefined || this.conn.state !== OPEN) return;
      if (!s.paused && !s.readDone && q.streamReadable(s.id)) this.read(q, s);
    }
  }

  /** By quiche's list, which must be used up before anything else is called. */
  private readRest(q: Connection): void {
    const ids = [...q.readable()];
    for (let i = 0; i < ids.length && this.conn.state === OPEN; i++) {
      const id = ids[i] as number;
      const s = this.conn.streams.get(id) ?? this.late(id);
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
    return this.begin(id, !uni);
  }

  private begin(id: number, writable: boolean): Stream {
    const s = new Stream(id, true, writable, true);
    this.conn.streams.set(id, s);
    return s;
  }

  /** Hands over what a stream has. */
  private read(q: Connection, s: Stream): void {
    const conn = this.conn;
    const buf = this.buffer;
    let total = 0;
    while (!s.paused && !s.readDone && total < READ_PER_TURN && conn.state === OPEN) {
      let got: [number, boolean] | null;
      try {
        got = q.streamRecv(s.id, buf);
      } catch (e) {
        this.failed(q, s, e);
        return;
      }
      if (got === null) break;
      const n = got[0];
      const fin = got[1];
      total += n;
      conn.budget.delivered(n);
      if (fin) s.readDone = true;
      if (n > 0 || fin) this.handler.onData(conn, s.id, buf, 0, n, fin);
      if (n < buf.length) break;
    }
    if (conn.state !== OPEN) return;
    if (total > 0) conn.consumed();
    if (total >= READ_PER_TURN) conn.again();
    if (s.behind && (s.readDone || (!s.paused && !q.streamReadable(s.id)))) conn.caughtUp(s);
    if (s.readDone) this.ended(s);
    else if (s.body < 0) this.follow(s);
  }

  private failed(q: Connection, s: Stream, e: unknown): void {
    const name = errorName(e);
    if (name === 'Done' || s.readDone) return;
    s.readDone = true;
    this.conn.caughtUp(s);
    this.handler.onReset(this.conn, s.id, name === 'StreamReset' ? errorNumber(e) : 0);
    this.ended(s);
    if (name === 'StreamReset' && (s.id & 2) === 0 && !this.isForgotten(q, s.id)) this.resets.push(s.id);
  }

  /**
   * quiche 0.18 says nothing of an end that came with bytes that were read already, as in a packet that is sent again and takes the
   * end along, nor of a reset behind an end that had come before other bytes. They look the same: a request that may be cut short is not
   * whole. Servers do not reset what they have ended.
   */
  pollEnds(q: Connection): void {
    for (let i = this.bodies.length - 1; i >= 0 && this.conn.state === OPEN; i--) {
      const s = this.bodies[i];
      if (s === undefined || !s.begun || !q.streamFinished(s.id) || q.streamReadable(s.id)) continue;
      s.readDone = true;
      this.conn.caughtUp(s);
      if (this.server) this.handler.onReset(this.conn, s.id, 0);
      else this.handler.onData(this.conn, s.id, this.buffer, 0, 0, true);
      if (this.conn.state === OPEN) this.ended(s);
    }
  }

  /** True when there were any: quiche may have something to say about them. */
  forgetResets(q: Connection): boolean {
    const n = Math.min(this.resets.length, RESETS_PER_LOOK);
    for (let i = 0; i < n; i++) {
      const id = this.resets.shift() as number;
      if (!this.isForgotten(q, id)) this.resets.push(id);
    }
    return n > 0;
  }

  private isForgotten(q: Connection, id: number): boolean {
    try {
      q.streamRecv(id, this.buffer);
    } catch (e) {
      return errorName(e) !== 'StreamReset';
    }
    return false;
  }

  /** The peer's direction is over, for whatever reason. */
  ended(s: Stream): void {
    if (s.body >= 0) this.unfollow(s);
    this.conn.settleStream(s);
  }

  /** More of this stream may come. */
  follow(s: Stream): void {
    s.body = this.bodies.length;
    this.bodies.push(s);
  }

  private unfollow(s: Stream): void {
    const i = s.body;
    s.body = -1;
    const last = this.bodies.pop();
    if (last === undefined || last === s) return;
    this.bodies[i] = last;
    last.body = i;
  }

  /** Bytes of a stream that has already ended here: quiche lists it until they are taken. */
  private swallow(q: Connection, id: number): void {
    try {
      while (q.streamRecv(id, this.buffer) !== null);
    } catch {
      // Reset or gone: that is what we want.
    }
  }

  private readDatagrams(q: Connection): void {
    for (let i = 0; i < DATAGRAMS_PER_TURN && this.conn.state === OPEN; i++) {
      const n = q.dgramRecv(this.buffer) as number | null;
      if (n === null) return;
      this.conn.budget.delivered(n);
      this.handler.onDatagram(this.conn, this.buffer, 0, n);
    }
  }

  clear(): void {
    for (const s of this.bodies) s.body = -1;
    this.bodies = [];
    this.resets.length = 0;
    this.gaps.clear();
  }
}
