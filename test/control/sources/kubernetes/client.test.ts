import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { KubeApi, StreamEnd } from '../../../../src/control/sources/kubernetes/api.ts';
import { createClient, MAX_BODY, MAX_LINE } from '../../../../src/control/sources/kubernetes/client.ts';
import { loadCredentials, type Credentials } from '../../../../src/control/sources/kubernetes/credentials.ts';
import { HEADERS_MS } from '../../../../src/control/sources/kubernetes/exchange.ts';
import { ManualClock, systemClock, type Clock } from '../../../../src/lib/clock.ts';
import { createLog } from '../../../../src/lib/log.ts';
import { startApiServer, type FakeApiServer } from '../../../kit/apiserver/index.ts';
import { until } from './waiting.ts';

const SERVICES = '/api/v1/services';
const log = createLog({ level: 'off', format: 'plain', write: () => {}, wall: () => 0 });

let fake: FakeApiServer;
const apis: KubeApi[] = [];
beforeEach(async () => {
  fake = await startApiServer({ crds: false });
});
afterEach(async () => {
  for (const api of apis.splice(0)) api.close();
  await fake.stop();
});

const credentialsOf = async (clock: Clock = systemClock): Promise<Credentials> => {
  const { folder, env } = fake.mount();
  const loaded = await loadCredentials({ kubeconfig: null, context: null, env, clock, serviceAccount: folder });
  if (!loaded.ok) throw new Error(loaded.error);
  return loaded.value;
};

const connect = async (clock: Clock = systemClock): Promise<KubeApi> => {
  const api = createClient({ credentials: await credentialsOf(clock), clock, log, userAgent: 'spooky/test (pod-1)' });
  apis.push(api);
  return api;
};

const service = (name: string, more: Record<string, unknown> = {}): Record<string, unknown> => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name, namespace: 'default', ...more },
  spec: { ports: [{ port: 80 }] },
});

interface Watch {
  readonly lines: string[];
  open: boolean;
  end: StreamEnd | undefined;
  readonly abort: AbortController;
  readonly ended: Promise<void>;
}

const watch = (
  api: KubeApi,
  { path = `${SERVICES}?watch=true&resourceVersion=0`, silenceMs = 60_000, onLine = (_line: string): void => {} } = {},
): Watch => {
  const abort = new AbortController();
  const lines: string[] = [];
  const w: { open: boolean; end: StreamEnd | undefined } = { open: false, end: undefined };
  const running = api.stream(path, {
    signal: abort.signal,
    silenceMs,
    onOpen: () => (w.open = true),
    onLine: (line) => {
      lines.push(line.toString('utf8'));
      onLine(line.toString('utf8'));
    },
  });
  const state = { ...w, lines, abort, ended: Promise.resolve() } as { -readonly [K in keyof Watch]: Watch[K] };
  Object.defineProperty(state, 'open', { get: () => w.open });
  state.ended = running.then((end) => {
    state.end = end;
  });
  return state;
};

