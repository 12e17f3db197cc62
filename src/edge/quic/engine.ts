/**
 * The seam between a QUIC engine and everything above it.
 *
 * An engine is everything from the UDP socket to ordered stream bytes. Rules that every engine keeps (test/edge/quic/conformance.ts):
 *  1. `onData` lends its buffer: valid until the handler returns.
 *  2. `write` takes all bytes before it returns; `false` means "above the mark": exactly one `onWritable` follows unless the stream ends.
 *     Writing to a dead stream is a no-op; nothing here throws.
 *  3. `setTls` looks names up in a table, never through a callback. A `TlsId` is never reused in a process.
 *  4. Commands take effect at the end of the turn; late events after `reset`, `stop`, `close` are legal.
 *  5. The engine flushes by itself: after the batch, or on the next `setImmediate` for writes outside one. `onTurnEnd` once per batch.
 *  6. `onFault`: the endpoint is dead; the worker drains what it can and exits.
 *  7. `onClose` exactly once per `onConnection`, never for a handshake that failed (counted in `stats().handshakes`).
 *  8. Pending bytes leave by RFC 9218 urgency, incremental streams in turn (default u=3, not incremental).
 *  9. Without `caps.migration`, `onPath` is never called.
 * 10. A datagram that has been handed over is never handed on.
 */

/** 18 bytes: IPv6 or ::ffff:v4, then the port, big endian. */
export type Address = Uint8Array;

export type TlsId = number & { readonly __tls: unique symbol };

/** A chain and the key of its leaf, in PEM. */
export interface TlsPair {
  readonly cert: Uint8Array;
  readonly key: Uint8Array;
}

export interface TlsEntry {
  readonly id: TlsId;
  /** ECDSA first, RSA second. */
  readonly certs: readonly TlsPair[];
  readonly clientAuth: 'none' | 'request' | 'require';
  readonly ca?: Uint8Array;
  readonly alpn: readonly string[];
  readonly earlyData: boolean;
  readonly ticketKeys: readonly Uint8Array[];
}

export interface TlsTable {
  readonly entries: readonly TlsEntry[];
  /** 'a.b' or '*.b', lower case. */
  readonly names: ReadonlyMap<string, TlsId>;
  /** What an unmatched or missing name gets; null rejects it with unrecognized_name. */
  readonly fallback: TlsId | null;
}

export interface Limits {
  connections: number;
  halfOpen: number;
  handshakesPerSecond: number;
  retryAbove: number;
  /** Per IPv4 address or IPv6 /64. */
  perAddress: number;
  handshakeMs: number;
  idleMs: number;
  bidi: number;
  uni: number;
  streamWindow: number;
  connWindow: number;
  datagrams: boolean;
}

export type RetryMode = 'off' | 'load' | 'always';

/** One endpoint per listener and worker. */
export interface ListenOptions {
  hosts: readonly string[];
  port: number;
  reusePort: boolean;
  cid: { nodeId: number; workerId: number; key: Uint8Array };
  /**
   * Where the workers of this node hand datagrams to each other (`caps.handover`). `name`: 16 hexadecimal digits, the same for this
   * listener in every worker. Without it, and by engines that have no hand-over of their own, `onForeign` is called instead.
   */
  handover?: { folder: string; name: string };
  resetKey: Uint8Array;
  tokenKeys: readonly Uint8Array[];
  retry: RetryMode;
  limits: Limits;
  tls: TlsTable;
  congestion: 'cubic' | 'bbr' | 'reno';
  receiveBuffer: number;
  sendBuffer: number;
  keylog?: string;
}

export interface Whereabouts {
  hosts: readonly string[];
  /** That of `ListenOptions.handover`; null without one. */
  name: string | null;
}

export interface ConnectOptions {
  /** An IP literal. */
  host: string;
  port: number;
  local: string | null;
  sni: string | null;
  alpn: readonly string[];
  /** null: Node's roots. */
  ca: Uint8Array | null;
  insecure: boolean;
  handshakeMs: number;
  idleMs: number;
}

export interface EngineCaps {
  migration: boolean;
  gso: boolean;
  pmtud: boolean;
  newToken: boolean;
  datagram: boolean;
  threads: boolean;
  pq: boolean;
  /** Hands datagrams of other workers' connections over by itself, when it is told where. */
  handover: boolean;
}

export interface QuicEngine {
  readonly name: string;
  readonly version: string;
  readonly caps: EngineCaps;
  /** Why no endpoint of this engine can serve with this pair, in a clause; null: it can. A table with one that cannot is refused as a whole. */
  unfit(pair: TlsPair): string | null;
  listen(o: ListenOptions, h: QuicHandler): Promise<QuicEndpoint>;
  connect(o: ConnectOptions, h: QuicHandler): Promise<QuicConn>;
}

export interface QuicHandler {
  /** Established, or early data readable (`c.early`). */
  onConnection(c: QuicConn): void;
  onData(c: QuicConn, id: number, buf: Uint8Array, start: number, end: number, fin: boolean): void;
  onReset(c: QuicConn, id: number, code: number): void;
  onStop(c: QuicConn, id: number, code: number): void;
  onWritable(c: QuicConn, id: number): void;
  onDatagram(c: QuicConn, buf: Uint8Array, start: number, end: number): void;
  /** `c.remote` has become another, validated address. */
  onPath(c: QuicConn): void;
  onClose(c: QuicConn, why: CloseReason): void;
  onTurnEnd(): void;
  onForeign(workerId: number, buf: Uint8Array, start: number, end: number, from: Address, to: Address): void;
  onFault(e: Error): void;
}

