/** Documents for a cluster. */
import { afterAll, describe, expect, test } from '@jest/globals';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { stringify } from 'yaml';
import { check } from '../../src/cli/check.ts';
import { makeCa, makeLeaf } from '../kit/certs.ts';

const ROOT = resolve(import.meta.dirname, '../..');
const dir = mkdtempSync(join(tmpdir(), 'spooky-check-cluster-'));
afterAll(() => rmSync(dir, { recursive: true }));

type Plain = Readonly<Record<string, unknown>>;

const at = (apiVersion: string, kind: string, namespace: string | null, name: string, rest: Plain = {}): Plain => ({
  apiVersion,
  kind,
  metadata: { ...(namespace === null ? {} : { namespace }), name },
  ...rest,
});
const OURS = 'spooky.dev/v1alpha1';
const listener = (spec: Plain = {}, name = 'public'): Plain =>
  at(OURS, 'Listener', 'edge', name, {
    spec: { port: 8443, tls: { certificateRefs: [{ name: 'tls' }] }, allowedNamespaces: { from: 'All' }, ...spec },
  });
const upstream = (spec: Plain = {}, name = 'api'): Plain =>
  at(OURS, 'Upstream', 'web', name, {
    spec: {
      listeners: [{ name: 'public', namespace: 'edge' }],
      hostnames: ['api.example.com'],
      backends: [{ service: { name: 'api', port: 'http' } }],
      ...spec,
    },
  });
const service = (spec: Plain = {}, namespace = 'web', name = 'api'): Plain =>
  at('v1', 'Service', namespace, name, { spec: { ports: [{ name: 'http', port: 80 }], ...spec } });
const namespace = (name: string, labels: Plain = {}): Plain => ({ apiVersion: 'v1', kind: 'Namespace', metadata: { name, labels } });
const grant = (to: string, kind = 'Upstream', from = 'web', target = 'Service', version = 'v1beta1'): Plain =>
  at(`gateway.networking.k8s.io/${version}`, 'ReferenceGrant', to, 'grant', {
    spec: { from: [{ group: 'spooky.dev', kind, namespace: from }], to: [{ group: '', kind: target }] },
  });

let count = 0;
const write = (text: string): string => {
  const name = `${count++}.yaml`;
  writeFileSync(join(dir, name), text);
  return name;
};
const yaml = (...objects: readonly Plain[]): string => objects.map((o) => stringify(o)).join('---\n');

interface Outcome {
  readonly code: number;
  /** Without the place. */
  readonly lines: readonly string[];
  readonly summary: string;
}

async function run(args: readonly string[], cwd = dir): Promise<Outcome> {
  let [stdout, stderr] = ['', ''];
  const code = await check.run(args, { stdout: (s) => void (stdout += s), stderr: (s) => void (stderr += s), env: {}, cwd });
  expect(stderr).toBe('');
  const lines = stdout.trimEnd().split('\n');
  return { code, lines: lines.slice(0, -1).map((l) => l.replace(/^\S+\.yaml:\d+:\d+: /, '')), summary: lines.at(-1) ?? '' };
}

const judge = (...objects: readonly Plain[]): Promise<Outcome> => run(['--kubernetes', write(yaml(...objects))]);