describe('requests', () => {
  test('say who we are, and take JSON both ways', async () => {
    const api = await connect();
    const answer = await api.request({
      method: 'POST',
      path: '/api/v1/namespaces/default/services',
      body: service('größe-no', { name: 'a' }),
    });
    expect(answer).toMatchObject({ ok: true, status: 201, body: { metadata: { name: 'a' } } });
    const call = fake.calls.at(-1);
    expect(call).toMatchObject({ method: 'POST', path: '/api/v1/namespaces/default/services' });
    expect(call?.userAgent).toBe('spooky/test (pod-1)');
    expect(await api.request({ method: 'GET', path: '/api/v1/namespaces/default/services/a' })).toMatchObject({ ok: true, status: 200 });
    const patched = await api.request({
      method: 'PATCH',
      path: '/api/v1/namespaces/default/services/a',
      contentType: 'application/merge-patch+json',
      body: { metadata: { labels: { größe: '🎃' } } },
    });
    expect(patched).toMatchObject({ ok: true, body: { metadata: { labels: { größe: '🎃' } } } });
    expect(await api.request({ method: 'DELETE', path: '/api/v1/namespaces/default/services/a' })).toMatchObject({ ok: true });
    expect(await api.request({ method: 'GET', path: '/api/v1/namespaces/default/services/a' })).toMatchObject({
      ok: false,
      error: { kind: 'not_found', status: 404, reason: 'NotFound' },
    });
  });

  test('one after the other take one connection', async () => {
    const api = await connect();
    for (let i = 0; i < 10; i++) expect((await api.request({ method: 'GET', path: SERVICES })).ok).toBe(true);
    expect(fake.connections).toBe(1);
  });

  test.each<[number, Record<string, unknown>, string]>([
    [403, {}, 'forbidden'],
    [409, {}, 'conflict'],
    [410, {}, 'gone'],
    [422, {}, 'invalid'],
    [429, { retryAfter: 7 }, 'throttled'],
    [500, {}, 'server'],
    [503, { retryAfter: 1 }, 'server'],
  ])('that are refused with %i tell why', async (code, more, kind) => {
    fake.faults.status(code, { ...more, message: 'because\nof that' });
    const answer = await (await connect()).request({ method: 'GET', path: SERVICES });
    expect(answer).toMatchObject({
      ok: false,
      error: {
        kind,
        status: code,
        message: 'because\\u000aof that',
        retryAfterMs: more['retryAfter'] === undefined ? null : Number(more['retryAfter']) * 1000,
      },
    });
    expect(fake.connections).toBe(1);
  });

  test.each<[string, () => void, Record<string, unknown>]>([
    ['HTML of a proxy', () => fake.faults.html(502), { kind: 'server', status: 502, message: 'status 502' }],
    ['HTML that pretends', () => fake.faults.html(200), { kind: 'malformed', status: 200 }],
    ['half of a body', () => fake.faults.halfBody(), { kind: 'connection' }],
    ['no answer but an end', () => fake.faults.cut({ requests: 1 }), { kind: 'connection', status: 0 }],
    ['what is no HTTP', () => fake.faults.answer(200, { 'content-length': '5' }, 'toolong'), {}],
  ])('answered with %s are failures', async (_what, arm, error) => {
    const api = await connect();
    arm();
    expect(await api.request({ method: 'GET', path: SERVICES })).toMatchObject({ ok: false, error });
    expect(await api.request({ method: 'GET', path: SERVICES })).toMatchObject({ ok: true });
  });

  test('a body of more than 64 MiB is not read', async () => {
    expect(MAX_BODY).toBe(64 * 1024 * 1024);
    fake.faults.answer(200, { 'content-type': 'application/json' }, Buffer.alloc(MAX_BODY + 1, ' '));
    expect(await (await connect()).request({ method: 'GET', path: SERVICES })).toMatchObject({ ok: false, error: { kind: 'too_large' } });
  });

  test('a refusal of more than 1 MiB is not read', async () => {
    fake.faults.answer(500, {}, Buffer.alloc(1024 * 1024 + 1, ' '));
    expect(await (await connect()).request({ method: 'GET', path: SERVICES })).toMatchObject({ ok: false, error: { kind: 'too_large' } });
  });

  test('that get no headers within 15 s end', async () => {
    const clock = new ManualClock();
    const api = await connect(clock);
    fake.faults.blackHole({ times: 1 });
    const answer = api.request({ method: 'GET', path: SERVICES });
    await until('the request is there', () => fake.calls.length === 1);
    clock.advance(HEADERS_MS);
    expect(await answer).toMatchObject({ ok: false, error: { kind: 'timeout', status: 0, message: 'no answer within 15 s' } });
    await until('the connection is gone', () => fake.connections === 0);
    expect(clock.pending()).toBe(0);
  });

  test('that get no complete body within 30 s end', async () => {
    const clock = new ManualClock();
    const api = await connect(clock);
    let started = false;
    fake.faults.custom({}, async (response) => {
      response.writeHead(200, { 'content-type': 'application/json' });
      response.write('{"kind":');
      started = true;
      return 'answered';
    });
    const answer = api.request({ method: 'GET', path: SERVICES });
    await until('the headers are sent', () => started);
    await until('the clock waits for the body', () => {
      clock.advance(1000);
      return clock.now() >= 40_000;
    });
    expect(await answer).toMatchObject({ ok: false, error: { kind: 'timeout' } });
  });

  test('end when their signal says so, before and in between', async () => {
    const api = await connect();
    expect(await api.request({ method: 'GET', path: SERVICES, signal: AbortSignal.abort() })).toMatchObject({
      ok: false,
      error: { kind: 'aborted' },
    });
    expect(fake.calls).toHaveLength(0);
    fake.faults.blackHole({ times: 1 });
    const abort = new AbortController();
    const answer = api.request({ method: 'GET', path: SERVICES, signal: abort.signal });
    await until('the request is there', () => fake.calls.length === 1);
    abort.abort();
    expect(await answer).toMatchObject({ ok: false, error: { kind: 'aborted' } });
  });

  test('a path that is none is an answer, too', async () => {
    expect(await (await connect()).request({ method: 'GET', path: '/ö\n' })).toMatchObject({ ok: false, error: { kind: 'connection' } });
  });

  test('nobody at the port', async () => {
    const api = await connect();
    await fake.kill();
    expect(await api.request({ method: 'GET', path: SERVICES })).toMatchObject({
      ok: false,
      error: { kind: 'connection', status: 0, message: expect.stringContaining('ECONNREFUSED') },
    });
  });

  test('on a connection that had ended in idleness are asked again, unless they write', async () => {
    const api = await connect();
    expect((await api.request({ method: 'GET', path: SERVICES })).ok).toBe(true);
    fake.faults.cut({ requests: 1 });
    expect((await api.request({ method: 'GET', path: SERVICES })).ok).toBe(true);
    fake.faults.cut({ requests: 1 });
    const before = fake.calls.length;
    const answer = await api.request({ method: 'POST', path: '/api/v1/namespaces/default/services', body: service('a') });
    expect(answer).toMatchObject({ ok: false, error: { kind: 'connection' } });
    expect(fake.calls.length - before).toBeLessThanOrEqual(1);
  });

  test('a long list comes in whole', async () => {
    for (let i = 0; i < 300; i++) fake.create(service(`s${i}`, { annotations: { filler: 'ö'.repeat(1000) } }));
    const answer = await (await connect()).request({ method: 'GET', path: SERVICES });
    expect(answer).toMatchObject({ ok: true, status: 200 });
    if (!answer.ok) return;
    expect((answer.body as { items: unknown[] }).items).toHaveLength(300);
  });
});

