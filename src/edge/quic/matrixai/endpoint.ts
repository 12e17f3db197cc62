import type { RemoteInfo } from 'node:dgram';
import { randomInt } from 'node:crypto';
import { networkInterfaces } from 'node:os';
import type { Clock } from '../../../lib/clock.ts';
import { processCollector } from '../../../lib/idle.ts';
import { processPace } from '../../../lib/pace.ts';
import { addressFrom, hostOf, isMapped, portOf, sameAddress } from '../address.ts';
import { CidCodec, connKey, SlotPool } from '../cid.ts';
import {
  CONNECTION_REFUSED,
  CRYPTO_CERTIFICATE_REQUIRED,
  CRYPTO_ILLEGAL_PARAMETER,
  CRYPTO_NO_APPLICATION_PROTOCOL,
  NO_ERROR,
} from '../codes.ts';
import {
  NO_HANDOVER,
  type Address,
  type CloseReason,
  type EndpointStats,
  type Limits,
  type ListenOptions,
  type Outcome,
  type QuicEndpoint,
  type QuicHandler,
  type RetryMode,
  type TlsTable,
  type Whereabouts,
} from '../engine.ts';
import { UnsupportedOption } from '../failure.ts';
import { Handover } from '../handover.ts';
import { checkCongestion, checkCounts, checkResetKey, checkSuccessors, checkTokenKeys } from '../options.ts';
import type { Report } from '../report.ts';
import { canonicalName } from '../sni.ts';
import { Admission, type Accepted, type AdmissionPort } from './admission.ts';
import { quiche, type Config, type Connection } from './binding.ts';
import { Conn, type ConnOwner } from './conn.ts';
import { Counters } from './counters.ts';
import { Follower, type Followed } from './follow.ts';
import { Gate } from './gate.ts';
import { IdTable } from './idtable.ts';
import { countKernelDrops } from './kernel.ts';
import { Remains } from './remains.ts';
import { resetTokenNumber } from './reset.ts';
import { bindAll, bindSocket, expandHosts, type Interfaces, type SocketOptions, type UdpSocket } from './socket.ts';
import { TlsContexts, type Transport } from './tls.ts';
import { Turn } from './turn.ts';

const MAX_BIDI = 65_535;
const MAX_UNI = 63;
const ID_ATTEMPTS = 8;
const KERNEL_MS = 1000;

/** Binds all addresses of `o` and serves them; refuses what it cannot honour before the first socket opens. */
export async function listen(
  o: ListenOptions,
  h: QuicHandler,
  clock: Clock,
  report: Report,
  interfaces: () => Interfaces = networkInterfaces,
): Promise<QuicEndpoint> {
  checkOptions(o);
  const transport: Transport = { limits: { ...o.limits }, congestion: o.congestion };
  const tls = new TlsContexts(o.tls, transport, null);
  const codec = new CidCodec(o.cid.key, o.cid.nodeId, o.cid.workerId);
  const sockets = await bindAll(o.hosts, o, interfaces());
  const endpoint = new Endpoint(o, h, clock, report, tls, codec, sockets, interfaces);
  try {
    await endpoint.openHandover(o);
  } catch (e) {
    await endpoint.close();
    throw e;
  }
  return endpoint;
}

function checkOptions(o: ListenOptions): void {
  if (o.keylog !== undefined) throw new UnsupportedOption('matrixai', 'keylog', 'quiche 0.18 overwrites the file at each connection');
  checkCongestion('matrixai', o.congestion);
  checkResetKey(o.resetKey);
  checkTokenKeys(o.tokenKeys);
  checkLimits(o.limits);
}

function checkLimits(l: Limits): void {
  checkCounts(l);
  if (l.bidi > MAX_BIDI) throw new UnsupportedOption('matrixai', 'limits.bidi', `at most ${MAX_BIDI} streams`);
  if (l.uni > MAX_UNI)
    throw new UnsupportedOption('matrixai', 'limits.uni', `at most ${MAX_UNI} streams fit into its transport parameters`);
}

