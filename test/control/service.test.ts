/** The control half with workers that are played by hand. */
import { describe, expect, test } from '@jest/globals';
import { Cells, type RowReading } from '../../src/contract/cells.ts';
import type { LoadProblem, ToWorker, WorkerStart } from '../../src/contract/channel.ts';
import type { Problem, ResourceSet } from '../../src/contract/resources/index.ts';
import type { EndpointInfo, GroupId } from '../../src/contract/snapshot/index.ts';
import { jsonPieces, type Document } from '../../src/control/admin/api.ts';
import { Families } from '../../src/control/admin/families.ts';
import { compile, type GroupSource } from '../../src/control/compile/index.ts';
import type { CheckReason, Checker } from '../../src/control/health/index.ts';
import { Service, type Report, type ServiceOptions, type Start } from '../../src/control/service.ts';
import type { Answer } from '../../src/control/sources/dns.ts';
import { stateOf } from '../../src/control/sources/memory.ts';
import type { ServiceEndpoints } from '../../src/control/sources/services.ts';
import type { ProcessEvents } from '../../src/control/life.ts';
import { Numbers } from '../../src/control/numbers.ts';
import { ManualClock } from '../../src/lib/clock.ts';
import { createLog } from '../../src/lib/log.ts';
import { gateway } from '../kit/documents.ts';
import { resourcesOf } from '../kit/resources.ts';
import { makeCertificate } from '../kit/x509.ts';

const leaf = makeCertificate({ names: ['DNS:*.a.test'] });
const setTo = (address: string, spec: Record<string, unknown> = {}): ResourceSet =>
  resourcesOf(gateway({ port: 8443 }).certificate(leaf).host('www.a.test').route('/', {}).with(spec).to(address));

const settle = async (): Promise<void> => {
  for (let i = 0; i < 40; i++) await Promise.resolve();
};

/** Says hello, loads and switches as it is told, unless the test wants otherwise. */
class FakeWorker {
  readonly pid: number;
  readonly workerId: number;
  readonly sent: ToWorker[] = [];
  problems: LoadProblem[] = [];
  dieAtLoad = false;
  silentAtLoad = false;
  startsLater = false;
  drainsLater = false;
  rows: RowReading[] = [];
  /** Connections at its only socket. */
  open = 0;
  ended = false;
  readonly events: ProcessEvents;

  constructor(pid: number, workerId: number, events: ProcessEvents) {
    this.pid = pid;
    this.workerId = workerId;
    this.events = events;
  }

  send(m: ToWorker): void {
    this.sent.push(m);
    queueMicrotask(() => this.answer(m));
  }

  kill(): void {
    this.exit(null, 'SIGKILL');
  }

  exit(code: number | null, signal: string | null): void {
    if (this.ended) return;
    this.ended = true;
    this.events.onExit(code, signal);
  }

  endpoints(): readonly EndpointInfo[] {
    return this.sent.flatMap((m) => (m.type === 'endpoints' ? m.lists : [])).at(-1)?.list ?? [];
  }

  beat(memory = 0): void {
    if (!this.ended) this.events.onMessage({ type: 'heartbeat', delayMs: 0, memory });
  }

  hello(): void {
    this.events.onMessage({ type: 'hello', engine: 'fake', engineVersion: '1', fallback: true, why: 'a test' });
  }

  private answer(m: ToWorker): void {
    if (this.ended) return;
    const { onMessage } = this.events;
    if (m.type === 'start' && !this.startsLater) this.hello();
    else if (m.type === 'load' && this.dieAtLoad) this.exit(1, null);
    else if (m.type === 'load' && this.silentAtLoad) return;
    else if (m.type === 'load') {
      const bound = [{ namespace: 'default', name: 'public', addresses: [{ host: '127.0.0.1', port: 8443 }], receiveBuffer: 100 }];
      const broken = this.problems.some((p) => p.kind === 'bind');
      onMessage({ type: 'loaded', version: m.version, bound: broken ? [] : bound, problems: this.problems });
    } else if (m.type === 'switch') onMessage({ type: 'switched', version: m.version });
    else if (m.type === 'shares')
      onMessage({ type: 'shared', id: m.id, uses: m.shares.map(({ socket }) => ({ socket, connections: this.open })) });
    else if (m.type === 'cells') onMessage({ type: 'cells', id: m.id, rows: this.rows, last: true });
    else if (m.type === 'activity') onMessage({ type: 'activity', id: m.id, endpoints: [], last: true });
    else if (m.type === 'drain' && !this.drainsLater) onMessage({ type: 'drained' });
    else if (m.type === 'exit') this.exit(0, null);
  }
}

const setUp = (more: Partial<ServiceOptions> & { problems?: LoadProblem[] } = {}) => {
  const clock = new ManualClock();
  const workers: FakeWorker[] = [];
  const logged: Record<string, unknown>[] = [];
  const zone = new Map<string, readonly Answer[]>();
  const verdicts = new Map<string, CheckReason>();
  const next: { dieAtLoad: boolean; silentAtLoad: boolean; startsLater: boolean; problems: LoadProblem[] } = {
    dieAtLoad: false,
    silentAtLoad: false,
    startsLater: false,
    problems: more.problems ?? [],
  };
  const reports: Report[] = [];
  const service = new Service({
    clock,
    log: createLog({
      level: 'trace',
      format: 'json',
      write: (line) => logged.push(JSON.parse(line) as Record<string, unknown>),
      wall: () => clock.wall(),
    }),
    cells: new Cells(),
    families: new Families(),
    workers: 1,
    workersWhy: 'as set',
    numbers: new Numbers(),
    memory: { soft: 0, hard: 0, relievable: true, why: 'off' },
    drainTimeout: () => 30_000,
    onGone: () => {},
    onNumbers: () => {},
    start: {} as Omit<WorkerStart, 'workerId'>,
    maxConnections: 1000,
    deny: [],
    metricsDetail: 'upstream',
    spawn: (workerId, events) => {
      const w = new FakeWorker(100 + workers.length, workerId, events);
      w.problems = next.problems;
      w.dieAtLoad = next.dieAtLoad;
      w.silentAtLoad = next.silentAtLoad;
      w.startsLater = next.startsLater;
      workers.push(w);
      return w;
    },
    compile: (set) => compile(set, { standalone: true }),
    services: null,
    holder: (port) => Promise.resolve(`process ${port}`),
    perObject: false,
    claims: null,
    pending: () => [],
    onReport: (report) => reports.push(report),
    resolve: (name) => Promise.resolve(zone.get(name) ?? []),
    checks: () => ({
      open: ({ endpoint }): Checker => ({
        check: (done) => {
          const reason = verdicts.get(endpoint.address) ?? 'ok';
          done(reason === 'ok', reason);
        },
        close: () => {},
      }),
    }),
    random: () => 0,
    access: () => {},
    onSettings: () => {},
    build: { version: '0', node: '26' },
    ...more,
  });
  const start = async (set: ResourceSet): Promise<Start> => {
    const compiled = compile(set, { standalone: true });
    expect(compiled.problems.filter((p) => p.severity === 'error')).toEqual([]);
    const starting = service.start(compiled, compiled.problems);
    await settle();
    return starting;
  };
  /** Time passes for workers that are well. */
  const live = async (ms: number): Promise<void> => {
    for (let t = 0; t < ms; t += 250) {
      for (const w of workers) w.beat();
      clock.advance(Math.min(250, ms - t));
      await settle();
    }
  };
  const change = async (set: ResourceSet, problems: readonly Problem[] = []): Promise<void> => {
    service.changed({ ...stateOf(set), problems });
    clock.advance(20);
    await settle();
  };
  const said = (msg: string) => logged.filter((line) => line['msg'] === msg);
  const read = async (document: Document | Promise<Document>) =>
    JSON.parse([...jsonPieces(await document)].join('')) as Record<string, unknown>;
  return { reports, clock, live, workers, zone, verdicts, next, service, start, change, said, read };
};

