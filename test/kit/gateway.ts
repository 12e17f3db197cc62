/**
 * Stories: a whole edge (engine, HTTP/3, routes, exchange, HTTP/2) between clients and backends of a test.
 *
 *     const g = await gateway().route('/', hello).start();
 *     expect((await g.get('/')).status).toBe(200);
 *     await g.close();
 */
import { createHash, X509Certificate } from 'node:crypto';
import { Cells } from '../../src/contract/cells.ts';
import type { LoadProblem, WorkerStart } from '../../src/contract/channel.ts';
import { encodePart, groupId, hashPart } from '../../src/contract/snapshot/index.ts';
import type {
  Balancing,
  EndpointInfo,
  EndpointList,
  ListenerPart,
  Part,
  PartHash,
  RouteMatch,
  RoutePart,
  UpstreamPart,
  GroupPart,
} from '../../src/contract/snapshot/index.ts';
import { socketKey, socketName } from '../../src/contract/socket.ts';
import { createEdge, type Edge, type Loaded } from '../../src/edge/proxy/edge.ts';
import type { QuicConn, QuicEngine } from '../../src/edge/quic/engine.ts';
import { MemoryEngine } from '../../src/edge/quic/memory/engine.ts';
import { systemClock, type Clock } from '../../src/lib/clock.ts';
import { Secret } from '../../src/lib/secret.ts';
import { Recorder } from '../edge/quic/kit.ts';
import type { RecordingBackend } from './backend.ts';
import { makeCa, makeLeaf } from './certs.ts';
import { answerOf, concat, data, frame, headers, type Pair, type SeenAnswer } from './h3bytes.ts';
import { listenerPart } from './snapshot.ts';

export interface GroupSpec {
  readonly to: readonly (RecordingBackend | Partial<EndpointInfo>)[];
  readonly name?: string;
  readonly weight?: number;
  /** A reference of it could not be resolved. */
  readonly unresolved?: boolean;
  readonly protocol?: 'H2C' | 'H2';
  readonly tls?: GroupPart['tls'];
}

export interface RouteSpec {
  readonly host?: string;
  readonly match?: Partial<RouteMatch>;
  readonly upstream?: string;
  readonly balancing?: Balancing;
  readonly timeouts?: Partial<UpstreamPart['timeouts']>;
}

export interface GatewayOptions {
  readonly engine?: QuicEngine;
  readonly clock?: Clock;
  readonly listener?: Partial<Omit<ListenerPart, 'tls' | 'limits' | 'quic' | 'hosts'>>;
  readonly limits?: Partial<ListenerPart['limits']>;
  readonly quic?: Partial<ListenerPart['quic']>;
  readonly unmatched?: 'Default' | 'Reject';
  /** One certificate, and one TLS entry, per list of names; the first is the default. */
  readonly certificates?: readonly (readonly string[])[];
  readonly start?: Partial<WorkerStart>;
  readonly watchOverload?: boolean;
}

const HOST = 'site.example';
const IDLE_MS = 300_000;
const KEY = createHash('sha256').update('gateway of a test').digest();

export const gateway = (options: GatewayOptions = {}): Gateway => new Gateway(options);

interface Group {
  readonly part: GroupPart;
  readonly list: EndpointList;
}

/** One snapshot as a test writes it. */
class Draft {
  readonly parts = new Map<PartHash, Uint8Array>();
  readonly hosts = new Map<string, RoutePart[]>();
  readonly groups: Group[] = [];
  private upstreams = 0;

  add(part: Part): PartHash {
    const bytes = encodePart(part);
    const hash = hashPart(bytes);
    this.parts.set(hash, bytes);
    return hash;
  }

