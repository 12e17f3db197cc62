/** `spooky probe --kubernetes`, against the fake API server: hop by hop with scripted answers, and once over a real engine. */
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { probe } from '../../src/cli/probe.ts';
import { MAX_LISTENERS } from '../../src/cli/probe/objects.ts';
import type { Question } from '../../src/cli/probe/request.ts';
import { MAX_PROBED, probeRounds, type Round, type RoundOptions } from '../../src/cli/probe/rounds.ts';
import type { H3Response } from '../../src/edge/http/h3/client.ts';
import { Fields } from '../../src/edge/http/fields.ts';
import { HandshakeError } from '../../src/edge/quic/failure.ts';
import { systemClock, type Clock } from '../../src/lib/clock.ts';
import { apiOf } from '../control/sources/kubernetes/story.ts';
import { startApiServer, type FakeApiServer, type Plain, type Rule } from '../kit/apiserver/index.ts';
import { ENGINE } from '../kit/engine.ts';
import { gateway } from '../kit/gateway.ts';

let fake: FakeApiServer;
beforeEach(async () => {
  fake = await startApiServer();
});
afterEach(() => fake.stop());

const OURS = 'spooky.dev/v1alpha1';
const listener = (name: string, spec: Plain = {}, namespace = 'edge'): void =>
  void fake.create({
    apiVersion: OURS,
    kind: 'Listener',
    metadata: { namespace, name },
    spec: { port: 8443, tls: { certificateRefs: [{ name: 'tls' }] }, ...spec },
  });
const judged = (name: string, status: string, reason: string, message = '', namespace = 'edge'): void =>
  void fake.setStatus('listeners', namespace, name, {
    conditions: [{ type: 'Programmed', status, reason, message, lastTransitionTime: '2026-01-01T00:00:00Z' }],
  });
const programmed = (name: string, spec: Plain = {}, namespace = 'edge'): void => {
  listener(name, spec, namespace);
  judged(name, 'True', 'Programmed', '', namespace);
};
const service = (spec: Plain = {}): void =>
  void fake.put({
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { namespace: 'edge', name: 'spooky' },
    spec: {
      clusterIP: '10.96.1.2',
      clusterIPs: ['10.96.1.2'],
      ports: [{ name: 'http3', port: 443, targetPort: 8443, protocol: 'UDP' }],
      ...spec,
    },
  });
const pods = (addresses: readonly string[], ready = true, name = 'spooky'): void =>
  void fake.put({
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { namespace: 'edge', name: `${name}-${addresses[0]?.includes(':') ? 6 : 4}`, labels: { 'kubernetes.io/service-name': name } },
    addressType: addresses[0]?.includes(':') ? 'IPv6' : 'IPv4',
    ports: [{ name: 'http3', port: 8443, protocol: 'UDP' }],
    endpoints: addresses.map((a) => ({ addresses: [a], conditions: { ready } })),
  });

const answer = (status: number): H3Response => ({ status, doneMs: 12.34, fields: new Fields() }) as unknown as H3Response;

/** By `address:port`; what is not there does not answer. */
type Script = Readonly<Record<string, number | Error>>;

const asked: Question[] = [];
const asking =
  (script: Script) =>
  (q: Question): Promise<H3Response> => {
    asked.push(q);
    const said = script[`${q.address}:${q.port}`] ?? new HandshakeError('timeout', false, 0, 'no handshake in time');
    return said instanceof Error ? Promise.reject(said) : Promise.resolve(answer(said));
  };
beforeEach(() => {
  asked.length = 0;
});

/** Seconds go by at once. */
const quick: Clock = { ...systemClock, after: (_ms, fn) => systemClock.after(1, fn) };

async function round(script: Script, more: Partial<RoundOptions> = {}, waitMs = 0, token = fake.token): Promise<Round> {
  const api = more.api ?? (await apiOf(fake, token));
  try {
    const options = { service: { namespace: 'edge', name: 'spooky' }, className: 'spooky', namespaces: ['edge'], hostname: null };
    return await probeRounds({ api, ask: asking(script), ...options, ...more }, waitMs, quick);
  } finally {
    api.close();
  }
}

