import type { RemoteInfo } from 'node:dgram';
import type { Clock } from '../../../lib/clock.ts';
import { addressFrom, limitKey } from '../address.ts';
import { CID_LENGTH, NO_SLOT, type CidCodec } from '../cid.ts';
import { CONNECTION_REFUSED, CRYPTO_NO_APPLICATION_PROTOCOL, CRYPTO_UNRECOGNIZED_NAME, INVALID_TOKEN } from '../codes.ts';
import type { Address, Drop, Limits, Outcome, RetryMode, TlsId } from '../engine.ts';
import { pickTls } from '../sni.ts';
import { initialClose, retry } from './answers.ts';
import type { Conn } from './conn.ts';
import type { Counters } from './counters.ts';
import { CryptoStream, parseClientHello, takeCrypto, type Hello, type Parsed } from './hello.ts';
import { clientInitialKeys, openInitial, type InitialKeys } from './initial.ts';
import { AddressCounts, PrefixBuckets, PrefixCounts, TokenBucket } from '../limiter.ts';
import { INITIAL, LongHeader, parseInvariant, parseVersion1, QUIC_V1 } from './packet.ts';
import type { UdpSocket } from './socket.ts';
import type { TlsContexts } from './tls.ts';
import { openToken, sealToken, UsedTokens } from './token.ts';

/** New handshakes begun per turn, and of one that could not read all that had come: those who are here may be behind newcomers in the socket. */
const PER_TURN = 32;
const PER_TURN_BEHIND = 4;
/** Looked at per turn: whom a Retry or a refusal answers, or a limit drops, has begun nothing, and must not keep others waiting. */
const LOOKS = 128;
/** More than a core begins in `PATIENCE_MS`: what is over it falls out at its old end, and is refused. */
const QUEUE = 2048;
/** Also what waits too long: a quarter of the time after which a client that hears nothing asks again (RFC 9002 s6.2.2). */
const PATIENCE_MS = 250;
/**
 * It is asked for when somebody has waited at all times for so long: there is more to do than is done. Those who come all at once to a worker that
 * has time for them are served within it, before they ask again.
 */
export const LASTING_MS = 1000;
/** As many as a turn begins: with so many, and more to do than is done, a further one of a client that had many would only keep others waiting. */
const CROWD = PER_TURN;
const MAX_PENDING = 1024;
const PENDING_MS = 4000;
const PENDING_DATAGRAMS = 12;
const RETRIES_PER_SECOND = 20_000;
const REFUSALS_PER_SECOND = 1_000;
/** Of those who have waited too long: so many find out at once, the others after their own time. */
const TURNED_AWAY_PER_SECOND = 5_000;

/** A client of whose ClientHello only a part has come: all that is kept of it. */
class PendingHello {
  readonly key: string;
  readonly keys: InitialKeys;
  readonly crypto = new CryptoStream();
  readonly datagrams: Buffer[] = [];
  readonly since: number;
  readonly odcid: Buffer | null;

  constructor(key: string, keys: InitialKeys, since: number, odcid: Buffer | null) {
    this.key = key;
    this.keys = keys;
    this.since = since;
    this.odcid = odcid;
  }
}

/** An Initial that belongs to no connection. */
export interface Arrival {
  readonly socket: UdpSocket;
  readonly msg: Buffer;
  readonly from: RemoteInfo;
  readonly key: string;
  /** When it came. */
  readonly at: number;
}

/** What becomes a connection. */
export interface Accepted {
  readonly arrival: Arrival;
  readonly remote: Address;
  readonly limitKey: string;
  readonly tls: TlsId;
  readonly hello: Hello;
  /** After a Retry: the id that it handed out, which the connection keeps, and the client's very first one. */
  readonly id: Buffer | null;
  readonly odcid: Buffer | null;
  readonly datagrams: readonly Buffer[];
}

export interface AdmissionPort {
  /** A connection that came into being in the meantime. */
  find(key: string): Conn | null;
  accept(a: Accepted): boolean;
  /** All connections, with those that are ending. */
  readonly live: number;
  readonly handshaking: number;
}

/**
 * Decides about clients that are new: limits, Retry, ClientHello, certificate. Runs once per turn, behind the connections that
 * are already there. Until a whole ClientHello is read, the only state per client is a bounded entry in `pending`.
 */
