import { describe, expect, test } from '@jest/globals';
import type { Grant } from '../../../src/contract/resources/index.ts';
import type { CertificatePart } from '../../../src/contract/snapshot/index.ts';
import type { Compiled } from '../../../src/control/compile/index.ts';
import type { Document } from '../../kit/documents.ts';
import { makeAuthority, makeCertificate } from '../../kit/x509.ts';
import {
  condition,
  grant,
  groupsOf,
  has,
  leaf,
  listener,
  listenerPart,
  partsOf,
  run,
  secret,
  statusOf,
  upstream,
  verdict,
} from './world.ts';

const PUBLIC = ['Listener', 'edge/public'] as const;
const API = ['Upstream', 'web/api'] as const;
const refs = (...certificateRefs: object[]): object => ({ tls: { certificateRefs } });
const there = secret('far', 'certs', leaf('far.example'));
const unread = (kind: string, namespace: string): string =>
  `${kind}s of namespace ${namespace} are not read: add ${namespace} to the chart's value secrets.namespaces (--secret-namespaces)`;

/** Sources of the certificates that the Listener shows. */
const shown = (c: Compiled): string[] =>
  listenerPart(c).tls.entries.flatMap((e) => e.certificates.map((hash) => (c.parts.get(hash) as CertificatePart).source));

describe('K1: Secrets of other namespaces', () => {
  const documents = [there, listener(refs({ name: 'site' }, { name: 'far', namespace: 'certs' }))];
  const hidden =
    'False/RefNotPermitted: spec.tls.certificateRefs[1]: there is no Secret certs/far that namespace edge may use: it must exist, and a ReferenceGrant ' +
    'in certs must allow it (from: group spooky.dev, kind Listener, namespace edge; to: group "", kind Secret)';

  test.each<[string, readonly Grant[], boolean]>([
    ['none', [], false],
    ['every Secret', [grant('certs', 'Listener', 'edge', 'Secret')], true],
    ['this one', [grant('certs', 'Listener', 'edge', 'Secret', 'far')], true],
    ['another one', [grant('certs', 'Listener', 'edge', 'Secret', 'fa')], false],
    ['to another namespace', [grant('certs', 'Listener', 'web', 'Secret')], false],
    ['for Upstreams', [grant('certs', 'Upstream', 'edge', 'Secret')], false],
    ['of Services', [grant('certs', 'Listener', 'edge', 'Service')], false],
    ['of another group', [grant('certs', 'Listener', 'edge', 'Secret', '', 'spooky.dev')], false],
    ['in the namespace of the Listener', [grant('edge', 'Listener', 'edge', 'Secret')], false],
  ])('a grant of %s', (_title, grants, held) => {
    const c = run(documents, { grants });
    expect(shown(c)).toEqual(held ? ['edge/site', 'certs/far'] : ['edge/site']);
    expect(verdict(c, ...PUBLIC, 'ResolvedRefs')).toBe(held ? 'True/ResolvedRefs' : hidden);
    // The others serve on.
    expect(verdict(c, ...PUBLIC, 'Programmed')).toBe('True/Programmed');
  });

  test('a missing Secret, and a missing Secret that is granted, look like one that is not granted', () => {
    const grants = [grant('certs', 'Listener', 'edge', 'Secret')];
    const [, alone] = documents as [Document, Document];
    for (const c of [run(documents), run([alone]), run([alone], { grants })]) expect(verdict(c, ...PUBLIC, 'ResolvedRefs')).toBe(hidden);
  });

  test('a broken one looks the same too, until it is granted', () => {
    const broken = [secret('far', 'certs', { cert: leaf('a.example').cert, key: leaf('b.example').key }), documents[1] as Document];
    expect(verdict(run(broken), ...PUBLIC, 'ResolvedRefs')).toBe(hidden);
    expect(verdict(run(broken, { grants: [grant('certs', 'Listener', 'edge', 'Secret')] }), ...PUBLIC, 'ResolvedRefs')).toBe(
      'False/InvalidCertificate: spec.tls.certificateRefs[1]: certs/far: the private key does not belong to the certificate',
    );
  });

  test('a grant that goes takes the certificate away; without another one the Listener is not programmed', () => {
    const alone = [there, listener(refs({ name: 'far', namespace: 'certs' }))];
    const before = run(alone, { grants: [grant('certs', 'Listener', 'edge', 'Secret')] });
    expect(shown(before)).toEqual(['certs/far']);
    const after = run(alone);
    expect(partsOf(after, 'certificate')).toEqual([]);
    expect(listenerPart(after).tls).toEqual({ entries: [], fallback: null, unmatched: 'Default' });
    expect(verdict(after, ...PUBLIC, 'Programmed')).toBe('False/Pending: there is no usable certificate: every handshake is refused');
    expect(statusOf(after, ...PUBLIC).certificates).toEqual([]);
  });

  test('the own namespace written out needs none', () => {
    expect(shown(run([listener(refs({ name: 'site', namespace: 'edge' }))]))).toEqual(['edge/site']);
  });
});

