import { generateKeyPairSync } from 'node:crypto';
import { inspect } from 'node:util';
import { describe, expect, test } from '@jest/globals';
import { certificateNameMatches, inspectBundle, inspectCertificate, TlsNames } from '../../src/contract/tls.ts';
import { makeAuthority, makeCertificate, type CertificateOptions, type Issued } from '../kit/x509.ts';
import { leastCost } from '../kit/cost.ts';

const bytes = (text: string): Uint8Array => Buffer.from(text, 'latin1');
const look = (cert: string, key: string, purpose: 'server' | 'client' = 'server') => inspectCertificate(bytes(cert), bytes(key), purpose);

function fault(cert: string, key: string, purpose: 'server' | 'client' = 'server'): string {
  const result = look(cert, key, purpose);
  return result.ok ? 'usable' : result.error;
}

function faultOf(o: CertificateOptions): string {
  const made = makeCertificate(o);
  return fault(made.chain, made.key);
}

const root = makeAuthority();
const middle = makeAuthority('spooky test intermediate', root);
const leaf = makeCertificate({ names: ['Api.Example.COM', '*.example.com', 'IP:192.0.2.7'], issuer: middle });

test('facts of a usable pair', () => {
  const result = look(leaf.chain, leaf.key);
  if (!result.ok) throw new Error(result.error);
  expect(result.value).toMatchObject({
    keyType: 'ecdsa',
    names: ['api.example.com', '*.example.com', '192.0.2.7'],
    notBefore: Date.UTC(2023, 0, 1),
    notAfter: Date.UTC(2044, 0, 1),
    fingerprint: expect.stringMatching(/^[0-9a-f]{64}$/),
  });
  expect(result.value.cert.match(/BEGIN CERTIFICATE/g)).toHaveLength(2);
  expect(Buffer.from(result.value.key.reveal()).toString()).toBe(leaf.key);
  expect(inspect(result.value) + JSON.stringify(result.value)).not.toContain(leaf.key.split('\n')[1]);
});

test.each<[CertificateOptions, 'ecdsa' | 'rsa']>([
  [{ names: ['a.example'], curve: 'secp384r1' }, 'ecdsa'],
  [{ names: ['a.example'], type: 'rsa' }, 'rsa'],
])('%j', (o, keyType) => {
  const made = makeCertificate(o);
  expect(look(made.chain, made.key)).toMatchObject({ ok: true, value: { keyType } });
});

test('keys in the older forms come out as PKCS #8', () => {
  const sec1 = leaf.privateKey.export({ type: 'sec1', format: 'pem' }) as string;
  const parameters = '-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n';
  const result = look(leaf.chain, parameters + sec1);
  expect(result.ok && Buffer.from(result.value.key.reveal()).toString()).toBe(leaf.key);
  const rsa = makeCertificate({ type: 'rsa', names: ['a.example'] });
  const pkcs1 = rsa.privateKey.export({ type: 'pkcs1', format: 'pem' }) as string;
  const old = look(rsa.chain, pkcs1);
  expect(old.ok && Buffer.from(old.value.key.reveal()).toString()).toBe(rsa.key);
});

