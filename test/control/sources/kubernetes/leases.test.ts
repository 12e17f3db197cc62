import { expect, test } from '@jest/globals';
import type { ApiAnswer, ApiRequest, KubeApi } from '../../../../src/control/sources/kubernetes/api.ts';
import { createLeaseClient, LEASE_TIMEOUT_MS } from '../../../../src/control/sources/kubernetes/leases.ts';
import type { LeaseRecord } from '../../../../src/control/status/client.ts';
import { ManualClock } from '../../../../src/lib/clock.ts';
import { failure } from './scripted.ts';

const RECORD: LeaseRecord = {
  holderIdentity: 'pod_uid',
  leaseDurationSeconds: 15,
  acquireTime: '2026-11-21T10:11:12.345000Z',
  renewTime: '2026-11-21T10:11:14.345000Z',
  leaseTransitions: 3,
};

function setUp(...answers: ApiAnswer[]) {
  const clock = new ManualClock();
  const asked: ApiRequest[] = [];
  const api: KubeApi = {
    request: (request) => {
      asked.push(request);
      const answer = answers.shift();
      if (answer !== undefined) return Promise.resolve(answer);
      return new Promise((resolve) => request.signal?.addEventListener('abort', () => resolve({ ok: false, error: failure('aborted') })));
    },
    stream: () => Promise.resolve(null),
    close: () => undefined,
  };
  return { clock, asked, client: createLeaseClient({ api, clock, namespace: 'sys', name: 'spooky-leader' }) };
}

const lease = (spec: unknown, metadata: unknown = { resourceVersion: '9' }): ApiAnswer => ({
  ok: true,
  status: 200,
  body: { metadata, spec },
});
const PATH = '/apis/coordination.k8s.io/v1/namespaces/sys/leases';

test('a lease is read', async () => {
  const { client, asked, clock } = setUp(lease(RECORD));
  expect(await client.get()).toEqual({ ok: true, record: RECORD, resourceVersion: '9' });
  expect(asked).toEqual([{ method: 'GET', path: `${PATH}/spooky-leader`, signal: expect.any(AbortSignal) }]);
  expect(clock.pending()).toBe(0);
});

test('one is made', async () => {
  const { client, asked } = setUp(lease(RECORD));
  await client.create(RECORD);
  expect(asked[0]).toMatchObject({ method: 'POST', path: PATH });
  expect(asked[0]?.body).toEqual({
    apiVersion: 'coordination.k8s.io/v1',
    kind: 'Lease',
    metadata: { namespace: 'sys', name: 'spooky-leader' },
    spec: RECORD,
  });
});

test('one is written with its version, and keeps what others have put on it', async () => {
  const metadata = {
    resourceVersion: '9',
    uid: 'u',
    labels: { team: 'edge' },
    annotations: { a: 'b' },
    managedFields: [{}],
    creationTimestamp: 'x',
  };
  const { client, asked } = setUp(lease({}, metadata), lease(RECORD));
  await client.get();
  await client.update(RECORD, '9');
  expect(asked[1]).toMatchObject({ method: 'PUT', path: `${PATH}/spooky-leader` });
  expect(asked[1]?.body).toEqual({
    apiVersion: 'coordination.k8s.io/v1',
    kind: 'Lease',
    metadata: {
      namespace: 'sys',
      name: 'spooky-leader',
      uid: 'u',
      resourceVersion: '9',
      labels: { team: 'edge' },
      annotations: { a: 'b' },
    },
    spec: RECORD,
  });
});

test('a record that is empty, or nonsense, is one that nobody holds', async () => {
  const empty = { holderIdentity: '', leaseDurationSeconds: 0, acquireTime: '', renewTime: '', leaseTransitions: 0 };
  const wrong = { holderIdentity: 7, leaseDurationSeconds: -1, acquireTime: {}, renewTime: null, leaseTransitions: 'x' };
  const { client } = setUp(lease(undefined), lease(null), lease(wrong), lease({ ...RECORD, leaseDurationSeconds: 1e12 }));
  for (let i = 0; i < 3; i++) expect(await client.get()).toMatchObject({ ok: true, record: empty });
  expect(await client.get()).toMatchObject({ record: { leaseDurationSeconds: 86_400 } });
});

test('what is no Lease is a failure', async () => {
  const { client } = setUp({ ok: true, status: 200, body: '<html>' }, lease(RECORD, {}), lease(RECORD, 'x'));
  for (let i = 0; i < 3; i++) expect(await client.get()).toEqual({ ok: false, kind: 'failed', message: 'the answer is no Lease' });
});

test.each([
  ['not_found', 'missing'],
  ['conflict', 'conflict'],
  ['forbidden', 'failed'],
  ['server', 'failed'],
  ['connection', 'failed'],
] as const)('%s is %s', async (kind, known) => {
  const { client } = setUp({ ok: false, error: failure(kind) });
  expect(await client.get()).toEqual({ ok: false, kind: known, message: `${kind}: scripted ${kind}` });
});

test('a server that does not answer is given up in time for another try', async () => {
  const { client, clock } = setUp();
  const answer = client.update(RECORD, '9');
  clock.advance(LEASE_TIMEOUT_MS);
  expect(await answer).toEqual({ ok: false, kind: 'failed', message: 'aborted: scripted aborted' });
});
