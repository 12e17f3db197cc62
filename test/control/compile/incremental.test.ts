/** A compile that follows another one looks at what has changed: it must come to what a compile from scratch comes to, whatever came before. */
import { describe, expect, jest, test } from '@jest/globals';
import * as fc from 'fast-check';
import type { Resource, ResourceSet, Upstream } from '../../../src/contract/resources/index.ts';
import { dumpSnapshot } from '../../../src/contract/snapshot/index.ts';
import { changesSince, compile, Memo, type Compiled } from '../../../src/control/compile/index.ts';
import { LayeredMap } from '../../../src/lib/layered.ts';
import { resourcesOf } from '../../kit/resources.ts';
import type { Document } from '../../kit/documents.ts';
import { cpuOf } from '../../kit/cpu.ts';
import { leaf, secret } from './world.ts';

const listener = (name: string, port: number, spec: object = {}): Document => ({
  apiVersion: 'spooky.dev/v1alpha1',
  kind: 'Listener',
  metadata: { name, namespace: 'default' },
  spec: {
    port,
    allowedNamespaces: { from: 'All' },
    tls: { certificateRefs: [{ name: 'tls-1' }], allowUpstreamCertificates: true },
    ...spec,
  },
});

const upstream = (name: string, spec: object, created?: string): Document => ({
  apiVersion: 'spooky.dev/v1alpha1',
  kind: 'Upstream',
  metadata: { name, namespace: 'default', ...(created === undefined ? {} : { creationTimestamp: created }) },
  spec: { backends: [{ addresses: [{ address: '192.0.2.1:80' }] }], ...spec },
});

const certificates = [secret('tls-1', 'default', leaf('*.example')), secret('tls-2', 'default', leaf('a.example', 'x.test'))];

const someHost = fc.constantFrom('a.example', 'b.example', '*.example', '*', 'x.test');
const somePath = fc.constantFrom('/', '/a', '/b', '/c');
const someUpstream = fc.record({
  name: fc.constantFrom('u1', 'u2', 'u3', 'u4', 'u5'),
  created: fc.constantFrom(undefined, '2024-01-01T00:00:00Z', '2025-01-01T00:00:00Z'),
  hostnames: fc.uniqueArray(someHost, { minLength: 1, maxLength: 3 }),
  paths: fc.array(somePath, { minLength: 1, maxLength: 3 }),
  port: fc.integer({ min: 1, max: 3 }),
  certificates: fc.subarray([{ name: 'tls-1' }, { name: 'tls-2' }, { name: 'none' }]),
  listeners: fc.constantFrom(undefined, [{ namespace: 'default', name: 'one' }], [{ namespace: 'default', name: 'other' }]),
});
const someChange = fc.oneof(
  { weight: 5, arbitrary: someUpstream.map((u) => ({ kind: 'put' as const, ...u })) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('drop' as const), name: fc.constantFrom('u1', 'u2', 'u3', 'u4', 'u5') }) },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('listeners' as const),
      hostnames: fc.constantFrom(undefined, ['*.example'], ['x.test', 'a.example']),
      port: fc.constantFrom(8443, 8444),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('certificate' as const), names: fc.constantFrom('*.example', 'b.example') }) },
);

const listenersOf = (hostnames: readonly string[] | undefined, port: number): ResourceSet['listeners'] =>
  resourcesOf([listener('one', 8443, hostnames === undefined ? {} : { hostnames }), listener('two', port)]).listeners;

