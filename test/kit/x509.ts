/** Certificates for tests, made in process: a small DER writer and node:crypto's keys. */
import { createHash, createPrivateKey, createPublicKey, generateKeyPairSync, generatePrimeSync, sign, type KeyObject } from 'node:crypto';

export interface Issued {
  /** PEM: this one, then its issuers but for the root. */
  readonly chain: string;
  /** PEM of this certificate alone. */
  readonly cert: string;
  /** PEM, PKCS #8. */
  readonly key: string;
  readonly privateKey: KeyObject;
  readonly subject: string;
  readonly root: boolean;
}

export interface CertificateOptions {
  readonly subject?: string;
  /** `DNS:` names and `IP:` literals; absent: no extension. */
  readonly names?: readonly string[];
  readonly type?: 'ecdsa' | 'rsa' | 'ed25519';
  readonly curve?: string;
  /** Of the curve, instead of its name. */
  readonly parameters?: boolean;
  readonly bits?: number;
  /** Of an RSA key: two, as a rule. */
  readonly primes?: number;
  /** Of an RSA key: 65537, as a rule. */
  readonly exponent?: bigint;
  /** Milliseconds since the epoch. */
  readonly notBefore?: number;
  readonly notAfter?: number;
  readonly issuer?: Issued;
  readonly ca?: boolean;
  /** How many authorities may follow, of what is none: OpenSSL reads that, and BoringSSL does not. */
  readonly pathLength?: number;
  /** Extended key usage, as object identifiers. */
  readonly usages?: readonly string[];
  /** Key usage, its first octet: 0x80 digitalSignature, 0x20 keyEncipherment, 0x08 keyAgreement. */
  readonly keyUsage?: number;
}

let serial = 1;

export function makeCertificate(o: CertificateOptions = {}): Issued {
  const { publicKey, privateKey } = keyPair(o);
  const subject = o.subject ?? o.names?.[0] ?? 'spooky test';
  const signer = o.issuer?.privateKey ?? privateKey;
  const algorithm = signatureAlgorithm(signer);
  const body = sequence(
    explicit(0, integer(2)),
    integer(serial++),
    algorithm,
    distinguishedName(o.issuer?.subject ?? subject),
    sequence(time(o.notBefore ?? Date.UTC(2023, 0, 1)), time(o.notAfter ?? Date.UTC(2044, 0, 1))),
    distinguishedName(subject),
    publicKey.export({ type: 'spki', format: 'der' }),
    explicit(3, sequence(...extensions(o))),
  );
  const signature = sign(signer.asymmetricKeyType === 'ed25519' ? null : 'sha256', body, signer);
  const cert = pem('CERTIFICATE', sequence(body, algorithm, element(0x03, Buffer.concat([Buffer.from([0]), signature]))));
  return {
    chain: cert + (o.issuer === undefined || o.issuer.root ? '' : o.issuer.chain),
    cert,
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }) as string,
    privateKey,
    subject,
    root: o.ca === true && o.issuer === undefined,
  };
}

/** A root, or an intermediate below `issuer`. */
export const makeAuthority = (subject = 'spooky test root', issuer?: Issued): Issued =>
  makeCertificate({ subject, ca: true, ...(issuer === undefined ? {} : { issuer }) });

function keyPair(o: CertificateOptions): { publicKey: KeyObject; privateKey: KeyObject } {
  if (o.primes !== undefined || o.exponent !== undefined) return oddRsa(o.primes ?? 2, o.exponent ?? 65537n);
  if (o.type === 'rsa') return generateKeyPairSync('rsa', { modulusLength: o.bits ?? 2048 });
  if (o.type === 'ed25519') return generateKeyPairSync('ed25519');
  return generateKeyPairSync('ec', { namedCurve: o.curve ?? 'prime256v1', paramEncoding: o.parameters ? 'explicit' : 'named' });
}

/** What Node does not make (RFC 8017 A.1.2). */
function oddRsa(count: number, e: bigint): { publicKey: KeyObject; privateKey: KeyObject } {
  const primes: bigint[] = [];
  while (primes.length < count) {
    const prime = generatePrimeSync(Math.ceil(2050 / count), { bigint: true });
    if ((prime - 1n) % e !== 0n && !primes.includes(prime)) primes.push(prime);
  }
  const product = (all: readonly bigint[]): bigint => all.reduce((a, b) => a * b, 1n);
  const [p = 0n, q = 0n, ...others] = primes;
  const d = inverse(e, product(primes.map((prime) => prime - 1n)));
  const further = others.map((r, i) => sequence(integer(r), integer(d % (r - 1n)), integer(inverse(product(primes.slice(0, i + 2)), r))));
  const first = [product(primes), e, d, p, q, d % (p - 1n), d % (q - 1n), inverse(q, p)].map(integer);
  const key = sequence(integer(count > 2 ? 1 : 0), ...first, ...(count > 2 ? [sequence(...further)] : []));
  const privateKey = createPrivateKey({ key, type: 'pkcs1', format: 'der' });
  return { privateKey, publicKey: createPublicKey(privateKey) };
}

