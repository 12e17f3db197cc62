import type { Row } from '../../contract/cells.ts';
import {
  DROPS,
  NO_HANDOVER,
  OUTCOMES,
  type Address,
  type CloseReason,
  type EndpointStats,
  type QuicConn,
  type QuicHandler,
} from '../quic/engine.ts';
import { closeCodeName } from './closecode.ts';
import type { Plant } from './plant.ts';
import type { ListenerView } from './view.ts';

/** Limits that the engine enforces, by what it counts them as. */
const LIMIT_DROPS = [
  ['connections', 'connections'],
  ['address_limit', 'connectionsPerAddress'],
  ['handshake_rate', 'handshakesPerSecond'],
] as const;

/** Rows that are fed from the engine's own counts. */
export class ListenerRows {
  private readonly plant: Plant;

  constructor(plant: Plant) {
    this.plant = plant;
  }

  /** Adds what the engine has counted since `before`. */
  measure(view: ListenerView, now: EndpointStats, before: EndpointStats | null): void {
    const { cells } = this.plant;
    const add = (row: Row, value: number, base: number | undefined): void => cells.add(row, value - (base ?? 0));
    cells.set(cells.row('connections_active', view.label), now.connections);
    cells.set(cells.row('streams_active', view.label), view.counters.active);
    cells.set(cells.row('udp_receive_buffer_bytes', view.label), now.receiveBuffer);
    for (const outcome of OUTCOMES)
      add(cells.row('connections_total', view.label, outcome), now.handshakes[outcome], before?.handshakes[outcome]);
    for (const drop of DROPS) add(cells.row('quic_dropped_datagrams_total', drop), now.dropped[drop], before?.dropped[drop]);
    for (const kind of ['retry', 'version', 'reset', 'refused'] as const)
      add(cells.row('quic_answered_total', kind), now.answered[kind], before?.answered[kind]);
    for (const [i, direction] of (['in', 'out'] as const).entries()) {
      add(cells.row('quic_datagrams_total', direction), now.datagrams[i] as number, before?.datagrams[i]);
      add(cells.row('quic_bytes_total', direction), now.bytes[i] as number, before?.bytes[i]);
    }
    this.handover(now, before);
    add(cells.row('udp_kernel_drops_total'), now.kernelDrops, before?.kernelDrops);
    for (const [drop, limit] of LIMIT_DROPS) view.counters.limit(limit, now.dropped[drop] - (before?.dropped[drop] ?? 0));
    view.counters.limit('handshakeTimeout', now.handshakes.handshake_timeout - (before?.handshakes.handshake_timeout ?? 0));
  }

  moved(): void {
    this.plant.cells.add(this.plant.cells.row('quic_path_changes_total', 'validated'), 1);
  }

  forget(view: ListenerView): void {
    const { cells } = this.plant;
    cells.drop('connections_active', view.label);
    cells.drop('streams_active', view.label);
    cells.drop('udp_receive_buffer_bytes', view.label);
    for (const outcome of OUTCOMES) cells.drop('connections_total', view.label, outcome);
  }

  closed(why: CloseReason): void {
    this.plant.cells.add(this.plant.cells.row('quic_connection_closed_total', why.side, closeCodeName(why)), 1);
  }

  /** A datagram of another worker's connection, and no way to it. */
  foreign(): void {
    this.plant.cells.add(this.plant.cells.row('quic_handover_datagrams_total', 'out', 'dropped'), 1);
  }

  private handover({ handover: now }: EndpointStats, past: EndpointStats | null): void {
    const before = past?.handover ?? NO_HANDOVER;
    const { cells } = this.plant;
    const add = (direction: string, outcome: string, n: number): void => {
      if (n > 0) cells.add(cells.row('quic_handover_datagrams_total', direction, outcome), n);
    };
    add('out', 'sent', now.sent - before.sent);
    add('out', 'dropped', now.lost - before.lost);
    add('in', 'delivered', now.delivered - before.delivered);
    add('in', 'dropped', now.refused - before.refused);
  }
}

/** The HTTP/3 server's handler, with the end of every connection counted by what ended it. */
export class CountedHandler implements QuicHandler {
  private readonly inner: QuicHandler;
  private readonly rows: ListenerRows;

  constructor(inner: QuicHandler, rows: ListenerRows) {
    this.inner = inner;
    this.rows = rows;
  }

  onConnection(c: QuicConn): void {
    this.inner.onConnection(c);
  }

  onData(c: QuicConn, id: number, buf: Uint8Array, start: number, end: number, fin: boolean): void {
    this.inner.onData(c, id, buf, start, end, fin);
  }

  onReset(c: QuicConn, id: number, code: number): void {
    this.inner.onReset(c, id, code);
  }

  onStop(c: QuicConn, id: number, code: number): void {
    this.inner.onStop(c, id, code);
  }

  onWritable(c: QuicConn, id: number): void {
    this.inner.onWritable(c, id);
  }

  onDatagram(c: QuicConn, buf: Uint8Array, start: number, end: number): void {
    this.inner.onDatagram(c, buf, start, end);
  }

  onPath(c: QuicConn): void {
    this.rows.moved();
    this.inner.onPath(c);
  }

  onClose(c: QuicConn, why: CloseReason): void {
    this.rows.closed(why);
    this.inner.onClose(c, why);
  }

  onTurnEnd(): void {
    this.inner.onTurnEnd();
  }

  onForeign(workerId: number, buf: Uint8Array, start: number, end: number, from: Address, to: Address): void {
    this.inner.onForeign(workerId, buf, start, end, from, to);
  }

  onFault(e: Error): void {
    this.inner.onFault(e);
  }
}
