/** The two neighbours of an exchange, played by hand: a client's stream and a backend's connection that write down what they are told. */
import { Cells } from '../../../src/contract/cells.ts';
import type { Reason } from '../../../src/contract/reasons.ts';
import { buildTable } from '../../../src/contract/routes/table.ts';
import type {
  Balancing,
  EndpointInfo,
  GroupId,
  GroupPart,
  HashKey,
  ListenerPart,
  PartHash,
  RouteMatch,
  UpstreamPart,
} from '../../../src/contract/snapshot/parts.ts';
import { Backends, Split, type BackendSession, type Connect, type SessionEvents, type Target } from '../../../src/edge/backends/index.ts';
import { Fields } from '../../../src/edge/http/fields.ts';
import { ResponseSink } from '../../../src/edge/http/h3/client.ts';
import { frameHead, readFrameHead } from '../../../src/edge/http/h3/frames.ts';
import { decodeSection } from '../../../src/edge/http/qpack/decode.ts';
import type {
  BackendFailure,
  ClientRequest,
  ClientStream,
  RequestHead,
  ResponseHandler,
  ServerConnection,
  ServerStream,
} from '../../../src/edge/http/message.ts';
import { AccessLog } from '../../../src/edge/proxy/accesslog.ts';
import { BackendCounters, ListenerCounters, RequestCounters, RetryCounters } from '../../../src/edge/proxy/counters.ts';
import { Exchange } from '../../../src/edge/proxy/exchange.ts';
import { Dates } from '../../../src/edge/proxy/dates.ts';
import { DropCounter } from '../../../src/edge/proxy/headers.ts';
import { Misdirection, NameTable } from '../../../src/edge/proxy/misdirected.ts';
import { Peer } from '../../../src/edge/proxy/peer.ts';
import type { Plant } from '../../../src/edge/proxy/plant.ts';
import { Replies } from '../../../src/edge/proxy/reply.ts';
import { AddressList } from '../../../src/edge/proxy/addresslist.ts';
import { Via } from '../../../src/edge/proxy/via.ts';
import type { Destination, ListenerView } from '../../../src/edge/proxy/view.ts';
import type { ConnInfo, ConnStats, TlsId, TlsTable } from '../../../src/edge/quic/engine.ts';
import { ManualClock } from '../../../src/lib/clock.ts';
import { TimerWheel } from '../../../src/lib/wheel.ts';

export const bytes = (text: string): Uint8Array => Buffer.from(text, 'latin1');

export const fieldsOf = (pairs: readonly (readonly [string, string])[] = []): Fields => {
  const f = new Fields();
  for (const [name, value] of pairs) f.add(name, value);
  return f;
};

const show = (fields: Fields | null): Record<string, string> | null =>
  fields === null ? null : Object.fromEntries(fields.names.map((n, i) => [n, fields.values[i] as string]));

export class FakeConnection implements ServerConnection {
  remoteAddress = '203.0.113.9';
  remotePort = 4433;
  sni: string | null = 'api.example.com';
  data: unknown = null;
  readonly closed: number[] = [];
  info(): ConnInfo {
    return { sni: this.sni, alpn: 'h3', tls: 1 as TlsId, resumed: false, peerChain: null, handshakeMs: 12 };
  }
  stats(): ConnStats {
    return { rttMs: 7.25, lost: 2, sent: 10, received: 11 };
  }
  drain(): void {}
  close(code: number): void {
    this.closed.push(code);
  }
}

/** What a HEADERS frame says. */
function decodedHead(frame: Uint8Array): ResponseSink {
  const sink = new ResponseSink();
  const at = readFrameHead(frame, 0, frame.length);
  if (at + frameHead.length !== frame.length) throw new Error('not one whole frame');
  if (decodeSection(frame, at, frame.length, sink, 65_536, 100) !== 0) throw new Error('a section that does not decode');
  return sink;
}

/** What the client's side was told, in order: `respond 200`, `write abc`, `end`, `reset 102`, ... */
export class FakeStream implements ServerStream {
  readonly id = 0;
  readonly connection: FakeConnection;
  readonly head: RequestHead;
  readonly told: string[] = [];
  readonly heads: { status: number; fields: Record<string, string> }[] = [];
  trailers: Record<string, string> | null = null;
  bytesIn = 0;
  bytesOut = 0;
  full = false;
  handler: Exchange | null = null;
  /** Calls that throw when they are made: by name. */
  readonly broken = new Set<string>();

