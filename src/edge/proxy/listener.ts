import type { BoundListener, WorkerStart } from '../../contract/channel.ts';
import type { ListenerPart } from '../../contract/snapshot/index.ts';
import type { H3Limits } from '../http/h3/options.ts';
import { createH3Server, type H3Server } from '../http/h3/server.ts';
import type { EndpointStats, Limits, ListenOptions, QuicEndpoint, QuicEngine, RetryMode, Whereabouts } from '../quic/engine.ts';
import { ListenerApp, type ViewSource } from './app.ts';
import { CountedHandler, ListenerRows } from './listenerrows.ts';
import { isAt, placeOf, type Place } from './place.ts';
import { internalError, type Plant } from './plant.ts';
import type { Sharer, Shares } from './shares.ts';
import type { Slices } from './slices.ts';
import { renewal } from './tls.ts';
import type { ListenerView } from './view.ts';

/** What the sockets of a worker have in common. */
export interface Wiring {
  readonly plant: Plant;
  readonly engine: QuicEngine;
  readonly workers: number;
  readonly handover: WorkerStart['handover'];
  readonly shares: Shares;
  readonly cid: ListenOptions['cid'];
  readonly resetKey: (port: number) => Uint8Array;
  readonly tokenKeys: () => readonly Uint8Array[];
  readonly receiveBuffer: number;
  readonly sendBuffer: number;
  /** The view of a listener in the active snapshot; null when it has none (yet, or any more). */
  readonly active: (listener: Listener) => ListenerView | null;
  readonly onFault: (e: Error) => void;
}

const ANY = ['0.0.0.0', '::'] as const;
/** A kernel without that family, or an interface whose address is not usable (yet). */
const NO_FAMILY = new Set(['EAFNOSUPPORT', 'EADDRNOTAVAIL', 'EINVAL', 'EPROTONOSUPPORT']);

const CONGESTION = { Reno: 'reno', Cubic: 'cubic', BBR: 'bbr' } as const;
const RETRY: Readonly<Record<ListenerPart['quic']['retry'], RetryMode>> = { Auto: 'load', Always: 'always', Never: 'off' };
/** How long connections may finish at addresses that are gone, or with a listener that is. */
export const RETIRE_MS = 60_000;
/** Half-open connections from which on addresses are validated first. */
const RETRY_ABOVE = 100;
/** What of the handshakes per second clients that never come back may use up: with a low rate, they would have all of it before there are so many of them. */
const UNPROVEN_SHARE = 1 / 4;
const HALF_OPEN = 4096;
/** Three that HTTP/3 needs, and room for what clients grease with. */
const UNI_STREAMS = 16;
/** What all streams of a connection may have in flight together, in windows of one stream. */
const WINDOWS_PER_CONNECTION = 16;

/** One bound listener: socket, HTTP/3 server, application. It outlives snapshots for as long as its port does, or its name. */
export class Listener implements ViewSource, Sharer {
  private place: Place;
  /** Where it is to be when the snapshot that is loaded is switched to. */
  private next: Place | null = null;
  private cancelRetirement = (): void => {};
  private readonly wiring: Wiring;
  private readonly resetKey: Uint8Array;
  private readonly app: ListenerApp;
  private readonly server: H3Server;
  private readonly rows: ListenerRows;
  private endpoint: QuicEndpoint | null = null;
  /** What it serves while the active snapshot says nothing of it: before its first switch, and while it drains. */
  private own: ListenerView;
  private h3: H3Limits;
  /** Its share when it began to bind. */
  private binding = 0;
  private congestion: ListenerPart['quic']['congestionControl'];
  private counted: EndpointStats | null = null;
  private ending: Promise<void> | null = null;

  private constructor(wiring: Wiring, view: ListenerView) {
    this.place = placeOf(view.part, [], []);
    this.wiring = wiring;
    this.resetKey = wiring.resetKey(view.part.port);
    this.own = view;
    this.congestion = view.part.quic.congestionControl;
    this.h3 = h3Limits(view.part);
    this.rows = new ListenerRows(wiring.plant);
    this.app = new ListenerApp(wiring.plant, this);
    this.app.addTable(view.tls);
    this.server = createH3Server({
      clock: wiring.plant.clock,
      wheel: wiring.plant.wheel,
      limits: () => this.h3,
      app: this.app,
      onInternalError: (where, error) => internalError(wiring.plant, `h3.${where}`, error),
      onForeign: () => this.rows.foreign(),
      onFault: (e) => wiring.onFault(e),
    });
  }

  /** Binds; rejects with the system's error. Nothing is told to anybody before the switch, though clients may come already. */
  static async bind(wiring: Wiring, view: ListenerView): Promise<Listener> {
    const listener = new Listener(wiring, view);
    listener.binding = wiring.shares.of(listener.name);
    wiring.shares.add(listener);
    try {
      listener.endpoint = await listener.open(view);
    } catch (e) {
      wiring.shares.remove(listener);
      throw e;
    }
    if (wiring.shares.of(listener.name) !== listener.binding) listener.shareChanged();
    return listener;
  }

