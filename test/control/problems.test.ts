/** Which states are served: a rule of problems.ts. */
import { expect, test } from '@jest/globals';
import { compile, type Compiled } from '../../src/control/compile/index.ts';
import { blocks } from '../../src/control/problems.ts';
import { gateway, type Document } from '../kit/documents.ts';
import { resourcesOf } from '../kit/resources.ts';
import { makeCertificate } from '../kit/x509.ts';

const leaf = makeCertificate({ names: ['DNS:*.a.test'] });
const upstream = (name: string, ca: string): Document => ({
  apiVersion: 'spooky.dev/v1alpha1',
  kind: 'Upstream',
  metadata: { name },
  spec: {
    hostnames: [`${name}.a.test`],
    protocol: 'H2',
    tls: { caRef: { name: ca } },
    backends: [{ addresses: [{ address: '127.0.0.1:1' }] }],
  },
});
const state = (...more: Document[]): Compiled =>
  compile(resourcesOf([...gateway().certificate(leaf).host('ok.a.test').route('/').to('127.0.0.1:1').documents(), ...more]), {
    standalone: true,
  });
const refused = (next: Compiled, serving: Compiled | null): boolean => blocks(next.problems, next, serving);

test('a group whose reference does not resolve does not keep the first state from serving', () => {
  const broken = state(upstream('x', 'gone'));
  expect(broken.problems.map((p) => p.severity)).toEqual(['error']);
  expect(refused(broken, null)).toBe(false);
});

test('such a reference that a change brings keeps the good state, one that was broken before does not', () => {
  const broken = state(upstream('x', 'gone'));
  expect(refused(broken, state())).toBe(true);
  expect(refused(state(upstream('x', 'gone'), upstream('y', 'gone-too')), broken)).toBe(true);
  expect(refused(state(upstream('x', 'gone')), broken)).toBe(false);
  expect(refused(state(), broken)).toBe(false);
});

test('a conflict keeps no state from serving: the older object has what both want', () => {
  const loser: Document = {
    ...upstream('x', 'gone'),
    spec: { hostnames: ['ok.a.test'], backends: [{ addresses: [{ address: '127.0.0.1:1' }] }] },
  };
  const conflict = state(loser);
  expect(conflict.problems.map((p) => p.severity)).toEqual(['error']);
  expect(refused(conflict, null)).toBe(false);
  expect(refused(conflict, state())).toBe(false);
});

test('every other error keeps a state from serving', () => {
  const astray: Document = {
    ...upstream('x', 'gone'),
    spec: { ...upstream('x', 'gone').spec, listeners: [{ name: 'no', namespace: 'no' }] },
  };
  const lost = state(astray);
  expect(lost.problems.some((p) => p.severity === 'error' && !lost.bearable.has(p))).toBe(true);
  expect(refused(lost, null)).toBe(true);
  expect(refused(lost, lost)).toBe(true);
});