const problem: Problem = {
  severity: 'error',
  file: 'c.yaml',
  line: 3,
  column: 5,
  object: 'Upstream default/x',
  path: 'spec.hostnames',
  message: 'is required',
};

describe('the first state', () => {
  test('serves when every worker has switched; ready says so, and not before', async () => {
    const { service, start } = setUp({ workers: 2 });
    expect(service.ready()).toEqual({ ok: false, reasons: ['the first configuration is not loaded'] });
    expect(await start(setTo('192.0.2.1:80'))).toEqual({ ok: true });
    expect(service.ready()).toEqual({ ok: true, reasons: [] });
    expect(service.health()).toEqual({ ok: true, reasons: [] });
    expect(service.families.get('config_apply_total', 'applied')).toBe(1);
    expect(service.families.get('config_resources', 'Upstream', 'true')).toBe(1);
  });

  test('an address that cannot be bound is the outcome, with the worker’s words', async () => {
    const bind: LoadProblem = { kind: 'bind', listener: 'default/public', code: 'EADDRINUSE', message: 'taken' };
    const { start, service } = setUp({ problems: [bind] });
    expect(await start(setTo('192.0.2.1:80'))).toMatchObject({ ok: false, kind: 'bind', loads: [{ problems: [bind] }] });
    expect(service.ready().ok).toBe(false);
  });

  test.each(['part', 'certificate'] as const)('a %s that no engine takes is the outcome, too', async (kind) => {
    const problem: LoadProblem = { kind, listener: 'default/public', code: 'unknown', message: 'no such curve' };
    const { start, service } = setUp({ problems: [problem] });
    expect(await start(setTo('192.0.2.1:80'))).toEqual({
      ok: false,
      kind: 'failed',
      why: 'listener default/public cannot be served: no such curve',
    });
    expect(service.ready().ok).toBe(false);
  });

  test('an engine that is not there ends the start; so do three processes that end before hello', async () => {
    const mute = (code: number) => {
      const events: ProcessEvents[] = [];
      const all = setUp({
        spawn: (_, e) => {
          events.push(e);
          return { pid: 1, send: () => {}, kill: () => {} };
        },
      });
      return { ...all, die: () => events.at(-1)?.onExit(code, null), events };
    };
    const engine = mute(4);
    const starting = engine.service.start(compile(setTo('192.0.2.1:80'), { standalone: true }), []);
    engine.events[0]?.onMessage({ type: 'fault', message: 'no such engine' });
    engine.die();
    expect(await starting).toEqual({ ok: false, kind: 'engine', why: 'no such engine' });
    const broken = mute(1);
    const failing = broken.service.start(compile(setTo('192.0.2.1:80'), { standalone: true }), []);
    for (let i = 0; i < 3; i++) {
      broken.die();
      broken.clock.advance(1000);
    }
    expect(await failing).toMatchObject({ ok: false, kind: 'failed' });
  });
});

describe('a state that comes while the first one is being loaded', () => {
  const loading = (more: Partial<ServiceOptions> = {}) => {
    const all = setUp(more);
    const first = setTo('192.0.2.1:80');
    return { ...all, begin: () => all.service.start(compile(first, { standalone: true }), [], stateOf(first)) };
  };

  test('follows it, and both arrive', async () => {
    const { clock, service, begin, workers } = loading();
    const starting = begin();
    service.changed(stateOf(setTo('192.0.2.2:80')));
    clock.advance(300);
    await settle();
    expect(await Promise.race([starting, settle().then(() => 'never')])).toEqual({ ok: true });
    expect(service.ready()).toEqual({ ok: true, reasons: [] });
    clock.advance(300);
    await settle();
    expect([service.model.version, service.families.get('config_apply_total', 'applied')]).toEqual([2, 2]);
    expect(workers[0]?.endpoints()).toMatchObject([{ address: '192.0.2.2' }]);
  });

  test('also one that comes before the load has begun; and later ones are taken as ever', async () => {
    const { clock, service, begin, change, workers } = loading();
    service.changed(stateOf(setTo('192.0.2.2:80')));
    clock.advance(300);
    await settle();
    expect(workers).toHaveLength(0);
    const starting = begin();
    await settle();
    expect(await Promise.race([starting, settle().then(() => 'never')])).toEqual({ ok: true });
    clock.advance(20);
    await settle();
    expect(workers[0]?.endpoints()).toMatchObject([{ address: '192.0.2.2' }]);
    await change(setTo('192.0.2.3:80'));
    expect(workers[0]?.endpoints()).toMatchObject([{ address: '192.0.2.3' }]);
  });

  test('nothing is applied a second time when nothing came', async () => {
    const { clock, service, begin } = loading();
    const starting = begin();
    await settle();
    await starting;
    clock.advance(1000);
    await settle();
    expect(service.model.version).toBe(1);
  });
});