export class Admission {
  draining = false;
  mode: RetryMode;
  tokenKeys: readonly Uint8Array[];
  tls: TlsContexts;
  readonly addresses = new AddressCounts();
  private limits: Limits;
  private readonly clock: Clock;
  private readonly codec: CidCodec;
  private readonly counters: Counters;
  private readonly port: AdmissionPort;
  private readonly h = new LongHeader();
  private readonly queue: (Arrival | null)[] = Array.from({ length: QUEUE }, () => null);
  private head = 0;
  private waiting = 0;
  /** When the queue was empty last. */
  private since = 0;
  private readonly pending = new Map<string, PendingHello>();
  private readonly used = new UsedTokens();
  private readonly rate: TokenBucket;
  /** Handshakes that may come to nothing before addresses are validated first: forged or broken ones are half-open at no time. */
  private readonly failures: TokenBucket;
  private readonly prefixes: PrefixBuckets;
  /** Whoever has a token passes the share of its prefix. */
  private readonly recent = new PrefixCounts();
  private readonly retries: TokenBucket;
  private readonly refusals: TokenBucket;
  private readonly turnedAway: TokenBucket;

  constructor(
    o: {
      limits: Limits;
      mode: RetryMode;
      tokenKeys: readonly Uint8Array[];
      tls: TlsContexts;
      clock: Clock;
      codec: CidCodec;
      counters: Counters;
    },
    port: AdmissionPort,
  ) {
    const now = o.clock.now();
    this.limits = o.limits;
    this.mode = o.mode;
    this.tokenKeys = o.tokenKeys;
    this.tls = o.tls;
    this.clock = o.clock;
    this.codec = o.codec;
    this.counters = o.counters;
    this.port = port;
    this.rate = new TokenBucket(o.limits.handshakesPerSecond, o.limits.handshakesPerSecond, now);
    this.failures = new TokenBucket(failureRate(o.limits), Math.max(1, failureRate(o.limits)), now);
    this.prefixes = new PrefixBuckets(prefixRate(o.limits), prefixRate(o.limits), now);
    this.retries = new TokenBucket(RETRIES_PER_SECOND, RETRIES_PER_SECOND / 4, now);
    this.refusals = new TokenBucket(REFUSALS_PER_SECOND, REFUSALS_PER_SECOND / 4, now);
    this.turnedAway = new TokenBucket(TURNED_AWAY_PER_SECOND, TURNED_AWAY_PER_SECOND / 4, now);
  }

  get pendingHellos(): number {
    return this.pending.size;
  }

  get waits(): boolean {
    return this.waiting > 0;
  }

  /** A client whose ClientHello has come in part. */
  knows(key: string): boolean {
    return this.pending.has(key);
  }

  setLimits(l: Limits): void {
    this.limits = l;
    this.rate.set(l.handshakesPerSecond, l.handshakesPerSecond);
    this.failures.set(failureRate(l), Math.max(1, failureRate(l)));
    this.prefixes.set(prefixRate(l), prefixRate(l));
  }

  /** A handshake that was begun came to nothing. */
  failed(): void {
    this.failures.take(this.clock.now());
  }

  drain(): void {
    this.draining = true;
    this.pending.clear();
  }

  push(a: Arrival): void {
    if (this.isCrowded() && this.hasMany(a) && !this.continues(a)) return this.turnAway(a);
    if (this.waiting === QUEUE) this.turnAway(this.pop());
    if (this.waiting === 0) this.since = a.at;
    this.queue[(this.head + this.waiting) % QUEUE] = a;
    this.waiting++;
  }

  /** Takes from the queue; true when more waits. `behind`: this turn has not read all that had come. */
  run(behind = false): boolean {
    const now = this.clock.now();
    const late = now - PATIENCE_MS;
    while (this.waiting > 0 && this.lasts(now) && (this.queue[this.head] as Arrival).at <= late) this.turnAway(this.pop());
    const most = behind ? PER_TURN_BEHIND : PER_TURN;
    let begun = 0;
    for (let looks = 0; looks < LOOKS && begun < most && this.waiting > 0; looks++) if (this.consider(this.pop())) begun++;
    if (this.pending.size > 0) this.expire();
    return this.waiting > 0;
  }

  private lasts(now: number): boolean {
    return now - this.since >= LASTING_MS;
  }

  /** There is more to do than is done, and enough to go on with. */
  private isCrowded(): boolean {
    return this.waiting >= CROWD && this.lasts(this.clock.now());
  }

  /** Of the same client's attempt as what waits at the end, or as what has come of its hello: one with a post-quantum key share takes two. */
  private continues(a: Arrival): boolean {
    return this.queue[(this.head + this.waiting - 1) % QUEUE]?.key === a.key || this.pending.has(a.key);
  }

  /** It had many of the last handshakes: where there is not enough for all, others go first. */
  private hasMany(a: Arrival): boolean {
    return this.recent.hasMany(addressFrom(a.from.address, a.from.port) as Address);
  }

  private pop(): Arrival {
    const a = this.queue[this.head] as Arrival;
    this.queue[this.head] = null;
    this.head = (this.head + 1) % QUEUE;
    this.waiting--;
    return a;
  }

