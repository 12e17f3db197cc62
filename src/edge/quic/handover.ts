/**
 * Datagrams for connections of other workers, for engines that cannot hand them over by themselves: Node has no Unix datagrams, so they go
 * over loopback UDP, each with a MAC, since anybody on this machine may send there.
 *
 *     octet 0         version 1
 *     octets 1..18    where the datagram came from
 *     octets 19..36   the address of ours that it was sent to
 *     then the datagram, then 16 octets of HMAC-SHA256 of all that is before them
 *
 * A worker's port stands in a file of the folder, named by its number and the listener, beside the process's id. A tree of processes that takes
 * over may have other addresses for the listener, and so another name: the port stands by each address as well.
 */
import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import { readFileSync, renameSync, unlinkSync, writeFileSync } from 'node:fs';
import { isIPv6 } from 'node:net';
import { join } from 'node:path';
import type { Clock } from '../../lib/clock.ts';
import type { Address, HandoverStats } from './engine.ts';

const VERSION = 1;
const ADDRESS = 18;
const HEADER = 1 + 2 * ADDRESS;
const MAC = 16;
/** The most that fits into a UDP datagram over IPv4. */
const MAX_DATAGRAM = 65_507 - HEADER - MAC;
/** How long what a port file says, or that there is none, is believed. */
const BELIEVED_MS = 100;
/** Sends that wait in libuv; beyond, datagrams are lost, as in a full socket. */
const MAX_QUEUED = 256;
/** Names that one listener has had, by which those find it who do not hear of another: they drain. */
const NAMES = 16;
const LOOPBACKS = ['127.0.0.1', '::1'] as const;

export interface HandoverOptions {
  readonly folder: string;
  /** The same for a listener in every worker. */
  readonly name: string;
  readonly workerId: number;
  /** What all workers share and nobody else has. */
  readonly secret: Uint8Array;
  readonly receiveBuffer: number;
  readonly clock: Clock;
  readonly report: (where: string, e: unknown) => void;
  /** A datagram that another worker got; false when it is not for this one. Borrowed until return. */
  readonly deliver: (datagram: Buffer, from: Address, to: Address) => boolean;
}

/** Where a worker takes its datagrams. */
interface Place {
  readonly host: string;
  readonly port: number;
}

interface Known {
  readonly place: Place | null;
  readonly at: number;
}

export class Handover {
  readonly counts: { -readonly [K in keyof HandoverStats]: HandoverStats[K] } = {
    sent: 0,
    received: 0,
    delivered: 0,
    lost: 0,
    refused: 0,
  };
  private readonly o: HandoverOptions;
  private readonly socket: Socket;
  private readonly key: Buffer;
  private name: string;
  private former: string | null = null;
  /** Ours, by the name of the listener: while it changes, it has more than one. */
  private readonly files = new Map<string, string>();
  /** The same, by addresses. */
  private readonly addresses = new Map<string, string>();
  private readonly text: string;
  private readonly known = new Map<number, Known>();
  /** Whom no name leads to: by number and the name of an address. */
  private readonly knownAt = new Map<string, Known>();
  private closed = false;

  private constructor(o: HandoverOptions, socket: Socket) {
    this.o = o;
    this.socket = socket;
    this.key = createHmac('sha256', o.secret).update('hand-over of datagrams 1').digest();
    this.name = o.name;
    const { address, port } = socket.address();
    this.text = `${address} ${port} ${process.pid}\n`;
    socket.on('message', (msg, from) => this.receive(msg, from));
    socket.on('error', (e) => o.report('quic_handover', e));
  }

  /** Rejects with the system's error when there is no loopback, or the folder cannot be written to. */
  static async open(o: HandoverOptions): Promise<Handover> {
    const socket = await bindLoopback(o.receiveBuffer);
    const handover = new Handover(o, socket);
    try {
      handover.also(o.name);
    } catch (e) {
      socket.close();
      throw e;
    }
    return handover;
  }

  /** False when that worker is gone: whoever holds the datagram answers it. */
  send(worker: number, datagram: Uint8Array, from: Address, to: Address): boolean {
    const place = this.placeOf(worker) ?? this.placeAt(worker, to);
    if (place === null || this.closed) {
      this.counts.lost++;
      return false;
    }
    if (datagram.length > MAX_DATAGRAM || this.socket.getSendQueueCount() >= MAX_QUEUED) {
      this.counts.lost++;
      return true;
    }
    const out = Buffer.allocUnsafe(HEADER + datagram.length + MAC);
    out[0] = VERSION;
    out.set(from, 1);
    out.set(to, 1 + ADDRESS);
    out.set(datagram, HEADER);
    this.mac(out.subarray(0, out.length - MAC)).copy(out, out.length - MAC);
    this.counts.sent++;
    this.socket.send(out, place.port, place.host);
    return true;
  }

  /** Others find this worker by this name, too. */
  also(name: string): void {
    if (this.closed) return;
    const file = this.fileOf(this.o.workerId, name);
    this.publish(file);
    // The last ones are those that are used last.
    this.files.delete(name);
    this.files.set(name, file);
  }

