import { connKey } from '../cid.ts';
import {
  DROPS,
  NO_HANDOVER,
  OUTCOMES,
  type Address,
  type EndpointStats,
  type Limits,
  type ListenOptions,
  type QuicEndpoint,
  type RetryMode,
  type TlsTable,
  type Whereabouts,
} from '../engine.ts';
import { checkCongestion, checkSuccessors } from '../options.ts';
import { Link, type LinkOptions, type LinkOwner } from './link.ts';
import { keysJson, limitsJson, listenJson, tlsJson, whereaboutsJson, type Debugging } from './options.ts';

/** A listening endpoint of the addon. Once it is dead or closed, what is said to it is forgotten. */
export class NativeEndpoint implements QuicEndpoint, LinkOwner {
  readonly server = true;
  private readonly addon: LinkOptions['addon'];
  private readonly link: Link;
  private waiting: (() => void)[] = [];
  private draining = false;
  private over = false;
  private closing: Promise<void> | null = null;
  private lastStats: EndpointStats = NO_STATS;
  addresses: readonly { host: string; port: number }[];

  constructor(o: ListenOptions, link: LinkOptions, debugging: Debugging) {
    this.addon = link.addon;
    const json = listenJson(o, debugging);
    this.link = new Link(link, this, (turn, fault) => link.addon.open(json, turn, fault));
    this.addresses = this.link.addresses;
  }

  // What the worker says

  setTls(t: TlsTable): void {
    const json = tlsJson(t);
    if (!this.link.gone) this.addon.setTls(this.link.handle, json);
  }

  setLimits(l: Limits): void {
    const json = limitsJson(l);
    if (!this.link.gone) this.addon.setLimits(this.link.handle, json);
  }

  setRetry(m: RetryMode): void {
    if (!this.link.gone) this.addon.setRetry(this.link.handle, m);
  }

  setCongestion(c: ListenOptions['congestion']): void {
    checkCongestion('native', c);
    if (!this.link.gone) this.addon.setCongestion(this.link.handle, c);
  }

  setKeys(k: { resetKey: Uint8Array; tokenKeys: readonly Uint8Array[] }): void {
    const json = keysJson(k);
    if (!this.link.gone) this.addon.setKeys(this.link.handle, json);
  }

  forward(buf: Uint8Array, from: Address, to: Address): void {
    if (this.link.gone) return;
    this.addon.forward(this.link.handle, buf, from, to);
    this.link.schedule();
  }

  succeed(workers: readonly number[]): void {
    checkSuccessors(workers);
    if (!this.link.gone) this.addon.succeed(this.link.handle, JSON.stringify(workers));
  }

  async widen(w: Whereabouts): Promise<readonly { host: string; port: number }[]> {
    if (this.link.gone) return this.addresses;
    return JSON.parse(this.addon.widen(this.link.handle, whereaboutsJson(w))) as { host: string; port: number }[];
  }

  narrow(w: Whereabouts): void {
    if (this.link.gone) return;
    this.addon.narrow(this.link.handle, whereaboutsJson(w));
    const port = this.addresses[0]?.port ?? 0;
    this.addresses = w.hosts.map((host) => ({ host, port }));
  }

  async drain(): Promise<void> {
    if (this.over || this.link.gone) return;
    try {
      if (!this.draining) this.addon.drain(this.link.handle);
    } catch (e) {
      // It has just died: there is nothing left to be waited for.
      this.link.report('quic_drain', e);
      return;
    }
    this.draining = true;
    this.link.schedule();
    await new Promise<void>((done) => this.waiting.push(done));
  }

  close(): Promise<void> {
    this.closing ??= this.end();
    return this.closing;
  }

  private async end(): Promise<void> {
    if (this.link.batch) await new Promise((done) => setImmediate(done));
    this.lastStats = { ...this.stats(), connections: 0, halfOpen: 0 };
    this.link.close();
    this.drained();
  }

  /** The last ones of an endpoint that cannot be asked any more. */
  stats(): EndpointStats {
    if (this.link.gone) return this.lastStats;
    try {
      this.lastStats = JSON.parse(this.addon.stats(this.link.handle)) as EndpointStats;
    } catch (e) {
      this.link.report('quic_stats', e);
    }
    return this.lastStats;
  }

  // What the link says

  keyOf(slot: number, generation: number): number {
    return connKey(slot, generation);
  }

  connected(): void {}

  failed(): void {}

  ended(): void {}

  drained(): void {
    this.over = true;
    const list = this.waiting;
    this.waiting = [];
    for (const done of list) done();
  }

  faulted(): void {
    this.drained();
  }
}

const zeros = <Name extends string>(names: readonly Name[]): Record<Name, number> =>
  Object.fromEntries(names.map((n) => [n, 0])) as Record<Name, number>;

const NO_STATS: EndpointStats = {
  connections: 0,
  halfOpen: 0,
  receiveBuffer: 0,
  kernelDrops: 0,
  datagrams: [0, 0],
  bytes: [0, 0],
  handshakes: zeros(OUTCOMES),
  dropped: zeros(DROPS),
  answered: { retry: 0, version: 0, reset: 0, refused: 0 },
  handover: NO_HANDOVER,
};
