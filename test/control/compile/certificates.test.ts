import { describe, expect, test } from '@jest/globals';
import type { CertificatePart, ListenerPart } from '../../../src/contract/snapshot/index.ts';
import { compile, type Compiled } from '../../../src/control/compile/index.ts';
import { gateway, type Document, type Gateway } from '../../kit/documents.ts';
import { resourcesOf } from '../../kit/resources.ts';
import { makeCertificate, type CertificateOptions, type Issued } from '../../kit/x509.ts';

const made = new Map<string, Issued>();

/** `ec a.example *.b`: made once. */
function pem(text: string): Issued {
  const known = made.get(text);
  if (known !== undefined) return known;
  const [type, ...names] = text.split(' ');
  const o: CertificateOptions = type === 'rsa' ? { type, names } : { names };
  const issued = makeCertificate(o);
  made.set(text, issued);
  return issued;
}

const run = (from: Gateway | readonly Document[], files: Record<string, string> = {}): Compiled =>
  compile(resourcesOf(from, files), { standalone: true });
const listenerOf = (c: Compiled): ListenerPart => c.parts.get(c.listeners[0] as never) as ListenerPart;
const problems = (c: Compiled): string[] => c.problems.map((p) => `${p.severity} ${p.object} ${p.path}: ${p.message}`);

/** The entries as `names -> kinds@sources`. */
function entries(c: Compiled): string[] {
  return listenerOf(c).tls.entries.map((e) => {
    const shown = e.certificates.map((h) => {
      const part = c.parts.get(h) as CertificatePart;
      return `${part.keyType}@${part.source.replace('default/', '')}`;
    });
    return `${e.names.join(' ')} -> ${shown.join(' ')}`;
  });
}

const fallback = (c: Compiled): string | null => {
  const { tls } = listenerOf(c);
  return tls.fallback === null ? null : (entries(c)[tls.fallback] as string);
};

const resolved = (c: Compiled, kind: string, name: string) =>
  c.statuses.find((s) => s.kind === kind && s.name === name)?.conditions.find((x) => x.type === 'ResolvedRefs');