describe('changes', () => {
  test('an invalid one is refused, counted, logged and shown; the state before it stays', async () => {
    const { service, start, change, said, read } = setUp();
    await start(setTo('192.0.2.1:80'));
    expect(service.families.get('config_up_to_date')).toBe(1);
    await change(setTo('192.0.2.2:80'), [problem]);
    expect(service.families.get('config_apply_total', 'invalid')).toBe(1);
    expect(service.families.get('config_up_to_date')).toBe(0);
    expect(said('configuration problem')).toMatchObject([
      { level: 'error', problem: 'c.yaml:3:5: Upstream default/x: spec.hostnames: is required' },
    ]);
    expect(await read(service.config())).toMatchObject({
      version: 1,
      lastChange: { result: 'invalid', problems: ['c.yaml:3:5: Upstream default/x: spec.hostnames: is required'] },
    });
    expect(await read(service.upstreams())).toMatchObject({ groups: [{ endpoints: [{ address: '192.0.2.1:80' }] }] });
  });

  test('a certificate that no engine takes keeps files from being applied, and no other object of a cluster', async () => {
    const problem: LoadProblem = { kind: 'certificate', listener: 'default/public', code: 'unfit', message: 'x.pem: no such curve' };
    for (const perObject of [false, true]) {
      const { service, start, change, said, workers } = setUp({ perObject });
      await start(setTo('192.0.2.1:80'));
      (workers[0] as FakeWorker).problems = [problem];
      await change(setTo('192.0.2.2:80'));
      expect(said('worker cannot serve')).toMatchObject([{ level: 'error', worker: 0, ...problem }]);
      expect(service.families.get('config_apply_total', 'applied')).toBe(perObject ? 2 : 1);
      expect(service.families.get('config_up_to_date')).toBe(perObject ? 1 : 0);
      const why = 'listener default/public cannot be served: x.pem: no such curve';
      expect(said('configuration not applied')).toMatchObject(perObject ? [] : [{ result: 'failed', why, serving: 1 }]);
      (workers[0] as FakeWorker).problems = [];
      await change(setTo('192.0.2.3:80'));
      expect(service.families.get('config_up_to_date')).toBe(1);
    }
  });

  test('a version that workers die on is given up, and the next one is tried again', async () => {
    const { live, workers, next, service, start, change, said } = setUp();
    await start(setTo('192.0.2.1:80'));
    next.dieAtLoad = true;
    (workers[0] as FakeWorker).dieAtLoad = true;
    service.changed(stateOf(setTo('192.0.2.2:80')));
    for (let i = 0; i < 40 && service.families.get('config_apply_total', 'failed') === 0; i++) {
      await live(100);
    }
    next.dieAtLoad = false;
    expect(workers).toHaveLength(3);
    expect(service.families.get('config_apply_total', 'failed')).toBe(1);
    expect(said('configuration not applied')).toMatchObject([{ result: 'failed', serving: 1 }]);
    await live(2000);
    expect(
      workers
        .at(-1)
        ?.endpoints()
        .map((e) => e.address),
    ).toEqual(['192.0.2.1']);
    await change(setTo('192.0.2.3:80'));
    expect(service.families.get('config_apply_total', 'applied')).toBe(2);
    expect(
      workers
        .at(-1)
        ?.endpoints()
        .map((e) => e.address),
    ).toEqual(['192.0.2.3']);
  });

  test('rows go with their object', async () => {
    const { workers, service, start, change } = setUp();
    await start(setTo('192.0.2.1:80'));
    (workers[0] as FakeWorker).rows = [
      { metric: 'requests_total', labels: ['default/public', 'default/r1', '200', 'ok'], values: [5] },
      { metric: 'requests_total', labels: ['default/public', 'default/other', '200', 'ok'], values: [5] },
    ];
    await service.collect();
    expect([...service.families.rows('requests_total')].map((r) => r.labels[1])).toEqual(['default/r1']);
    await change(
      resourcesOf(gateway({ port: 8443 }).certificate(leaf).host('www.a.test').route('/', {}).named('other').to('192.0.2.1:80')),
    );
    await service.collect();
    expect([...service.families.rows('requests_total')].map((r) => r.labels[1])).toEqual(['default/other']);
  });
});

describe('endpoints', () => {
  test('names are resolved before the state is loaded, and followed', async () => {
    const { live, workers, zone, start } = setUp();
    zone.set('db.test', [{ address: '192.0.2.1', ttl: 5 }]);
    await start(setTo('db.test:80'));
    const w = workers[0] as FakeWorker;
    expect(w.sent.map((m) => m.type)).toEqual(['start', 'shares', 'parts', 'endpoints', 'load', 'switch']);
    expect(w.endpoints().map((e) => e.address)).toEqual(['192.0.2.1']);
    zone.set('db.test', [{ address: '192.0.2.2', ttl: 5 }]);
    await live(5000);
    expect(w.endpoints().map((e) => [e.address, e.host])).toEqual([['192.0.2.2', 'db.test']]);
  });

  test('verdicts travel in the lane, are counted and logged, and survive a change that keeps the endpoint', async () => {
    const { live, workers, verdicts, service, start, change, said, read } = setUp();
    const check = { healthCheck: { type: 'HTTP', interval: '1s', unhealthyThreshold: 1 } };
    await start(setTo('192.0.2.1:80', check));
    const w = workers[0] as FakeWorker;
    expect(w.endpoints()).toMatchObject([{ healthy: true }]);
    verdicts.set('192.0.2.1', 'connect_refused');
    await live(2000);
    expect(w.endpoints()).toMatchObject([{ healthy: false }]);
    expect(said('endpoint unhealthy')).toMatchObject([{ upstream: 'default/r1', reason: 'connect_refused' }]);
    expect(service.families.get('health_checks_total', 'default/r1', 'failure', 'connect_refused')).toBeGreaterThan(0);
    await service.collect();
    expect([...service.families.rows('endpoint_healthy')].map((r) => r.values[0])).toEqual([0]);
    await change(setTo('192.0.2.1:80', { ...check, timeouts: { response: '7s' } }));
    expect(await read(service.upstreams())).toMatchObject({
      groups: [{ endpoints: [{ healthy: false, check: { lastReason: 'connect_refused' } }] }],
    });
  });
});