describe('what is refused', () => {
  const other = makeCertificate({ names: ['b.example'] });
  const encrypted = leaf.privateKey.export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'x' }) as string;
  const encryptedOld = leaf.privateKey.export({ type: 'sec1', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'x' }) as string;
  const der = Buffer.from(leaf.cert.replaceAll(/-----.*-----|\n/g, ''), 'base64').toString('latin1');
  const derKey = leaf.privateKey.export({ type: 'pkcs8', format: 'der' }).toString('latin1');
  const garbled = leaf.cert.replace(/\n.{8}/, '\nAAAAAAAA');

  test.each<[string, string, string, string]>([
    ['empty', '', leaf.key, 'there is no certificate: the text is empty'],
    ['text', 'hello', leaf.key, 'there is no certificate in it (-----BEGIN CERTIFICATE-----)'],
    ['DER', der, leaf.key, 'the certificate is DER; it must be PEM (-----BEGIN CERTIFICATE-----)'],
    ['garbled', garbled, leaf.key, 'certificate 1 cannot be read'],
    ['no key', leaf.chain, '', 'there is no private key: the text is empty'],
    ['a certificate for a key', leaf.chain, leaf.chain, 'there is no private key in it (-----BEGIN PRIVATE KEY-----)'],
    ['DER key', leaf.chain, derKey, 'the private key is DER; it must be PEM (-----BEGIN PRIVATE KEY-----)'],
    ['encrypted', leaf.chain, encrypted, 'the private key is encrypted; it must be stored in the clear'],
    ['encrypted, older form', leaf.chain, encryptedOld, 'the private key is encrypted; it must be stored in the clear'],
    ['two keys', leaf.chain, leaf.key + other.key, 'there is more than one private key in it'],
    ['garbled key', leaf.chain, leaf.key.replace(/\n.{8}/, '\nAAAAAAAA'), 'the private key cannot be read'],
    ['another key', leaf.chain, other.key, 'the private key does not belong to the certificate'],
    ['leaf last', middle.cert + leaf.cert, leaf.key, 'the private key belongs to certificate 2 of the chain; the leaf must come first'],
    [
      'a gap',
      leaf.cert + root.cert,
      leaf.key,
      'certificate 2 of the chain did not issue certificate 1; each must be followed by its issuer',
    ],
    [
      'out of order',
      leaf.cert + root.cert + middle.cert,
      leaf.key,
      'certificate 2 of the chain did not issue certificate 1; each must be followed by its issuer',
    ],
    ['too long', leaf.cert + middle.cert.repeat(16), leaf.key, 'the chain has 17 certificates, at most 16'],
  ])('%s', (_title, cert, key, expected) => {
    expect(fault(cert, key)).toBe(expected);
  });

  test('an issuer of the same name with another key', () => {
    const impostor = makeAuthority('spooky test intermediate');
    expect(fault(leaf.cert + impostor.cert, leaf.key)).toBe(
      'certificate 2 of the chain did not issue certificate 1; each must be followed by its issuer',
    );
  });

  test('keys', () => {
    expect(faultOf({ names: ['a.example'], type: 'rsa', bits: 1024 })).toBe('the RSA key has 1024 bits; use 2048 to 8192');
    expect(faultOf({ names: ['a.example'], type: 'ed25519' })).toBe(
      'keys of type ed25519 are not supported; use ECDSA (P-256, P-384) or RSA',
    );
    expect(faultOf({ names: ['a.example'], curve: 'secp521r1' })).toBe('the curve secp521r1 is not supported; use P-256 or P-384');
  });

  test('Q15: names that are none', () => {
    expect(faultOf({ names: ['good.example\0.evil.example'] })).toBe(
      'the certificate has a subject alternative name with characters that no name has',
    );
    expect(faultOf({ names: ['a.example, DNS:b.example'] })).toBe(
      'the certificate has a subject alternative name with characters that no name has',
    );
    expect(faultOf({ names: ['a..example'] })).toBe('the certificate has a name that is no host name: "a..example"');
    expect(faultOf({ names: ['a*.example'] })).toBe('the certificate has a name that is no host name: "a*.example"');
    expect(faultOf({ names: ['*'] })).toBe('the certificate has a name that is no host name: "*"');
  });

  test('purposes', () => {
    const client = makeCertificate({ names: ['a.example'], usages: ['1.3.6.1.5.5.7.3.2'] });
    expect(fault(client.chain, client.key)).toBe('the certificate is not meant for a server (extended key usage)');
    expect(fault(client.chain, client.key, 'client')).toBe('usable');
    const server = makeCertificate({ names: ['a.example'], usages: ['1.3.6.1.5.5.7.3.1'] });
    expect(fault(server.chain, server.key)).toBe('usable');
    expect(fault(server.chain, server.key, 'client')).toBe('the certificate is not meant for a client (extended key usage)');
    const any = makeCertificate({ names: ['a.example'], usages: ['2.5.29.37.0'] });
    expect(fault(any.chain, any.key)).toBe('usable');
  });

  test('RFC 8446 s4.4.2.2: a key that may not sign', () => {
    const lacks = 'the certificate does not allow its key to sign: its key usage lacks digitalSignature';
    expect(faultOf({ names: ['a.example'], keyUsage: 0x20 })).toBe(lacks);
    expect(faultOf({ names: ['a.example'], ca: true, curve: 'secp384r1', keyUsage: 0x08 })).toBe(lacks);
    expect(faultOf({ names: ['a.example'], keyUsage: 0 })).toBe(lacks);
    expect(faultOf({ names: ['a.example'], keyUsage: 0xa8 })).toBe('usable');
    // What some clients take, and no engine refuses.
    expect(faultOf({ names: ['a.example'], type: 'rsa', keyUsage: 0x20 })).toBe('usable');
    const client = makeCertificate({ names: ['a.example'], keyUsage: 0x08 });
    expect(fault(client.chain, client.key, 'client')).toBe('usable');
  });

  test('RFC 5480 s2.1.1: a curve without its name', () => {
    expect(faultOf({ names: ['a.example'], parameters: true })).toBe(
      'the certificate has the parameters of its curve instead of the name; use a named curve',
    );
  });

  test('RFC 8017: RSA keys of more than two primes, or with an exponent that nobody uses', () => {
    expect(faultOf({ names: ['a.example'], primes: 3 })).toBe('the RSA key has more than two primes; use two');
    expect(faultOf({ names: ['a.example'], exponent: (1n << 33n) + 15n })).toBe(
      'the public exponent of the RSA key is too large; use 65537',
    );
    expect(faultOf({ names: ['a.example'], exponent: (1n << 33n) - 9n })).toBe('usable');
    expect(faultOf({ names: ['a.example'], exponent: 3n })).toBe('usable');
  });

  test('no error holds a byte of the key', () => {
    const key = generateKeyPairSync('ec', { namedCurve: 'secp521r1' }).privateKey.export({ type: 'pkcs8', format: 'pem' }) as string;
    expect(fault(leaf.chain, key)).not.toContain(key.split('\n')[1]);
  });
});

