import type { Clock } from '../../../lib/clock.ts';
import type { Pace } from '../../../lib/pace.ts';
import { INTERNAL_ERROR, NO_ERROR } from '../codes.ts';
import type { CloseReason, ConnInfo, ConnStats, QuicHandler, TlsId } from '../engine.ts';
import type { Report } from '../report.ts';
import type { Addon, Opened } from './binding.ts';
import { Commands, type Runner } from './commands.ts';
import { NativeConn } from './conn.ts';
import {
  EARLY,
  EVENT_CLOSE,
  EVENT_CONN,
  EVENT_DATA,
  EVENT_DATAGRAM,
  EVENT_DRAINED,
  EVENT_FAILED,
  EVENT_FOREIGN,
  EVENT_PATH,
  EVENT_RESET,
  EVENT_STOP,
  EVENT_WRITABLE,
  FIN,
  APPLICATION_EVENT,
  join,
  SIDES,
  WORDS,
} from './records.ts';

const ADDRESS = 18;

/** What a link is for: a listening endpoint, or one connection that we dial. */
export interface LinkOwner {
  readonly server: boolean;
  /** After `onConnection`. */
  connected(c: NativeConn): void;
  /** The handshake of the connection that we dial came to nothing. */
  failed(why: CloseReason): void;
  /** After `onClose`. */
  ended(): void;
  drained(): void;
  /** After `onFault`: nothing works any more. */
  faulted(e: Error): void;
  keyOf(slot: number, generation: number): number;
}

export interface LinkOptions {
  readonly addon: Addon;
  readonly handler: QuicHandler;
  readonly clock: Clock;
  readonly report: Report;
  readonly pace: Pace;
}

/** The wire's JSON of a connection's facts. */
interface InfoJson {
  readonly sni: string | null;
  readonly alpn: string;
  readonly tls: number;
  readonly resumed: boolean;
  /** DER in base64. */
  readonly peerChain: readonly string[] | null;
  readonly handshakeMs: number;
}

/**
 * One endpoint of the addon: reads the events of a batch to the handler, gathers the commands that answer them.
 *
 *     addon -> turn(n)      n events in the buffers, onTurnEnd, back: the commands that have gathered meanwhile
 *     write() outside       commands gather until the next setImmediate -> flush
 *     buffer full           submit, wherever that happens
 *     in overload           rest, when the loop has read from all sockets and what came of that has left
 */
export class Link implements Runner {
  readonly clock: Clock;
  readonly report: Report;
  readonly addresses: readonly { host: string; port: number }[];
  commands: Commands;
  /** How many there were: names a batch. */
  batches = 0;
  /** Closed here, or dead. */
  gone = false;
  private readonly addon: Addon;
  private readonly handler: QuicHandler;
  private readonly owner: LinkOwner;
  private readonly pace: Pace;
  readonly handle: number;
  private readonly events: Uint32Array;
  private readonly data: Buffer;
  private readonly conns: (NativeConn | null)[] = [];
  private inBatch = false;
  private scheduled = false;
  private resting = false;
  private closed = false;

  constructor(o: LinkOptions, owner: LinkOwner, open: (turn: (events: number) => number, fault: (message: string) => void) => Opened) {
    this.addon = o.addon;
    this.handler = o.handler;
    this.clock = o.clock;
    this.report = o.report;
    this.owner = owner;
    this.pace = o.pace;
    const opened = open(
      (events) => this.turn(events),
      (message) => this.fault(message),
    );
    this.handle = opened.handle;
    this.addresses = JSON.parse(opened.addresses) as { host: string; port: number }[];
    this.events = new Uint32Array(opened.eventRecords);
    this.data = Buffer.from(opened.eventData);
    this.commands = new Commands(opened.commandRecords, opened.commandData, this);
  }

  // A batch