const DRAIN_HANDSHAKE_MS = 1000;

class Endpoint implements QuicEndpoint, ConnOwner, AdmissionPort, Followed {
  private readonly clock: Clock;
  private readonly report: Report;
  private readonly handler: QuicHandler;
  private readonly codec: CidCodec;
  readonly sockets: UdpSocket[];
  private readonly follower: Follower;
  private readonly binding: Omit<SocketOptions, 'host'>;
  private readonly interfaces: () => Interfaces;
  /** Of sockets whose addresses are gone. */
  private pastDatagrams = 0;
  private pastBytes = 0;
  private pastDrops = 0;
  private readonly turn: Turn;
  private readonly gate: Gate;
  private readonly admission: Admission;
  private readonly counters = new Counters();
  private readonly ids = new IdTable();
  private readonly slots: SlotPool;
  private readonly conns = new Set<Conn>();
  private readonly remains = new Remains(() => processCollector(false));
  private congestion: ListenOptions['congestion'];
  private limits: Limits;
  private half = 0;
  private open = 0;
  private drained: (() => void)[] = [];
  private draining = false;
  private closed = false;
  private cancelExpiry: (() => void) | null = null;
  private cancelGrace: (() => void) | null = null;
  private kernelAt = -Infinity;

  constructor(
    o: ListenOptions,
    h: QuicHandler,
    clock: Clock,
    report: Report,
    tls: TlsContexts,
    codec: CidCodec,
    sockets: UdpSocket[],
    interfaces: () => Interfaces,
  ) {
    this.clock = clock;
    this.report = report;
    this.handler = h;
    this.codec = codec;
    this.sockets = sockets;
    this.limits = { ...o.limits };
    this.congestion = o.congestion;
    this.slots = new SlotPool(randomInt(0x1000000));
    this.turn = new Turn(h, clock, report);
    this.admission = new Admission(
      { limits: this.limits, mode: o.retry, tokenKeys: o.tokenKeys, tls, clock, codec, counters: this.counters },
      this,
    );
    this.gate = new Gate({
      clock,
      codec,
      counters: this.counters,
      ids: this.ids,
      handler: h,
      admission: this.admission,
      report,
      resetKey: o.resetKey,
    });
    this.turn.admit = (behind) => this.admit(behind);
    this.turn.pace = processPace;
    this.turn.newcomers = () => this.admission.waits;
    for (const s of sockets) this.attend(s);
    this.binding = { ...o, port: (sockets[0] as UdpSocket).port };
    this.interfaces = interfaces;
    this.follower = new Follower(o.hosts, this.binding, this, clock, interfaces);
  }

  get addresses(): { host: string; port: number }[] {
    return this.sockets.map((s) => ({ host: s.host, port: s.port }));
  }

  // What the interfaces' addresses do

  private attend(s: UdpSocket): void {
    s.listen(
      (socket, msg, from) => this.receive(socket, msg, from, false),
      (e) => this.fault(e),
    );
  }

  add(s: UdpSocket): void {
    this.sockets.push(s);
    this.attend(s);
    this.tellAddresses();
  }

  uses(s: UdpSocket): boolean {
    // The last one stays: it says what the port is.
    if (this.sockets.length === 1) return true;
    for (const c of this.conns) if (c.socket === s) return true;
    return false;
  }

  remove(s: UdpSocket): void {
    this.sockets.splice(this.sockets.indexOf(s), 1);
    countKernelDrops([s]);
    this.pastDatagrams += s.sentDatagrams;
    this.pastBytes += s.sentBytes;
    this.pastDrops += s.kernelDrops;
    void s.close();
    this.tellAddresses();
  }

  private tellAddresses(): void {
    try {
      this.gate.handover?.serve(this.sockets.map((s) => s.local));
    } catch (e) {
      this.report('quic_handover', e);
    }
  }

