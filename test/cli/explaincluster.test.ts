/** `spooky explain --kubernetes`, against the fake API server. */
import { afterAll, afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { explain } from '../../src/cli/explain.ts';
import { startApiServer, type FakeApiServer, type Plain, type Rule } from '../kit/apiserver/index.ts';
import { makeCertificate } from '../kit/x509.ts';

const dir = mkdtempSync(join(tmpdir(), 'explain-cluster-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

let fake: FakeApiServer;
beforeEach(async () => {
  fake = await startApiServer();
});
afterEach(() => fake.stop());

const OURS = 'spooky.dev/v1alpha1';
const at = (apiVersion: string, kind: string, namespace: string, name: string, rest: Plain): Plain => ({
  apiVersion,
  kind,
  metadata: { namespace, name },
  ...rest,
});
const leaf = makeCertificate({ names: ['*.example'] });
const listener = (spec: Plain = {}, name = 'public'): Plain =>
  at(OURS, 'Listener', 'edge', name, {
    spec: { port: 8443, tls: { certificateRefs: [{ name: 'tls' }] }, allowedNamespaces: { from: 'All' }, ...spec },
  });
const upstream = (name: string, spec: Plain = {}, namespace = 'web'): Plain =>
  at(OURS, 'Upstream', namespace, name, {
    spec: { hostnames: ['api.example'], backends: [{ service: { name: 'api', port: 'http' } }], ...spec },
  });
const service = (name: string, namespace = 'web'): Plain =>
  at('v1', 'Service', namespace, name, { spec: { ports: [{ name: 'http', port: 80 }] } });
const slice = (of: string, ready: readonly boolean[], namespace = 'web'): Plain => ({
  apiVersion: 'discovery.k8s.io/v1',
  kind: 'EndpointSlice',
  metadata: { name: `${of}-1`, namespace, labels: { 'kubernetes.io/service-name': of } },
  addressType: 'IPv4',
  ports: [{ name: 'http', port: 8080, protocol: 'TCP' }],
  endpoints: ready.map((yes, i) => ({ addresses: [`10.1.2.${i + 1}`], conditions: { ready: yes } })),
});
const secret = (): Plain =>
  at('v1', 'Secret', 'edge', 'tls', {
    type: 'kubernetes.io/tls',
    data: { 'tls.crt': Buffer.from(leaf.cert).toString('base64'), 'tls.key': Buffer.from(leaf.key).toString('base64') },
  });
const whole = (): void =>
  [secret(), listener(), upstream('api'), service('api'), slice('api', [true, true, false])].forEach((o) => fake.create(o));

interface Outcome {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

async function run(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Outcome> {
  let [out, err] = ['', ''];
  const code = await explain.run(args, { stdout: (t) => void (out += t), stderr: (t) => void (err += t), env, cwd: dir });
  return { code, out, err };
}

const ask = (url: string, token = fake.token, ...more: string[]): Promise<Outcome> =>
  run(['--kubernetes', '--kubeconfig', fake.kubeconfig(token), 'GET', url, ...more]);

/** A user who may list these and nothing else. */
const reader = (...lists: readonly (readonly [string, ...string[]])[]): string =>
  fake.rules(lists.map(([group, ...resources]): Rule => ({ apiGroups: [group], resources, verbs: ['list'] })));
const ROUTES = ['spooky.dev', 'listeners', 'upstreams'] as const;

test('the winner with its endpoints, and the conditions of what lost', async () => {
  whole();
  fake.create(upstream('orders', { matches: [{ path: { value: '/orders' } }], backends: [{ service: { name: 'gone', port: 1 } }] }));
  fake.create(upstream('twin'));
  fake.create(upstream('elsewhere', { hostnames: ['api.example'], listeners: [{ namespace: 'edge', name: 'other' }] }));
  fake.create(upstream('unrelated', { hostnames: ['unrelated.example'], backends: [{ service: { name: 'gone', port: 1 } }] }));
  const { code, out, err } = await ask('https://api.example:8443/a', fake.token, '--from', '192.0.2.1');
  expect([code, err]).toEqual([0, '']);
  expect(out.split('\n')).toEqual([
    'GET https://api.example:8443/a',
    '',
    'Listener edge/public, port 8443, every address',
    '  certificate edge/tls (ECDSA), by name',
    '  client      192.0.2.1 is not trusted: its x-forwarded-* fields are replaced',
    '  goes to     Upstream web/api: api.example every path',
    '  balancing   RoundRobin',
    '  backends',
    '    default, weight 1 (100 %), H2C',
    '      Service web/api, port http: 2 of 3 endpoints ready',
    '',
    '  The others:',
    '    Upstream web/orders: api.example /orders (matches[0])',
    '      does not take it: the path is not under /orders',
    '      ResolvedRefs is False: InvalidBackend: spec.backends[0].service: there is no Service web/gone',
    '',
    '  Not served here, although a hostname fits:',
    '    Upstream web/twin',
    '      Accepted is False: Conflicted: an older Upstream has every one of its hostnames and matches',
    '      Programmed is False: Pending: it is not accepted',
    '      Conflicted is True: Conflict: an older Upstream serves api.example every path',
    '',
  ]);
});

test('the faults of what serves are told beside it', async () => {
  whole();
  fake.remove('secrets', 'edge', 'tls');
  fake.replace(upstream('api', { backends: [{ service: { name: 'api', port: 'grpc' } }] }));
  const { code, out } = await ask('https://api.example:8443/a');
  expect([code, out.split('\n').slice(2)]).toEqual([
    0,
    [
      'Listener edge/public, port 8443, every address',
      '  certificate none for api.example: the handshake is refused',
      '  ResolvedRefs is False: InvalidCertificate: spec.tls.certificateRefs[0]: there is no Secret edge/tls',
      '  Programmed is False: Pending: there is no usable certificate: every handshake is refused',
      '  goes to     Upstream web/api: api.example every path',
      '  balancing   RoundRobin',
      '  backends',
      '    default, weight 1 (100 %): answers 500, a reference of it does not hold',
      '  ResolvedRefs is False: InvalidBackend: spec.backends[0].service.port: Service web/api has no TCP port "grpc"; it has http (80)',
      '',
    ],
  ]);
});

test('one list of each kind, and nothing else', async () => {
  whole();
  fake.installGrants();
  fake.calls.length = 0;
  expect((await ask('https://api.example/')).code).toBe(0);
  const said = fake.calls.map(({ verb, resource }) => `${verb} ${resource}`);
  expect(said.filter((s) => s.startsWith('list ')).sort()).toEqual(
    ['namespaces', 'listeners', 'upstreams', 'services', 'endpointslices', 'secrets', 'configmaps', 'referencegrants']
      .map((r) => `list ${r}`)
      .sort(),
  );
  // What groups and versions there are is asked by anybody.
  expect(fake.calls.filter((c) => c.verb !== 'list').map((c) => c.path)).toEqual(['/apis/gateway.networking.k8s.io/v1']);
});

test('a Listener is reached by its own port and by those that its status has', async () => {
  whole();
  expect((await ask('https://api.example/')).out).toContain('No Listener is reached at port 443;');
  fake.setStatus('listeners', 'edge', 'public', { addresses: [{ type: 'IPAddress', value: '192.0.2.1', port: 30443 }] });
  expect((await ask('https://api.example:30443/')).out).not.toContain('No Listener is reached');
  // A Service in front of the pods, before any address is known.
  const port = (fake.get('listeners', 'edge', 'public') as unknown as { spec: { port: number } }).spec.port;
  const ports = [
    { name: 'https', port: 444, protocol: 'UDP', targetPort: port, nodePort: 30444 },
    { name: 'other', port: 445, protocol: 'UDP', targetPort: port + 1, nodePort: 30445 },
    { name: 'tcp', port: 446, protocol: 'TCP', targetPort: port, nodePort: 30446 },
  ];
  fake.create({ apiVersion: 'v1', kind: 'Service', metadata: { namespace: 'edge', name: 'front' }, spec: { type: 'NodePort', ports } });
  for (const reached of [444, 30444]) expect((await ask(`https://api.example:${reached}/`)).out).not.toContain('No Listener is reached');
  for (const not of [445, 30445, 446, 30446])
    expect((await ask(`https://api.example:${not}/`)).out).toContain(`No Listener is reached at port ${not};`);
});

test('what only the controller knows is told from the statuses, as long as they are of this generation', async () => {
  whole();
  const condition = (type: string, status: string, reason: string, message = '', observedGeneration = 1): Plain => ({
    type,
    status,
    reason,
    message,
    observedGeneration,
    lastTransitionTime: '2026-01-01T00:00:00Z',
  });
  const refused = condition('Accepted', 'False', 'NotAllowed', 'Listeners of namespace edge do not count');
  const good = condition('ResolvedRefs', 'True', 'ResolvedRefs');
  fake.setStatus('listeners', 'edge', 'public', { conditions: [refused, good] });
  const unread = condition('ResolvedRefs', 'False', 'RefNotPermitted', 'Secrets of namespace web are not read');
  const there = {
    namespace: 'edge',
    name: 'public',
    conditions: [unread, condition('Programmed', 'False', 'Pending', 'of an older generation', 7)],
  };
  const other = { controllerName: 'spooky.dev/other', conditions: [condition('Accepted', 'False', 'NotAllowed', 'not ours')] };
  fake.setStatus('upstreams', 'web', 'api', { installations: [other, { controllerName: 'spooky.dev/spooky', listeners: [there] }] });
  const said = async (): Promise<string[]> =>
    (await ask('https://api.example:8443/')).out.split('\n').filter((l) => l.includes('its status says'));
  expect(await said()).toEqual([
    '  its status says Accepted is False: NotAllowed: Listeners of namespace edge do not count',
    '  its status says ResolvedRefs is False: RefNotPermitted: Secrets of namespace web are not read',
  ]);
  // What the objects themselves say is not said twice.
  fake.remove('secrets', 'edge', 'tls');
  const gone = condition('ResolvedRefs', 'False', 'InvalidCertificate', 'spec.tls.certificateRefs[0]: there is no Secret edge/tls');
  fake.setStatus('listeners', 'edge', 'public', { conditions: [gone] });
  fake.setStatus('upstreams', 'web', 'api', {});
  expect(await said()).toEqual([]);
});

describe('with few rights', () => {
  const LINES: readonly (readonly [string, string, RegExp])[] = [
    [
      '',
      'namespaces',
      /^Namespaces cannot be listed: forbidden: .*: a Listener that selects namespaces by labels is taken to select them all\.$/m,
    ],
    ['', 'services', /^Services cannot be listed: forbidden: .*: backends are taken as they are written: .*\.$/m],
    [
      '',
      'secrets',
      /^Secrets cannot be listed: forbidden: .*: which certificates are shown is not known, and their faults are not told\.$/m,
    ],
    ['', 'configmaps', /^ConfigMaps cannot be listed: forbidden: .*: authorities for backends are taken to be right\.$/m],
    ['discovery.k8s.io', 'endpointslices', /^EndpointSlices cannot be listed: forbidden: .*: endpoints are not counted\.$/m],
    [
      'gateway.networking.k8s.io',
      'referencegrants',
      /^ReferenceGrants cannot be listed: forbidden: .*: references into other namespaces are taken to be granted\.$/m,
    ],
  ];
  const all = LINES.map(([group, resource]) => [group, resource] as const);

  test.each(LINES)('without %s %s', async (_, resource, line) => {
    whole();
    fake.installGrants();
    const token = reader(ROUTES, ...all.filter(([, r]) => r !== resource));
    const { code, out, err } = await ask('https://api.example:8443/', token);
    expect([code, err]).toEqual([0, '']);
    expect(out).toMatch(line);
    expect(out.match(/ cannot be listed/g)).toHaveLength(1);
    expect(out).toContain('goes to     Upstream web/api');
    expect(out).toContain(
      resource === 'endpointslices' ? '      Service web/api, port http\n' : '      Service web/api, port http: 2 of 3 endpoints ready\n',
    );
    expect(out).toContain(resource === 'secrets' ? '  certificate not known: Secrets were not read' : '  certificate edge/tls (ECDSA)');
    expect(out).not.toContain('is False');
  });

  test('Listeners and Upstreams are enough', async () => {
    const selecting = { from: 'Selector', selector: { matchLabels: { team: 'a' } } };
    const far = { backends: [{ service: { name: 'far', namespace: 'shop', port: 80 }, protocol: 'H2', tls: { caRef: { name: 'ca' } } }] };
    [listener({ allowedNamespaces: selecting }), upstream('api', far)].forEach((o) => fake.create(o));
    fake.installGrants();
    const { code, out } = await ask('https://api.example:8443/', reader(ROUTES));
    expect(code).toBe(0);
    expect(out).toContain('  goes to     Upstream web/api');
    expect(out).toContain('    default, weight 1 (100 %), H2, verified\n      Service shop/far\n');
    expect(out).not.toContain('answers 500');
    expect(out.match(/ cannot be listed: forbidden: /g)).toHaveLength(6);
    expect(out).toContain(
      '\nUpstream web/api needs a ReferenceGrant in shop (from: group spooky.dev, kind Upstream, namespace web; to: group "", kind Service).\n',
    );
  });

  test('what is seen is judged: labels, Services, grants', async () => {
    fake.namespace('web', { team: 'b' });
    const selecting = { from: 'Selector', selector: { matchLabels: { team: 'a' } } };
    [secret(), listener({ allowedNamespaces: selecting }), upstream('api', { listeners: [{ namespace: 'edge', name: 'public' }] })].forEach(
      (o) => fake.create(o),
    );
    const { out } = await ask('https://api.example:8443/');
    expect(out).toContain('answers 404: no Upstream here has a hostname for api.example');
    expect(out).toContain(
      '    Upstream web/api\n      Accepted is False: NotAllowed: there is no Listener edge/public that admits Upstreams of namespace web',
    );
    fake.replace({ ...listener() });
    fake.create(upstream('far', { hostnames: ['far.example'], backends: [{ service: { name: 'x', namespace: 'shop', port: 1 } }] }));
    expect((await ask('https://api.example:8443/')).out).toContain('answers 500, a reference of it does not hold');
    const granted = await ask('https://far.example:8443/');
    expect([granted.out.includes('answers 500'), granted.out.includes('needs a ReferenceGrant')]).toEqual([true, false]);
  });

  test('of some namespaces', async () => {
    whole();
    const rules = ['edge', 'web'].flatMap((namespace): Rule[] => [
      { apiGroups: ['spooky.dev'], resources: ['listeners', 'upstreams'], verbs: ['list'], namespace },
      {
        apiGroups: ['', 'discovery.k8s.io'],
        resources: ['services', 'endpointslices', 'secrets', 'configmaps'],
        verbs: ['list'],
        namespace,
      },
    ]);
    const token = fake.rules(rules);
    const { code, out } = await ask('https://api.example:8443/', token, '--namespaces', 'web', '--listener-namespaces', 'edge');
    expect(code).toBe(0);
    expect(out).toContain('2 of 3 endpoints ready');
    expect(out).toContain('Only the namespaces edge, web were read.');
    const refused = await ask('https://api.example:8443/', token);
    expect([refused.code, refused.out, refused.err]).toEqual([
      1,
      '',
      expect.stringMatching(
        /^spooky explain: Listeners cannot be listed: forbidden: .*listeners\.spooky\.dev is forbidden.*; .*--namespaces asks for some of them only\n$/,
      ),
    ]);
  });
});

describe('what is not there', () => {
  test.each<[string, () => void, RegExp]>([
    ['no Listener', () => undefined, /^spooky explain: there is no Listener of class spooky\n$/],
    [
      'one of another class',
      () => void fake.create(listener({ className: 'other' })),
      /there is no Listener of class spooky; there are 1 of other classes \(--class\)\n$/,
    ],
  ])('%s', async (_, prepare, message) => {
    prepare();
    const { code, out, err } = await ask('https://api.example/');
    expect([code, out, err]).toEqual([1, '', expect.stringMatching(message)]);
  });

  test('a class of its own is asked for by name', async () => {
    fake.create(listener({ className: 'other' }));
    expect((await ask('https://api.example/', fake.token, '--class', 'other')).code).toBe(0);
  });

  test('the CRDs', async () => {
    await fake.stop();
    fake = await startApiServer({ crds: false });
    const { code, err } = await ask('https://api.example/');
    expect([code, err]).toEqual([
      1,
      expect.stringMatching(/^spooky explain: Listeners cannot be listed: not found: .*; the CRDs of spooky\.dev are not installed: /),
    ]);
  });

  test('the kubeconfig', async () => {
    const nowhere = join(dir, 'nowhere');
    const named = await run(['--kubernetes', '--kubeconfig', nowhere, 'GET', 'https://a.example/']);
    expect([named.code, named.err]).toEqual([
      1,
      expect.stringMatching(
        /^spooky explain: the kubeconfig cannot be read: ENOENT.*; --kubeconfig and --context say which cluster is meant\n$/,
      ),
    ]);
    const home = await run(['--kubernetes', 'GET', 'https://a.example/'], { HOME: dir });
    expect([home.code, home.err]).toEqual([1, expect.stringContaining(join(dir, '.kube', 'config'))]);
  });

  test('the context', async () => {
    const { code, err } = await ask('https://a.example/', fake.token, '--context', 'other');
    expect([code, err]).toEqual([1, expect.stringMatching(/has no context "other": it has /)]);
  });

  test('the server', async () => {
    const config = fake.kubeconfig();
    await fake.kill();
    const { code, err } = await run(['--kubernetes', '--kubeconfig', config, 'GET', 'https://a.example/']);
    expect([code, err]).toEqual([
      1,
      expect.stringMatching(/^spooky explain: \w+ cannot be listed: connection: .*ECONNREFUSED.*; is this the right cluster/),
    ]);
  });

  test('the right to be there', async () => {
    const { code, err } = await ask('https://a.example/', 'nobody');
    expect([code, err]).toEqual([
      1,
      expect.stringMatching(/cannot be listed: unauthorized: .*; the credentials of the kubeconfig are not \(or no longer\) valid\n$/),
    ]);
  });
});

test('objects that the schema refuses are told of', async () => {
  whole();
  const faults = fake.faults;
  const raw = { ...upstream('old', { hostnames: [] }), metadata: { namespace: 'web', name: 'old', uid: 'u', resourceVersion: '1' } };
  const page = JSON.stringify({ kind: 'UpstreamList', apiVersion: OURS, metadata: { resourceVersion: '2' }, items: [raw] });
  faults.answer(200, { 'content-type': 'application/json' }, page, { path: '/upstreams' });
  const { code, out } = await ask('https://api.example:8443/');
  expect(code).toBe(0);
  expect(out).toMatch(/^Upstream web\/old is not served: Accepted is False: Invalid: 1 fault: spec\.hostnames: /m);
});

test('what a server says never drives a terminal', async () => {
  whole();
  const evil = 'a\u001b[2J\u202e';
  fake.faults.status(403, { path: '/services', message: evil });
  const items = [
    { metadata: { namespace: evil, name: evil, uid: evil } },
    { metadata: { namespace: 'web', name: 'x', uid: 'u' }, spec: { hostnames: [evil] } },
    null,
    5,
  ];
  const page = JSON.stringify({ kind: 'UpstreamList', apiVersion: OURS, metadata: { resourceVersion: '2' }, items });
  fake.faults.answer(200, { 'content-type': 'application/json' }, page, { path: '/upstreams' });
  const { code, out, err } = await ask(`https://api.example:8443/${evil}`);
  expect([code, err]).toEqual([0, '']);
  expect(out).not.toMatch(/[\u001b\u202e]/);
  expect(out).toContain('\\u001b[2J');
  fake.faults.answer(200, { 'content-type': 'application/json' }, '{"items": {}}', { path: '/listeners' });
  expect(await ask('https://api.example:8443/')).toEqual({
    code: 1,
    out: '',
    err: 'spooky explain: Listeners cannot be listed: malformed: the answer is not a list\n',
  });
});

test.each([
  [['--kubernetes', '--config', 'x', 'GET', 'https://a.example/']],
  [['--kubernetes', '--class', 'a b', 'GET', 'https://a.example/']],
  [['--kubernetes', '--namespaces', '', 'GET', 'https://a.example/']],
  [['--kubernetes', '--listener-namespaces', 'A', 'GET', 'https://a.example/']],
  [['--kubernetes', 'GET']],
  [['--class', 'x', '--config', 'x', 'GET', 'https://a.example/']],
  [['GET', 'https://a.example/']],
])('%j is a usage error', async (args) => {
  const { code, err } = await run(args);
  expect([code, err]).toEqual([2, expect.stringContaining('usage: spooky explain --config PATH METHOD URL')]);
});