describe('workers', () => {
  test('one that takes its time with a change serves on: ready stays', async () => {
    const { workers, service, start, change } = setUp({ workers: 2 });
    await start(setTo('192.0.2.1:80'));
    (workers[1] as FakeWorker).silentAtLoad = true;
    await change(setTo('192.0.2.2:80'));
    expect(workers[1]?.sent.at(-1)?.type).toBe('load');
    expect(service.ready()).toEqual({ ok: true, reasons: [] });
  });

  test('ready and well is the service for as long as one worker is; the dead are replaced', async () => {
    const { clock, workers, service, start } = setUp({ workers: 2 });
    await start(setTo('192.0.2.1:80'));
    workers[1]?.exit(null, 'SIGKILL');
    expect([service.ready().ok, service.health().ok]).toEqual([true, true]);
    expect(service.families.get('worker_up', '1')).toBe(0);
    workers[0]?.exit(null, 'SIGKILL');
    expect(service.ready()).toEqual({ ok: false, reasons: ['worker 0 is waiting', 'worker 1 is waiting'] });
    expect(service.health()).toEqual({ ok: false, reasons: ['worker 0 is waiting', 'worker 1 is waiting'] });
    clock.advance(0);
    await settle();
    expect([service.ready(), service.health()]).toEqual([
      { ok: true, reasons: [] },
      { ok: true, reasons: [] },
    ]);
    expect(service.families.get('worker_restarts_total', 'signal')).toBe(2);
    expect(service.families.get('worker_up', '1')).toBe(1);
    expect(workers[2]?.sent.map((m) => m.type)).toEqual(['start', 'shares', 'parts', 'endpoints', 'load', 'switch']);
  });

  test('a loop of ends says what is known of them, and whether anybody serves', async () => {
    const { live, workers, start, said, next } = setUp({ workers: 2 });
    await start(setTo('192.0.2.1:80'));
    next.dieAtLoad = true;
    workers[1]?.events.onOutput('out of memory');
    workers[1]?.exit(null, 'SIGABRT');
    await live(600);
    expect(said('worker ended')).toMatchObject([
      { level: 'error', worker: 1, number: 1, reason: 'signal', signal: 'SIGABRT', output: 'out of memory', quickEnds: 1, restartInMs: 0 },
      { worker: 1, number: 1, reason: 'exit', code: 1, quickEnds: 2, restartInMs: 200 },
      { worker: 1, number: 1, reason: 'exit', code: 1, quickEnds: 3, restartInMs: 400 },
    ]);
    expect(said('worker ends again and again')).toMatchObject([
      { worker: 1, times: 3, means: 'the other workers serve', restartInMs: 400 },
    ]);
  });

  test('one that does not serve yet when the drain begins is not waited for: nobody would send its clients away', async () => {
    const { clock, workers, service, start } = setUp({ workers: 2 });
    await start(setTo('192.0.2.1:80'));
    workers[0]?.exit(1, null);
    clock.advance(0);
    const late = workers[2] as FakeWorker;
    late.silentAtLoad = true;
    await settle();
    expect(late.sent.map((m) => m.type)).toContain('load');
    await service.drain(30_000);
    expect(workers.map((w) => [w.ended, w.sent.some((m) => m.type === 'drain')])).toEqual([
      [true, false],
      [false, true],
      [true, false],
    ]);
  });

  test('over their hard memory limit before any has served, they end the start, which says what to change', async () => {
    const limits = { soft: 100, hard: 125, relievable: true, why: 'a test' };
    const { clock, workers, next, service } = setUp({ workers: 2, memory: limits });
    next.silentAtLoad = true;
    const compiled = compile(setTo('192.0.2.1:80'), { standalone: true });
    const starting = service.start(compiled, compiled.problems);
    await settle();
    for (let i = 0; i < 20; i++) {
      for (const w of workers) w.beat(126);
      clock.advance(250);
      await settle();
    }
    const started = await Promise.race([starting, Promise.resolve(null)]);
    expect(started).toMatchObject({ ok: false, kind: 'setting', why: expect.stringContaining('--worker-memory is less than') });
  });

  test('one over its soft memory limit: another one serves first, then it hands over, drains, is counted and goes', async () => {
    const limits = { soft: 100, hard: 125, relievable: true, why: 'a test' };
    const numbers: (readonly number[])[] = [];
    const { clock, live, workers, service, start, said, read } = setUp({
      workers: 2,
      memory: limits,
      onNumbers: (list) => numbers.push(list),
    });
    await start(setTo('192.0.2.1:80'));
    const [first, second] = workers as [FakeWorker, FakeWorker];
    first.drainsLater = true;
    first.rows = [{ metric: 'requests_total', labels: ['default/public', 'default/r1', '200', 'ok'], values: [5] }];
    for (let i = 0; i < 8 && workers.length === 2; i++) {
      first.beat(110);
      second.beat(50);
      clock.advance(250);
      await settle();
    }
    await live(500);
    expect(workers.map((w) => w.workerId)).toEqual([0, 1, 255]);
    expect(service.fleet.takers()).toEqual([1, 255]);
    expect(first.sent.filter((m) => m.type !== 'shares').slice(-2)).toEqual([
      { type: 'succeed', workers: [255] },
      { type: 'drain', timeoutMs: 30_000 },
    ]);
    expect(service.ready()).toEqual({ ok: true, reasons: [] });
    expect(await read(service.workers())).toMatchObject({
      memory: { softLimitBytes: 100, hardLimitBytes: 125, chosen: 'a test' },
      workers: [
        { worker: 0, number: 255, state: 'up' },
        { worker: 1, number: 1, state: 'up' },
        { worker: 0, number: 0, state: 'draining', phase: 'absent' },
      ],
    });
    // What it counts while it drains is not lost, and a new state is not for it.
    first.rows = [{ metric: 'requests_total', labels: ['default/public', 'default/r1', '200', 'ok'], values: [9] }];
    first.events.onMessage({ type: 'drained' });
    await settle();
    expect(first.sent.at(-1)).toEqual({ type: 'exit' });
    expect(first.ended).toBe(true);
    expect(service.families.get('requests_total', 'default/public', 'default/r1', '200', 'ok')).toBe(9);
    expect(service.families.get('worker_restarts_total', 'memory_soft')).toBe(1);
    expect([...service.families.rows('worker_restarts_total')].map((r) => r.labels)).toEqual([['memory_soft']]);
    expect(service.families.get('worker_up', '0')).toBe(1);
    expect(said('worker over its soft memory limit: a replacement starts')).toMatchObject([
      { level: 'warn', worker: 0, number: 0, memory: 110, softLimit: 100, hardLimit: 125, successor: 255, nextNotBeforeMs: 60_000 },
    ]);
    expect(said('worker drains')).toMatchObject([{ worker: 0, number: 0, successor: 255, timeoutMs: 30_000 }]);
    // Other process trees, which bring newcomers here, are to bring them to nobody who drains.
    expect(numbers).toEqual([
      [0, 1],
      [1, 255],
    ]);
    expect(said('worker relieved')).toMatchObject([{ level: 'info', worker: 0, number: 0, memory: 0 }]);
    expect(said('worker ended')).toEqual([]);
  });

  test('what they run on is known whatever worker is missing', async () => {
    const { workers, service, start } = setUp({ workers: 2 });
    expect([service.fleet.engine, service.fleet.engineVersion]).toEqual(['', '']);
    await start(setTo('192.0.2.1:80'));
    for (const worker of workers) worker.exit(null, 'SIGKILL');
    await settle();
    expect([service.fleet.engine, service.fleet.engineVersion]).toEqual(['fake', '1']);
  });

  test('once another process tree takes newcomers, one that dies stays dead, and nobody relieves another one', async () => {
    const limits = { soft: 100, hard: 200, relievable: true, why: 'a test' };
    const { clock, live, workers, service, start, next } = setUp({ workers: 2, memory: limits });
    await start(setTo('192.0.2.1:80'));
    const [first, second] = workers as [FakeWorker, FakeWorker];
    next.silentAtLoad = true;
    for (let i = 0; i < 8 && workers.length === 2; i++) {
      first.beat(110);
      second.beat(50);
      clock.advance(250);
      await settle();
    }
    const replacement = workers[2] as FakeWorker;
    const { version } = replacement.sent.findLast((m) => m.type === 'load') as { version: number };
    expect(service.fleet.takers()).toEqual([0, 1]);
    service.fleet.succeed([7]);
    second.exit(null, 'SIGKILL');
    replacement.events.onMessage({ type: 'loaded', version, bound: [], problems: [] });
    await live(500);
    expect(workers.length).toBe(3);
    expect(first.sent.filter((m) => m.type === 'succeed' || m.type === 'drain')).toEqual([{ type: 'succeed', workers: [7] }]);
  });

  test('a replacement that cannot bind what its forerunner serves does not take over', async () => {
    const limits = { soft: 100, hard: 200, relievable: true, why: 'a test' };
    const { clock, live, workers, service, start, said, next } = setUp({ workers: 1, memory: limits });
    await start(setTo('192.0.2.1:80'));
    next.problems = [{ kind: 'bind', listener: 'default/public', code: 'EMFILE', message: 'too many open files' }];
    for (let i = 0; i < 8 && workers.length === 1; i++) {
      workers[0]?.beat(110);
      clock.advance(250);
      await settle();
    }
    await live(500);
    expect(workers.map((w) => [w.workerId, w.ended])).toEqual([
      [0, false],
      [255, true],
    ]);
    expect(said('a replacement cannot bind what its forerunner serves: given up')).toMatchObject([{ number: 255, forerunner: 0 }]);
    expect(workers[0]?.sent.some((m) => m.type === 'drain')).toBe(false);
    expect(service.ready()).toEqual({ ok: true, reasons: [] });
  });

  test('memory is a gauge of each worker’s own process', async () => {
    const { workers, service, start } = setUp({ workers: 2 });
    await start(setTo('192.0.2.1:80'));
    workers.forEach((w, i) => w.beat(1000 + i));
    expect(service.families.get('worker_memory_bytes', '1')).toBe(1001);
    workers[1]?.exit(null, 'SIGKILL');
    expect([...service.families.rows('worker_memory_bytes')].map((r) => [r.labels[0], r.values[0]])).toEqual([['0', 1000]]);
  });

  test('each says how many connections it has', async () => {
    const { workers, service, start, read } = setUp({ workers: 2 });
    await start(setTo('192.0.2.1:80'));
    (workers[1] as FakeWorker).rows = [{ metric: 'connections_active', labels: ['default/public'], values: [7] }];
    expect(await read(service.workers())).toMatchObject({ chosen: 'as set', workers: [{ connections: 0 }, { connections: 7 }] });
  });

  const sharesOf = (w: FakeWorker | undefined): number[] =>
    w?.sent.flatMap((m) => (m.type === 'shares' ? m.shares.map((s) => s.connections) : [])) ?? [];

  test('several share a listener’s limit by use, each second; each hears of its part before it loads anything', async () => {
    const { clock, workers, start } = setUp({ workers: 2 });
    await start(setTo('192.0.2.1:80'));
    for (const w of workers) {
      expect(sharesOf(w)[0]).toBe(500);
      const types = w.sent.map((m) => m.type);
      expect(types.indexOf('shares')).toBeLessThan(types.indexOf('load'));
    }
    (workers[0] as FakeWorker).open = 450;
    clock.advance(1000);
    await settle();
    expect([sharesOf(workers[0]).at(-1), sharesOf(workers[1]).at(-1)]).toEqual([725, 275]);
  });

  test('a replacement has its part from its first moment: the others give it back while it starts', async () => {
    const limits = { soft: 100, hard: 125, relievable: true, why: 'a test' };
    const { clock, workers, next, start } = setUp({ workers: 2, memory: limits });
    await start(setTo('192.0.2.1:80'));
    next.startsLater = true;
    for (let i = 0; i < 8 && workers.length === 2; i++) {
      workers[0]?.beat(110);
      workers[1]?.beat(50);
      clock.advance(250);
      await settle();
    }
    expect([sharesOf(workers[0]).at(-1), sharesOf(workers[1]).at(-1)]).toEqual([334, 333]);
    workers[2]?.hello();
    expect(sharesOf(workers[2])).toEqual([333]);
  });

  test('a replacement has its part when it loads, and the one that drains nothing but what it has open', async () => {
    const memory = { soft: 100, hard: 200, relievable: true, why: 'a test' };
    const { clock, live, workers, start, service } = setUp({ workers: 1, memory });
    await start(setTo('192.0.2.1:80'));
    const [first] = workers as [FakeWorker];
    first.drainsLater = true;
    first.open = 400;
    expect(sharesOf(first)).toEqual([1000]);
    for (let i = 0; i < 8 && workers.length === 1; i++) {
      first.beat(110);
      clock.advance(250);
      await settle();
    }
    const second = workers[1] as FakeWorker;
    await live(250);
    expect(service.fleet.facts().map((w) => w.state)).toEqual(['up', 'draining']);
    expect(sharesOf(second)[0]).toBe(0);
    expect(sharesOf(first).at(-1)).toBe(0);
    expect(sharesOf(second).at(-1)).toBe(600);
    first.open = 0;
    await live(1000);
    expect(sharesOf(second).at(-1)).toBe(1000);
  });

  test('the engine’s fallback is said once', async () => {
    const { said, start } = setUp({ workers: 3 });
    await start(setTo('192.0.2.1:80'));
    expect(said('the preferred QUIC engine cannot be used')).toMatchObject([
      {
        level: 'warn',
        engine: 'fake',
        why: 'a test',
        means: expect.stringContaining('fake serves instead'),
        todo: expect.stringMatching(/^what the reason says; or --engine fake /),
      },
    ]);
  });
});