  // What arrives

  private receive(socket: UdpSocket, msg: Buffer, from: RemoteInfo, forwarded: boolean): void {
    if (this.closed) return;
    try {
      this.turn.arrived();
      this.gate.receive(socket, msg, from, forwarded);
    } catch (e) {
      this.report('quic_datagram', e);
    }
  }

  forward(buf: Uint8Array, from: Address, to: Address): void {
    const socket = this.sockets.find((s) => sameAddress(s.local, to));
    if (socket === undefined) {
      this.counters.dropped.foreign++;
      return;
    }
    const remote: RemoteInfo = { address: hostOf(from), family: isMapped(from) ? 'IPv4' : 'IPv6', port: portOf(from), size: buf.length };
    this.receive(socket, Buffer.from(buf), remote, true);
  }

  /** Clients may be there already: what is another worker's is lost until then, as it might be anywhere. */
  async openHandover(o: ListenOptions): Promise<void> {
    if (o.handover === undefined) return;
    this.gate.handover = await Handover.open({
      ...o.handover,
      workerId: o.cid.workerId,
      secret: o.resetKey,
      receiveBuffer: o.receiveBuffer,
      clock: this.clock,
      report: this.report,
      deliver: (datagram, from, to) => this.take(datagram, from, to),
    });
    this.tellAddresses();
  }

  /** Whether a datagram that was handed over found what it is for. */
  private take(datagram: Buffer, from: Address, to: Address): boolean {
    const before = this.counters.dropped.foreign;
    this.forward(datagram, from, to);
    return this.counters.dropped.foreign === before;
  }

  succeed(workers: readonly number[]): void {
    checkSuccessors(workers);
    this.gate.successors = [...workers];
  }

  private fault(e: Error): void {
    try {
      this.handler.onFault(e);
    } catch (again) {
      this.report('quic_fault', again);
    }
  }

  private admit(behind: boolean): boolean {
    const more = this.admission.run(behind);
    // Unfinished ClientHellos expire also when nothing else arrives.
    if (this.admission.pendingHellos > 0 && this.cancelExpiry === null) this.cancelExpiry = this.clock.after(1000, () => this.expire());
    return more;
  }

  private expire(): void {
    this.cancelExpiry = null;
    this.admission.expire();
    if (this.admission.pendingHellos > 0) this.cancelExpiry = this.clock.after(1000, () => this.expire());
  }

  // What admission asks

  find(key: string): Conn | null {
    return this.gate.initials.get(key) ?? null;
  }

  get live(): number {
    return this.conns.size;
  }

  get handshaking(): number {
    return this.half;
  }

  accept(a: Accepted): boolean {
    const slot = this.slots.take();
    if (slot < 0) return false;
    const generation = this.slots.generation(slot);
    const id = a.id ?? this.freshId(slot, generation);
    if (id === null || this.ids.has(id)) {
      this.slots.give(slot);
      return false;
    }
    const { socket, from, key } = a.arrival;
    const tls = this.admission.tls.get(a.tls);
    const q = this.acceptNative(a, id, tls.choose(a.hello));
    if (q === null) {
      this.slots.give(slot);
      return false;
    }
    const c = new Conn(
      {
        key: connKey(slot, generation),
        server: true,
        q,
        socket,
        host: from.address,
        port: from.port,
        remote: a.remote,
        tls: a.tls,
        needsCertificate: tls.entry.clientAuth === 'require',
        sni: a.hello.sni,
        handshakeMs: this.limits.handshakeMs,
        streamWindow: this.limits.streamWindow,
        connWindow: this.limits.connWindow,
        datagrams: this.limits.datagrams,
      },
      this.turn,
      this,
    );
    c.slot = slot;
    c.limitKey = a.limitKey;
    c.initialKey = key;
    c.ids.push(this.ids.add(id, c) as number);
    this.gate.initials.set(key, c);
    this.admission.addresses.add(a.limitKey);
    this.conns.add(c);
    this.half++;
    for (const d of a.datagrams) c.recv(d);
    return true;
  }

