/** `upstream`: a route and a pool in one -> Upstreams with one group of addresses each. */
import { formatDuration, isBackendAddress, matchesPattern, show, type PathStep } from '../../contract/resources/index.ts';
import type { ClassicRoute } from './classicroutes.ts';
import { Draft, isMap, type ClassicReading } from './classicreading.ts';

type Scheme = 'https' | 'h2c' | 'none';

export function translateUpstreams(r: ClassicReading): { drafts: Draft[]; routes: ClassicRoute[] } {
  const pools = r.at(['upstream']);
  if (pools === undefined) r.fault(['upstream'], 'is required');
  const drafts: Draft[] = [];
  const routes: ClassicRoute[] = [];
  const named = new Map<string, string>();
  for (const pool of isMap(pools) ? Object.keys(pools).sort() : []) {
    const steps = ['upstream', pool];
    if (!isMap(r.at(steps))) continue;
    const name = objectNameOf(pool);
    if (name === null) {
      r.fault(steps, 'must be a name of letters, digits, "-", "_" and "."');
      continue;
    }
    const other = named.get(name);
    if (other !== undefined) r.fault(steps, `becomes the object ${show(name)}, as ${show(other)} does: rename one of them`);
    else named.set(name, pool);
    const draft = new Draft(name, steps);
    routes.push(route(r, draft, pool, steps));
    translatePool(r, draft, steps);
    if (other === undefined) drafts.push(draft);
  }
  if (isMap(pools) && Object.keys(pools).length === 0) r.fault(['upstream'], 'must have at least one pool');
  return { drafts, routes: differentRoutes(r, routes) };
}

const objectNameOf = (pool: string): string | null => {
  const name = pool.toLowerCase().replaceAll('_', '-');
  return name.length <= 253 && matchesPattern('objectName', name) ? name : null;
};

function route(r: ClassicReading, draft: Draft, pool: string, steps: readonly PathStep[]): ClassicRoute {
  const host = r.text([...steps, 'route', 'host'])?.toLowerCase();
  const prefix = r.text([...steps, 'route', 'path_prefix']);
  const method = r.text([...steps, 'route', 'method'])?.toUpperCase();
  if (host === undefined && prefix === undefined) r.fault([...steps, 'route'], 'must have host or path_prefix');
  draft.set('hostnames', [host ?? '*'], [...steps, 'route', 'host']);
  draft.from('spec.hostnames[0]', [...steps, 'route', 'host']);
  if (prefix !== undefined || method !== undefined) {
    draft.set(
      'matches',
      [
        {
          ...(prefix === undefined ? {} : { path: { type: 'Prefix', value: prefix } }),
          ...(method === undefined ? {} : { methods: [method] }),
        },
      ],
      [...steps, 'route'],
    );
    draft.from('spec.matches[0].path', [...steps, 'route', 'path_prefix']);
    draft.from('spec.matches[0].methods', [...steps, 'route', 'method']);
  }
  return { name: pool, host: host ?? null, prefix: prefix ?? '', method: method ?? null };
}

/** Their start refused two that are the same; which one is younger, a file does not say. The first of each is left. */
function differentRoutes(r: ClassicReading, routes: readonly ClassicRoute[]): ClassicRoute[] {
  const seen = new Map<string, ClassicRoute>();
  for (const route of routes) {
    const key = JSON.stringify([route.host, route.prefix, route.method]);
    const first = seen.get(key);
    if (first === undefined) seen.set(key, route);
    else r.fault(['upstream', route.name, 'route'], `is the same as the route of ${show(first.name)}`);
  }
  return [...seen.values()];
}

