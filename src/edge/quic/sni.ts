import { findByName } from '../../contract/tls.ts';
import type { TlsId, TlsTable } from './engine.ts';

/**
 * The entry that a server name gets: by the one rule for names, then the fallback; null rejects the handshake.
 * No spelling of a name (case, trailing dot) can select a laxer entry than another.
 */
export function pickTls(table: TlsTable, sni: string | null): TlsId | null {
  if (sni === null || sni.length === 0) return table.fallback;
  return findByName(table.names, canonicalName(sni)) ?? table.fallback;
}

/** ASCII lower case without the final dot; bytes above 127 stay what they are and match nothing. */
export function canonicalName(name: string): string {
  let upper = false;
  for (let i = 0; i < name.length && !upper; i++) {
    const c = name.charCodeAt(i);
    upper = c >= 65 && c <= 90;
  }
  const bare = name.endsWith('.') ? name.slice(0, -1) : name;
  if (!upper) return bare;
  let out = '';
  for (let i = 0; i < bare.length; i++) {
    const c = bare.charCodeAt(i);
    out += c >= 65 && c <= 90 ? String.fromCharCode(c + 32) : bare[i];
  }
  return out;
}
