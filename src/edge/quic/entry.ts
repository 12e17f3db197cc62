import { inspectBundle, inspectCertificate } from '../../contract/tls.ts';
import { ok, type Result } from '../../lib/result.ts';
import type { TlsEntry, TlsPair, TlsTable } from './engine.ts';

export const TICKET_KEY = 48;

/** A chain and its key as node:crypto has understood them, in clean PEM: nothing else goes to an engine. */
export interface Pair {
  readonly cert: string;
  /** PKCS #8. */
  readonly key: string;
}

/** Each is judged once, whatever entries it is of: new ticket keys bring a thousand new entries at once. */
const pairs = new WeakMap<TlsPair, Pair>();

export function readPair(given: TlsPair): Result<Pair, string> {
  const known = pairs.get(given);
  if (known !== undefined) return ok(known);
  const facts = inspectCertificate(given.cert, given.key);
  if (!facts.ok) return facts;
  const pair = { cert: facts.value.cert, key: Buffer.from(facts.value.key.reveal()).toString('latin1') };
  pairs.set(given, pair);
  return ok(pair);
}

export function readPairs(entry: TlsEntry): Pair[] {
  if (entry.certs.length === 0) throw new RangeError(`TLS entry ${entry.id}: no certificate`);
  return entry.certs.map((given) => {
    const pair = readPair(given);
    if (!pair.ok) throw new RangeError(`TLS entry ${entry.id}: ${pair.error}`);
    return pair.value;
  });
}

/** The CA as clean PEM. Without one nobody could be refused: that is closed, not open. */
export function readCa(entry: TlsEntry): string | null {
  if (entry.clientAuth === 'none') return null;
  if (entry.ca === undefined) throw new RangeError(`TLS entry ${entry.id}: clientAuth ${entry.clientAuth} without a CA`);
  const bundle = inspectBundle(entry.ca);
  if (!bundle.ok) throw new RangeError(`TLS entry ${entry.id}: CA: ${bundle.error}`);
  return bundle.value;
}

export function checkTicketKeys(entry: TlsEntry): void {
  for (const key of entry.ticketKeys)
    if (key.length !== TICKET_KEY) throw new RangeError(`TLS entry ${entry.id}: ticket keys have ${TICKET_KEY} bytes, not ${key.length}`);
}

export function checkAlpn(entry: TlsEntry): void {
  if (entry.alpn.length === 0) throw new RangeError(`TLS entry ${entry.id}: no ALPN protocol`);
  for (const p of entry.alpn)
    if (p.length === 0 || p.length > 255) throw new RangeError(`TLS entry ${entry.id}: ALPN protocol of ${p.length} bytes`);
}

/** A table names only entries that it has. */
export function checkNames(table: TlsTable): void {
  const ids = new Set(table.entries.map((e) => e.id));
  if (table.fallback !== null && !ids.has(table.fallback)) throw new RangeError(`TLS table: the fallback ${table.fallback} is no entry`);
  for (const [name, id] of table.names)
    if (!ids.has(id)) throw new RangeError(`TLS table: ${JSON.stringify(name)} names ${id}, which is no entry`);
}