  route(spec: RouteSpec, groups: readonly GroupSpec[]): void {
    const name = spec.upstream ?? `up${++this.upstreams}`;
    const upstream = { namespace: 'web', name };
    const part: UpstreamPart = {
      kind: 'upstream',
      ...upstream,
      balancing: spec.balancing ?? { type: 'RoundRobin' },
      timeouts: { connectMs: 2000, responseMs: 30_000, idleMs: 300_000, requestMs: 0, ...spec.timeouts },
      groups: groups.map((g, i) => ({
        name: g.name ?? `g${i}`,
        weight: g.weight ?? 1,
        group: g.unresolved === true ? null : this.group(upstream, g, g.name ?? `g${i}`),
      })),
    };
    const host = spec.host ?? HOST;
    const route: RoutePart = {
      upstream,
      hostname: host,
      matchIndex: -1,
      created: 0,
      match: { path: null, methods: [], headers: [], query: [], ...spec.match },
      target: this.add(part),
    };
    this.hosts.set(host, [...(this.hosts.get(host) ?? []), route]);
  }

  private group(upstream: { namespace: string; name: string }, spec: GroupSpec, name: string): PartHash {
    const id = groupId(upstream.namespace, upstream.name, name);
    const part: GroupPart = {
      kind: 'group',
      id,
      upstream,
      name,
      protocol: spec.protocol ?? 'H2C',
      tls: spec.tls ?? null,
      healthCheck: null,
    };
    const hash = this.add(part);
    this.groups.push({ part, list: { group: id, part: hash, sequence: 1, list: spec.to.map(endpointOf) } });
    return hash;
  }
}

export function endpointOf(to: RecordingBackend | Partial<EndpointInfo>, i = 0): EndpointInfo {
  const at = 'server' in to ? { port: to.server.port } : to;
  return { address: '127.0.0.1', port: 1, host: '127.0.0.1', label: `e${i}`, weight: 100, healthy: true, draining: false, ...at };
}

export class Gateway {
  readonly options: GatewayOptions;
  readonly engine: QuicEngine;
  readonly cells = new Cells();
  readonly edge: Edge;
  readonly logged: { level: string; msg: string; fields: Readonly<Record<string, unknown>> }[] = [];
  readonly lines: Record<string, unknown>[] = [];
  problems: readonly LoadProblem[] = [];
  port = 0;
  private draft = new Draft();
  private version = 0;
  private sequence = 1;
  private root: readonly PartHash[] = [];
  private part: ListenerPart = listenerPart();
  private readonly clients: Client[] = [];

  constructor(options: GatewayOptions) {
    this.options = options;
    this.engine = options.engine ?? new MemoryEngine();
    this.edge = createEdge({
      engine: this.engine,
      clock: options.clock ?? systemClock,
      cells: this.cells,
      log: (level, msg, fields) => this.logged.push({ level, msg, fields }),
      access: (lines) => {
        for (const line of lines.trimEnd().split('\n')) this.lines.push(JSON.parse(line) as Record<string, unknown>);
      },
      start: {
        workerId: 0,
        workers: 1,
        handover: null,
        nodeId: 1,
        installationKey: KEY,
        engine: 'auto',
        udpReceiveBuffer: 1 << 20,
        udpSendBuffer: 1 << 20,
        accessLog: 'all',
        metricsDetail: 'endpoint',
        endpointDeny: [],
        allowLoopbackEndpoints: true,
        logLevel: 'debug',
        speaks: true,
        ...options.start,
      },
      watchOverload: options.watchOverload === true,
    });
  }

  /** Everything under a path prefix of the usual host goes to one group. */
  route(prefix: string, ...to: readonly RecordingBackend[]): this {
    return this.routeTo({ match: { path: { type: 'Prefix', value: prefix } } }, { to });
  }

  routeTo(spec: RouteSpec, ...groups: readonly GroupSpec[]): this {
    this.draft.route(spec, groups);
    return this;
  }

  /** Loads and switches to what was routed since the last time. */
  async start(listener: GatewayOptions = this.options): Promise<this> {
    await this.load(listener);
    this.switch();
    return this;
  }

