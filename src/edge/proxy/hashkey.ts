import type { HashKey } from '../../contract/snapshot/parts.ts';
import { hashText } from '../../lib/hash.ts';
import type { Exchange } from './exchange.ts';

/** The uint32 by which consistent hashing places a request; one without the key is placed by its source address. */
export function hashOf(key: HashKey, x: Exchange): number {
  return hashText(textOf(key, x) ?? x.peer.address);
}

function textOf(key: HashKey, x: Exchange): string | null {
  switch (key.type) {
    case 'Header':
      return x.stream.head.fields.get(key.name);
    case 'Cookie':
      return parameter(x.stream.head.fields.get('cookie'), key.name, ';');
    case 'Query':
      return parameter(x.query, key.name, '&');
    case 'Path':
      return x.path;
    case 'Authority':
      return x.peer.authority;
    case 'SourceAddress':
      return null;
  }
}

/** The value of the first `name=value` in a list, or null. */
export function parameter(list: string | null, name: string, separator: string): string | null {
  if (list === null) return null;
  for (let at = 0; at < list.length;) {
    const next = list.indexOf(separator, at);
    const end = next < 0 ? list.length : next;
    while (list.charCodeAt(at) === 32) at++;
    if (list.startsWith(name, at) && list[at + name.length] === '=') return list.slice(at + name.length + 1, end);
    at = end + 1;
  }
  return null;
}