function translatePool(r: ClassicReading, draft: Draft, steps: readonly PathStep[]): void {
  const backends = r.list([...steps, 'backends']);
  if (backends.length === 0)
    r.fault([...steps, 'backends'], r.at([...steps, 'backends']) === undefined ? 'is required' : 'must have at least one backend');
  const tlsSteps = r.at([...steps, 'tls']) === undefined ? ['upstream_tls'] : [...steps, 'tls'];
  const verify = r.bool([...tlsSteps, 'verify_certificates']) ?? true;
  const addresses = backends.map((_, i) => backend(r, draft, [...steps, 'backends', i], i, verify));
  const secure = addresses.map((a) => a.secure).filter((s) => s !== null);
  if (new Set(secure).size > 1)
    r.fault([...steps, 'backends'], 'mixes clear text and TLS, which is not supported yet: use one scheme in a pool');
  const h2 = secure[0] ?? true;
  draft.from('spec.backends', [...steps, 'backends']);
  draft.set('backends', [{ addresses: addresses.map((a) => a.spec) }], [...steps, 'backends']);
  draft.set('protocol', h2 ? 'H2' : 'H2C', [...steps, 'backends']);
  if (h2) tls(r, draft, tlsSteps, verify);
  balancing(r, draft, r.at([...steps, 'load_balancing']) === undefined ? ['load_balancing'] : [...steps, 'load_balancing']);
  healthCheck(r, draft, steps, backends.length);
  timeouts(r, draft);
}

interface Address {
  readonly spec: Record<string, unknown>;
  /** null when the address cannot be read. */
  readonly secure: boolean | null;
}

function backend(r: ClassicReading, draft: Draft, steps: readonly PathStep[], i: number, verify: boolean): Address {
  const path = `spec.backends[0].addresses[${i}]`;
  draft.from(path, steps);
  draft.from(`${path}.name`, [...steps, 'id']);
  draft.from(`${path}.address`, [...steps, 'address']);
  draft.from(`${path}.weight`, [...steps, 'weight']);
  const spec: Record<string, unknown> = {};
  const id = r.required([...steps, 'id']);
  const weight = r.int([...steps, 'weight']);
  if (id !== undefined) spec['name'] = id;
  if (weight !== undefined && (weight < 1 || weight > 1000))
    r.fault([...steps, 'weight'], `must be a whole number, 1 to 1000, not ${weight}`);
  else if (weight !== undefined) spec['weight'] = weight;
  const text = r.required([...steps, 'address']);
  // Another one for each: that two of them are no addresses does not make them the same.
  const unread: Address = { spec: { ...spec, address: `missing:${i + 1}` }, secure: null };
  if (text === undefined) return unread;
  const parts = /^(?:([A-Za-z][A-Za-z0-9+.-]*):\/\/)?(.*)$/.exec(text) as RegExpExecArray;
  const scheme = parts[1]?.toLowerCase() ?? 'none';
  const authority = (parts[2] ?? '').replace(/\/$/, '');
  if (scheme === 'http') {
    r.fault(
      [...steps, 'address'],
      'http:// (HTTP/1.1 to backends) is not supported yet: use h2c:// when the backend speaks HTTP/2 in clear text',
    );
    return unread;
  }
  if (scheme !== 'https' && scheme !== 'h2c' && scheme !== 'none') {
    r.fault([...steps, 'address'], `must begin with https:// or h2c://, or have no scheme, not ${show(text)}`);
    return unread;
  }
  const secure = isSecure(r, steps, scheme, verify);
  const address = withPort(authority, secure ? 443 : 80);
  if (!isBackendAddress(address)) {
    r.fault(
      [...steps, 'address'],
      `must be host, host:port or [IPv6 address]:port, behind https://, h2c:// or no scheme, not ${show(text)}`,
    );
    return { ...unread, secure };
  }
  spec['address'] = address;
  return { spec, secure };
}

function isSecure(r: ClassicReading, steps: readonly PathStep[], scheme: Scheme, verify: boolean): boolean {
  if (scheme !== 'none') return scheme === 'https';
  if (!verify)
    r.warn([...steps, 'address'], 'has no scheme and verify_certificates is false: clear text is used; write h2c:// for that, or https://');
  return verify;
}