  constructor(connection: FakeConnection, head: RequestHead) {
    this.connection = connection;
    this.head = head;
  }
  private tell(what: string): void {
    if (this.broken.has(what.split(' ')[0] as string)) throw new Error(`broken ${what}`);
    this.told.push(what);
  }
  inform(status: number, fields: Fields): void {
    this.tell(`inform ${status}`);
    this.heads.push({ status, fields: show(fields) ?? {} });
  }
  respond(status: number, fields: Fields, end: boolean): void {
    this.tell(`respond ${status}${end ? ' end' : ''}`);
    this.heads.push({ status, fields: show(fields) ?? {} });
  }
  respondEncoded(frame: Uint8Array): void {
    const { status, fields } = decodedHead(frame);
    this.tell(`respond ${status}`);
    this.heads.push({ status, fields: show(fields) ?? {} });
  }
  write(buf: Uint8Array, start: number, end: number): boolean {
    this.tell(`write ${Buffer.from(buf.subarray(start, end)).toString('latin1')}`);
    this.bytesOut += end - start;
    return !this.full;
  }
  end(trailers: Fields | null): void {
    this.tell(trailers === null ? 'end' : 'end with trailers');
    this.trailers = show(trailers);
  }
  reset(code: number): void {
    this.tell(`reset ${code.toString(16)}`);
  }
  ignoreRequest(): void {
    this.tell('ignore');
  }
  pause(): void {
    this.tell('pause');
  }
  resume(): void {
    this.tell('resume');
  }
  get status(): number {
    return this.heads.at(-1)?.status ?? 0;
  }
}

/** One request as a backend got it. */
export class FakeBackendStream implements ClientStream {
  readonly endpoint: string;
  readonly request: ClientRequest;
  readonly fields: Record<string, string>;
  readonly end0: boolean;
  readonly handler: ResponseHandler;
  readonly told: string[] = [];
  body = '';
  ended = false;
  trailers: Record<string, string> | null = null;
  cancelled = false;
  full = false;
  onWrite: (() => void) | null = null;

  constructor(endpoint: string, request: ClientRequest, end: boolean, handler: ResponseHandler) {
    this.endpoint = endpoint;
    this.request = request;
    this.fields = show(request.fields) ?? {};
    this.end0 = end;
    this.ended = end;
    this.handler = handler;
  }
  write(buf: Uint8Array, start: number, end: number): boolean {
    const text = Buffer.from(buf.subarray(start, end)).toString('latin1');
    this.told.push('write');
    this.body += text;
    this.onWrite?.();
    return !this.full;
  }
  end(trailers: Fields | null): void {
    this.told.push('end');
    this.ended = true;
    this.trailers = show(trailers);
  }
  cancel(): void {
    this.told.push('cancel');
    this.cancelled = true;
  }
  pause(): void {
    this.told.push('pause');
  }
  resume(): void {
    this.told.push('resume');
  }
  respond(status: number, fields: readonly (readonly [string, string])[] = [], body: string | null = ''): void {
    this.handler.onResponse(status, fieldsOf(fields));
    if (body === null) return;
    if (body !== '') this.send(body);
    this.handler.onResponseEnd(null);
  }
  send(body: string): void {
    const buf = bytes(`<${body}>`);
    this.handler.onResponseBody(buf, 1, buf.length - 1);
  }
  fail(reason: Reason, unseen = false): void {
    const failure: BackendFailure = { reason, unseen, detail: 'as told' };
    this.handler.onResponseFailure(failure);
  }
}

class FakeSession implements BackendSession {
  capacity = 100;
  active = 0;
  opened = 0;
  answered = 0;
  taken = -1;
  writing = false;
  private readonly target: Target;
  private readonly rig: Rig;
  constructor(target: Target, rig: Rig) {
    this.target = target;
    this.rig = rig;
  }
  open(request: ClientRequest, end: boolean, handler: ResponseHandler): boolean {
    const stream = new FakeBackendStream(`${this.target.address}:${this.target.port}`, request, end, handler);
    this.rig.requests.push(stream);
    if (this.rig.onOpen !== null && !this.rig.onOpen(stream)) return true;
    handler.onRequestSent(stream);
    return true;
  }
  shutdown(): void {}
  destroy(): void {}
}

export interface RigOptions {
  listener?: Partial<ListenerPart>;
  limits?: Partial<ListenerPart['limits']>;
  upstream?: Partial<UpstreamPart>;
  timeouts?: Partial<UpstreamPart['timeouts']>;
  key?: HashKey;
  match?: Partial<RouteMatch>;
  endpoints?: number;
  /** Weights of groups; `null` as a group cannot be resolved. */
  groups?: readonly { weight: number; resolved?: boolean; endpoints?: number; protocol?: 'H2C' | 'H2' }[];
  accessLog?: 'off' | 'errors' | 'all';
  /** Sessions come when `ready()` is called. */
  slow?: boolean;
  fallback?: boolean;
  /** Another way to backends than the one that writes down. */
  connect?: Connect;
}

