import { isIP } from 'node:net';
import { makeAuthority, makeCertificate, type Issued } from './x509.ts';

/** Certificates for tests by name, made once in a process. */
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
}

const USAGE = { server: '1.3.6.1.5.5.7.3.1', client: '1.3.6.1.5.5.7.3.2' } as const;

const authorities = new Map<string, Issued>();
const leaves = new Map<string, Leaf>();

const pem = ({ cert, key }: Issued): Leaf => ({ cert: Buffer.from(cert), key: Buffer.from(key) });

function authority(name: string): Issued {
  let issued = authorities.get(name);
  if (issued === undefined) {
    issued = makeAuthority(name);
    authorities.set(name, issued);
  }
  return issued;
}

export const makeCa = (name: string): Ca => ({ name, ...pem(authority(name)) });

export function makeLeaf(ca: Ca, { names, type = 'ecdsa', purpose = 'server' }: LeafOptions): Leaf {
  const id = JSON.stringify([ca.name, names, type, purpose]);
  let leaf = leaves.get(id);
  if (leaf === undefined) {
    leaf = pem(
      makeCertificate({
        subject: (names[0] ?? 'leaf').slice(0, 60),
        names: names.map((n) => `${isIP(n) === 0 ? 'DNS' : 'IP'}:${n}`),
        type,
        issuer: authority(ca.name),
        usages: [USAGE[purpose]],
      }),
    );
    leaves.set(id, leaf);
  }
  return leaf;
}
