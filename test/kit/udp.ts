/** A bare UDP socket on loopback: sends what it is told, keeps a bounded part of what comes, and counts all of it. */
import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';

/** More than any test looks at. */
const KEPT = 4096;

export interface UdpAddress {
  readonly host: string;
  readonly port: number;
}

export class UdpPeer {
  readonly host: string;
  readonly port: number;
  /** The first ones that came. */
  readonly got: Buffer[] = [];
  received = 0;
  bytesIn = 0;
  bytesOut = 0;
  onMessage: ((datagram: Buffer, from: UdpAddress) => void) | null = null;
  readonly #socket: Socket;
  #closed = false;
  #waiters: { check: () => boolean; done: () => void }[] = [];

  private constructor(socket: Socket) {
    this.#socket = socket;
    const { address, port } = socket.address();
    this.host = address;
    this.port = port;
    socket.on('message', (datagram, from) => this.#take(datagram, from));
    // What a peer that has gone answers is no concern of a socket that anybody may send to.
    socket.on('error', () => undefined);
  }

  static open(host: string): Promise<UdpPeer> {
    const socket = createSocket({ type: host.includes(':') ? 'udp6' : 'udp4', recvBufferSize: 4 << 20, sendBufferSize: 4 << 20 });
    return new Promise((done, fail) => {
      socket.once('error', fail);
      socket.bind(0, host, () => done(new UdpPeer(socket)));
    });
  }

  get address(): string {
    return this.host.includes(':') ? `[${this.host}]:${this.port}` : `${this.host}:${this.port}`;
  }

  send(datagram: Uint8Array, to: UdpAddress): void {
    if (this.#closed) return;
    this.bytesOut += datagram.length;
    this.#socket.send(datagram, to.port, to.host);
  }

  /** Resolves as soon as a datagram makes `check` true; the test's own timeout is the bound. */
  until(check: () => boolean): Promise<void> {
    if (check()) return Promise.resolve();
    return new Promise((done) => this.#waiters.push({ check, done }));
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#socket.close();
  }

  #take(datagram: Buffer, from: RemoteInfo): void {
    this.received++;
    this.bytesIn += datagram.length;
    if (this.got.length < KEPT && this.onMessage === null) this.got.push(datagram);
    this.onMessage?.(datagram, { host: from.address, port: from.port });
    if (this.#waiters.length === 0) return;
    const ready = this.#waiters.filter((w) => w.check());
    this.#waiters = this.#waiters.filter((w) => !ready.includes(w));
    for (const w of ready) w.done();
  }
}