describe('certificates of a Listener', () => {
  test('names go to certificates; the first is the default', () => {
    const c = run(gateway().certificate(pem('ec a.example b.example')).certificate(pem('ec *.c.example')));
    expect(entries(c)).toEqual(['a.example b.example -> ecdsa@tls-1', '*.c.example -> ecdsa@tls-2']);
    expect(fallback(c)).toBe('a.example b.example -> ecdsa@tls-1');
    expect(problems(c)).toEqual([]);
  });

  test('ECDSA and RSA side by side, whatever their order; of two of a kind the first', () => {
    const c = run(gateway().certificate(pem('rsa a.example')).certificate(pem('ec a.example b.example')).certificate(pem('ec a.example')));
    expect(entries(c)).toEqual(['a.example -> ecdsa@tls-2 rsa@tls-1', 'b.example -> ecdsa@tls-2']);
    expect(fallback(c)).toBe('a.example -> ecdsa@tls-2 rsa@tls-1');
  });

  test('the default has a partner only when that one proves the same names', () => {
    const c = run(gateway().certificate(pem('ec a.example b.example')).certificate(pem('rsa a.example')));
    expect(entries(c)).toEqual(['a.example -> ecdsa@tls-1 rsa@tls-2', 'b.example -> ecdsa@tls-1']);
    expect(fallback(c)).toBe('b.example -> ecdsa@tls-1');
  });

  test('Reject leaves no default', () => {
    const c = run(gateway({ tls: { certificateRefs: [], unmatched: 'Reject' } }).certificate(pem('ec a.example')));
    expect(fallback(c)).toBeNull();
    expect(listenerOf(c).tls.unmatched).toBe('Reject');
    expect(entries(c)).toEqual(['a.example -> ecdsa@tls-1']);
  });

  test('a default that breaks is not replaced by the next', () => {
    const broken = { cert: pem('ec a.example').cert, key: pem('ec b.example').key };
    const c = run(gateway().certificate(broken).certificate(pem('ec b.example')));
    expect(fallback(c)).toBeNull();
    expect(entries(c)).toEqual(['b.example -> ecdsa@tls-2']);
    expect(problems(c)).toEqual([
      'error Listener default/public spec.tls.certificateRefs[0]: default/tls-1: the private key does not belong to the certificate',
    ]);
    expect(resolved(c, 'Listener', 'public')).toMatchObject({
      status: 'False',
      reason: 'InvalidCertificate',
      message: 'spec.tls.certificateRefs[0]: default/tls-1: the private key does not belong to the certificate',
    });
  });

  test('a broken one beside the default takes nothing but itself', () => {
    const c = run(gateway().certificate(pem('ec a.example')).certificate({ cert: 'x', key: 'y' }));
    expect(entries(c)).toEqual(['a.example -> ecdsa@tls-1']);
    expect(fallback(c)).toBe('a.example -> ecdsa@tls-1');
  });

  test('with none that is usable the listener stays, and refuses every handshake', () => {
    const c = run(gateway({ tls: { certificateRefs: [{ name: 'gone' }] } }));
    expect(c.listeners).toHaveLength(1);
    expect(listenerOf(c).tls).toEqual({ entries: [], fallback: null, unmatched: 'Default' });
    expect(problems(c)).toEqual(['error Listener default/public spec.tls.certificateRefs[0]: there is no Secret default/gone']);
    expect(c.statuses[0]?.conditions.find((x) => x.type === 'Programmed')).toMatchObject({
      status: 'False',
      reason: 'Pending',
      message: 'there is no usable certificate: every handshake is refused',
    });
  });

  test('a certificate for addresses alone can be the default', () => {
    const c = run(gateway().certificate(pem('ec IP:127.0.0.1')).certificate(pem('ec IP:127.0.0.2')));
    expect(entries(c)).toEqual([' -> ecdsa@tls-1']);
    expect(fallback(c)).toBe(' -> ecdsa@tls-1');
    expect([...c.parts.values()].filter((p) => p.kind === 'certificate')).toHaveLength(1);
  });

  test('Secrets of another type or namespace, and without their members', () => {
    const secret = (name: string, o: object): Document => ({
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name, namespace: 'other' },
      type: 'kubernetes.io/tls',
      data: {},
      ...o,
    });
    const refs = ['opaque', 'empty', 'half', 'good'].map((name) => ({ name, namespace: 'other' }));
    const good = pem('ec a.example');
    const data = { 'tls.crt': Buffer.from(good.cert).toString('base64'), 'tls.key': Buffer.from(good.key).toString('base64') };
    const c = run(
      gateway({ tls: { certificateRefs: refs } })
        .add(secret('opaque', { type: 'Opaque', data }))
        .add(secret('empty', {}))
        .add(secret('half', { data: { 'tls.crt': data['tls.crt'] } }))
        .add(secret('good', { data })),
    );
    expect(problems(c).map((p) => p.replace(/^.*?: /, ''))).toEqual([
      'Secret other/opaque has type Opaque, not kubernetes.io/tls',
      'Secret other/empty lacks tls.crt',
      'Secret other/half lacks tls.key',
    ]);
    expect(entries(c)).toEqual(['a.example -> ecdsa@other/good']);
  });

  test('files', () => {
    const good = pem('ec a.example');
    const g = gateway().certificateFiles('/etc/a.pem', '/etc/a.key').certificateFiles('/etc/a.pem', '/etc/none.key');
    const c = run(g, { '/etc/a.pem': good.cert, '/etc/a.key': good.key });
    expect(entries(c)).toEqual(['a.example -> ecdsa@/etc/a.pem']);
    expect(problems(c)).toEqual(['error Listener default/public spec.tls.certificateRefs[1]: /etc/none.key was not read']);
    const unreadable = compile(resourcesOf(gateway().certificateFiles('/a', '/b'), { '/a': { problem: 'does not exist' } }), {
      standalone: true,
    });
    expect(problems(unreadable)).toEqual(['error Listener default/public spec.tls.certificateRefs[0]: /a: does not exist']);
  });

  test('names that nothing covers are warned about', () => {
    const c = run(
      gateway({ hostnames: ['*.example', 'x.test'] })
        .certificate(pem('ec *.a.example'))
        .host('b.a.example', 'c.example', '*.a.example')
        .route()
        .to('127.0.0.1:1'),
    );
    expect(problems(c)).toEqual([
      'warning Listener default/public spec.tls.certificateRefs: no certificate covers *.example, c.example, x.test: clients get the default certificate, which they will not accept',
    ]);
  });
});