describe('whom documents are for', () => {
  const file = at(OURS, 'Upstream', null, 'api', {
    spec: { hostnames: ['*'], backends: [{ addresses: [{ address: '127.0.0.1:7001' }] }] },
  });
  const plain = at(OURS, 'Listener', null, 'a', { spec: { port: 8443, tls: { certificateRefs: [{ name: 'tls' }] } } });
  test.each<[string, Plain]>([
    ['a Namespace', namespace('web')],
    ['a Service', service()],
    ['a Deployment', at('apps/v1', 'Deployment', 'web', 'api')],
    ['a DaemonSet', at('apps/v1', 'DaemonSet', 'web', 'api')],
    ['a ServiceAccount', at('v1', 'ServiceAccount', 'web', 'api')],
    ['a Role', at('rbac.authorization.k8s.io/v1', 'Role', 'web', 'api')],
    ['a ReferenceGrant', grant('shop')],
    ['a Certificate of cert-manager', at('cert-manager.io/v1', 'Certificate', 'edge', 'public')],
    ["somebody else's Upstream", at('gateway.solo.io/v1', 'Upstream', 'web', 'x')],
    ['a List', { apiVersion: 'v1', kind: 'List', items: [] }],
    ['an Upstream with a Service', upstream()],
    ['a Listener that selects namespaces', listener({ allowedNamespaces: { from: 'Selector', selector: {} } })],
  ])('%s is for a cluster', async (_, object) => {
    const { code, summary } = await run([write(yaml(object))]);
    expect([code, summary]).toEqual([0, expect.stringMatching(/^nothing wrong with .*, judged as objects of a cluster$/)]);
  });

  test.each<[string, Plain]>([
    ['an Upstream with addresses', file],
    ['a Listener', plain],
    ['a Secret', at('v1', 'Secret', null, 'a')],
    ['a ConfigMap', at('v1', 'ConfigMap', null, 'a')],
    ['a misspelt kind', at('v1', 'Secrett', null, 'a')],
    ['a misspelt group', at('spooky.io/v1alpha1', 'Upstream', null, 'a')],
    ['a wrong version', at('spooky.dev/v2', 'Upstream', null, 'a')],
    ['what is no version', at('apps', 'Deployment', null, 'a')],
  ])('%s is not', async (_, object) => {
    expect((await run([write(yaml(object))])).summary).toMatch(/, judged as files$/);
  });

  test('one document decides for all of them', async () => {
    const { code, summary } = await run([write(yaml(plain)), write(yaml(service()))]);
    expect([code, summary]).toEqual([
      0,
      'nothing wrong with 1 Listener, 0 Upstreams, 0 Secrets, 0 ConfigMaps, 1 of other kinds, judged as objects of a cluster',
    ]);
  });

  test('a flag wins', async () => {
    expect(await run(['--standalone', write(yaml(service()))])).toEqual({
      code: 1,
      lines: ['kind: must be one of Secret, ConfigMap, not "Service"'],
      summary: '1 problem found, judged as files',
    });
    // The Secret may be there already.
    expect(await run(['--kubernetes', write(yaml(plain))])).toMatchObject({ code: 0, lines: [] });
    expect((await run([write(yaml(plain))])).lines).toEqual(['spec.tls.certificateRefs[0]: there is no Secret default/tls']);
  });

  test('json says so, too', async () => {
    let out = '';
    const io = { stdout: (s: string) => void (out += s), stderr: () => {}, env: {}, cwd: dir };
    expect(await check.run(['--output', 'json', write(yaml(upstream(), service()))], io)).toBe(0);
    expect(JSON.parse(out)).toEqual({
      problems: [],
      objects: { listeners: 0, upstreams: 1, secrets: 0, configMaps: 0, others: 1 },
      judgedAs: 'cluster',
    });
  });
});

test.each(readdirSync(join(ROOT, 'manifests')).filter((f) => f.endsWith('.yaml')))('manifests/%s has no fault', async (name) => {
  const { code, lines, summary } = await run([`manifests/${name}`], ROOT);
  expect([code, lines, summary]).toEqual([0, [], expect.stringContaining('judged as objects of a cluster')]);
});

test('nor have they all together; what stands in two of them is told', async () => {
  const { code, lines } = await run(['manifests'], ROOT);
  expect([code, lines.filter((l) => !l.includes('is written twice: first in manifests/'))]).toEqual([0, []]);
});

