/**
 * An HTTP/2 server for tests that speaks in frames of its own, so that any misbehaviour can be scripted.
 * Without a script it is honest: it answers a few routes and echoes everything else, within the client's windows.
 */
import { createServer as createTcpServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import { ErrorCode, Flag, FrameType, PREFACE, Setting } from '../../src/edge/http/h2/codes.ts';
import {
  appendFrameHeader,
  appendSettings,
  parseFrameHeader,
  readU16,
  readU31,
  readU32,
  settingsSize,
} from '../../src/edge/http/h2/frames.ts';
import { Fields } from '../../src/edge/http/fields.ts';
import { HpackDecoder } from '../../src/edge/http/hpack/decoder.ts';
import { HpackEncoder } from '../../src/edge/http/hpack/encoder.ts';

export type Rows = readonly (readonly [name: string, value: string])[];

export interface Frame {
  readonly type: number;
  readonly flags: number;
  readonly id: number;
  readonly payload: Buffer;
}

export interface H2ServerOptions {
  readonly host?: string;
  readonly port?: number;
  /** PEM; ALPN offers `alpn` (default h2). */
  readonly tls?: {
    readonly cert: string | Buffer;
    readonly key: string | Buffer;
    readonly ca?: string | Buffer;
    readonly alpn?: readonly string[];
  };
  /** Identifier, value, ... of the server's SETTINGS. */
  readonly settings?: readonly number[];
  /** Give no credit back, acknowledge nothing: frames are recorded and that is all. */
  readonly mute?: boolean;
  /** A connection is there; true: the script sends the SETTINGS itself. */
  onConnection?(c: H2Peer): boolean | void;
  /** A frame came; true: nothing else is done with it. */
  onFrame?(c: H2Peer, frame: Frame): boolean | void;
  /** A request's head came; true: the script answers. */
  onRequest?(r: H2Request): boolean | void;
  /** A request is complete; true: the script answers. */
  onRequestEnd?(r: H2Request): boolean | void;
}

export interface H2Server {
  readonly port: number;
  /** host:port */
  readonly address: string;
  readonly requests: H2Request[];
  readonly connections: H2Peer[];
  close(): Promise<void>;
}

/** Waits for a state that callbacks bring about. */
class Waiters {
  private list: { done: () => boolean; resolve: () => void }[] = [];

  until(done: () => boolean): Promise<void> {
    if (done()) return Promise.resolve();
    return new Promise((resolve) => this.list.push({ done, resolve }));
  }

  check(): void {
    const due = this.list.filter((w) => w.done());
    this.list = this.list.filter((w) => !due.includes(w));
    for (const w of due) w.resolve();
  }
}

/** One request as it came, and the means to answer it. */
export class H2Request {
  readonly connection: H2Peer;
  readonly id: number;
  readonly method: string;
  readonly scheme: string;
  readonly authority: string;
  readonly path: string;
  readonly fields: Rows;
  /** Names of the fields that came as never-indexed. */
  readonly never: readonly string[];
  readonly pieces: Buffer[] = [];
  ended = false;
  trailers: Rows | null = null;
  /** The code of the client's RST_STREAM. */
  reset: number | null = null;

  constructor(connection: H2Peer, id: number, pseudo: Fields, fields: Fields) {
    this.connection = connection;
    this.id = id;
    this.method = pseudo.get(':method') ?? '';
    this.scheme = pseudo.get(':scheme') ?? '';
    this.authority = pseudo.get(':authority') ?? '';
    this.path = pseudo.get(':path') ?? '';
    this.fields = rowsOf(fields);
    this.never = fields.names.filter((_, i) => fields.isNever(i));
  }

  get body(): Buffer {
    return Buffer.concat(this.pieces);
  }

  field(name: string): string | null {
    return this.fields.find(([n]) => n === name)?.[1] ?? null;
  }

  respond(status: number, fields: Rows = [], end = false): void {
    this.connection.headers(this.id, [[':status', String(status)], ...fields], end);
  }

  /** Within the client's windows. */
  write(bytes: string | Uint8Array, end = false): void {
    this.connection.body(this.id, Buffer.from(bytes), end ? [] : null);
  }

  /** Behind the body. */
  trail(fields: Rows): void {
    this.connection.body(this.id, Buffer.alloc(0), fields);
  }

  /** Head and body at once. */
  answer(status: number, body: string | Uint8Array = '', fields: Rows = []): void {
    const bytes = Buffer.from(body);
    this.respond(status, [...fields, ['content-length', String(bytes.length)]], bytes.length === 0);
    if (bytes.length > 0) this.write(bytes, true);
  }

  untilEnded(): Promise<void> {
    return this.connection.until(() => this.ended || this.reset !== null);
  }

  untilReset(): Promise<void> {
    return this.connection.until(() => this.reset !== null);
  }
}

interface Pending {
  readonly id: number;
  bytes: Buffer;
  /** Null: more may come; otherwise trailers, or none when empty. */
  end: Rows | null;
}

/** The server's side of one connection. */
export class H2Peer {
  readonly socket: Socket;
  readonly frames: Frame[] = [];
  readonly requests = new Map<number, H2Request>();
  /** The first setting of each kind that the client sent. */
  readonly settings = new Map<number, number>();
  readonly encoder = new HpackEncoder();
  readonly decoder = new HpackDecoder(4096, { bytes: 1 << 24, count: 100_000 });
  /** The client's last GOAWAY, and whether the connection is gone. */
  goaway: { lastId: number; code: number } | null = null;
  closed = false;
  private readonly options: H2ServerOptions;
  private readonly server: { requests: H2Request[] };
  private readonly waiters = new Waiters();
  private input = Buffer.alloc(0);
  private greeted = false;
  private block: { id: number; flags: number; parts: Buffer[] } | null = null;
  private window = 65_535;
  private initialWindow = 65_535;
  private readonly windows = new Map<number, number>();
  /** Streams whose answer the script has taken upon itself. */
  private readonly scripted = new Set<number>();
  private pending: Pending[] = [];

  constructor(socket: Socket, options: H2ServerOptions, server: { requests: H2Request[] }) {
    this.socket = socket;
    this.options = options;
    this.server = server;
    socket.on('data', (b: Buffer) => this.receive(b));
    socket.on('error', () => undefined);
    socket.on('close', () => {
      this.closed = true;
      this.waiters.check();
    });
    if (options.onConnection?.(this) !== true) this.greet(options.settings ?? []);
  }

  // Sending.

  send(bytes: Uint8Array): void {
    if (!this.socket.destroyed) this.socket.write(bytes);
  }

  sendHex(hex: string): void {
    this.send(Buffer.from(hex.replaceAll(' ', ''), 'hex'));
  }

  frame(type: number, flags: number, id: number, payload: Uint8Array | string = ''): void {
    this.send(frameBytes(type, flags, id, payload));
  }

  greet(settings: readonly number[]): void {
    const out = Buffer.alloc(settingsSize(settings));
    appendSettings(out, 0, 0, settings);
    this.send(out);
  }

  encode(fields: Rows): Buffer {
    const list = new Fields();
    for (const [name, value] of fields) list.add(name, value);
    const out = Buffer.alloc(HpackEncoder.roomForFields(list));
    return out.subarray(0, this.encoder.trailers(out, 0, list));
  }

  headers(id: number, fields: Rows, end: boolean): void {
    const block = this.encode(fields);
    const flags = end ? Flag.END_STREAM : 0;
    const parts = Math.max(1, Math.ceil(block.length / 16_384));
    for (let i = 0; i < parts; i++) {
      const last = i === parts - 1 ? Flag.END_HEADERS : 0;
      this.frame(
        i === 0 ? FrameType.HEADERS : FrameType.CONTINUATION,
        (i === 0 ? flags : 0) | last,
        id,
        block.subarray(i * 16_384, (i + 1) * 16_384),
      );
    }
  }

  /** DATA without a look at any window. */
  data(id: number, bytes: string | Uint8Array, end = false): void {
    this.frame(FrameType.DATA, end ? Flag.END_STREAM : 0, id, bytes);
  }

  rst(id: number, code: number): void {
    this.frame(FrameType.RST_STREAM, 0, id, u32(code));
  }

  ping(ack = false, payload: Uint8Array = Buffer.alloc(8)): void {
    this.frame(FrameType.PING, ack ? Flag.ACK : 0, 0, payload);
  }

  sendGoaway(lastId: number, code: number = ErrorCode.NO_ERROR): void {
    this.frame(FrameType.GOAWAY, 0, 0, Buffer.concat([u32(lastId), u32(code)]));
  }

  windowUpdate(id: number, increment: number): void {
    this.frame(FrameType.WINDOW_UPDATE, 0, id, u32(increment));
  }

  /** Body bytes as the client's windows allow. */
  body(id: number, bytes: Buffer, end: Rows | null): void {
    this.pending.push({ id, bytes, end });
    this.pump();
  }

  // Waiting.

  until(done: () => boolean): Promise<void> {
    return this.waiters.until(() => done() || this.closed);
  }

  async untilFrame(wanted: (f: Frame) => boolean): Promise<Frame> {
    await this.until(() => this.frames.some(wanted));
    const found = this.frames.find(wanted);
    if (found === undefined) throw new Error('the connection ended before the frame came');
    return found;
  }

  untilClosed(): Promise<void> {
    return this.waiters.until(() => this.closed);
  }

  // Receiving.

  private receive(bytes: Buffer): void {
    this.input = Buffer.concat([this.input, bytes]);
    if (!this.greeted) {
      if (this.input.length < PREFACE.length) return;
      if (this.input.toString('latin1', 0, PREFACE.length) !== PREFACE) throw new Error('no preface');
      this.input = this.input.subarray(PREFACE.length);
      this.greeted = true;
    }
    const header = { length: 0, type: 0, flags: 0, id: 0 };
    while (this.input.length >= 9) {
      parseFrameHeader(this.input, 0, header);
      const size = 9 + header.length;
      if (this.input.length < size) break;
      const frame = { type: header.type, flags: header.flags, id: header.id, payload: Buffer.from(this.input.subarray(9, size)) };
      this.input = this.input.subarray(size);
      this.frames.push(frame);
      if (this.options.onFrame?.(this, frame) !== true) this.handle(frame);
    }
    this.pump();
    this.waiters.check();
  }

  private handle(f: Frame): void {
    switch (f.type) {
      case FrameType.HEADERS:
        this.block = { id: f.id, flags: f.flags, parts: [f.payload] };
        if ((f.flags & Flag.END_HEADERS) !== 0) this.headersDone();
        return;
      case FrameType.CONTINUATION:
        this.block?.parts.push(f.payload);
        if ((f.flags & Flag.END_HEADERS) !== 0) this.headersDone();
        return;
      case FrameType.DATA:
        return this.onData(f);
      case FrameType.SETTINGS:
        return this.onSettings(f);
      case FrameType.PING:
        if ((f.flags & Flag.ACK) === 0 && this.options.mute !== true) this.ping(true, f.payload);
        return;
      case FrameType.WINDOW_UPDATE:
        if (f.id === 0) this.window += readU31(f.payload, 0);
        else this.windows.set(f.id, (this.windows.get(f.id) ?? this.initialWindow) + readU31(f.payload, 0));
        return;
      case FrameType.RST_STREAM:
        return this.onReset(f);
      case FrameType.GOAWAY:
        this.goaway = { lastId: readU31(f.payload, 0), code: readU32(f.payload, 4) };
        return;
      default:
    }
  }

  private onSettings(f: Frame): void {
    if ((f.flags & Flag.ACK) !== 0) return;
    for (let at = 0; at < f.payload.length; at += 6) this.settings.set(readU16(f.payload, at), readU32(f.payload, at + 2));
    this.initialWindow = this.settings.get(Setting.INITIAL_WINDOW_SIZE) ?? 65_535;
    if (this.options.mute !== true) this.frame(FrameType.SETTINGS, Flag.ACK, 0);
  }

  private headersDone(): void {
    const { id, flags, parts } = this.block as { id: number; flags: number; parts: Buffer[] };
    this.block = null;
    const bytes = Buffer.concat(parts);
    const pseudo = new Fields();
    const fields = new Fields();
    if (!this.decoder.decode(bytes, 0, bytes.length, pseudo, fields)) throw new Error('the client’s header block does not decode');
    const end = (flags & Flag.END_STREAM) !== 0;
    const known = this.requests.get(id);
    if (known !== undefined) {
      known.trailers = rowsOf(fields);
      return this.requestEnded(known);
    }
    const request = new H2Request(this, id, pseudo, fields);
    this.requests.set(id, request);
    this.server.requests.push(request);
    if (this.options.onRequest?.(request) === true) this.scripted.add(id);
    if (end) this.requestEnded(request);
  }

  private onData(f: Frame): void {
    const request = this.requests.get(f.id);
    if (f.payload.length > 0 && this.options.mute !== true) {
      this.windowUpdate(0, f.payload.length);
      this.windowUpdate(f.id, f.payload.length);
    }
    if (request === undefined) throw new Error(`DATA on unknown stream ${f.id}`);
    request.pieces.push(f.payload);
    if ((f.flags & Flag.END_STREAM) !== 0) this.requestEnded(request);
  }

  private onReset(f: Frame): void {
    const request = this.requests.get(f.id);
    if (request !== undefined) request.reset = readU32(f.payload, 0);
    this.pending = this.pending.filter((p) => p.id !== f.id);
  }

  private requestEnded(r: H2Request): void {
    r.ended = true;
    if (this.options.onRequestEnd?.(r) !== true && !this.scripted.has(r.id)) honest(r);
  }

  private pump(): void {
    for (let progress = true; progress;) {
      progress = false;
      const seen = new Set<number>();
      for (const p of this.pending) {
        if (seen.has(p.id)) continue;
        seen.add(p.id);
        const window = Math.min(this.window, this.windows.get(p.id) ?? this.initialWindow);
        const n = Math.min(p.bytes.length, 16_384, Math.max(0, window));
        if (n === 0 && p.bytes.length > 0) continue;
        const last = n === p.bytes.length;
        const ends = last && p.end !== null && p.end.length === 0;
        if (n > 0 || ends) this.data(p.id, p.bytes.subarray(0, n), ends);
        this.window -= n;
        this.windows.set(p.id, (this.windows.get(p.id) ?? this.initialWindow) - n);
        p.bytes = p.bytes.subarray(n);
        if (last) {
          if (p.end !== null && p.end.length > 0) this.headers(p.id, p.end, true);
          this.pending.splice(this.pending.indexOf(p), 1);
        }
        progress = true;
        break;
      }
    }
  }
}

/** What a server without a script answers. */
function honest(r: H2Request): void {
  const [, route, argument] = r.path.split('?')[0]?.split('/') ?? [];
  if (route === 'status') r.respond(Number(argument), [], true);
  else if (route === 'bytes') r.answer(200, Buffer.alloc(Number(argument), 'x'));
  else if (route === 'trailers') {
    r.respond(200, [['trailer', 'x-checksum']]);
    r.write('body with trailers');
    r.trail([['x-checksum', 'abc']]);
  } else if (r.method === 'HEAD') r.respond(200, [['content-length', '5']], true);
  else if (r.path === '/' && r.method === 'GET') r.answer(200, 'hello', [['content-type', 'text/plain']]);
  else r.answer(200, r.body, [['content-type', 'application/octet-stream']]);
}

const rowsOf = (f: Fields): Rows => f.names.map((name, i) => [name, f.values[i] as string] as const);

export function u32(value: number): Buffer {
  const out = Buffer.alloc(4);
  out.writeUInt32BE(value >>> 0);
  return out;
}

export function frameBytes(type: number, flags: number, id: number, payload: Uint8Array | string = ''): Buffer {
  const bytes = Buffer.from(payload);
  const out = Buffer.alloc(9 + bytes.length);
  appendFrameHeader(out, 0, bytes.length, type, flags, id);
  bytes.copy(out, 9);
  return out;
}

export async function startH2Server(options: H2ServerOptions = {}): Promise<H2Server> {
  const requests: H2Request[] = [];
  const connections: H2Peer[] = [];
  const sockets = new Set<Socket>();
  const accept = (socket: Socket): void => {
    connections.push(new H2Peer(socket, options, { requests }));
  };
  const { tls } = options;
  const server: Server =
    tls === undefined
      ? createTcpServer({ noDelay: true }, accept)
      : createTlsServer(
          {
            cert: tls.cert,
            key: tls.key,
            ALPNProtocols: [...(tls.alpn ?? ['h2'])],
            ...(tls.ca === undefined ? {} : { ca: tls.ca, requestCert: true, rejectUnauthorized: true }),
          },
          accept,
        );
  server.on('connection', (s: Socket) => {
    s.setNoDelay(true);
    sockets.add(s);
    s.on('error', () => undefined);
    s.on('close', () => sockets.delete(s));
  });
  server.on('tlsClientError', () => undefined);
  const host = options.host ?? '127.0.0.1';
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(options.port ?? 0, host, resolve);
  });
  const { port } = server.address() as AddressInfo;
  return {
    port,
    address: `${host}:${port}`,
    requests,
    connections,
    async close() {
      for (const s of sockets) s.destroy();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}