  async load(options: GatewayOptions = this.options): Promise<Loaded> {
    const { draft } = this;
    this.draft = new Draft();
    const listener = this.listener(draft, options);
    this.root = listener === null ? [] : [draft.add(listener)];
    for (const [hash, bytes] of draft.parts) this.edge.part(hash, bytes);
    this.sequence++;
    this.edge.endpoints(draft.groups.map((g) => ({ ...g.list, sequence: this.sequence })));
    // As main does, who tells shares before it has anything loaded.
    if (listener !== null) this.share(listener.limits.connections ?? 1000, listener);
    return this.again();
  }

  /** Loads what was loaded last, as main does to try a bind again: nothing is sent twice. */
  async again(): Promise<Loaded> {
    const loaded = await this.edge.load(++this.version, this.root);
    this.problems = loaded.problems;
    this.port = loaded.bound[0]?.addresses[0]?.port ?? 0;
    return loaded;
  }

  switch(): void {
    this.edge.switch(this.version);
  }

  /** What it may have of a listener's connections; answers what it has. */
  share(connections: number, listener: Pick<ListenerPart, 'namespace' | 'name' | 'addresses' | 'port'> = this.part): number {
    return this.edge.share([{ socket: socketName(socketKey(listener)), connections }])[0]?.connections ?? 0;
  }

  /** The endpoints' lane. */
  endpoints(upstream: string, group: string, list: readonly EndpointInfo[]): void {
    this.edge.endpoints([{ group: groupId('web', upstream, group), sequence: ++this.sequence, list }]);
  }

  private listener(draft: Draft, o: GatewayOptions): ListenerPart | null {
    if (draft.hosts.size === 0 && o.listener === undefined) return null;
    const base = listenerPart();
    const lists = o.certificates ?? [[HOST, `*.${HOST}`]];
    const unmatched = o.unmatched ?? 'Default';
    const part: ListenerPart = {
      ...base,
      namespace: 'edge',
      name: 'public',
      ...o.listener,
      limits: { ...base.limits, ...o.limits },
      // A client that has its turn again after minutes, on a busy machine, is none that was idle.
      quic: { ...base.quic, idleTimeoutMs: IDLE_MS, ...o.quic },
      tls: {
        unmatched,
        fallback: unmatched === 'Default' ? 0 : null,
        entries: lists.map((names) => ({ names: [...names], certificates: [draft.add(certificate(names))] })),
      },
      hosts: Array.from(draft.hosts, ([hostname, routes]) => draft.add({ kind: 'host', hostname, routes })),
    };
    return (this.part = part);
  }

  // --- clients

  async client(sni: string | null = HOST, more: { idleMs?: number; handshakeMs?: number; host?: string } = {}): Promise<Client> {
    const client = await Client.connect(this.engine, this.port, sni, more);
    this.clients.push(client);
    return client;
  }

  /** Lets go of clients that are done, in long runs. */
  forgetClients(): void {
    this.clients.length = 0;
    this.logged.length = 0;
  }

  /** One request on a connection of its own. */
  async get(path: string, fields: readonly Pair[] = [], host = HOST): Promise<SeenAnswer> {
    const client = await this.client(host);
    return client.get(path, fields, host);
  }

  /** The rows of a metric that are not zero. */
  counted(metric: string): Record<string, number> {
    const out: Record<string, number> = {};
    for (const r of this.edge.read())
      if (r.metric === metric && r.values.some((v) => v !== 0))
        out[r.labels.join(' ')] = r.values.at(r.values.length === 1 ? 0 : -2) as number;
    return out;
  }

  async close(): Promise<void> {
    for (const c of this.clients) c.close();
    await this.edge.close();
  }
}

/** An HTTP/3 client that does what a test says, right or wrong. */
export class Client {
  readonly recorder: Recorder;
  readonly conn: QuicConn;
  private nextId = 0;

  private constructor(recorder: Recorder, conn: QuicConn) {
    this.recorder = recorder;
    this.conn = conn;
  }

