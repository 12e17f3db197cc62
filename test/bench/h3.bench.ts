/** Frames and QPACK on what real clients and backends send. */
import { Fields } from '../../src/edge/http/fields.ts';
import { frameHead, readFrameHead } from '../../src/edge/http/h3/frames.ts';
import { Head, HeadSink } from '../../src/edge/http/h3/head.ts';
import { createH3Server } from '../../src/edge/http/h3/server.ts';
import type { RequestHandler, ServerApp, ServerStream } from '../../src/edge/http/message.ts';
import { decodeSection, SECTION_OK } from '../../src/edge/http/qpack/decode.ts';
import { sectionRoom, writeFields, writeSectionPrefix, writeStatus } from '../../src/edge/http/qpack/encode.ts';
import type { ConnInfo, ConnStats, QuicConn, TlsId } from '../../src/edge/quic/engine.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { TimerWheel } from '../../src/lib/wheel.ts';
import { bytes, concat, frame, request, section, type Pair } from '../kit/h3bytes.ts';
import { LOOPBACK } from '../kit/fakeconn.ts';

export interface Case {
  readonly name: string;
  run(n: number): void;
}

const PSEUDO: readonly Pair[] = [
  [':method', 'GET'],
  [':scheme', 'https'],
  [':authority', 'www.example.com'],
];

const CURL: readonly Pair[] = [...PSEUDO, [':path', '/index.html'], ['user-agent', 'curl/8.23.0'], ['accept', '*/*']];

