import type { Clock } from '../../../lib/clock.ts';
import type { TimerWheel } from '../../../lib/wheel.ts';
import type { ServerApp } from '../message.ts';
import type { QuicHandler } from '../../quic/engine.ts';

/** What a listener allows each connection; read whenever it is needed, so that a reload applies at once. */
export interface H3Limits {
  /** Decoded size of a field section, RFC 9114 s4.2.2. */
  headerBytes: number;
  headerCount: number;
  headerTimeoutMs: number;
  responseStallMs: number;
  noRequestTimeoutMs: number;
  requestsPerConnection: number;
  maxStreams: number;
  /** PING at this interval while a request is open; 0: never. */
  keepAliveMs: number;
}

export interface H3ServerOptions {
  clock: Clock;
  wheel: TimerWheel;
  limits: () => H3Limits;
  app: ServerApp;
  /** An exception caught at a boundary: `where` it was, for the counter. Its connection is closed already. */
  onInternalError(where: string, error: unknown): void;
  onForeign?: QuicHandler['onForeign'];
  onFault?: QuicHandler['onFault'];
}
