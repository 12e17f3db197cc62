/** `spooky serve --kubernetes` as a whole process, on an API server in this one. */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { Fields } from '../src/edge/http/fields.ts';
import { fetchOnce } from '../src/edge/http/h3/client.ts';
import { systemClock } from '../src/lib/clock.ts';
import { startApiServer, type FakeApiServer, type KubeObject } from './kit/apiserver/index.ts';
import { ENGINE } from './kit/engine.ts';
import { ROOT } from './kit/peers.ts';
import { Child, eventually, freeUdpPort, parseLine } from './kit/process.ts';
import { parseMetrics } from './kit/spooky.ts';
import { makeCertificate, type Issued } from './kit/x509.ts';

const ca = makeCertificate({ subject: 'cluster test CA', ca: true });
const leafFor = (name: string): Issued => makeCertificate({ names: [`DNS:${name}`], issuer: ca });

let fake: FakeApiServer;
beforeAll(async () => {
  fake = await startApiServer();
  fake.namespace('system');
  fake.namespace('web');
});
afterAll(() => fake.stop());

const base64 = (text: string): string => Buffer.from(text).toString('base64');
const secret = (name: string, leaf: Issued) => ({
  apiVersion: 'v1',
  kind: 'Secret',
  metadata: { namespace: 'system', name },
  type: 'kubernetes.io/tls',
  data: { 'tls.crt': base64(leaf.chain), 'tls.key': base64(leaf.key) },
});
const listener = (name: string, port: number, certificate: string, className = name) => ({
  apiVersion: 'spooky.dev/v1alpha1',
  kind: 'Listener',
  metadata: { namespace: 'system', name },
  spec: {
    className,
    addresses: ['127.0.0.1'],
    port,
    tls: { certificateRefs: [{ name: certificate }] },
    allowedNamespaces: { from: 'All' },
  },
});
const upstream = (name: string, target: string, hostnames: readonly string[]) => ({
  apiVersion: 'spooky.dev/v1alpha1',
  kind: 'Upstream',
  metadata: { namespace: 'web', name },
  spec: { listeners: [{ name: target, namespace: 'system' }], hostnames, backends: [{ service: { name: 'app', port: 80 } }] },
});

interface Running {
  readonly child: Child;
  readonly metrics: string;
  log(msg: string): Record<string, unknown>[];
}

const lineOf = (child: Child, msg: string): Promise<Record<string, unknown>> =>
  child.waitFor(
    'stderr',
    (line) => {
      const json = parseLine(line);
      return json?.['msg'] === msg ? json : undefined;
    },
    30_000,
  );

/** Until its probes answer; each test has a class of its own. */
async function start(className: string, ...args: string[]): Promise<Running> {
  const kubeconfig = fake.kubeconfig(fake.token, 'system');
  const fixed = ['--class', className, '--metrics', '127.0.0.1:0', '--admin', 'off', '--log-format', 'json', '--engine', ENGINE.name];
  const child = new Child(join(ROOT, 'bin/spooky'), ['serve', '--kubernetes', '--kubeconfig', kubeconfig, ...fixed, ...args], {
    env: { POD_NAME: `pod-${className}`, POD_NAMESPACE: 'system' },
  });
  const { metrics } = await lineOf(child, 'probes answer');
  const log = (msg: string): Record<string, unknown>[] =>
    child.stderr.map(parseLine).filter((line): line is Record<string, unknown> => line?.['msg'] === msg);
  return { child, metrics: `http://${String(metrics)}`, log };
}

const get = async (url: string): Promise<{ status: number; body: string }> => {
  const answer = await fetch(url, { signal: AbortSignal.timeout(5000) });
  return { status: answer.status, body: await answer.text() };
};

const ask = async (port: number, host: string): Promise<number> => {
  const answer = await fetchOnce(
    ENGINE,
    {
      host: '127.0.0.1',
      port,
      local: null,
      sni: host,
      alpn: ['h3'],
      ca: Buffer.from(ca.cert),
      insecure: false,
      handshakeMs: 5000,
      idleMs: 30_000,
    },
    { method: 'GET', scheme: 'https', authority: `${host}:${port}`, path: '/', fields: new Fields(), body: null },
    systemClock,
    5000,
  );
  return answer.status;
};

type Condition = { readonly type: string; readonly status: string; readonly reason: string; readonly message: string };
const conditionsOf = (object: KubeObject | undefined): Map<string, string> => {
  const status = (object as unknown as { status?: { conditions?: Condition[]; installations?: { conditions?: Condition[] }[] } })?.status;
  const list = status?.conditions ?? status?.installations?.[0]?.conditions ?? [];
  return new Map(list.map((c) => [c.type, `${c.status} ${c.reason}`]));
};
const conditioned = (plural: string, namespace: string, name: string, type: string, wanted: string): Promise<void> =>
  eventually(() => {
    const found = conditionsOf(fake.get(plural, namespace, name)).get(type);
    return found === wanted ? Promise.resolve() : Promise.reject(new Error(`${type} is ${found}`));
  });
