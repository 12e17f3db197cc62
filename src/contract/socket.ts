/** What names the socket of a listener: in both halves, in every worker of a node, in both trees of a take-over. */
import { createHash } from 'node:crypto';
import type { ListenerPart } from './snapshot/parts.ts';

/** Two listeners with the same key are one socket: a renamed listener keeps its connections. */
export function socketKey(part: Pick<ListenerPart, 'namespace' | 'name' | 'addresses' | 'port'>): string {
  const name = part.port === 0 ? `${part.namespace}/${part.name}` : '';
  return JSON.stringify([[...part.addresses].sort(), part.port, name]);
}

/** The same in sixteen hexadecimal digits, for names of files and for messages. */
export function socketName(key: string): string {
  return createHash('sha256').update(key).digest('hex').slice(0, 16);
}
