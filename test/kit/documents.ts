/**
 * Configurations for stories, in a line or two:
 *
 *     gateway({ port: 0 }).certificate(leaf).route('/').to('127.0.0.1:7001').yaml()
 *     gateway().host('a.example').route('/v1', { methods: ['GET'] }).split({ name: 'old', address, weight: 9 }, { name: 'new', address: other })
 *
 * Every `route` is an Upstream of its own, r1, r2 and so on unless `named`.
 */
import { stringify } from 'yaml';

type Plain = Readonly<Record<string, unknown>>;

export interface Document {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string; readonly creationTimestamp?: string };
  readonly spec?: Plain;
  readonly type?: string;
  readonly data?: Plain;
}

interface Pem {
  readonly cert: string | Uint8Array;
  readonly chain?: string;
  readonly key: string | Uint8Array;
}

/** An endpoint, or whatever has one: a backend of the kit. */
export type Endpoint = string | { readonly address: string };

export interface GroupOptions {
  readonly name: string;
  readonly address: Endpoint | readonly Endpoint[];
  readonly weight?: number;
  /** Members of the group beside: protocol, tls, healthCheck. */
  readonly spec?: Plain;
}

const GROUP = 'spooky.dev/v1alpha1';
const base64 = (text: string | Uint8Array): string => Buffer.from(text as string).toString('base64');
const addressOf = (e: Endpoint): string => (typeof e === 'string' ? e : e.address);
const isEndpoint = (e: Endpoint | readonly Endpoint[]): e is Endpoint => !Array.isArray(e);

/** Members of `over` win; maps are merged, lists and values replaced. */
export function merge(base: Plain, over: Plain): Plain {
  const out: Record<string, unknown> = { ...base };
  for (const [key, value] of Object.entries(over)) {
    const both = isMap(out[key]) && isMap(value);
    out[key] = both ? merge(out[key] as Plain, value as Plain) : value;
  }
  return out;
}

const isMap = (value: unknown): value is Plain => typeof value === 'object' && value !== null && !Array.isArray(value);

export class Gateway {
  private readonly name: string;
  private readonly namespace: string;
  private listener: Plain;
  private readonly upstreams: Document[] = [];
  private readonly others: Document[] = [];
  private hostnames: readonly string[] = ['*'];
  private certificates = 0;

  constructor(name: string, namespace: string, spec: Plain) {
    this.name = name;
    this.namespace = namespace;
    this.listener = merge({ addresses: ['127.0.0.1'], port: 8443, allowedNamespaces: { from: 'All' }, tls: { certificateRefs: [] } }, spec);
  }

  /** More of the Listener's spec. */
  with(spec: Plain): this {
    this.listener = merge(this.listener, spec);
    return this;
  }

  /** A certificate of the Listener, as a Secret `tls-1`, `tls-2`, ... */
  certificate(pem: Pem): this {
    const name = `tls-${++this.certificates}`;
    this.secret(name, pem, this.namespace);
    return this.certificateRef({ name });
  }

  /** A certificate of the Listener from files, which must lie where the documents do. */
  certificateFiles(cert: string, key: string): this {
    return this.certificateRef({ files: { cert, key } });
  }

  private certificateRef(ref: Plain): this {
    const tls = this.listener['tls'] as Plain;
    return this.with({ tls: { certificateRefs: [...(tls['certificateRefs'] as Plain[]), ref] } });
  }

  secret(name: string, pem: Pem, namespace = 'default'): this {
    const data = { 'tls.crt': base64(pem.chain ?? pem.cert), 'tls.key': base64(pem.key) };
    return this.add({ apiVersion: 'v1', kind: 'Secret', metadata: { name, namespace }, type: 'kubernetes.io/tls', data });
  }

  configMap(name: string, data: Plain, namespace = 'default'): this {
    return this.add({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name, namespace }, data });
  }

  add(document: Document): this {
    this.others.push(document);
    return this;
  }

  /** Hostnames of the routes that follow. */
  host(...hostnames: string[]): this {
    this.hostnames = hostnames;
    return this;
  }

  /** `/v1` is a prefix, `=/v1` that path, `~/v[0-9]` an expression, '' every path. */
  route(path = '', match: Plain = {}): Route {
    const found = path === '' ? {} : { path: pathOf(path) };
    const matches = { ...found, ...match };
    const spec = { hostnames: this.hostnames, ...(Object.keys(matches).length === 0 ? {} : { matches: [matches] }) };
    return new Route(this, `r${this.upstreams.length + 1}`, spec, (upstream) => this.upstreams.push(upstream));
  }

  documents(): Document[] {
    const listener: Document = {
      apiVersion: GROUP,
      kind: 'Listener',
      metadata: { name: this.name, namespace: this.namespace },
      spec: this.listener,
    };
    return [listener, ...this.upstreams, ...this.others];
  }

  yaml(): string {
    return yamlOf(this.documents());
  }
}

function pathOf(path: string): Plain {
  if (path.startsWith('=')) return { type: 'Exact', value: path.slice(1) };
  if (path.startsWith('~')) return { type: 'Regex', value: path.slice(1) };
  return { type: 'Prefix', value: path };
}

export class Route {
  private readonly gateway: Gateway;
  private readonly add: (upstream: Document) => void;
  private metadata: Document['metadata'];
  private spec: Plain;

  constructor(gateway: Gateway, name: string, spec: Plain, add: (upstream: Document) => void) {
    this.gateway = gateway;
    this.metadata = { name, namespace: 'default' };
    this.spec = spec;
    this.add = add;
  }

  named(name: string, namespace = 'default', creationTimestamp?: string): this {
    this.metadata = { name, namespace, ...(creationTimestamp === undefined ? {} : { creationTimestamp }) };
    return this;
  }

  /** More of the Upstream's spec. */
  with(spec: Plain): this {
    this.spec = merge(this.spec, spec);
    return this;
  }

  /** One group of endpoints. */
  to(...endpoints: Endpoint[]): Gateway {
    return this.backends([{ addresses: endpoints.map((e) => ({ address: addressOf(e) })) }]);
  }

  /** Several groups by weight. */
  split(...groups: GroupOptions[]): Gateway {
    return this.backends(
      groups.map(({ name, address, weight, spec }) => {
        const endpoints = isEndpoint(address) ? [address] : address;
        return { name, ...(weight === undefined ? {} : { weight }), addresses: endpoints.map((e) => ({ address: addressOf(e) })), ...spec };
      }),
    );
  }

  /** The groups as the resource has them. */
  backends(backends: readonly Plain[]): Gateway {
    this.add({ apiVersion: GROUP, kind: 'Upstream', metadata: this.metadata, spec: { ...this.spec, backends } });
    return this.gateway;
  }
}

/** A Listener `default/public` on 127.0.0.1 that takes everybody's Upstreams. */
export const gateway = (spec: Plain = {}, name = 'public', namespace = 'default'): Gateway => new Gateway(name, namespace, spec);

export const yamlOf = (documents: readonly Document[]): string => documents.map((d) => stringify(d)).join('---\n');