describe('what the API server would refuse', () => {
  test.each<[string, Plain, RegExp]>([
    ['port 0', listener({ port: 0 }), /^spec\.port: must be a whole number, 1 to 65535, not 0$/],
    ['a Listener without its namespace', upstream({ listeners: [{ name: 'public' }] }), /^spec\.listeners\[0\]\.namespace: is required$/],
    ['an unknown field', upstream({ hostname: 'x' }), /^spec\.hostname: is unknown/],
    [
      'both kinds of backends',
      upstream({ backends: [{ service: { name: 'a', port: 1 }, addresses: [{ address: 'a:1' }] }] }),
      /^spec\.backends\[0\]: must have exactly one of/,
    ],
    [
      'an expression',
      upstream({ matches: [{ path: { type: 'Regex', value: '(a' } }] }),
      /^spec\.matches\[0\]\.path\.value: not a regular expression/,
    ],
    ['tls in clear text', upstream({ protocol: 'H2C', tls: {} }), /^spec\.tls: must not be given with protocol H2C/],
    ['Settings', { apiVersion: OURS, kind: 'Settings', spec: {} }, /^kind: Settings are for files/],
    ['a kind that is misspelt', at('v1', 'Servce', 'web', 'a'), /^kind: must be one of Secret, .* \(did you mean Service\?\)$/],
    [
      'a version that is none',
      at('app/v1', 'Deployment', 'web', 'a'),
      /^apiVersion: must be spooky\.dev\/v1alpha1, or one of Kubernetes' own/,
    ],
    ['a Secret that is not base64', at('v1', 'Secret', 'edge', 'tls', { data: { a: 'x!' } }), /^data\.a: must be base64/],
  ])('%s', async (_, object, message) => {
    const { code, lines, summary } = await judge(object);
    expect([code, lines, summary]).toEqual([1, [expect.stringMatching(message)], '1 problem found, judged as objects of a cluster']);
  });

  test('files', async () => {
    expect((await judge(listener({ tls: { certificateRefs: [{ files: { cert: 'a', key: 'b' } }] } }))).lines).toEqual([
      expect.stringMatching(/^spec\.tls\.certificateRefs\[0\]\.files: is unknown/),
      'spec.tls.certificateRefs[0].name: is required',
    ]);
  });

  test('a classic configuration', async () => {
    const classic = 'version: 1\nlisten: {tls: {cert: c.pem, key: k.pem}}\nupstream: {}\n';
    expect(await run(['--kubernetes', write(classic)])).toMatchObject({
      code: 1,
      lines: ['is a classic configuration, which no cluster takes'],
    });
  });
});

describe('a Service', () => {
  test.each<[string, Plain, RegExp]>([
    [
      'without the port',
      service({ ports: [{ name: 'web', port: 80 }] }),
      /^spec\.backends\[0\]\.service\.port: Service web\/api has no TCP port "http"; it has web \(80\)$/,
    ],
    [
      'of UDP alone',
      service({ ports: [{ name: 'http', port: 80, protocol: 'UDP' }] }),
      /^spec\.backends\[0\]\.service\.port: .*it has none of TCP$/,
    ],
    [
      'of type ExternalName',
      service({ type: 'ExternalName', externalName: 'x.example' }),
      /^spec\.backends\[0\]\.service: .*of type ExternalName, which is not followed/,
    ],
    [
      'with an appProtocol of others',
      service({ ports: [{ name: 'http', port: 80, appProtocol: 'redis' }] }),
      /appProtocol "redis" of port http \(80\) of Service web\/api is none that protocol Auto knows/,
    ],
  ])('%s is told', async (_, object, message) => {
    const { code, lines } = await judge(upstream(), object);
    expect([code, lines]).toEqual([1, [expect.stringMatching(message)]]);
  });

  test('that fits is right; so is one that is not here, and what stands beside it is judged all the same', async () => {
    expect(await judge(upstream(), service())).toMatchObject({ code: 0, lines: [] });
    expect(await judge(upstream())).toMatchObject({ code: 0, lines: [] });
    const own = { service: { name: 'gone', port: 1 }, tls: {} };
    expect((await judge(upstream({ protocol: 'H2C', backends: [own] }))).lines).toEqual([
      expect.stringMatching(/^spec\.backends\[0\]\.tls: tls is given, but spec\.protocol is H2C/),
    ]);
  });

  test('whose text we may read in another way than a cluster is not looked into', async () => {
    const text =
      yaml(upstream()) +
      '---\napiVersion: v1\nkind: Service\nmetadata: {name: api, namespace: web}\nspec:\n  <<: {ports: [{name: http, port: 80}]}\n';
    expect(await run(['--kubernetes', write(text)])).toMatchObject({ code: 0, lines: [] });
  });

  test('in another namespace needs a grant', async () => {
    const far = upstream({ backends: [{ service: { name: 'api', namespace: 'shop', port: 'http' } }] });
    const needs =
      'spec.backends[0].service: warning: Service shop/api is in another namespace: it needs a ReferenceGrant in shop (from: group spooky.dev, ' +
      'kind Upstream, namespace web; to: group "", kind Service), and none of these documents is that';
    expect(await judge(far)).toMatchObject({ code: 0, lines: [needs] });
    expect(await judge(far, service({}, 'shop'))).toMatchObject({ code: 0, lines: [needs] });
    expect((await judge(far, grant('shop', 'Upstream', 'other'))).lines).toEqual([needs]);
    expect((await judge(far, grant('shop', 'Listener'))).lines).toEqual([needs]);
    expect((await judge(far, grant('web'))).lines).toEqual([needs]);
    for (const version of ['v1', 'v1beta1'])
      expect((await judge(far, grant('shop', 'Upstream', 'web', 'Service', version))).lines).toEqual([]);
    // With the grant or without, the Service is looked into.
    expect((await judge(far, service({ ports: [{ port: 1 }] }, 'shop'))).lines).toHaveLength(2);
  });
});