const UP: Script = { '10.96.1.2:443': 404 };
const lines = async (...args: Parameters<typeof round>): Promise<[boolean, readonly string[]]> => {
  const { passed, lines: said } = await round(...args);
  return [passed, said];
};

describe('hop by hop', () => {
  test('no Listener', async () => {
    listener('other', { className: 'other' });
    listener('far', {}, 'far');
    expect(await lines(UP)).toEqual([
      false,
      ['no Listener of class spooky in edge: apply one first, for example manifests/quickstart.yaml'],
    ]);
    expect((await lines(UP, { className: 'mine', namespaces: null }))[1]).toEqual([
      'no Listener of class mine in any namespace: apply one first, for example manifests/quickstart.yaml',
    ]);
    // And nobody waits for one.
    expect((await round(UP, {}, 3_600_000)).passed).toBe(false);
  });

  test('none is programmed', async () => {
    listener('a');
    listener('b');
    judged('b', 'False', 'Pending', 'there is no usable certificate');
    expect(await lines(UP)).toEqual([
      false,
      [
        'listener edge/a: not programmed: nothing has judged it yet: does the controller run, and for its class?',
        'listener edge/b: not programmed: Pending: there is no usable certificate',
        'no Listener is programmed: see kubectl describe listener -n edge a',
      ],
    ]);
    expect(fake.calls.every((c) => c.resource === 'listeners')).toBe(true);
  });

  test('one that is not programmed is a line, not a failure', async () => {
    programmed('a');
    listener('b');
    service();
    pods(['10.1.2.3']);
    expect(await lines(UP)).toEqual([
      true,
      [
        'listener edge/b: not programmed: nothing has judged it yet: does the controller run, and for its class?',
        'listener edge/a: HTTP/3 404 from 10.96.1.2:443 in 12.3 ms',
      ],
    ]);
    expect(asked).toEqual([{ address: '10.96.1.2', port: 443, host: null, authority: '10.96.1.2:443', path: '/' }]);
  });

  test.each<[string, Plain[]]>([
    ['another target', [{ port: 443, targetPort: 9443, protocol: 'UDP' }]],
    ['a name as target', [{ port: 443, targetPort: 'http3', protocol: 'UDP' }]],
    ['TCP', [{ port: 443, targetPort: 8443, protocol: 'TCP' }]],
  ])('the Service publishes %s only', async (_, ports) => {
    programmed('a');
    service({ ports });
    pods(['10.1.2.3']);
    expect(await lines(UP)).toEqual([
      false,
      ["listener edge/a: service: edge/spooky publishes no port for 8443: add it to the chart's values: ports"],
    ]);
    expect(asked).toEqual([]);
  });

  test('there is no Service', async () => {
    programmed('a');
    expect(await lines(UP)).toEqual([false, ['service: there is no Service edge/spooky']]);
  });

  test('no pod is ready', async () => {
    programmed('a');
    service();
    pods(['10.1.2.3'], false);
    pods(['10.1.2.4'], true, 'another');
    expect(await lines(UP)).toEqual([false, ['listener edge/a: pods: no pod of edge/spooky is ready']]);
  });

  test('a pod answers, the Service does not; and the other way round of nobody', async () => {
    programmed('a');
    service();
    pods(['10.1.2.3', '10.1.2.4']);
    expect(await lines({ '10.1.2.3:8443': 200 })).toEqual([
      false,
      [
        "listener edge/a: service: the pod 10.1.2.3:8443 answers, the Service's address 10.96.1.2:443 does not: look at kube-proxy and at NetworkPolicies",
      ],
    ]);
    expect(await lines({})).toEqual([
      false,
      ["listener edge/a: pods: neither the Service's address nor the pod 10.1.2.3:8443 answers: no handshake in time"],
    ]);
  });

  test('every address of the Service must answer, each family by a pod of its own', async () => {
    programmed('a');
    service({ clusterIPs: ['10.96.1.2', 'fd00::2'] });
    pods(['10.1.2.3']);
    pods(['fd01::3']);
    expect(await lines({ ...UP, 'fd00::2:443': 200 })).toEqual([
      true,
      ['listener edge/a: HTTP/3 404 from 10.96.1.2:443 in 12.3 ms', 'listener edge/a: HTTP/3 200 from [fd00::2]:443 in 12.3 ms'],
    ]);
    expect(await lines({ ...UP, 'fd01::3:8443': 200 })).toEqual([
      false,
      [
        'listener edge/a: HTTP/3 404 from 10.96.1.2:443 in 12.3 ms',
        "listener edge/a: service: the pod [fd01::3]:8443 answers, the Service's address [fd00::2]:443 does not: look at kube-proxy and at NetworkPolicies",
      ],
    ]);
  });

  test('without an address of the Service a pod is asked', async () => {
    programmed('a');
    service({ clusterIP: 'None', clusterIPs: ['None'] });
    pods(['10.1.2.3']);
    expect(await lines({ '10.1.2.3:8443': 200 })).toEqual([true, ['listener edge/a: HTTP/3 200 from 10.1.2.3:8443 in 12.3 ms']]);
    expect(await lines({})).toEqual([false, ['listener edge/a: pods: the pod 10.1.2.3:8443 does not answer: no handshake in time']]);
  });

  test('one of two does not answer', async () => {
    programmed('a');
    programmed('b', { port: 9443 });
    service({
      ports: [
        { name: 'a', port: 443, targetPort: 8443, protocol: 'UDP' },
        { name: 'b', port: 444, targetPort: 9443, protocol: 'UDP' },
      ],
    });
    pods(['10.1.2.3']);
    const [passed, said] = await lines(UP);
    expect([passed, said.length]).toEqual([false, 2]);
    expect(await lines({ ...UP, '10.96.1.2:444': 200 })).toEqual([
      true,
      expect.arrayContaining([expect.stringContaining('listener edge/b: HTTP/3 200')]),
    ]);
  });

  test('a name that nobody has a certificate for', async () => {
    programmed('a');
    service();
    pods(['10.1.2.3']);
    const refused: Script = { '10.96.1.2:443': new HandshakeError('remote', false, 0x170, 'x') };
    const hint = "with tls.unmatched: Reject a name is needed that a certificate covers: --hostname (the chart's value test.hostname)";
    expect(await lines(refused)).toEqual([
      false,
      [`listener edge/a: request: 10.96.1.2:443 answers, and refuses a client without a name (TLS alert unrecognized_name): ${hint}`],
    ]);
    expect((await lines(refused, { hostname: 'x.example' }))[1]).toEqual([
      `listener edge/a: request: 10.96.1.2:443 answers, and refuses the name x.example (TLS alert unrecognized_name): ${hint}`,
    ]);
    // No other alert, and none of ours, is taken for it.
    for (const error of [new HandshakeError('remote', false, 0x128, 'x'), new HandshakeError('local', false, 0x170, 'x')])
      expect((await lines({ '10.96.1.2:443': error }))[1]).toEqual([expect.stringMatching(/^listener edge\/a: pods: neither /)]);
  });
});