describe('K8: what a Secret or ConfigMap of a megabyte may hold', () => {
  const MEGABYTE = 1024 * 1024;
  const full = (unit: string): Buffer => Buffer.from(unit.repeat(Math.floor(MEGABYTE / unit.length)));
  const numbered = (unit: (i: number) => string): Buffer => Buffer.from(Array.from({ length: 40_000 }, (_, i) => unit(i)).join(''));
  const { cert, key } = makeCertificate({ names: ['DNS:a.test'] });

  test.each([
    ['beginnings', full('-----BEGIN A-----')],
    ['beginnings of certificates', full('-----BEGIN CERTIFICATE-----\n')],
    [
      'beginnings of as many kinds, and one end',
      Buffer.concat([numbered((i) => `-----BEGIN ${i}-----\n`), Buffer.from('-----END 1-----')]),
    ],
    ['beginnings and ends that do not fit', full('-----BEGIN A-----\n-----END B-----\n')],
    ['a label without end', Buffer.from(`-----BEGIN ${'A'.repeat(MEGABYTE)}`)],
    ['dashes', full('-')],
  ])('%s are read in no time', (_, bytes) => {
    const inspect = (): void => {
      expect(inspectBundle(bytes)).toMatchObject({ ok: false });
      expect(inspectCertificate(bytes, Buffer.from(key))).toMatchObject({ ok: false });
      expect(inspectCertificate(Buffer.from(cert), bytes)).toMatchObject({ ok: false });
    };
    expect(leastCost(inspect, 500, 3)).toBeLessThan(500);
  });

  test('more certificates than anybody trusts are none', () => {
    expect(inspectBundle(Buffer.from(cert.repeat(1001)))).toEqual({ ok: false, error: 'the bundle has 1001 certificates, at most 1000' });
    expect(inspectBundle(Buffer.from(cert.repeat(1000))).ok).toBe(true);
  });

  test('more names than anybody is given are none', () => {
    const of = (count: number): ReturnType<typeof inspectCertificate> => {
      const made = makeCertificate({ names: Array.from({ length: count }, (_, i) => `DNS:n${i}.test`) });
      return inspectCertificate(Buffer.from(made.cert), Buffer.from(made.key));
    };
    expect(of(1001)).toEqual({ ok: false, error: 'the certificate has 1001 names, at most 1000' });
    expect(of(1000).ok).toBe(true);
  });

  test('a block that does not end hides none that follows', () => {
    expect(inspectBundle(Buffer.from(`-----BEGIN X-----\n${cert}`))).toEqual({ ok: true, value: cert });
  });
});

test('a bundle is read whole, and comes out clean', () => {
  expect(inspectBundle(bytes(`# roots\n${root.cert}\nsome text\n${middle.cert}`))).toEqual({ ok: true, value: root.cert + middle.cert });
  expect(inspectBundle(bytes('nothing'))).toEqual({ ok: false, error: 'there is no certificate in it (-----BEGIN CERTIFICATE-----)' });
  const broken: Issued = makeCertificate();
  expect(inspectBundle(bytes(root.cert + broken.cert.replace(/\n.{8}/, '\nAAAAAAAA')))).toEqual({
    ok: false,
    error: 'certificate 2 cannot be read',
  });
});

test('Q13: names are found exactly, then by the wildcard of one label', () => {
  const names = new TlsNames([
    { names: ['*.example.com', 'b.example'], certificates: [] },
    { names: ['a.example.com', '*.example.com'], certificates: [] },
  ]);
  expect(names.find('a.example.com')).toBe(1);
  expect(names.find('b.example.com')).toBe(0);
  expect(names.find('b.example')).toBe(0);
  for (const none of ['example.com', 'x.b.example.com', '', '.example.com', 'com', '*', '__proto__', 'constructor.x'])
    expect(names.find(none)).toBe(-1);
});

test('a wildcard of a certificate is one label', () => {
  expect(certificateNameMatches('*.example.com', 'a.example.com')).toBe(true);
  expect(certificateNameMatches('*.example.com', 'a.b.example.com')).toBe(false);
  expect(certificateNameMatches('*.example.com', 'example.com')).toBe(false);
  expect(certificateNameMatches('*.example.com', '.example.com')).toBe(false);
  expect(certificateNameMatches('a.example.com', 'a.example.com')).toBe(true);
});
