/** The set that compile takes is brought up to date where few Upstreams have changed: it must be what it would be from the beginning. */
import { expect, jest, test } from '@jest/globals';
import * as fc from 'fast-check';
import type { ResourceSet } from '../../../../src/contract/resources/index.ts';
import { View } from '../../../../src/control/sources/kubernetes/view.ts';
import { ManualClock } from '../../../../src/lib/clock.ts';
import { listener, meta, upstream, type Raw } from './raw.ts';
import { installation } from './story.ts';

const viewOf = (): View =>
  new View({
    installation: installation({ allowAddressBackends: true }),
    clock: new ManualClock(),
    zone: null,
    nodeName: '',
    onChange: () => {},
    onError: () => {},
    onSeen: () => {},
    onLeftOut: () => {},
  });

const put = (view: View, raw: Raw): void => {
  if (raw['kind'] === 'Listener') view.listeners.changed('MODIFIED', view.listeners.project(raw, null));
  else view.upstreams.changed('MODIFIED', view.upstreams.project(raw, null));
};
const drop = (view: View, raw: Raw): void => view.upstreams.changed('DELETED', view.upstreams.project(raw, null));

/** Apart from the order, which says nothing. */
const plain = ({ listeners, upstreams, cluster }: ResourceSet): unknown => ({
  listeners: [...listeners].map(([key, { spec }]) => [key, spec]).sort(),
  upstreams: [...upstreams]
    .map(
      ([
        key,
        {
          spec,
          meta: { generation },
        },
      ]) => [key, generation, spec],
    )
    .sort(),
  rejected: cluster?.rejected.map(({ kind, meta: m, faults }) => JSON.stringify([kind, m.name, faults])).sort(),
  foreign: [...(cluster?.foreignListeners ?? [])].sort(),
});

let generation = 1;
const next = (name: string): Raw => meta(name, 'default', { generation: ++generation });

const name = fc.constantFrom('a', 'b', 'c', 'd');
const event = fc.oneof(
  { weight: 4, arbitrary: fc.record({ is: fc.constant('upstream' as const), name, path: fc.constantFrom('/a', '/b') }) },
  { weight: 2, arbitrary: fc.record({ is: fc.constant('refused' as const), name, listener: fc.constantFrom(undefined, 'l', 'm') }) },
  { weight: 2, arbitrary: fc.record({ is: fc.constant('gone' as const), name }) },
  {
    weight: 1,
    arbitrary: fc.record({
      is: fc.constant('listener' as const),
      name: fc.constantFrom('l', 'm'),
      how: fc.constantFrom('ours', 'foreign', 'refused'),
    }),
  },
);

function apply(view: View, e: typeof event extends fc.Arbitrary<infer E> ? E : never, metadata: Raw): void {
  switch (e.is) {
    case 'upstream':
      return put(view, upstream(e.name, { matches: [{ path: { type: 'Prefix', value: e.path } }] }, metadata));
    case 'refused': {
      const listeners = e.listener === undefined ? {} : { listeners: [{ namespace: 'default', name: e.listener }] };
      return put(view, upstream(e.name, { hostnames: 7, ...listeners }, metadata));
    }
    case 'gone':
      return drop(view, upstream(e.name, {}, metadata));
    case 'listener':
      return put(view, listener(e.name, e.how === 'foreign' ? { className: 'other' } : e.how === 'refused' ? { port: 'x' } : {}, metadata));
  }
}

test('is what it would be from the beginning, after any sequence of changes', () => {
  fc.assert(
    fc.property(fc.array(fc.array(event, { maxLength: 3 }), { maxLength: 12 }), (batches) => {
      const view = viewOf();
      const events: [Parameters<typeof apply>[1], Raw][] = [];
      for (const batch of batches) {
        for (const e of batch) {
          const metadata = next(e.name);
          apply(view, e, metadata);
          events.push([e, metadata]);
        }
        const fresh = viewOf();
        for (const [e, metadata] of events) apply(fresh, e, metadata);
        // A Listener makes all of it new: here each time, there once.
        for (const v of [fresh, view]) put(v, listener('n', {}, meta('n', 'default', { generation: 1 })));
        expect(plain(view.set())).toEqual(plain(fresh.set()));
      }
    }),
    { numRuns: 200 },
  );
});

test('a changed Upstream of thousands is put into the place of the old one, and no other is touched', () => {
  const view = viewOf();
  put(view, listener('l'));
  for (let i = 0; i < 3_000; i++) put(view, upstream(`u${i}`));
  // One that is refused is no reason to look at all of them.
  put(view, upstream('broken', { hostnames: 7 }));
  const before = view.set();
  expect([before.upstreams.size, before.cluster?.rejected.length]).toEqual([3_000, 1]);
  put(view, upstream('u7', { hostnames: ['other.example.com'] }, next('u7')));
  drop(view, upstream('u8'));
  const spy = jest.spyOn(Map.prototype, 'set');
  let copied: number;
  let after: ResourceSet;
  try {
    after = view.set();
    copied = spy.mock.calls.length;
  } finally {
    spy.mockRestore();
  }
  expect(copied).toBeLessThan(100);
  expect(after.upstreams.get('default/u7')?.spec.hostnames).toEqual(['other.example.com']);
  expect(after.upstreams.has('default/u8')).toBe(false);
  expect(after.upstreams.get('default/u9')).toBe(before.upstreams.get('default/u9'));
  expect(before.upstreams.get('default/u7')?.spec.hostnames).toEqual(['u7.example.com']);
  expect(before.upstreams.has('default/u8')).toBe(true);
});