  private acceptNative(a: Accepted, id: Uint8Array, config: Config): Connection | null {
    const { socket, from } = a.arrival;
    const local = { host: hostOf(socket.local), port: socket.port };
    const remote = { host: hostOf(a.remote), port: from.port };
    config.setStatelessResetToken(resetTokenNumber(this.gate.resetKey, id));
    try {
      return quiche.Connection.accept(id, a.odcid, local, remote, config);
    } catch (e) {
      this.report('quic_accept', e);
      return null;
    }
  }

  private freshId(slot: number, generation: number): Buffer | null {
    for (let i = 0; i < ID_ATTEMPTS; i++) {
      const id = this.codec.encode(slot, generation, 0);
      if (!this.ids.has(id)) return id;
    }
    return null;
  }

  // What connections say

  established(c: Conn): boolean {
    const refusal = this.refusalOf(c);
    if (refusal !== 0) {
      c.close(false, refusal, '');
      return false;
    }
    this.half--;
    this.open++;
    this.counters.handshakes.accepted++;
    this.dropInitial(c);
    return true;
  }

  /** What the binding must not be trusted with: the name that it saw is the one that chose its certificate, and a required client certificate is there. */
  private refusalOf(c: Conn): number {
    const q = c.q;
    if (q === null) return CRYPTO_ILLEGAL_PARAMETER;
    if (canonicalName(q.serverName() ?? '') !== canonicalName(c.sni ?? '')) return CRYPTO_ILLEGAL_PARAMETER;
    if (c.needsCertificate && (q.peerCertChain()?.length ?? 0) === 0) return CRYPTO_CERTIFICATE_REQUIRED;
    return NO_ERROR;
  }

  failed(c: Conn, why: CloseReason): void {
    this.half--;
    this.admission.failed();
    this.counters.handshakes[outcomeOf(why)]++;
    this.dropInitial(c);
    this.checkDrained();
  }

  ended(): void {
    this.open--;
    this.checkDrained();
  }

  gone(c: Conn): void {
    this.conns.delete(c);
    for (const id of c.ids) this.ids.remove(id);
    this.slots.give(c.slot);
    this.admission.addresses.remove(c.limitKey);
    this.dropInitial(c);
    this.remains.left(c.budget.owed);
  }

  private dropInitial(c: Conn): void {
    if (c.initialKey === null) return;
    this.gate.initials.delete(c.initialKey);
    c.initialKey = null;
  }

  // What the worker says

  setTls(t: TlsTable): void {
    this.admission.tls = new TlsContexts(t, this.transport(), this.admission.tls);
  }

  setLimits(l: Limits): void {
    checkLimits(l);
    this.limits = { ...l };
    this.admission.setLimits(this.limits);
    this.admission.tls.setTransport(this.transport());
  }

  private transport(): Transport {
    return { limits: this.limits, congestion: this.congestion };
  }

  setRetry(m: RetryMode): void {
    this.admission.mode = m;
  }

  setCongestion(c: ListenOptions['congestion']): void {
    checkCongestion('matrixai', c);
    this.congestion = c;
    this.admission.tls.setTransport(this.transport());
  }

  setKeys(k: { resetKey: Uint8Array; tokenKeys: readonly Uint8Array[] }): void {
    checkTokenKeys(k.tokenKeys);
    this.gate.resetKey = k.resetKey;
    this.admission.tokenKeys = k.tokenKeys;
  }

