/** What main lets this worker have of each listener's connections, by socket: at one that it has not named, nobody is let in. */
import type { SocketShare } from '../../contract/channel.ts';

/** A socket, from before it is bound until its last connection is gone. */
export interface Sharer {
  readonly name: string;
  /** Connections that are open, or may come to be before it knows of another share. */
  connections(): number;
  shareChanged(): void;
}

export class Shares {
  private readonly shares = new Map<string, number>();
  private readonly sharers = new Set<Sharer>();
  private readonly guarded: (step: () => void) => void;

  /** `guarded`: one socket that fails is none of the others' business. */
  constructor(guarded: (step: () => void) => void) {
    this.guarded = guarded;
  }

  of(socket: string): number {
    return this.shares.get(socket) ?? 0;
  }

  /** These hold from now on; answers what is open at each of these sockets. */
  take(shares: readonly SocketShare[]): SocketShare[] {
    for (const { socket, connections } of shares) this.set(socket, connections);
    const uses = new Map(shares.map(({ socket }) => [socket, 0]));
    for (const sharer of this.sharers) {
      const use = uses.get(sharer.name);
      if (use !== undefined) uses.set(sharer.name, use + sharer.connections());
    }
    return Array.from(uses, ([socket, connections]) => ({ socket, connections }));
  }

  add(sharer: Sharer): void {
    this.sharers.add(sharer);
  }

  remove(sharer: Sharer): void {
    this.sharers.delete(sharer);
  }

  private set(socket: string, connections: number): void {
    if (this.of(socket) === connections) return;
    if (connections > 0) this.shares.set(socket, connections);
    else this.shares.delete(socket);
    for (const sharer of this.sharers) if (sharer.name === socket) this.guarded(() => sharer.shareChanged());
  }
}