describe('certificates of Upstreams', () => {
  const open = (): Gateway => gateway({ tls: { certificateRefs: [], allowUpstreamCertificates: true } });
  const withCertificates = (g: Gateway, name: string, hosts: string[], ...names: string[]): Gateway => {
    names.forEach((text, i) => g.secret(`${name}-${i}`, pem(text)));
    return g
      .host(...hosts)
      .route(`/${name}`)
      .named(name)
      .with({ certificateRefs: names.map((_, i) => ({ name: `${name}-${i}` })) })
      .to('127.0.0.1:1');
  };

  test('only for hostnames of their own, whichever side has the wildcard', () => {
    const g = open();
    withCertificates(
      g,
      'u',
      ['a.example', '*.w.example', 'x.y.other.example'],
      'ec *.example *.w.example d.w.example c.d.w.example foreign.test *.deep.w.example *.other.example',
    );
    const c = run(g);
    expect(entries(c)).toEqual(['*.deep.w.example *.w.example a.example c.d.w.example d.w.example -> ecdsa@u-0']);
    expect(fallback(c)).toBeNull();
  });

  test('as far as the listener has the names', () => {
    const g = open().with({ hostnames: ['a.example', '*.b.example'] });
    withCertificates(g, 'u', ['*'], 'ec a.example c.example *.b.example *.example');
    expect(entries(run(g))).toEqual(['*.b.example a.example -> ecdsa@u-0']);
  });

  test('the Listener wins a name, then the older Upstream; RSA and ECDSA are of one owner', () => {
    const g = open().certificate(pem('ec a.example'));
    withCertificates(g, 'u1', ['a.example', 'b.example'], 'rsa a.example b.example');
    withCertificates(g, 'u2', ['b.example', 'c.example'], 'ec b.example c.example', 'rsa c.example');
    const c = run(g);
    expect(entries(c)).toEqual(['a.example -> ecdsa@tls-1', 'b.example -> rsa@u1-0', 'c.example -> ecdsa@u2-0 rsa@u2-1']);
    expect(problems(c)).toEqual([
      'warning Upstream default/u1 spec.certificateRefs: the Listener or an older Upstream has the certificate for a.example',
      'warning Upstream default/u2 spec.certificateRefs: the Listener or an older Upstream has the certificate for b.example',
    ]);
    expect(fallback(c)).toBe('a.example -> ecdsa@tls-1');
  });

  test('not where the Listener does not allow it', () => {
    const g = gateway().certificate(pem('ec a.example'));
    withCertificates(g, 'u', ['b.example'], 'ec b.example');
    const c = run(g);
    expect(entries(c)).toEqual(['a.example -> ecdsa@tls-1']);
    expect(problems(c)).toContain(
      'warning Upstream default/u spec.certificateRefs: no Listener that takes this Upstream allows certificates of Upstreams (tls.allowUpstreamCertificates)',
    );
    expect([...c.parts.values()].filter((p) => p.kind === 'certificate')).toHaveLength(1);
  });

  test('nor of an Upstream that lost all of its routes', () => {
    const g = open();
    withCertificates(g, 'u', ['a.example'], 'ec a.example');
    g.secret('late-0', pem('rsa a.example'))
      .host('a.example')
      .route('/u')
      .named('v')
      .with({ certificateRefs: [{ name: 'late-0' }] })
      .to('127.0.0.1:1');
    expect(entries(run(g))).toEqual(['a.example -> ecdsa@u-0']);
  });

  test('a broken one is told, and its routes stay', () => {
    const g = open().certificate(pem('ec *.example'));
    g.host('b.example')
      .route()
      .with({ certificateRefs: [{ name: 'gone' }] })
      .to('127.0.0.1:1');
    const c = run(g);
    expect(problems(c)).toEqual(['error Upstream default/r1 spec.certificateRefs[0]: there is no Secret default/gone']);
    expect(resolved(c, 'Upstream', 'r1')).toMatchObject({ status: 'False', reason: 'InvalidCertificate' });
    expect([...c.parts.values()].filter((p) => p.kind === 'host')).toHaveLength(1);
  });
});