describe('a certificate', () => {
  const leaf = makeLeaf(makeCa('check'), { names: ['www.example.com'] });
  const secret = (data: Plain, namespace = 'edge'): Plain =>
    at('v1', 'Secret', namespace, 'tls', { type: 'kubernetes.io/tls', stringData: data });
  const pair = { 'tls.crt': String(leaf.cert), 'tls.key': String(leaf.key) };

  test('that is not here is no problem, and what it covers is not guessed', async () => {
    expect((await judge(listener(), upstream())).lines).toEqual([]);
    const both = listener({ tls: { certificateRefs: [{ name: 'tls' }, { name: 'made-by-cert-manager' }] } });
    expect((await judge(both, upstream(), secret(pair))).lines).toEqual([]);
  });

  test('that is here is looked into', async () => {
    expect((await judge(listener(), secret({ 'tls.crt': pair['tls.crt'] }))).lines).toEqual([
      'spec.tls.certificateRefs[0]: Secret edge/tls lacks tls.key',
    ]);
    expect((await judge(listener(), upstream(), secret(pair))).lines).toEqual([
      expect.stringMatching(/^spec\.tls\.certificateRefs: warning: no certificate covers api\.example\.com/),
    ]);
  });

  test('in another namespace needs a grant', async () => {
    const far = listener({ tls: { certificateRefs: [{ name: 'tls', namespace: 'certs' }] } });
    const needs = expect.stringMatching(
      /^spec\.tls\.certificateRefs\[0\]: warning: Secret certs\/tls is in another namespace: it needs a ReferenceGrant in certs /,
    );
    expect(await judge(far)).toMatchObject({ code: 0, lines: [needs] });
    expect((await judge(far, grant('certs', 'Listener', 'edge', 'Secret'))).lines).toEqual([]);
    expect((await judge(far, secret({}, 'certs'))).lines).toEqual(['spec.tls.certificateRefs[0]: Secret certs/tls lacks tls.crt', needs]);
  });

  test('or an authority for a backend that is not here changes nothing', async () => {
    const tls = { caRef: { name: 'ca' }, clientCertificateRef: { name: 'client' } };
    const group = { name: 'b', service: { name: 'b', port: 1 }, tls };
    expect(
      (await judge(upstream({ protocol: 'H2', tls, backends: [{ name: 'a', service: { name: 'a', port: 1 } }, group] }))).lines,
    ).toEqual([]);
    const ca = at('v1', 'ConfigMap', 'web', 'ca', { data: { 'other.crt': 'x' } });
    expect((await judge(upstream({ protocol: 'H2', tls }), ca)).lines).toEqual(['spec.tls.caRef: ConfigMap web/ca lacks ca.crt']);
  });
});

