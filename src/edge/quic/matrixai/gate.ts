import type { RemoteInfo } from 'node:dgram';
import type { Clock } from '../../../lib/clock.ts';
import { addressFrom } from '../address.ts';
import { CID_LENGTH, type CidCodec } from '../cid.ts';
import type { Address, Drop, QuicHandler } from '../engine.ts';
import type { Admission } from './admission.ts';
import { MIN_RESET_TRIGGER, statelessReset, versionNegotiation } from './answers.ts';
import type { Conn } from './conn.ts';
import type { Counters } from './counters.ts';
import type { IdTable } from './idtable.ts';
import type { Handover } from '../handover.ts';
import { TokenBucket } from '../limiter.ts';
import { INITIAL, LongHeader, MIN_INITIAL, MIN_INITIAL_DCID, parseInvariant, parseVersion1, QUIC_V1 } from './packet.ts';
import { successorOf } from '../successor.ts';
import { resetToken } from './reset.ts';
import type { UdpSocket } from './socket.ts';

const VERSIONS_PER_SECOND = 1_000;
/** For ids that nobody here gave out. */
const RESETS_PER_SECOND = 1_000;
/** For those that a worker of this node gave out, which nobody can make up: of a worker that is gone, all clients ask at once. */
const LOST_PER_SECOND = 10_000;
/** Whose an id is that no other worker of this node gave out: ours, or nobody's that we know. */
const OURS = -1;
const NOBODY = -2;

export interface GateOptions {
  readonly clock: Clock;
  readonly codec: CidCodec;
  readonly counters: Counters;
  readonly ids: IdTable;
  readonly handler: QuicHandler;
  readonly admission: Admission;
  readonly report: (where: string, e: unknown) => void;
  readonly resetKey: Uint8Array;
}

/**
 * Every datagram's first stop: to its connection, to another worker, to the queue of new clients, or out.
 * Nothing is kept of what is dropped, and what is answered here is smaller than what asked for it.
 */
export class Gate {
  resetKey: Uint8Array;
  /** Workers that take what would begin a connection: nobody's while this is empty. */
  successors: readonly number[] = [];
  /** null: the handler hears of what is another worker's. */
  handover: Handover | null = null;
  /** Connections by the client's address and its first id, until the handshake is done. */
  readonly initials = new Map<string, Conn>();
  private readonly clock: Clock;
  private readonly codec: CidCodec;
  private readonly counters: Counters;
  private readonly ids: IdTable;
  private readonly handler: QuicHandler;
  private readonly admission: Admission;
  private readonly report: (where: string, e: unknown) => void;
  private readonly h = new LongHeader();
  private readonly versions: TokenBucket;
  private readonly resets: TokenBucket;
  private readonly lost: TokenBucket;

  constructor(o: GateOptions) {
    this.clock = o.clock;
    this.codec = o.codec;
    this.counters = o.counters;
    this.ids = o.ids;
    this.handler = o.handler;
    this.admission = o.admission;
    this.report = o.report;
    this.resetKey = o.resetKey;
    this.versions = new TokenBucket(VERSIONS_PER_SECOND, VERSIONS_PER_SECOND / 4, o.clock.now());
    this.resets = new TokenBucket(RESETS_PER_SECOND, RESETS_PER_SECOND / 4, o.clock.now());
    this.lost = new TokenBucket(LOST_PER_SECOND, LOST_PER_SECOND / 4, o.clock.now());
  }

  receive(socket: UdpSocket, msg: Buffer, from: RemoteInfo, forwarded: boolean): void {
    this.counters.received++;
    this.counters.receivedBytes += msg.length;
    if (msg.length === 0) return this.drop('empty');
    if (((msg[0] as number) & 0x80) === 0) this.short(socket, msg, from, forwarded);
    else this.long(socket, msg, from, forwarded);
  }

  private short(socket: UdpSocket, msg: Buffer, from: RemoteInfo, forwarded: boolean): void {
    if (((msg[0] as number) & 0x40) === 0 || msg.length <= CID_LENGTH) return this.drop('malformed');
    const c = this.ids.find(msg, 1);
    if (c !== null) return this.deliver(c, socket, msg, from, true);
    const owner = this.ownerOf(msg, 1);
    // Of an owner that is gone it is answered here: all workers make the same tokens.
    if (owner >= 0 && this.toOwner(owner, socket, msg, from, forwarded)) return;
    this.drop('unknown_connection');
    // Garbage takes no reset from those who have an id.
    const bucket = owner === NOBODY ? this.resets : this.lost;
    if (msg.length < MIN_RESET_TRIGGER || !bucket.take(this.clock.now())) return;
    const out = statelessReset(resetToken(this.resetKey, msg.subarray(1, 1 + CID_LENGTH)), msg.length);
    socket.send(out, out.length, from.port, from.address);
    this.counters.answered.reset++;
  }