describe('namespaces whose Secrets are read', () => {
  const own = secret('mine', 'web', leaf('api.example'));
  const bring = [own, listener({ tls: { allowUpstreamCertificates: true } }), upstream({ certificateRefs: [{ name: 'mine' }] })];

  test.each<[string, ReadonlySet<string> | null, boolean]>([
    ['all', null, true],
    ['this one', new Set(['web']), true],
    ['the own one alone', new Set(), false],
  ])('%s', (_title, secretNamespaces, read) => {
    const c = run(bring, {}, { secretNamespaces });
    expect(shown(c)).toEqual(read ? ['web/mine'] : []);
    expect(verdict(c, ...API, 'ResolvedRefs')).toBe(
      read ? 'True/ResolvedRefs' : `False/RefNotPermitted: spec.certificateRefs[0]: ${unread('Secret', 'web')}`,
    );
    // The requests come by another certificate.
    expect(verdict(c, ...API, 'Accepted')).toBe('True/Valid');
  });

  test('those of the installation are', () => {
    expect(shown(run([listener()], {}, { secretNamespaces: new Set() }))).toEqual(['edge/site']);
  });

  test('the text says nothing of the object, whether it is there and granted or not', () => {
    const asks = listener(refs({ name: 'far', namespace: 'certs' }));
    const grants = [grant('certs', 'Listener', 'edge', 'Secret')];
    const over = { secretNamespaces: new Set<string>() };
    for (const c of [run([there, asks], { grants }, over), run([asks], {}, over)])
      expect(verdict(c, ...PUBLIC, 'ResolvedRefs')).toBe(
        `False/RefNotPermitted: spec.tls.certificateRefs[0]: ${unread('Secret', 'certs')}`,
      );
  });

  test.each<[string, object, string, string]>([
    ['a bundle', { caRef: { name: 'ca' } }, 'caRef', 'ConfigMap'],
    ['a bundle in a Secret', { caRef: { kind: 'Secret', name: 'ca' } }, 'caRef', 'Secret'],
    ['a client certificate', { clientCertificateRef: { name: 'mine' } }, 'clientCertificateRef', 'Secret'],
  ])('K6: %s that is not read: the groups answer 500', (_title, tls, member, kind) => {
    const c = run([listener(), own, upstream({ protocol: 'H2', tls })], {}, { secretNamespaces: new Set() });
    expect(groupsOf(c)).toEqual([null]);
    expect(verdict(c, ...API, 'ResolvedRefs')).toBe(`False/RefNotPermitted: spec.tls.${member}: ${unread(kind, 'web')}`);
  });

  test('what is missing in the own namespace is named', () => {
    const c = run([listener(), upstream({ certificateRefs: [{ name: 'gone' }], protocol: 'H2', tls: { caRef: { name: 'ca' } } })]);
    expect(verdict(c, ...API, 'ResolvedRefs')).toBe(
      'False/InvalidCertificate: spec.certificateRefs[0]: there is no Secret web/gone; spec.tls.caRef: there is no ConfigMap web/ca',
    );
  });
});

describe('types of Secrets', () => {
  test.each<[string, string, string | null]>([
    ['kubernetes.io/tls', 'kubernetes.io/tls', null],
    ['Opaque with both keys', 'Opaque', null],
    ['without a type', '', null],
    ['another one', 'kubernetes.io/dockerconfigjson', 'Secret edge/own has type kubernetes.io/dockerconfigjson, not kubernetes.io/tls'],
  ])('%s', (_title, type, fault) => {
    const c = run([secret('own', 'edge', leaf('own.example'), type), listener(refs({ name: 'own' }))]);
    expect(shown(c)).toEqual(fault === null ? ['edge/own'] : []);
    expect(verdict(c, ...PUBLIC, 'ResolvedRefs')).toBe(
      fault === null ? 'True/ResolvedRefs' : `False/InvalidCertificate: spec.tls.certificateRefs[0]: ${fault}`,
    );
  });

  test('Opaque without one of them', () => {
    const half: Document = { ...secret('own', 'edge', leaf('own.example'), 'Opaque'), data: { 'tls.crt': '' } };
    expect(verdict(run([half, listener(refs({ name: 'own' }))]), ...PUBLIC, 'ResolvedRefs')).toBe(
      'False/InvalidCertificate: spec.tls.certificateRefs[0]: Secret edge/own lacks tls.key',
    );
  });
});

