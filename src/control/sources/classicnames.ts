/** Does a certificate cover a `server_name`, and could another one be chosen for it as well? */
import { X509Certificate } from 'node:crypto';
import { show, type FileContent } from '../../contract/resources/index.ts';
import type { ServerNameCheck } from './documents.ts';

interface Leaf {
  readonly fingerprint: string;
  readonly names: readonly string[];
}

function readLeaf(content: FileContent | undefined): Leaf | null {
  if (content === undefined || !content.ok) return null;
  try {
    const certificate = new X509Certificate(content.bytes);
    const names = (certificate.subjectAltName ?? '').split(', ').flatMap((n) => (n.startsWith('DNS:') ? [n.slice(4).toLowerCase()] : []));
    return { fingerprint: certificate.fingerprint256, names };
  } catch {
    return null;
  }
}

/** 2 by name, 1 by a wildcard of one label, 0 not at all: the order in which SNI chooses. */
function coverage(leaf: Leaf, name: string): 0 | 1 | 2 {
  if (leaf.names.includes(name)) return 2;
  const dot = name.indexOf('.');
  return dot > 0 && leaf.names.includes(`*${name.slice(dot)}`) ? 1 : 0;
}

/** null when all is well, and when a file cannot be read as a certificate: that is told elsewhere. */
export function checkServerName(check: ServerNameCheck, files: ReadonlyMap<string, FileContent>): string | null {
  const name = check.serverName.toLowerCase();
  const own = readLeaf(files.get(check.cert));
  if (own === null) return null;
  const rank = coverage(own, name);
  if (rank === 0) return `is not covered by ${show(check.cert)}, which is for ${own.names.join(', ') || 'no name'}`;
  for (const path of check.others) {
    const other = readLeaf(files.get(path));
    if (other !== null && other.fingerprint !== own.fingerprint && coverage(other, name) >= rank)
      return `is covered by ${show(path)} as well: certificates are chosen by the names in them, so that only one may be for ${show(check.serverName)}`;
  }
  return null;
}