  private long(socket: UdpSocket, msg: Buffer, from: RemoteInfo, forwarded: boolean): void {
    const h = this.h;
    if (!parseInvariant(msg, 0, h)) return this.drop('malformed');
    if (h.version !== QUIC_V1) return this.otherVersion(socket, msg, from);
    if (!parseVersion1(msg, 0, h)) return this.drop('malformed');
    if (h.type === INITIAL && msg.length < MIN_INITIAL) return this.drop('short_initial');
    const ours = h.dcidLength === CID_LENGTH;
    const c = ours ? this.ids.find(msg, h.dcidAt) : null;
    if (c !== null) return this.deliver(c, socket, msg, from, false);
    if (h.type === INITIAL && h.dcidLength < MIN_INITIAL_DCID) return this.drop('malformed');
    const key = `${from.address}|${from.port}|${msg.toString('latin1', h.dcidAt, h.dcidAt + h.dcidLength)}`;
    const young = this.initials.get(key);
    if (young !== undefined) return this.deliver(young, socket, msg, from, false);
    // What has been handed over may begin a connection, also under an id that our Retry, or another worker's, gave out.
    const begins = forwarded && h.type === INITIAL;
    const owner = ours && !begins ? this.ownerOf(msg, h.dcidAt) : NOBODY;
    if (owner >= 0) {
      if (!this.toOwner(owner, socket, msg, from, forwarded)) this.drop('unknown_connection');
      return;
    }
    // An id that our Retry gave out is answered for here: a connection keeps it, and everybody brings its datagrams to this worker.
    if (!forwarded && owner !== OURS && this.successors.length > 0 && !this.admission.knows(key)) return this.pass(socket, msg, from);
    if (h.type === INITIAL) this.admission.push({ socket, msg, from, key, at: this.clock.now() });
    else this.drop('unknown_connection');
  }

  /** Version Negotiation for what may be a client of another version (RFC 9000 s5.2.2, s6.1); never for Version Negotiation itself. */
  private otherVersion(socket: UdpSocket, msg: Buffer, from: RemoteInfo): void {
    const h = this.h;
    if (h.version === 0) return this.drop('malformed');
    if (msg.length < MIN_INITIAL) return this.drop('short_version');
    if (!this.versions.take(this.clock.now())) return this.drop('version_limited');
    const out = versionNegotiation(msg.subarray(h.dcidAt, h.dcidAt + h.dcidLength), msg.subarray(h.scidAt, h.scidAt + h.scidLength));
    socket.send(out, out.length, from.port, from.address);
    this.counters.answered.version++;
  }

  /** quiche sees one path per connection; of other ones only a rebound port of the same host is followed. */
  private deliver(c: Conn, socket: UdpSocket, msg: Buffer, from: RemoteInfo, short: boolean): void {
    if (from.port === c.port && from.address === c.host && socket === c.socket) c.recv(msg);
    else if (!short || socket !== c.socket || from.address !== c.host || !c.recvRebound(msg, from.port)) this.drop('unknown_connection');
  }

  /** The other worker of this node that gave this id out, or one of the two that are none. */
  private ownerOf(msg: Buffer, at: number): number {
    if (!this.codec.decode(msg, at)) return NOBODY;
    const worker = this.codec.found.workerId;
    return worker === this.codec.workerId ? OURS : worker;
  }

  /** False when it is gone. What was handed over already must not go round. */
  private toOwner(owner: number, socket: UdpSocket, msg: Buffer, from: RemoteInfo, forwarded: boolean): boolean {
    const remote = addressFrom(from.address, from.port);
    if (!forwarded && remote !== null) return this.handOver(owner, socket, msg, remote);
    this.drop('foreign');
    return true;
  }

  /** To the worker that takes this client's attempt. */
  private pass(socket: UdpSocket, msg: Buffer, from: RemoteInfo): void {
    const h = this.h;
    const remote = addressFrom(from.address, from.port);
    if (remote === null) return this.drop('foreign');
    this.handOver(successorOf(this.successors, remote, msg, h.dcidAt, h.dcidAt + h.dcidLength), socket, msg, remote);
  }

  private handOver(worker: number, socket: UdpSocket, msg: Buffer, remote: Address): boolean {
    try {
      if (this.handover !== null) return this.handover.send(worker, msg, remote, socket.local);
      this.handler.onForeign(worker, msg, 0, msg.length, remote, socket.local as Address);
    } catch (e) {
      this.report('quic_foreign', e);
    }
    return true;
  }

  private drop(why: Drop): void {
    this.counters.dropped[why]++;
  }
}
