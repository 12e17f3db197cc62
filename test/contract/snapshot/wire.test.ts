import { inspect } from 'node:util';
import { expect, test } from '@jest/globals';
import * as fc from 'fast-check';
import { dumpSnapshot } from '../../../src/contract/snapshot/dump.ts';
import type { CertificatePart, Part } from '../../../src/contract/snapshot/parts.ts';
import { decodePart, encodePart, groupId, hashPart } from '../../../src/contract/snapshot/wire.ts';
import { Secret } from '../../../src/lib/secret.ts';
import { certificatePart, groupPart, hostPart, listenerPart, routePart, SnapshotBuilder, upstreamPart } from '../../kit/snapshot.ts';

function everyKind(): { builder: SnapshotBuilder; parts: Part[]; snapshot: ReturnType<SnapshotBuilder['build']> } {
  const builder = new SnapshotBuilder();
  const certificate = builder.add(certificatePart());
  const group = builder.add(
    groupPart({
      protocol: 'H2',
      tls: { verify: true, serverName: 'a.internal', sni: true, ca: null, client: certificate },
      healthCheck: {
        path: '/health',
        statuses: [[200, 299]],
        hostname: null,
        intervalMs: 5000,
        timeoutMs: 1000,
        cooldownMs: 0,
        healthyThreshold: 2,
        unhealthyThreshold: 3,
        initial: 'Healthy',
      },
    }),
  );
  const target = builder.add(
    upstreamPart([
      { name: 'default', weight: 1, group },
      { name: 'lost', weight: 1, group: null },
    ]),
  );
  const host = builder.add(hostPart('site.example', [routePart(target, { hostname: '*' })]));
  const listener = builder.add(
    listenerPart({
      hosts: [host],
      tls: { entries: [{ names: ['site.example'], certificates: [certificate] }], fallback: 0, unmatched: 'Default' },
    }),
  );
  return { builder, parts: [...builder.parts.values()], snapshot: builder.build([listener], 7) };
}

test('every kind of part comes back as it went, under the same hash', () => {
  for (const part of everyKind().parts) {
    const bytes = encodePart(part);
    const back = decodePart(bytes);
    expect(encodePart(back)).toEqual(bytes);
    if (part.kind === 'certificate') {
      const { key, ...rest } = back as CertificatePart;
      const { key: _, ...wanted } = part;
      expect(key).toBeInstanceOf(Secret);
      expect(Buffer.from(key.reveal())).toEqual(Buffer.from(part.key.reveal()));
      expect(rest).toEqual(wanted);
    } else expect(back).toEqual(part);
  }
});

test('a view into a larger buffer is read as what it shows', () => {
  const part = groupPart();
  const bytes = encodePart(part);
  const roomy = Buffer.alloc(bytes.length + 20, 0x7b);
  roomy.set(bytes, 9);
  expect(decodePart(roomy.subarray(9, 9 + bytes.length))).toEqual(part);
});

test('the order in which members were written does not matter, their values do', () => {
  const shuffle = (value: unknown): unknown => {
    if (value === null || typeof value !== 'object' || value instanceof Secret) return value;
    if (Array.isArray(value)) return value.map(shuffle);
    return Object.fromEntries(
      Object.entries(value)
        .map(([k, v]) => [k, shuffle(v)] as const)
        .reverse(),
    );
  };
  const seen = new Set<string>();
  for (const part of everyKind().parts) {
    expect(encodePart(shuffle(part) as Part)).toEqual(encodePart(part));
    seen.add(hashPart(encodePart(part)));
  }
  expect(seen.size).toBe(5);
  expect(hashPart(encodePart(groupPart()))).not.toBe(hashPart(encodePart(groupPart({ protocol: 'H2' }))));
  expect(hashPart(encodePart(certificatePart()))).not.toBe(
    hashPart(encodePart(certificatePart({ key: new Secret(Buffer.from('other')) }))),
  );
  expect(hashPart(new Uint8Array())).toBe('47DEQpj8HBSa-_TImW-5JC');
});

test('K2: no two groups share an id', () => {
  const text = fc.string({ maxLength: 6, unit: fc.constantFrom('a', '-', '/', '"', ',', '\\', '[', ']') });
  fc.assert(
    fc.property(fc.tuple(text, text, text), fc.tuple(text, text, text), (a, b) => {
      expect(groupId(...a) === groupId(...b)).toBe(a.every((x, i) => x === b[i]));
    }),
    { numRuns: 2000 },
  );
  expect(groupId('a-b', 'c', 'd')).not.toBe(groupId('a', 'b-c', 'd'));
});

test('K13: a dump shows no byte of a key, in any spelling', () => {
  const canary = 'canary-7f1c9e';
  const builder = new SnapshotBuilder();
  const key = new Secret(Buffer.from(`-----BEGIN PRIVATE KEY-----\n${canary}\n-----END PRIVATE KEY-----\n`));
  const hash = builder.add(certificatePart({ key }));
  const group = builder.add(groupPart({ tls: { verify: true, serverName: null, sni: true, ca: null, client: hash } }));
  builder.add(upstreamPart([{ name: 'default', weight: 1, group }]));
  const listener = builder.add(
    listenerPart({ tls: { entries: [{ names: [], certificates: [hash] }], fallback: 0, unmatched: 'Default' } }),
  );
  const dump = dumpSnapshot(builder.build([listener]));
  const text = JSON.stringify(dump) + inspect(dump, { depth: 20 });
  const octets = Buffer.from(key.reveal());
  for (const spelling of [canary, octets.toString('base64').slice(8, 40), octets.toString('hex').slice(60, 90), 'PRIVATE KEY']) {
    expect(text).not.toContain(spelling);
  }
  expect(text).toContain('ab'.repeat(32));
});

test('a dump is a tree by name', () => {
  expect(dumpSnapshot(everyKind().snapshot)).toMatchObject({
    version: 7,
    listeners: [
      {
        namespace: 'default',
        name: 'public',
        tls: { entries: [{ names: ['site.example'], certificates: ['ab'.repeat(32)] }], fallback: 0 },
        hosts: [
          { hostname: 'site.example', routes: [{ upstream: { namespace: 'default', name: 'site' }, hostname: '*', matchIndex: -1 }] },
        ],
      },
    ],
    upstreams: [
      {
        name: 'site',
        groups: [
          {
            name: 'default',
            weight: 1,
            group: { protocol: 'H2', tls: { serverName: 'a.internal', client: 'ab'.repeat(32) }, healthCheck: { statuses: [[200, 299]] } },
          },
          { name: 'lost', group: null },
        ],
      },
    ],
    certificates: [{ source: 'default/site-tls', names: ['site.example'], notAfter: '2044-01-01T00:00:00.000Z' }],
  });
});