const answers = (port: number, host: string, wanted: number): Promise<void> =>
  eventually(async () => {
    const status = await ask(port, host);
    if (status !== wanted) throw new Error(`${status}`);
  });

describe(`a cluster on ${ENGINE.name}`, () => {
  test('objects become traffic and statuses, and what changes, moves or goes is followed', async () => {
    const port = await freeUdpPort();
    fake.create(secret('story', leafFor('a.story.test')));
    fake.create(listener('story', port, 'story'));
    fake.create(upstream('story', 'story', ['a.story.test', 'b.story.test']));
    fake.create({
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { namespace: 'web', name: 'app' },
      spec: { ports: [{ port: 80, protocol: 'TCP' }] },
    });
    const { child, metrics } = await start('story', '--publish-addresses', '192.0.2.7');
    await lineOf(child, 'ready');
    expect(await get(`${metrics}/readyz`)).toEqual({ status: 200, body: 'ok\n' });
    // No pod serves; a host that nobody has.
    expect(await ask(port, 'a.story.test')).toBe(503);
    await conditioned('listeners', 'system', 'story', 'Programmed', 'True Programmed');
    await conditioned('upstreams', 'web', 'story', 'Accepted', 'True Valid');
    const status = fake.get('listeners', 'system', 'story') as unknown as { status: { addresses: unknown; attachedUpstreams: number } };
    expect(status.status).toMatchObject({ addresses: [{ type: 'IPAddress', value: '192.0.2.7', port }], attachedUpstreams: 1 });
    const lease = fake.get('leases', 'system', 'story-leader') as unknown as { spec: { holderIdentity: string } };
    expect(lease.spec.holderIdentity).toContain('pod-story');

    // A certificate that is replaced is shown at once.
    fake.put(secret('story', leafFor('b.story.test')));
    await answers(port, 'b.story.test', 503);

    // What is wrong with one object is its own condition, and nobody else's trouble.
    fake.create({
      ...upstream('broken', 'story', ['c.story.test']),
      spec: { ...upstream('broken', 'story', ['c.story.test']).spec, backends: [{ service: { name: 'nothing', port: 1 } }] },
    });
    await conditioned('upstreams', 'web', 'broken', 'ResolvedRefs', 'False InvalidBackend');
    expect(await ask(port, 'b.story.test')).toBe(503);

    fake.remove('upstreams', 'web', 'story');
    await answers(port, 'b.story.test', 404);

    // An outage of the API server is not one of ours.
    await fake.kill();
    expect(await ask(port, 'b.story.test')).toBe(404);
    expect((await get(`${metrics}/readyz`)).status).toBe(200);
    await fake.restart();
    fake.create(upstream('again', 'story', ['b.story.test']));
    await answers(port, 'b.story.test', 503);
    const samples = parseMetrics((await get(`${metrics}/metrics`)).body);
    expect(samples.find((s) => s.name === 'spooky_leader')?.value).toBe(1);
    expect(samples.filter((s) => s.name === 'spooky_kubernetes_status_writes_total' && s.labels['result'] === 'written').length).toBe(2);
    const text = [...child.stderr, ...child.stdout].join('\n') + (await get(`${metrics}/metrics`)).body;
    expect([text.includes('PRIVATE KEY'), text.includes(fake.token)]).toEqual([false, false]);

    // A drain leaves the lease to others and stays ready: the pod still serves what it has.
    child.kill('SIGTERM');
    await lineOf(child, 'drained');
    expect((await child.exited).code).toBe(0);
    expect((fake.get('leases', 'system', 'story-leader') as unknown as { spec: { holderIdentity: string } }).spec.holderIdentity).toBe('');
  }, 60_000);

  test('a drain keeps the pod ready, and says that it is one', async () => {
    const { child, metrics } = await start('drain', '--drain-delay', '1h');
    await lineOf(child, 'ready');
    child.kill('SIGTERM');
    await lineOf(child, 'draining');
    expect((await get(`${metrics}/readyz`)).status).toBe(200);
    expect((await get(`${metrics}/drainz`)).body).toBe('draining\n');
    child.kill('SIGTERM');
    expect((await child.exited).code).toBe(0);
  }, 30_000);

  test('an address that is taken is a condition, and everything else serves', async () => {
    const taken = createSocket('udp4').bind(0, '127.0.0.1');
    await once(taken, 'listening');
    const takenPort = taken.address().port;
    const port = await freeUdpPort();
    fake.create(secret('taken', leafFor('a.taken.test')));
    fake.create(listener('taken-a', takenPort, 'taken', 'taken'));
    fake.create(listener('taken-b', port, 'taken', 'taken'));
    const { child, metrics } = await start('taken');
    await lineOf(child, 'ready');
    await conditioned('listeners', 'system', 'taken-a', 'Programmed', 'False AddressNotBound');
    const { status } = fake.get('listeners', 'system', 'taken-a') as unknown as { status: { conditions: Condition[] } };
    // This process holds it.
    expect(status.conditions.find((c) => c.type === 'Programmed')?.message).toContain(`held by process ${process.pid} `);
    await conditioned('listeners', 'system', 'taken-b', 'Programmed', 'True Programmed');
    expect([(await get(`${metrics}/readyz`)).status, await ask(port, 'a.taken.test')]).toEqual([200, 404]);
    // Free again: it is taken up without anybody's doing.
    taken.close();
    await conditioned('listeners', 'system', 'taken-a', 'Programmed', 'True Programmed');
    expect(await ask(takenPort, 'a.taken.test')).toBe(404);
  }, 30_000);

  test('an edge writes nothing, a controller serves nothing and tells for it', async () => {
    const port = await freeUdpPort();
    fake.create(secret('roles', leafFor('a.roles.test')));
    fake.create(listener('roles', port, 'roles'));
    const edge = await start('roles', '--role', 'edge');
    await lineOf(edge.child, 'ready');
    expect(await ask(port, 'a.roles.test')).toBe(404);
    const controller = await start('roles', '--role', 'controller');
    expect(await lineOf(controller.child, 'ready')).toMatchObject({ workers: 0, listeners: [] });
    await conditioned('listeners', 'system', 'roles', 'Programmed', 'True Programmed');
    const writes = fake.calls.filter((call) => call.method !== 'GET' && call.path.includes('roles'));
    expect(writes.length).toBeGreaterThan(0);
    for (const call of writes) expect(call.userAgent).toContain('pod-roles');
    const kinds = parseMetrics((await get(`${edge.metrics}/metrics`)).body).filter(
      (s) => s.name === 'spooky_kubernetes_status_writes_total',
    );
    expect(kinds).toEqual([]);
    await edge.child.stop();
    await controller.child.stop();
  }, 30_000);
});