  /** Whoever has waited for so long would have given up, or asked again, before it came to anything. */
  private turnAway(a: Arrival): void {
    const known = this.port.find(a.key);
    if (known !== null) return known.recv(a.msg);
    const h = this.h;
    if (!parseInvariant(a.msg, 0, h) || !parseVersion1(a.msg, 0, h)) return this.drop('malformed');
    this.pending.delete(a.key);
    if (this.refusesAt(a.socket)) return this.refuse(a, 'draining', 'refused_draining');
    this.drop('batch');
    this.counters.handshakes.refused_limit++;
    if (this.turnedAway.take(this.clock.now())) this.close(a, CONNECTION_REFUSED);
  }

  private refusesAt(s: UdpSocket): boolean {
    return this.draining || s.leaving;
  }

  /** Whether a handshake was begun. */
  private consider(a: Arrival): boolean {
    const known = this.port.find(a.key);
    if (known !== null) {
      known.recv(a.msg);
      return false;
    }
    const h = this.h;
    if (!parseInvariant(a.msg, 0, h) || !parseVersion1(a.msg, 0, h)) this.drop('malformed');
    else if (this.pending.has(a.key)) this.feed(this.pending.get(a.key) as PendingHello, a);
    else if (this.refusesAt(a.socket)) this.refuse(a, 'draining', 'refused_draining');
    else return this.admit(a);
    return false;
  }

  private admit(a: Arrival): boolean {
    // Before a token is used up or a Retry is sealed: whoever hears nothing asks again, with the same token, and costs nothing until then.
    // The last half is for those who have had little: one that takes whatever there is still has all that others leave.
    const now = this.clock.now();
    if (!this.rate.ready(now) || (this.rate.isLow(now) && this.hasMany(a))) {
      this.drop('handshake_rate');
      return false;
    }
    const remote = addressFrom(a.from.address, a.from.port) as Address;
    const token = this.h.tokenLength === 0 ? null : this.checkToken(a, remote);
    if (token === false) return false;
    if (token === null && !this.mayBegin(a, remote)) return false;
    const limit = this.limitOf(remote);
    if (limit !== null) {
      this.refuse(a, limit, 'refused_limit');
      return false;
    }
    this.rate.take(this.clock.now());
    this.recent.add(remote, token !== null);
    this.feed(new PendingHello(a.key, clientInitialKeys(this.dcid(a.msg)), this.clock.now(), token), a);
    return true;
  }

  /** The client's first id when its token is good, null when it has none of ours, false when it was turned away. */
  private checkToken(a: Arrival, remote: Address): Buffer | null | false {
    const h = this.h;
    const token = a.msg.subarray(h.tokenAt, h.tokenAt + h.tokenLength);
    const verdict = openToken(this.tokenKeys, token, remote, this.dcid(a.msg), this.clock.wall());
    if (verdict.kind === 'none') return null;
    if (verdict.kind === 'valid' && h.dcidLength === CID_LENGTH && this.used.use(token, this.clock.now())) return verdict.odcid;
    this.drop(verdict.kind === 'expired' ? 'token_expired' : 'token');
    this.answerClose(a, INVALID_TOKEN);
    return false;
  }

  /** Without a token: whether a handshake may begin at once, or only after a Retry. */
  private mayBegin(a: Arrival, remote: Address): boolean {
    if (this.mode === 'always') return this.answerRetry(a, remote);
    if (this.mode === 'load' && this.loaded()) return this.answerRetry(a, remote);
    if (this.prefixes.take(remote, this.clock.now())) return true;
    if (this.mode === 'load') return this.answerRetry(a, remote);
    this.drop('handshake_rate');
    return false;
  }

  /** Whether those who begin may be none who were ever there: the rate is for others. */
  private loaded(): boolean {
    return this.halfOpen() >= this.limits.retryAbove || !this.failures.ready(this.clock.now());
  }

  private halfOpen(): number {
    return this.port.handshaking + this.pending.size;
  }

  private limitOf(remote: Address): Drop | null {
    if (this.port.live + this.pending.size >= this.limits.connections) return 'connections';
    if (this.addresses.get(limitKey(remote)) >= this.limits.perAddress) return 'address_limit';
    return this.halfOpen() >= this.limits.halfOpen ? 'half_open' : null;
  }

