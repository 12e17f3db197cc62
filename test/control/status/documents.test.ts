import { expect, test } from '@jest/globals';
import type { ObjectStatus } from '../../../src/control/compile/index.ts';
import { plan, releasePlan, type EndpointCounts, type InstallationEntry } from '../../../src/control/status/documents.ts';
import { listenerStatus as listenerSchema, upstreamStatus as upstreamSchema } from '../../../src/contract/resources/status.ts';
import { BAD, conditions, CONTROLLER, listenerStatus, UPSTREAM_TYPES, upstreamStatus } from './cluster.ts';

const WALL = Date.parse('2026-11-21T10:11:12.345Z');
const LATER = WALL + 3_600_000;

const planned = (status: ObjectStatus, seen: unknown = {}, wall = WALL, endpoints: EndpointCounts | null = null, generation = 1) =>
  plan(status, endpoints, CONTROLLER, { generation, status: seen }, wall);

const documentOf = (...args: Parameters<typeof planned>): unknown => planned(...args)?.document;

test('a Listener gets addresses, attached Upstreams and conditions, of its generation, with the time in whole seconds', () => {
  const document = documentOf(listenerStatus('sys/public', { generation: 3, attachedUpstreams: 2 }));
  const at = { observedGeneration: 3, lastTransitionTime: '2026-11-21T10:11:12Z' };
  expect(document).toEqual({
    addresses: [{ type: 'IPAddress', value: '203.0.113.7', port: 443 }],
    attachedUpstreams: 2,
    conditions: [
      { type: 'Accepted', status: 'True', reason: 'Valid', message: '', ...at },
      { type: 'ResolvedRefs', status: 'True', reason: 'ResolvedRefs', message: '', ...at },
      { type: 'Programmed', status: 'True', reason: 'Programmed', message: '', ...at },
      { type: 'Published', status: 'True', reason: 'Published', message: '', ...at },
    ],
  });
  expect(listenerSchema.parse(document)).toEqual(document);
});

test('an Upstream gets one entry, that of this installation', () => {
  const document = documentOf(upstreamStatus('web/api', { bad: [BAD.conflict] }), {}, WALL, { total: 12, ready: 11 });
  const at = { observedGeneration: 1, lastTransitionTime: '2026-11-21T10:11:12Z' };
  const verdicts = [
    { type: 'Accepted', status: 'True', reason: 'Valid', message: '', ...at },
    { type: 'ResolvedRefs', status: 'True', reason: 'ResolvedRefs', message: '', ...at },
    { type: 'Programmed', status: 'True', reason: 'Programmed', message: '', ...at },
    { type: 'Conflicted', status: 'True', reason: 'Conflict', message: 'an older Upstream serves a', ...at },
  ];
  expect(document).toEqual({
    installations: [
      {
        controllerName: 'spooky.dev/spooky',
        attached: '1/1',
        endpoints: { total: 12, ready: 11 },
        conditions: verdicts,
        listeners: [{ namespace: 'sys', name: 'public', conditions: verdicts }],
      },
    ],
  });
  expect(upstreamSchema.parse(document)).toEqual(document);
});

test.each([
  ['Listener', listenerStatus()],
  ['Upstream', upstreamStatus()],
])('a %s whose status says it already needs nothing, whenever it is asked', (_, status) => {
  const written = documentOf(status);
  expect(planned(status, written, LATER)).toBeNull();
  // And the same from the server's JSON, in another order.
  const shuffled: unknown = JSON.parse(JSON.stringify(written), (_key, value: unknown) => (Array.isArray(value) ? value.reverse() : value));
  expect(planned(status, shuffled, LATER)).toBeNull();
});

test('the time of the last transition moves with the status and with nothing else', () => {
  const before = documentOf(upstreamStatus('web/api', { bad: [BAD.refs] }));
  const worse = upstreamStatus('web/api', { generation: 2, bad: [{ ...BAD.refs, reason: 'RefNotPermitted', message: 'another' }] });
  const entry = (document: unknown): InstallationEntry => (document as { installations: [InstallationEntry] }).installations[0];
  const reworded = documentOf(worse, before, LATER, null, 2);
  expect(entry(reworded).conditions[1]).toEqual({
    type: 'ResolvedRefs',
    status: 'False',
    reason: 'RefNotPermitted',
    message: 'another',
    observedGeneration: 2,
    lastTransitionTime: '2026-11-21T10:11:12Z',
  });
  const mended = entry(documentOf(upstreamStatus(), before, LATER));
  expect(mended.conditions.map((c) => c.lastTransitionTime)).toEqual([
    '2026-11-21T10:11:12Z',
    '2026-11-21T11:11:12Z',
    '2026-11-21T10:11:12Z',
    '2026-11-21T10:11:12Z',
  ]);
  expect(mended.listeners?.[0]?.conditions[1]?.lastTransitionTime).toBe('2026-11-21T11:11:12Z');
});

test.each([
  ['a reason', upstreamStatus('web/api', { bad: [{ ...BAD.refs, reason: 'RefNotPermitted' }] }), false],
  ['a message', upstreamStatus('web/api', { bad: [{ ...BAD.refs, message: 'else' }] }), false],
  ['the generation', upstreamStatus('web/api', { bad: [BAD.refs], generation: 2 }), false],
  ['attached', upstreamStatus('web/api', { bad: [BAD.refs], attached: { taken: 0, asked: 1 } }), false],
  ['a listener less', upstreamStatus('web/api', { bad: [BAD.refs], listeners: [] }), false],
  [
    'another listener',
    upstreamStatus('web/api', {
      bad: [BAD.refs],
      listeners: [{ namespace: 'sys', name: 'x', conditions: conditions(UPSTREAM_TYPES, [BAD.refs]) }],
    }),
    false,
  ],
])('%s that differs is written', (_, status, countsOnly) => {
  const seen = documentOf(upstreamStatus('web/api', { bad: [BAD.refs] }));
  expect(planned(status, seen, LATER, null, 2)?.countsOnly).toBe(countsOnly);
});