test.each<[string, string[] | undefined, string | null, string | null]>([
  ['the one that is given', ['a.example'], 'b.example', 'b.example'],
  ["the Listener's first", ['a.example', 'b.example'], null, 'a.example'],
  ['a label for a wildcard', ['*.a.example'], null, 'spooky-probe.a.example'],
  ['none for any', ['*'], null, null],
  ['none without', undefined, null, null],
])('the name is %s', async (_, hostnames, hostname, expected) => {
  programmed('a', hostnames === undefined ? {} : { hostnames });
  service();
  pods(['10.1.2.3']);
  expect((await round(UP, { hostname })).passed).toBe(true);
  expect(asked).toEqual([{ address: '10.96.1.2', port: 443, host: expected, authority: expected ?? '10.96.1.2:443', path: '/' }]);
});

describe('calls', () => {
  const rules = (namespace: string | null): Rule[] => [
    { apiGroups: [''], resources: ['services'], verbs: ['get'], resourceNames: ['spooky'], namespace: 'edge' },
    { apiGroups: ['discovery.k8s.io'], resources: ['endpointslices'], verbs: ['list'], namespace: 'edge' },
    { apiGroups: ['spooky.dev'], resources: ['listeners'], verbs: ['list'], ...(namespace === null ? {} : { namespace }) },
  ];

  test.each([[['edge']], [null]])('are those that the chart allows, and no others: %j', async (namespaces) => {
    programmed('a');
    service();
    pods(['10.1.2.3']);
    const token = fake.rules(rules(namespaces?.[0] ?? null));
    fake.calls.length = 0;
    expect((await round(UP, { namespaces }, 0, token)).passed).toBe(true);
    expect(fake.calls.map((c) => `${c.verb} ${c.resource}`)).toEqual(['list listeners', 'get services', 'list endpointslices']);
    expect(fake.calls.map((c) => c.path)).toEqual([
      `/apis/spooky.dev/v1alpha1/${namespaces === null ? '' : 'namespaces/edge/'}listeners?limit=500`,
      '/api/v1/namespaces/edge/services/spooky',
      '/apis/discovery.k8s.io/v1/namespaces/edge/endpointslices?labelSelector=kubernetes.io%2Fservice-name%3Dspooky&limit=500',
    ]);
  });

  test('that are refused end it, however long it might wait', async () => {
    programmed('a');
    service();
    expect(await lines(UP, {}, 3_600_000, fake.rules([]))).toEqual([
      false,
      [expect.stringMatching(/^api: Listeners cannot be listed: forbidden: .*listeners\.spooky\.dev is forbidden/)],
    ]);
    const noService = rules('edge').filter((r) => r.resources[0] !== 'services');
    expect(await lines(UP, {}, 3_600_000, fake.rules(noService))).toEqual([
      false,
      [expect.stringMatching(/^api: Service edge\/spooky cannot be read: forbidden: /)],
    ]);
    const noSlices = rules('edge').filter((r) => r.resources[0] !== 'endpointslices');
    expect(await lines(UP, {}, 3_600_000, fake.rules(noSlices))).toEqual([
      false,
      [expect.stringMatching(/^api: EndpointSlices cannot be listed: forbidden: /)],
    ]);
  });

  test('need the CRDs', async () => {
    fake.remove('customresourcedefinitions', null, 'listeners.spooky.dev');
    expect(await lines(UP, {}, 3_600_000)).toEqual([
      false,
      [expect.stringMatching(/^api: Listeners cannot be listed: not found: .*; the CRDs of spooky\.dev are not installed: /)],
    ]);
  });

  test('that fail are made again while there is time', async () => {
    programmed('a');
    service();
    pods(['10.1.2.3']);
    fake.faults.status(500, { path: 'listeners', times: 2 });
    expect((await round(UP, {}, 60_000)).passed).toBe(true);
    fake.faults.status(500, { path: 'listeners', message: 'a\u001bb' });
    expect(await lines(UP)).toEqual([false, ['api: Listeners cannot be listed: server: a\\u001bb']]);
    fake.faults.answer(200, { 'content-type': 'application/json' }, '{}', { path: 'listeners' });
    expect(await lines(UP)).toEqual([false, ['api: Listeners cannot be listed: malformed: the answer is not a list']]);
  });
});

