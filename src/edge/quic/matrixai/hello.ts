import { readVarint, varintLength } from '../../../lib/bytes/varint.ts';

/** What the choice of a certificate needs from a ClientHello (RFC 8446 s4.1.2). */
export interface Hello {
  /** As sent, ISO 8859-1. */
  readonly sni: string | null;
  readonly alpn: readonly string[];
  readonly signatures: readonly number[];
  /** The first 16 bytes of the first PSK identity: the name of the ticket key. */
  readonly pskName: Buffer | null;
}

export type Parsed<T> = { readonly kind: 'ok'; readonly value: T } | { readonly kind: 'more' } | { readonly kind: 'bad' };

const MORE = { kind: 'more' } as const;
const BAD = { kind: 'bad' } as const;

const EXT_SERVER_NAME = 0;
const EXT_SIGNATURES = 13;
const EXT_ALPN = 16;
const EXT_PSK = 41;
const MAX_EXTENSIONS = 128;
const CLIENT_HELLO = 1;
/** More than any client sends, with room for two post-quantum key shares. */
export const MAX_HELLO = 16384;

/** Reads big-endian numbers and vectors; once something does not fit, `bad` stays set and everything reads as zero. */
class Cursor {
  readonly buf: Buffer;
  at: number;
  end: number;
  bad = false;

  constructor(buf: Buffer, at: number, end: number) {
    this.buf = buf;
    this.at = at;
    this.end = end;
  }

  number(bytes: 1 | 2 | 3): number {
    if (this.bad || this.end - this.at < bytes) {
      this.bad = true;
      return 0;
    }
    const value = this.buf.readUIntBE(this.at, bytes);
    this.at += bytes;
    return value;
  }

  /** A cursor over the next `length` bytes. */
  take(length: number): Cursor {
    if (this.bad || length > this.end - this.at) {
      this.bad = true;
      return new Cursor(this.buf, this.at, this.at);
    }
    const inner = new Cursor(this.buf, this.at, this.at + length);
    this.at += length;
    return inner;
  }

  get empty(): boolean {
    return this.at >= this.end;
  }

  text(): string {
    return this.buf.toString('latin1', this.at, this.end);
  }
}

/** The ClientHello at the start of the handshake stream, as far as it has arrived. */
export function parseClientHello(buf: Buffer): Parsed<Hello> {
  if (buf.length === 0) return MORE;
  if (buf[0] !== CLIENT_HELLO) return BAD;
  if (buf.length < 4) return MORE;
  const length = buf.readUIntBE(1, 3);
  if (length > MAX_HELLO - 4) return BAD;
  if (buf.length < 4 + length) return MORE;
  const c = new Cursor(buf, 4, 4 + length);
  c.take(2 + 32);
  c.take(c.number(1));
  c.take(c.number(2));
  c.take(c.number(1));
  const extensions = c.take(c.number(2));
  if (c.bad || !c.empty) return BAD;
  return parseExtensions(extensions);
}

function parseExtensions(c: Cursor): Parsed<Hello> {
  const seen = new Set<number>();
  let sni: string | null = null;
  let alpn: string[] = [];
  let signatures: number[] = [];
  let pskName: Buffer | null = null;
  while (!c.empty) {
    const type = c.number(2);
    const body = c.take(c.number(2));
    // A second extension of one type is an error (RFC 8446 s4.2): two readers must not see two names.
    if (c.bad || seen.has(type) || seen.size >= MAX_EXTENSIONS) return BAD;
    seen.add(type);
    if (type === EXT_SERVER_NAME) sni = serverName(body);
    else if (type === EXT_ALPN) alpn = protocols(body);
    else if (type === EXT_SIGNATURES) signatures = schemes(body);
    else if (type === EXT_PSK) pskName = ticketName(body);
    if (body.bad) return BAD;
  }
  return { kind: 'ok', value: { sni, alpn, signatures, pskName } };
}

function serverName(c: Cursor): string | null {
  const list = c.take(c.number(2));
  if (!c.empty) c.bad = true;
  let name: string | null = null;
  while (!list.empty && !list.bad) {
    const type = list.number(1);
    const host = list.take(list.number(2));
    if (list.bad || type !== 0 || name !== null || host.empty) c.bad = true;
    name = host.text();
  }
  if (list.bad || name === null) c.bad = true;
  return name;
}