describe('credentials', () => {
  test('a token that was rotated is read at once after 401', async () => {
    const api = await connect();
    expect((await api.request({ method: 'GET', path: SERVICES })).ok).toBe(true);
    fake.rotateToken();
    expect((await api.request({ method: 'GET', path: SERVICES })).ok).toBe(true);
    fake.rotateToken();
    const w = watch(api);
    await until('the watch is open', () => w.open);
    w.abort.abort();
    await w.ended;
  });

  test('401 that stays is told after one more look', async () => {
    const api = await connect();
    fake.rotateToken(undefined, { tellFiles: false });
    const before = fake.calls.length;
    expect(await api.request({ method: 'GET', path: SERVICES })).toMatchObject({ ok: false, error: { kind: 'unauthorized', status: 401 } });
    expect(fake.calls.length - before).toBe(1);
    fake.refreshFiles();
    expect((await api.request({ method: 'GET', path: SERVICES })).ok).toBe(true);
  });

  test('another authority: new connections trust it at once, the streams of the old go on', async () => {
    const api = await connect();
    const w = watch(api);
    await until('the watch is open', () => w.open);
    fake.rotateCa({ tellFiles: false });
    expect(await api.request({ method: 'GET', path: SERVICES })).toMatchObject({ ok: false, error: { kind: 'connection' } });
    fake.refreshFiles();
    expect((await api.request({ method: 'GET', path: SERVICES })).ok).toBe(true);
    fake.create(service('a'));
    await until('the old stream still speaks', () => w.lines.some((line) => line.includes('"name":"a"')));
    w.abort.abort();
    await w.ended;
    await until('the old connections are gone', () => fake.connections === 1);
  });
});

