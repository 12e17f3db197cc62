/** Is this certificate and key usable? Pure: no clock (dates are judged by whoever has one) and no files. */
import { createHash, createPrivateKey, X509Certificate, type KeyObject } from 'node:crypto';
import { isIP, SocketAddress } from 'node:net';
import { err, ok, type Result } from '../lib/result.ts';
import { Secret } from '../lib/secret.ts';
import { normalisePattern } from './routes/host.ts';
import type { TlsEntryPart } from './snapshot/parts.ts';

export interface CertificateFacts {
  /** PEM, leaf first, nothing else in it. */
  readonly cert: string;
  /** PKCS #8 in PEM, whatever form it came in. */
  readonly key: Secret;
  readonly keyType: 'ecdsa' | 'rsa';
  /** DNS and IP subject alternative names, lower case. */
  readonly names: readonly string[];
  readonly notBefore: number;
  readonly notAfter: number;
  /** SHA-256 of the leaf, hex. */
  readonly fingerprint: string;
}

const MAX_CHAIN = 16;
/** Several times what systems trust. */
const MAX_BUNDLE = 1000;
/** Ten times what authorities issue; every name is compared with every hostname. */
const MAX_NAMES = 1000;
const CURVES: ReadonlySet<string> = new Set(['prime256v1', 'secp384r1']);
const PURPOSES = { server: '1.3.6.1.5.5.7.3.1', client: '1.3.6.1.5.5.7.3.2' } as const;
const ANY_PURPOSE = '2.5.29.37.0';

/** The error is one clause for people and never holds a byte of the key. */
export function inspectCertificate(
  certPem: Uint8Array,
  keyPem: Uint8Array,
  purpose: keyof typeof PURPOSES = 'server',
): Result<CertificateFacts, string> {
  const chain = readCertificates(certPem, MAX_CHAIN, 'chain');
  if (!chain.ok) return chain;
  const key = readKey(keyPem);
  if (!key.ok) return key;
  const leaf = chain.value[0] as X509Certificate;
  if (!leaf.checkPrivateKey(key.value)) return err(wrongKey(chain.value, key.value));
  const order = chainFault(chain.value);
  if (order !== null) return err(order);
  const uses = leaf.keyUsage as readonly string[] | undefined;
  if (uses !== undefined && !uses.includes(PURPOSES[purpose]) && !uses.includes(ANY_PURPOSE))
    return err(`the certificate is not meant for a ${purpose} (extended key usage)`);
  const names = readNames(leaf);
  if (!names.ok) return names;
  return ok({
    cert: chain.value.map((c) => c.toString()).join(''),
    key: new Secret(Buffer.from(key.value.export({ type: 'pkcs8', format: 'pem' }))),
    keyType: key.value.asymmetricKeyType === 'ec' ? 'ecdsa' : 'rsa',
    names: names.value,
    notBefore: leaf.validFromDate.getTime(),
    notAfter: leaf.validToDate.getTime(),
    fingerprint: createHash('sha256').update(leaf.raw).digest('hex'),
  });
}

/** Of two files, the one that an error of `inspectCertificate` is about. */
export function faultyFile(files: { readonly cert: string; readonly key: string }, keyPem: Uint8Array, error: string): string {
  const key = readKey(keyPem);
  return !key.ok && key.error === error ? files.key : files.cert;
}

/** The certificates of a bundle, as clean PEM. */
export function inspectBundle(pem: Uint8Array): Result<string, string> {
  const read = readCertificates(pem, MAX_BUNDLE, 'bundle');
  return read.ok ? ok(read.value.map((c) => c.toString()).join('')) : read;
}

interface Block {
  readonly label: string;
  readonly text: string;
}

const BEGIN = '-----BEGIN ';
const END = '-----END ';
const LABEL = /^([A-Z0-9 ]{1,64})-----/;

/** The blocks of a PEM text (RFC 7468), in one pass whatever is in it. What begins and does not end is passed over. */
function* blocksOf(pem: Uint8Array): Generator<Block> {
  const text = Buffer.from(pem).toString('latin1');
  let end = -1;
  for (let at = text.indexOf(BEGIN); at >= 0; at = text.indexOf(BEGIN, at + 1)) {
    const label = LABEL.exec(text.slice(at + BEGIN.length, at + BEGIN.length + 69))?.[1];
    if (label === undefined) continue;
    if (end < at) end = text.indexOf(END, at);
    if (end < 0) return;
    const last = `${END}${label}-----`;
    if (!text.startsWith(last, end)) continue;
    yield { label, text: text.slice(at, end + last.length) };
    at = end;
  }
}

const CERTIFICATES: ReadonlySet<string> = new Set(['CERTIFICATE', 'X509 CERTIFICATE', 'TRUSTED CERTIFICATE']);

function readCertificates(pem: Uint8Array, most: number, what: string): Result<X509Certificate[], string> {
  if (pem.length === 0) return err('there is no certificate: the text is empty');
  if (pem[0] === 0x30) return err('the certificate is DER; it must be PEM (-----BEGIN CERTIFICATE-----)');
  const blocks = [...blocksOf(pem)].filter(({ label }) => CERTIFICATES.has(label));
  if (blocks.length === 0) return err('there is no certificate in it (-----BEGIN CERTIFICATE-----)');
  if (blocks.length > most) return err(`the ${what} has ${blocks.length} certificates, at most ${most}`);
  const found: X509Certificate[] = [];
  for (const { text } of blocks) {
    try {
      found.push(new X509Certificate(text));
    } catch {
      return err(`certificate ${found.length + 1} cannot be read`);
    }
  }
  return ok(found);
}