test.each([
  [1, 0],
  [2, 1],
])('with %i workers a listener with port 0 is warned of %i times', async (workers, times) => {
  const { start, change, said } = setUp({ workers });
  const anyPort = (address: string): ResourceSet =>
    resourcesOf(gateway({ port: 0 }).certificate(leaf).host('www.a.test').route('/', {}).to(address));
  await start(anyPort('192.0.2.1:80'));
  await change(anyPort('192.0.2.2:80'));
  expect(said('a listener with port 0: each worker has a port of its own')).toHaveLength(times);
});

test('one worker says what is to be said once, also of a process tree that takes over and has other numbers', async () => {
  const numbers = new Numbers();
  numbers.reserve([0, 1]);
  const { workers, start, live } = setUp({ workers: 2, numbers });
  const speakers = () => workers.flatMap((w) => w.sent.flatMap((m) => (m.type === 'start' ? [[m.start.workerId, m.start.speaks]] : [])));
  await start(setTo('192.0.2.1:80'));
  expect(speakers()).toEqual([
    [2, true],
    [3, false],
  ]);
  workers[1]?.exit(1, null);
  await live(250);
  expect(speakers().slice(2)).toEqual([[3, false]]);
});

test('a receive buffer of which the kernel grants less than half is said once per listener, with what to set', async () => {
  const { said, start, change } = setUp({ workers: 2, start: { udpReceiveBuffer: 201 } as Omit<WorkerStart, 'workerId'> });
  await start(setTo('192.0.2.1:80'));
  await change(setTo('192.0.2.2:80'));
  expect(said('the kernel grants less than half of the UDP receive buffer')).toMatchObject([
    { level: 'warn', listener: 'default/public', asked: 201, granted: 100, hint: expect.stringContaining('net.core.rmem_max=201') },
  ]);
  const half = setUp({ start: { udpReceiveBuffer: 200 } as Omit<WorkerStart, 'workerId'> });
  await half.start(setTo('192.0.2.1:80'));
  expect(half.said('the kernel grants less than half of the UDP receive buffer')).toEqual([]);
});

