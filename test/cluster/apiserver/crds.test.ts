import { beforeAll, describe, expect, test } from '@jest/globals';
import { startApi, type Answer, type Api } from '../api.ts';

const GROUP = '/apis/spooky.dev/v1alpha1/namespaces';
const listener = { apiVersion: 'spooky.dev/v1alpha1', kind: 'Listener' } as const;
const upstream = { apiVersion: 'spooky.dev/v1alpha1', kind: 'Upstream' } as const;

let api: Api;
let spaces = 0;
beforeAll(async () => {
  api = await startApi();
  await api.crds();
}, 120_000);

/** A namespace of the test's own. */
const space = (): Promise<string> => api.namespace(`crds-${(spaces += 1)}`);

type Doc = Readonly<Record<string, unknown>>;
const create = (ns: string, plural: string, object: Doc, query = 'fieldValidation=Strict'): Promise<Answer> =>
  api.request('POST', `${GROUP}/${ns}/${plural}?${query}`, object);
const get = async (ns: string, plural: string, name: string): Promise<Doc> =>
  (await api.request('GET', `${GROUP}/${ns}/${plural}/${name}`)).body as Doc;
const apply = (path: string, manager: string, object: Doc, force = false): Promise<Answer> =>
  api.request('PATCH', `${path}?fieldManager=${encodeURIComponent(manager)}&force=${force}`, object, {
    'content-type': 'application/apply-patch+yaml',
  });

/** The rows that kubectl prints, column by column. */
const table = (text: string): string[][] =>
  text
    .trimEnd()
    .split('\n')
    .map((line) => line.trimEnd().split(/ {2,}/));

const anyListener = { ...listener, metadata: { name: 'public' }, spec: { port: 8443, tls: { certificateRefs: [{ name: 'a' }] } } };
const anyUpstream = {
  ...upstream,
  metadata: { name: 'api' },
  spec: { hostnames: ['api.example.com'], backends: [{ service: { name: 'api', port: 'http' } }] },
};
const verdict = (type: string, status: string, reason: string, generation = 1) => ({
  type,
  status,
  reason,
  message: `${type} is ${status}.`,
  observedGeneration: generation,
  lastTransitionTime: '2026-01-01T00:00:00Z',
});

test('the kinds have their names, short names and the category', async () => {
  const { body } = await api.request('GET', '/apis/spooky.dev/v1alpha1');
  expect((body as { resources: unknown[] }).resources).toEqual(
    expect.arrayContaining([
      expect.objectContaining({ name: 'listeners', singularName: 'listener', namespaced: true, kind: 'Listener', shortNames: ['lsn'], categories: ['spooky'] }), // prettier-ignore
      expect.objectContaining({ name: 'upstreams', singularName: 'upstream', namespaced: true, kind: 'Upstream', shortNames: ['ups'], categories: ['spooky'] }), // prettier-ignore
      expect.objectContaining({ name: 'listeners/status', kind: 'Listener' }),
      expect.objectContaining({ name: 'upstreams/status', kind: 'Upstream' }),
    ]),
  );
  const ns = await space();
  await create(ns, 'listeners', anyListener);
  await create(ns, 'upstreams', anyUpstream);
  expect((await api.kubectl(['get', 'spooky', '-n', ns, '-o', 'name'])).trim().split('\n')).toEqual([
    'listener.spooky.dev/public',
    'upstream.spooky.dev/api',
  ]);
});

describe('kubectl explain', () => {
  test('listener.spec.quic', async () => {
    expect(await api.kubectl(['explain', 'listener.spec.quic'])).toBe(`GROUP:      spooky.dev
KIND:       Listener
VERSION:    v1alpha1

FIELD: quic <Object>


DESCRIPTION:
    QUIC transport.
    
FIELDS:
  congestionControl	<string>
  enum: Reno, Cubic, BBR
    How the sending rate adapts. Default: Cubic.

  handshakeTimeout	<string>
    How long a handshake may take. Default: 10s. Range: 100ms to 5m. Format:
    duration.

  idleTimeout	<string>
    How long a connection may be silent. Default: 30s. Range: 1s to 1h. Format:
    duration.

  keepAlive	<string>
    When to send PING on a silent connection: Auto is half the idle time while a
    request is open. Default: Auto. Range: Auto | Never | 100ms to 1h. Format:
    duration.

  maxStreams	<integer>
    Concurrent requests per connection. Default: 128. Range: 1 to 65535.

  retry	<string>
  enum: Auto, Always, Never
    Address validation before a handshake: Auto when half-open connections pass
    a threshold. Default: Auto.

  streamWindow	<Object>
    Bytes that a client may send on a stream ahead of what was consumed.
    Default: 1Mi. Range: 1Ki to 64Mi. Format: size, a number or text.


`);
  });

  test('every field has a description', async () => {
    for (const kind of ['listener', 'upstream']) {
      const { body } = await api.request('GET', '/openapi/v3/apis/spooky.dev/v1alpha1');
      const { schemas } = (body as { components: { schemas: Record<string, Doc> } }).components;
      const [, schema] = Object.entries(schemas).find(([name]) => name.toLowerCase().endsWith(`.${kind}`)) ?? [];
      const bare: string[] = [];
      const walk = (node: Doc, path: string): void => {
        if (typeof node['description'] !== 'string' || node['description'] === '') bare.push(path);
        for (const [name, inner] of Object.entries((node['properties'] ?? {}) as Record<string, Doc>)) walk(inner, `${path}.${name}`);
        if (node['items'] !== undefined) walk(node['items'] as Doc, `${path}[]`);
      };
      const { spec, status } = (schema?.['properties'] ?? {}) as Record<string, Doc>;
      walk(spec as Doc, 'spec');
      walk(status as Doc, 'status');
      expect(bare).toEqual([]);
      expect((await api.kubectl(['explain', `${kind}.spec`])).length).toBeGreaterThan(500);
    }
  });
});