test('it is tried again until it passes', async () => {
  listener('a');
  let rounds = 0;
  const api = await apiOf(fake);
  const ask = (q: Question): Promise<H3Response> => (++rounds < 5 ? asking({})(q) : asking(UP)(q));
  const clock: Clock = {
    ...quick,
    after: (ms, fn) => {
      expect(ms).toBeLessThanOrEqual(1000);
      if (fake.get('services', 'edge', 'spooky') === undefined) service();
      else if (fake.get('endpointslices', 'edge', 'spooky-4') === undefined) pods(['10.1.2.3']);
      else judged('a', 'True', 'Programmed');
      return systemClock.after(1, fn);
    },
  };
  const options = { service: { namespace: 'edge', name: 'spooky' }, className: 'spooky', namespaces: null, hostname: null };
  const { passed, lines: said } = await probeRounds({ api, ask, ...options }, 600_000, clock);
  api.close();
  expect([passed, said, rounds]).toEqual([true, ['listener edge/a: HTTP/3 404 from 10.96.1.2:443 in 12.3 ms'], 5]);
});

test('and not longer than it may', async () => {
  programmed('a');
  service();
  pods(['10.1.2.3']);
  let now = 0;
  const clock: Clock = {
    now: () => now,
    wall: () => 0,
    after: (ms, fn) => {
      now += ms;
      return systemClock.after(1, fn);
    },
  };
  const api = await apiOf(fake);
  const options = { service: { namespace: 'edge', name: 'spooky' }, className: 'spooky', namespaces: null, hostname: null };
  expect((await probeRounds({ api, ask: asking({}), ...options }, 2500, clock)).passed).toBe(false);
  api.close();
  // At 0, 1000, 2000 and 2500 ms, each time the Service and a pod.
  expect([now, asked.length]).toEqual([2500, 8]);
});