test('a Listener that another one keeps from being served is shown with what it is told, and the other serves', async () => {
  const { service, read } = setUp();
  const one = setTo('192.0.2.1:80');
  const first = one.listeners.get('default/public');
  if (first === undefined) throw new Error('no Listener');
  const second = { ...first, meta: { ...first.meta, name: 'second' } };
  const compiled = compile({ ...one, listeners: new Map([...one.listeners, ['default/second', second]]) }, { standalone: true });
  void service.start(compiled, compiled.problems);
  await settle();
  const { listeners } = (await read(service.listeners())) as { listeners: Record<string, unknown>[] };
  expect(listeners).toMatchObject([
    { listener: 'default/public', port: 8443, addresses: ['127.0.0.1:8443'] },
    { listener: 'default/second', port: null, hostnames: [], addresses: [], receiveBufferBytes: null, problems: [] },
  ]);
  expect(Object.keys(listeners[1] ?? {})).toEqual(Object.keys(listeners[0] ?? {}));
  expect(listeners[1]?.['conditions']).toContainEqual(expect.objectContaining({ type: 'Accepted', reason: 'PortConflict' }));
});

test('changes are counted from zero, so that the first refusal is an increase', () => {
  const { service } = setUp();
  const rows = [...service.families.rows('config_apply_total')].map((row) => [row.labels, row.values]);
  expect(rows).toEqual(['applied', 'invalid', 'failed'].map((result) => [[result], [0]]));
});

test('a change whose address is taken is shown and logged as not bound, and tried again until it is free, without its warnings', async () => {
  const { service, start, change, live, read, said, workers } = setUp();
  await start(setTo('192.0.2.1:80'));
  (workers[0] as FakeWorker).problems = [{ kind: 'bind', listener: 'default/public', code: 'EADDRINUSE', message: 'taken' }];
  await change(setTo('192.0.2.2:80'), [{ ...problem, severity: 'warning' }]);
  await settle();
  const programmed = async (): Promise<unknown> => {
    const { listeners } = (await read(service.listeners())) as { listeners: { conditions: { type: string }[] }[] };
    return listeners[0]?.conditions.find((c) => c.type === 'Programmed');
  };
  expect(await programmed()).toEqual({ type: 'Programmed', status: 'False', reason: 'AddressNotBound', message: 'port 8443: taken' });
  expect(said('an address cannot be bound')).toMatchObject([
    { level: 'error', listener: 'default/public', why: 'port 8443: taken, held by process 8443' },
  ]);
  (workers[0] as FakeWorker).problems = [];
  await live(2500);
  expect(await programmed()).toMatchObject({ status: 'True', reason: 'Programmed' });
  expect(said('configuration problem')).toHaveLength(1);
  await live(120_000);
  expect(said('configuration applied')).toHaveLength(2);
  expect(said('an address cannot be bound')).toHaveLength(1);
});