test('one Secret for two purposes is judged for each', () => {
  const serves = makeCertificate({ names: ['api.example'], usages: ['1.3.6.1.5.5.7.3.1'] });
  const both = { certificateRefs: [{ name: 'both' }], protocol: 'H2', tls: { clientCertificateRef: { name: 'both' } } };
  const c = run([listener({ tls: { allowUpstreamCertificates: true } }), secret('both', 'web', serves), upstream(both)]);
  expect(shown(c)).toEqual(['web/both']);
  expect(groupsOf(c)).toEqual([null]);
  expect(verdict(c, ...API, 'ResolvedRefs')).toBe(
    'False/InvalidCertificate: spec.tls.clientCertificateRef: web/both: the certificate is not meant for a client (extended key usage)',
  );
});

describe('dates', () => {
  const [notBefore, notAfter] = [Date.UTC(2023, 0, 1), Date.UTC(2024, 5, 1)];
  const old = makeCertificate({ names: ['old.example'], notAfter });

  test('an expired certificate serves, and its date is told', () => {
    const c = run([secret('old', 'edge', old), listener(refs({ name: 'old' }, { name: 'site' }, { name: 'old', namespace: 'edge' }))]);
    expect(shown(c)).toEqual(['edge/old', 'edge/site']);
    expect(condition(c, ...PUBLIC, 'ResolvedRefs').status).toBe('True');
    expect(condition(c, ...PUBLIC, 'Programmed').status).toBe('True');
    expect(statusOf(c, ...PUBLIC).certificates).toEqual([
      { source: 'edge/old', notBefore, notAfter },
      { source: 'edge/site', notBefore, notAfter: Date.UTC(2044, 0, 1) },
    ]);
  });

  test('one that an Upstream brings is told to the Upstream', () => {
    const brings = [secret('old', 'web', old), upstream({ hostnames: ['old.example'], certificateRefs: [{ name: 'old' }] })];
    const c = run([listener({ tls: { allowUpstreamCertificates: true } }), ...brings]);
    expect(shown(c)).toEqual(['web/old']);
    expect(statusOf(c, ...API).certificates).toEqual([{ source: 'web/old', notBefore, notAfter }]);
    expect(statusOf(c, ...PUBLIC).certificates).toEqual([]);
  });
});

describe('certificates of Upstreams', () => {
  const brings = (name: string, namespace: string, created: string): Document[] => [
    secret('mine', namespace, leaf('api.example', namespace)),
    upstream({ certificateRefs: [{ name: 'mine' }], matches: [{ path: { value: `/${name}` } }] }, name, namespace, created),
  ];

  test('the older has a name, whatever the order', () => {
    const documents = [...brings('young', 'shop', '2024-02-01T00:00:00Z'), ...brings('old', 'web', '2024-01-01T00:00:00Z')];
    for (const order of [documents, [...documents].reverse()]) {
      const c = run([listener({ tls: { allowUpstreamCertificates: true } }), ...order]);
      expect(shown(c)).toEqual(['web/mine']);
      expect(has(c, 'Upstream', 'shop/young')).toBe(true);
    }
  });

  test('where the Listener does not allow them they are not shown', () => {
    const c = run([listener(), ...brings('old', 'web', '2024-01-01T00:00:00Z')]);
    expect(shown(c)).toEqual(['edge/site']);
  });
});

test('a bundle of the own namespace is trusted', () => {
  const root = makeAuthority();
  const configMap: Document = {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name: 'ca', namespace: 'web' },
    data: { 'ca.crt': root.cert },
  };
  const c = run([listener(), configMap, upstream({ protocol: 'H2', tls: { caRef: { name: 'ca' } } })]);
  expect(groupsOf(c)).toMatchObject([{ tls: { ca: root.cert, serverName: 'api.web.svc' } }]);
});