  get key(): string {
    return this.place.key;
  }

  /** Of its socket. */
  get name(): string {
    return this.place.name;
  }

  /** Whether it can come to be where this one is to be. */
  canMoveTo(view: ListenerView): boolean {
    const { namespace, name, port } = this.own.part;
    return this.endpoint?.widen !== undefined && view.part.namespace === namespace && view.part.name === name && view.part.port === port;
  }

  /** Serves where this view is, beside where it is. Rejects with the system's error. */
  async widen(view: ListenerView): Promise<void> {
    const widen = async (hosts: readonly string[]): Promise<Place> => {
      const place = placeOf(view.part, hosts, []);
      return { ...place, addresses: (await this.endpoint?.widen?.(this.whereabouts(place))) ?? [] };
    };
    this.next = await this.somewhere(view, view.part.addresses, widen);
  }

  /** The view that it was widened for is not switched to. */
  stay(): void {
    if (this.next === null) return;
    this.next = null;
    this.endpoint?.narrow?.(this.whereabouts(this.place));
  }

  /** Newcomers are refused where it was and is not any more; who is there already is sent away, and has time for what is under way. */
  private move(to: Place): void {
    this.next = null;
    this.place = to;
    this.endpoint?.narrow?.(this.whereabouts(to));
    this.server.drainSome((c) => !isAt(to.hosts, c.local));
    this.cancelRetirement();
    this.cancelRetirement = this.wiring.plant.clock.after(RETIRE_MS, () => this.server.closeSome());
  }

  private whereabouts(place: Place): Whereabouts {
    return { hosts: place.hosts, name: this.wiring.handover === null ? null : place.name };
  }

  view(): ListenerView {
    return this.wiring.active(this) ?? this.own;
  }

  /** The snapshot was switched: what the sockets and connections need to know of it. */
  apply(view: ListenerView): void {
    const before = this.own;
    this.own = view;
    this.h3 = h3Limits(view.part);
    this.app.addTable(view.tls);
    const endpoint = this.endpoint as QuicEndpoint;
    if (this.next !== null && this.next.key === placeOf(view.part, [], []).key) this.move(this.next);
    endpoint.setLimits(this.limits(view));
    endpoint.setRetry(RETRY[view.part.quic.retry]);
    if (view.tls !== before.tls) endpoint.setTls(view.tls);
    if (view.part.quic.congestionControl !== this.congestion) this.setCongestion(endpoint, view);
  }

  /** Nothing but ticket keys is new: the engine gets them in steps, between which the event loop has its turns. */
  async renew(view: ListenerView, slices: Slices): Promise<void> {
    const before = this.own.tls;
    this.own = view;
    // Under either table, entry by entry, as far as the engine has come.
    this.app.addTable(view.tls);
    for (const table of renewal(before, view.tls)) {
      await slices.pause();
      // Another snapshot was switched to, and the engine has its table.
      if (this.own.tls !== view.tls) return;
      this.endpoint?.setTls(table);
    }
  }

  private setCongestion(endpoint: QuicEndpoint, view: ListenerView): void {
    this.congestion = view.part.quic.congestionControl;
    if (endpoint.setCongestion !== undefined) endpoint.setCongestion(CONGESTION[this.congestion]);
    else this.wiring.plant.log('warn', 'congestionControl changes when the process is started again', { listener: view.label });
  }

  /** This worker's part of the node's `limits.connections` is another one. */
  shareChanged(): void {
    this.endpoint?.setLimits(this.limits(this.own));
  }

  connections(): number {
    if (this.endpoint === null) return this.binding;
    const { connections, halfOpen } = this.endpoint.stats();
    return connections + halfOpen;
  }

  /** Newcomers that have waited too long. */
  turnedAway(): number {
    return this.endpoint?.stats().dropped.batch ?? 0;
  }

  setTokenKeys(): void {
    this.endpoint?.setKeys({ resetKey: this.resetKey, tokenKeys: this.wiring.tokenKeys() });
  }

  /** Under the name of the view that is to serve here: before the switch `own` may have another one. */
  bound(view: ListenerView): BoundListener {
    const { namespace, name } = view.part;
    const endpoint = this.endpoint as QuicEndpoint;
    const { addresses } = this.next ?? this.place;
    return { namespace, name, addresses, receiveBuffer: endpoint.stats().receiveBuffer };
  }

  /** These workers take new connections; those that there are stay. */
  succeed(workers: readonly number[]): void {
    this.endpoint?.succeed(workers);
  }

  /** New connections are refused, open ones asked to go (RFC 9114 s5.2); those that are left after `ms` are closed. */
  drain(ms: number): Promise<void> {
    this.ending ??= this.end(ms);
    return this.ending;
  }

  async close(): Promise<void> {
    this.cancelRetirement();
    this.server.closeAll();
    await this.endpoint?.close();
    this.wiring.shares.remove(this);
  }