  private turn(events: number): number {
    this.inBatch = true;
    this.batches++;
    for (let at = 0; at < events * WORDS; at += WORDS) this.event(at);
    try {
      this.handler.onTurnEnd();
    } catch (e) {
      this.report('quic_turn_end', e);
    }
    this.inBatch = false;
    this.restSoon();
    return this.commands.take();
  }

  private restSoon(): void {
    if (this.resting || !this.pace.spreads) return;
    this.resting = true;
    setImmediate(rest, this);
  }

  rest(): void {
    this.resting = false;
    this.flush();
    this.pace.turnEnded();
  }

  private event(at: number): void {
    const kind = this.events[at] as number;
    if (kind === EVENT_CONN) return this.connected(at);
    if (kind >= EVENT_FOREIGN) return this.endpointEvent(kind, at);
    const slot = this.events[at + 1] as number;
    const c = slot < this.conns.length ? (this.conns[slot] as NativeConn | null) : null;
    // A slot that has gone to another connection: nobody waits for this any more.
    if (c === null || c.generation !== this.events[at + 2]) return;
    if (kind === EVENT_CLOSE) return this.end(c, this.reason(at));
    if (!c.open) return;
    try {
      this.streamEvent(c, kind, at);
    } catch (e) {
      c.crash('quic_event', e);
    }
  }

  private streamEvent(c: NativeConn, kind: number, at: number): void {
    const e = this.events;
    const id = join(e[at + 3] as number, e[at + 4] as number);
    const five = e[at + 5] as number;
    const six = e[at + 6] as number;
    switch (kind) {
      case EVENT_DATA:
        this.handler.onData(c, id, this.data, five, five + six, ((e[at + 7] as number) & FIN) !== 0);
        return;
      case EVENT_WRITABLE:
        c.writable(id);
        this.handler.onWritable(c, id);
        return;
      case EVENT_RESET:
        this.handler.onReset(c, id, join(five, six));
        return;
      case EVENT_STOP:
        c.forget(id);
        this.handler.onStop(c, id, join(five, six));
        return;
      case EVENT_DATAGRAM:
        this.handler.onDatagram(c, this.data, five, five + six);
        return;
      case EVENT_PATH:
        c.remote = this.address(five);
        c.local = this.address(five + ADDRESS);
        this.handler.onPath(c);
        return;
    }
  }

  private connected(at: number): void {
    const e = this.events;
    const slot = e[at + 1] as number;
    const generation = e[at + 2] as number;
    const offset = e[at + 5] as number;
    const c = new NativeConn(this, {
      key: this.owner.keyOf(slot, generation),
      slot,
      generation,
      early: ((e[at + 7] as number) & EARLY) !== 0,
      remote: this.address(offset),
      local: this.address(offset + ADDRESS),
      maxDatagram: this.data.readUInt32LE(offset + 2 * ADDRESS),
      server: this.owner.server,
    });
    while (this.conns.length <= slot) this.conns.push(null);
    this.conns[slot] = c;
    try {
      this.handler.onConnection(c);
    } catch (x) {
      c.crash('quic_event', x);
    }
    this.owner.connected(c);
  }

  private endpointEvent(kind: number, at: number): void {
    if (kind === EVENT_FOREIGN) this.foreign(at);
    else if (kind === EVENT_FAILED) this.owner.failed(this.reason(at));
    else if (kind === EVENT_DRAINED) this.owner.drained();
  }

  private foreign(at: number): void {
    const e = this.events;
    const offset = e[at + 5] as number;
    const end = offset + (e[at + 6] as number);
    const from = this.address(offset);
    const to = this.address(offset + ADDRESS);
    try {
      this.handler.onForeign(e[at + 1] as number, this.data, offset + 2 * ADDRESS, end, from, to);
    } catch (x) {
      this.report('quic_foreign', x);
    }
  }

  private reason(at: number): CloseReason {
    const e = this.events;
    const offset = e[at + 5] as number;
    const flags = e[at + 7] as number;
    return {
      side: SIDES[flags & 3] as CloseReason['side'],
      app: (flags & APPLICATION_EVENT) !== 0,
      code: join(e[at + 3] as number, e[at + 4] as number),
      reason: this.data.toString('latin1', offset, offset + (e[at + 6] as number)),
    };
  }