function readKey(pem: Uint8Array): Result<KeyObject, string> {
  if (pem.length === 0) return err('there is no private key: the text is empty');
  if (pem[0] === 0x30) return err('the private key is DER; it must be PEM (-----BEGIN PRIVATE KEY-----)');
  const [key, ...others] = [...blocksOf(pem)].filter(({ label }) => label.endsWith('PRIVATE KEY'));
  if (key === undefined) return err('there is no private key in it (-----BEGIN PRIVATE KEY-----)');
  if (others.length > 0) return err('there is more than one private key in it');
  const { label, text } = key;
  if (label === 'ENCRYPTED PRIVATE KEY' || text.includes('Proc-Type: 4,ENCRYPTED'))
    return err('the private key is encrypted; it must be stored in the clear');
  let read: KeyObject;
  try {
    read = createPrivateKey(text);
  } catch {
    return err('the private key cannot be read');
  }
  const fault = keyFault(read);
  return fault === null ? ok(read) : err(fault);
}

function keyFault(key: KeyObject): string | null {
  if (key.asymmetricKeyType === 'rsa') {
    const bits = key.asymmetricKeyDetails?.modulusLength ?? 0;
    return bits >= 2048 && bits <= 8192 ? null : `the RSA key has ${bits} bits; use 2048 to 8192`;
  }
  if (key.asymmetricKeyType !== 'ec')
    return `keys of type ${key.asymmetricKeyType ?? 'unknown'} are not supported; use ECDSA (P-256, P-384) or RSA`;
  const curve = key.asymmetricKeyDetails?.namedCurve ?? 'unknown';
  return CURVES.has(curve) ? null : `the curve ${curve} is not supported; use P-256 or P-384`;
}

function wrongKey(chain: readonly X509Certificate[], key: KeyObject): string {
  const at = chain.findIndex((c) => c.checkPrivateKey(key));
  return at < 0
    ? 'the private key does not belong to the certificate'
    : `the private key belongs to certificate ${at + 1} of the chain; the leaf must come first`;
}

function chainFault(chain: readonly X509Certificate[]): string | null {
  for (let i = 1; i < chain.length; i++) {
    const [subject, issuer] = [chain[i - 1] as X509Certificate, chain[i] as X509Certificate];
    if (!subject.checkIssued(issuer) || !subject.verify(issuer.publicKey))
      return `certificate ${i + 1} of the chain did not issue certificate ${i}; each must be followed by its issuer`;
  }
  return null;
}

/** Node quotes a name that holds anything odd (a comma, a NUL): such a certificate is refused as a whole, since others may read it otherwise. */
function readNames(leaf: X509Certificate): Result<string[], string> {
  const names: string[] = [];
  if (leaf.subjectAltName === undefined) return ok(names);
  if (leaf.subjectAltName.includes('"')) return err('the certificate has a subject alternative name with characters that no name has');
  const items = leaf.subjectAltName.split(', ');
  if (items.length > MAX_NAMES) return err(`the certificate has ${items.length} names, at most ${MAX_NAMES}`);
  for (const item of items) {
    const colon = item.indexOf(':');
    const [type, value] = [item.slice(0, colon), item.slice(colon + 1)];
    if (type === 'DNS') {
      const name = value === '*' ? null : normalisePattern(value);
      if (name === null) return err(`the certificate has a name that is no host name: ${JSON.stringify(value.slice(0, 80))}`);
      names.push(name);
    } else if (type === 'IP Address') {
      if (isIP(value) === 0) return err('the certificate has a malformed IP address');
      names.push(canonicalAddress(value));
    }
  }
  return ok([...new Set(names)]);
}

/** An IP literal in its one short form (RFC 5952). */
export const canonicalAddress = (ip: string): string =>
  new SocketAddress({ address: ip, family: isIP(ip) === 6 ? 'ipv6' : 'ipv4' }).address;

/** Whether a certificate for `pattern` may be shown for `host`: a wildcard is one label (RFC 9525 s6.3). Both are lower case. */
export function certificateNameMatches(pattern: string, host: string): boolean {
  if (!pattern.startsWith('*.')) return pattern === host;
  const dot = host.indexOf('.');
  return dot > 0 && host.length - dot === pattern.length - 1 && host.endsWith(pattern.slice(1));
}

/**
 * The one rule for choosing by name, for handshakes, for 421 and for `explain` alike: the exact name, then the wildcard in place of its first label.
 * `host` is lower case, without a trailing dot.
 */
export function findByName<T>(names: ReadonlyMap<string, T>, host: string): T | null {
  const exact = names.get(host);
  if (exact !== undefined) return exact;
  const dot = host.indexOf('.');
  return dot <= 0 ? null : (names.get(`*${host.slice(dot)}`) ?? null);
}

export class TlsNames {
  private readonly byName = new Map<string, number>();

  constructor(entries: readonly TlsEntryPart[]) {
    entries.forEach((entry, i) => {
      for (const name of entry.names) if (!this.byName.has(name)) this.byName.set(name, i);
    });
  }

  /** The entry's index, or -1: unmatched. */
  find(host: string): number {
    return findByName(this.byName, host) ?? -1;
  }
}