test('so many Listeners are looked at, and so many asked', async () => {
  const item = (i: number): Plain => ({
    metadata: { namespace: 'edge', name: `l-${String(i).padStart(4, '0')}`, uid: `u-${i}`, resourceVersion: '1' },
    spec: { port: 8443 },
    status: { conditions: [{ type: 'Programmed', status: 'True' }] },
  });
  service();
  pods(['10.1.2.3']);
  for (const from of [0, 500, 1000]) {
    const page = { metadata: { resourceVersion: '1', continue: 'more' }, items: Array.from({ length: 500 }, (_, i) => item(from + i)) };
    fake.faults.answer(200, { 'content-type': 'application/json' }, JSON.stringify(page), { path: 'listeners' });
  }
  const { passed, lines: said } = await round(UP);
  expect([passed, asked.length, said.length, said.at(-1)]).toEqual([
    true,
    MAX_PROBED,
    MAX_PROBED + 1,
    `and ${MAX_LISTENERS - MAX_PROBED} more Listeners that are not asked`,
  ]);
  // The third page is still there.
  const left = { method: 'GET', path: 'listeners', watch: false };
  expect([fake.faults.take(left) === undefined, fake.faults.take(left)]).toEqual([false, undefined]);
});

test('objects that no server has break nothing', async () => {
  const evil = 'a\u001b[2J';
  const items = [
    null,
    5,
    {},
    { metadata: { namespace: evil, name: evil, uid: 'u' } },
    {
      metadata: { namespace: 'edge', name: 'x', uid: 'u' },
      spec: { port: evil, hostnames: [5, evil] },
      status: { conditions: [null, { type: 'Programmed', status: 'False', reason: evil, message: evil }] },
    },
  ];
  const list = JSON.stringify({ metadata: {}, items });
  fake.faults.answer(200, { 'content-type': 'application/json' }, list, { path: 'listeners' });
  let out = '';
  const io = { stdout: (t: string) => void (out += t), stderr: () => {}, env: {}, cwd: '/' };
  expect(await probe.run(['--kubernetes', '--service', 'edge/spooky', '--kubeconfig', fake.kubeconfig()], io)).toBe(1);
  expect(out).toBe(
    'listener edge/x: not programmed: a\\x1b[2J: a\\x1b[2J\nno Listener is programmed: see kubectl describe listener -n edge x\n',
  );
});