  private address(offset: number): Uint8Array {
    return new Uint8Array(this.data.subarray(offset, offset + ADDRESS));
  }

  private end(c: NativeConn, why: CloseReason): void {
    this.conns[c.slot] = null;
    c.ended();
    try {
      this.handler.onClose(c, why);
    } catch (e) {
      this.report('quic_close', e);
    }
    this.owner.ended();
  }

  /** Whoever is left learns that it is over. */
  private closeAll(why: CloseReason): void {
    for (let i = 0; i < this.conns.length; i++) {
      const c = this.conns[i] as NativeConn | null;
      if (c !== null) this.end(c, why);
    }
  }

  // Commands

  waits(): void {
    if (!this.inBatch) this.schedule();
  }

  run(count: number): void {
    if (this.gone) return;
    try {
      this.addon.submit(this.handle, count);
    } catch (e) {
      // A dead endpoint has said so by its fault.
      if (!this.gone) this.report('quic_submit', e);
    }
  }

  /** For what the addon has to do though no command waits. */
  schedule(): void {
    if (this.scheduled) return;
    this.scheduled = true;
    setImmediate(flush, this);
  }

  flush(): void {
    if (!this.scheduled) return;
    this.scheduled = false;
    const count = this.commands.take();
    if (this.gone) return;
    try {
      this.addon.flush(this.handle, count);
    } catch (e) {
      // A dead endpoint has said so by its fault.
      if (!this.gone) this.report('quic_flush', e);
    }
  }

  // The end

  /** May come in the middle of anything: acted upon in a turn of its own. */
  private fault(message: string): void {
    if (this.gone) return;
    this.gone = true;
    setImmediate(() => {
      const e = new Error(message);
      try {
        this.handler.onFault(e);
      } catch (again) {
        this.report('quic_fault', again);
      }
      this.closeAll({ side: 'local', app: false, code: INTERNAL_ERROR, reason: '' });
      this.owner.faulted(e);
    });
  }

  /** Not from inside a batch. A dead endpoint is freed as well. */
  close(): void {
    if (this.closed) return;
    this.closed = true;
    const count = this.commands.take();
    if (count > 0) this.run(count);
    try {
      this.addon.close(this.handle);
    } catch (e) {
      if (!this.gone) this.report('quic_close', e);
    }
    this.gone = true;
    this.closeAll({ side: 'local', app: false, code: NO_ERROR, reason: '' });
  }

  get batch(): boolean {
    return this.inBatch;
  }

  // What the addon knows of a connection

  info(c: NativeConn): ConnInfo | null {
    const json = this.ask('quic_info', () => JSON.parse(this.addon.info(this.handle, c.slot, c.generation)) as InfoJson | null);
    if (json === null) return null;
    const peerChain = json.peerChain?.map((der) => Buffer.from(der, 'base64')) ?? null;
    return { ...json, tls: json.tls as TlsId, peerChain };
  }

  connStats(c: NativeConn): ConnStats | null {
    const list = this.ask('quic_conn_stats', () => this.addon.connStats(this.handle, c.slot, c.generation));
    if (list === null) return null;
    return { rttMs: list[0] as number, lost: list[1] as number, sent: list[2] as number, received: list[3] as number };
  }

  stuck(c: NativeConn, ms: number): readonly number[] {
    return this.ask('quic_stuck', () => this.addon.stuck(this.handle, c.slot, c.generation, ms)) ?? [];
  }

  /** An endpoint may be dead before its fault is told. */
  private ask<Answer>(where: string, question: () => Answer | null): Answer | null {
    if (this.gone) return null;
    try {
      return question();
    } catch (e) {
      this.report(where, e);
      return null;
    }
  }
}

function flush(l: Link): void {
  l.flush();
}

function rest(l: Link): void {
  l.rest();
}
