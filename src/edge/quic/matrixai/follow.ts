import { networkInterfaces } from 'node:os';
import type { Clock } from '../../../lib/clock.ts';
import { addressFrom, sameAddress } from '../address.ts';
import type { Address } from '../engine.ts';
import { isWildcard } from '../options.ts';
import { addressesOf, bindSocket, type Interfaces, type SocketOptions, type UdpSocket } from './socket.ts';

const EVERY_MS = 5000;
/** While there are sockets that leave. */
const OFTEN_MS = 250;

/** Whose sockets follow the interfaces. */
export interface Followed {
  readonly sockets: readonly UdpSocket[];
  uses(s: UdpSocket): boolean;
  add(s: UdpSocket): void;
  remove(s: UdpSocket): void;
}

/** Keeps the sockets of `0.0.0.0` and `::` in step with the addresses of the interfaces, which come and go. */
export class Follower {
  private hosts: readonly string[];
  /** Hosts that are to be served as well. */
  private also: readonly string[] = [];
  private readonly options: Omit<SocketOptions, 'host'>;
  private readonly followed: Followed;
  private readonly clock: Clock;
  private readonly interfaces: () => Interfaces;
  private cancel: (() => void) | null = null;
  private stopped = false;

  constructor(
    hosts: readonly string[],
    options: Omit<SocketOptions, 'host'>,
    followed: Followed,
    clock: Clock,
    interfaces: () => Interfaces = networkInterfaces,
  ) {
    this.hosts = hosts;
    this.options = options;
    this.followed = followed;
    this.clock = clock;
    this.interfaces = interfaces;
    this.plan();
  }

  /** Of these too, until it is known which stay. */
  widen(hosts: readonly string[]): void {
    this.also = hosts;
  }

  /** Of these alone from now on. */
  narrow(hosts: readonly string[]): void {
    this.hosts = hosts;
    this.also = [];
    const kept = this.places(this.wanted());
    for (const s of this.followed.sockets) s.leaving = kept.length > 0 && !kept.some((a) => sameAddress(a, s.local));
    this.cancel?.();
    this.plan();
  }

  stop(): void {
    this.stopped = true;
    this.cancel?.();
  }

  private plan(): void {
    if (this.stopped) return;
    const leaving = this.followed.sockets.some((s) => s.leaving);
    if (!leaving && !this.hosts.some(isWildcard)) return;
    this.cancel = this.clock.after(leaving ? OFTEN_MS : EVERY_MS, () => void this.look(this.hosts));
  }

  /** What fails now (an address that is still being probed, a port that another program holds there) is tried again the next time. */
  async look(hosts = this.hosts): Promise<void> {
    await this.match();
    // Others plan for hosts that are new meanwhile.
    if (hosts === this.hosts) this.plan();
  }

  private async match(): Promise<void> {
    const { hosts, also } = this;
    const wanted = this.wanted();
    if (wanted.size === 0) return;
    const { port } = this.options;
    for (const host of wanted) {
      const local = addressFrom(host, port) as Address;
      if (this.followed.sockets.some((s) => sameAddress(s.local, local))) continue;
      const socket = await bindSocket({ ...this.options, host }).catch(() => null);
      if (socket === null) continue;
      if (this.stopped) await socket.close();
      else this.followed.add(socket);
    }
    if (hosts !== this.hosts || also !== this.also) return;
    const kept = this.places(wanted);
    const gone = this.followed.sockets.filter((s) => !kept.some((a) => sameAddress(a, s.local)));
    for (const s of gone) if (!this.stopped && !this.followed.uses(s)) this.followed.remove(s);
  }

  private places(hosts: Iterable<string>): Address[] {
    return Array.from(hosts, (host) => addressFrom(host, this.options.port) as Address);
  }

  private wanted(): Set<string> {
    try {
      const interfaces = this.interfaces();
      return new Set([...this.hosts, ...this.also].flatMap((host) => addressesOf(host, interfaces)));
    } catch {
      return new Set();
    }
  }
}
