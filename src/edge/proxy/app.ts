import { formatHostPort } from '../../contract/resources/index.ts';
import type { Reason } from '../../contract/reasons.ts';
import type { RequestHandler, ServerApp, ServerConnection, ServerStream } from '../http/message.ts';
import type { CloseReason, TlsId, TlsTable } from '../quic/engine.ts';
import { Exchange } from './exchange.ts';
import { Misdirection, NameTable } from './misdirected.ts';
import { Peer } from './peer.ts';
import { internalError, type Plant } from './plant.ts';
import type { ListenerView } from './view.ts';

/** Tables under which open connections may have been made. */
const TABLES_KEPT = 8;

/** Where a listener's part of the active snapshot is found: one reference for the whole worker. */
export interface ViewSource {
  view(): ListenerView;
}

/** What runs above the HTTP/3 connections of one listener. */
export class ListenerApp implements ServerApp {
  private readonly plant: Plant;
  private readonly source: ViewSource;
  /** Newest first. */
  private tables: NameTable[] = [];
  private newest: TlsTable | null = null;

  constructor(plant: Plant, source: ViewSource) {
    this.plant = plant;
    this.source = source;
  }

  /** Connections from now on may have been made under this table. */
  addTable(table: TlsTable): void {
    if (this.newest === table) return;
    this.newest = table;
    this.tables = [new NameTable(table), ...this.tables].slice(0, TABLES_KEPT);
  }

  onConnection(c: ServerConnection): void {
    try {
      const { tls, handshakeMs } = c.info();
      c.data = new Peer(c, new Misdirection(this.tableOf(tls), tls, c.sni));
      this.source.view().counters.handshake(handshakeMs / 1000);
    } catch (e) {
      this.fault('connection', e, c);
    }
  }

  onRequest(s: ServerStream, end: boolean, rejection: Reason | null): RequestHandler {
    const exchange = new Exchange(this.plant, this.source.view(), s.connection.data as Peer, s);
    exchange.begin(end, rejection);
    return exchange;
  }

  onProtocolError(c: ServerConnection, scope: 'stream' | 'connection', code: string, rule: string): void {
    try {
      this.source.view().counters.protocolError(code, rule);
      this.plant.log('debug', 'protocol error', { listener: this.source.view().label, client: c.remoteAddress, scope, code, rule });
    } catch (e) {
      this.fault('protocol_error', e, c);
    }
  }

  onLimit(c: ServerConnection, limit: string): void {
    try {
      this.source.view().counters.limit(limit);
    } catch (e) {
      this.fault('limit', e, c);
    }
  }

  onFieldDropped(c: ServerConnection, reason: string): void {
    try {
      this.plant.drops.byName(reason);
    } catch (e) {
      this.fault('field_dropped', e, c);
    }
  }

  onMove(c: ServerConnection, host: string, port: number): void {
    try {
      const to = formatHostPort({ host: c.remoteAddress, port: c.remotePort });
      this.plant.log('debug', 'client moved', { listener: this.source.view().label, from: formatHostPort({ host, port }), to });
    } catch (e) {
      this.fault('move', e, c);
    }
  }

  onClose(c: ServerConnection, why: CloseReason): void {
    c.data = null;
    // QUIC's own errors, from either side: what HTTP/3 finds wrong was told before.
    if (why.app || why.code === 0) return;
    try {
      const { side, code, reason } = why;
      this.plant.log('debug', 'transport error', { listener: this.source.view().label, client: c.remoteAddress, side, code, reason });
    } catch (e) {
      this.fault('close', e, c);
    }
  }

  private tableOf(id: TlsId): NameTable | null {
    return this.tables.find((t) => t.has(id)) ?? null;
  }

  private fault(where: string, e: unknown, c: ServerConnection): void {
    internalError(this.plant, `app.${where}`, e);
    c.close(0x102, '');
  }
}
