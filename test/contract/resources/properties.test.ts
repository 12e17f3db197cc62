import { expect, test } from '@jest/globals';
import * as fc from 'fast-check';
import { matchesPattern, PATTERNS, pathText, validateListener, validateUpstream } from '../../../src/contract/resources/index.ts';
import { leastCost } from '../../kit/cost.ts';

const FILE = { standalone: true, unknown: 'refuse' } as const;
const NUMBER_OF_RUNS = { numRuns: 150 };

const name = fc.stringMatching(/^[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?$/);
const duration = (min: number, max: number) => fc.integer({ min, max }).map((s) => `${s}s`);
const absent = <T>(a: fc.Arbitrary<T>) => fc.option(a, { nil: undefined });
const compact = (value: unknown): unknown => JSON.parse(JSON.stringify(value));

const listener = fc
  .record({
    className: absent(name),
    port: fc.integer({ min: 1, max: 65535 }),
    hostnames: absent(fc.uniqueArray(name.map((n) => `*.${n}x.example`), { minLength: 1, maxLength: 5 })), // prettier-ignore
    tls: fc.record({
      certificateRefs: fc.array(fc.record({ name }), { minLength: 1, maxLength: 3 }),
      unmatched: absent(fc.constantFrom('Default', 'Reject')),
    }),
    quic: absent(
      fc.record({
        idleTimeout: absent(duration(1, 3600)),
        maxStreams: absent(fc.integer({ min: 1, max: 65535 })),
        retry: absent(fc.constantFrom('Auto', 'Always', 'Never')),
      }),
    ),
    limits: absent(
      fc.record({
        headerBytes: absent(fc.integer({ min: 1024, max: 1024 ** 2 })),
        headerTimeout: absent(duration(1, 3600)),
        pending: absent(fc.nat(1_000_000)),
      }),
    ),
    proxyStatusDetails: absent(fc.boolean()),
  })
  .map(compact);

const match = fc
  .record({
    path: absent(fc.record({ type: absent(fc.constantFrom('Exact', 'Prefix')), value: name.map((n) => `/${n}`) })),
    methods: fc.uniqueArray(fc.constantFrom('GET', 'POST', 'PUT'), { minLength: 1 }),
    headers: absent(
      fc.uniqueArray(fc.record({ name, value: fc.string({ maxLength: 20 }) }), { minLength: 1, maxLength: 3, selector: (h) => h.name }),
    ),
  })
  .map(compact);

const upstream = fc
  .record({
    hostnames: fc.uniqueArray(name.map((n) => `${n}.example`), { minLength: 1, maxLength: 4 }), // prettier-ignore
    matches: absent(fc.array(match, { minLength: 1, maxLength: 4 })),
    backends: fc.uniqueArray(
      fc.record({
        name,
        weight: fc.nat(1_000_000),
        addresses: fc.array(fc.record({ address: fc.nat(65534).map((p) => `192.0.2.1:${p + 1}`) }), { maxLength: 3 }),
      }),
      { minLength: 1, maxLength: 4, selector: (b) => b.name },
    ),
    timeouts: absent(fc.record({ connect: absent(duration(1, 300)), request: absent(fc.constant('0s')) })),
  })
  .map(compact);

/** The same content with the keys of every map in reverse. */
function reversed(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(reversed);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).reverse().map(([k, v]) => [k, reversed(v)])); // prettier-ignore
}

test.each([
  ['Listener', listener, validateListener],
  ['Upstream', upstream, validateUpstream],
] as const)('%s: what was accepted is accepted again, unchanged, and the order of keys does not matter', (_kind, arbitrary, validate) => {
  fc.assert(
    fc.property(arbitrary as fc.Arbitrary<unknown>, (spec) => {
      const first = validate(spec, FILE);
      expect(first.faults).toEqual([]);
      expect(first.value).toMatchObject(spec as object);
      expect(validate(first.value, FILE)).toEqual(first);
      expect(validate(reversed(spec), FILE)).toEqual(first);
    }),
    NUMBER_OF_RUNS,
  );
});

test('anything at all is judged without an exception', () => {
  fc.assert(
    fc.property(fc.jsonValue({ maxDepth: 5 }), (value) => {
      for (const validate of [validateListener, validateUpstream]) expect(validate(value, FILE).faults.length).toBeGreaterThan(0);
    }),
    NUMBER_OF_RUNS,
  );
});

test('so is a good spec with anything in one place', () => {
  const base = {
    port: 1,
    hostnames: ['a'],
    tls: { certificateRefs: [{ name: 'a' }] },
    quic: { idleTimeout: '30s' },
    limits: {},
    forwarded: { trust: [] },
    allowedNamespaces: {},
  };
  fc.assert(
    fc.property(fc.constantFrom(...Object.keys(base)), fc.jsonValue({ maxDepth: 4 }), (key, value) => {
      const { value: spec, faults } = validateListener({ ...base, [key]: value }, FILE);
      expect(spec === null).toBe(faults.length > 0);
    }),
    NUMBER_OF_RUNS,
  );
});

test('the patterns of names take time in proportion to the text', () => {
  for (const pattern of Object.keys(PATTERNS) as (keyof typeof PATTERNS)[]) {
    for (const piece of ['a', 'a.', 'a-', '-', '.', '/', 'A1_']) {
      const text = `${piece.repeat(65_536)}\u0000`;
      expect(leastCost(() => expect(matchesPattern(pattern, text)).toBe(false), 500, 3)).toBeLessThan(500);
    }
  }
});

test('paths of fields are read as people write them', () => {
  expect(pathText(['spec', 'backends', 0, 'weight'])).toBe('spec.backends[0].weight');
  expect(pathText(['data', 'tls.crt'])).toBe('data["tls.crt"]');
  expect(pathText(['spec', 'a\nb'])).toBe('spec["a\\nb"]');
  expect(pathText([])).toBe('');
});
