/**
 * The way of a request from its head to a backend group. Each step lets it pass (null) or names the reason for its end;
 * the order is the order of the drawing in the README, and each step relies on those before it.
 */
import type { Reason } from '../../contract/reasons.ts';
import { normaliseTarget } from '../../contract/routes/path.ts';
import { readContentLength } from '../http/h3/syntax.ts';
import type { Exchange } from './exchange.ts';
import { addForwarded, requestId } from './forwarded.ts';
import { hashOf } from './hashkey.ts';
import { cleanRequest } from './headers.ts';
import { makeRequestId } from './requestid.ts';

export function admit(x: Exchange): Reason | null {
  return (
    checkMethod(x) ??
    checkAuthority(x) ??
    readTarget(x) ??
    cleanFields(x) ??
    countHop(x) ??
    checkLength(x) ??
    matchRoute(x) ??
    chooseGroup(x) ??
    describe(x)
  );
}

/** Tunnels need a path of their own through every layer: refused until there is one (RFC 9110 s15.6.2). */
function checkMethod(x: Exchange): Reason | null {
  return x.stream.head.method === 'CONNECT' ? 'method_not_supported' : null;
}

/** Before anything depends on the host: is it one, and one that this connection may be asked for? */
function checkAuthority(x: Exchange): Reason | null {
  if (x.peer.authority === '') return 'malformed_request';
  return x.peer.misdirected ? 'misdirected' : null;
}

/** One string from here on: what is matched is what is forwarded. */
function readTarget(x: Exchange): Reason | null {
  const target = normaliseTarget(x.stream.head.path, x.view.part.escapedSlashes);
  if (typeof target === 'string') return 'malformed_request';
  x.path = target.path;
  x.query = target.query;
  x.target = target.hasQuery ? `${target.path}?${target.query}` : target.path;
  return null;
}

/** Before routes and hash keys look at fields: what a client may not say must not steer it either. */
function cleanFields(x: Exchange): Reason | null {
  const fields = x.stream.head.fields;
  cleanRequest(fields, x.peer.trusted, x.plant.drops);
  return x.plant.via.seenIn(fields) ? 'loop' : null;
}

/** RFC 9110 s7.6.2, for the two methods that know it: who is the last hop answers, and has nothing to say of either. */
function countHop(x: Exchange): Reason | null {
  const { method, fields } = x.stream.head;
  if (method !== 'OPTIONS' && method !== 'TRACE') return null;
  const at = fields.names.indexOf('max-forwards');
  if (at < 0) return null;
  const left = readContentLength(fields.values[at] as string);
  if (left === 0) return 'method_not_supported';
  if (left > 0) fields.values[at] = String(left - 1);
  return null;
}

/** A declared length is believed at once; an undeclared one is counted as it comes. */
function checkLength(x: Exchange): Reason | null {
  const limit = x.view.part.limits.requestBody;
  if (limit === 0 || x.stream.head.contentLength <= limit) return null;
  x.view.counters.limit('requestBody');
  return 'body_too_large';
}

function matchRoute(x: Exchange): Reason | null {
  const { method, fields } = x.stream.head;
  x.destination = x.view.table.match(x.peer.host, x.path, x.query, method, fields.names, fields.values);
  return x.destination === null ? 'no_route' : null;
}

/** The first of the two choices; the endpoint within the group is chosen per attempt. */
function chooseGroup(x: Exchange): Reason | null {
  const upstream = (x.destination as NonNullable<Exchange['destination']>).upstream;
  if (upstream.key !== null) x.hash = hashOf(upstream.key, x);
  const chosen = upstream.split.choose(x.hash);
  if (chosen < 0) return 'no_endpoint';
  const view = upstream.groups[chosen] as NonNullable<Exchange['groupView']>;
  if (view.group === null) return 'reference_unresolved';
  x.groupView = view;
  return view.group.empty ? 'no_endpoint' : null;
}

/** What the backend is told beside what the client said. */
function describe(x: Exchange): Reason | null {
  const { method, fields, neverIndexed } = x.stream.head;
  addForwarded(fields, x.peer, x.view.port);
  x.requestId = requestId(fields, x.peer.trusted, makeRequestId);
  x.plant.via.append(fields, x.plant.via.request);
  const scheme = (x.groupView as NonNullable<Exchange['groupView']>).scheme;
  x.request = { method, scheme, authority: x.peer.authority, path: x.target, fields, neverIndexed: neverIndexed === true };
  return null;
}
