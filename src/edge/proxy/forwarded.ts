/**
 * What the backend is told about the client. From a peer that is not trusted nothing of it has come this far (headers.ts), so ours is all there is;
 * a trusted one is a proxy of ours: its word is kept and its own address appended.
 */
import type { Fields } from '../http/fields.ts';
import type { Peer } from './peer.ts';

const REQUEST_ID_MAX = 128;

/** The element of RFC 7239 s4 up to its host. */
export function elementFor(address: string): string {
  return address.includes(':') ? `for="[${address}]"` : `for=${address}`;
}

/** A normalised authority holds no quote and no backslash: quoting it is enough. */
export function elementTail(authority: string): string {
  return isToken(authority) ? `;host=${authority};proto=https` : `;host="${authority}";proto=https`;
}

export function addForwarded(fields: Fields, peer: Peer, port: string): void {
  if (peer.trusted) {
    appendTo(fields, 'x-forwarded-for', peer.address);
    addIfAbsent(fields, 'x-forwarded-proto', 'https');
    addIfAbsent(fields, 'x-forwarded-host', peer.authority);
    addIfAbsent(fields, 'x-forwarded-port', port);
    appendTo(fields, 'forwarded', peer.forwarded);
    return;
  }
  fields.add('x-forwarded-for', peer.address);
  fields.add('x-forwarded-proto', 'https');
  fields.add('x-forwarded-host', peer.authority);
  fields.add('x-forwarded-port', port);
  fields.add('forwarded', peer.forwarded);
}

/** The id by which this request is known here and behind us: a trusted peer's, or a new one. */
export function requestId(fields: Fields, trusted: boolean, make: () => string): string {
  const given = trusted ? fields.get('x-request-id') : null;
  if (given !== null && given !== '' && given.length <= REQUEST_ID_MAX) return given;
  const id = make();
  if (given === null) fields.add('x-request-id', id);
  else fields.values[fields.names.indexOf('x-request-id')] = id;
  return id;
}

/** One list over all lines of that name: joined to the last one, its order is the order of the hops. */
function appendTo(fields: Fields, name: string, element: string): void {
  const at = fields.lastOf(name);
  if (at < 0) fields.add(name, element);
  else fields.values[at] = fields.values[at] === '' ? element : `${fields.values[at]}, ${element}`;
}

function addIfAbsent(fields: Fields, name: string, value: string): void {
  if (fields.names.indexOf(name) < 0) fields.add(name, value);
}

/** Letters, digits, dot, hyphen, underscore: what a host name consists of. A port or an IPv6 literal needs quotes. */
function isToken(s: string): boolean {
  for (let i = 0; i < s.length; i++) {
    const c = s.charCodeAt(i);
    if (c === 58 || c === 91) return false;
  }
  return true;
}
