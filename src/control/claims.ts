/**
 * Whether somebody else has a UDP port. Workers share their ports, and the kernel lets every process of this user join in: what would be an
 * error for one socket would be two programs that each get a part of the datagrams.
 */
import { createSocket } from 'node:dgram';
import { isIPv6 } from 'node:net';
import type { ListenerPart } from '../contract/snapshot/index.ts';
import type { Clock } from '../lib/clock.ts';

/** Longer than a worker lets a listener drain that is gone: its socket is ours until then. */
const LEAVING_MS = 90_000;
const ANY = ['0.0.0.0', '::'] as const;

export class Claims {
  private readonly clock: Clock;
  private readonly held = new Set<number>();
  /** Ports that were held, and until when workers may still have them. */
  private readonly leaving = new Map<number, number>();
  /** Of a process tree that this one takes over from. */
  private inherited: ReadonlySet<number> = new Set();

  constructor(clock: Clock) {
    this.clock = clock;
  }

  inherit(ports: Iterable<number>): void {
    this.inherited = new Set(ports);
  }

  ports(): number[] {
    return [...this.held];
  }

  /** These have sockets of ours now, and no others but what leaves. */
  hold(ports: ReadonlySet<number>): void {
    const until = this.clock.now() + LEAVING_MS;
    for (const port of this.held) if (!ports.has(port)) this.leaving.set(port, until);
    this.held.clear();
    for (const port of ports) this.held.add(port);
    for (const [port, end] of this.leaving) if (this.held.has(port) || end <= this.clock.now()) this.leaving.delete(port);
  }

  /** Binds the port for a moment, alone. Any other trouble than that it is taken is the workers' to tell. */
  async taken(part: Pick<ListenerPart, 'port' | 'addresses'>): Promise<boolean> {
    if (part.port === 0 || this.ours(part.port)) return false;
    for (const host of part.addresses.length > 0 ? part.addresses : ANY) if (await isTaken(host, part.port)) return true;
    return false;
  }

  private ours(port: number): boolean {
    return this.held.has(port) || this.inherited.has(port) || (this.leaving.get(port) ?? 0) > this.clock.now();
  }
}

function isTaken(host: string, port: number): Promise<boolean> {
  const v6 = isIPv6(host);
  const socket = createSocket({ type: v6 ? 'udp6' : 'udp4', ipv6Only: v6 });
  return new Promise((resolve) => {
    const end = (taken: boolean): void => {
      socket.removeAllListeners('error');
      socket.on('error', () => {});
      socket.close(() => resolve(taken));
    };
    socket.once('error', (e: NodeJS.ErrnoException) => end(e.code === 'EADDRINUSE'));
    socket.bind({ port, address: host, exclusive: true }, () => end(false));
  });
}
