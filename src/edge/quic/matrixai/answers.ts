import { randomFillSync, randomInt } from 'node:crypto';
import { varintSize, writeVarint } from '../../../lib/bytes/varint.ts';
import { retryTag, sealInitial, serverInitialKeys } from './initial.ts';
import { QUIC_V1 } from './packet.ts';

/** The datagrams that are answered without any state. Every one is smaller than three times its trigger. */

/** Version Negotiation (RFC 9000 s17.2.1): our one version, and a reserved one so that clients keep ignoring what they do not know. */
export function versionNegotiation(dcid: Uint8Array, scid: Uint8Array): Buffer {
  const out = Buffer.alloc(7 + dcid.length + scid.length + 8);
  out[0] = 0x80 | randomInt(0x80);
  let at = 5;
  out[at++] = scid.length;
  out.set(scid, at);
  at += scid.length;
  out[at++] = dcid.length;
  out.set(dcid, at);
  at += dcid.length;
  out.writeUInt32BE(QUIC_V1, at);
  out.writeUInt32BE((((randomInt(0x10000) * 0x10000) & 0xf0f0f0f0) | 0x0a0a0a0a) >>> 0, at + 4);
  return out;
}

/** A Retry (RFC 9000 s17.2.5): `dcid` and `scid` are those of the client's packet, `id` is what it shall use from now on. */
export function retry(dcid: Uint8Array, scid: Uint8Array, id: Uint8Array, token: Uint8Array): Buffer {
  const body = Buffer.alloc(7 + scid.length + id.length + token.length);
  body[0] = 0xf0;
  body.writeUInt32BE(QUIC_V1, 1);
  body[5] = scid.length;
  body.set(scid, 6);
  body[6 + scid.length] = id.length;
  body.set(id, 7 + scid.length);
  body.set(token, 7 + scid.length + id.length);
  return Buffer.concat([body, retryTag(dcid, body)]);
}

/** An Initial with CONNECTION_CLOSE (RFC 9000 s10.2.3) for a client of which nothing else is kept. */
export function initialClose(dcid: Uint8Array, scid: Uint8Array, code: number): Buffer {
  const size = varintSize(code);
  const payload = Buffer.alloc(3 + size);
  payload[0] = 0x1c;
  writeVarint(payload, 1, code);
  return sealInitial(serverInitialKeys(dcid), scid, dcid, 0, payload);
}

/** The smallest trigger that leaves room for a smaller reset of the least length, 5 + 16 bytes (RFC 9000 s10.3). */
export const MIN_RESET_TRIGGER = 22;

/** A stateless reset: looks like a short-header packet, always smaller than what triggered it (RFC 9000 s10.3.3). */
export function statelessReset(token: Uint8Array, trigger: number): Buffer {
  const size = trigger <= 43 ? trigger - 1 : 42 + randomInt(Math.min(trigger - 42, 20));
  const out = Buffer.allocUnsafeSlow(size);
  randomFillSync(out, 0, size - 16);
  out[0] = 0x40 | ((out[0] as number) & 0x3f);
  out.set(token, size - 16);
  return out;
}