/** Of `a`, modulo `m`. */
function inverse(a: bigint, m: bigint): bigint {
  let [r, next, x, nextX] = [m, a % m, 0n, 1n];
  while (next !== 0n) {
    const times = r / next;
    [r, next] = [next, r - times * next];
    [x, nextX] = [nextX, x - times * nextX];
  }
  return ((x % m) + m) % m;
}

function signatureAlgorithm(key: KeyObject): Buffer {
  if (key.asymmetricKeyType === 'rsa') return sequence(oid('1.2.840.113549.1.1.11'), element(0x05, Buffer.alloc(0)));
  return sequence(oid(key.asymmetricKeyType === 'ed25519' ? '1.3.101.112' : '1.2.840.10045.4.3.2'));
}

function extensions(o: CertificateOptions): Buffer[] {
  const list: Buffer[] = [];
  if (o.ca) list.push(extension('2.5.29.19', sequence(element(0x01, Buffer.from([0xff])))));
  if (o.pathLength !== undefined) list.push(extension('2.5.29.19', sequence(integer(o.pathLength))));
  if (o.names !== undefined) list.push(extension('2.5.29.17', sequence(...o.names.map(generalName))));
  if (o.usages !== undefined) list.push(extension('2.5.29.37', sequence(...o.usages.map(oid))));
  if (o.keyUsage !== undefined) list.push(extension('2.5.29.15', element(0x03, Buffer.from([0, o.keyUsage]))));
  // RFC 5280 wants at least one extension where there is the list.
  if (list.length === 0) list.push(extension('2.5.29.14', element(0x04, createHash('sha1').update(String(serial)).digest())));
  return list;
}

const extension = (id: string, value: Buffer): Buffer => sequence(oid(id), element(0x04, value));

/** Four bytes or sixteen. */
function addressBytes(text: string): Buffer {
  if (!text.includes(':')) return Buffer.from(text.split('.').map(Number));
  const [head = '', tail = ''] = text.split('::');
  const groups = (part: string): number[] => (part === '' ? [] : part.split(':').map((g) => Number.parseInt(g, 16)));
  const all = text.includes('::')
    ? [...groups(head), ...Array.from({ length: 8 - groups(head).length - groups(tail).length }, () => 0), ...groups(tail)]
    : groups(text);
  return Buffer.from(all.flatMap((g) => [g >> 8, g & 0xff]));
}

const generalName = (name: string): Buffer =>
  name.startsWith('IP:') ? element(0x87, addressBytes(name.slice(3))) : element(0x82, Buffer.from(name.replace(/^DNS:/, ''), 'latin1'));

const distinguishedName = (cn: string): Buffer => sequence(element(0x31, sequence(oid('2.5.4.3'), element(0x0c, Buffer.from(cn, 'utf8')))));

/** GeneralizedTime is for years from 2050; RFC 5280 wants UTCTime before. */
function time(ms: number): Buffer {
  const digits = `${new Date(ms).toISOString().replaceAll(/[-:T]/g, '').slice(0, 14)}Z`;
  return new Date(ms).getUTCFullYear() >= 2050 ? element(0x18, Buffer.from(digits)) : element(0x17, Buffer.from(digits.slice(2)));
}

function oid(dotted: string): Buffer {
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number);
  const octets = [first * 40 + second];
  for (const arc of rest) {
    const groups = [arc & 0x7f];
    for (let n = Math.floor(arc / 128); n > 0; n = Math.floor(n / 128)) groups.unshift((n & 0x7f) | 0x80);
    octets.push(...groups);
  }
  return element(0x06, Buffer.from(octets));
}

function integer(n: number | bigint): Buffer {
  const hex = n.toString(16);
  const octets = Buffer.from(hex.length % 2 === 0 ? hex : `0${hex}`, 'hex');
  // A first octet of zero: it is not negative.
  return element(0x02, (octets[0] as number) & 0x80 ? Buffer.concat([Buffer.of(0), octets]) : octets);
}

const sequence = (...items: Buffer[]): Buffer => element(0x30, Buffer.concat(items));
const explicit = (tag: number, item: Buffer): Buffer => element(0xa0 + tag, item);

function element(tag: number, content: Buffer): Buffer {
  const length = content.length;
  const head = length < 128 ? [tag, length] : length < 256 ? [tag, 0x81, length] : [tag, 0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from(head), content]);
}

const pem = (label: string, der: Buffer): string =>
  `-----BEGIN ${label}-----\n${(der.toString('base64').match(/.{1,64}/g) ?? []).join('\n')}\n-----END ${label}-----\n`;