/** An exchange's surroundings without sockets: one listener `edge/public`, one upstream `web/api` on api.example.com. */
export class Rig {
  readonly clock = new ManualClock(1000);
  readonly cells = new Cells();
  readonly lines: string[] = [];
  readonly logged: { level: string; msg: string; fields: Readonly<Record<string, unknown>> }[] = [];
  readonly requests: FakeBackendStream[] = [];
  readonly connection = new FakeConnection();
  readonly wheel: TimerWheel;
  readonly backends: Backends;
  readonly plant: Plant;
  readonly view: ListenerView;
  readonly dials: { target: Target; events: SessionEvents }[] = [];
  onOpen: ((s: FakeBackendStream) => boolean) | null = null;

  constructor(options: RigOptions = {}) {
    this.wheel = new TimerWheel(this.clock, (e) => {
      throw e;
    });
    const recorded: Connect = (target, _timeoutMs, events) => {
      this.dials.push({ target, events });
      if (options.slow !== true) events.onReady(new FakeSession(target, this));
      return () => {};
    };
    this.backends = new Backends({
      wheel: this.wheel,
      cells: this.cells,
      random: () => 0.5,
      connectFor: () => options.connect ?? recorded,
    });
    this.plant = {
      clock: this.clock,
      wheel: this.wheel,
      cells: this.cells,
      backends: this.backends,
      drops: new DropCounter(this.cells),
      accessLog: new AccessLog(
        options.accessLog ?? 'all',
        (lines) => this.lines.push(...lines.trimEnd().split('\n')),
        (e) => {
          throw e;
        },
      ),
      via: new Via('spooky-0a1b2c3d'),
      dates: new Dates(this.clock),
      log: (level, msg, fields) => this.logged.push({ level, msg, fields }),
    };
    this.view = this.makeView(options);
    this.connection.data = new Peer(this.connection, new Misdirection(new NameTable(this.view.tls), 1 as TlsId, this.connection.sni));
  }

  private makeView(options: RigOptions): ListenerView {
    const part = listenerPart(options);
    const groups = options.groups ?? [{ weight: 1 }];
    const balancing: Balancing = options.key === undefined ? { type: 'RoundRobin' } : { type: 'ConsistentHash', key: options.key };
    const upstreamPart: UpstreamPart = {
      kind: 'upstream',
      namespace: 'web',
      name: 'api',
      balancing,
      timeouts: { connectMs: 1000, responseMs: 30_000, idleMs: 300_000, requestMs: 0, ...options.timeouts },
      groups: [],
      ...options.upstream,
    };
    let port = 7000;
    const views = groups.map((g, i) => {
      const groupPart: GroupPart = {
        kind: 'group',
        id: `g${i}` as GroupId,
        upstream: { namespace: 'web', name: 'api' },
        name: `g${i}`,
        protocol: g.protocol ?? 'H2C',
        tls: null,
        healthCheck: null,
      };
      const list = Array.from({ length: g.endpoints ?? options.endpoints ?? 1 }, () => endpointInfo(++port));
      this.backends.setEndpoints({ group: groupPart.id, sequence: 1, list });
      return {
        name: groupPart.name,
        group: g.resolved === false ? null : this.backends.group(groupPart, balancing),
        scheme: groupPart.protocol === 'H2' ? ('https' as const) : ('http' as const),
        counters: new BackendCounters(this.cells, 'web/api', groupPart.name),
      };
    });
    const destination: Destination = {
      upstream: {
        part: upstreamPart,
        label: 'web/api',
        split: new Split(groups.map((g) => g.weight)),
        groups: views,
        key: options.key ?? null,
        retries: new RetryCounters(this.cells, 'web/api'),
      },
      counters: new RequestCounters(this.cells, 'edge/public', 'web/api'),
    };
    const route = {
      upstream: { namespace: 'web', name: 'api' },
      hostname: 'api.example.com',
      matchIndex: -1,
      created: 0,
      match: { path: null, methods: [], headers: [], query: [], ...options.match },
      target: 'u' as PartHash,
    };
    const hosts = ['api.example.com', 'other.example.com', '192.0.2.7', '[2001:db8::7]'].map((hostname) => ({
      kind: 'host' as const,
      hostname,
      routes: [{ ...route, hostname }],
    }));
    return {
      part,
      label: 'edge/public',
      table: buildTable(hosts, () => destination),
      trust: new AddressList(part.trust),
      tls: tlsTable(options.fallback !== false),
      unfit: [],
      replies: new Replies('spooky-0a1b2c3d', part.proxyStatusDetails, this.plant.dates),
      counters: new ListenerCounters(this.cells, 'edge/public'),
      port: String(part.advertisedPort),
    };
  }