function withPort(authority: string, port: number): string {
  const bracket = authority.lastIndexOf(']');
  return authority.indexOf(':', Math.max(0, bracket)) < 0 ? `${authority}:${port}` : authority;
}

function tls(r: ClassicReading, draft: Draft, steps: readonly PathStep[], verify: boolean): void {
  const ca = r.text([...steps, 'ca_file']);
  const caDir = r.text([...steps, 'ca_dir']);
  const cert = r.text([...steps, 'client_certificate']);
  const key = r.text([...steps, 'client_key']);
  const spec: Record<string, unknown> = {};
  // The working directory would be meant.
  for (const name of ['ca_file', 'ca_dir', 'client_certificate', 'client_key'])
    if (r.text([...steps, name]) === '')
      r.fault([...steps, name], `must be the path of ${name === 'ca_dir' ? 'a folder' : 'a file'}, not empty`);
  if (!verify) spec['verify'] = 'None';
  if (!verify) r.warn([...steps, 'verify_certificates'], 'is false: whoever answers at the address is believed');
  if (r.bool([...steps, 'strict_sni']) === false) spec['sni'] = false;
  if (ca !== undefined && caDir !== undefined)
    r.fault([...steps, 'ca_dir'], 'together with ca_file is not supported yet: put the file into the directory');
  const roots = ca !== undefined ? 'ca_file' : 'ca_dir';
  const path = ca ?? caDir;
  if (path !== undefined && !verify) r.warn([...steps, roots], 'is not used while verify_certificates is false');
  else if (path !== undefined) spec['caRef'] = { files: { ca: r.file([...steps, roots], path) } };
  if (cert !== undefined && key !== undefined)
    spec['clientCertificateRef'] = {
      files: { cert: r.file([...steps, 'client_certificate'], cert), key: r.file([...steps, 'client_key'], key) },
    };
  else if (cert !== undefined || key !== undefined)
    r.fault(
      [...steps, cert === undefined ? 'client_certificate' : 'client_key'],
      'is required: client_certificate and client_key come together',
    );
  draft.from('spec.tls.caRef', [...steps, roots]);
  draft.from('spec.tls.clientCertificateRef', [...steps, 'client_certificate']);
  if (Object.keys(spec).length > 0) draft.set('tls', spec, steps);
}

const POLICIES: ReadonlyMap<string, 'RoundRobin' | 'Random' | 'ConsistentHash' | 'later'> = new Map([
  ...['round-robin', 'round_robin', 'rr'].map((n) => [n, 'RoundRobin'] as const),
  ['random', 'Random'] as const,
  ...['consistent-hash', 'consistent_hash', 'ch'].map((n) => [n, 'ConsistentHash'] as const),
  ...['least-connections', 'least_connections', 'lc', 'latency-aware', 'latency_aware', 'la'].map((n) => [n, 'later'] as const),
  ...['sticky-cid', 'sticky_cid', 'cid-sticky', 'cid_sticky'].map((n) => [n, 'later'] as const),
]);

function balancing(r: ClassicReading, draft: Draft, steps: readonly PathStep[]): void {
  if (r.at(steps) === undefined) return;
  const type = r.required([...steps, 'type']);
  if (type === undefined) return;
  const policy = POLICIES.get(type.toLowerCase());
  if (policy === undefined || policy === 'later') {
    const what = 'round-robin, random or consistent-hash';
    r.fault(
      [...steps, 'type'],
      policy === 'later' ? `${show(type)} is not supported yet: use ${what}` : `must be ${what}, not ${show(type)}`,
    );
    return;
  }
  const keyText = r.text([...steps, 'key']);
  if (policy !== 'ConsistentHash') {
    if (keyText !== undefined) r.warn([...steps, 'key'], `has no effect with ${type}`);
    draft.set('loadBalancing', { type: policy }, steps);
    return;
  }
  const key = hashKey(keyText ?? 'authority');
  if (key === null)
    r.fault(
      [...steps, 'key'],
      `${show(keyText)} is not supported yet: use path, authority, peer_ip, header:NAME, cookie:NAME or query:NAME`,
    );
  else draft.set('loadBalancing', { type: policy, consistentHash: { key } }, steps);
  draft.from('spec.loadBalancing.consistentHash', [...steps, 'key']);
}

