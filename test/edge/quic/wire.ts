import { createSocket, type Socket } from 'node:dgram';
import { randomBytes, randomInt } from 'node:crypto';
import { varintSize, writeVarint } from '../../../src/lib/bytes/varint.ts';
import { CID_LENGTH } from '../../../src/edge/quic/cid.ts';
import { quiche, type Config, type Connection } from '../../../src/edge/quic/matrixai/binding.ts';
import { CryptoStream, takeCrypto } from '../../../src/edge/quic/matrixai/hello.ts';
import { clientInitialKeys, openInitial, sealInitial, serverInitialKeys } from '../../../src/edge/quic/matrixai/initial.ts';
import { LongHeader, parseInvariant, parseVersion1 } from '../../../src/edge/quic/matrixai/packet.ts';

/** A bare UDP socket: sends what it is told and keeps what comes. */
export class Wire {
  readonly host: string;
  readonly got: Buffer[] = [];
  private readonly socket: Socket;
  private waiters: (() => void)[] = [];
  onMessage: ((msg: Buffer) => void) | null = null;

  private constructor(socket: Socket, host: string) {
    this.socket = socket;
    this.host = host;
    socket.on('message', (msg) => {
      this.got.push(Buffer.from(msg));
      this.onMessage?.(msg);
      for (const w of this.waiters.splice(0)) w();
    });
  }

  static async open(host = '127.0.0.1'): Promise<Wire> {
    const socket = createSocket({ type: host.includes(':') ? 'udp6' : 'udp4', recvBufferSize: 1 << 20 });
    await new Promise<void>((done) => socket.bind(0, host, done));
    return new Wire(socket, host);
  }

  get port(): number {
    return this.socket.address().port;
  }

  send(bytes: Uint8Array, port: number, host = '127.0.0.1'): Promise<void> {
    return new Promise((done, fail) => this.socket.send(bytes, port, host, (e) => (e === null ? done() : fail(e))));
  }

  /**
   * Returns when everything sent before has been judged, however many turns that takes: answers to Version Negotiation triggers
   * come back through the same socket, one turn after the other. They are not kept.
   */
  async barrier(port: number, rounds = 4): Promise<void> {
    for (let i = 0; i < rounds; i++) {
      const scid = randomBytes(18);
      const probe = longHeader(0xc0, 0x1a2a3a4a, randomBytes(8), scid, Buffer.alloc(1200));
      const at = (): number => this.got.findIndex((b) => b.length > 24 && isVersionNegotiation(b) && b.subarray(6, 24).equals(scid));
      await this.send(probe, port);
      await this.until(() => at() >= 0);
      this.got.splice(at(), 1);
    }
  }

  async until(check: () => boolean): Promise<void> {
    while (!check()) await new Promise<void>((done) => this.waiters.push(done));
  }

  get bytes(): number {
    return this.got.reduce((n, b) => n + b.length, 0);
  }

  close(): Promise<void> {
    return new Promise((done) => this.socket.close(() => done()));
  }
}

/** The plain ClientHello that a real client would send, taken from quiche's first packet. */
export function clientHello(o: { sni?: string | null; alpn?: readonly string[]; scid?: Uint8Array } = {}): Buffer {
  const q = quiche.Connection.connect(
    o.sni === undefined ? 'localhost' : o.sni,
    Buffer.from(o.scid ?? randomBytes(8)),
    A,
    A,
    rawConfig({ alpn: o.alpn ?? ['h3'] }),
  );
  const out = Buffer.alloc(1350);
  const [n] = q.send(out) as [number, unknown];
  const packet = out.subarray(0, n);
  const h = new LongHeader();
  if (!parseInvariant(packet, 0, h) || !parseVersion1(packet, 0, h)) throw new Error('no Initial');
  const payload = openInitial(packet, 0, h, clientInitialKeys(packet.subarray(h.dcidAt, h.dcidAt + h.dcidLength)));
  const crypto = new CryptoStream();
  if (payload === null || !takeCrypto(payload, crypto)) throw new Error('no CRYPTO');
  return Buffer.from(crypto.contiguous());
}

const A = { host: '127.0.0.1', port: 1 };

export function cryptoFrame(offset: number, data: Uint8Array): Buffer {
  const out = Buffer.alloc(1 + varintSize(offset) + varintSize(data.length) + data.length);
  out[0] = 6;
  out.set(data, writeVarint(out, writeVarint(out, 1, offset), data.length));
  return out;
}

export interface InitialOptions {
  readonly dcid?: Uint8Array;
  readonly scid?: Uint8Array;
  readonly number?: number;
  /** What the keys come from, when it is not `dcid`. */
  readonly secret?: Uint8Array;
  /** The whole datagram is padded to this. */
  readonly size?: number;
  readonly token?: Uint8Array;
}

/** A client's Initial with these frames, padded inside. */
export function initial(frames: Uint8Array, o: InitialOptions = {}): Buffer {
  const dcid = o.dcid ?? randomBytes(8);
  const scid = o.scid ?? randomBytes(8);
  const size = o.size ?? 1200;
  const overhead = sealInitial(clientInitialKeys(dcid), dcid, scid, 0, new Uint8Array(64)).length - 64;
  const payload = Buffer.concat([frames, Buffer.alloc(Math.max(0, size - overhead - frames.length))]);
  return sealInitial(clientInitialKeys(o.secret ?? dcid), dcid, scid, o.number ?? 0, payload);
}

