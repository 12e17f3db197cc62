/** `listen`, `listeners` and what is global about them -> Listeners; the rest of what is global -> settings. */
import {
  formatDuration,
  formatHostPort,
  isAddress,
  type Origin,
  type PathStep,
  type Problem,
  pathText,
} from '../../contract/resources/index.ts';
import type { ServerNameCheck } from './documents.ts';
import { Draft, isMap, type ClassicReading } from './classicreading.ts';

type PendingCheck = (file: string, origin: Origin) => ServerNameCheck;

export function translateListeners(r: ClassicReading): { drafts: Draft[]; names: PendingCheck[] } {
  const version = r.int(['version']);
  if (version !== undefined && version !== 1) r.fault(['version'], 'must be 1: other versions are not known');
  const many = r.list(['listeners']);
  const places: readonly PathStep[][] =
    many.length > 0 ? many.map((_, i) => ['listeners', i]) : r.at(['listen']) === undefined ? [] : [['listen']];
  if (places.length === 0) r.fault(['listen'], 'is required');
  const names: PendingCheck[] = [];
  const drafts = places.map((steps, i) =>
    translateListener(r, new Draft(many.length > 0 ? `listen-${i + 1}` : 'listen', steps), steps, names),
  );
  sameBinds(r, drafts, places);
  return { drafts, names };
}

function translateListener(r: ClassicReading, draft: Draft, steps: readonly PathStep[], names: PendingCheck[]): Draft {
  const protocol = r.text([...steps, 'protocol']);
  if (protocol !== undefined && protocol !== 'http3') r.fault([...steps, 'protocol'], `must be http3: others are not supported yet`);
  const address = r.text([...steps, 'address']);
  if (address !== undefined) {
    draft.set('addresses', [address], [...steps, 'address']);
    draft.from('spec.addresses[0]', [...steps, 'address']);
  }
  draft.set('port', r.int([...steps, 'port']) ?? 9889, [...steps, 'port']);
  const refs = certificates(r, draft, [...steps, 'tls'], names);
  // That there is none has been told, in the words of this file.
  draft.set('tls', refs.length > 0 ? { certificateRefs: refs } : { allowUpstreamCertificates: true }, [...steps, 'tls']);
  limits(r, draft);
  return draft;
}

function certificates(r: ClassicReading, draft: Draft, steps: readonly PathStep[], names: PendingCheck[]): unknown[] {
  const refs: { files: { cert: string; key: string } }[] = [];
  const add = (cert: string, key: string, at: readonly PathStep[]): void => {
    const i = refs.length;
    draft.from(`spec.tls.certificateRefs[${i}]`, at);
    draft.from(`spec.tls.certificateRefs[${i}].files.cert`, [...at, 'cert']);
    draft.from(`spec.tls.certificateRefs[${i}].files.key`, [...at, 'key']);
    refs.push({ files: { cert: r.file([...at, 'cert'], cert), key: r.file([...at, 'key'], key) } });
  };
  const cert = r.text([...steps, 'cert']) || undefined;
  const key = r.text([...steps, 'key']) || undefined;
  if (cert !== undefined && key !== undefined) add(cert, key, steps);
  else if (cert !== undefined || key !== undefined)
    r.fault([...steps, cert === undefined ? 'cert' : 'key'], 'is required: cert and key come together');
  const list = r.list([...steps, 'certificates']);
  if (cert === undefined && key === undefined && list.length === 0) r.fault(steps, 'must have cert and key, or certificates');
  const seen = new Map<string, number>();
  const chosen: { serverName: string; cert: string; at: readonly PathStep[] }[] = [];
  list.forEach((_, i) => {
    const at = [...steps, 'certificates', i];
    const serverName = r.required([...at, 'server_name']);
    const file = r.required([...at, 'cert']);
    const keyFile = r.required([...at, 'key']);
    if (serverName !== undefined) {
      const first = seen.get(serverName.toLowerCase());
      if (first !== undefined) r.fault([...at, 'server_name'], `is the same as that of item ${first}`);
      else if (/\s|\*/.test(serverName)) r.fault([...at, 'server_name'], 'must be an exact host name');
      else seen.set(serverName.toLowerCase(), i);
    }
    if (file === undefined || keyFile === undefined) return;
    add(file, keyFile, at);
    if (serverName !== undefined)
      chosen.push({ serverName, cert: (refs.at(-1) as { files: { cert: string } }).files.cert, at: [...at, 'server_name'] });
  });
  const all = refs.map((ref) => ref.files.cert);
  for (const c of chosen) names.push((file, origin) => serverNameCheck(c, all, file, origin));
  return refs;
}

function serverNameCheck(
  chosen: { serverName: string; cert: string; at: readonly PathStep[] },
  all: readonly string[],
  file: string,
  origin: Origin,
): ServerNameCheck {
  const path = pathText(chosen.at);
  return {
    serverName: chosen.serverName,
    cert: chosen.cert,
    others: all.filter((cert) => cert !== chosen.cert),
    problem: (message): Problem => ({ severity: 'error', file, ...origin.locate(path), object: '', path, message }),
  };
}