  /** Brings the counters up to date with the engine's. */
  measure(): void {
    if (this.endpoint === null) return;
    const stats = this.endpoint.stats();
    this.rows.measure(this.view(), stats, this.counted);
    this.counted = stats;
  }

  forgetGauges(): void {
    this.rows.forget(this.own);
  }

  private async end(ms: number): Promise<void> {
    const endpoint = this.endpoint as QuicEndpoint;
    const gone = endpoint.drain();
    this.server.drain();
    let cancel = (): void => {};
    const late = new Promise<void>((done) => {
      cancel = this.wiring.plant.clock.after(ms, done);
    });
    await Promise.race([gone, late]);
    cancel();
    this.measure();
    await this.close();
  }

  private async open(view: ListenerView): Promise<QuicEndpoint> {
    return this.somewhere(view, view.part.addresses, async (hosts) => {
      const endpoint = await this.listen(view, hosts);
      this.place = placeOf(view.part, hosts, endpoint.addresses);
      return endpoint;
    });
  }

  /** At these addresses; where none is named, at all that this kernel has. */
  private async somewhere<T>(view: ListenerView, addresses: readonly string[], be: (hosts: readonly string[]) => Promise<T>): Promise<T> {
    if (addresses.length > 0) return be(addresses);
    try {
      return await be(ANY);
    } catch (e) {
      if (!NO_FAMILY.has(codeOf(e))) throw e;
    }
    try {
      return await this.oneFamily(view, '0.0.0.0', 'IPv6', be);
    } catch (e) {
      if (!NO_FAMILY.has(codeOf(e))) throw e;
      return this.oneFamily(view, '::', 'IPv4', be);
    }
  }

  private async oneFamily<T>(view: ListenerView, host: string, missing: string, be: (hosts: readonly string[]) => Promise<T>): Promise<T> {
    const there = await be([host]);
    this.wiring.plant.log('warn', 'address family not available', { listener: view.label, family: missing });
    return there;
  }

  private listen(view: ListenerView, hosts: readonly string[]): Promise<QuicEndpoint> {
    const { wiring } = this;
    const { quic, port } = view.part;
    const { handover } = wiring;
    return wiring.engine.listen(
      {
        hosts,
        port,
        reusePort: handover !== null,
        cid: wiring.cid,
        ...(handover === null ? {} : { handover: { folder: handover.folder, name: this.name } }),
        resetKey: this.resetKey,
        tokenKeys: wiring.tokenKeys(),
        retry: RETRY[quic.retry],
        limits: this.limits(view),
        tls: view.tls,
        congestion: CONGESTION[quic.congestionControl],
        receiveBuffer: wiring.receiveBuffer,
        sendBuffer: wiring.sendBuffer,
      },
      new CountedHandler(this.server.handler, this.rows),
    );
  }

  private limits(view: ListenerView): Limits {
    const { quic, limits } = view.part;
    const { workers, shares } = this.wiring;
    const connections = shares.of(this.name);
    const handshakesPerSecond = partOf(limits.handshakesPerSecond, workers);
    return {
      connections,
      halfOpen: Math.min(connections, HALF_OPEN),
      handshakesPerSecond,
      retryAbove: retryAbove(handshakesPerSecond, quic.handshakeTimeoutMs),
      perAddress: partOf(limits.connectionsPerAddress, workers),
      handshakeMs: quic.handshakeTimeoutMs,
      idleMs: quic.idleTimeoutMs,
      bidi: quic.maxStreams,
      uni: UNI_STREAMS,
      streamWindow: quic.streamWindow,
      connWindow: quic.streamWindow * Math.min(quic.maxStreams, WINDOWS_PER_CONNECTION),
      datagrams: false,
    };
  }
}

/** What each worker counts by itself: together they never have more than the limit, unless that is less than one for each. */
function partOf(limit: number, workers: number): number {
  return Math.max(1, Math.floor(limit / workers));
}

/** Those who never come back are half-open for the whole of the timeout, and as many as may be half-open begin anew in each. */
function retryAbove(handshakesPerSecond: number, handshakeTimeoutMs: number): number {
  return Math.max(1, Math.min(RETRY_ABOVE, Math.floor(((handshakesPerSecond * handshakeTimeoutMs) / 1000) * UNPROVEN_SHARE)));
}

export function codeOf(e: unknown): string {
  return typeof e === 'object' && e !== null && 'code' in e && typeof e.code === 'string' ? e.code : 'unknown';
}

function h3Limits(part: ListenerPart): H3Limits {
  const { limits, quic } = part;
  return {
    headerBytes: limits.headerBytes,
    headerCount: limits.headerCount,
    headerTimeoutMs: limits.headerTimeoutMs,
    responseStallMs: limits.responseStallMs,
    noRequestTimeoutMs: limits.noRequestTimeoutMs,
    requestsPerConnection: limits.requestsPerConnection,
    maxStreams: quic.maxStreams,
    keepAliveMs: quic.keepAliveMs < 0 ? Math.floor(quic.idleTimeoutMs / 2) : quic.keepAliveMs,
  };
}
