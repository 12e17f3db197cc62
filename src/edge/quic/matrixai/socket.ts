import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import { isIPv6 } from 'node:net';
import { networkInterfaces } from 'node:os';
import { addressFrom } from '../address.ts';
import type { Address } from '../engine.ts';
import { isWildcard } from '../options.ts';
import { MAX_SEND } from './binding.ts';

/**
 * Datagrams wait in this ring until dgram has handed them to the kernel (on the next tick): far more places than one turn sends.
 * One for the process; the slots are buffers of their own, since the binding wants one per call.
 */
const RING = 4096;
const ring: Buffer[] = [];
let ringAt = 0;

/** Sends may be queued in libuv when the kernel's buffer is full; beyond this many the socket counts as blocked. */
const MAX_QUEUED = 1024;

export function nextSlot(): Buffer {
  if (ring.length < RING) {
    const slot = Buffer.allocUnsafeSlow(MAX_SEND);
    ring.push(slot);
    return slot;
  }
  ringAt = (ringAt + 1) % RING;
  return ring[ringAt] as Buffer;
}

export type Receive = (socket: UdpSocket, msg: Buffer, from: RemoteInfo) => void;

export interface SocketOptions {
  readonly host: string;
  readonly port: number;
  readonly reusePort: boolean;
  readonly receiveBuffer: number;
  readonly sendBuffer: number;
}

/** One bound address. Node tells no destination of a datagram, so every address has a socket of its own. */
export class UdpSocket {
  readonly host: string;
  readonly port: number;
  readonly local: Address;
  /** What the kernel granted, in the unit in which it was asked. */
  readonly receiveBuffer: number;
  sentDatagrams = 0;
  sentBytes = 0;
  /** Datagrams that the kernel dropped here, as it said when it was asked last. */
  kernelDrops = 0;
  /** Its address is to be left: newcomers are refused. */
  leaving = false;
  private readonly socket: Socket;

  constructor(socket: Socket, receiveBuffer: number) {
    const at = socket.address();
    this.socket = socket;
    this.host = at.address;
    this.port = at.port;
    this.local = addressFrom(at.address, at.port) as Address;
    this.receiveBuffer = receiveBuffer;
  }

  listen(receive: Receive, failed: (e: Error) => void): void {
    this.socket.on('message', (msg, from) => receive(this, msg, from));
    this.socket.on('error', failed);
  }

  /** The first `length` bytes of `buf`, which stays untouched until the next tick at least. */
  send(buf: Uint8Array, length: number, port: number, host: string): void {
    this.sentDatagrams++;
    this.sentBytes += length;
    this.socket.send(buf, 0, length, port, host);
  }

  get blocked(): boolean {
    return this.socket.getSendQueueCount() > MAX_QUEUED;
  }

  close(): Promise<void> {
    return new Promise((done) => {
      this.socket.removeAllListeners('message');
      this.socket.removeAllListeners('error');
      this.socket.on('error', ignore);
      this.socket.close(() => done());
    });
  }
}

function ignore(): void {}

export async function bindSocket(o: SocketOptions): Promise<UdpSocket> {
  const v6 = isIPv6(o.host);
  const socket = createSocket({ type: v6 ? 'udp6' : 'udp4', reusePort: o.reusePort, ipv6Only: v6 });
  await new Promise<void>((done, fail) => {
    socket.once('error', fail);
    socket.bind(o.port, o.host, () => {
      socket.removeListener('error', fail);
      done();
    });
  }).catch((e: unknown) => {
    socket.close();
    throw e;
  });
  if (o.receiveBuffer > 0) socket.setRecvBufferSize(o.receiveBuffer);
  if (o.sendBuffer > 0) socket.setSendBufferSize(o.sendBuffer);
  // Linux says twice what it was asked for: the other half is for its own records (socket(7)).
  return new UdpSocket(socket, socket.getRecvBufferSize() / 2);
}

const PORT_ATTEMPTS = 16;

/** One socket per address, all on one port; port 0 asks the kernel for one that is free on all of them. */
export async function bindAll(
  hosts: readonly string[],
  o: Omit<SocketOptions, 'host'>,
  interfaces: Interfaces = networkInterfaces(),
): Promise<UdpSocket[]> {
  const list = expandHosts(hosts, interfaces);
  for (let attempt = 1; ; attempt++) {
    const bound: UdpSocket[] = [];
    try {
      for (const host of list) bound.push(await bindSocket({ ...o, host, port: bound[0]?.port ?? o.port }));
      return bound;
    } catch (e) {
      await Promise.all(bound.map((s) => s.close()));
      const taken = (e as NodeJS.ErrnoException).code === 'EADDRINUSE';
      if (!taken || o.port !== 0 || bound.length === 0 || attempt === PORT_ATTEMPTS) throw e;
    }
  }
}

export type Interfaces = ReturnType<typeof networkInterfaces>;

/** `0.0.0.0` and `::` become the addresses of the interfaces: an answer must leave from the address that was asked. */
export function expandHosts(hosts: readonly string[], interfaces: Interfaces = networkInterfaces()): string[] {
  const out = new Set<string>();
  for (const host of hosts) {
    const found = addressesOf(host, interfaces);
    // As the system says it of an address that is written out.
    if (found.length === 0)
      throw Object.assign(new Error(`bind EADDRNOTAVAIL ${host}: no interface has an address of this family`), { code: 'EADDRNOTAVAIL' });
    for (const address of found) out.add(address);
  }
  if (out.size === 0) throw new RangeError('hosts: no interface is named');
  return [...out];
}

/** The host itself, or what it stands for; without link-local addresses, which mean something on one link alone. */
export function addressesOf(host: string, interfaces: Interfaces): string[] {
  if (!isWildcard(host)) return [host];
  const family = isIPv6(host) ? 'IPv6' : 'IPv4';
  return Object.values(interfaces).flatMap((list) =>
    (list ?? []).filter((i) => i.family === family && (i.scopeid ?? 0) === 0).map((i) => i.address),
  );
}