describe('a Listener', () => {
  test('that is not here takes what names it; one that is here is asked', async () => {
    expect((await judge(upstream())).lines).toEqual([]);
    expect((await judge(upstream(), listener({ allowedNamespaces: { from: 'Same' } }))).lines).toEqual([
      'spec.listeners[0]: there is no Listener edge/public that admits Upstreams of namespace web',
    ]);
    expect((await judge(upstream(), listener({ hostnames: ['*.other.example'] }))).lines).toEqual([
      'spec.hostnames: none of the hostnames is among those of the Listener',
    ]);
  });

  test('by labels of namespaces that are here', async () => {
    const selecting = listener({ allowedNamespaces: { from: 'Selector', selector: { matchLabels: { team: 'a' } } } });
    const refused = ['spec.listeners[0]: there is no Listener edge/public that admits Upstreams of namespace web'];
    expect((await judge(upstream(), selecting)).lines).toEqual([]);
    expect((await judge(upstream(), selecting, namespace('web', { team: 'a' }))).lines).toEqual([]);
    expect((await judge(upstream(), selecting, namespace('web', { team: 'b' }))).lines).toEqual(refused);
    expect((await judge(upstream(), selecting, namespace('other', { team: 'b' }))).lines).toEqual([]);
    const byName = { matchExpressions: [{ key: 'kubernetes.io/metadata.name', operator: 'In', values: ['web'] }] };
    expect(
      (await judge(upstream(), listener({ allowedNamespaces: { from: 'Selector', selector: byName } }), namespace('web'))).lines,
    ).toEqual([]);
  });

  test('an Upstream that names none may have one that is not here', async () => {
    const any = at(OURS, 'Upstream', 'web', 'api', { spec: { hostnames: ['a.example'], backends: [{ service: { name: 'a', port: 1 } }] } });
    expect(await judge(any)).toMatchObject({ code: 0, lines: [] });
    expect(await judge(any, listener({ allowedNamespaces: { from: 'Same' } }))).toMatchObject({
      code: 0,
      lines: [
        expect.stringMatching(
          /^spec\.listeners: warning: there is no Listener that admits Upstreams of namespace web, among these documents/,
        ),
      ],
    });
    expect(await judge(any, listener({ hostnames: ['b.example'] }))).toMatchObject({
      code: 0,
      lines: [expect.stringMatching(/^spec\.hostnames: warning: none of the hostnames .*, among these documents/)],
    });
  });

  test('of two on one port the second is refused, unless they are of two classes', async () => {
    expect((await judge(listener(), listener({}, 'second'))).lines).toEqual([
      expect.stringMatching(/^spec\.port: port 8443 .* is taken by an older Listener/),
    ]);
    expect((await judge(listener(), listener({ className: 'other' }, 'second'))).lines).toEqual([]);
  });

  test('that is not here takes no port from one that is', async () => {
    const first = upstream({ listeners: [{ name: 'gone', namespace: 'edge' }] });
    expect((await judge(listener({ port: 1 }), listener({ port: 2 }, 'second'), first)).lines).toEqual([]);
  });

  test('of another class is judged as well', async () => {
    const other = listener({ className: 'other', allowedNamespaces: { from: 'Same' } });
    expect((await judge(other, listener({}, 'ours'), upstream())).lines).toEqual([
      expect.stringMatching(/^spec\.listeners\[0\]: there is no Listener edge\/public/),
    ]);
  });
});

test('two Upstreams that want the same conflict on a Listener that is not here, too', async () => {
  const { code, lines } = await judge(upstream(), upstream({}, 'twin'));
  expect([code, lines]).toEqual([1, ['spec.hostnames: api.example.com every path is served by an older Upstream']]);
});

test('the later of two documents with one name is judged, and the first is not refused', async () => {
  expect(await judge(upstream({ hostnames: ['*'] }), upstream())).toMatchObject({
    code: 0,
    lines: [expect.stringMatching(/^metadata\.name: warning: is written twice: first in \d+\.yaml:\d+; this one is judged/)],
  });
});

