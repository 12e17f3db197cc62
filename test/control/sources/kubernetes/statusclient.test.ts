import { expect, test } from '@jest/globals';
import type { ApiAnswer, ApiErrorKind, ApiRequest, KubeApi } from '../../../../src/control/sources/kubernetes/api.ts';
import { createStatusClient } from '../../../../src/control/sources/kubernetes/statusclient.ts';
import type { EventNote, ObjectRef, StatusClient, WriteOutcome } from '../../../../src/control/status/client.ts';
import { failure } from './scripted.ts';

const AT = Date.parse('2026-11-21T10:11:12.345Z');
const LISTENER: ObjectRef = { kind: 'Listener', namespace: 'sys', name: 'public', uid: 'u1' };

function setUp(
  answer: ApiAnswer = { ok: true, status: 200, body: {} },
  instance = 'spooky-abcde',
): { asked: ApiRequest[]; client: StatusClient } {
  const asked: ApiRequest[] = [];
  const api: KubeApi = {
    request: (request) => {
      asked.push(request);
      return Promise.resolve(answer);
    },
    stream: () => Promise.resolve(null),
    close: () => undefined,
  };
  return { asked, client: createStatusClient({ api, className: 'spooky', instance, seen: () => null }) };
}

test('a status is applied below /status, by force, with the version that was seen', async () => {
  const { asked, client } = setUp();
  const outcome = await client.applyStatus(LISTENER, '77', { conditions: [] });
  expect(outcome).toEqual({ outcome: 'written', message: '', retryAfterMs: null });
  expect(asked).toEqual([
    {
      method: 'PATCH',
      path: '/apis/spooky.dev/v1alpha1/namespaces/sys/listeners/public/status?fieldManager=spooky.dev%2Fspooky&force=true',
      body: {
        apiVersion: 'spooky.dev/v1alpha1',
        kind: 'Listener',
        metadata: { namespace: 'sys', name: 'public', resourceVersion: '77' },
        status: { conditions: [] },
      },
      contentType: 'application/apply-patch+yaml',
    },
  ]);
});

test('what is taken away is left out: a server refuses a status that becomes empty', async () => {
  const { asked, client } = setUp();
  await client.applyStatus({ ...LISTENER, kind: 'Upstream', name: 'api' }, '7', {});
  expect(asked[0]?.path).toContain('/namespaces/sys/upstreams/api/status?');
  expect(asked[0]?.body).toEqual({
    apiVersion: 'spooky.dev/v1alpha1',
    kind: 'Upstream',
    metadata: { namespace: 'sys', name: 'api', resourceVersion: '7' },
  });
});

test.each<[ApiErrorKind, WriteOutcome]>([
  ['conflict', 'conflict'],
  ['not_found', 'gone'],
  ['gone', 'gone'],
  ['forbidden', 'failed'],
  ['unauthorized', 'failed'],
  ['invalid', 'failed'],
  ['throttled', 'failed'],
  ['server', 'failed'],
  ['timeout', 'failed'],
  ['connection', 'failed'],
  ['malformed', 'failed'],
  ['aborted', 'failed'],
])('%s is %s', async (kind, outcome) => {
  const { client } = setUp({ ok: false, error: failure(kind, 0, { retryAfterMs: 3000 }) });
  expect(await client.applyStatus(LISTENER, '7', {})).toEqual({ outcome, message: `${kind}: scripted ${kind}`, retryAfterMs: 3000 });
});

const NOTE: EventNote = { regarding: LISTENER, type: 'Warning', reason: 'Invalid', action: 'Accept', note: 'why' };

test('an event has everything that events.k8s.io/v1 asks for, and times of six digits', async () => {
  const { asked, client } = setUp();
  const { ok, name } = await client.createEvent(NOTE, AT);
  expect(ok).toBe(true);
  expect(name).toMatch(/^public\.[0-9a-f]{16}$/);
  expect(asked).toEqual([
    {
      method: 'POST',
      path: '/apis/events.k8s.io/v1/namespaces/sys/events',
      body: {
        apiVersion: 'events.k8s.io/v1',
        kind: 'Event',
        metadata: { namespace: 'sys', name },
        eventTime: '2026-11-21T10:11:12.345000Z',
        reportingController: 'spooky.dev/spooky',
        reportingInstance: 'spooky-abcde',
        type: 'Warning',
        reason: 'Invalid',
        action: 'Accept',
        regarding: { apiVersion: 'spooky.dev/v1alpha1', kind: 'Listener', namespace: 'sys', name: 'public', uid: 'u1' },
        note: 'why',
      },
    },
  ]);
  expect((await client.createEvent(NOTE, AT)).name).not.toBe(name);
});

test('a series is merged into its event', async () => {
  const { asked, client } = setUp();
  expect(await client.repeatEvent('sys', 'public.0', 4, AT)).toEqual({ ok: true, message: '' });
  expect(asked).toEqual([
    {
      method: 'PATCH',
      path: '/apis/events.k8s.io/v1/namespaces/sys/events/public.0',
      body: { series: { count: 4, lastObservedTime: '2026-11-21T10:11:12.345000Z' } },
      contentType: 'application/merge-patch+json',
    },
  ]);
});

test('long names stay names, and long instances within their limit', async () => {
  const { asked, client } = setUp(undefined, 'p'.repeat(200));
  const name = `${'a'.repeat(235)}.${'b'.repeat(17)}`;
  const event = await client.createEvent({ ...NOTE, regarding: { ...LISTENER, name } }, AT);
  expect(event.name).toMatch(/^a{235}\.[0-9a-f]{16}$/);
  expect(asked[0]?.body).toMatchObject({ reportingInstance: 'p'.repeat(128) });
});

test('a refusal is passed on', async () => {
  const { client } = setUp({ ok: false, error: failure('forbidden', 403) });
  expect(await client.createEvent(NOTE, AT)).toMatchObject({ ok: false, message: 'scripted forbidden' });
  expect(await client.repeatEvent('sys', 'x', 2, AT)).toEqual({ ok: false, message: 'scripted forbidden' });
});

test('what is seen and held comes from whoever watches', () => {
  const api: KubeApi = { request: () => Promise.reject(new Error('none')), stream: () => Promise.resolve(null), close: () => undefined };
  const seen = { uid: 'u', resourceVersion: '1', generation: 1, status: {} };
  const client = createStatusClient({ api, className: 'c', instance: 'i', seen: () => seen, held: () => [LISTENER] });
  expect(client.seen(LISTENER)).toBe(seen);
  expect([...(client.held?.() ?? [])]).toEqual([LISTENER]);
  expect(setUp().client.held).toBeUndefined();
});
