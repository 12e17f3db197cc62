/**
 * A listener's limit of connections holds for the node: each worker has a share of it, and all that workers may have is never more than the limit.
 *
 *     main    shares --------------> shares (lower) ---------> shares (higher)
 *     worker              --> shared                --> shared
 *                       (all: what they use)      (all: what was given back is free)
 *
 * What a worker may have is its grant: the share that it confirmed, or what it had open at that moment if that was more; and as long as it has
 * not answered, whatever of the old and the new share is more. A share is raised only by what all the grants leave of the limit, so it does not
 * matter how long messages take, or what clients do meanwhile. A worker that was told nothing has nothing.
 */
import type { SocketShare, ToWorker } from '../contract/channel.ts';
import type { ListenerPart } from '../contract/snapshot/parts.ts';
import { socketKey, socketName } from '../contract/socket.ts';
import type { Clock } from '../lib/clock.ts';

export const SHARE_MS = 1000;
/** Sockets in a message. */
const SOCKETS = 500;

/**
 * `uses[i]` connections are open at worker i: it gets as many and an equal part of what is free, of which `absent` workers that are to come get
 * as much. When the uses alone are too many, each gets so much less than it uses that the others' with its share are no more than the total: by whom
 * some leave, nobody new comes instead of them until all are few enough.
 */
export const shareOut = (total: number, uses: readonly number[], absent = 0): number[] => {
  const used = sum(uses);
  if (used > total) return uses.map((n) => Math.max(0, n - (used - total)));
  const each = Math.floor((total - used) / Math.max(1, uses.length + absent));
  let rest = total - used - each * (uses.length + absent);
  return uses.map((n) => n + each + (rest-- > 0 ? 1 : 0));
};

export interface SharesOptions {
  readonly clock: Clock;
  /** Of a listener that sets no limit. */
  readonly total: number;
  /** How many workers there should be. */
  readonly count: number;
  readonly send: (worker: number, message: ToWorker) => void;
}

/** Of one worker at one socket. */
class Grant {
  /** The share that it was told last. */
  told = 0;
  /** Connections that it had, established or not, when it answered last. */
  used = 0;
  private held = 0;
  /** Shares that it has not answered for, oldest first. */
  private readonly asked: { readonly id: number; readonly share: number }[] = [];

  /** The most that it has, or may have before it hears of us again. */
  get most(): number {
    return this.asked.reduce((most, { share }) => Math.max(most, share), this.held);
  }

  tell(id: number, share: number): void {
    this.told = share;
    this.asked.push({ id, share });
  }

  answered(id: number, used: number): void {
    const at = this.asked.findIndex((a) => a.id === id);
    if (at < 0) return;
    const { share } = this.asked[at] as { share: number };
    this.asked.splice(0, at + 1);
    this.used = used;
    this.held = Math.max(share, used);
  }
}

class Socket {
  /** 0: no listener has it any more. */
  total: number;
  /** By worker. */
  readonly grants = new Map<number, Grant>();

  constructor(total: number) {
    this.total = total;
  }

  grant(worker: number): Grant {
    let grant = this.grants.get(worker);
    if (grant === undefined) this.grants.set(worker, (grant = new Grant()));
    return grant;
  }

  /** What nobody has, or may have. */
  get free(): number {
    let free = this.total;
    for (const grant of this.grants.values()) free -= grant.most;
    return free;
  }
}

interface Member {
  /** It takes nobody new. */
  leaving: boolean;
  /** Messages that it has not answered. */
  readonly unanswered: Set<number>;
}

export class Shares {
  private readonly o: SharesOptions;
  private readonly members = new Map<number, Member>();
  /** Workers that start beside those that there should be. */
  private readonly beside = new Set<number>();
  private readonly sockets = new Map<string, Socket>();
  /** What is used was asked for in this round, and has been shared out. */
  private fresh = false;
  private ids = 0;
  private cancel: (() => void) | null = null;

  constructor(o: SharesOptions) {
    this.o = o;
  }

  start(): void {
    this.cancel = this.o.clock.after(SHARE_MS, () => {
      // Whoever is silent is not waited for.
      this.round(this.silent());
      this.start();
    });
  }

  stop(): void {
    this.cancel?.();
    this.cancel = null;
  }

  /** A replacement of a worker that still serves starts: what it will have is given back meanwhile, so that it turns nobody away. */
  coming(worker: number): void {
    this.beside.add(worker);
    this.round(this.members.size !== 1);
  }

  /** A worker is up: what comes first to it are its shares. */
  joined(worker: number): void {
    this.beside.delete(worker);
    this.members.set(worker, { leaving: false, unanswered: new Set() });
    // One that was alone may never have been asked what it uses: it is lowered when that is known.
    this.round(this.members.size !== 2);
  }

  /** It drains: what it has not in use is for others. */
  leaving(worker: number): void {
    const member = this.members.get(worker);
    if (member === undefined) return;
    member.leaving = true;
    this.round();
  }

