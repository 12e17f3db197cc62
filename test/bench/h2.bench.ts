/** The pieces of the HTTP/2 client that every proxied request passes. */
import { Duplex } from 'node:stream';
import type { Socket } from 'node:net';
import { Fields } from '../../src/edge/http/fields.ts';
import { FrameType } from '../../src/edge/http/h2/codes.ts';
import { appendFrameHeader } from '../../src/edge/http/h2/frames.ts';
import { SESSION_DEFAULTS } from '../../src/edge/http/h2/options.ts';
import { flushOutputs } from '../../src/edge/http/h2/output.ts';
import { FrameReader, type FrameSink } from '../../src/edge/http/h2/reader.ts';
import { H2Session } from '../../src/edge/http/h2/session.ts';
import { HpackDecoder } from '../../src/edge/http/hpack/decoder.ts';
import { HpackEncoder } from '../../src/edge/http/hpack/encoder.ts';
import type { ClientRequest, ClientStream, ResponseHandler } from '../../src/edge/http/message.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { TimerWheel } from '../../src/lib/wheel.ts';

export interface BenchCase {
  readonly name: string;
  run(n: number): void;
}

type Rows = readonly (readonly [string, string])[];

const fieldsOf = (rows: Rows): Fields => {
  const fields = new Fields();
  for (const [name, value] of rows) fields.add(name, value);
  return fields;
};