function hashKey(text: string): Record<string, unknown> | null {
  if (text === 'path') return { type: 'Path' };
  if (text === 'authority') return { type: 'Authority' };
  if (text === 'peer_ip' || text === 'client_ip') return { type: 'SourceAddress' };
  const colon = text.indexOf(':');
  const name = text.slice(colon + 1);
  if (colon < 0 || name === '') return null;
  switch (text.slice(0, colon)) {
    case 'header':
      return { type: 'Header', header: { name: name.toLowerCase() } };
    case 'cookie':
      return { type: 'Cookie', cookie: { name } };
    case 'query':
      return { type: 'Query', query: { name } };
    default:
      return null;
  }
}

const THRESHOLDS = [
  ['failure_threshold', 'unhealthyThreshold'],
  ['success_threshold', 'healthyThreshold'],
] as const;

/** One check for the pool: those of its backends must be the same. */
function healthCheck(r: ClassicReading, draft: Draft, steps: readonly PathStep[], count: number): void {
  let first: string | null = null;
  for (let i = 0; i < count; i++) {
    const at = [...steps, 'backends', i, 'health_check'];
    const spec = isMap(r.at(at)) ? check(r, draft, at, i === 0) : null;
    const text = JSON.stringify(spec);
    if (i === 0) {
      first = text;
      if (spec !== null) draft.set('healthCheck', spec, at);
    } else if (text !== first)
      r.fault(
        spec === null ? [...steps, 'backends', i] : at,
        'differs from the health_check of the first backend, which is not supported yet: use one for all backends of a pool',
      );
  }
}

function check(r: ClassicReading, draft: Draft, at: readonly PathStep[], note: boolean): Record<string, unknown> {
  const spec: Record<string, unknown> = { type: 'HTTP' };
  const put = (key: string, field: string, value: unknown): void => {
    if (value === undefined) return;
    spec[field] = value;
    if (note) draft.from(`spec.healthCheck.${field}`, [...at, key]);
  };
  const path = r.text([...at, 'path']);
  const interval = r.int([...at, 'interval']);
  const timeout = r.int([...at, 'timeout_ms']);
  const cooldown = r.int([...at, 'cooldown_ms']);
  put('path', 'http', path === undefined ? undefined : { path });
  put('interval', 'interval', interval === undefined ? undefined : formatDuration(interval));
  // A time-out that nobody wrote must not exceed an interval that somebody did; nor is it to blame for one that is out of range.
  if (timeout !== undefined) put('timeout_ms', 'timeout', formatDuration(timeout));
  else if (interval !== undefined && interval < 1000) put('interval', 'timeout', formatDuration(Math.max(interval, 10)));
  for (const [key, field] of THRESHOLDS) put(key, field, r.int([...at, key]));
  put('cooldown_ms', 'cooldown', cooldown === undefined ? undefined : formatDuration(cooldown));
  return spec;
}

const TIMEOUTS = [
  ['backend_connect_timeout_ms', 'connect'],
  ['backend_timeout_ms', 'response'],
  ['backend_body_idle_timeout_ms', 'idle'],
  ['backend_total_request_timeout_ms', 'request'],
] as const;

function timeouts(r: ClassicReading, draft: Draft): void {
  for (const [key, field] of TIMEOUTS) {
    const value = r.int(['performance', key]);
    if (value !== undefined) draft.set(`timeouts.${field}`, formatDuration(value), ['performance', key]);
  }
}
