import { expect, test } from '@jest/globals';
import type { ObjectStatus } from '../../../src/control/compile/index.ts';
import { CONDITION_REASONS } from '../../../src/control/compile/index.ts';
import type { ObjectRef } from '../../../src/control/status/client.ts';
import { plan } from '../../../src/control/status/documents.ts';
import { atTime } from '../../../src/control/status/validity.ts';
import { remedyFor } from '../../../src/control/status/remedies.ts';
import { turns } from '../../../src/control/status/turns.ts';
import { BAD, CONTROLLER, listenerStatus, upstreamStatus } from './cluster.ts';

const refOf = ({ kind, namespace, name, uid }: ObjectStatus): ObjectRef => ({ kind, namespace, name, uid });
const seenAs = (status: ObjectStatus, wall = 0): unknown =>
  plan(atTime(status, wall), null, CONTROLLER, { generation: status.generation, status: {} }, 0)?.document;

const between = (before: ObjectStatus | null, after: ObjectStatus, wall = 0) =>
  turns(refOf(after), CONTROLLER, before === null ? {} : seenAs(before, 0), seenAs(after, wall));
const short = (events: ReturnType<typeof turns>): string[] => events.map((e) => `${e.type} ${e.reason} ${e.action}`);

const GOOD = upstreamStatus();
const NO_BACKEND = upstreamStatus('web/api', { bad: [BAD.refs] });
const REFUSED = upstreamStatus('web/api', { bad: [BAD.invalid, BAD.pending] });

test('good to bad is a warning that names cause and remedy', () => {
  expect(between(GOOD, NO_BACKEND)).toEqual([
    {
      regarding: { kind: 'Upstream', namespace: 'web', name: 'api', uid: 'uid-web/api' },
      type: 'Warning',
      reason: 'InvalidBackend',
      action: 'Resolve',
      note: 'there is no Service web/x. Correct the backend; requests of its share are answered with 500 until then.',
    },
  ]);
});

test.each([
  ['good stays good', GOOD, GOOD, []],
  ['bad stays bad', NO_BACKEND, NO_BACKEND, []],
  ['bad for another reason', NO_BACKEND, upstreamStatus('web/api', { bad: [{ ...BAD.refs, reason: 'RefNotPermitted' }] }), []],
  ['bad becomes good', NO_BACKEND, GOOD, ['Normal ResolvedRefs Resolve']],
  ['what follows from a cause is not said', GOOD, REFUSED, ['Warning Invalid Accept']],
  ['one event when everything is good again', REFUSED, GOOD, ['Normal Valid Accept']],
  [
    'two causes are two events',
    GOOD,
    upstreamStatus('web/api', { bad: [BAD.refs, BAD.conflict] }),
    ['Warning InvalidBackend Resolve', 'Warning Conflict Accept'],
  ],
  ['half good is not good', upstreamStatus('web/api', { bad: [BAD.refs, BAD.conflict] }), NO_BACKEND, []],
  ['pending alone is said of what was served', GOOD, upstreamStatus('web/api', { bad: [BAD.pending] }), ['Warning Pending Program']],
  ['pending is not said of what is new', null, upstreamStatus('web/api', { bad: [BAD.pending] }), []],
  ['new and good', null, GOOD, []],
  ['new and bad', null, REFUSED, ['Warning Invalid Accept']],
  [
    'a port that is not published',
    listenerStatus(),
    listenerStatus('sys/public', { bad: [BAD.unpublished] }),
    ['Warning PortNotPublished Publish'],
  ],
])('%s', (_, before, after, expected) => {
  expect(short(between(before, after))).toEqual(expected);
});

test('an address that is not bound is a cause of its own', () => {
  const message = 'UDP 192.0.2.1:8443 cannot be bound: held by process 7 (nginx)';
  const unbound = listenerStatus('sys/public', { bad: [{ type: 'Programmed', status: 'False', reason: 'AddressNotBound', message }] });
  expect(between(listenerStatus(), unbound).map((e) => e.note)).toEqual([
    `${message}. Free the address, or change spec.port or spec.addresses.`,
  ]);
  expect(short(between(unbound, listenerStatus()))).toEqual(['Normal Programmed Program']);
});

test('a certificate that expires and one that is renewed turn, although the condition stays', () => {
  const served = listenerStatus('sys/public', { certificates: [{ source: 'sys/tls', notBefore: 0, notAfter: 1000 }] });
  const renewed = listenerStatus('sys/public', { certificates: [{ source: 'sys/tls', notBefore: 0, notAfter: 9000 }] });
  const now = seenAs(served, 2000);
  const expired = turns(refOf(served), CONTROLLER, seenAs(served, 0), now);
  expect(short(expired)).toEqual(['Warning CertificateExpired Resolve']);
  expect(expired[0]?.note).toContain('certificates that have expired: sys/tls. Renew');
  expect(turns(refOf(served), CONTROLLER, now, now)).toEqual([]);
  expect(short(turns(refOf(served), CONTROLLER, now, seenAs(renewed, 2000)))).toEqual(['Normal CertificateRenewed Resolve']);
});

test('taking our entry away is no news', () => {
  expect(turns(refOf(GOOD), CONTROLLER, seenAs(NO_BACKEND), {})).toEqual([]);
});

test('a note has at most a kilobyte, and its remedy whole', () => {
  const message = '\u20ac'.repeat(400);
  const [event] = between(GOOD, upstreamStatus('web/api', { bad: [{ ...BAD.refs, message }] }));
  expect(Buffer.byteLength(event?.note ?? '')).toBeLessThanOrEqual(1024);
  expect(event?.note).toMatch(/\u20ac\.\.\. ?\.? ?Correct the backend/);
  expect(event?.note).not.toContain('\ufffd');
});

test('every bad reason has a remedy for both kinds, within the limit that notes leave', () => {
  const bad = Object.values(CONDITION_REASONS).flatMap(([, ...rest]) => rest);
  expect(bad.length).toBeGreaterThan(10);
  for (const reason of bad) {
    for (const kind of ['Listener', 'Upstream'] as const) {
      expect(remedyFor(reason, kind)).toMatch(/^[A-Z].*\.$/);
      expect(Buffer.byteLength(remedyFor(reason, kind))).toBeLessThan(290);
    }
  }
  expect(remedyFor('constructor', 'Listener')).toBe('');
});
