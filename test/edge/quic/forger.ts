import { createCipheriv, createDecipheriv, createHmac } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CID_LENGTH } from '../../../src/edge/quic/cid.ts';
import { RawClient, type Wire } from './wire.ts';

/** RFC 8446 s7.1, for outputs of at most 32 bytes. */
function expand(secret: Buffer, label: string, length: number): Buffer {
  const name = Buffer.from(`tls13 ${label}`);
  const info = Buffer.concat([Buffer.from([0, length, name.length]), name, Buffer.from([0, 1])]);
  return createHmac('sha256', secret).update(info).digest().subarray(0, length);
}

/** Keys of one direction with AES-128-GCM (RFC 9001 s5). */
class Direction {
  private readonly key: Buffer;
  private readonly iv: Buffer;
  private readonly hp: Buffer;

  constructor(secret: Buffer) {
    this.key = expand(secret, 'quic key', 16);
    this.iv = expand(secret, 'quic iv', 12);
    this.hp = expand(secret, 'quic hp', 16);
  }

  private nonce(number: number): Buffer {
    const nonce = Buffer.from(this.iv);
    nonce.writeUInt32BE((nonce.readUInt32BE(8) ^ number) >>> 0, 8);
    return nonce;
  }

  private mask(sample: Buffer): Buffer {
    return createCipheriv('aes-128-ecb', this.hp, null).update(sample);
  }

  /** A short-header packet with a number of four bytes. */
  seal(dcid: Uint8Array, number: number, frames: Uint8Array): Buffer {
    const header = Buffer.concat([Buffer.from([0x43]), dcid, Buffer.alloc(4)]);
    const at = header.length - 4;
    header.writeUInt32BE(number, at);
    const cipher = createCipheriv('aes-128-gcm', this.key, this.nonce(number));
    cipher.setAAD(header);
    // Padding: the sample for the header begins four bytes behind the number.
    const plain = frames.length < 4 ? Buffer.concat([frames, Buffer.alloc(4)]) : frames;
    const packet = Buffer.concat([header, cipher.update(plain), cipher.final(), cipher.getAuthTag()]);
    const mask = this.mask(packet.subarray(at + 4, at + 20));
    packet[0] = (packet[0] as number) ^ ((mask[0] as number) & 0x1f);
    for (let i = 0; i < 4; i++) packet[at + i] = (packet[at + i] as number) ^ (mask[i + 1] as number);
    return packet;
  }

  /** The frames of a short-header packet to an id of this length; null for any other datagram. Numbers are taken to be small. */
  open(datagram: Buffer, idLength: number): Buffer | null {
    if (((datagram[0] as number) & 0x80) !== 0) return null;
    const packet = Buffer.from(datagram);
    const at = 1 + idLength;
    const mask = this.mask(packet.subarray(at + 4, at + 20));
    packet[0] = (packet[0] as number) ^ ((mask[0] as number) & 0x1f);
    const size = ((packet[0] as number) & 3) + 1;
    for (let i = 0; i < size; i++) packet[at + i] = (packet[at + i] as number) ^ (mask[i + 1] as number);
    const decipher = createDecipheriv('aes-128-gcm', this.key, this.nonce(packet.readUIntBE(at, size)));
    decipher.setAAD(packet.subarray(0, at + size));
    decipher.setAuthTag(packet.subarray(-16));
    try {
      return Buffer.concat([decipher.update(packet.subarray(at + size, -16)), decipher.final()]);
    } catch {
      return null;
    }
  }
}

/** A client that has made an honest handshake, and from then on sends whatever frames the test writes. */
export class Forger {
  readonly wire: Wire;
  private readonly port: number;
  private readonly dcid: Buffer;
  private readonly idLength: number;
  private readonly ours: Direction;
  private readonly theirs: Direction;
  /** Above whatever the handshake has used. */
  private number = 1000;
  /** Bytes of forged packets. */
  sent = 0;

  private constructor(raw: RawClient, secrets: string, dcid: Buffer) {
    this.wire = raw.wire;
    this.port = raw.port;
    this.dcid = dcid;
    this.idLength = CID_LENGTH;
    const secret = (name: string): Buffer => Buffer.from(new RegExp(`^${name} \\w+ (\\w+)$`, 'm').exec(secrets)?.[1] ?? '', 'hex');
    this.ours = new Direction(secret('CLIENT_TRAFFIC_SECRET_0'));
    this.theirs = new Direction(secret('SERVER_TRAFFIC_SECRET_0'));
  }

  static async connect(wire: Wire, port: number): Promise<Forger> {
    const dir = mkdtempSync(join(tmpdir(), 'spooky-forger-'));
    try {
      const raw = new RawClient(wire, port, { configure: (c) => c.logKeys() });
      raw.q.setKeylog(join(dir, 'keys'));
      if (!(await raw.handshake())) throw new Error('the handshake came to nothing');
      // The server's id stands in the next packet of its own accord.
      raw.q.streamSend(0, Buffer.from('hello'), false);
      const packets = raw.take();
      const short = packets.find((p) => ((p[0] as number) & 0x80) === 0);
      if (short === undefined) throw new Error('no packet with a short header');
      for (const p of packets) await wire.send(p, port);
      wire.onMessage = null;
      return new Forger(raw, readFileSync(join(dir, 'keys'), 'utf8'), Buffer.from(short.subarray(1, 1 + CID_LENGTH)));
    } finally {
      rmSync(dir, { recursive: true });
    }
  }

  /** One packet of these frames. */
  send(frames: Uint8Array): Promise<void> {
    return this.leave(this.ours.seal(this.dcid, this.number++, frames));
  }

  /** The same, but what has sealed it is not intact. */
  garble(frames: Uint8Array): Promise<void> {
    const packet = this.ours.seal(this.dcid, this.number++, frames);
    packet[packet.length - 1] = (packet[packet.length - 1] as number) ^ 1;
    return this.leave(packet);
  }

  private leave(packet: Buffer): Promise<void> {
    this.sent += packet.length;
    return this.wire.send(packet, this.port);
  }

  /** What the server's packets hold, in their order. */
  received(): Buffer[] {
    return this.wire.got.map((d) => this.theirs.open(d, this.idLength)).filter((frames): frames is Buffer => frames !== null);
  }
}
