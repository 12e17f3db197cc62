/** Frames of RFC 9113 as bytes: parse and append pairs. Every append returns the offset behind what it wrote. */
import { Flag, FrameType, FRAME_HEADER } from './codes.ts';

export function readU16(buf: Uint8Array, at: number): number {
  return ((buf[at] as number) << 8) | (buf[at + 1] as number);
}

export function readU24(buf: Uint8Array, at: number): number {
  return ((buf[at] as number) << 16) | ((buf[at + 1] as number) << 8) | (buf[at + 2] as number);
}

export function readU32(buf: Uint8Array, at: number): number {
  return (((buf[at] as number) << 24) | ((buf[at + 1] as number) << 16) | ((buf[at + 2] as number) << 8) | (buf[at + 3] as number)) >>> 0;
}

/** Without the reserved bit, which is ignored (s4.1, s6.9). */
export function readU31(buf: Uint8Array, at: number): number {
  return (((buf[at] as number) & 0x7f) << 24) | ((buf[at + 1] as number) << 16) | ((buf[at + 2] as number) << 8) | (buf[at + 3] as number);
}

export function appendU32(buf: Uint8Array, at: number, value: number): number {
  buf[at] = value >>> 24;
  buf[at + 1] = (value >>> 16) & 0xff;
  buf[at + 2] = (value >>> 8) & 0xff;
  buf[at + 3] = value & 0xff;
  return at + 4;
}

/** s4.1 */
export function appendFrameHeader(buf: Uint8Array, at: number, length: number, type: number, flags: number, id: number): number {
  buf[at] = length >>> 16;
  buf[at + 1] = (length >>> 8) & 0xff;
  buf[at + 2] = length & 0xff;
  buf[at + 3] = type;
  buf[at + 4] = flags;
  return appendU32(buf, at + 5, id);
}

export interface FrameHeader {
  length: number;
  type: number;
  flags: number;
  id: number;
}

/** The header at `at`, of which all nine bytes are there. */
export function parseFrameHeader(buf: Uint8Array, at: number, into: FrameHeader): void {
  into.length = readU24(buf, at);
  into.type = buf[at + 3] as number;
  into.flags = buf[at + 4] as number;
  into.id = readU31(buf, at + 5);
}

/** s6.4 */
export const RST_STREAM_SIZE = FRAME_HEADER + 4;
export function appendRstStream(buf: Uint8Array, at: number, id: number, code: number): number {
  return appendU32(buf, appendFrameHeader(buf, at, 4, FrameType.RST_STREAM, 0, id), code);
}

/** s6.5; `pairs` is identifier, value, identifier, value... */
export const settingsSize = (pairs: readonly number[]): number => FRAME_HEADER + pairs.length * 3;
export function appendSettings(buf: Uint8Array, at: number, flags: number, pairs: readonly number[]): number {
  at = appendFrameHeader(buf, at, pairs.length * 3, FrameType.SETTINGS, flags, 0);
  for (let i = 0; i < pairs.length; i += 2) {
    const identifier = pairs[i] as number;
    buf[at] = identifier >>> 8;
    buf[at + 1] = identifier & 0xff;
    at = appendU32(buf, at + 2, pairs[i + 1] as number);
  }
  return at;
}

/** s6.7; the eight bytes are those at `from` of `data`. */
export const PING_SIZE = FRAME_HEADER + 8;
export function appendPing(buf: Uint8Array, at: number, ack: boolean, data: Uint8Array, from: number): number {
  at = appendFrameHeader(buf, at, 8, FrameType.PING, ack ? Flag.ACK : 0, 0);
  for (let i = 0; i < 8; i++) buf[at + i] = data[from + i] as number;
  return at + 8;
}

/** s6.8, without debug data. */
export const GOAWAY_SIZE = FRAME_HEADER + 8;
export function appendGoaway(buf: Uint8Array, at: number, lastId: number, code: number): number {
  at = appendFrameHeader(buf, at, 8, FrameType.GOAWAY, 0, 0);
  return appendU32(buf, appendU32(buf, at, lastId), code);
}

/** s6.9 */
export const WINDOW_UPDATE_SIZE = FRAME_HEADER + 4;
export function appendWindowUpdate(buf: Uint8Array, at: number, id: number, increment: number): number {
  return appendU32(buf, appendFrameHeader(buf, at, 4, FrameType.WINDOW_UPDATE, 0, id), increment);
}