describe('an API server that is away', () => {
  test('is waited for; the probes say so, and for what', async () => {
    const away = await startApiServer();
    away.namespace('system');
    const kubeconfig = away.kubeconfig(away.token, 'system');
    await away.kill();
    const child = new Child(join(ROOT, 'bin/spooky'), ['serve', '--kubernetes', '--kubeconfig', kubeconfig, '--metrics', '127.0.0.1:0', '--admin', 'off', '--log-format', 'json', '--engine', ENGINE.name]); // prettier-ignore
    const { metrics } = await lineOf(child, 'probes answer');
    const url = `http://${String(metrics)}`;
    expect(await get(`${url}/healthz`)).toEqual({ status: 200, body: 'ok\n' });
    const ready = await get(`${url}/readyz`);
    expect(ready.status).toBe(503);
    expect(ready.body).toContain('the first configuration is not loaded');
    expect(ready.body).toContain('Upstreams');
    await away.restart();
    await lineOf(child, 'ready');
    expect((await get(`${url}/readyz`)).status).toBe(200);
    expect((await child.stop()).code).toBe(0);
    await away.stop();
  }, 60_000);

  test('with a drain while it is waited for, everything ends', async () => {
    const away = await startApiServer();
    const kubeconfig = away.kubeconfig();
    await away.kill();
    const child = new Child(join(ROOT, 'bin/spooky'), ['serve', '--kubernetes', '--kubeconfig', kubeconfig, '--metrics', '127.0.0.1:0', '--admin', 'off', '--log-format', 'json', '--engine', ENGINE.name]); // prettier-ignore
    await lineOf(child, 'probes answer');
    expect((await child.stop()).code).toBe(0);
    await away.stop();
  }, 30_000);
});

test.each([
  [['--kubeconfig', '/no/such/file'], '/no/such/file'],
  [['--context', 'nobody'], 'nobody'],
])('%j: exit 1, with what is missing', async (args, said) => {
  const kubeconfig = args[0] === '--context' ? ['--kubeconfig', fake.kubeconfig()] : [];
  const child = new Child(join(ROOT, 'bin/spooky'), ['serve', '--kubernetes', ...kubeconfig, ...args]);
  expect((await child.exited).code).toBe(1);
  expect(child.stderr.join('\n')).toContain(said);
});
