import { X509Certificate } from 'node:crypto';
import { addressFrom, limitKey } from '../address.ts';
import { connKey } from '../cid.ts';
import {
  CONNECTION_REFUSED,
  CRYPTO_CERTIFICATE_REQUIRED,
  CRYPTO_NO_APPLICATION_PROTOCOL,
  CRYPTO_UNRECOGNIZED_NAME,
  NO_ERROR,
} from '../codes.ts';
import {
  DROPS,
  NO_HANDOVER,
  OUTCOMES,
  type Address,
  type ConnectOptions,
  type Drop,
  type EndpointStats,
  type Limits,
  type ListenOptions,
  type Outcome,
  type QuicEndpoint,
  type QuicHandler,
  type RetryMode,
  type TlsEntry,
  type TlsTable,
} from '../engine.ts';
import { checkAlpn, checkNames } from '../entry.ts';
import { UnsupportedOption } from '../failure.ts';
import { checkCongestion } from '../options.ts';
import { AddressCounts, TokenBucket } from '../limiter.ts';
import { canonicalName, pickTls } from '../sni.ts';
import { MemoryConn } from './conn.ts';
import type { MemoryNetwork } from './network.ts';
import { MemoryTurn, type Report } from './turn.ts';

/** What a connecting client gets: its two ends, or the code that refuses it. */
export type Admitted =
  | { readonly kind: 'ok'; readonly server: MemoryConn; readonly entry: TlsEntry; readonly alpn: string; readonly retried: boolean }
  | { readonly kind: 'refused'; readonly side: 'local' | 'remote'; readonly code: number };

export function checkTable(t: TlsTable): void {
  for (const e of t.entries) {
    if (e.certs.length === 0) throw new RangeError(`TLS entry ${e.id}: no certificate`);
    checkAlpn(e);
    if (e.earlyData) throw new UnsupportedOption('memory', 'earlyData', 'there is no early data in memory');
  }
  checkNames(t);
}

export class MemoryEndpoint implements QuicEndpoint {
  readonly addresses: readonly { host: string; port: number }[];
  private readonly network: MemoryNetwork;
  private readonly handler: QuicHandler;
  private readonly turn: MemoryTurn;
  private readonly conns = new Set<MemoryConn>();
  private readonly perAddress = new AddressCounts();
  private readonly rate: TokenBucket;
  private readonly dropped = Object.fromEntries(DROPS.map((d) => [d, 0])) as Record<Drop, number>;
  private readonly handshakes = Object.fromEntries(OUTCOMES.map((o) => [o, 0])) as Record<Outcome, number>;
  private readonly answered = { retry: 0, version: 0, reset: 0, refused: 0 };
  private readonly past = { sent: 0, received: 0, sentBytes: 0, receivedBytes: 0 };
  private limits: Limits;
  private table: TlsTable;
  private retry: RetryMode;
  private draining = false;
  private waiting: (() => void)[] = [];
  private nextSlot = 0;

  constructor(o: ListenOptions, h: QuicHandler, network: MemoryNetwork, report: Report) {
    if (o.keylog !== undefined) throw new UnsupportedOption('memory', 'keylog', 'there are no keys in memory');
    checkCongestion('memory', o.congestion);
    checkTable(o.tls);
    this.network = network;
    this.handler = h;
    this.turn = new MemoryTurn(h, network, report);
    this.limits = { ...o.limits };
    this.table = o.tls;
    this.retry = o.retry;
    this.rate = new TokenBucket(o.limits.handshakesPerSecond, o.limits.handshakesPerSecond, network.clock.now());
    const port = o.port === 0 ? network.takePort() : o.port;
    this.addresses = o.hosts.map((host) => ({ host, port }));
    for (const a of this.addresses) {
      if (network.endpoints.has(place(a.host, a.port)))
        throw Object.assign(new Error(`EADDRINUSE: ${a.host}:${a.port}`), { code: 'EADDRINUSE' });
    }
    for (const a of this.addresses) network.endpoints.set(place(a.host, a.port), this);
  }

  /** A client's first flight. */
  admit(o: ConnectOptions, remote: Address, clientLimits: Limits, distrust: (e: TlsEntry) => number): Admitted {
    const refused = this.refusal(remote);
    if (refused !== null) return refused;
    const id = pickTls(this.table, o.sni);
    if (id === null) return this.reject('sni_rejected', CRYPTO_UNRECOGNIZED_NAME);
    const entry = this.table.entries.find((e) => e.id === id) as TlsEntry;
    const alpn = entry.alpn.find((p) => o.alpn.includes(p));
    if (alpn === undefined) return this.reject('alpn_failed', CRYPTO_NO_APPLICATION_PROTOCOL);
    // Clients of this engine have no certificates.
    if (entry.clientAuth === 'require') return this.reject('tls_failed', CRYPTO_CERTIFICATE_REQUIRED);
    const fault = distrust(entry);
    if (fault !== 0) {
      this.handshakes.tls_failed++;
      return { kind: 'refused', side: 'local', code: fault };
    }
    const retried = this.retry === 'always';
    if (retried) this.answered.retry++;
    return { kind: 'ok', server: this.accept(o, remote, entry, alpn, clientLimits), entry, alpn, retried };
  }