type Convert = (n: number) => unknown;
const ms: Convert = (n) => formatDuration(n);
const plain: Convert = (n) => n;

const LISTENER_FIELDS: readonly (readonly [key: readonly string[], field: string, convert: Convert])[] = [
  [['performance', 'new_connections_per_sec'], 'limits.handshakesPerSecond', plain],
  [['performance', 'max_request_body_bytes'], 'limits.requestBody', plain],
  [['performance', 'client_body_idle_timeout_ms'], 'limits.bodyIdleTimeout', ms],
  [['performance', 'quic_max_idle_timeout_ms'], 'quic.idleTimeout', ms],
  [['performance', 'quic_initial_max_stream_data'], 'quic.streamWindow', plain],
  [['performance', 'quic_initial_max_streams_bidi'], 'quic.maxStreams', plain],
  [['resilience', 'protocol', 'max_headers_count'], 'limits.headerCount', plain],
  [['resilience', 'protocol', 'max_headers_bytes'], 'limits.headerBytes', plain],
];

function limits(r: ClassicReading, draft: Draft): void {
  for (const [key, field, convert] of LISTENER_FIELDS) {
    const value = r.int(key);
    if (value !== undefined) draft.set(field, convert(value), key);
  }
  // Theirs counts per worker, ours per node.
  const connections = r.int(['performance', 'max_active_connections']);
  const workers = Math.max(1, r.int(['performance', 'worker_threads']) ?? 1);
  if (connections !== undefined) draft.set('limits.connections', connections * workers, ['performance', 'max_active_connections']);
}

function sameBinds(r: ClassicReading, drafts: readonly Draft[], places: readonly (readonly PathStep[])[]): void {
  const seen = new Map<string, string>();
  drafts.forEach((draft, i) => {
    const bind = JSON.stringify([(draft.spec['addresses'] as string[] | undefined)?.[0] ?? '', draft.spec['port']]);
    const first = seen.get(bind);
    const steps = places[i] as readonly PathStep[];
    if (first !== undefined) r.fault(steps, `binds the same address and port as ${first}`);
    else seen.set(bind, pathText(steps));
  });
}

/** What `Settings` holds today, in the text that flags have. */
export function translateSettings(r: ClassicReading): Draft {
  const settings = new Draft('settings', []);
  const text = (name: string, value: unknown, steps: readonly PathStep[]): void =>
    settings.set(name, value === undefined ? undefined : String(value), steps);
  const drain = r.int(['performance', 'shutdown_drain_timeout_ms']);
  text('workers', r.int(['performance', 'worker_threads']), ['performance', 'worker_threads']);
  text('drainTimeout', drain === undefined ? undefined : formatDuration(drain), ['performance', 'shutdown_drain_timeout_ms']);
  text('udpReceiveBuffer', r.int(['performance', 'udp_recv_buffer_bytes']), ['performance', 'udp_recv_buffer_bytes']);
  text('udpSendBuffer', r.int(['performance', 'udp_send_buffer_bytes']), ['performance', 'udp_send_buffer_bytes']);
  text('logLevel', r.text(['log', 'level']), ['log', 'level']);
  text('logFormat', r.text(['log', 'format']), ['log', 'format']);
  if (r.bool(['log', 'file', 'enabled']) === true) text('logFile', r.required(['log', 'file', 'path']), ['log', 'file', 'path']);
  text('metrics', endpoint(r, ['observability', 'metrics'], 9901), ['observability', 'metrics']);
  text('admin', endpoint(r, ['observability', 'control_api'], 9902), ['observability', 'control_api']);
  return settings;
}

/** Off unless enabled, as theirs; where the file is silent our defaults hold. */
function endpoint(r: ClassicReading, steps: readonly PathStep[], port: number): string | undefined {
  const block = r.at(steps);
  if (!isMap(block) || Object.keys(block).length === 0) return undefined;
  if (block['enabled'] !== true) return 'off';
  const host = r.text([...steps, 'address']) ?? '127.0.0.1';
  if (!isAddress(host)) r.fault([...steps, 'address'], 'must be an IP address');
  else if (!isLoopback(host) && r.bool([...steps, 'allow_non_loopback']) !== true && steps[1] === 'metrics')
    r.fault([...steps, 'address'], 'is not a loopback address: set allow_non_loopback to true if everybody there may read the metrics');
  const given = r.int([...steps, 'port']) ?? port;
  if (given > 65_535) r.fault([...steps, 'port'], `must be a whole number, 0 to 65535, not ${given}`);
  return isAddress(host) && given <= 65_535 ? formatHostPort({ host, port: given }) : undefined;
}

const isLoopback = (host: string): boolean => host.startsWith('127.') || host === '::1';