  /** Reads the CRYPTO frames of one more datagram; `h` stands on its first packet. */
  private feed(p: PendingHello, a: Arrival): void {
    const h = this.h;
    const known = this.pending.has(p.key);
    if (p.datagrams.length >= PENDING_DATAGRAMS) return this.drop('half_open');
    const dcid = this.dcid(a.msg);
    let at = 0;
    let opened = false;
    // Coalesced packets (RFC 9000 s12.2): those of another id are nobody's business here.
    for (let more = true; more;) {
      if (h.type === INITIAL && this.dcid(a.msg).equals(dcid)) {
        const payload = openInitial(a.msg, at, h, p.keys);
        if (payload !== null) {
          if (!takeCrypto(payload, p.crypto)) return this.spoil(known);
          opened = true;
        }
      }
      at = h.end;
      more =
        at < a.msg.length &&
        ((a.msg[at] as number) & 0x80) !== 0 &&
        parseInvariant(a.msg, at, h) &&
        h.version === QUIC_V1 &&
        parseVersion1(a.msg, at, h);
    }
    if (!opened) return this.spoil(known);
    p.datagrams.push(a.msg);
    this.judge(p, a, parseClientHello(p.crypto.contiguous()), known);
  }

  private judge(p: PendingHello, a: Arrival, parsed: Parsed<Hello>, known: boolean): void {
    if (parsed.kind === 'more') {
      if (!known) this.hold(p);
      return;
    }
    if (known) this.pending.delete(p.key);
    if (parsed.kind === 'bad') return this.spoil(false);
    const hello = parsed.value;
    parseInvariant(a.msg, 0, this.h);
    const tls = pickTls(this.tls.table, hello.sni);
    if (tls === null) return this.reject(a, 'sni_rejected', CRYPTO_UNRECOGNIZED_NAME);
    const served = this.tls.get(tls).entry.alpn;
    if (!hello.alpn.some((name) => served.includes(name))) return this.reject(a, 'alpn_failed', CRYPTO_NO_APPLICATION_PROTOCOL);
    const remote = addressFrom(a.from.address, a.from.port) as Address;
    const id = p.odcid === null ? null : Buffer.from(this.dcid(a.msg));
    const done = this.port.accept({
      arrival: a,
      remote,
      limitKey: limitKey(remote),
      tls,
      hello,
      id,
      odcid: p.odcid,
      datagrams: p.datagrams,
    });
    if (!done) this.refuse(a, 'connections', 'refused_limit');
  }

  /** No packet of a handshake. `held`: the client's earlier ones are, and wait for more. */
  private spoil(held: boolean): void {
    if (!held) this.failed();
    this.drop('malformed');
  }

  private hold(p: PendingHello): void {
    if (this.pending.size >= MAX_PENDING) {
      const oldest = this.pending.keys().next();
      if (!oldest.done) this.pending.delete(oldest.value);
      this.drop('half_open');
    }
    this.pending.set(p.key, p);
  }

  /** In order of arrival: stops at the first that still has time. Returns when nothing is left to expire. */
  expire(): void {
    const before = this.clock.now() - PENDING_MS;
    for (const p of this.pending.values()) {
      if (p.since > before) return;
      this.pending.delete(p.key);
      this.failed();
      this.counters.handshakes.client_gone++;
    }
  }

  private dcid(msg: Buffer): Buffer {
    return msg.subarray(this.h.dcidAt, this.h.dcidAt + this.h.dcidLength);
  }

  private scid(msg: Buffer): Buffer {
    return msg.subarray(this.h.scidAt, this.h.scidAt + this.h.scidLength);
  }

  private drop(why: Drop): void {
    this.counters.dropped[why]++;
  }

  private reject(a: Arrival, outcome: Outcome, code: number): void {
    this.failed();
    this.refuseWith(a, outcome, code);
  }

  private refuseWith(a: Arrival, outcome: Outcome, code: number): void {
    this.counters.handshakes[outcome]++;
    this.answerClose(a, code);
  }

  private refuse(a: Arrival, why: Drop, outcome: Outcome): void {
    this.drop(why);
    this.refuseWith(a, outcome, CONNECTION_REFUSED);
  }

  private answerClose(a: Arrival, code: number): void {
    if (this.refusals.take(this.clock.now())) this.close(a, code);
  }

  private close(a: Arrival, code: number): void {
    const out = initialClose(this.dcid(a.msg), this.scid(a.msg), code);
    a.socket.send(out, out.length, a.from.port, a.from.address);
    this.counters.answered.refused++;
  }

  private answerRetry(a: Arrival, remote: Address): false {
    if (!this.retries.take(this.clock.now())) {
      this.drop('handshake_rate');
      return false;
    }
    const odcid = this.dcid(a.msg);
    const id = this.codec.encode(NO_SLOT, 0, 0);
    const out = retry(odcid, this.scid(a.msg), id, sealToken(this.tokenKeys, remote, id, odcid, this.clock.wall()));
    a.socket.send(out, out.length, a.from.port, a.from.address);
    this.counters.answered.retry++;
    return false;
  }
}

function prefixRate(l: Limits): number {
  return Math.max(64, l.handshakesPerSecond / 4);
}

/** What comes to nothing may use up a quarter of the rate. */
function failureRate(l: Limits): number {
  return l.handshakesPerSecond / 4;
}