  /** This name is the listener's from now on. Those before stay ours, for workers that do not hear of it any more. */
  rename(name: string): void {
    if (name === this.name) return;
    this.former = this.name;
    this.name = name;
    this.known.clear();
    for (const [old, file] of this.files) {
      if (this.files.size <= NAMES) break;
      this.withdraw(file);
      this.files.delete(old);
    }
  }

  /** The listener's addresses: by these others find it, too, whatever they call it. */
  serve(addresses: readonly Address[]): void {
    if (this.closed) return;
    const names = new Set(addresses.map(addressName));
    for (const [name, file] of this.addresses) {
      if (names.has(name)) continue;
      this.withdraw(file);
      this.addresses.delete(name);
    }
    for (const name of names) {
      if (this.addresses.has(name)) continue;
      const file = this.fileOf(this.o.workerId, name);
      this.publish(file);
      this.addresses.set(name, file);
    }
  }

  close(): Promise<void> {
    if (this.closed) return Promise.resolve();
    this.closed = true;
    for (const file of [...this.files.values(), ...this.addresses.values()]) this.withdraw(file);
    return new Promise((done) => {
      this.socket.removeAllListeners('message');
      this.socket.close(() => done());
    });
  }

  private receive(msg: Buffer, from: RemoteInfo): void {
    this.counts.received++;
    const end = msg.length - MAC;
    const good =
      end > HEADER && msg[0] === VERSION && isLoopback(from.address) && timingSafeEqual(this.mac(msg.subarray(0, end)), msg.subarray(end));
    if (!good) {
      this.counts.refused++;
      return;
    }
    try {
      // Addresses are kept by whoever makes a connection of them; the datagram too.
      const source = new Uint8Array(msg.subarray(1, 1 + ADDRESS));
      const target = new Uint8Array(msg.subarray(1 + ADDRESS, HEADER));
      if (this.o.deliver(msg.subarray(HEADER, end), source, target)) this.counts.delivered++;
      else this.counts.refused++;
    } catch (e) {
      this.o.report('quic_handover', e);
    }
  }

  private mac(bytes: Uint8Array): Buffer {
    return createHmac('sha256', this.key).update(bytes).digest().subarray(0, MAC);
  }

  private fileOf(worker: number, name: string): string {
    return join(this.o.folder, `${worker}-${name}.udp`);
  }

  /** By a rename: nobody reads half of it. */
  private publish(file: string): void {
    const fresh = `${file}.${process.pid}`;
    writeFileSync(fresh, this.text, { mode: 0o600 });
    renameSync(fresh, file);
  }

  /** A worker of our number may have published its own by now. */
  private withdraw(file: string): void {
    try {
      if (readFileSync(file, 'latin1') === this.text) unlinkSync(file);
    } catch {
      // Gone already, with its folder.
    }
  }

  private placeOf(worker: number): Place | null {
    const now = this.o.clock.now();
    const known = this.known.get(worker);
    if (known !== undefined && now - known.at < BELIEVED_MS) return known.place;
    // By the former name, when it does not know the present one.
    const place = readPlace(this.fileOf(worker, this.name)) ?? (this.former === null ? null : readPlace(this.fileOf(worker, this.former)));
    this.known.set(worker, { place, at: now });
    return place;
  }

  private placeAt(worker: number, to: Address): Place | null {
    const now = this.o.clock.now();
    const name = addressName(to);
    const key = `${worker}-${name}`;
    const known = this.knownAt.get(key);
    if (known !== undefined && now - known.at < BELIEVED_MS) return known.place;
    const place = readPlace(this.fileOf(worker, name));
    this.knownAt.set(key, { place, at: now });
    return place;
  }
}

/** Sixteen hexadecimal digits, as listeners' names are. */
function addressName(address: Address): string {
  return createHash('sha256').update(address).digest('hex').slice(0, 16);
}

/** What a port file says; null when it is missing, is not one, or its process is gone. */
function readPlace(file: string): Place | null {
  let text: string;
  try {
    text = readFileSync(file, 'latin1');
  } catch {
    return null;
  }
  const found = /^(127\.0\.0\.1|::1) ([1-9]\d{0,4}) ([1-9]\d{0,9})\n$/.exec(text);
  if (found === null || !alive(Number(found[3]))) return null;
  return { host: found[1] as string, port: Number(found[2]) };
}

function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (e) {
    return (e as NodeJS.ErrnoException).code === 'EPERM';
  }
}

function isLoopback(host: string): boolean {
  return LOOPBACKS.some((own) => own === host);
}

async function bindLoopback(receiveBuffer: number): Promise<Socket> {
  try {
    return await bind(LOOPBACKS[0], receiveBuffer);
  } catch {
    return bind(LOOPBACKS[1], receiveBuffer);
  }
}

async function bind(host: string, receiveBuffer: number): Promise<Socket> {
  const socket = createSocket(isIPv6(host) ? 'udp6' : 'udp4');
  try {
    await new Promise<void>((done, fail) => {
      socket.once('error', fail);
      socket.bind(0, host, () => {
        socket.removeListener('error', fail);
        done();
      });
    });
    if (receiveBuffer > 0) socket.setRecvBufferSize(receiveBuffer);
  } catch (e) {
    socket.close();
    throw e;
  }
  return socket;
}