export interface CloseReason {
  side: 'local' | 'remote' | 'timeout' | 'reset';
  app: boolean;
  code: number;
  /** The peer's own words; of an error that the engine found (side `local`), what the engine calls it. */
  reason: string;
}

export interface ConnInfo {
  sni: string | null;
  alpn: string;
  tls: TlsId;
  resumed: boolean;
  peerChain: readonly Uint8Array[] | null;
  handshakeMs: number;
}

/** Cached by the engine for up to a second: cheap per request. */
export interface ConnStats {
  rttMs: number;
  lost: number;
  sent: number;
  received: number;
}

export interface QuicConn {
  readonly key: number;
  readonly early: boolean;
  readonly remote: Address;
  readonly local: Address;
  data: unknown;
  info(): ConnInfo;
  stats(): ConnStats;
  write(id: number, buf: Uint8Array, start: number, end: number, fin: boolean): boolean;
  openUni(): number;
  pause(id: number): void;
  resume(id: number): void;
  reset(id: number, code: number): void;
  stop(id: number, code: number): void;
  priority(id: number, urgency: number, incremental: boolean): void;
  datagram(buf: Uint8Array, start: number, end: number): boolean;
  ping(): void;
  /**
   * Streams with bytes for which the peer has had no room for `ms`; not those that only wait for their turn. An engine without it
   * cannot tell, and whoever waits for `onWritable` has to measure that.
   */
  stuck?(ms: number): readonly number[];
  /** An end that is written without bytes may get lost for good: whoever has bytes that mean nothing lets it go with them. */
  readonly losesBareEnds?: boolean;
  close(app: boolean, code: number, reason: string): void;
}

export const DROPS = [
  'empty',
  'malformed',
  'short_initial',
  'short_version',
  'version_limited',
  'unknown_connection',
  'token',
  'token_expired',
  'address_limit',
  'handshake_rate',
  'half_open',
  'connections',
  'draining',
  'foreign',
  'batch',
] as const;
export type Drop = (typeof DROPS)[number];

export const OUTCOMES = [
  'accepted',
  'refused_limit',
  'refused_draining',
  'handshake_timeout',
  'tls_failed',
  'alpn_failed',
  'sni_rejected',
  'client_gone',
] as const;
export type Outcome = (typeof OUTCOMES)[number];

export interface EndpointStats {
  connections: number;
  halfOpen: number;
  receiveBuffer: number;
  kernelDrops: number;
  /** [received, sent] */
  datagrams: [number, number];
  bytes: [number, number];
  handshakes: Readonly<Record<Outcome, number>>;
  dropped: Readonly<Record<Drop, number>>;
  answered: { retry: number; version: number; reset: number; refused: number };
  handover: HandoverStats;
}

/** What the engine itself handed to other workers, and got from them: zeros without `caps.handover`. */
export interface HandoverStats {
  readonly sent: number;
  readonly received: number;
  /** Of those received: reached a connection, or may begin one. */
  readonly delivered: number;
  /** The kernel took it not: the owner's buffer is full, or the owner is gone. */
  readonly lost: number;
  /** Of those received: malformed, for an address that is not ours, or for yet another worker. */
  readonly refused: number;
}

export const NO_HANDOVER: HandoverStats = { sent: 0, received: 0, delivered: 0, lost: 0, refused: 0 };

export interface QuicEndpoint {
  readonly addresses: readonly { host: string; port: number }[];
  setTls(t: TlsTable): void;
  setLimits(l: Limits): void;
  setRetry(m: RetryMode): void;
  /** For connections from now on. An engine without it takes another value only when it is bound anew. */
  setCongestion?(c: ListenOptions['congestion']): void;
  setKeys(k: { resetKey: Uint8Array; tokenKeys: readonly Uint8Array[] }): void;
  /**
   * Serves at these addresses beside those that it has, and answers to this hand-over's name as well. Resolves with where it is to be;
   * rejects with the system's error, and all is as it was. An engine without it is bound anew when addresses change.
   */
  widen?(w: Whereabouts): Promise<readonly { host: string; port: number }[]>;
  /**
   * Is there alone from now on, where `widen` was before, under this name. At other addresses newcomers are refused, and connections stay:
   * each of these sockets is closed when its last one is gone.
   */
  narrow?(w: Whereabouts): void;
  /** Another worker has handed this over: it is not handed on, but it may begin a connection. */
  forward(buf: Uint8Array, from: Address, to: Address): void;
  /**
   * From now on one of these workers takes what would begin a connection: all datagrams of one client's attempt go to the same,
   * the way that datagrams of other workers go. Own connections stay, also those in their handshake. An empty list ends it.
   */
  succeed(workers: readonly number[]): void;
  drain(): Promise<void>;
  close(): Promise<void>;
  stats(): EndpointStats;
}