test('where no worker has bound anything nobody serves, and it is not ready; one that has is enough', async () => {
  const { service, live, next, workers } = setUp({ workers: 2 });
  const set = setTo('192.0.2.1:80');
  const starting = service.start(compile(set, { standalone: true }), [], stateOf(set));
  await settle();
  await starting;
  next.problems = [{ kind: 'bind', listener: 'default/public', code: 'EADDRINUSE', message: 'taken' }];
  workers[0]?.exit(null, 'SIGKILL');
  await live(500);
  expect([service.fleet.serving(), service.ready()]).toEqual([true, { ok: true, reasons: [] }]);
  workers[1]?.exit(null, 'SIGKILL');
  await live(500);
  expect([service.fleet.serving(), service.ready()]).toEqual([true, { ok: false, reasons: ['no address is bound'] }]);
  for (const worker of workers) worker.problems = [];
  await live(8000);
  expect(service.ready()).toEqual({ ok: true, reasons: [] });
});

test('that nothing is served is said of files, and not of a cluster', async () => {
  const none: ResourceSet = { ...setTo('192.0.2.1:80'), listeners: new Map(), upstreams: new Map() };
  const [files, cluster] = [setUp(), setUp({ perObject: true })];
  for (const { service } of [files, cluster]) void service.start(compile(none, { standalone: true }), []);
  await settle();
  await files.change(setTo('192.0.2.1:80'));
  expect(files.said('no Listener: nothing is served')).toMatchObject([{ level: 'warn' }]);
  await files.change(none);
  expect(files.said('no Listener: nothing is served')).toHaveLength(2);
  expect(cluster.said('no Listener: nothing is served')).toEqual([]);
});

describe('in a cluster', () => {
  const bind: LoadProblem = { kind: 'bind', listener: 'default/public', code: 'EADDRINUSE', message: 'taken' };

  test('why there is no first state yet is part of ready', () => {
    const { service } = setUp({ perObject: true, pending: () => ['Upstreams cannot be listed: forbidden'] });
    expect(service.ready().reasons).toEqual(['the first configuration is not loaded', 'Upstreams cannot be listed: forbidden']);
  });

  test('an address that cannot be bound is reported, and everything else serves', async () => {
    const { service, start, reports } = setUp({ perObject: true, problems: [bind] });
    expect(await start(setTo('192.0.2.1:80'))).toEqual({ ok: true });
    expect(service.ready()).toEqual({ ok: true, reasons: [] });
    await settle();
    const message = 'port 8443: taken, held by process 8443';
    expect(reports).toMatchObject([{ acknowledged: true, bindProblems: [{ listener: 'default/public', message }] }]);
  });

  test('an address that was taken is tried again, ever less often, until it is free', async () => {
    const { clock, live, workers, service } = setUp({ perObject: true, problems: [bind] });
    const set = setTo('192.0.2.1:80');
    const starting = service.start(compile(set, { standalone: true }), [], stateOf(set));
    await settle();
    await starting;
    const loads = (): number => workers[0]?.sent.filter((m) => m.type === 'load').length ?? 0;
    expect(loads()).toBe(1);
    await live(2250);
    expect(loads()).toBe(2);
    await live(3000);
    expect(loads()).toBe(2);
    (workers[0] as FakeWorker).problems = [];
    await live(1500);
    expect([loads(), service.model.loadProblems()]).toEqual([3, []]);
    await live(20_000);
    expect(loads()).toBe(3);
    service.stop();
    expect(clock.pending()).toBeLessThan(5);
  });

  test('an address that is taken when a worker comes back is reported and tried again as well', async () => {
    const { live, workers, next, service, reports } = setUp({ perObject: true });
    const set = setTo('192.0.2.1:80');
    const starting = service.start(compile(set, { standalone: true }), [], stateOf(set));
    await settle();
    await starting;
    expect(reports.at(-1)).toMatchObject({ acknowledged: true, bindProblems: [] });
    next.problems = [bind];
    workers[0]?.exit(null, 'SIGKILL');
    await live(3000);
    expect(service.model.loadProblems()).toHaveLength(1);
    expect(reports.at(-1)?.bindProblems).toMatchObject([{ listener: 'default/public' }]);
    (workers.at(-1) as FakeWorker).problems = [];
    await live(8000);
    expect(service.model.loadProblems()).toEqual([]);
    expect(reports.at(-1)).toMatchObject({ acknowledged: true, bindProblems: [] });
    service.stop();
  });

  test('of a replacement that does not take over nothing is reported: its forerunner serves', async () => {
    const memory = { soft: 100, hard: 200, relievable: true, why: 'a test' };
    const { clock, live, workers, next, service, reports } = setUp({ perObject: true, memory });
    const set = setTo('192.0.2.1:80');
    const starting = service.start(compile(set, { standalone: true }), [], stateOf(set));
    await settle();
    await starting;
    next.problems = [bind];
    for (let i = 0; i < 8 && workers.length === 1; i++) {
      workers[0]?.beat(110);
      clock.advance(250);
      await settle();
    }
    await live(500);
    expect(workers.map((w) => w.ended)).toEqual([false, true]);
    expect(reports.map((r) => r.bindProblems)).toEqual([[]]);
    service.stop();
  });

  test('a bind that is tried again does not bring an older state back', async () => {
    const { clock, live, workers, service } = setUp({ perObject: true, problems: [bind] });
    const set = setTo('192.0.2.1:80');
    const starting = service.start(compile(set, { standalone: true }), [], stateOf(set));
    await settle();
    await starting;
    await live(1990);
    // Within the quiet time of this one the older state's bind is due again.
    service.changed(stateOf(setTo('192.0.2.2:80')));
    clock.advance(15);
    await settle();
    await live(1000);
    expect(workers[0]?.endpoints()).toMatchObject([{ address: '192.0.2.2' }]);
    service.stop();
  });

  test('what is wrong with one object keeps nothing else from being served, and is told once', async () => {
    const { service, start, change, said, reports } = setUp({ perObject: true });
    await start(setTo('192.0.2.1:80'));
    await change(setTo('192.0.2.2:80'), [problem]);
    await change(setTo('192.0.2.3:80'), [problem]);
    expect(service.families.get('config_apply_total', 'applied')).toBe(3);
    expect(said('configuration problem')).toHaveLength(1);
    expect(reports).toHaveLength(3);
    await change(setTo('192.0.2.4:80'));
    await change(setTo('192.0.2.5:80'), [problem]);
    expect(said('configuration problem')).toHaveLength(2);
  });

  test('a version that could not be served is reported as one that was not acknowledged', async () => {
    const { live, workers, next, service, start, reports } = setUp({ perObject: true });
    await start(setTo('192.0.2.1:80'));
    next.dieAtLoad = true;
    (workers[0] as FakeWorker).dieAtLoad = true;
    service.changed(stateOf(setTo('192.0.2.2:80')));
    for (let i = 0; i < 40 && reports.length < 2; i++) await live(100);
    expect(reports.at(-1)).toMatchObject({ acknowledged: false });
  });

  test('one worker that serves is enough to be ready, and a drain does not turn it off', async () => {
    const { workers, service, start } = setUp({ perObject: true, workers: 2 });
    await start(setTo('192.0.2.1:80'));
    workers[1]?.exit(null, 'SIGKILL');
    expect(service.ready()).toEqual({ ok: true, reasons: [] });
    workers[0]?.exit(null, 'SIGKILL');
    expect(service.ready().ok).toBe(false);
    service.beginDrain();
    expect(service.ready()).toEqual({ ok: true, reasons: [] });
    expect(service.draining()).toBe(true);
  });

  test('a controller without workers reports what compile says', async () => {
    const { service, start, change, reports } = setUp({ perObject: true, workers: 0 });
    expect(await start(setTo('192.0.2.1:80'))).toEqual({ ok: true });
    await service.whenServing();
    await change(setTo('192.0.2.2:80'));
    expect(reports).toMatchObject([{ acknowledged: true }, { acknowledged: true }]);
    expect(Array.from(service.families.rows('build_info'), ({ values }) => values)).toEqual([[1]]);
    expect([service.ready(), service.health()]).toEqual([
      { ok: true, reasons: [] },
      { ok: true, reasons: [] },
    ]);
  });

  test('endpoints of Services go their own way, without a new state', async () => {
    const endpoints = new Map([['10.0.0.1', 8080]]);
    let tell: (services: ReadonlySet<string>) => void = () => {};
    const services: ServiceEndpoints = {
      endpoints: () => Array.from(endpoints, ([address, port]) => ({ address, port, draining: false })),
      counts: () => ({ total: endpoints.size, ready: endpoints.size }),
      onChange: (listener) => {
        tell = listener;
        return () => (tell = () => {});
      },
    };
    const { workers, service, reports } = setUp({ perObject: true, services });
    const compiled = compile(setTo('192.0.2.1:80'), { standalone: true });
    const [id, source] = [...compiled.groups][0] as [GroupId, GroupSource];
    const ofService: GroupSource = { ...source, addresses: [], service: { namespace: 'web', name: 'api', portName: '' } };
    const starting = service.start({ ...compiled, groups: new Map([[id, ofService]]) }, []);
    await settle();
    await starting;
    const w = workers[0] as FakeWorker;
    expect(w.endpoints()).toMatchObject([{ address: '10.0.0.1', host: 'api.web.svc' }]);
    endpoints.set('10.0.0.2', 8080);
    tell(new Set(['web/api']));
    await settle();
    expect(w.endpoints()).toHaveLength(2);
    expect([service.model.version, reports.length]).toEqual([1, 1]);
    service.stop();
    tell(new Set(['web/api']));
  });
});