const CHROME: readonly Pair[] = [
  ...PSEUDO,
  [':path', '/static/js/main.3f8a1c2d.chunk.js?v=20260301'],
  ['sec-ch-ua-platform', '"Linux"'],
  ['user-agent', 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/149.0.0.0 Safari/537.36'],
  ['sec-ch-ua', '"Chromium";v="149", "Not)A;Brand";v="24"'],
  ['sec-ch-ua-mobile', '?0'],
  ['accept', '*/*'],
  ['sec-fetch-site', 'same-origin'],
  ['sec-fetch-mode', 'no-cors'],
  ['sec-fetch-dest', 'script'],
  ['referer', 'https://www.example.com/dashboard'],
  ['accept-encoding', 'gzip, deflate, br, zstd'],
  ['accept-language', 'en-US,en;q=0.9'],
  ['cookie', '_ga=GA1.2.1234567890.1700000000'],
  ['cookie', 'session=8f14e45fceea167a5a36dedd4bea2543'],
  ['priority', 'u=1'],
];

const RESPONSE: readonly Pair[] = [
  ['server', 'nginx'],
  ['date', 'Tue, 03 Mar 2026 12:00:00 GMT'],
  ['content-type', 'text/html; charset=utf-8'],
  ['content-length', '1234'],
  ['last-modified', 'Mon, 02 Mar 2026 12:00:00 GMT'],
  ['etag', '"65e31b80-4d2"'],
  ['cache-control', 'public, max-age=3600'],
  ['accept-ranges', 'bytes'],
  ['via', '2 spooky-0a1b2c3d'],
];

const SHORT_RESPONSE = RESPONSE.slice(0, 4);

function fieldsFrom(pairs: readonly Pair[]): Fields {
  const fields = new Fields();
  for (const [name, value] of pairs) fields.add(name, value);
  return fields;
}

function decodeCase(name: string, pairs: readonly Pair[]): Case {
  const encoded = section(pairs);
  const sink = new HeadSink();
  return {
    name,
    run(n) {
      for (let i = 0; i < n; i++) {
        sink.begin(new Head(0));
        if (decodeSection(encoded, 0, encoded.length, sink, 65_536, 128) !== SECTION_OK || sink.finish() !== '') throw new Error('refused');
      }
    },
  };
}

function encodeCase(name: string, pairs: readonly Pair[], isNew: boolean): Case {
  const fields = fieldsFrom(pairs);
  const buf = Buffer.alloc(sectionRoom(fields) + 32);
  let count = 0;
  return {
    name,
    run(n) {
      for (let i = 0; i < n; i++) {
        // Values as a backend changes them: another date, length and tag for each answer.
        if (isNew) for (const at of [1, 3, 5]) fields.values[at] = `${RESPONSE[at]?.[1] as string}${count++ % 1000}`;
        writeFields(buf, writeStatus(buf, writeSectionPrefix(buf, 0), 200), fields);
      }
    },
  };
}

const frames = concat(...Array.from({ length: 16 }, (_, i) => frame(i % 2, Buffer.alloc(40 + i * 20))));

const frameCase: Case = {
  name: 'h3: frame head',
  run(n) {
    let at = 0;
    for (let i = 0; i < n; i++) {
      at = readFrameHead(frames, at, frames.length) + frameHead.length;
      if (at >= frames.length) at = 0;
    }
  },
};

/** Takes everything, keeps nothing. */
class SinkConn implements QuicConn {
  readonly key = 1;
  readonly early = false;
  readonly remote = LOOPBACK;
  readonly local = LOOPBACK;
  data: unknown = null;
  written = 0;

  info(): ConnInfo {
    return { sni: 'www.example.com', alpn: 'h3', tls: 1 as TlsId, resumed: false, peerChain: null, handshakeMs: 1 };
  }

  stats(): ConnStats {
    return { rttMs: 1, lost: 0, sent: 0, received: 0 };
  }

  write(_id: number, _buf: Uint8Array, start: number, end: number): boolean {
    this.written += end - start;
    return true;
  }

  openUni(): number {
    return 3;
  }

  pause(): void {}
  resume(): void {}
  reset(): void {}
  stop(): void {}
  priority(): void {}
  datagram(): boolean {
    return false;
  }
  ping(): void {}
  close(): void {
    throw new Error('closed');
  }
}

/** Answers from within the request, as a cache would. */
class AnswerApp implements ServerApp, RequestHandler {
  private readonly fields = fieldsFrom(SHORT_RESPONSE);
  private readonly body = Buffer.alloc(100, 0x61);

  onConnection(): void {}
  onRequest(s: ServerStream): RequestHandler {
    s.respond(200, this.fields, false);
    s.write(this.body, 0, this.body.length);
    s.end(null);
    return this;
  }
  onProtocolError(): void {
    throw new Error('refused');
  }
  onLimit(): void {}
  onFieldDropped(): void {}
  onMove(): void {}
  onClose(): void {}
  onRequestBody(): void {}
  onRequestEnd(): void {}
  onRequestAbort(): void {}
  onResponseWritable(): void {}
  onResponseSent(): void {}
}

function serveCase(name: string, pairs: readonly Pair[], after: Uint8Array = new Uint8Array(0)): Case {
  const limits = {
    headerBytes: 65_536,
    headerCount: 128,
    headerTimeoutMs: 10_000,
    responseStallMs: 60_000,
    noRequestTimeoutMs: 300_000,
    requestsPerConnection: Infinity,
    maxStreams: 128,
    keepAliveMs: 0,
  };
  const bytesOfRequest = concat(request([], pairs), after);
  return {
    name,
    run(n) {
      const wheel = new TimerWheel(systemClock, (e) => {
        throw e;
      });
      const { handler } = createH3Server({
        clock: systemClock,
        wheel,
        limits: () => limits,
        app: new AnswerApp(),
        onInternalError: (_where, e) => {
          throw e;
        },
      });
      const c = new SinkConn();
      handler.onConnection(c);
      handler.onData(c, 2, concat(bytes(0), frame(0x04)), 0, 3, false);
      for (let i = 0; i < n; i++) {
        handler.onData(c, i * 4, bytesOfRequest, 0, bytesOfRequest.length, true);
        if (i % 8 === 7) handler.onTurnEnd();
      }
      handler.onTurnEnd();
      wheel.stop();
    },
  };
}

/** A body that is passed on as it comes: its share of reading frames, without what a backend costs. */
const UPLOAD: readonly Pair[] = [[':method', 'POST'], ...PSEUDO.slice(1), [':path', '/upload']];
const body = frame(0, Buffer.alloc(64 * 1024, 0x61));

export const cases: Case[] = [
  frameCase,
  decodeCase('qpack: decode and check, curl', CURL),
  decodeCase('qpack: decode and check, Chrome', CHROME),
  encodeCase('qpack: encode an answer like the last one', RESPONSE, false),
  encodeCase('qpack: encode an answer with new values', RESPONSE, true),
  encodeCase('qpack: encode a short answer', SHORT_RESPONSE, false),
  serveCase('h3: serve a request of curl', CURL),
  serveCase('h3: serve a request of Chrome', CHROME),
  serveCase('h3: serve a request with a body of 64 KiB', UPLOAD, body),
];
