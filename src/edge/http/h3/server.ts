import type { Address, CloseReason, QuicConn, QuicHandler } from '../../quic/engine.ts';
import { H3 } from './codes.ts';
import { Connection } from './connection.ts';
import type { H3ServerOptions } from './options.ts';
import { Shared } from './shared.ts';

/** The HTTP/3 side of one listener. */
export interface H3Server {
  /** For `QuicEngine.listen`. */
  readonly handler: QuicHandler;
  connections(): number;
  /** GOAWAY on every connection; each closes when its last request is done. */
  drain(): void;
  /** The same for those connections, also for those that come yet, until others are named. */
  drainSome(leaves: (c: QuicConn) => boolean): void;
  /** CONNECTION_CLOSE on those, now. */
  closeSome(): void;
  /** CONNECTION_CLOSE on every connection, now. */
  closeAll(code?: number): void;
}

export function createH3Server(options: H3ServerOptions): H3Server {
  const shared = new Shared(options);
  return {
    handler: new Handler(shared, options),
    connections: () => shared.connections.size,
    drain() {
      shared.draining = true;
      for (const connection of shared.connections) guarded(connection, 'drain', () => connection.drain());
    },
    drainSome(leaves) {
      shared.leaves = leaves;
      for (const connection of shared.connections) if (leaves(connection.quic)) guarded(connection, 'drain', () => connection.drain());
    },
    closeSome() {
      for (const connection of shared.connections)
        if (shared.leaves(connection.quic)) guarded(connection, 'close', () => connection.close(H3.H3_NO_ERROR, ''));
    },
    closeAll(code = H3.H3_NO_ERROR) {
      for (const connection of shared.connections) guarded(connection, 'close', () => connection.close(code, ''));
    },
  };
}

function guarded(connection: Connection, where: string, fn: () => void): void {
  try {
    fn();
  } catch (e) {
    connection.crash(where, e);
  }
}

/** Every event of the engine, each with its boundary: an exception closes its connection and goes no further. */
class Handler implements QuicHandler {
  private readonly shared: Shared;
  private readonly options: H3ServerOptions;

  constructor(shared: Shared, options: H3ServerOptions) {
    this.shared = shared;
    this.options = options;
  }

  onConnection(c: QuicConn): void {
    try {
      const connection = new Connection(this.shared, c);
      c.data = connection;
      this.shared.connections.add(connection);
      connection.start();
      // Its handshake was under way when the drain began: nobody else will tell it.
      if (this.shared.draining || this.shared.leaves(c)) connection.drain();
    } catch (e) {
      if (c.data instanceof Connection) c.data.crash('connection', e);
      else {
        this.shared.onInternalError('connection', e);
        c.close(true, H3.H3_INTERNAL_ERROR, '');
      }
    }
  }

  onData(c: QuicConn, id: number, buf: Uint8Array, start: number, end: number, fin: boolean): void {
    const connection = c.data as Connection | null;
    if (connection === null) return;
    try {
      connection.onData(id, buf, start, end, fin);
    } catch (e) {
      connection.crash('data', e);
    }
  }

  onReset(c: QuicConn, id: number, code: number): void {
    const connection = c.data as Connection | null;
    if (connection === null) return;
    try {
      connection.onReset(id, code);
    } catch (e) {
      connection.crash('reset', e);
    }
  }

  onStop(c: QuicConn, id: number, code: number): void {
    const connection = c.data as Connection | null;
    if (connection === null) return;
    try {
      connection.onStop(id, code);
    } catch (e) {
      connection.crash('stop', e);
    }
  }

  onWritable(c: QuicConn, id: number): void {
    const connection = c.data as Connection | null;
    if (connection === null) return;
    try {
      connection.onWritable(id);
    } catch (e) {
      connection.crash('writable', e);
    }
  }

  /** Not negotiated. */
  onDatagram(): void {}

  onPath(c: QuicConn): void {
    const connection = c.data as Connection | null;
    if (connection === null) return;
    try {
      connection.onPath();
    } catch (e) {
      connection.crash('path', e);
    }
  }

  onClose(c: QuicConn, why: CloseReason): void {
    const connection = c.data as Connection | null;
    if (connection === null) return;
    c.data = null;
    try {
      connection.onEngineClose(why);
    } catch (e) {
      this.shared.onInternalError('closed', e);
    }
  }

  onTurnEnd(): void {
    this.shared.endTurn();
  }

  onForeign(workerId: number, buf: Uint8Array, start: number, end: number, from: Address, to: Address): void {
    try {
      this.options.onForeign?.(workerId, buf, start, end, from, to);
    } catch (e) {
      this.shared.onInternalError('foreign', e);
    }
  }

  onFault(error: Error): void {
    try {
      this.options.onFault?.(error);
    } catch (e) {
      this.shared.onInternalError('fault', e);
    }
  }
}