  /** Its process, and with it its connections, are gone. */
  left(worker: number): void {
    const came = !this.beside.delete(worker);
    if (!this.members.delete(worker) && came) return;
    for (const socket of this.sockets.values()) socket.grants.delete(worker);
    this.whenAnswered();
  }

  /** These are about to be served, by the workers' next load; if that fails, those before stay. Until it is known, both limits hold. */
  expect(parts: readonly ListenerPart[]): void {
    let news = false;
    for (const [name, total] of this.totals(parts)) {
      const socket = this.sockets.get(name);
      if (socket === undefined) this.sockets.set(name, new Socket(total));
      else if (socket.total === 0) socket.total = total;
      else if (total < socket.total) socket.total = total;
      else continue;
      news = true;
    }
    if (news) this.round();
  }

  /** These are served. */
  settle(parts: readonly ListenerPart[]): void {
    const totals = this.totals(parts);
    let news = false;
    for (const [name, socket] of this.sockets) {
      const total = totals.get(name) ?? 0;
      news ||= total !== socket.total;
      socket.total = total;
    }
    if (news) this.round();
  }

  /** A worker has taken the shares of a message, and had so many connections then. */
  answered(worker: number, id: number, uses: readonly SocketShare[]): void {
    if (this.members.get(worker)?.unanswered.delete(id) !== true) return;
    for (const { socket, connections } of uses) this.sockets.get(socket)?.grants.get(worker)?.answered(id, connections);
    this.whenAnswered();
  }

  private totals(parts: readonly ListenerPart[]): Map<string, number> {
    return new Map(parts.map((part) => [socketName(socketKey(part)), part.limits.connections ?? this.o.total]));
  }

  /** Everybody is asked what it uses, and, when something is new, told at once to give back what others are to have. */
  private round(lower = true): void {
    for (const [name, socket] of this.sockets) if (isDone(socket)) this.sockets.delete(name);
    this.fresh = false;
    this.pass(true, lower);
  }

  /** What they use is known then: once it is shared out anew, and whatever is given back goes to the others at once. */
  private whenAnswered(): void {
    if (this.silent()) return;
    const lower = !this.fresh;
    this.fresh = true;
    this.pass(false, lower);
  }

  private silent(): boolean {
    for (const member of this.members.values()) if (member.unanswered.size > 0) return true;
    return false;
  }

  private pass(ask: boolean, lower: boolean): void {
    const lists = new Map<number, SocketShare[]>();
    for (const worker of this.members.keys()) lists.set(worker, []);
    for (const [name, socket] of this.sockets) this.share(name, socket, ask, lower, lists);
    for (const [worker, list] of lists) this.tell(worker, list);
  }

  private share(name: string, socket: Socket, ask: boolean, lower: boolean, lists: ReadonlyMap<number, SocketShare[]>): void {
    // What is lowered counts as before until it is answered for.
    let { free } = socket;
    for (const [worker, want] of this.wants(socket)) {
      const grant = socket.grant(worker);
      const most = Math.min(want, grant.most + Math.max(0, free));
      const share = lower ? most : Math.max(most, grant.told);
      free -= Math.max(0, share - grant.most);
      if (share !== grant.told || (ask && this.mayAsk(worker, socket))) lists.get(worker)?.push({ socket: name, connections: share });
    }
  }

  /** Nobody is asked again who has not answered, nor one that has all of the limit for itself. */
  private mayAsk(worker: number, socket: Socket): boolean {
    if (this.members.size === 1 && this.beside.size === 0 && socket.total > 0 && socket.grant(worker).told === socket.total) return false;
    return this.members.get(worker)?.unanswered.size === 0;
  }

  /** As much as can be had when everybody has given back what it does not use. */
  private wants(socket: Socket): Map<number, number> {
    const staying = [...this.members].flatMap(([worker, member]) => (member.leaving ? [] : [worker]));
    const leaving = [...this.members].flatMap(([worker, member]) => (member.leaving ? [worker] : []));
    const left = Math.max(0, socket.total - sum(leaving.map((worker) => socket.grant(worker).used)));
    const uses = staying.map((worker) => socket.grant(worker).used);
    const shares = shareOut(left, uses, Math.max(0, this.o.count - staying.length) + this.beside.size);
    return new Map([
      ...leaving.map((worker): [number, number] => [worker, 0]),
      ...staying.map((worker, i): [number, number] => [worker, shares[i] as number]),
    ]);
  }

  private tell(worker: number, list: readonly SocketShare[]): void {
    for (let at = 0; at < list.length; at += SOCKETS) {
      const id = ++this.ids;
      const shares = list.slice(at, at + SOCKETS);
      this.members.get(worker)?.unanswered.add(id);
      for (const { socket, connections } of shares) this.sockets.get(socket)?.grant(worker).tell(id, connections);
      this.o.send(worker, { type: 'shares', id, shares });
    }
  }
}

/** Nobody serves it, and nobody has a connection there any more. */
function isDone(socket: Socket): boolean {
  return socket.total === 0 && socket.free === 0;
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((a, b) => a + b, 0);
}
