/** What arrives in configuration: names that JavaScript knows, references that lead nowhere, text that looks like code. */
import { describe, expect, test } from '@jest/globals';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { GroupPart, HostPart, ListenerPart, Part, UpstreamPart } from '../../src/contract/snapshot/index.ts';
import { compile, type Compiled } from '../../src/control/compile/index.ts';
import { loadPaths } from '../../src/control/sources/load.ts';
import type { SourceState } from '../../src/control/sources/source.ts';
import { ALWAYS_DENIED, DenyList, LOOPBACK } from '../../src/lib/deny.ts';
import { gateway, type Document, type Gateway } from '../kit/documents.ts';
import { resourcesOf } from '../kit/resources.ts';
import { makeCertificate } from '../kit/x509.ts';

const site = makeCertificate({ names: ['site.example'] });
const other = makeCertificate({ names: ['other.example'] });
const compiled = (from: Gateway | readonly Document[]): Compiled => compile(resourcesOf(from), { standalone: true });
const partsOf = <K extends Part['kind']>(c: Compiled, kind: K): Extract<Part, { kind: K }>[] =>
  [...c.parts.values()].filter((p): p is Extract<Part, { kind: K }> => p.kind === kind);

async function load(text: string): Promise<SourceState> {
  const dir = mkdtempSync(join(tmpdir(), 'spooky-hostile-'));
  try {
    writeFileSync(join(dir, 'in.yaml'), text);
    return (await loadPaths(['in.yaml'], { cwd: dir })).state;
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

const NAMES = ['__proto__', 'constructor', 'prototype', 'toString', 'hasOwnProperty', 'valueOf', '__defineGetter__'];

const HEALTHY = `
apiVersion: spooky.dev/v1alpha1
kind: Upstream
metadata: {name: healthy}
spec: {hostnames: [a.example], backends: [{addresses: [{address: "127.0.0.1:1"}]}]}
`;

describe('keys of YAML', () => {
  test.each(NAMES)('J1: %s as a key of a spec is unknown by its name, pollutes nothing, and hides no neighbour', async (name) => {
    const state = await load(`${HEALTHY}---
apiVersion: spooky.dev/v1alpha1
kind: Upstream
metadata: {name: evil}
spec:
  ${name}: {hostnames: ["*"], polluted: "1"}
  hostnames: [b.example]
  backends: [{addresses: [{address: "127.0.0.1:1"}], ${name}: {polluted: "1"}}]
`);
    expect(state.problems.map((p) => [p.severity, p.object, p.path])).toEqual([
      ['error', 'Upstream default/evil', `spec.${name}`],
      ['error', 'Upstream default/evil', `spec.backends[0].${name}`],
    ]);
    expect([...state.set.upstreams.keys()]).toEqual(['default/healthy']);
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined();
    expect(Object.keys(Object.prototype)).toEqual([]);
  });

  test('J1: as keys of labels and data they are keys', async () => {
    const state = await load(`
apiVersion: v1
kind: ConfigMap
metadata: {name: c, labels: {constructor: b, toString: c}}
data: {__proto__: "one", constructor: "two", hasOwnProperty: "three"}
`);
    expect(state.problems).toEqual([]);
    const { meta, data } = state.set.configMaps.get('default/c') as NonNullable<ReturnType<typeof state.set.configMaps.get>>;
    expect([...data]).toEqual([
      ['__proto__', 'one'],
      ['constructor', 'two'],
      ['hasOwnProperty', 'three'],
    ]);
    expect([...meta.labels]).toEqual([
      ['constructor', 'b'],
      ['toString', 'c'],
    ]);
  });

  test('J1: as names of objects and hosts they are found only when they are there', () => {
    const c = compiled(
      gateway()
        .certificate(site)
        .host('constructor')
        .route()
        .named('constructor')
        .to('127.0.0.1:1')
        .host('x.example')
        .route('/')
        .named('tostring')
        .to('127.0.0.1:2'),
    );
    expect(c.problems.filter((p) => p.severity === 'error')).toEqual([]);
    expect(
      partsOf(c, 'upstream')
        .map((u) => u.name)
        .sort(),
    ).toEqual(['constructor', 'tostring']);
    const missing = compiled(
      gateway()
        .certificate(site)
        .host('a.example')
        .route()
        .with({ protocol: 'H2', tls: { caRef: { name: 'constructor' } } })
        .to('127.0.0.1:1'),
    );
    expect(missing.problems.filter((p) => p.severity === 'error').map((p) => p.message)).toEqual([
      expect.stringContaining('default/constructor'),
    ]);
  });
});

describe('names that could collide', () => {
  test('K2: a-b/c and a/b-c are two Upstreams with two pools and two routes', () => {
    const upstream = (namespace: string, name: string, host: string, port: number): Document => ({
      apiVersion: 'spooky.dev/v1alpha1',
      kind: 'Upstream',
      metadata: { namespace, name },
      spec: { hostnames: [host], backends: [{ addresses: [{ address: `127.0.0.1:${port}` }] }] },
    });
    const c = compiled([
      ...gateway().certificate(site).documents(),
      upstream('a-b', 'c', 'x.example', 1),
      upstream('a', 'b-c', 'y.example', 2),
    ]);
    expect(c.problems.filter((p) => p.severity === 'error')).toEqual([]);
    const groups = partsOf(c, 'group');
    expect(new Set(groups.map((g: GroupPart) => g.id)).size).toBe(2);
    const target = (hostname: string): string[] =>
      partsOf(c, 'host')
        .filter((h: HostPart) => h.hostname === hostname)
        .flatMap((h) => h.routes.map((r) => `${r.upstream.namespace}/${r.upstream.name}`));
    expect([target('x.example'), target('y.example')]).toEqual([['a-b/c'], ['a/b-c']]);
  });
});

describe('values that look like code', () => {
  const EVIL = [
    '`"); evil() //',
    "'; rm -rf /; '",
    '{{ .Env.SECRET }}',
    '${jndi:ldap://x}',
    '$(id)',
    'a\nlistener: evil',
    '%0d%0aX-Evil: 1',
    '}}{{',
    '#{7*7}',
  ];
  test.each(EVIL)('K3: %j reaches the snapshot as the text that it is, and changes nothing beside it', (value) => {
    const plainly = compiled(
      gateway()
        .certificate(site)
        .host('a.example')
        .route('', { headers: [{ name: 'x-a', value: 'plain' }] })
        .to('127.0.0.1:1'),
    );
    const evilly = compiled(
      gateway()
        .certificate(site)
        .host('a.example')
        .route('', { headers: [{ name: 'x-a', value }] })
        .to('127.0.0.1:1'),
    );
    const shown = (c: Compiled): unknown => partsOf(c, 'host').map((h: HostPart) => h.routes.map((r) => r.match));
    if (evilly.problems.some((p) => p.severity === 'error')) {
      // A field cannot hold it: refused by its path, never changed into something that can be held.
      expect(evilly.problems[0]?.path).toBe('spec.matches[0].headers[0].value');
      return;
    }
    expect(JSON.stringify(shown(evilly))).toBe(JSON.stringify(shown(plainly)).replace('"plain"', () => JSON.stringify(value)));
    expect(evilly.parts.size).toBe(plainly.parts.size);
  });
});

describe('backends that may not be', () => {
  const deny = new DenyList([...ALWAYS_DENIED, ...LOOPBACK]);
  test.each([
    '127.0.0.1', '127.255.1.2', '0.0.0.0', '169.254.169.254', '169.254.0.1', '224.0.0.1', '255.255.255.255', '100.100.100.200',
    '::1', '::', 'fe80::1', 'ff02::1', 'fd00:ec2::254', '::ffff:127.0.0.1', '::ffff:7f00:1', '::FFFF:169.254.169.254', '::ffff:a9fe:a9fe',
    '0x7f000001', '2130706433', '127.1', 'localhost', 'metadata.google.internal', '', '127.0.0.1 ', '127.0.0.1\0.example',
  ])('K5: %j is refused after resolution', (address) => expect(deny.denies(address)).toBe(true)); // prettier-ignore
  test.each(['10.0.0.1', '192.0.2.1', '2001:db8::1', '::ffff:10.0.0.1', 'fd00::1'])('K5: %j is a backend', (address) =>
    expect(deny.denies(address)).toBe(false),
  );
});

describe('what cannot be resolved', () => {
  const groupsOf = (c: Compiled): (string | null)[] => partsOf(c, 'upstream').flatMap((u: UpstreamPart) => u.groups.map((g) => g.group));

  test.each([
    ['a CA that is not there', { protocol: 'H2', tls: { caRef: { name: 'missing' } } }],
    ['a client certificate that is not there', { protocol: 'H2', tls: { clientCertificateRef: { name: 'missing' } } }],
  ])('K6: %s takes its routes out of service: no group, so 500, never without verification', (_, spec) => {
    const c = compiled(gateway().certificate(site).host('a.example').route().with(spec).to('127.0.0.1:1'));
    expect(c.problems.filter((p) => p.severity === 'error')).toHaveLength(1);
    expect(groupsOf(c)).toEqual([null]);
    expect(partsOf(c, 'group')).toEqual([]);
    expect(partsOf(c, 'host')).toHaveLength(1);
  });

  test('K6: a Listener whose only certificate is broken completes no handshake; its neighbour does', () => {
    const listener = (name: string, port: number, secret: string): Document => ({
      apiVersion: 'spooky.dev/v1alpha1',
      kind: 'Listener',
      metadata: { name },
      spec: { port, tls: { certificateRefs: [{ name: secret }] } },
    });
    const c = compiled([...gateway().certificate(site).documents(), listener('broken', 9443, 'missing')]);
    expect(partsOf(c, 'listener').map((l: ListenerPart) => [l.name, l.tls.entries.length, l.tls.fallback])).toEqual([
      ['broken', 0, null],
      ['public', 1, 0],
    ]);
  });

  test('K6: a default certificate that breaks is not replaced by the next one', () => {
    const g = (first: string): Gateway =>
      gateway({ tls: { certificateRefs: [{ name: first }, { name: 'second' }] } })
        .secret('first', site)
        .secret('second', other);
    const whole = partsOf(compiled(g('first')), 'listener')[0] as ListenerPart;
    expect(whole.tls.fallback).toBe(0);
    const broken = partsOf(compiled(g('missing')), 'listener')[0] as ListenerPart;
    expect(broken.tls.entries.map((e) => e.names)).toEqual([['other.example']]);
    expect(broken.tls.fallback).toBeNull();
  });
});

describe('large and odd objects', () => {
  test('K8: 1,000 Upstreams of 16 matches compile, and one more beside them that is broken changes nothing', () => {
    const upstream = (i: number, spec: object = {}): Document => ({
      apiVersion: 'spooky.dev/v1alpha1',
      kind: 'Upstream',
      metadata: { name: `${'u'.repeat(57)}${i}` },
      spec: {
        hostnames: [`h${i}.example`, `*.w${i}.example`],
        matches: Array.from({ length: 16 }, (_, m) => ({
          path: { type: 'Prefix', value: `/${m}` },
          headers: [{ name: `x-${m}`, value: 'v'.repeat(200) }],
        })),
        backends: [{ addresses: [{ address: '127.0.0.1:1' }] }],
        ...spec,
      },
    });
    const many = Array.from({ length: 1000 }, (_, i) => upstream(i));
    const base = gateway().certificate(site).documents();
    const alone = compiled([...base, ...many]);
    const beside = compiled([...base, ...many, upstream(5000, { protocol: 'H2', tls: { caRef: { name: 'missing' } } })]);
    expect(alone.problems.filter((p) => p.severity === 'error')).toEqual([]);
    expect(partsOf(alone, 'host')).toHaveLength(2000);
    expect(new Set(beside.problems.filter((p) => p.severity === 'error').map((p) => p.object)).size).toBe(1);
    for (const hash of alone.parts.keys()) if (alone.parts.get(hash)?.kind !== 'listener') expect(beside.parts.has(hash)).toBe(true);
  });

  test.each(['*.com', '*', 'xn--bcher-kva.example', `${'a'.repeat(63)}.${'b'.repeat(63)}.${'c'.repeat(63)}.example`])(
    'K8, K15: %s is a hostname',
    async (host) => {
      const state = await load(HEALTHY.replace('a.example', JSON.stringify(host)));
      expect(state.problems).toEqual([]);
    },
  );

  test.each([
    'b\u00fccher.example',
    'a..example',
    '*.*.example',
    'a.*.example',
    '*example',
    'a_b c',
    `${'a'.repeat(64)}.example`,
    '[::1]',
    'a.example:443',
  ])('K8, K15: %j is none, said at its place', async (host) => {
    const state = await load(`${HEALTHY}---${HEALTHY.replace('healthy', 'evil').replace('a.example', JSON.stringify(host))}`);
    expect(state.problems.map((p) => [p.severity, p.object, p.path])).toEqual([['error', 'Upstream default/evil', 'spec.hostnames[0]']]);
    expect([...state.set.upstreams.keys()]).toEqual(['default/healthy']);
  });
});