describe('streams', () => {
  test('give lines as they come, and end in order, so that the connection serves the next one', async () => {
    const api = await connect();
    for (let i = 0; i < 3; i++) {
      const w = watch(api, { path: `${SERVICES}?watch=true&resourceVersion=0&timeoutSeconds=1` });
      await until('the watch is open', () => w.open);
      fake.create(service(`s${i}`, { annotations: { text: 'größe 🎃' } }));
      await until('its line is there', () => w.lines.some((line) => line.includes(`"name":"s${i}"`)));
      expect(w.lines.every((line) => typeof JSON.parse(line) === 'object')).toBe(true);
      await w.ended;
      expect(w.end).toBeNull();
    }
    expect(fake.connections).toBe(1);
  });

  test('whole characters, wherever the pieces are cut', async () => {
    const w = watch(await connect());
    await until('the watch is open', () => w.open);
    fake.faults.lineRate({ split: 1 });
    for (let i = 0; i < 20; i++) fake.create(service(`s${i}`, { annotations: { text: `größe 🎃 ${'ö'.repeat(i)}` } }));
    await until('all are there', () => w.lines.length >= 20);
    for (const [i, line] of w.lines.entries()) expect(JSON.parse(line).object.metadata.annotations.text).toBe(`größe 🎃 ${'ö'.repeat(i)}`);
  });

  test.each<[string, () => void, Record<string, unknown>]>([
    ['cut', () => fake.faults.cut(), { kind: 'connection' }],
    ['cut within a line', () => fake.faults.halfLine(), { kind: 'connection' }],
    ['a line of more than 4 MiB', () => fake.faults.huge(MAX_LINE), { kind: 'too_large' }],
  ])('%s', async (_what, arm, error) => {
    const w = watch(await connect());
    await until('the watch is open', () => w.open);
    arm();
    await w.ended;
    expect(w.end).toMatchObject(error);
    expect(w.lines).toEqual([]);
  });

  test('a line of nearly 4 MiB comes', async () => {
    const w = watch(await connect());
    await until('the watch is open', () => w.open);
    fake.faults.huge(MAX_LINE - 1000);
    await until('it is there', () => w.lines.length === 1);
    expect(w.lines[0]?.length).toBeGreaterThan(MAX_LINE - 1000);
  });

  test('bytes without an end are not held beyond the limit', async () => {
    const w = watch(await connect());
    await until('the watch is open', () => w.open);
    fake.faults.raw(Buffer.alloc(MAX_LINE + 1, 'x'));
    await w.ended;
    expect(w.end).toMatchObject({ kind: 'too_large' });
  });

  test.each([
    [403, 'forbidden'],
    [410, 'gone'],
    [429, 'throttled'],
    [500, 'server'],
  ])('refused with %i: never open', async (code, kind) => {
    fake.faults.status(code, { retryAfter: 3 });
    const w = watch(await connect());
    await w.ended;
    expect(w).toMatchObject({ open: false, end: { kind, status: code, retryAfterMs: 3000 } });
  });

  test('what the reader throws ends it', async () => {
    const w = watch(await connect(), {
      onLine: () => {
        throw new Error('not this');
      },
    });
    await until('the watch is open', () => w.open);
    fake.create(service('a'));
    await w.ended;
    expect(w.end).toMatchObject({ kind: 'malformed', message: 'not this' });
    await until('the connection is gone', () => fake.watches === 0);
  });

  test('after an abort within a line nothing comes', async () => {
    const w = watch(await connect(), { onLine: () => w.abort.abort() });
    await until('the watch is open', () => w.open);
    fake.faults.raw('{"a":1}\n{"a":2}\n{"a":3}\n');
    await w.ended;
    expect(w.lines).toEqual(['{"a":1}']);
    expect(w.end).toMatchObject({ kind: 'aborted' });
  });

  test('silence ends it after as long as is asked for; each byte counts', async () => {
    const clock = new ManualClock();
    const w = watch(await connect(clock), { silenceMs: 50_000 });
    await until('the watch is open', () => w.open);
    clock.advance(49_999);
    fake.faults.raw(' ');
    fake.faults.raw('\n');
    await until('the line is there', () => w.lines.length === 1);
    fake.faults.blackHole();
    clock.advance(49_999);
    expect(w.end).toBeUndefined();
    clock.advance(1);
    await w.ended;
    expect(w.end).toMatchObject({ kind: 'timeout' });
    expect(clock.pending()).toBe(0);
  });

  test('without headers for 15 s it was never open', async () => {
    const clock = new ManualClock();
    const api = await connect(clock);
    fake.faults.blackHole({ times: 1 });
    const w = watch(api);
    await until('the request is there', () => fake.calls.length === 1);
    clock.advance(HEADERS_MS);
    await w.ended;
    expect(w).toMatchObject({ open: false, end: { kind: 'timeout', status: 0 } });
  });

  test('a burst does not keep the event loop', async () => {
    const api = await connect();
    let turns = 0;
    let on = true;
    const turn = (): void => {
      turns++;
      if (on) setImmediate(turn);
    };
    let busy = 0;
    const w = watch(api, {
      onLine: () => {
        const from = performance.now();
        while (performance.now() - from < 1) busy++;
      },
    });
    await until('the watch is open', () => w.open);
    setImmediate(turn);
    fake.faults.raw(`{"filler":"${'x'.repeat(16_000)}"}\n`.repeat(200));
    await until('all are there', () => w.lines.length === 200);
    on = false;
    expect(turns).toBeGreaterThan(10);
    expect(busy).toBeGreaterThan(0);
  });
});

describe('close()', () => {
  test('ends everything, and nothing begins any more', async () => {
    const clock = new ManualClock();
    const api = await connect(clock);
    const w = watch(api);
    await until('the watch is open', () => w.open);
    fake.faults.blackHole({ times: 1, watch: false });
    const answer = api.request({ method: 'GET', path: SERVICES });
    await until('the request is there', () => fake.calls.length === 2);
    api.close();
    await w.ended;
    expect(w.end).toMatchObject({ kind: 'aborted' });
    expect(await answer).toMatchObject({ ok: false, error: { kind: 'aborted' } });
    expect(await api.request({ method: 'GET', path: SERVICES })).toMatchObject({ ok: false, error: { kind: 'aborted' } });
    expect(clock.pending()).toBe(0);
    await until('the connections are gone', () => fake.connections === 0);
  });
});