  static async connect(
    engine: QuicEngine,
    port: number,
    sni: string | null,
    more: { idleMs?: number; handshakeMs?: number; host?: string } = {},
  ): Promise<Client> {
    const recorder = new Recorder();
    const conn = await engine.connect(
      {
        host: more.host ?? '127.0.0.1',
        port,
        local: null,
        sni,
        alpn: ['h3'],
        ca: null,
        insecure: true,
        handshakeMs: more.handshakeMs ?? 5000,
        idleMs: more.idleMs ?? IDLE_MS,
      },
      recorder,
    );
    const client = new Client(recorder, conn);
    client.raw(conn.openUni(), concat(Buffer.of(0x00), frame(0x04)), false);
    return client;
  }

  raw(id: number, bytes: Uint8Array, fin: boolean): boolean {
    return this.conn.write(id, bytes, 0, bytes.length, fin);
  }

  /** A request's head, and its body when there is one; null leaves it open. Returns the stream. */
  send(pairs: readonly Pair[], body: string | Uint8Array | null = ''): number {
    const id = this.nextId;
    this.nextId += 4;
    const parts = [headers(pairs)];
    if (body !== null && body.length > 0) parts.push(data(body));
    this.raw(id, concat(...parts), body !== null);
    return id;
  }

  body(id: number, text: string | Uint8Array, fin = false): boolean {
    return this.raw(id, data(text), fin);
  }

  trailers(id: number, pairs: readonly Pair[]): void {
    this.raw(id, headers(pairs), true);
  }

  get(path: string, fields: readonly Pair[] = [], host = HOST): Promise<SeenAnswer> {
    return this.answer(this.send(head('GET', path, host, fields)));
  }

  post(path: string, body: string | Uint8Array, fields: readonly Pair[] = [], host = HOST): Promise<SeenAnswer> {
    return this.answer(this.send(head('POST', path, host, fields), body));
  }

  /** The whole answer; a reset gives status -code. */
  async answer(id: number): Promise<SeenAnswer> {
    const seen = this.recorder.seen(this.conn, id);
    await this.recorder.until(() => seen.fin || seen.resets.length > 0 || this.recorder.closes.length > 0);
    if (seen.fin) return answerOf(seen.data());
    const code = seen.resets[0] ?? this.recorder.closes[0]?.why.code ?? 0;
    return { informs: [], status: -code, fields: new Map(), body: '', trailers: null };
  }

  /** Waits until so many bytes of the stream are here. */
  async arrived(id: number, bytes: number): Promise<void> {
    const seen = this.recorder.seen(this.conn, id);
    await this.recorder.until(() => seen.bytes >= bytes);
  }

  reset(id: number, code = 0x10c): void {
    this.conn.reset(id, code);
    this.conn.stop(id, code);
  }

  async closed(): Promise<{ side: string; app: boolean; code: number }> {
    await this.recorder.until(() => this.recorder.closes.length > 0);
    const { side, app, code } = (this.recorder.closes[0] as (typeof this.recorder.closes)[number]).why;
    return { side, app, code };
  }

  close(): void {
    this.conn.close(true, 0x100, '');
  }
}

export const head = (method: string, path: string, host: string = HOST, fields: readonly Pair[] = []): readonly Pair[] => [
  [':method', method],
  [':scheme', 'https'],
  [':authority', host],
  [':path', path],
  ...fields,
];

const certificates = new Map<string, Part & { kind: 'certificate' }>();

export function certificate(names: readonly string[]): Part & { kind: 'certificate' } {
  const known = certificates.get(names.join());
  if (known !== undefined) return known;
  const leaf = makeLeaf(makeCa('gateway'), { names });
  const made = {
    kind: 'certificate',
    source: `test/${names.join('+')}`,
    cert: leaf.cert.toString('latin1'),
    key: new Secret(leaf.key),
    keyType: 'ecdsa',
    names: [...names],
    notBefore: 0,
    notAfter: 4_000_000_000_000,
    fingerprint: new X509Certificate(leaf.cert).fingerprint256.replaceAll(':', '').toLowerCase(),
  } as const;
  certificates.set(names.join(), made);
  return made;
}