function protocols(c: Cursor): string[] {
  const list = c.take(c.number(2));
  const out: string[] = [];
  while (!list.empty && !list.bad && out.length < 64) {
    const p = list.take(list.number(1));
    if (p.empty) c.bad = true;
    out.push(p.text());
  }
  if (list.bad || !list.empty || !c.empty) c.bad = true;
  return out;
}

function schemes(c: Cursor): number[] {
  const list = c.take(c.number(2));
  const out: number[] = [];
  while (!list.empty && !list.bad && out.length < 128) out.push(list.number(2));
  if (list.bad || !list.empty || !c.empty) c.bad = true;
  return out;
}

function ticketName(c: Cursor): Buffer | null {
  const identities = c.take(c.number(2));
  const first = identities.take(identities.number(2));
  if (identities.bad) c.bad = true;
  return first.end - first.at >= 16 ? Buffer.from(first.buf.subarray(first.at, first.at + 16)) : null;
}

/** CRYPTO bytes in any order, split anyhow, up to the longest ClientHello: one flat buffer and the list of what is there. */
export class CryptoStream {
  private buf = Buffer.alloc(2048);
  /** Ordered, disjoint [from, to) pairs, flat. */
  private ranges: number[] = [];

  /** False when the data lies beyond what a ClientHello may need, or has more holes than any honest sender leaves. */
  add(offset: number, data: Uint8Array): boolean {
    const end = offset + data.length;
    if (end > MAX_HELLO) return false;
    if (data.length === 0) return true;
    if (end > this.buf.length) {
      const grown = Buffer.alloc(Math.min(MAX_HELLO, Math.max(end, this.buf.length * 2)));
      this.buf.copy(grown);
      this.buf = grown;
    }
    this.buf.set(data, offset);
    this.merge(offset, end);
    return this.ranges.length <= 64;
  }

  /** What has arrived without a hole. */
  contiguous(): Buffer {
    return this.ranges[0] === 0 ? this.buf.subarray(0, this.ranges[1]) : this.buf.subarray(0, 0);
  }

  private merge(from: number, to: number): void {
    const out: number[] = [];
    let placed = false;
    for (let i = 0; i < this.ranges.length; i += 2) {
      const a = this.ranges[i] as number;
      const b = this.ranges[i + 1] as number;
      if (b < from) out.push(a, b);
      else if (a > to) {
        if (!placed) out.push(from, to);
        placed = true;
        out.push(a, b);
      } else {
        from = Math.min(from, a);
        to = Math.max(to, b);
      }
    }
    if (!placed) out.push(from, to);
    this.ranges = out;
  }
}

/** Puts the CRYPTO frames of an Initial's payload into `stream`; false for frames that do not belong there (RFC 9000 s12.4, table 3). */
export function takeCrypto(payload: Uint8Array, stream: CryptoStream): boolean {
  const r = new FrameReader(payload);
  while (r.at < payload.length) {
    const type = payload[r.at++] as number;
    if (type === 0x00 || type === 0x01) continue;
    if (type === 0x06) {
      const offset = r.varint();
      const length = r.varint();
      if (r.bad || length > payload.length - r.at) return false;
      if (!stream.add(offset, payload.subarray(r.at, r.at + length))) return false;
      r.at += length;
    } else if (type === 0x02 || type === 0x03) {
      if (!r.skipAck(type === 0x03)) return false;
    } else return false;
  }
  return true;
}

class FrameReader {
  readonly buf: Uint8Array;
  at = 0;
  bad = false;

  constructor(buf: Uint8Array) {
    this.buf = buf;
  }

  varint(): number {
    const size = this.at < this.buf.length ? varintLength(this.buf[this.at] as number) : 1;
    if (this.bad || this.at + size > this.buf.length) {
      this.bad = true;
      return 0;
    }
    const value = readVarint(this.buf, this.at);
    this.at += size;
    return value;
  }

  skipAck(ecn: boolean): boolean {
    this.varint();
    this.varint();
    const ranges = this.varint();
    this.varint();
    // Each range takes at least two bytes, so the packet bounds this loop.
    for (let i = 0; i < ranges && !this.bad; i++) {
      this.varint();
      this.varint();
    }
    if (ecn) for (let i = 0; i < 3; i++) this.varint();
    return !this.bad;
  }
}