/** What does not change stays the same object, as sources have it. */
function after(set: ResourceSet, change: typeof someChange extends fc.Arbitrary<infer C> ? C : never): ResourceSet {
  switch (change.kind) {
    case 'put': {
      const { name, hostnames, paths, port, certificates: refs, listeners, created } = change;
      const spec = {
        hostnames,
        matches: paths.map((value) => ({ path: { type: 'Prefix', value } })),
        backends: [{ addresses: [{ address: `192.0.2.1:${port}` }] }],
        ...(refs.length === 0 ? {} : { certificateRefs: refs }),
        ...(listeners === undefined ? {} : { listeners }),
      };
      return { ...set, upstreams: new Map([...set.upstreams, ...resourcesOf([upstream(name, spec, created)]).upstreams]) };
    }
    case 'drop':
      return { ...set, upstreams: new Map([...set.upstreams].filter(([key]) => key !== `default/${change.name}`)) };
    case 'listeners':
      return { ...set, listeners: listenersOf(change.hostnames, change.port) };
    case 'certificate':
      return { ...set, secrets: new Map([...set.secrets, ...resourcesOf([secret('tls-1', 'default', leaf(change.names))]).secrets]) };
  }
}

const plain = (c: Compiled): unknown => ({
  dump: dumpSnapshot({ root: { version: 1, listeners: c.listeners }, parts: c.parts }),
  statuses: c.statuses,
  problems: [...c.problems].sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1)),
  bearable: new Set(Array.from(c.bearable, (p) => JSON.stringify(p))),
  settled: new Set(Array.from(c.settled, (p) => JSON.stringify(p))),
  groups: new Map(c.groups),
  parts: new Set(c.parts.keys()),
  encoded: new Map([...c.encoded].map(([h, b]) => [h, Buffer.from(b).toString('latin1')])),
});

const begin = (): ResourceSet => ({ ...resourcesOf(certificates), listeners: listenersOf(undefined, 8444) });

describe('a compile after another one', () => {
  test('comes to the same as one from scratch, for any sequence of changes', () => {
    fc.assert(
      fc.property(fc.array(someChange, { maxLength: 12 }), (changes) => {
        const memo = new Memo();
        let set = begin();
        for (const change of changes) {
          set = after(set, change);
          expect(plain(compile(set, { standalone: true, memo }))).toEqual(plain(compile(set, { standalone: true })));
        }
      }),
      { numRuns: 150 },
    );
  });

  test('says what has changed, to whoever has the one before', () => {
    fc.assert(
      fc.property(fc.array(someChange, { minLength: 1, maxLength: 8 }), (sequence) => {
        const memo = new Memo();
        let set = begin();
        let before = compile(set, { standalone: true, memo });
        expect(changesSince(null, before)).toBeNull();
        for (const change of sequence) {
          set = after(set, change);
          const next = compile(set, { standalone: true, memo });
          const changes = changesSince(before, next);
          if (changes === null) throw new Error('nothing is said');
          const parts = new Set(before.parts.keys());
          for (const hash of changes.removed) expect(parts.delete(hash)).toBe(true);
          for (const hash of changes.added) {
            expect(parts.has(hash)).toBe(false);
            parts.add(hash);
          }
          expect(parts).toEqual(new Set(next.parts.keys()));
          const groups = new Set(changes.groups);
          for (const id of new Set([...before.groups.keys(), ...next.groups.keys()]))
            if (before.groups.get(id) !== next.groups.get(id)) expect(groups).toContain(id);
          const namesOf = (c: Compiled): string =>
            [...c.parts.values()]
              .flatMap((p) => (p.kind === 'listener' || p.kind === 'upstream' ? [`${p.kind} ${p.namespace}/${p.name}`] : []))
              .sort()
              .join();
          if (namesOf(before) !== namesOf(next)) expect(changes.names).toBe(true);
          before = next;
        }
      }),
      { numRuns: 100 },
    );
  });

  test('says nothing to whoever has another one', () => {
    const memo = new Memo();
    const [first, , third] = [1, 2, 3].map(() => compile(begin(), { standalone: true, memo }));
    expect(changesSince(first as Compiled, third as Compiled)).toBeNull();
    expect(changesSince(compile(begin(), { standalone: true }), third as Compiled)).toBeNull();
  });

  test('is from scratch again when the one before did not come to its end', () => {
    const memo = new Memo();
    const set = after(begin(), {
      kind: 'put',
      name: 'u1',
      created: undefined,
      hostnames: ['a.example'],
      paths: ['/'],
      port: 1,
      certificates: [],
      listeners: undefined,
    });
    compile(set, { standalone: true, memo });
    const broken = {
      ...set,
      upstreams: new Map([
        [
          'default/u2',
          {
            get spec(): never {
              throw new Error('a defect');
            },
            meta: [...set.upstreams.values()][0]?.meta,
          },
        ],
      ]),
    };
    expect(() => compile(broken as unknown as ResourceSet, { standalone: true, memo })).toThrow('a defect');
    expect(plain(compile(set, { standalone: true, memo }))).toEqual(plain(compile(set, { standalone: true })));
  });
});