  /** A request of the client; `end` when it has no body. */
  request(
    head: Partial<Omit<RequestHead, 'fields'>> & { fields?: readonly (readonly [string, string])[] } = {},
    end = true,
    rejection: Reason | null = null,
    prepare?: (s: FakeStream) => void,
  ): FakeStream {
    const stream = new FakeStream(this.connection, {
      method: 'GET',
      scheme: 'https',
      authority: 'api.example.com',
      path: '/',
      contentLength: -1,
      urgency: 3,
      incremental: false,
      bytes: 100,
      startedAt: this.clock.now(),
      ...head,
      fields: fieldsOf(head.fields),
    });
    prepare?.(stream);
    const exchange = new Exchange(this.plant, this.view, this.connection.data as Peer, stream);
    stream.handler = exchange;
    exchange.begin(end, rejection);
    return stream;
  }

  get last(): FakeBackendStream {
    return this.requests.at(-1) as FakeBackendStream;
  }

  /** Connections that were asked for come up. */
  ready(): void {
    for (const d of this.dials.splice(0)) d.events.onReady(new FakeSession(d.target, this));
  }

  refuse(reason: Reason = 'connect_refused'): void {
    for (const d of this.dials.splice(0)) d.events.onFailed({ reason, unseen: true, detail: 'as told' });
  }

  /** Rows of a counter that are not zero: `labels -> value`. */
  counted(metric: string): Record<string, number> {
    const out: Record<string, number> = {};
    for (const r of this.cells.read()) if (r.metric === metric && r.values[0] !== 0) out[r.labels.join(' ')] = r.values[0] as number;
    return out;
  }

  get active(): number {
    return this.backends.activity().reduce((sum, a) => sum + a.active, 0);
  }
}

export const send = (s: FakeStream, text: string): void => {
  const buf = bytes(`<${text}>`);
  s.bytesIn += text.length;
  s.handler?.onRequestBody(buf, 1, buf.length - 1);
};

export const endpointInfo = (port: number, more: Partial<EndpointInfo> = {}): EndpointInfo => ({
  address: '127.0.0.1',
  port,
  host: '127.0.0.1',
  label: `e${port}`,
  weight: 100,
  healthy: true,
  draining: false,
  ...more,
});

export const listenerPart = (options: Pick<RigOptions, 'listener' | 'limits'> = {}): ListenerPart => ({
  kind: 'listener',
  namespace: 'edge',
  name: 'public',
  addresses: ['127.0.0.1'],
  port: 8443,
  advertisedPort: 443,
  hostnames: [],
  tls: { entries: [], fallback: 0, unmatched: 'Default' },
  quic: {
    idleTimeoutMs: 30_000,
    keepAliveMs: -1,
    handshakeTimeoutMs: 10_000,
    maxStreams: 128,
    streamWindow: 1 << 20,
    congestionControl: 'Cubic',
    retry: 'Auto',
  },
  escapedSlashes: 'Reject',
  trust: [],
  proxyStatusDetails: false,
  hosts: [],
  ...options.listener,
  limits: {
    connections: null,
    connectionsPerAddress: 1000,
    handshakesPerSecond: 2000,
    headerBytes: 65_536,
    headerCount: 128,
    requestBody: 0,
    headerTimeoutMs: 10_000,
    bodyIdleTimeoutMs: 30_000,
    responseStallMs: 60_000,
    noRequestTimeoutMs: 300_000,
    requestsPerConnection: 100_000,
    pending: 1024,
    ...options.limits,
  },
});

/** Entry 1 covers api.example.com, entry 2 covers secret.example.com. */
function tlsTable(fallback: boolean): TlsTable {
  const entry = (id: number) => ({
    id: id as TlsId,
    certs: [],
    clientAuth: 'none' as const,
    alpn: ['h3'],
    earlyData: false,
    ticketKeys: [],
  });
  return {
    entries: [entry(1), entry(2)],
    names: new Map([
      ['api.example.com', 1 as TlsId],
      ['secret.example.com', 2 as TlsId],
    ]),
    fallback: fallback ? (1 as TlsId) : null,
  };
}
