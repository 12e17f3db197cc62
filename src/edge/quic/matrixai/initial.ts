import { createCipheriv, createDecipheriv, createHmac } from 'node:crypto';
import { varintSize, writeVarint } from '../../../lib/bytes/varint.ts';
import { QUIC_V1, type LongHeader } from './packet.ts';

/** Packet protection of Initial packets (RFC 9001 s5.2 to s5.4): enough to read a ClientHello and to refuse it. */
export interface InitialKeys {
  readonly key: Buffer;
  readonly iv: Buffer;
  readonly hp: Buffer;
}

const SALT_V1 = Buffer.from('38762cf7f55934b34d179ae6a4c80cadccbb7f0a', 'hex');
const RETRY_KEY = Buffer.from('be0c690b9f66575a1d766b54e368c84e', 'hex');
const RETRY_NONCE = Buffer.from('461599d35d632bf2239825bb', 'hex');
const TAG = 16;

const LABEL_CLIENT = label('client in', 32);
const LABEL_SERVER = label('server in', 32);
const LABEL_KEY = label('quic key', 16);
const LABEL_IV = label('quic iv', 12);
const LABEL_HP = label('quic hp', 16);

/** The HkdfLabel of RFC 8446 s7.1 with the block counter behind it: each of these outputs is one HMAC block. */
function label(name: string, length: number): Buffer {
  const text = `tls13 ${name}`;
  return Buffer.concat([Buffer.from([length >> 8, length & 0xff, text.length]), Buffer.from(text, 'latin1'), Buffer.from([0, 1])]);
}

function expand(secret: Uint8Array, info: Buffer, length: number): Buffer {
  return createHmac('sha256', secret).update(info).digest().subarray(0, length);
}

function keysOf(dcid: Uint8Array, side: Buffer): InitialKeys {
  const initial = createHmac('sha256', SALT_V1).update(dcid).digest();
  const secret = expand(initial, side, 32);
  return { key: expand(secret, LABEL_KEY, 16), iv: expand(secret, LABEL_IV, 12), hp: expand(secret, LABEL_HP, 16) };
}

/** What the client seals its Initial packets with: from the destination id of its first one. */
export function clientInitialKeys(dcid: Uint8Array): InitialKeys {
  return keysOf(dcid, LABEL_CLIENT);
}

export function serverInitialKeys(dcid: Uint8Array): InitialKeys {
  return keysOf(dcid, LABEL_SERVER);
}

function mask(keys: InitialKeys, sample: Uint8Array): Buffer {
  return createCipheriv('aes-128-ecb', keys.hp, null).setAutoPadding(false).update(sample);
}

function nonce(keys: InitialKeys, packetNumber: number): Buffer {
  const out = Buffer.from(keys.iv);
  for (let i = 0, n = packetNumber; i < 4; i++, n = Math.floor(n / 256)) out[11 - i] = (out[11 - i] as number) ^ (n & 0xff);
  return out;
}

/** The payload of the Initial packet at `at`, or null when it is forged or cut. The datagram is left as it is. */
export function openInitial(buf: Uint8Array, at: number, h: LongHeader, keys: InitialKeys): Buffer | null {
  const n = h.numberAt;
  if (h.end - n < 4 + TAG) return null;
  const m = mask(keys, buf.subarray(n + 4, n + 20));
  const first = (buf[at] as number) ^ ((m[0] as number) & 0x0f);
  const size = (first & 3) + 1;
  const header = Buffer.from(buf.subarray(at, n + size));
  header[0] = first;
  let number = 0;
  for (let i = 0; i < size; i++) {
    const octet = (buf[n + i] as number) ^ (m[1 + i] as number);
    header[n - at + i] = octet;
    number = number * 256 + octet;
  }
  const open = createDecipheriv('aes-128-gcm', keys.key, nonce(keys, number));
  open.setAAD(header);
  open.setAuthTag(buf.subarray(h.end - TAG, h.end));
  try {
    return Buffer.concat([open.update(buf.subarray(n + size, h.end - TAG)), open.final()]);
  } catch {
    return null;
  }
}

/** One sealed Initial packet without token; the packet number takes two bytes. */
export function sealInitial(keys: InitialKeys, dcid: Uint8Array, scid: Uint8Array, packetNumber: number, payload: Uint8Array): Buffer {
  const length = 2 + payload.length + TAG;
  const lengthSize = Math.max(2, varintSize(length));
  const numberAt = 7 + dcid.length + scid.length + 1 + lengthSize;
  const out = Buffer.alloc(numberAt + length);
  out[0] = 0xc1;
  out.writeUInt32BE(QUIC_V1, 1);
  out[5] = dcid.length;
  out.set(dcid, 6);
  out[6 + dcid.length] = scid.length;
  out.set(scid, 7 + dcid.length);
  // The token length is zero; the length always takes two bytes here, as a peer may expect of a server.
  const lengthAt = 8 + dcid.length + scid.length;
  if (length < 0x40) out.writeUInt16BE(0x4000 | length, lengthAt);
  else writeVarint(out, lengthAt, length);
  out.writeUInt16BE(packetNumber, numberAt);
  const seal = createCipheriv('aes-128-gcm', keys.key, nonce(keys, packetNumber));
  seal.setAAD(out.subarray(0, numberAt + 2));
  seal.update(payload).copy(out, numberAt + 2);
  seal.final();
  seal.getAuthTag().copy(out, numberAt + 2 + payload.length);
  const m = mask(keys, out.subarray(numberAt + 4, numberAt + 20));
  out[0] = 0xc1 ^ ((m[0] as number) & 0x0f);
  out[numberAt] = (out[numberAt] as number) ^ (m[1] as number);
  out[numberAt + 1] = (out[numberAt + 1] as number) ^ (m[2] as number);
  return out;
}

/** The tag that ties a Retry to the client's first destination id (RFC 9001 s5.8). */
export function retryTag(odcid: Uint8Array, retry: Uint8Array): Buffer {
  const seal = createCipheriv('aes-128-gcm', RETRY_KEY, RETRY_NONCE);
  seal.setAAD(Buffer.concat([Buffer.from([odcid.length]), odcid, retry]));
  seal.final();
  return seal.getAuthTag();
}