test('numbers that differ are written, and can wait', () => {
  const seen = documentOf(upstreamStatus(), {}, WALL, { total: 3, ready: 3 });
  expect(planned(upstreamStatus(), seen, LATER, { total: 3, ready: 2 })?.countsOnly).toBe(true);
  expect(planned(upstreamStatus('web/api', { bad: [BAD.refs] }), seen, LATER, { total: 3, ready: 2 })?.countsOnly).toBe(false);
  const listener = documentOf(listenerStatus());
  expect(planned(listenerStatus('sys/public', { attachedUpstreams: 5 }), listener, LATER)?.countsOnly).toBe(true);
  expect(planned(listenerStatus('sys/public', { addresses: [] }), listener, LATER)?.countsOnly).toBe(false);
  const moved = [{ type: 'IPAddress', value: '203.0.113.7', port: 444 }] as const;
  expect(planned(listenerStatus('sys/public', { addresses: moved }), listener, LATER)?.countsOnly).toBe(false);
});

test('what others wrote is neither repeated nor compared', () => {
  const status = upstreamStatus();
  const ours = documentOf(status) as { installations: unknown[] };
  const theirs = { controllerName: 'spooky.dev/other', conditions: [{ type: 'Accepted', status: 'False' }] };
  expect(planned(status, { installations: [theirs, ...ours.installations] }, LATER)).toBeNull();
  expect(documentOf(status, { installations: [theirs] })).toEqual(ours);
  const listener = documentOf(listenerStatus()) as { conditions: unknown[] };
  const foreign = { ...listener, conditions: [{ type: 'example.org/Audited', status: 'True' }, ...listener.conditions], extra: 1 };
  expect(planned(listenerStatus(), foreign, LATER)).toBeNull();
});

test('a condition that is not ours any more is missed on the server, so that it goes', () => {
  const seen = documentOf(listenerStatus());
  const without = { ...listenerStatus(), conditions: listenerStatus().conditions.slice(0, 3) };
  expect((documentOf(without, seen, LATER) as { conditions: unknown[] }).conditions).toHaveLength(3);
});

test('a newer judgement is left alone; one of a generation that there is not, is not', () => {
  const seen = documentOf(upstreamStatus('web/api', { generation: 5 }), {}, WALL, null, 5);
  expect(planned(upstreamStatus('web/api', { generation: 4 }), seen, LATER, null, 5)).toBeNull();
  expect(planned(upstreamStatus('web/api', { generation: 4 }), seen, LATER, null, 4)).not.toBeNull();
});

test.each([
  null,
  undefined,
  'x',
  7,
  [],
  { conditions: 'x', installations: {} },
  { conditions: [null, 1, { type: 7 }], installations: [null, 'x'] },
])('a status that is %j is replaced', (seen) => {
  expect(documentOf(listenerStatus(), seen)).toEqual(documentOf(listenerStatus()));
  expect(documentOf(upstreamStatus(), seen)).toEqual(documentOf(upstreamStatus()));
});

test('a time that is none is replaced', () => {
  const seen = documentOf(listenerStatus()) as { conditions: { lastTransitionTime: string }[] };
  const broken = { ...seen, conditions: seen.conditions.map((c) => ({ ...c, lastTransitionTime: 'yesterday' })) };
  const document = documentOf(listenerStatus(), broken, LATER) as { conditions: { lastTransitionTime: string }[] };
  expect(document.conditions.map((c) => c.lastTransitionTime)).toEqual(Array(4).fill('2026-11-21T11:11:12Z'));
});

test('no more than the definitions hold: what is left out has nothing to say', () => {
  const listeners = Array.from({ length: 70 }, (_, i) => ({
    namespace: 'sys',
    name: `l${i}`,
    conditions: conditions(UPSTREAM_TYPES, i === 69 ? [BAD.invalid] : []),
  }));
  const document = documentOf(upstreamStatus('web/api', { listeners })) as { installations: [InstallationEntry] };
  expect(document.installations[0].listeners).toHaveLength(64);
  expect(document.installations[0].listeners?.[0]?.name).toBe('l69');
  expect(upstreamSchema.parse(document)).toEqual(document);
  expect(planned(upstreamStatus('web/api', { listeners }), document, LATER)).toBeNull();
  const addresses = Array.from({ length: 300 }, (_, i) => ({ type: 'IPAddress', value: `192.0.2.${i % 250}`, port: 443 }) as const);
  expect((documentOf(listenerStatus('sys/public', { addresses })) as { addresses: unknown[] }).addresses).toHaveLength(256);
});

test('what is ours is taken away by applying nothing, where there is something', () => {
  const upstream = documentOf(upstreamStatus()) as { installations: unknown[] };
  const theirs = { controllerName: 'spooky.dev/other', conditions: [] };
  expect(releasePlan('Upstream', CONTROLLER, { status: upstream })).toEqual({ document: {}, countsOnly: false });
  expect(releasePlan('Upstream', CONTROLLER, { status: { installations: [theirs] } })).toBeNull();
  expect(releasePlan('Listener', CONTROLLER, { status: documentOf(listenerStatus()) })?.document).toEqual({});
  expect(releasePlan('Listener', CONTROLLER, { status: {} })).toBeNull();
});