/** Puts a token into a sealed Initial's header. Its protection covers the header: only good for packets that are judged by their token first. */
export function withToken(packet: Buffer, token: Uint8Array): Buffer {
  const h = new LongHeader();
  if (!parseInvariant(packet, 0, h)) throw new Error('no long header');
  const at = h.scidAt + h.scidLength;
  const length = Buffer.alloc(varintSize(token.length));
  writeVarint(length, 0, token.length);
  return Buffer.concat([packet.subarray(0, at), length, token, packet.subarray(at + 1)]);
}

export function longHeader(first: number, version: number, dcid: Uint8Array, scid: Uint8Array, rest: Uint8Array): Buffer {
  const v = Buffer.alloc(4);
  v.writeUInt32BE(version >>> 0);
  return Buffer.concat([Buffer.from([first]), v, Buffer.from([dcid.length]), dcid, Buffer.from([scid.length]), scid, rest]);
}

export interface RetryPacket {
  readonly id: Buffer;
  readonly token: Buffer;
}

export function readRetry(packet: Buffer): RetryPacket | null {
  const h = new LongHeader();
  if (!parseInvariant(packet, 0, h) || h.version !== 1 || ((packet[0] as number) & 0xf0) !== 0xf0) return null;
  const at = h.scidAt + h.scidLength;
  return { id: Buffer.from(packet.subarray(h.scidAt, at)), token: Buffer.from(packet.subarray(at, packet.length - 16)) };
}

/** The code of the CONNECTION_CLOSE in a server's Initial; null when there is none. */
export function closeCode(packet: Buffer, dcid: Uint8Array): number | null {
  const h = new LongHeader();
  if (!parseInvariant(packet, 0, h) || !parseVersion1(packet, 0, h) || h.type !== 0) return null;
  const payload = openInitial(packet, 0, h, serverInitialKeys(dcid));
  if (payload === null) return null;
  // Frames in front of it: PADDING, PING, ACK of one range.
  for (let i = 0; i < payload.length; i++) {
    if (payload[i] === 0x1c)
      return ((payload[i + 1] as number) & 0xc0) === 0x40 ? payload.readUInt16BE(i + 1) & 0x3fff : (payload[i + 1] as number);
    if (payload[i] === 0x02) i += 4;
  }
  return null;
}

export function isVersionNegotiation(packet: Buffer): boolean {
  return ((packet[0] as number) & 0x80) !== 0 && packet.readUInt32BE(1) === 0;
}

export interface RawOptions {
  readonly alpn?: readonly string[];
  readonly cert?: { readonly cert: Buffer; readonly key: Buffer };
  readonly configure?: (c: Config) => void;
}

export function rawConfig(o: RawOptions = {}): Config {
  const c = quiche.Config.withBoringSslCtx(
    false,
    false,
    null,
    o.cert === undefined ? null : [o.cert.key],
    o.cert === undefined ? null : [o.cert.cert],
  );
  c.setApplicationProtos([...(o.alpn ?? ['h3'])]);
  c.setMaxIdleTimeout(10_000);
  c.setInitialMaxData(1 << 24);
  c.setInitialMaxStreamDataBidiLocal(1 << 20);
  c.setInitialMaxStreamDataBidiRemote(1 << 20);
  c.setInitialMaxStreamDataUni(1 << 20);
  c.setInitialMaxStreamsUni(8);
  c.setMaxSendUdpPayloadSize(1350);
  o.configure?.(c);
  return c;
}

/** quiche as a client in the test's own hands: every datagram goes out when told to, from whichever wire. */
export class RawClient {
  readonly q: Connection;
  readonly wire: Wire;
  readonly port: number;
  private readonly out = Buffer.alloc(1500);
  private readonly info;

  constructor(wire: Wire, port: number, o: RawOptions & { sni?: string | null; session?: Uint8Array } = {}) {
    this.wire = wire;
    this.port = port;
    this.info = { from: { host: '127.0.0.1', port }, to: { host: '127.0.0.1', port: wire.port } };
    this.q = quiche.Connection.connect(
      o.sni === undefined ? 'localhost' : o.sni,
      randomBytes(CID_LENGTH),
      this.info.to,
      this.info.from,
      rawConfig(o),
    );
    if (o.session !== undefined) this.q.setSession(o.session);
    wire.onMessage = (msg) => {
      this.feed(msg);
      void this.flush();
    };
  }

  feed(msg: Uint8Array): void {
    try {
      this.q.recv(Buffer.from(msg), this.info);
    } catch {
      // Closed: the flush says so.
    }
  }

  /** The datagrams that wait to be sent, without sending them. */
  take(): Buffer[] {
    const list: Buffer[] = [];
    for (let i = 0; i < 200; i++) {
      let made: [number, unknown] | null = null;
      try {
        made = this.q.send(this.out);
      } catch {
        break;
      }
      if (made === null) break;
      list.push(Buffer.from(this.out.subarray(0, made[0])));
    }
    return list;
  }

  async flush(): Promise<void> {
    for (const d of this.take()) await this.wire.send(d, this.port);
  }

  /** Resolves once the handshake is done or has failed. */
  async handshake(): Promise<boolean> {
    await this.flush();
    await this.wire.until(
      () =>
        this.q.isEstablished() || this.q.isClosed() || this.q.isDraining() || this.q.localError() !== null || this.q.peerError() !== null,
    );
    return this.q.isEstablished() && this.q.peerError() === null;
  }
}

export function garbage(size: number): Buffer {
  return randomBytes(size);
}

export function shortHeader(size: number, id: Uint8Array = randomBytes(CID_LENGTH)): Buffer {
  const out = randomBytes(size);
  out[0] = 0x40 | randomInt(0x40);
  out.set(id.subarray(0, Math.max(0, size - 1)), 1);
  return out;
}