describe('the command', () => {
  const run = async (
    args: readonly string[],
    env: Readonly<Record<string, string>> = {},
  ): Promise<{ code: number; out: string; err: string }> => {
    let [out, err] = ['', ''];
    const code = await probe.run(args, { stdout: (t) => void (out += t), stderr: (t) => void (err += t), env, cwd: '/' });
    return { code, out, err };
  };

  test(`asks over ${ENGINE.name}, and says which hop fails`, async () => {
    const g = await gateway({ engine: ENGINE, listener: { addresses: ['127.0.0.1'] } }).start();
    try {
      programmed('a', { port: g.port });
      service({ clusterIP: '127.0.0.1', clusterIPs: ['127.0.0.1'], ports: [{ port: g.port, targetPort: g.port, protocol: 'UDP' }] });
      // Which no server would take.
      const slices = { metadata: {}, items: [{ addressType: 'IPv4', endpoints: [{ addresses: ['127.0.0.1'] }] }] };
      fake.faults.answer(200, { 'content-type': 'application/json' }, JSON.stringify(slices), { path: 'endpointslices', times: 2 });
      const args = [
        '--kubernetes',
        '--service=edge/spooky',
        '--class=spooky',
        '--namespaces=all',
        '--wait=0s',
        `--kubeconfig=${fake.kubeconfig()}`,
      ];
      const well = await run([...args, '--hostname=x.example']);
      expect(well).toEqual({
        code: 0,
        out: expect.stringMatching(new RegExp(`^listener edge/a: HTTP/3 404 from 127\\.0\\.0\\.1:${g.port} in [0-9.]+ ms\\n$`)),
        err: '',
      });
      service({ clusterIP: '127.0.0.2', clusterIPs: ['127.0.0.2'], ports: [{ port: g.port, targetPort: g.port, protocol: 'UDP' }] });
      const ill = await run(args);
      expect(ill.out).toContain(`service: the pod 127.0.0.1:${g.port} answers, the Service's address 127.0.0.2:${g.port} does not`);
      expect(ill.code).toBe(1);
    } finally {
      await g.close();
    }
  }, 30_000);

  test('without a kubeconfig, or a server', async () => {
    const none = await run(['--kubernetes', '--service', 'edge/spooky'], { HOME: '/nowhere' });
    expect(none).toEqual({ code: 1, out: expect.stringMatching(/^api: the kubeconfig cannot be read: /), err: '' });
    const config = fake.kubeconfig();
    await fake.kill();
    const gone = await run(['--kubernetes', '--service', 'edge/spooky', '--kubeconfig', config]);
    expect(gone).toEqual({ code: 1, out: expect.stringMatching(/^api: Listeners cannot be listed: connection: .*ECONNREFUSED/), err: '' });
  });

  test.each([
    [['--kubernetes']],
    [['--kubernetes', '--service', 'edge']],
    [['--kubernetes', '--service', 'Edge/x']],
    [['--kubernetes', '--service', 'a/b/c']],
    [['--kubernetes', '--service', 'a/b', 'https://a.example']],
    [['--kubernetes', '--service', 'a/b', '--insecure']],
    [['--kubernetes', '--service', 'a/b', '--hostname', '*.x']],
    [['--kubernetes', '--service', 'a/b', '--wait', 'soon']],
    [['--kubernetes', '--service', 'a/b', '--wait', '2h']],
    [['--kubernetes', '--service', 'a/b', '--class', 'a b']],
    [['--kubernetes', '--service', 'a/b', '--namespaces', 'A']],
    [['https://a.example', '--service', 'a/b']],
    [['https://a.example', '--wait', '1s']],
  ])('%j is a usage error', async (args) => {
    expect(await run(args)).toEqual({ code: 2, out: '', err: expect.stringContaining('spooky probe --kubernetes --service NS/NAME') });
  });
});