  private accept(o: ConnectOptions, remote: Address, entry: TlsEntry, alpn: string, clientLimits: Limits): MemoryConn {
    const key = limitKey(remote);
    const server = new MemoryConn(
      {
        key: connKey(this.nextSlot++, 1),
        server: true,
        remote,
        local: addressFrom(o.host, o.port) as Address,
        info: { sni: o.sni, alpn, tls: entry.id, resumed: false, peerChain: null, handshakeMs: 0 },
        mine: this.limits,
        theirs: clientLimits,
        idleMs: Math.min(this.limits.idleMs, o.idleMs),
        onEnd: (c) => this.ended(c, key),
      },
      this.turn,
    );
    this.conns.add(server);
    this.perAddress.add(key);
    this.handshakes.accepted++;
    server.announce(null);
    return server;
  }

  private refusal(remote: Address): Admitted | null {
    if (this.draining) return this.refuse('draining', 'refused_draining');
    if (this.conns.size >= this.limits.connections) return this.refuse('connections', 'refused_limit');
    if (this.perAddress.get(limitKey(remote)) >= this.limits.perAddress) return this.refuse('address_limit', 'refused_limit');
    return this.rate.take(this.network.clock.now()) ? null : this.refuse('handshake_rate', 'refused_limit');
  }

  private refuse(why: Drop, outcome: Outcome): Admitted {
    this.dropped[why]++;
    return this.reject(outcome, CONNECTION_REFUSED);
  }

  private reject(outcome: Outcome, code: number): Admitted {
    this.handshakes[outcome]++;
    if (outcome !== 'tls_failed') this.answered.refused++;
    return { kind: 'refused', side: 'remote', code };
  }

  private ended(c: MemoryConn, key: string): void {
    if (!this.conns.delete(c)) return;
    this.perAddress.remove(key);
    this.past.sent += c.sentSegments;
    this.past.sentBytes += c.sentBytes;
    this.past.received += c.receivedSegments;
    this.past.receivedBytes += c.receivedBytes;
    this.checkDrained();
  }

  setTls(t: TlsTable): void {
    checkTable(t);
    this.table = t;
  }

  setLimits(l: Limits): void {
    this.limits = { ...l };
    this.rate.set(l.handshakesPerSecond, l.handshakesPerSecond);
  }

  setRetry(m: RetryMode): void {
    this.retry = m;
  }

  /** Nothing congests in memory. */
  setCongestion(): void {}

  setKeys(): void {}

  forward(): void {
    this.dropped.foreign++;
  }

  /** There are no datagrams in memory, and every client meets the endpoint that has the port. */
  succeed(): void {}

  /** As if the socket had failed. */
  fail(e: Error): void {
    this.handler.onFault(e);
  }

  drain(): Promise<void> {
    this.draining = true;
    return new Promise((done) => {
      this.waiting.push(done);
      this.checkDrained();
    });
  }

  private checkDrained(): void {
    if (!this.draining || this.conns.size > 0) return;
    for (const done of this.waiting.splice(0)) done();
  }

  async close(): Promise<void> {
    this.draining = true;
    for (const a of this.addresses) this.network.endpoints.delete(place(a.host, a.port));
    const open = [...this.conns];
    for (const c of open) c.close(false, NO_ERROR, '');
    if (open.length > 0) this.turn.run();
    this.checkDrained();
    await Promise.resolve();
  }

  stats(): EndpointStats {
    const p = this.past;
    const sum = { ...p };
    for (const c of this.conns) {
      sum.sent += c.sentSegments;
      sum.sentBytes += c.sentBytes;
      sum.received += c.receivedSegments;
      sum.receivedBytes += c.receivedBytes;
    }
    return {
      connections: this.conns.size,
      halfOpen: 0,
      receiveBuffer: 0,
      kernelDrops: 0,
      datagrams: [sum.received, sum.sent],
      bytes: [sum.receivedBytes, sum.sentBytes],
      handshakes: { ...this.handshakes },
      dropped: { ...this.dropped },
      answered: { ...this.answered },
      handover: NO_HANDOVER,
    };
  }
}

export function place(host: string, port: number): string {
  return `${host}|${port}`;
}

/** Whether a client may trust the first certificate of an entry: by one of `ca`'s certificates, and by name. */
export function trusts(entry: TlsEntry, ca: Uint8Array, name: string, isAddress: boolean): boolean {
  const pem = entry.certs[0]?.cert;
  if (pem === undefined) return false;
  try {
    const leaf = new X509Certificate(Buffer.from(pem));
    const root = new X509Certificate(Buffer.from(ca));
    const named = isAddress ? leaf.checkIP(name) : leaf.checkHost(canonicalName(name));
    return named !== undefined && leaf.verify(root.publicKey);
  } catch {
    return false;
  }
}
