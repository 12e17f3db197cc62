/**
 * A NAT between clients on loopback and one server: each client gets an outside socket of its own, and a test changes its port or its
 * address whenever it likes, in the midst of a transfer. Nothing happens by chance: a change takes hold with a client's next datagram, and
 * what is dropped or doubled is what `judge` says.
 *
 *     const nat = await Nat.open({ host: '127.0.0.1', port }, '127.0.0.2');
 *     client.open({ ...dial, address: nat.address });
 *     await nat.passed('down', 4 * MIB);
 *     await nat.rebind('127.0.0.3');
 */
import { UdpPeer, type UdpAddress } from './udp.ts';

export type Direction = 'up' | 'down';
export type Verdict = 'pass' | 'drop' | 'twice';
/** `n` counts the datagrams of this direction, from 0; `outside` is the socket that it leaves by or came to. */
export type Judge = (datagram: Buffer, direction: Direction, n: number, outside: UdpPeer) => Verdict;

const CLIENTS = 64;
const REBINDINGS = 256;
/** Datagrams of a client whose outside socket is being bound. */
const WAITING = 64;

const pass: Judge = () => 'pass';

class Flow {
  readonly client: UdpAddress;
  /** The last one is in use. */
  readonly outsides: UdpPeer[] = [];
  /** In use from the client's next datagram on. */
  next: UdpPeer | null = null;
  /** What comes to a socket before this one does not reach the client any more. */
  known = 0;
  forget = false;
  waiting: Buffer[] = [];

  constructor(client: UdpAddress) {
    this.client = client;
  }

  get outside(): UdpPeer | undefined {
    return this.outsides.at(-1);
  }
}

interface Tally {
  datagrams: number;
  bytes: number;
  /** The longest datagram. */
  longest: number;
}

interface Waiter {
  readonly direction: Direction;
  readonly bytes: number;
  readonly done: () => void;
}

export class Nat {
  judge: Judge = pass;
  readonly passedBy: Readonly<Record<Direction, Tally>> = {
    up: { datagrams: 0, bytes: 0, longest: 0 },
    down: { datagrams: 0, bytes: 0, longest: 0 },
  };
  /** The client's latest datagram. */
  last: Buffer | null = null;
  readonly #server: UdpAddress;
  readonly #inside: UdpPeer;
  readonly #flows = new Map<string, Flow>();
  #host: string;
  #rebindings = 0;
  #waiters: Waiter[] = [];
  #closed = false;

  private constructor(server: UdpAddress, inside: UdpPeer, host: string) {
    this.#server = server;
    this.#inside = inside;
    this.#host = host;
    inside.onMessage = (datagram, from) => this.#up(datagram, from);
  }

  /** `outside`: the address that the server sees. */
  static async open(server: UdpAddress, outside: string): Promise<Nat> {
    return new Nat(server, await UdpPeer.open(outside.includes(':') ? '::1' : '127.0.0.1'), outside);
  }

  /** Where clients send to. */
  get address(): string {
    return this.#inside.address;
  }

  /** The outside sockets of the client that came last; the one in use is the last. */
  get outsides(): readonly UdpPeer[] {
    return [...this.#flows.values()].at(-1)?.outsides ?? [];
  }

  get outside(): UdpPeer {
    const outside = this.outsides.at(-1);
    if (outside === undefined) throw new Error('the client has sent nothing yet');
    return outside;
  }

  /**
   * Other outside ports, at another address when one is given, from each client's next datagram on. What is on its way to the old ones
   * still arrives, unless they are forgotten in that moment.
   */
  async rebind(host = this.#host, { forget = false } = {}): Promise<void> {
    if (++this.#rebindings > REBINDINGS) throw new Error('too many rebindings');
    this.#host = host;
    for (const flow of this.#flows.values()) {
      const next = await this.#bind(flow);
      flow.next?.close();
      flow.next = next;
      flow.forget = forget;
    }
  }

  /** Resolves when so many bytes, from the beginning, have gone that way. */
  passed(direction: Direction, bytes: number): Promise<void> {
    if (this.passedBy[direction].bytes >= bytes) return Promise.resolve();
    return new Promise((done) => this.#waiters.push({ direction, bytes, done }));
  }

  close(): void {
    this.#closed = true;
    this.#inside.close();
    for (const flow of this.#flows.values()) {
      flow.next?.close();
      for (const outside of flow.outsides) outside.close();
    }
  }

  async #bind(flow: Flow): Promise<UdpPeer> {
    const outside = await UdpPeer.open(this.#host);
    outside.onMessage = (datagram) => this.#down(flow, outside, datagram);
    if (this.#closed) outside.close();
    return outside;
  }

  #up(datagram: Buffer, from: UdpAddress): void {
    const key = `${from.host} ${from.port}`;
    const flow = this.#flows.get(key);
    if (flow !== undefined) this.#leave(flow, datagram);
    else if (this.#flows.size < CLIENTS) this.#welcome(key, from, datagram);
  }

  #welcome(key: string, from: UdpAddress, datagram: Buffer): void {
    const flow = new Flow(from);
    this.#flows.set(key, flow);
    flow.waiting.push(datagram);
    void this.#bind(flow).then((outside) => {
      flow.outsides.push(outside);
      for (const waiting of flow.waiting.splice(0)) this.#leave(flow, waiting);
    });
  }

  #leave(flow: Flow, datagram: Buffer): void {
    if (flow.outsides.length === 0) {
      if (flow.waiting.length < WAITING) flow.waiting.push(datagram);
      return;
    }
    if (flow.next !== null) {
      flow.outsides.push(flow.next);
      flow.next = null;
      if (flow.forget) flow.known = flow.outsides.length - 1;
    }
    const outside = flow.outside as UdpPeer;
    this.last = datagram;
    this.#deliver(datagram, 'up', outside, () => outside.send(datagram, this.#server));
  }

  #down(flow: Flow, outside: UdpPeer, datagram: Buffer): void {
    if (flow.outsides.indexOf(outside) < flow.known) return;
    this.#deliver(datagram, 'down', outside, () => this.#inside.send(datagram, flow.client));
  }

  #deliver(datagram: Buffer, direction: Direction, outside: UdpPeer, send: () => void): void {
    const tally = this.passedBy[direction];
    const verdict = this.judge(datagram, direction, tally.datagrams, outside);
    tally.datagrams++;
    if (verdict === 'drop') return;
    tally.bytes += datagram.length;
    tally.longest = Math.max(tally.longest, datagram.length);
    send();
    if (verdict === 'twice') send();
    this.#wake();
  }

  #wake(): void {
    if (this.#waiters.length === 0) return;
    const ready = this.#waiters.filter((w) => this.passedBy[w.direction].bytes >= w.bytes);
    if (ready.length === 0) return;
    this.#waiters = this.#waiters.filter((w) => !ready.includes(w));
    for (const w of ready) w.done();
  }
}
