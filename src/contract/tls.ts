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
  const unfit = purpose === 'server' ? unfitness(leaf, key.value) : null;
  if (unfit !== null) return err(unfit);
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

/**
 * What OpenSSL can read and the engines' BoringSSL cannot serve with. It has to be told here: an engine takes a table of all certificates or none, so
 * that one would keep the others from being served.
 */
function unfitness(leaf: X509Certificate, key: KeyObject): string | null {
  if (key.asymmetricKeyType === 'rsa') return unfitRsa(key);
  if (!maySign(leaf)) return 'the certificate does not allow its key to sign: its key usage lacks digitalSignature';
  return hasNamedCurve(leaf.publicKey) ? null : 'the certificate has the parameters of its curve instead of the name; use a named curve';
}

/** RFC 8017 A.1.2: the version says whether there are more than two primes. */
function unfitRsa(key: KeyObject): string | null {
  const version = inner(key.export({ type: 'pkcs1', format: 'der' }), 0, 0)?.content;
  if (version?.equals(TWO_PRIMES) !== true) return 'the RSA key has more than two primes; use two';
  const exponent = key.asymmetricKeyDetails?.publicExponent ?? 0n;
  return exponent <= MAX_RSA_EXPONENT ? null : 'the public exponent of the RSA key is too large; use 65537';
}

const TWO_PRIMES = Buffer.of(0);
/** BoringSSL's. */
const MAX_RSA_EXPONENT = (1n << 33n) - 1n;

const CONTEXT_3 = 0xa3;
const OBJECT_IDENTIFIER = 0x06;
/** 2.5.29.15. */
const KEY_USAGE = Buffer.from('551d0f', 'hex');
const DIGITAL_SIGNATURE = 0x80;

/** Whether its key usage, if it has one, allows what a server does with its key (RFC 8446 s4.4.2.2). Node tells the extended key usage alone. */
function maySign(leaf: X509Certificate): boolean {
  const body = inner(leaf.raw, 0, 0)?.content;
  const explicit = body === undefined ? undefined : elements(body).find(({ tag }) => tag === CONTEXT_3);
  const extensions = explicit === undefined ? undefined : inner(explicit.content, 0);
  for (const { content } of extensions === undefined ? [] : elements(extensions.content)) {
    const parts = elements(content);
    if (parts[0]?.content.equals(KEY_USAGE) !== true) continue;
    // The first octet of the bit string says how many bits of its last one are none.
    const bits = inner(parts.at(-1)?.content ?? Buffer.alloc(0), 0)?.content[1] ?? 0;
    return (bits & DIGITAL_SIGNATURE) !== 0;
  }
  return true;
}

/** RFC 5480 s2.1.1. */
const hasNamedCurve = (key: KeyObject): boolean => inner(key.export({ type: 'spki', format: 'der' }), 0, 0, 1)?.tag === OBJECT_IDENTIFIER;

interface Element {
  readonly tag: number;
  readonly content: Buffer;
}

/** What stands side by side in DER that OpenSSL has read: tags of one octet. */
function elements(der: Buffer): Element[] {
  const found: Element[] = [];
  for (let at = 0; at + 2 <= der.length;) {
    const short = der[at + 1] as number;
    const octets = short < 0x80 ? 0 : short & 0x7f;
    if (octets > 4 || at + 2 + octets > der.length) break;
    const begin = at + 2 + octets;
    const end = begin + (octets === 0 ? short : der.readUIntBE(at + 2, octets));
    found.push({ tag: der[at] as number, content: der.subarray(begin, end) });
    at = end;
  }
  return found;
}

/** The one at these places, each within the one before. */
function inner(der: Buffer, ...path: readonly number[]): Element | undefined {
  let content = der;
  let found: Element | undefined;
  for (const at of path) {
    found = elements(content)[at];
    if (found === undefined) return undefined;
    ({ content } = found);
  }
  return found;
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
