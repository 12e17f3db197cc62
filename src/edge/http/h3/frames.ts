/** The frame layer of RFC 9114 s7: heads of frames and the small payloads of the control stream, as parse/append pairs. */
import { readVarint, varintLength, varintSize, VARINT_SATURATED, writeVarint } from '../../../lib/bytes/varint.ts';

export const FRAME = {
  DATA: 0x00,
  HEADERS: 0x01,
  CANCEL_PUSH: 0x03,
  SETTINGS: 0x04,
  PUSH_PROMISE: 0x05,
  GOAWAY: 0x07,
  MAX_PUSH_ID: 0x0d,
  /** RFC 9218 s7.2. */
  PRIORITY_UPDATE_REQUEST: 0xf0700,
  PRIORITY_UPDATE_PUSH: 0xf0701,
} as const;

export const UNI = { CONTROL: 0x00, PUSH: 0x01, QPACK_ENCODER: 0x02, QPACK_DECODER: 0x03 } as const;

export const SETTING = {
  QPACK_MAX_TABLE_CAPACITY: 0x01,
  MAX_FIELD_SECTION_SIZE: 0x06,
  QPACK_BLOCKED_STREAMS: 0x07,
  ENABLE_CONNECT_PROTOCOL: 0x08,
  H3_DATAGRAM: 0x33,
} as const;

/** More bytes are needed. */
export const INCOMPLETE = -1;
/** The payload breaks its frame's format. */
export const INVALID = -2;

/** Two varints of eight bytes. */
export const MAX_FRAME_HEAD = 16;

/** What `readFrameHead` found. */
export const frameHead = { type: 0, length: 0 };

/** Reads type and length into `frameHead`; returns the offset of the payload, or `INCOMPLETE`. */
export function readFrameHead(buf: Uint8Array, at: number, end: number): number {
  if (at >= end) return INCOMPLETE;
  const lengthAt = at + varintLength(buf[at] as number);
  if (lengthAt >= end) return INCOMPLETE;
  const payload = lengthAt + varintLength(buf[lengthAt] as number);
  if (payload > end) return INCOMPLETE;
  frameHead.type = readVarint(buf, at);
  frameHead.length = readVarint(buf, lengthAt);
  return payload;
}

export function writeFrameHead(buf: Uint8Array, at: number, type: number, length: number): number {
  return writeVarint(buf, writeVarint(buf, at, type), length);
}

export function frameHeadSize(type: number, length: number): number {
  return varintSize(type) + varintSize(length);
}

/** RFC 9114 s7.2.8: frame types of HTTP/2 that must never appear. */
export function isReservedHttp2Frame(type: number): boolean {
  return type === 0x02 || type === 0x06 || type === 0x08 || type === 0x09;
}

/** The payload of CANCEL_PUSH, GOAWAY and MAX_PUSH_ID: exactly one varint, else `INVALID`. */
export function readIdPayload(buf: Uint8Array, start: number, end: number): number {
  return start < end && start + varintLength(buf[start] as number) === end ? readVarint(buf, start) : INVALID;
}

export function writeIdFrame(buf: Uint8Array, at: number, type: number, id: number): number {
  return writeVarint(buf, writeFrameHead(buf, at, type, varintSize(id)), id);
}

/** GOAWAY with the highest request id there is, 2^62-4: beyond what a plain number holds (RFC 9114 s5.2). */
export const GOAWAY_MAX: Readonly<Uint8Array> = Uint8Array.of(FRAME.GOAWAY, 8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfc);

/** Settings of a peer that mean something here; -1 where it said nothing. */
export interface PeerSettings {
  maxFieldSectionSize: number;
  qpackMaxTableCapacity: number;
  qpackBlockedStreams: number;
}

export const SETTINGS_OK = 0;
/** Truncated: H3_FRAME_ERROR. */
export const SETTINGS_TRUNCATED = 1;
/** A duplicate, a reserved id or a forbidden value: H3_SETTINGS_ERROR. */
export const SETTINGS_INVALID = 2;

/** RFC 9114 s7.2.4.1. */
export function readSettings(buf: Uint8Array, start: number, end: number, into: PeerSettings): number {
  const seen = new Set<number | bigint>();
  let at = start;
  while (at < end) {
    const valueAt = at + varintLength(buf[at] as number);
    if (valueAt >= end) return SETTINGS_TRUNCATED;
    const next = valueAt + varintLength(buf[valueAt] as number);
    if (next > end) return SETTINGS_TRUNCATED;
    const id = readVarint(buf, at);
    const key = id === VARINT_SATURATED ? exactId(buf, at) : id;
    if (seen.has(key)) return SETTINGS_INVALID;
    seen.add(key);
    if (!takeSetting(id, readVarint(buf, valueAt), into)) return SETTINGS_INVALID;
    at = next;
  }
  return SETTINGS_OK;
}

/** Two different ids above 2^53 read alike; only their bytes tell them apart. */
function exactId(buf: Uint8Array, at: number): bigint {
  let id = 0n;
  for (let i = 0; i < 8; i++) id = (id << 8n) | BigInt(buf[at + i] as number);
  return id;
}

function takeSetting(id: number, value: number, into: PeerSettings): boolean {
  switch (id) {
    // s7.2.4.1: settings of HTTP/2 without a counterpart.
    case 0x02:
    case 0x03:
    case 0x04:
    case 0x05:
      return false;
    case SETTING.QPACK_MAX_TABLE_CAPACITY:
      into.qpackMaxTableCapacity = value;
      return true;
    case SETTING.QPACK_BLOCKED_STREAMS:
      into.qpackBlockedStreams = value;
      return true;
    case SETTING.MAX_FIELD_SECTION_SIZE:
      into.maxFieldSectionSize = value;
      return true;
    // RFC 9220 s3 and RFC 9297 s2.1.1: nothing but 0 and 1.
    case SETTING.ENABLE_CONNECT_PROTOCOL:
    case SETTING.H3_DATAGRAM:
      return value <= 1;
    default:
      return true;
  }
}

/** A SETTINGS frame of these pairs, in order. */
export function writeSettings(buf: Uint8Array, at: number, pairs: readonly (readonly [id: number, value: number])[]): number {
  let length = 0;
  for (const [id, value] of pairs) length += varintSize(id) + varintSize(value);
  at = writeFrameHead(buf, at, FRAME.SETTINGS, length);
  for (const [id, value] of pairs) at = writeVarint(buf, writeVarint(buf, at, id), value);
  return at;
}

/** What `readPriorityUpdate` found. */
export const priorityUpdate = { id: 0, valueAt: 0 };

/** RFC 9218 s7.2: the element's id; its field value is the rest of the payload. False when there is no whole id. */
export function readPriorityUpdate(buf: Uint8Array, start: number, end: number): boolean {
  if (start >= end) return false;
  const valueAt = start + varintLength(buf[start] as number);
  if (valueAt > end) return false;
  priorityUpdate.id = readVarint(buf, start);
  priorityUpdate.valueAt = valueAt;
  return true;
}

export function writePriorityUpdate(buf: Uint8Array, at: number, type: number, id: number, value: string): number {
  at = writeVarint(buf, writeFrameHead(buf, at, type, varintSize(id) + value.length), id);
  for (let i = 0; i < value.length; i++) buf[at++] = value.charCodeAt(i) & 0xff;
  return at;
}
