/**
 * Which fields pass this hop. Names and values were checked when they were decoded: here is policy only.
 */
import type { Cells, Row } from '../../contract/cells.ts';
import { Fields } from '../http/fields.ts';

const KEEP = 0;
const HOP = 1;
const FORWARDED = 2;
const CERTIFICATE = 3;
const TE = 4;
const ALT_SVC = 5;
const TRAILER = 6;
const LENGTH = 7;
type Kind = typeof KEEP | typeof HOP | typeof FORWARDED | typeof CERTIFICATE | typeof TE | typeof ALT_SVC | typeof TRAILER | typeof LENGTH;

/** The label of `fields_dropped_total` by kind. */
const LABELS = ['', 'hop_by_hop', 'forwarded', 'client_certificate', 'hop_by_hop', 'alt_svc', 'trailer', 'content_length'] as const;

/** RFC 9110 s7.6.1 and RFC 9114 s4.2; `host` has been merged into the authority. */
const HOP_BY_HOP = ['connection', 'keep-alive', 'proxy-connection', 'transfer-encoding', 'upgrade', 'http2-settings', 'host'];

const KINDS = new Map<string, Kind>([
  ...HOP_BY_HOP.map((name): [string, Kind] => [name, HOP]),
  ['proxy-authorization', HOP],
  ['te', TE],
  // Who the client is and what it asked for, as backends read it: only a trusted peer may say so.
  ...[
    'forwarded',
    'true-client-ip',
    'cf-connecting-ip',
    'fastly-client-ip',
    'x-real-ip',
    'x-request-id',
    'x-client-ip',
    'x-cluster-client-ip',
    'x-original-forwarded-for',
    'x-original-host',
    'x-original-url',
    'x-rewrite-url',
    'x-scheme',
    'x-url-scheme',
    'front-end-https',
  ].map((name): [string, Kind] => [name, FORWARDED]),
  // What a backend takes for the outcome of a TLS handshake never comes from outside: RFC 9440 s3.1 and its forerunners.
  ...[
    'client-cert',
    'client-cert-chain',
    'x-forwarded-client-cert',
    'x-forwarded-tls-client-cert',
    'x-forwarded-tls-client-cert-info',
    'x-arr-clientcert',
  ].map((name): [string, Kind] => [name, CERTIFICATE]),
]);

const RESPONSE_KINDS = new Map<string, Kind>([...HOP_BY_HOP.map((name): [string, Kind] => [name, HOP]), ['te', HOP], ['alt-svc', ALT_SVC]]);
/** RFC 9110 s8.6: in a 1xx and in a 204 nobody may send it. */
const LENGTHLESS_KINDS = new Map<string, Kind>([...RESPONSE_KINDS, ['content-length', LENGTH]]);

/** RFC 9110 s6.5.1: framing, routing, authentication, request modifiers, response control and content handling mean nothing in trailers. */
const NEVER_TRAILERS = new Set(
  (
    'content-length content-encoding content-type content-range content-location trailer via alt-svc ' +
    'authorization proxy-authorization authentication-info proxy-authentication-info proxy-authenticate www-authenticate ' +
    'cookie set-cookie cache-control pragma expect max-forwards range if-match if-none-match if-range if-modified-since ' +
    'if-unmodified-since age date expires location retry-after vary warning origin early-data'
  ).split(' '),
);

/** Counts dropped fields of one worker. */
export class DropCounter {
  private readonly cells: Cells;
  private readonly rows = new Map<string, Row>();

  constructor(cells: Cells) {
    this.cells = cells;
  }

  add(kind: number): void {
    this.byName(LABELS[kind] as string);
  }

  byName(reason: string): void {
    let row = this.rows.get(reason);
    if (row === undefined) {
      row = this.cells.row('fields_dropped_total', reason);
      this.rows.set(reason, row);
    }
    this.cells.add(row, 1);
  }
}

/** Takes out of a request what must not pass. `trusted`: the peer's word on who the client is counts. */
export function cleanRequest(fields: Fields, trusted: boolean, drops: DropCounter): void {
  const { names, values } = fields;
  let kept = 0;
  for (let i = 0; i < names.length; i++) {
    const kind = requestKind(names[i] as string);
    if (kind !== KEEP && !(kind === FORWARDED && trusted) && !(kind === TE && values[i] === 'trailers')) {
      drops.add(kind);
      continue;
    }
    if (kept < i) fields.move(i, kept);
    kept++;
  }
  if (kept < names.length) fields.truncate(kept);
}

/** Also of interim answers. */
export function cleanResponse(status: number, fields: Fields, drops: DropCounter): void {
  const { names } = fields;
  const kinds = status < 200 || status === 204 ? LENGTHLESS_KINDS : RESPONSE_KINDS;
  let kept = 0;
  for (let i = 0; i < names.length; i++) {
    const kind = kinds.get(names[i] as string);
    if (kind !== undefined) {
      drops.add(kind);
      continue;
    }
    if (kept < i) fields.move(i, kept);
    kept++;
  }
  if (kept < names.length) fields.truncate(kept);
}

/** Whether `cleanResponse` would take nothing out. */
export function isCleanResponse(fields: Fields): boolean {
  for (const name of fields.names) if (RESPONSE_KINDS.has(name)) return false;
  return true;
}

/** A copy of what may travel in a request's trailers, or null when nothing may: nobody is trusted to add routing or identity after the fact. */
export function cleanRequestTrailers(trailers: Fields | null, drops: DropCounter): Fields | null {
  if (trailers === null) return null;
  let out: Fields | null = null;
  for (let i = 0; i < trailers.length; i++) {
    if (NEVER_TRAILERS.has(trailers.names[i] as string) || requestKind(trailers.names[i] as string) !== KEEP) drops.add(TRAILER);
    else out = copy(trailers, i, out);
  }
  return out;
}

export function cleanResponseTrailers(trailers: Fields | null, drops: DropCounter): Fields | null {
  if (trailers === null) return null;
  let out: Fields | null = null;
  for (let i = 0; i < trailers.length; i++) {
    if (NEVER_TRAILERS.has(trailers.names[i] as string) || RESPONSE_KINDS.has(trailers.names[i] as string)) drops.add(TRAILER);
    else out = copy(trailers, i, out);
  }
  return out;
}

function requestKind(name: string): Kind {
  const known = KINDS.get(name);
  if (known !== undefined) return known;
  const first = name.charCodeAt(0);
  if (first === 120 /* x */ && name.charCodeAt(1) === 45 /* - */) return familyOf(name);
  return first === 115 /* s */ && name.startsWith('ssl-client-') ? CERTIFICATE : KEEP;
}

function familyOf(name: string): Kind {
  if (name.startsWith('x-forwarded-') || name.startsWith('x-envoy-')) return FORWARDED;
  if (name.startsWith('x-client-cert') || name.startsWith('x-ssl-') || name.startsWith('x-amzn-mtls-')) return CERTIFICATE;
  return KEEP;
}

function copy(from: Fields, i: number, to: Fields | null): Fields {
  const out = to ?? new Fields();
  out.add(from.names[i] as string, from.values[i] as string, from.isNever(i));
  return out;
}