/** A browser's request behind a proxy. */
const BROWSER: Rows = [
  ['user-agent', 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36'],
  ['accept', 'text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8'],
  ['accept-encoding', 'gzip, deflate, br, zstd'],
  ['accept-language', 'en-US,en;q=0.9,de;q=0.8'],
  ['cache-control', 'max-age=0'],
  ['referer', 'https://www.example.com/some/page'],
  ['sec-fetch-dest', 'document'],
  ['sec-fetch-mode', 'navigate'],
  ['sec-fetch-site', 'same-origin'],
  ['cookie', 'session=0123456789abcdef0123456789abcdef; theme=dark'],
  ['x-forwarded-for', '192.0.2.44'],
  ['x-forwarded-proto', 'https'],
  ['x-forwarded-host', 'www.example.com'],
  ['via', '3 spooky-01234567'],
];
/** What h2load or curl sends through the same proxy. */
const SMALL: Rows = [
  ['user-agent', 'h2load nghttp2/1.70'],
  ['x-forwarded-for', '192.0.2.44'],
  ['x-forwarded-proto', 'https'],
  ['via', '3 spooky-01234567'],
];
const RESPONSE: Rows = [
  [':status', '200'],
  ['server', 'nginx/1.30.0'],
  ['date', 'Sat, 21 Nov 2026 03:13:26 GMT'],
  ['content-type', 'text/html; charset=utf-8'],
  ['content-length', '100'],
  ['last-modified', 'Fri, 20 Nov 2026 10:00:00 GMT'],
  ['etag', '"673db1a0-64"'],
  ['accept-ranges', 'bytes'],
];

const request = (rows: Rows): ClientRequest => ({
  method: 'GET',
  scheme: 'https',
  authority: 'www.example.com',
  path: '/',
  fields: fieldsOf(rows),
});

function encodeCase(name: string, rows: Rows): BenchCase {
  const encoder = new HpackEncoder();
  const out = Buffer.alloc(65_536);
  const r = request(rows);
  let id = 0;
  const paths = Array.from({ length: 1000 }, (_, i) => `/assets/page-${i}.html`);
  const ids = Array.from({ length: 1000 }, (_, i) => `8f3a${i}c0ffee${i}`);
  r.fields.add('x-request-id', '');
  const last = r.fields.length - 1;
  return {
    name,
    run(n) {
      for (let i = 0; i < n; i++) {
        id = (id + 1) % 1000;
        r.path = paths[id] as string;
        r.fields.values[last] = ids[id] as string;
        encoder.request(out, 0, r);
      }
    },
  };
}

function block(encoder: HpackEncoder, rows: Rows): Buffer {
  const fields = fieldsOf(rows);
  const out = Buffer.alloc(HpackEncoder.roomForFields(fields));
  return out.subarray(0, encoder.trailers(out, 0, fields));
}

function decodeCase(name: string, rows: Rows, indexed: boolean): BenchCase {
  const decoder = new HpackDecoder(4096, { bytes: 65_536, count: 128 });
  const encoder = new HpackEncoder();
  const pseudo = new Fields();
  let bytes = block(encoder, rows);
  if (indexed) {
    for (let i = 0; i < 3; i++) {
      decoder.decode(bytes, 0, bytes.length, pseudo, new Fields());
      bytes = block(encoder, rows);
    }
  }
  return {
    name,
    run(n) {
      for (let i = 0; i < n; i++) {
        pseudo.clear();
        decoder.decode(bytes, 0, bytes.length, pseudo, new Fields());
      }
    },
  };
}

/** What nginx sends: literals that enter the table each time, and are never referred to. */
function insertCase(name: string, rows: Rows): BenchCase {
  const decoder = new HpackDecoder(4096, { bytes: 65_536, count: 128 });
  const pseudo = new Fields();
  const fields = new Fields();
  const encoder = new HpackEncoder();
  encoder.setPeerLimit(0);
  block(encoder, []);
  const lines = rows.map(([n, v]) => block(encoder, [[n, v]]));
  for (const line of lines) line[0] = (line[0] as number) | 0x40;
  // Four bits of index became six: only names that are spelt out stay what they were.
  const bytes = Buffer.concat(lines);
  return {
    name,
    run(n) {
      for (let i = 0; i < n; i++) {
        pseudo.clear();
        fields.clear();
        if (!decoder.decode(bytes, 0, bytes.length, pseudo, fields)) throw new Error('the block does not decode');
      }
    },
  };
}

const nothing = (): void => undefined;
const SINK: FrameSink = {
  onData: nothing,
  onDataBytes: nothing,
  onDataEnd: nothing,
  onHeaderBlock: nothing,
  onFrame: nothing,
  onUnknownFrame: nothing,
  onFrameError: nothing,
};

function frame(type: number, flags: number, id: number, payload: Uint8Array): Buffer {
  const out = Buffer.alloc(9 + payload.length);
  appendFrameHeader(out, 0, payload.length, type, flags, id);
  out.set(payload, 9);
  return out;
}

function readCase(): BenchCase {
  const bytes = Buffer.concat([frame(FrameType.HEADERS, 4, 1, Buffer.alloc(60)), frame(FrameType.DATA, 1, 1, Buffer.alloc(100))]);
  const reader = new FrameReader(SINK, { blockBytes: 65_536, continuations: 16 });
  return {
    name: 'h2 frames: HEADERS and DATA of one response',
    run(n) {
      for (let i = 0; i < n; i++) reader.read(bytes, 0, bytes.length);
    },
  };
}

/** A socket that swallows: the cost of a session without that of the kernel. */
class Void extends Duplex {
  override _read(): void {
    return;
  }

  override _write(_chunk: Buffer, _encoding: string, done: () => void): void {
    done();
  }

  destroySoon(): void {
    this.destroy();
  }
}

class Handler implements ResponseHandler {
  ended = 0;
  onRequestSent(_stream: ClientStream): void {
    return;
  }
  onInform(): void {
    return;
  }
  onResponse(): void {
    return;
  }
  onKnownResponse(): void {
    return;
  }
  onResponseBody(): void {
    return;
  }
  onResponseEnd(): void {
    this.ended++;
  }
  onResponseFailure(): void {
    throw new Error('a failure in the benchmark');
  }
  onRequestWritable(): void {
    return;
  }
}

/** Requests in batches of `streams`, answered at once: everything that the client does but the system calls. */
function sessionCase(streams: number): BenchCase {
  const socket = new Void();
  const wheel = new TimerWheel(systemClock, nothing);
  const fail = (where: string, e: unknown): void => {
    throw new Error(where, { cause: e });
  };
  const options = { ...SESSION_DEFAULTS, wheel, keepAliveMs: 0, onInternalError: fail };
  const session = new H2Session(socket as unknown as Socket, options, {
    onReady: nothing,
    onCapacity: nothing,
    onDraining: nothing,
    onClosed: nothing,
  });
  socket.emit('data', frame(FrameType.SETTINGS, 0, 0, Buffer.alloc(0)));
  wheel.stop();
  const handler = new Handler();
  const r = request(SMALL);
  const encoder = new HpackEncoder();
  for (let i = 0; i < 3; i++) block(encoder, RESPONSE);
  // The first blocks fill the session's table as they did the encoder's.
  const fresh = new HpackEncoder();
  const warm = [block(fresh, RESPONSE), block(fresh, RESPONSE)];
  const settled = block(fresh, RESPONSE);
  let id = 1;
  const answer = Buffer.concat(
    Array.from({ length: streams }, () =>
      Buffer.concat([frame(FrameType.HEADERS, 4, 1, settled), frame(FrameType.DATA, 1, 1, Buffer.alloc(100))]),
    ),
  );
  const size = answer.length / streams;
  for (const bytes of warm) {
    session.open(r, true, handler);
    socket.emit('data', Buffer.concat([frame(FrameType.HEADERS, 4, id, bytes), frame(FrameType.DATA, 1, id, Buffer.alloc(100))]));
    id += 2;
  }
  return {
    name: `h2 session: ${streams} requests a turn, each with its response`,
    run(n) {
      for (let i = 0; i < n; i += streams) {
        for (let s = 0; s < streams; s++) {
          session.open(r, true, handler);
          answer.writeUInt32BE(id, s * size + 5);
          answer.writeUInt32BE(id, s * size + 9 + settled.length + 5);
          id += 2;
        }
        flushOutputs();
        socket.emit('data', answer);
      }
    },
  };
}

export const cases: BenchCase[] = [
  encodeCase('hpack encode: a browser’s request', BROWSER),
  encodeCase('hpack encode: a small request', SMALL),
  decodeCase('hpack decode: a response in literals', RESPONSE, false),
  decodeCase('hpack decode: a response by index', RESPONSE, true),
  insertCase(
    'hpack decode: a response in literals that enter the table',
    ['server', 'date', 'content-type', 'content-length'].map((n) => [`x-${n}`, RESPONSE.find(([name]) => name === n)?.[1] ?? '']),
  ),
  readCase(),
  sessionCase(1),
  sessionCase(32),
];
