import { readVarint, varintLength } from '../../../lib/bytes/varint.ts';

/** Long-header packet types of version 1 (RFC 9000 s17.2). */
export const INITIAL = 0;
export const RETRY = 3;

export const QUIC_V1 = 1;
export const MAX_CID = 20;
/** A datagram that carries an Initial is at least this long (RFC 9000 s14.1). */
export const MIN_INITIAL = 1200;
/** The first destination id of a client has at least eight bytes (RFC 9000 s7.2). */
export const MIN_INITIAL_DCID = 8;

/** Offsets of one long-header packet: filled in place, so that a flood of packets allocates nothing. */
export class LongHeader {
  type = 0;
  version = 0;
  dcidAt = 0;
  dcidLength = 0;
  scidAt = 0;
  scidLength = 0;
  tokenAt = 0;
  tokenLength = 0;
  /** Where the packet number starts. */
  numberAt = 0;
  /** Behind the packet: the next coalesced one starts here. */
  end = 0;
}

/**
 * The part of a long header that every version has (RFC 8999 s5.1): version and connection ids.
 * Ids longer than 20 bytes are left to the caller, since other versions may have them.
 */
export function parseInvariant(buf: Uint8Array, at: number, h: LongHeader): boolean {
  const length = buf.length;
  if (length - at < 7) return false;
  h.version =
    (buf[at + 1] as number) * 0x1000000 + (((buf[at + 2] as number) << 16) | ((buf[at + 3] as number) << 8) | (buf[at + 4] as number));
  h.dcidLength = buf[at + 5] as number;
  h.dcidAt = at + 6;
  const scid = h.dcidAt + h.dcidLength;
  if (scid >= length) return false;
  h.scidLength = buf[scid] as number;
  h.scidAt = scid + 1;
  return h.scidAt + h.scidLength <= length;
}

/** The rest of a version 1 long header behind `parseInvariant`; false when the packet does not fit into the datagram. */
export function parseVersion1(buf: Uint8Array, at: number, h: LongHeader): boolean {
  if (h.dcidLength > MAX_CID || h.scidLength > MAX_CID) return false;
  const first = buf[at] as number;
  if ((first & 0x40) === 0) return false;
  h.type = (first >> 4) & 3;
  h.tokenAt = 0;
  h.tokenLength = 0;
  let p = h.scidAt + h.scidLength;
  if (h.type === RETRY) return false;
  if (h.type === INITIAL) {
    if (!fits(buf, p)) return false;
    h.tokenLength = readVarint(buf, p);
    p += varintLength(buf[p] as number);
    h.tokenAt = p;
    if (h.tokenLength > buf.length - p) return false;
    p += h.tokenLength;
  }
  if (!fits(buf, p)) return false;
  const length = readVarint(buf, p);
  p += varintLength(buf[p] as number);
  h.numberAt = p;
  if (length > buf.length - p) return false;
  h.end = p + length;
  return true;
}

function fits(buf: Uint8Array, at: number): boolean {
  return at < buf.length && at + varintLength(buf[at] as number) <= buf.length;
}
