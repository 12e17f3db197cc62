import { isIP } from 'node:net';
import { rootCertificates } from 'node:tls';
import { inspectBundle } from '../../../contract/tls.ts';
import type { ConnectOptions, Limits, ListenOptions, TlsEntry, TlsTable, Whereabouts } from '../engine.ts';
import { checkAlpn, checkNames, checkTicketKeys, readCa, readPairs } from '../entry.ts';
import { checkCongestion, checkCounts, checkResetKey, checkTokenKeys, isWildcard } from '../options.ts';

/** What the engine adds to every endpoint: switches for debugging. */
export interface Debugging {
  /** A file that gets the secrets of every connection. */
  readonly keylog?: string | undefined;
  /** A folder that gets one file per connection. */
  readonly qlog?: string | undefined;
}

/** The JSON of native/src/options.rs; refuses what is wrong before the addon sees it. */
export function listenJson(o: ListenOptions, debugging: Debugging): string {
  if (o.hosts.length === 0) throw new RangeError('hosts: no interface is named');
  o.hosts.forEach(isWildcard);
  checkCongestion('native', o.congestion);
  checkCounts(o.limits);
  const keylog = o.keylog ?? debugging.keylog;
  return braces([
    field('hosts', [...new Set(o.hosts)]),
    field('port', o.port),
    field('reusePort', o.reusePort),
    field('cid', { nodeId: o.cid.nodeId, workerId: o.cid.workerId, key: hex(o.cid.key) }),
    ...(o.handover === undefined ? [] : [field('handover', checkedHandover(o.handover))]),
    ...keyFields(o),
    field('retry', o.retry),
    field('limits', o.limits),
    `"tls":${tlsJson(o.tls)}`,
    field('congestion', o.congestion),
    field('receiveBuffer', o.receiveBuffer),
    field('sendBuffer', o.sendBuffer),
    ...(keylog === undefined ? [] : [field('keylog', keylog)]),
    ...(debugging.qlog === undefined ? [] : [field('qlog', debugging.qlog)]),
  ]);
}

export function whereaboutsJson(w: Whereabouts): string {
  w.hosts.forEach(isWildcard);
  return braces([field('hosts', [...new Set(w.hosts)]), ...(w.name === null ? [] : [field('name', checkedName(w.name))])]);
}

/** The folder is the addon's to find fault with: only the system knows. */
function checkedHandover(h: NonNullable<ListenOptions['handover']>): { folder: string; name: string } {
  return { folder: h.folder, name: checkedName(h.name) };
}

function checkedName(name: string): string {
  if (!/^[0-9a-f]{16}$/.test(name)) throw new RangeError(`handover.name: ${JSON.stringify(name)} is not 16 hexadecimal digits`);
  return name;
}

export function keysJson(k: { resetKey: Uint8Array; tokenKeys: readonly Uint8Array[] }): string {
  return braces(keyFields(k));
}

function keyFields(k: { resetKey: Uint8Array; tokenKeys: readonly Uint8Array[] }): string[] {
  checkResetKey(k.resetKey);
  checkTokenKeys(k.tokenKeys);
  return [field('resetKey', hex(k.resetKey)), field('tokenKeys', k.tokenKeys.map(hex))];
}

export function limitsJson(l: Limits): string {
  checkCounts(l);
  return JSON.stringify(l);
}

/** Entries are judged and written once: a table of ten thousand changes one at a time. */
const entries = new WeakMap<TlsEntry, string>();

export function tlsJson(t: TlsTable): string {
  const texts = t.entries.map((e) => {
    let text = entries.get(e);
    if (text === undefined) entries.set(e, (text = entryJson(e)));
    return text;
  });
  checkNames(t);
  return braces([`"entries":[${texts.join(',')}]`, field('names', Object.fromEntries(t.names)), field('fallback', t.fallback)]);
}

function entryJson(e: TlsEntry): string {
  const certs = readPairs(e);
  const ca = readCa(e);
  checkTicketKeys(e);
  checkAlpn(e);
  return JSON.stringify({
    id: e.id,
    certs,
    clientAuth: e.clientAuth,
    ...(ca === null ? {} : { ca }),
    alpn: e.alpn,
    earlyData: e.earlyData,
    ticketKeys: e.ticketKeys.map(hex),
  });
}

let roots: string | null = null;

export function dialJson(o: ConnectOptions): string {
  if (isIP(o.host) === 0) throw new RangeError(`host: ${JSON.stringify(o.host)} is no IP address`);
  if (o.local !== null && isIP(o.local) === 0) throw new RangeError(`local: ${JSON.stringify(o.local)} is no IP address`);
  if (o.alpn.length === 0) throw new RangeError('alpn: at least one protocol wanted');
  return JSON.stringify({
    host: o.host,
    port: o.port,
    local: o.local,
    sni: o.sni,
    alpn: o.alpn,
    ca: o.insecure ? '' : authorities(o.ca),
    insecure: o.insecure,
    handshakeMs: o.handshakeMs,
    idleMs: o.idleMs,
  });
}

function authorities(ca: Uint8Array | null): string {
  if (ca === null) return (roots ??= rootCertificates.join('\n'));
  const bundle = inspectBundle(ca);
  if (!bundle.ok) throw new RangeError(`ca: ${bundle.error}`);
  return bundle.value;
}

const hex = (b: Uint8Array): string => Buffer.from(b.buffer, b.byteOffset, b.byteLength).toString('hex');
const field = (name: string, value: unknown): string => `"${name}":${JSON.stringify(value)}`;
const braces = (fields: readonly string[]): string => `{${fields.join(',')}}`;