describe('10,000 Upstreams', () => {
  const COUNT = 10_000;
  const many = (hosts: number, count = COUNT): ResourceSet =>
    resourcesOf([
      ...certificates,
      listener('one', 8443),
      ...Array.from({ length: count }, (_, i) =>
        upstream(`u${i}`, { hostnames: [`h${i % hosts}.example`], matches: [{ path: { type: 'Prefix', value: `/p${i}` } }] }),
      ),
    ]);

  test.each([
    ['on 2,000 hostnames', 2000],
    ['on one hostname', 1],
  ])('%s: a change of one route costs a small part of the first compile, and sends little', (_, hosts) => {
    const set = many(hosts);
    const memo = new Memo();
    let before = compile(set, { standalone: true, memo });
    const first = cpuOf(() => compile(set, { standalone: true }));
    let least = Infinity;
    for (let i = 0; i < 5; i++) {
      const [key] = [...set.upstreams.keys()].slice(5000 + i) as [string];
      const changed = upstream(key.slice('default/'.length), {
        hostnames: [`h${(5000 + i) % hosts}.example`],
        matches: [{ path: { type: 'Prefix', value: `/c${i}` } }],
      });
      const next = { ...set, upstreams: new Map([...set.upstreams, ...resourcesOf([changed]).upstreams]) };
      const { value: after, ms } = cpuOf(() => compile(next, { standalone: true, memo }));
      least = Math.min(least, ms);
      const changes = changesSince(before, after);
      expect(changes?.added.map((hash) => after.parts.get(hash)?.kind).sort()).toEqual(
        i === 0 ? ['host', 'listener'] : ['host', 'host', 'listener'],
      );
      const bytes = changes?.added.reduce((sum, hash) => sum + (after.encoded.get(hash)?.length ?? 0), 0) ?? Infinity;
      expect(bytes).toBeLessThan(256 * 1024);
      // The Upstream that has changed, and the one that is as it was again.
      expect(after.statuses.filter((s, at) => s.kind === 'Upstream' && s !== before.statuses[at]).length).toBeLessThanOrEqual(2);
      before = after;
    }
    expect(least).toBeLessThan(first.ms / 5);
  });

  test('none of them is copied for one that changes, comes or goes', () => {
    const count = 2_000;
    const set = many(400, count);
    const memo = new Memo();
    compile(set, { standalone: true, memo });
    let upstreams = LayeredMap.of(set.upstreams);
    const one = (name: string, path: string) => [
      ...resourcesOf([upstream(name, { hostnames: ['h7.example'], matches: [{ path: { type: 'Prefix', value: path } }] })]).upstreams,
    ];
    const changes = [one('u7', '/changed'), one('new', '/new'), [['default/u8', undefined]]] as const;
    for (const change of changes) {
      upstreams = upstreams.with(new Map<string, Resource<Upstream> | undefined>(change));
      const next = { ...set, upstreams };
      const spies = [jest.spyOn(Map.prototype, 'set'), jest.spyOn(Array.prototype, 'sort')] as const;
      let compiled: Compiled;
      let copied: number;
      try {
        compiled = compile(next, { standalone: true, memo });
        copied = spies[0].mock.calls.length;
        for (const list of spies[1].mock.contexts as unknown[][]) expect(list.length).toBeLessThan(count / 2);
      } finally {
        for (const spy of spies) spy.mockRestore();
      }
      expect(copied).toBeLessThan(count / 4);
      expect(plain(compiled)).toEqual(plain(compile(next, { standalone: true })));
    }
  });
});
