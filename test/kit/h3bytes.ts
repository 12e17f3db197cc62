/** HTTP/3 bytes by hand, valid or not, and the way back for what a server sent. */
import { Fields } from '../../src/edge/http/fields.ts';
import { readFrameHead, frameHead, INCOMPLETE, writeFrameHead } from '../../src/edge/http/h3/frames.ts';
import { decodeSection, SECTION_OK, type FieldSink } from '../../src/edge/http/qpack/decode.ts';
import { writeFields, writeSectionPrefix, sectionRoom } from '../../src/edge/http/qpack/encode.ts';
import { STATIC_NAMES, STATIC_VALUES } from '../../src/edge/http/qpack/static.ts';
import { writeVarint } from '../../src/lib/bytes/varint.ts';

export type Pair = readonly [name: string, value: string, never?: boolean];

export function concat(...parts: readonly Uint8Array[]): Buffer {
  return Buffer.concat(parts);
}

export function bytes(...octets: readonly number[]): Buffer {
  return Buffer.from(octets);
}

export function varint(value: number): Buffer {
  const buf = Buffer.alloc(8);
  return buf.subarray(0, writeVarint(buf, 0, value));
}

/** Any 62-bit value, in eight bytes. */
export function varint8(value: bigint): Buffer {
  const buf = Buffer.alloc(8);
  buf.writeBigUInt64BE(value | (3n << 62n));
  return buf;
}

export function frame(type: number, payload: Uint8Array = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(16);
  return concat(head.subarray(0, writeFrameHead(head, 0, type, payload.length)), payload);
}

/** A field section, whatever the names and values are. */
export function section(pairs: readonly Pair[]): Buffer {
  const fields = new Fields();
  for (const [name, value, never] of pairs) fields.add(name, value, never ?? false);
  const buf = Buffer.alloc(sectionRoom(fields));
  return buf.subarray(0, writeFields(buf, writeSectionPrefix(buf, 0), fields));
}

export function headers(pairs: readonly Pair[]): Buffer {
  return frame(0x01, section(pairs));
}

export function data(text: string | Uint8Array): Buffer {
  return frame(0x00, typeof text === 'string' ? Buffer.from(text, 'latin1') : text);
}

export const GET: readonly Pair[] = [
  [':method', 'GET'],
  [':scheme', 'https'],
  [':authority', 'a.test'],
  [':path', '/'],
];

export const POST: readonly Pair[] = [[':method', 'POST'], ...GET.slice(1)];

export function request(pairs: readonly Pair[] = [], base: readonly Pair[] = GET): Buffer {
  return headers([...base, ...pairs]);
}

export class PairSink implements FieldSink {
  readonly pairs: Pair[] = [];

  onStatic(index: number): void {
    this.pairs.push([STATIC_NAMES[index] as string, STATIC_VALUES[index] as string, false]);
  }

  onField(name: string, value: string, never: boolean): number {
    this.pairs.push([name, value, never]);
    return -1;
  }

  onChecked(name: string, value: string): void {
    this.pairs.push([name, value, false]);
  }
}

/** The fields of a section; throws when it is none. */
export function fieldsOf(buf: Uint8Array, maxBytes = 1 << 20, maxCount = 10_000): Pair[] {
  const sink = new PairSink();
  const result = decodeSection(buf, 0, buf.length, sink, maxBytes, maxCount);
  if (result !== SECTION_OK) throw new Error(`section refused: ${result}`);
  return sink.pairs;
}

export interface SeenFrame {
  readonly type: number;
  readonly payload: Buffer;
}

/** Whole frames, in order; throws when something is left. */
export function framesOf(stream: Uint8Array): SeenFrame[] {
  const out: SeenFrame[] = [];
  let at = 0;
  while (at < stream.length) {
    const payload = readFrameHead(stream, at, stream.length);
    if (payload === INCOMPLETE || payload + frameHead.length > stream.length) throw new Error('cut frame');
    const { type, length } = frameHead;
    out.push({ type, payload: Buffer.from(stream.subarray(payload, payload + length)) });
    at = payload + length;
  }
  return out;
}

export interface SeenAnswer {
  readonly informs: number[];
  readonly status: number;
  readonly fields: Map<string, string>;
  readonly body: string;
  readonly trailers: Map<string, string> | null;
}

/** An answer as a client reads it. */
export function answerOf(stream: Uint8Array): SeenAnswer {
  const informs: number[] = [];
  let status = 0;
  let fields = new Map<string, string>();
  let trailers: Map<string, string> | null = null;
  let body = '';
  for (const { type, payload } of framesOf(stream)) {
    if (type === 0x00) body += payload.toString('latin1');
    if (type !== 0x01) continue;
    const map = new Map(fieldsOf(payload).map(([n, v]) => [n, v]));
    const line = map.get(':status');
    if (line === undefined) trailers = map;
    else if (Number(line) < 200) informs.push(Number(line));
    else {
      status = Number(line);
      fields = map;
    }
  }
  return { informs, status, fields, body, trailers };
}