describe('the objects of a List', () => {
  const list = (...items: readonly unknown[]): string => stringify({ apiVersion: 'v1', kind: 'List', items });

  test('are judged, with their places in it', async () => {
    let out = '';
    const io = { stdout: (s: string) => void (out += s), stderr: () => {}, env: {}, cwd: dir };
    const name = write(list(service({ ports: [{ name: 'web', port: 80 }] }), upstream(), listener({ port: 0 }), 'x'));
    expect(await check.run([name], io)).toBe(1);
    expect(out.split('\n').slice(0, -1)).toEqual([
      expect.stringMatching(/: items\[1\]\.spec\.backends\[0\]\.service\.port: Service web\/api has no TCP port "http"/),
      expect.stringMatching(/: items\[2\]\.spec\.port: must be a whole number/),
      expect.stringMatching(/: items\[3\]: must be a map of fields/),
      '3 problems found, judged as objects of a cluster',
    ]);
    const text = list(service({ ports: [{ name: 'web', port: 80 }] }), upstream(), listener({ port: 0 }), 'x').split('\n');
    const lines = out.split('\n').map((l) => Number(l.split(':')[1]));
    expect([text[(lines[0] ?? 0) - 1], text[(lines[1] ?? 0) - 1], text[(lines[2] ?? 0) - 1]]).toEqual([
      expect.stringContaining('port: http'),
      expect.stringContaining('port: 0'),
      '  - x',
    ]);
  });

  test('as kubectl writes them, with faults of their text', async () => {
    const text =
      'apiVersion: v1\nkind: List\nitems:\n- apiVersion: spooky.dev/v1alpha1\n  kind: Upstream\n  metadata: {name: a, namespace: web}\n' +
      '  spec:\n    hostnames: [no]\n    auth:\n    matches:\n    backends: [{service: {name: a, port: 1}}]\n' +
      '- {apiVersion: v1, kind: ConfigMap, metadata: {name: x}, data: {a: yes}}\n- {apiVersion: apps/v1, kind: Deployment, x: yes}\n';
    expect((await run([write(text)])).lines).toEqual([
      expect.stringMatching(/^items\[0\]\.spec\.hostnames\[0\]: no without quotes is a boolean/),
      'items[0].spec.auth: auth is not supported yet',
      'items[0].spec.matches: warning: has no value and counts as absent',
      expect.stringMatching(/^items\[1\]\.data\.a: yes without quotes is a boolean/),
    ]);
  });

  test('that is none, or in another one, is refused', async () => {
    expect((await run([write('apiVersion: v1\nkind: List\nitems: x\n')])).lines).toEqual(['items: must be a list of objects']);
    expect((await run([write(list({ apiVersion: 'v1', kind: 'List', items: [] }))])).lines).toEqual([
      'items[0].kind: a List in a List is not read',
    ]);
  });
});

test('what documents hold never drives a terminal, and breaks nothing', async () => {
  const evil = 'a\u001b[2J';
  const objects = [
    at('v1', 'Service', evil, evil),
    at('v1', 'Service', 'web', 'api', { spec: evil }),
    at('v1', 'Service', 'web', 'api', { spec: { ports: [evil, null, [], { port: evil }] } }),
    { apiVersion: 'v1', kind: 'Namespace', metadata: evil },
    { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'web', labels: [evil] } },
    at('gateway.networking.k8s.io/v1', 'ReferenceGrant', evil, 'x', { spec: evil }),
    at('gateway.networking.k8s.io/v1', 'ReferenceGrant', 'web', 'x', { spec: { from: evil, to: [evil] } }),
    at(evil, 'Deployment', 'web', 'x'),
    at('apps/v1', evil, 'web', 'x'),
    upstream(),
  ];
  let out = '';
  const io = { stdout: (s: string) => void (out += s), stderr: () => {}, env: {}, cwd: dir };
  expect(await check.run([write(objects.map((o) => JSON.stringify(o)).join('\n---\n'))], io)).toBe(1);
  expect(out).not.toContain('\u001b');
  expect(out.split('\n').map((l) => l.replace(/^\S+:\d+:\d+: /, ''))).toEqual([
    expect.stringMatching(/^apiVersion: must be spooky\.dev\/v1alpha1, .* not "a\\u001b\[2J"$/),
    'kind: must be the name of a kind, not "a\\u001b[2J"',
    'spec.backends[0].service.port: Service web/api has no TCP port "http"; it has no ports',
    '3 problems found, judged as objects of a cluster',
    '',
  ]);
});
