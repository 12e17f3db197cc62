/** Certificates that serve on although they have expired: where that is told. */
import { expect, test } from '@jest/globals';
import { compile } from '../../src/control/compile/index.ts';
import { expiredCertificates } from '../../src/control/expired.ts';
import { gateway, type Document } from '../kit/documents.ts';
import { resourcesOf } from '../kit/resources.ts';
import { makeCertificate } from '../kit/x509.ts';

test('certificates that have expired are told at their places, as warnings: a Listener’s, an Upstream’s, and what is shown to backends', () => {
  const notAfter = Date.UTC(2026, 0, 2);
  const old = makeCertificate({ names: ['DNS:*.a.test'], notBefore: Date.UTC(2026, 0, 1), notAfter });
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
    expiredCertificates(set, compiled, wall).map((p) => `${p.severity} ${p.object} ${p.path}: ${p.message}`);
  expect(compiled.problems.filter((p) => p.severity === 'error')).toEqual([]);
  expect(told(notAfter - 1)).toEqual([]);
  const why = 'the certificate has expired (2026-01-02T00:00:00.000Z): whoever verifies it refuses it';
  expect(told(notAfter)).toEqual([
    `warning Listener default/public spec.tls.certificateRefs[1]: default/tls-2: ${why}`,
    `warning Upstream default/ok spec.certificateRefs[0]: default/brought: ${why}`,
    `warning Upstream default/ok spec.tls.clientCertificateRef: default/tls-2: ${why}`,
    `warning Upstream default/x spec.backends[1].tls.clientCertificateRef: default/tls-2: ${why}`,
  ]);
});