describe('defaults', () => {
  test('are kept with the object, in every version of it', async () => {
    const ns = await space();
    const { status, body } = await create(ns, 'listeners', anyListener);
    expect(status).toBe(201);
    const spec = {
      className: 'spooky',
      port: 8443,
      protocols: ['HTTP3'],
      tls: { certificateRefs: [{ name: 'a' }], unmatched: 'Default', allowUpstreamCertificates: false },
      quic: {
        idleTimeout: '30s',
        keepAlive: 'Auto',
        handshakeTimeout: '10s',
        maxStreams: 128,
        streamWindow: '1Mi',
        congestionControl: 'Cubic',
        retry: 'Auto',
      },
      limits: {
        connectionsPerAddress: 1000,
        handshakesPerSecond: 2000,
        headerBytes: '64Ki',
        headerCount: 128,
        requestBody: 0,
        headerTimeout: '10s',
        bodyIdleTimeout: '30s',
        responseStall: '60s',
        noRequestTimeout: '5m',
        requestsPerConnection: 100_000,
        pending: 1024,
      },
      path: { escapedSlashes: 'Reject' },
      forwarded: { trust: [] },
      proxyStatusDetails: false,
      allowedNamespaces: { from: 'Same' },
    };
    expect((body as Doc)['spec']).toEqual(spec);
    expect((await get(ns, 'listeners', 'public'))['spec']).toEqual(spec);
  });

  test('of an Upstream, whose policies have none of their own', async () => {
    const ns = await space();
    const { body } = await create(ns, 'upstreams', anyUpstream);
    expect((body as Doc)['spec']).toEqual({
      hostnames: ['api.example.com'],
      backends: [{ name: 'default', weight: 1, service: { name: 'api', port: 'http' } }],
      protocol: 'Auto',
      loadBalancing: { type: 'RoundRobin' },
      timeouts: { connect: '1s', response: '30s', idle: '5m', request: '0s' },
    });
    const checked = { ...anyUpstream, metadata: { name: 'checked' }, spec: { ...anyUpstream.spec, healthCheck: {}, tls: {} } };
    expect(((await create(ns, 'upstreams', checked)).body as { spec: Doc }).spec).toMatchObject({
      healthCheck: {
        type: 'HTTP',
        interval: '5s',
        timeout: '1s',
        healthyThreshold: 2,
        unhealthyThreshold: 3,
        initial: 'Healthy',
        cooldown: '0s',
      },
      tls: { verify: 'Full', sni: true },
    });
  });
});

describe('unknown fields', () => {
  const misspelt = { ...anyListener, spec: { ...anyListener.spec, quic: { idleTimout: '1s' } } };

  test('are refused by a strict client, by name', async () => {
    const ns = await space();
    const { status, body } = await create(ns, 'listeners', misspelt);
    expect(status).toBe(400);
    expect((body as Doc)['message']).toContain('unknown field "spec.quic.idleTimout"');
    const { code, stderr } = await api.tryKubectl(['apply', '--server-side', '-n', ns, '-f', '-'], JSON.stringify(misspelt));
    expect([code, stderr]).toEqual([1, expect.stringContaining('spec.quic.idleTimout: field not declared in schema')]);
  });

  test('are dropped for others, and those that restrict access are refused for everybody', async () => {
    const ns = await space();
    const { status, body } = await create(ns, 'listeners', misspelt, 'fieldValidation=Ignore');
    expect([status, JSON.stringify(body)]).toEqual([201, expect.not.stringContaining('idleTimout"')]);
    const open = { ...anyUpstream, spec: { ...anyUpstream.spec, auth: { basic: {} } } };
    const refused = await create(ns, 'upstreams', open, 'fieldValidation=Ignore');
    expect([refused.status, JSON.stringify(refused.body)]).toEqual([422, expect.stringContaining('auth is not supported yet')]);
    const later = { ...anyUpstream, spec: { ...anyUpstream.spec, retry: {} } };
    expect((await create(ns, 'upstreams', later)).status).toBe(400);
  });
});