describe('a drain', () => {
  test('begins with not ready, takes no changes, and ends with the last worker', async () => {
    const { workers, service, start, change } = setUp({ workers: 2 });
    await start(setTo('192.0.2.1:80'));
    service.beginDrain();
    expect([service.ready(), service.health(), service.draining()]).toEqual([
      { ok: false, reasons: ['draining'] },
      { ok: true, reasons: [] },
      true,
    ]);
    await change(setTo('192.0.2.2:80'));
    expect(service.families.get('config_apply_total', 'applied')).toBe(1);
    await service.drain(5000);
    expect(workers.map((w) => w.sent.at(-1))).toEqual([
      { type: 'drain', timeoutMs: 5000 },
      { type: 'drain', timeoutMs: 5000 },
    ]);
    workers[0]?.exit(0, null);
    expect(service.families.get('worker_restarts_total', 'exit')).toBe(0);
    expect(workers).toHaveLength(2);
  });

  test('does not wait for a worker that does not answer for longer than the time-out and two seconds', async () => {
    const { clock, live, workers, service, start } = setUp();
    await start(setTo('192.0.2.1:80'));
    (workers[0] as FakeWorker).send = () => {};
    let done = false;
    void service.drain(5000).then(() => (done = true));
    // It lives.
    await live(6999);
    expect(done).toBe(false);
    clock.advance(1);
    await settle();
    expect(done).toBe(true);
  });

  test('nor for one that hangs, which is said', async () => {
    const { live, workers, service, start, said } = setUp({ workers: 2 });
    await start(setTo('192.0.2.1:80'));
    const [hung, well] = workers as [FakeWorker, FakeWorker];
    hung.beat = () => {};
    hung.drainsLater = true;
    let done = false;
    void service.drain(60_000).then(() => (done = true));
    await live(1500);
    expect(done).toBe(false);
    await live(1500);
    expect([done, hung.ended, well.ended, workers.length]).toEqual([true, true, false, 2]);
    expect(said('worker ended')).toMatchObject([{ worker: 0, reason: 'hung', restartInMs: -1 }]);
    expect([...service.families.rows('worker_restarts_total')]).toEqual([]);
  });
});

test('a defect in the way of a change is counted and logged, and the next change works', async () => {
  let fail = false;
  const { service, start, change, said } = setUp({
    compile: (set) => {
      if (fail) throw new Error('boom');
      return compile(set, { standalone: true });
    },
  });
  await start(setTo('192.0.2.1:80'));
  fail = true;
  await change(setTo('192.0.2.2:80'));
  expect(said('internal error')).toMatchObject([{ where: 'loop', error: { message: 'boom' } }]);
  await service.collect();
  expect(service.families.get('internal_errors_total', 'loop')).toBe(1);
  fail = false;
  await change(setTo('192.0.2.3:80'));
  expect(service.families.get('config_apply_total', 'applied')).toBe(2);
});
