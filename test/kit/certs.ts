import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Certificates for tests, made by the `openssl` command and kept for the life of the process. */
export interface Ca {
  readonly name: string;
  /** PEM. */
  readonly cert: Buffer;
  readonly key: Buffer;
}

export interface Leaf {
  readonly cert: Buffer;
  readonly key: Buffer;
}

export interface LeafOptions {
  /** DNS names and addresses; the first is the common name. */
  readonly names: readonly string[];
  readonly type?: 'ecdsa' | 'rsa';
  readonly purpose?: 'server' | 'client';
  readonly days?: number;
}

const cas = new Map<string, Ca>();
const leaves = new Map<string, Leaf>();

export function makeCa(name: string): Ca {
  let ca = cas.get(name);
  if (ca === undefined) {
    ca = inFolder((dir) => {
      const args = [
        'req',
        '-x509',
        '-newkey',
        'ec',
        '-pkeyopt',
        'ec_paramgen_curve:P-256',
        '-nodes',
        '-keyout',
        'k',
        '-out',
        'c',
        '-subj',
        `/CN=${name}`,
      ];
      openssl(dir, [...args, '-days', '30', '-addext', 'keyUsage=critical,keyCertSign,cRLSign']);
      return { name, cert: readFileSync(join(dir, 'c')), key: readFileSync(join(dir, 'k')) };
    });
    cas.set(name, ca);
  }
  return ca;
}

export function makeLeaf(ca: Ca, o: LeafOptions): Leaf {
  const id = JSON.stringify([ca.name, o.names, o.type ?? 'ecdsa', o.purpose ?? 'server', o.days ?? 30]);
  let leaf = leaves.get(id);
  if (leaf === undefined) {
    leaf = inFolder((dir) => sign(dir, ca, o));
    leaves.set(id, leaf);
  }
  return leaf;
}

function sign(dir: string, ca: Ca, o: LeafOptions): Leaf {
  const key = o.type === 'rsa' ? ['-newkey', 'rsa:2048'] : ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256'];
  const names = o.names.map((n) => `${isIP(n) === 0 ? 'DNS' : 'IP'}:${n}`).join(',');
  writeFileSync(join(dir, 'ca.pem'), ca.cert);
  writeFileSync(join(dir, 'ca.key'), ca.key, { mode: 0o600 });
  const usage = o.purpose === 'client' ? 'clientAuth' : 'serverAuth';
  writeFileSync(
    join(dir, 'ext'),
    `subjectAltName=${names}\nextendedKeyUsage=${usage}\nbasicConstraints=CA:FALSE\nkeyUsage=digitalSignature\n`,
  );
  openssl(dir, ['req', '-new', ...key, '-nodes', '-keyout', 'k', '-out', 'r', '-subj', `/CN=${(o.names[0] ?? 'leaf').slice(0, 60)}`]);
  openssl(dir, [
    'x509',
    '-req',
    '-in',
    'r',
    '-CA',
    'ca.pem',
    '-CAkey',
    'ca.key',
    '-CAcreateserial',
    '-days',
    String(o.days ?? 30),
    '-extfile',
    'ext',
    '-out',
    'c',
  ]);
  return { cert: readFileSync(join(dir, 'c')), key: readFileSync(join(dir, 'k')) };
}

function inFolder<T>(make: (dir: string) => T): T {
  const dir = mkdtempSync(join(tmpdir(), 'spooky-certs-'));
  try {
    return make(dir);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

function openssl(cwd: string, args: readonly string[]): void {
  try {
    execFileSync('openssl', args, { cwd, stdio: ['ignore', 'ignore', 'pipe'] });
  } catch (e) {
    if ((e as NodeJS.ErrnoException).code === 'ENOENT')
      throw new Error('the tests need the `openssl` command (Debian: apt-get install openssl)', { cause: e });
    throw e;
  }
}