test('Listeners are found by class and by port', async () => {
  const ns = await space();
  await create(ns, 'listeners', anyListener);
  await create(ns, 'listeners', {
    ...anyListener,
    metadata: { name: 'other' },
    spec: { ...anyListener.spec, className: 'other', port: 9443 },
  });
  const found = async (selector: string): Promise<string> =>
    (await api.kubectl(['get', 'lsn', '-n', ns, '--field-selector', selector, '-o', 'jsonpath={.items[*].metadata.name}'])).trim();
  expect(await found('spec.className=other')).toBe('other');
  expect(await found('spec.port=8443')).toBe('public');
  expect(await found('spec.className!=nobody')).toBe('other public');
});

describe('status', () => {
  test('is a thing of its own: a write of one does not touch the other, nor its generation', async () => {
    const ns = await space();
    const written = await create(ns, 'listeners', { ...anyListener, status: { attachedUpstreams: 9 } });
    expect((written.body as Doc)['status']).toBeUndefined();
    const path = `${GROUP}/${ns}/listeners/public`;
    const status = { attachedUpstreams: 3, conditions: [verdict('Accepted', 'True', 'Valid')] };
    const answer = await apply(`${path}/status`, 'spooky.dev/spooky', {
      ...listener,
      metadata: { name: 'public' },
      spec: { port: 1 },
      status,
    });
    expect(answer.status).toBe(200);
    expect(answer.body).toMatchObject({ metadata: { generation: 1 }, spec: { port: 8443 }, status });
    // The same again writes nothing.
    const again = await apply(`${path}/status`, 'spooky.dev/spooky', { ...listener, metadata: { name: 'public' }, status });
    expect((again.body as { metadata: Doc }).metadata['resourceVersion']).toBe(
      (answer.body as { metadata: Doc }).metadata['resourceVersion'],
    );
    const spec = { ...(await get(ns, 'listeners', 'public')), status: {} };
    expect((await api.request('PUT', path, spec)).body).toMatchObject({ metadata: { generation: 1 }, status });
  });

  test('verdicts are whole, and one of each type', async () => {
    const ns = await space();
    await create(ns, 'listeners', anyListener);
    const write = (status: Doc): Promise<Answer> =>
      api.request('PATCH', `${GROUP}/${ns}/listeners/public/status`, { status }, { 'content-type': 'application/merge-patch+json' });
    const { lastTransitionTime: _, ...timeless } = verdict('Accepted', 'True', 'Valid');
    expect(await write({ conditions: [timeless] })).toMatchObject({ status: 422, body: { message: expect.stringContaining('lastTransitionTime: Required') } }); // prettier-ignore
    const twice = [verdict('Accepted', 'True', 'Valid'), verdict('Accepted', 'False', 'Invalid')];
    expect(await write({ conditions: twice })).toMatchObject({
      status: 422,
      body: { message: expect.stringContaining('Duplicate value') },
    });
    expect(await write({ conditions: twice.slice(0, 1) })).toMatchObject({ status: 200 });
  });

  const entry = (controllerName: string, ready: number) => ({
    controllerName,
    attached: '1/1',
    endpoints: { total: 3, ready },
    conditions: [
      verdict('Accepted', 'True', 'Valid'),
      verdict('Conflicted', 'False', 'NoConflict'),
      verdict('Programmed', 'True', 'Programmed'),
    ],
    listeners: [{ namespace: 'spooky-system', name: 'public', conditions: [verdict('Accepted', 'True', 'Valid')] }],
  });

  test('two installations write one Upstream, and neither the entry of the other', async () => {
    const ns = await space();
    await create(ns, 'upstreams', anyUpstream);
    const path = `${GROUP}/${ns}/upstreams/api/status`;
    const write = (name: string, installations: readonly Doc[], force = false): Promise<Answer> =>
      apply(path, name, { ...upstream, metadata: { name: 'api' }, status: { installations } }, force);
    const [blue, green] = ['spooky.dev/blue', 'spooky.dev/green'];
    const installations = async (): Promise<Doc[]> =>
      ((await get(ns, 'upstreams', 'api'))['status'] as { installations?: Doc[] } | undefined)?.installations ?? [];

    expect((await write(blue, [entry(blue, 1)])).status).toBe(200);
    expect((await write(green, [entry(green, 2)])).status).toBe(200);
    expect(await installations()).toEqual([entry(blue, 1), entry(green, 2)]);
    // One moves on without a word of the other's.
    expect((await write(green, [entry(green, 3)])).status).toBe(200);
    expect(await installations()).toEqual([entry(blue, 1), entry(green, 3)]);
    // A condition that is no longer written is gone, and only that.
    const fewer = { ...entry(green, 3), conditions: [verdict('Accepted', 'True', 'Valid')] };
    expect((await write(green, [fewer])).status).toBe(200);
    expect(await installations()).toEqual([entry(blue, 1), fewer]);
    // Another's entry is a conflict that names it, unless it is forced.
    const conflict = await write(green, [fewer, entry(blue, 0)]);
    expect(conflict.status).toBe(409);
    expect(conflict.body).toMatchObject({ reason: 'Conflict', message: expect.stringContaining('conflict with "spooky.dev/blue"') });
    expect(await installations()).toEqual([entry(blue, 1), fewer]);
    // Who leaves takes its entry along.
    expect((await write(green, [])).status).toBe(200);
    expect(await installations()).toEqual([entry(blue, 1)]);
  });

  test('an old version of the object is a conflict, a missing object is not made', async () => {
    const ns = await space();
    const { body } = await create(ns, 'upstreams', anyUpstream);
    const { resourceVersion } = (body as { metadata: { resourceVersion: string } }).metadata;
    const path = `${GROUP}/${ns}/upstreams/api/status`;
    const write = (version: string): Promise<Answer> =>
      apply(path, 'spooky.dev/spooky', {
        ...upstream,
        metadata: { name: 'api', resourceVersion: version },
        status: { installations: [{ controllerName: 'spooky.dev/spooky', attached: `1/${version}` }] },
      });
    expect((await write(resourceVersion)).status).toBe(200);
    expect(await write(resourceVersion)).toMatchObject({ status: 409, body: { reason: 'Conflict' } });
    const gone = await apply(`${GROUP}/${ns}/upstreams/none/status`, 'x', { ...upstream, metadata: { name: 'none' }, status: {} });
    expect(gone).toMatchObject({ status: 404, body: { reason: 'NotFound' } });
  });

  test('is what kubectl prints', async () => {
    const ns = await space();
    await create(ns, 'listeners', anyListener);
    await create(ns, 'upstreams', anyUpstream);
    expect(table(await api.kubectl(['get', 'lsn,ups', '-n', ns])).map((row) => row.slice(0, -1))).toEqual([
      ['NAME', 'PORT', 'ADDRESS', 'UPSTREAMS', 'ACCEPTED', 'RESOLVED', 'PROGRAMMED'],
      ['listener.spooky.dev/public', '8443'],
      [],
      ['NAME', 'HOSTNAMES', 'ATTACHED', 'ENDPOINTS', 'ACCEPTED', 'RESOLVED', 'PROGRAMMED'],
      ['upstream.spooky.dev/api', '["api.example.com"]'],
    ]);
    const conditions = ['Accepted', 'ResolvedRefs', 'Programmed', 'Published'].map((type) => verdict(type, 'True', type));
    const addresses = [
      { type: 'IPAddress', value: '203.0.113.7', port: 443 },
      { type: 'IPAddress', value: '2001:db8::7', port: 443 },
    ];
    await apply(`${GROUP}/${ns}/listeners/public/status`, 'x', { ...listener, metadata: { name: 'public' }, status: { addresses, attachedUpstreams: 1, conditions } }); // prettier-ignore
    await apply(`${GROUP}/${ns}/upstreams/api/status`, 'x', { ...upstream, metadata: { name: 'api' }, status: { installations: [entry('spooky.dev/spooky', 2)] } }); // prettier-ignore
    expect(table(await api.kubectl(['get', 'lsn,ups', '-n', ns, '-o', 'wide'])).map((row) => row.slice(0, -1))).toEqual([
      ['NAME', 'PORT', 'ADDRESS', 'UPSTREAMS', 'ACCEPTED', 'RESOLVED', 'PROGRAMMED', 'PUBLISHED', 'REASON'],
      ['listener.spooky.dev/public', '8443', '203.0.113.7', '1', 'True', 'True', 'True', 'True', 'Accepted'],
      [],
      ['NAME', 'HOSTNAMES', 'ATTACHED', 'ENDPOINTS', 'ACCEPTED', 'RESOLVED', 'PROGRAMMED', 'CONFLICTED', 'REASON'],
      ['upstream.spooky.dev/api', '["api.example.com"]', '1/1', '2', 'True', 'True', 'False', 'Valid'],
    ]);
  });
});