  async widen(w: Whereabouts): Promise<readonly { host: string; port: number }[]> {
    const { port } = this.binding;
    const list = expandHosts(w.hosts, this.interfaces());
    const fresh: UdpSocket[] = [];
    try {
      for (const host of list) {
        const local = addressFrom(host, port) as Address;
        if (!this.sockets.some((s) => sameAddress(s.local, local))) fresh.push(await bindSocket({ ...this.binding, host }));
      }
      if (w.name !== null) this.gate.handover?.also(w.name);
    } catch (e) {
      await Promise.all(fresh.map((s) => s.close()));
      throw e;
    }
    this.follower.widen(w.hosts);
    for (const s of fresh) this.add(s);
    return list.map((host) => ({ host, port }));
  }

  narrow(w: Whereabouts): void {
    if (w.name !== null) this.gate.handover?.rename(w.name);
    this.follower.narrow(w.hosts);
  }

  drain(): Promise<void> {
    if (!this.draining) this.cancelGrace = this.clock.after(DRAIN_HANDSHAKE_MS, () => this.endHandshakes());
    this.draining = true;
    this.follower.stop();
    this.admission.drain();
    return new Promise((done) => {
      this.drained.push(done);
      this.checkDrained();
    });
  }

  /** Whoever was in mid-handshake when the drain began has had time to finish; one that has left must not hold the drain any longer. */
  private endHandshakes(): void {
    try {
      for (const c of this.conns) if (c.initialKey !== null) c.close(false, CONNECTION_REFUSED, '');
    } catch (e) {
      this.report('quic_drain', e);
    }
  }

  private checkDrained(): void {
    if (!this.draining || this.open + this.half > 0) return;
    const waiting = this.drained;
    this.drained = [];
    for (const done of waiting) done();
  }

  async close(): Promise<void> {
    if (this.closed) return;
    this.draining = true;
    this.follower.stop();
    this.admission.drain();
    this.cancelExpiry?.();
    this.cancelGrace?.();
    for (const c of this.conns) c.close(false, NO_ERROR, '');
    // One more turn tells everybody; the sockets close behind what it has sent.
    this.turn.run();
    for (const c of this.conns) c.dispose();
    this.closed = true;
    this.turn.stop();
    await new Promise((done) => setImmediate(done));
    await Promise.all([this.gate.handover?.close(), ...this.sockets.map((s) => s.close())]);
    this.checkDrained();
  }

  stats(): EndpointStats {
    const c = this.counters;
    let sent = this.pastDatagrams;
    let sentBytes = this.pastBytes;
    for (const s of this.sockets) {
      sent += s.sentDatagrams;
      sentBytes += s.sentBytes;
    }
    return {
      connections: this.open,
      halfOpen: this.half + this.admission.pendingHellos,
      receiveBuffer: Math.min(...this.sockets.map((s) => s.receiveBuffer)),
      kernelDrops: this.kernelDrops(),
      datagrams: [c.received, sent],
      bytes: [c.receivedBytes, sentBytes],
      handshakes: { ...c.handshakes },
      dropped: { ...c.dropped },
      answered: { ...c.answered },
      handover: this.gate.handover === null ? NO_HANDOVER : { ...this.gate.handover.counts },
    };
  }

  private kernelDrops(): number {
    const now = this.clock.now();
    if (now - this.kernelAt >= KERNEL_MS && !this.closed) {
      this.kernelAt = now;
      countKernelDrops(this.sockets);
    }
    return this.sockets.reduce((sum, s) => sum + s.kernelDrops, this.pastDrops);
  }
}

/** How a handshake that came to nothing is counted: by whose error ended it (RFC 9001 s4.8: 0x100 and above are TLS alerts). */
function outcomeOf(why: CloseReason): Outcome {
  if (why.side === 'timeout') return 'handshake_timeout';
  if (why.code === CRYPTO_NO_APPLICATION_PROTOCOL) return 'alpn_failed';
  if (!why.app && why.code >= 0x100 && why.code <= 0x1ff) return 'tls_failed';
  if (why.side === 'local' && why.code === CONNECTION_REFUSED) return 'refused_draining';
  return why.side === 'local' && why.code !== NO_ERROR ? 'tls_failed' : 'client_gone';
}
