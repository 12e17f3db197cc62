/** Certificates that serve although they are not valid now: where that is told. */
import { expect, test } from '@jest/globals';
import { compile } from '../../src/control/compile/index.ts';
import { untimelyCertificates } from '../../src/control/validity.ts';
import { gateway, type Document } from '../kit/documents.ts';
import { resourcesOf } from '../kit/resources.ts';
import { makeCertificate } from '../kit/x509.ts';

test('certificates that are not valid now are told at their places, as warnings: a Listener’s, an Upstream’s, and what is shown to backends', () => {
  const [notBefore, notAfter] = [Date.UTC(2026, 0, 1), Date.UTC(2026, 0, 2)];
  const old = makeCertificate({ names: ['DNS:*.a.test'], notBefore, notAfter });
  const g = gateway({ tls: { certificateRefs: [], allowUpstreamCertificates: true } })
    .certificate(makeCertificate({ names: ['DNS:*.a.test'] }))
    .certificate(old)
    .secret('brought', old);
  const backend = { addresses: [{ address: '127.0.0.1:1' }], protocol: 'H2' };
  const shown = (name: string): object => ({ clientCertificateRef: { name } });
  g.host('ok.a.test')
    .route('/')
    .named('ok')
    .with({ certificateRefs: [{ name: 'brought' }], tls: shown('tls-2') })
    .to('127.0.0.1:1');
  const other: Document = {
    apiVersion: 'spooky.dev/v1alpha1',
    kind: 'Upstream',
    metadata: { name: 'x' },
    spec: {
      hostnames: ['x.a.test'],
      backends: [
        { ...backend, name: 'a' },
        { ...backend, name: 'b', tls: shown('tls-2') },
      ],
    },
  };
  const set = resourcesOf([...g.documents(), other]);
  const compiled = compile(set, { standalone: true });
  const told = (wall: number): string[] =>
    untimelyCertificates(set, compiled, wall).map((p) => `${p.severity} ${p.object} ${p.path}: ${p.message}`);
  expect(compiled.problems.filter((p) => p.severity === 'error')).toEqual([]);
  const places = (why: string): string[] => [
    `warning Listener default/public spec.tls.certificateRefs[1]: default/tls-2: ${why}`,
    `warning Upstream default/ok spec.certificateRefs[0]: default/brought: ${why}`,
    `warning Upstream default/ok spec.tls.clientCertificateRef: default/tls-2: ${why}`,
    `warning Upstream default/x spec.backends[1].tls.clientCertificateRef: default/tls-2: ${why}`,
  ];
  const early = 'the certificate is not valid before 2026-01-01T00:00:00.000Z: until then, whoever verifies it refuses it';
  expect(told(notBefore - 1)).toEqual(places(early));
  expect(told(notBefore)).toEqual([]);
  expect(told(notAfter - 1)).toEqual([]);
  expect(told(notAfter)).toEqual(places('the certificate has expired (2026-01-02T00:00:00.000Z): whoever verifies it refuses it'));
});
