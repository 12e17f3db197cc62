/** A large cluster: 10,000 Upstreams, 10,000 Services and 50,000 endpoints, in a process of its own, as serve has it. */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { fork, type ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { startApiServer, type FakeApiServer, type Plain } from '../../../kit/apiserver/index.ts';
import { makeCa, makeLeaf } from '../../../kit/certs.ts';
import type { Changed, Facts } from './scale.child.ts';
import { endpoint } from './raw.ts';
import { slowness } from '../../../kit/cost.ts';
import { ROOT } from '../../../kit/peers.ts';

const COUNT = 10_000;
const NAMESPACES = 50;
const PER_SERVICE = 5;

let fake: FakeApiServer;
let child: ChildProcess;
const messages: (Facts | Changed)[] = [];

const namespaceOf = (i: number): string => `team-${i % NAMESPACES}`;
const addressOf = (i: number, n: number): string => `10.${(i >> 8) & 255}.${i & 255}.${n + 1}`;

/** As much beside what counts as a cluster's objects have. */
const meta = (name: string, namespace: string, more: Plain = {}): Plain => ({
  name,
  namespace,
  annotations: { 'kubectl.kubernetes.io/last-applied-configuration': 'x'.repeat(600), owner: `team of ${namespace}` },
  managedFields: [
    {
      manager: 'kubectl',
      operation: 'Apply',
      apiVersion: 'v1',
      time: '2026-01-01T00:00:00Z',
      fieldsType: 'FieldsV1',
      fieldsV1: { 'f:spec': Object.fromEntries(Array.from({ length: 20 }, (_, i) => [`f:field${i}`, {}])) },
    },
  ],
  ...more,
});

const sliceOf = (i: number, ready: boolean): Plain => ({
  apiVersion: 'discovery.k8s.io/v1',
  kind: 'EndpointSlice',
  metadata: meta(`svc-${i}-abcde`, namespaceOf(i), {
    labels: { 'kubernetes.io/service-name': `svc-${i}`, 'endpointslice.kubernetes.io/managed-by': 'endpointslice-controller.k8s.io' },
  }),
  addressType: 'IPv4',
  ports: [{ name: 'http', port: 8080, protocol: 'TCP' }],
  endpoints: Array.from({ length: PER_SERVICE }, (_, n) => ({
    ...endpoint(addressOf(i, n), { ready: n === 0 ? ready : true, serving: true, terminating: false, zones: ['zone-a'] }),
    nodeName: `node-${n}`,
    zone: 'zone-a',
    targetRef: { kind: 'Pod', namespace: namespaceOf(i), name: `svc-${i}-${n}`, uid: `00000000-0000-0000-0000-${i}${n}` },
  })),
});

const waitFor = async (what: string, ms: number, holds: () => boolean): Promise<void> => {
  const end = performance.now() + ms;
  while (!holds()) {
    if (performance.now() > end || child.exitCode !== null) throw new Error(`not in time: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
};

beforeAll(async () => {
  fake = await startApiServer({ window: 1_000_000 });
  fake.namespace('spooky-system');
  for (let i = 0; i < NAMESPACES; i++) fake.namespace(namespaceOf(i));
  const { cert, key } = makeLeaf(makeCa('scale'), { names: ['*.example.com'] });
  fake.create({
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { name: 'tls', namespace: 'spooky-system' },
    type: 'kubernetes.io/tls',
    data: { 'tls.crt': cert.toString('base64'), 'tls.key': key.toString('base64') },
  });
  fake.create({
    apiVersion: 'spooky.dev/v1alpha1',
    kind: 'Listener',
    metadata: { name: 'public', namespace: 'spooky-system' },
    spec: { port: 8443, tls: { certificateRefs: [{ name: 'tls' }] }, allowedNamespaces: { from: 'All' } },
  });
  for (let i = 0; i < COUNT; i++) {
    const namespace = namespaceOf(i);
    fake.create({
      apiVersion: 'spooky.dev/v1alpha1',
      kind: 'Upstream',
      metadata: meta(`up-${i}`, namespace),
      spec: {
        listeners: [{ name: 'public', namespace: 'spooky-system' }],
        hostnames: [`up-${i}.example.com`],
        matches: [{ path: { type: 'Prefix', value: `/v${i % 7}` } }, { path: { type: 'Exact', value: '/health' } }],
        backends: [{ service: { name: `svc-${i}`, port: 80 } }],
      },
    });
    fake.create({
      apiVersion: 'v1',
      kind: 'Service',
      metadata: meta(`svc-${i}`, namespace),
      spec: {
        type: 'ClusterIP',
        clusterIP: `10.200.${i >> 8}.${i & 255}`,
        ipFamilies: ['IPv4'],
        ports: [{ name: 'http', port: 80, protocol: 'TCP', targetPort: 8080 }],
        selector: { app: `svc-${i}` },
      },
    });
    fake.create(sliceOf(i, true));
  }
}, 120_000);

afterAll(async () => {
  child?.disconnect();
  await fake.stop();
});

test('starts within ten seconds and 400 MiB, and tells changes of endpoints within 20 ms', async () => {
  child = fork(join(import.meta.dirname, 'scale.child.ts'), [fake.kubeconfig()], {
    // As the control process is started.
    execArgv: /--max-semi-space-size=\d+/.exec(readFileSync(join(ROOT, 'bin', 'spooky'), 'utf8')) ?? [],
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  child.on('message', (message) => messages.push(message as Facts | Changed));
  await waitFor('the first state', 60_000, () => messages.length > 0);
  const facts = messages.shift() as Facts;
  expect(facts).toMatchObject({ upstreams: COUNT, services: COUNT, groups: COUNT, endpoints: COUNT * PER_SERVICE, problems: [] });
  // Its own time, so that others on the machine have no say: alone it takes less than that by the clock, too.
  expect(facts.cpu / slowness()).toBeLessThan(10_000);
  expect(facts.peak).toBeLessThan(400);

  await new Promise((resolve) => setTimeout(resolve, 500));
  const changes: Changed[] = [];
  for (let i = 0; i < 40; i++) {
    fake.put(sliceOf(i, false));
    await waitFor('a change', 10_000, () => messages.length > 0);
    changes.push(messages.shift() as Changed);
  }
  const slow = slowness();
  const sorted = (of: (change: Changed) => number): number[] => changes.map(of).sort((a, b) => a - b);
  // Ten milliseconds are the gathering. What else a machine does makes some late, but it is not the change that takes the time.
  expect((sorted(({ ms }) => ms)[0] as number) / slow).toBeLessThan(20);
  expect((sorted(({ cpu }) => cpu)[20] as number) / slow).toBeLessThan(10);
}, 120_000);
